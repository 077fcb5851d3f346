"""Peak memory of encoding a movie far larger than memory: ``python -m benchmarks.memory [--gigabytes 20]``.

The movie is made as it is read (noisy frames, shifted by a pixel each time), so only the
engine's own memory counts. Each layout runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from photon_gpu.sources.base import Source

NOISE = pg.NoiseModel(gain=100.0, offset=92.0)


class Shifted(Source):
    """One noisy frame of 512 x 512 int16, shifted further for every frame."""

    name = "shifted noise"
    dtype = np.dtype("int16")

    def __init__(self, frames: int) -> None:
        self.shape = (frames, 512, 512)
        rng = np.random.default_rng(0)
        frame = 92 + 100 * rng.poisson(4.0, (512, 512)) + rng.normal(0, 40, (512, 512))
        self._twice = np.concatenate([frame, frame], axis=1).astype("int16")

    def read(self, start: int, stop: int) -> NDArray:
        return np.stack([self._twice[:, (7 * t) % 512 :][:, :512] for t in range(start, stop)])


def measure(layout: str, gigabytes: float) -> dict:
    """Encode in this process; peak resident memory of the process, and of nothing else."""
    import resource

    movie = Shifted(int(gigabytes * 1e9) // (512 * 512 * 2))
    with tempfile.TemporaryDirectory() as folder:
        report = pg.encode(movie, Path(folder) / "movie.zarr", noise=NOISE, layout=layout, preset="fast")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"layout": layout, "raw_bytes": movie.nbytes, "peak_bytes": peak, "ratio": report.ratio,
            "mb_s": report.megabytes_per_second}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--layout", choices=("plain", "compact", "lossless"))
    options = parser.parse_args()
    if options.layout:
        print(json.dumps(measure(options.layout, options.gigabytes)))
        return
    print("| layout | raw GB | peak memory GB | MB/s |\n|---|---|---|---|")
    for layout in ("compact", "plain"):
        command = [
            sys.executable,
            "-m",
            "benchmarks.memory",
            "--layout",
            layout,
            "--gigabytes",
            str(options.gigabytes),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = json.loads(done.stdout)
        print(
            f"| {layout} | {row['raw_bytes'] / 1e9:.1f} | {row['peak_bytes'] / 1e9:.2f} | {row['mb_s']:.0f} |"
        )


if __name__ == "__main__":
    main()
