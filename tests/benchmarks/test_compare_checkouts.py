"""Two checkouts take turns, and each measures its own code."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import compare_checkouts
from benchmarks.support.cases import simulated


def test_each_checkout_runs_its_own_code(monkeypatch, capsys, tmp_path):
    for folder in ("photon_gpu", "kernels", "decoder"):
        shutil.copytree(
            compare_checkouts.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    writer = tmp_path / "photon_gpu" / "writer" / "encode.py"
    writer.write_text(f"{writer.read_text()}\n\ndef encode(*args, **kwargs): raise SystemExit('planted')\n")
    monkeypatch.setattr(compare_checkouts, "main_case", lambda: simulated(4))
    with pytest.raises(SystemExit, match="planted"):
        compare_checkouts.main(["--before", str(tmp_path), "--turns", "1", "--repeats", "1"])
    now = [
        "--before",
        str(compare_checkouts.ROOT),
        "--turns",
        "1",
        "--repeats",
        "1",
        "--rows",
        "compact, fast",
    ]
    compare_checkouts.main(now)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "simulated 5 photons" and len(lines) == 2 + 2 + 3 * 5 + 1
    sizes = [line for line in lines if "bytes: " in line]
    assert len(sizes) == 3 and all(line.endswith("| 1.0000 |") for line in sizes), (
        "the same code, the same bytes"
    )
