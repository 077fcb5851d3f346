"""Source of a movie in an object that is sliced like an array: xarray, ``movie.counts``."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import Recording
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
        if isinstance(recording := getattr(movie, "recording", None), Recording):
            self.recording, self.lost = recording, getattr(movie, "lost", ())  # movie.counts
        # The object may not be thread-safe, so it is sliced by one thread at a time.
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop`` by slicing the object."""
        self._check_frames(start, stop)
        with self._lock:
            if self._movie is None:
                raise InvalidInputError(f"{self.name}: the source is closed; open it again")
            frames = self._slice(start, stop)
        expected = (stop - start, *self.shape[1:])
        if frames.shape != expected or frames.dtype.newbyteorder("=") != self.dtype:
            raise InvalidInputError(
                f"{self.name}: slicing {start}:{stop} gave {frames.dtype} {frames.shape}; "
                f"its shape and dtype promised {self.dtype} {expected}"
            )
        return np.ascontiguousarray(frames, dtype=self.dtype)

    def arranged(self, order: tuple[int, ...]) -> Source:
        """See the base class. Frames along another dimension are sliced along it."""
        self._refuse_gaps(order)
        return Transposed(self, order)

    def close(self) -> None:
        """Release the object without closing it, since it was not opened here."""
        with self._lock:
            self._movie = None

    def _refuse_gaps(self, order: tuple[int, ...]) -> None:
        """Refuse an order of dimensions in which missing parts are no longer whole frames."""
        if self.lost and order[0]:
            raise InvalidInputError(
                f"{self.name}: parts of it are missing, and its frames run along dimension {order[0]}; "
                "complete the file, or take missing='fill'"
            )

    def sliced(self, axis: int, start: int, stop: int) -> NDArray[Any]:
        """Slice the object along any of its dimensions."""
        with self._lock:
            if self._movie is None:
                raise InvalidInputError(f"{self.name}: the source is closed; open it again")
            try:
                return np.asarray(self._movie[(*[slice(None)] * axis, slice(start, stop))])
            except Exception as error:
                # Each format raises its own exceptions.
                raise CorruptDataError(
                    f"{self.name}: frames {start}:{stop} cannot be read: {type(error).__name__}: {error}"
                ) from error

    def _slice(self, start: int, stop: int) -> NDArray[Any]:
        return np.asarray(self._movie[start:stop])


class Transposed(Source):
    """A :class:`SliceableSource` with its dimensions in another order.

    Parameters
    ----------
    source : SliceableSource
        The source to reorder; it is closed with this one.
    order : tuple of int
        Dimension of ``source`` for each dimension of the movie.

    Examples
    --------
    >>> columns = SliceableSource(np.arange(12, dtype="uint16").reshape(2, 2, 3))  # (y, x, t)
    >>> Transposed(columns, (2, 0, 1)).read(1, 2).tolist()
    [[[1, 4], [7, 10]]]
    """

    def __init__(self, source: SliceableSource, order: tuple[int, ...]) -> None:
        self._source, self._order = source, order
        self.name, self.dtype, self.lost = source.name, source.dtype, source.lost
        self.shape = tuple(source.shape[number] for number in order)
        self.recording = source.recording

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop``."""
        self._check_frames(start, stop)
        axis = self._order[0]
        stored = self._source.read(start, stop) if axis == 0 else self._source.sliced(axis, start, stop)
        return np.ascontiguousarray(stored.transpose(self._order), dtype=self.dtype)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
