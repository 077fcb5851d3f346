"""Time the noise estimate of a large movie: ``python -m benchmarks.estimate_time [--gigabytes 60]``.

A simulated block is written repeatedly to one file, as .npy or as BigTIFF page by page, flushed to disk and
dropped from the page cache. A new process then estimates it. Seconds include opening, bytes are those read
from the disk (as the kernel counts them), and memory is the peak of the process. At least 15 GB of disk stay
free; if there is less, the movie is smaller. The file is deleted afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.lib import format as npy_format
from numpy.typing import NDArray

import photon_gpu as pg

SIZE, BLOCK = 512, 128
LEFT_FREE = 15e9
TRUTH = pg.NoiseModel(gain=40.0, offset=100.0, variance=900.0 + 1 / 12)


def block() -> NDArray:
    """``(BLOCK, SIZE, SIZE)`` int16 of cells that move and fire."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pg.PhotonWarning)
        movie = pg.simulate(
            frames=BLOCK,
            height=SIZE,
            width=SIZE,
            photons=5,
            gain=TRUTH.gain,
            offset=TRUTH.offset,
            read_noise_adu=30.0,
            cells=200,
            seed=3,
        )
        return np.asarray(movie)


def write_npy(path: Path, frames: NDArray, repeats: int) -> None:
    """One array, ``repeats`` blocks long."""
    shape = (repeats * len(frames), *frames.shape[1:])
    with path.open("wb") as file:
        header = {"descr": npy_format.dtype_to_descr(frames.dtype), "fortran_order": False, "shape": shape}
        npy_format.write_array_header_2_0(file, header)
        for _ in range(repeats):
            file.write(frames.data)
            _forget(file.fileno())


def write_tif(path: Path, frames: NDArray, repeats: int) -> None:
    """BigTIFF, a page per frame, each with its own directory as acquisition software writes it."""
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for _ in range(repeats):
            for frame in frames:
                tif.write(frame, contiguous=False, metadata=None)
            _forget(tif.filehandle.fileno())


FORMATS: dict[str, Callable[[Path, NDArray, int], None]] = {"npy": write_npy, "tif": write_tif}


def _forget(descriptor: int) -> None:
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def from_disk() -> int:
    """Bytes that this process had fetched from storage."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def measure(path: Path) -> dict[str, object]:
    """Estimate in this process."""
    before, start = from_disk(), time.perf_counter()
    estimate = pg.estimate_noise(path)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "read_bytes": from_disk() - before,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "verdict": estimate.verdict,
        "gain": estimate.model.gain if estimate.model else None,
        "interval": estimate.interval.gain if estimate.interval else None,
        "frames": estimate.diagnostics.frames_sampled if estimate.diagnostics else 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=60.0)
    parser.add_argument("--format", choices=FORMATS, nargs="*", default=list(FORMATS))
    parser.add_argument("--folder", type=Path, help="where there is room; default: the temporary folder")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    frames = block()
    print(
        "| file | GB | frames | seconds | MB from disk | peak memory MB | verdict | gain (truth 40) | "
        "frames sampled |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.format:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            room = shutil.disk_usage(folder).free - LEFT_FREE
            repeats = int(min(options.gigabytes * 1e9, room) // frames.nbytes)
            if repeats < 1:
                raise SystemExit(f"{folder}: {room / 1e9:.1f} GB of disk beyond the 15 left free")
            path = Path(folder) / f"movie.{name}"
            FORMATS[name](path, frames, repeats)
            with path.open("rb") as file:
                _forget(file.fileno())
            command = [sys.executable, "-m", "benchmarks.estimate_time", "--measure", str(path)]
            done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            size = path.stat().st_size
        low, high = done["interval"] or (float("nan"),) * 2
        print(
            f"| .{name} | {size / 1e9:.1f} | {repeats * BLOCK:,} | {done['seconds']:.1f} | "
            f"{done['read_bytes'] / 1e6:.0f} | {done['peak_bytes'] / 1e6:.0f} | {done['verdict']} | "
            f"{done['gain'] or float('nan'):.2f} ({low:.2f} to {high:.2f}) | {done['frames']} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
