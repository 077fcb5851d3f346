"""Source of a movie in memory: a NumPy array, a memory map, or an object that turns into an array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie


class ArraySource(Source):
    """A movie in an array; frames are views of its memory where possible.

    Parameters
    ----------
    array : array_like
        ``(T, ..., H, W)``, any strides, any byte order. Memory maps and other
        ndarray subclasses are read in place; lists are copied once.
    name : str
        Name in messages.

    Raises
    ------
    InvalidInputError
        If the shape is not that of a movie, or values are masked.
    UnsupportedTypeError
        If the object does not turn into an array of an allowed dtype.

    Examples
    --------
    >>> movie = ArraySource(np.arange(24, dtype=">u2").reshape(2, 3, 4))
    >>> movie.shape, movie.dtype, int(movie.read(1, 2)[0, 0, 0])
    ((2, 3, 4), dtype('uint16'), 12)
    """

    def __init__(self, array: Any, *, name: str = "array") -> None:
        if isinstance(array, np.ma.MaskedArray):
            if np.ma.is_masked(array):
                masked = int(np.ma.getmaskarray(array).sum())
                raise InvalidInputError(
                    f"{name}: {masked} values are masked, and a movie has no mask; "
                    "fill them first: array.filled(value)"
                )
            array = array.data
        self.name = name
        self._array: NDArray[Any] | None = _as_array(array, name)
        self.dtype = check_movie(self._array.shape, self._array.dtype, name)
        self.shape = self._array.shape

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop``: a view if contiguous and native, else a copy of these frames."""
        self._check_frames(start, stop)
        array = self._array
        if array is None:
            raise InvalidInputError(f"{self.name}: the source is closed")
        _check_mapped(array, self.name)
        return np.ascontiguousarray(array[start:stop], dtype=self.dtype)

    def arranged(self, order: tuple[int, ...]) -> ArraySource:
        """See the base class; nothing is copied."""
        assert self._array is not None
        other = ArraySource(self._array.transpose(order), name=self.name)
        other.recording = self.recording
        return other

    def close(self) -> None:
        """Release the array, and the file of a memory map."""
        self._array = None


def _check_mapped(array: Any, name: str) -> None:
    """Raise CorruptDataError if a mapped file was cut off; reading its missing part would end the process."""
    mapped = None
    while array is not None:
        mapped = array if isinstance(array, np.memmap) else mapped
        array = getattr(array, "base", None)
    if mapped is None or mapped.filename is None or not Path(mapped.filename).exists():
        return
    filename, needed = mapped.filename, mapped.offset + mapped.nbytes
    size = Path(filename).stat().st_size
    if size < needed:
        raise CorruptDataError(
            f"{name}: the file is truncated: {needed:,} bytes of {filename} are mapped, it has {size:,}"
        )


def _as_array(array: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(array)
    except ValueError as error:
        raise InvalidInputError(
            f"{name}: this {type(array).__name__} does not form one array ({error}); "
            "a movie needs frames of one shape"
        ) from error
    except TypeError as error:
        raise UnsupportedTypeError(
            f"{name}: a {type(array).__name__} does not turn into a NumPy array ({error})"
        ) from error
