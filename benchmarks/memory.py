"""Measure the peak memory of encoding a large movie: ``python -m benchmarks.memory [--gigabytes 20]``.

The movie is made as it is read (noisy frames, cut out of 32 MB of noise), so only the
engine's own memory counts. Each layout runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from photon_gpu.sources.base import Source

NOISE = pg.NoiseModel(gain=100.0, offset=92.0)


_SAMPLES = 1 << 24
_PIECE = 1 << 20


@cache
def _noise() -> NDArray:
    """Make two-photon noise of an even field piece by piece, so that it needs no memory but its own."""
    rng, out = np.random.default_rng(0), np.empty(_SAMPLES, "int16")
    for start in range(0, _SAMPLES, _PIECE):
        light = 92 + 100 * rng.poisson(4.0, _PIECE).astype("float32")
        out[start : start + _PIECE] = light + rng.normal(0, 40, _PIECE).astype("float32")
    return out


class Shifted(Source):
    """Frames cut out of one long stretch of noise, each at another place: no two of a chunk are alike."""

    name = "shifted noise"
    dtype = np.dtype("int16")

    def __init__(self, frames: int, size: int = 512, seed: int = 0) -> None:
        self.shape, self._size, self._seed = (frames, size, size), size, seed

    def __reduce__(self) -> tuple:
        return Shifted, (self.shape[0], self._size, self._seed)

    def read(self, start: int, stop: int) -> NDArray:
        noise, pixels = _noise(), self._size**2
        out = np.empty((stop - start, self._size, self._size), "int16")
        for n, t in enumerate(range(start, stop)):
            first = (t + 977 * self._seed) * 5_000_011 % (_SAMPLES - pixels)
            out[n] = noise[first : first + pixels].reshape(self._size, self._size)
        return out


def measure(layout: str, gigabytes: float) -> dict:
    """Encode in this process; return the peak resident memory of this process alone."""
    import resource

    movie = Shifted(int(gigabytes * 1e9) // (512 * 512 * 2))
    with tempfile.TemporaryDirectory() as folder:
        report = pg.encode(
            movie,
            Path(folder) / "movie.zarr",
            noise=NOISE,
            layout=layout,
            preset="fast",
            check=False,
            trust_noise=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "layout": layout,
        "raw_bytes": movie.nbytes,
        "peak_bytes": peak,
        "ratio": report.ratio,
        "mb_s": report.megabytes_per_second,
    }


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
