"""Frames and regions are timed from files and from S3, and held against the whole movie."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from benchmarks import latency
from benchmarks.support import results_csv


def test_every_layout_is_timed_from_files_and_from_s3(tmp_path):
    pytest.importorskip("s3fs", reason="pip install 'photon-gpu[s3]'")
    target = latency.main(
        [
            "--reads",
            "2",
            "--frames",
            "30",
            "--size",
            "64",
            "--chunk-frames",
            "10",
            "--s3",
            "--results",
            str(tmp_path),
        ]
    )
    rows = results_csv.load(target)
    assert [(row["layout"], row["preset"], row["store"]) for row in rows] == [
        (*setting, store) for setting in latency.SETTINGS for store in ("disk", "S3")
    ]
    for row in rows:
        for action in latency.ACTIONS:
            low, median, high = (float(row[f"{action}_{what}_ms"]) for what in ("min", "median", "max"))
            assert 0 < low <= median <= high


def test_a_wrong_value_is_no_measurement(tmp_path):
    values = np.random.default_rng(0).poisson(20.0, (20, 16, 16)).astype("uint16")
    pg.encode(values, tmp_path / "m.zarr", chunk_frames=10, layout="compact", noise=pg.NoiseModel())
    whole = pg.open(tmp_path / "m.zarr").counts[...]
    whole[7, 6, 6] += 1
    with pytest.raises(AssertionError):
        latency.once(tmp_path / "m.zarr", {}, whole, 7, 10, np.random.default_rng(0))
