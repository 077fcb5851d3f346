"""Base class of codecs of floats with a bound on their error: chunks of stabilized values, a file each."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.file_per_chunk import Files


class Stabilized(Files):
    """Stabilized float32 values (noise of one sigma), stored with the error of a step of 0.5."""

    step = 0.5

    def pack(self, block: NDArray, noise: pg.NoiseModel) -> bytes:
        return self.squeeze(pg.anscombe(block, noise).astype(np.float32))

    def unpack(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype, facts: dict[str, Any]) -> NDArray:
        noise, info = pg.NoiseModel.from_dict(facts["noise"]), np.iinfo(dtype)
        counts = pg.inverse_anscombe(self.expand(data, shape), noise)
        return np.clip(np.rint(counts), info.min, info.max).astype(dtype)

    @abstractmethod
    def squeeze(self, stabilized: NDArray) -> bytes:
        """Compress a chunk of float32 ``(t, H, W)``."""

    @abstractmethod
    def expand(self, data: bytes, shape: tuple[int, ...]) -> NDArray:
        """Decompress a chunk."""
