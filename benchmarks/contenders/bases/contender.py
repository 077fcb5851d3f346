"""Base classes of the formats that the benchmarks compare, and the check of their errors."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.support.generated_movie import CHUNK_FRAMES, Made, spans
from benchmarks.support.s3_folder import Bucket

__all__ = ["CHUNK_FRAMES", "Contender", "Indexed"]


class Contender(ABC):
    """A format under test: it stores a movie and gives its counts back.

    ``worst`` is the largest error that the format promises, in sigma; it is checked before any timing.
    ``remote`` says whether the format reads from an object store. ``streams`` says whether it stores movies
    that do not fit into memory.
    """

    name: str
    lossless = False
    worst = 0.0
    remote = False
    streams = False
    needs: tuple[str, ...] = ()

    @abstractmethod
    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        """Store the movie in a folder that does not exist."""

    @abstractmethod
    def read(self, folder: Path | Bucket) -> NDArray:
        """Return all counts."""

    def part(self, folder: Path | Bucket, frames: slice) -> NDArray:
        """Return the counts of a range of frames that consists of whole chunks."""
        return self.read(folder)[frames]

    def frame(self, folder: Path | Bucket, number: int) -> NDArray:
        """Return the counts of one frame."""
        return self.read(folder)[number]

    def trace(self, folder: Path | Bucket, rows: slice, columns: slice) -> NDArray:
        """Return the mean of a region in every frame."""
        return self.read(folder)[:, rows, columns].mean((1, 2))

    def missing(self) -> str | None:
        """Name the packages that are not installed; None if all are."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} not installed" if absent else None

    def worst_error(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> float:
        """Return the largest difference of any pixel, in sigma. It is checked before any timing."""
        return self.errors(values, noise, folder)[0]

    def errors(
        self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path | Bucket
    ) -> tuple[float, float]:
        """Return the largest error of any pixel, in sigma, and the added variance, in per cent."""
        worst, squares = 0.0, 0.0
        for span in spans(values):
            whole = isinstance(values, np.ndarray)
            counts, raw = self.read(folder) if whole else self.part(folder, span), values[span]
            assert counts.shape == raw.shape and counts.dtype == raw.dtype, (counts.shape, counts.dtype)
            if self.lossless:
                np.testing.assert_array_equal(counts, raw)
                continue
            for start in range(0, len(raw), CHUNK_FRAMES):
                part = slice(start, start + CHUNK_FRAMES)
                most, added = differences(counts[part], raw[part], noise)
                worst, squares = max(worst, most), squares + added
        return worst, 100 * squares / values.size


class Indexed(Contender):
    """A format whose reader takes an index, as an array does."""

    @abstractmethod
    def counts(self, folder: Path | Bucket, key: Any) -> NDArray:
        """Return the counts at an index, as ``array[key]`` does."""

    def read(self, folder: Path | Bucket) -> NDArray:
        return self.counts(folder, slice(None))

    def part(self, folder: Path | Bucket, frames: slice) -> NDArray:
        return self.counts(folder, frames)

    def frame(self, folder: Path | Bucket, number: int) -> NDArray:
        return self.counts(folder, number)

    def trace(self, folder: Path | Bucket, rows: slice, columns: slice) -> NDArray:
        return self.counts(folder, (slice(None), rows, columns)).mean((1, 2))


def differences(counts: NDArray, raw: NDArray, noise: pg.NoiseModel) -> tuple[float, float]:
    """Return the largest difference of any pixel, in sigma, and the sum of the squared differences."""
    if raw.dtype.kind not in "iu" or raw.dtype.itemsize > 2:
        error = pg.anscombe(counts, noise) - pg.anscombe(raw, noise)
        return float(np.abs(error).max()), float((error**2).sum())
    # Integers of 16 bits have few values: each is stabilized once, or a comparison of 20 GB takes minutes.
    low = min(int(counts.min()), int(raw.min()))
    table = pg.anscombe(np.arange(low, max(int(counts.max()), int(raw.max())) + 1), noise)
    worst, squares = _compared(counts.reshape(-1), raw.reshape(-1), low, table)
    return float(worst), float(squares)


@njit(nogil=True, cache=False)
def _compared(counts, raw, low, table):  # type: ignore[no-untyped-def]
    worst, squares = 0.0, 0.0
    for i in range(raw.size):
        error = table[counts[i] - low] - table[raw[i] - low]
        worst, squares = max(worst, abs(error)), squares + error * error
    return worst, squares
