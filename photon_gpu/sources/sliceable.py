"""Movies behind an object that is sliced like an array: dask, xarray, ``movie.counts``."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie


class SliceableSource(Source):
    """Anything with ``shape``, ``dtype`` and ``movie[start:stop]``, never loaded whole.

    Parameters
    ----------
    movie : object
        ``movie[start:stop]`` must turn into a NumPy array of the promised
        shape and dtype.
    name : str, optional
        What to call it in messages; the type's name unless given.

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
        # Nothing is known of the object's threads, so one slice at a time.
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Frames ``start:stop``, sliced from the object."""
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
        """Let go of the object; it is not closed, since it was not opened here."""
        with self._lock:
            self._movie = None

    def _slice(self, start: int, stop: int) -> NDArray[Any]:
        return np.asarray(self._movie[start:stop])
