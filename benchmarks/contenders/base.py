"""What a contender is."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg

CHUNK_FRAMES = 100
"""Frames per chunk, of all contenders that have chunks."""


class Contender(ABC):
    """Stores a movie and gives its counts back.

    ``worst`` is the largest error allowed, sigma: what was promised, checked before any timing. ``partial``
    says whether a frame is read without reading the movie.
    """

    name: str
    lossless = False
    worst = 0.0
    partial = True
    needs: tuple[str, ...] = ()

    @abstractmethod
    def write(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> None:
        """Store the movie in a folder that does not exist."""

    @abstractmethod
    def read(self, folder: Path) -> NDArray:
        """All counts."""

    def frame(self, folder: Path, number: int) -> NDArray:
        """Counts of one frame."""
        return self.read(folder)[number]

    def trace(self, folder: Path, rows: slice, columns: slice) -> NDArray:
        """Mean of a region, of every frame."""
        return self.read(folder)[:, rows, columns].mean((1, 2))

    def missing(self) -> str | None:
        """What would have to be installed, or None."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} not installed" if absent else None

    def worst_error(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> float:
        """Largest difference of any pixel, in sigma; a check before any timing."""
        return self.errors(values, noise, folder)[0]

    def errors(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> tuple[float, float]:
        """Largest difference, sigma, and variance added to the noise, per cent; of every pixel."""
        counts = self.read(folder)
        assert counts.shape == values.shape and counts.dtype == values.dtype, (counts.shape, counts.dtype)
        if self.lossless:
            np.testing.assert_array_equal(counts, values)
            return 0.0, 0.0
        worst, squares = 0.0, 0.0
        for start in range(0, len(values), CHUNK_FRAMES):
            part = slice(start, start + CHUNK_FRAMES)
            error = pg.anscombe(counts[part], noise) - pg.anscombe(values[part], noise)
            worst, squares = max(worst, float(np.abs(error).max())), squares + float((error**2).sum())
        return worst, 100 * squares / values.size
