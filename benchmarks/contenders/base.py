"""What a contender is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg


class Contender(ABC):
    """Stores a movie and gives its counts back."""

    name: str
    lossless = False

    @abstractmethod
    def write(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> None:
        """Store the movie in a folder that does not exist."""

    @abstractmethod
    def read(self, folder: Path) -> NDArray:
        """All counts."""

    def worst_error(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> float:
        """Largest difference of any pixel, in sigma; a check before any timing."""
        counts = self.read(folder)
        assert counts.shape == values.shape
        if self.lossless:
            np.testing.assert_array_equal(counts, values)
        return float(np.abs(pg.anscombe(counts, noise) - pg.anscombe(values, noise)).max())
