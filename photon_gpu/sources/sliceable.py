"""Source of a movie in an object that is sliced like an array: xarray, ``movie.counts``."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie


class SliceableSource(Source):
    """A movie in an object with ``shape``, ``dtype`` and slices, which is never loaded as a whole.

    Parameters
    ----------
    movie : object
        ``movie[start:stop]`` must turn into a NumPy array of the promised
        shape and dtype.
    name : str, optional
        Name in messages. Default: the name of the type.

    Raises
    ------
    InvalidInputError, UnsupportedTypeError
        See :func:`photon_gpu.sources.check.check_movie`.

    Examples
    --------
    >>> class Ramp:
    ...     shape, dtype = (5, 2, 2), np.dtype("int16")
    ...     def __getitem__(self, frames):
    ...         return np.arange(20, dtype="int16").reshape(self.shape)[frames]
    >>> SliceableSource(Ramp()).read(4, 5).tolist()
    [[[16, 17], [18, 19]]]
    """

    def __init__(self, movie: Any, *, name: str | None = None) -> None:
        self.name = name if name is not None else type(movie).__name__
        self.dtype = check_movie(movie.shape, movie.dtype, self.name)
        self.shape = tuple(int(length) for length in movie.shape)
        self._movie = movie
        # The object may not be thread-safe, so it is sliced by one thread at a time.
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop`` by slicing the object."""
        self._check_frames(start, stop)
        with self._lock:
            if self._movie is None:
                raise InvalidInputError(f"{self.name}: the source is closed")
            frames = self._slice(start, stop)
        expected = (stop - start, *self.shape[1:])
        if frames.shape != expected or frames.dtype.newbyteorder("=") != self.dtype:
            raise InvalidInputError(
                f"{self.name}: slicing {start}:{stop} gave {frames.dtype} {frames.shape}; "
                f"its shape and dtype promised {self.dtype} {expected}"
            )
        return np.ascontiguousarray(frames, dtype=self.dtype)

    def close(self) -> None:
        """Release the object without closing it, since it was not opened here."""
        with self._lock:
            self._movie = None

    def _slice(self, start: int, stop: int) -> NDArray[Any]:
        return np.asarray(self._movie[start:stop])
