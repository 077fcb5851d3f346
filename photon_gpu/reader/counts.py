"""Lazy view of a movie in its original dtype and units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.engine.model.code_table import supported_dtype
from photon_gpu.errors import InvalidInputError
from photon_gpu.reader.movie_protocol import Readable


class Counts:
    """The movie in its original units; ``astype`` to a float dtype leaves out the rounding to integers."""

    def __init__(self, movie: Readable, dtype: np.dtype) -> None:
        self._movie = movie
        self.dtype = dtype
        self.shape = movie.shape
        self.chunks = movie.chunks
        self.ndim = movie.ndim

    def astype(self, dtype: DTypeLike) -> Counts:
        """The same values as another dtype: the original, float32 or float64."""
        wanted = supported_dtype(dtype)
        if wanted.kind != "f" and wanted != self._movie.encoding.dtype:
            raise InvalidInputError(
                f"counts are {self._movie.encoding.dtype}; astype gives that, float32 or float64, not "
                f"{wanted.name}"
            )
        return Counts(self._movie, wanted)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray:
        return self._movie.read(key, self.dtype)

    def __iter__(self) -> Iterator[NDArray]:
        for t in range(len(self)):
            yield self[t]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self[...], dtype)

    def __repr__(self) -> str:
        return f"<Counts {' x '.join(map(str, self.shape))} {self.dtype} of {self._movie.url}>"
