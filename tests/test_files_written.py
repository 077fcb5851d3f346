"""Every file the product writes beside movies: an error leaves the old file, whole, and nothing else."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.reader.export import export

ROOT = Path(__file__).parent.parent
OLD = b"what was there before"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files-written")
    raw = pg.simulate(frames=60, height=48, width=48, seed=3)
    np.save(folder / "raw.npy", np.asarray(raw))
    pg.encode(raw, folder / "movie.zarr", noise=raw.noise)
    return folder


COMMANDS = {
    "report.html": ["report", "raw.npy", "movie.zarr", "-o", "{}"],
    "report.json": ["report", "raw.npy", "movie.zarr", "-o", "{}"],
    "report.png": ["report", "raw.npy", "movie.zarr", "-o", "{}"],
    "curve.png": ["estimate", "raw.npy", "--plot", "{}"],
    "curve.svg": ["estimate", "raw.npy", "--plot", "{}"],
    "choice.png": ["choose", "raw.npy", "--step", "0.5", "--redraws", "4", "--plot", "{}"],
    "movie.tif": ["decode", "movie.zarr", "{}", "--overwrite"],
    "movie.npy": ["decode", "movie.zarr", "{}", "--overwrite"],
    "movie.h5": ["decode", "movie.zarr", "{}", "--overwrite"],
    "movie.nwb": ["decode", "movie.zarr", "{}", "--overwrite"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_leaves_the_old_file(stored, tmp_path, name):
    out = tmp_path / name
    out.write_bytes(OLD)
    program = (
        "import sys, signal, resource\nfrom photon_gpu.cli.app import run\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"  # then write() fails as on a full disk
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, -1))\n"
        "run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *(part.format(out) for part in COMMANDS[name])],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=stored,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1 and "error:" in done.stderr, done
    assert "Traceback" not in done.stderr
    assert out.read_bytes() == OLD and os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    "name",
    ["report.html", "report.json", "report.png", "curve.pdf", "movie.tif", "movie.h5", "movie.nwb"],
)
def test_python_calls_leave_the_old_file_too(stored, tmp_path, monkeypatch, name):
    out = tmp_path / name
    out.write_bytes(OLD)
    raw = np.load(stored / "raw.npy")
    calls = {
        "report": pg.fidelity(raw, stored / "movie.zarr").save,
        "curve": pg.estimate_noise(raw).plot,
        "movie": lambda path: export(pg.open(stored / "movie.zarr"), path, overwrite=True),
    }

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space.*{name}"):
        calls[out.stem](out)
    monkeypatch.undo()
    assert out.read_bytes() == OLD and os.listdir(tmp_path) == [name]
    calls[out.stem](out)
    assert out.read_bytes() != OLD and os.listdir(tmp_path) == [name]
