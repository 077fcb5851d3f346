"""Source of a movie in memory: a NumPy array, a memory map, or an object that turns into an array."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError, UnsupportedTypeError
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie
from photon_gpu.sources.tiff.rawfile import RawFile

_MOST_READ = 1 << 31  # bytes per read; a chunk never has more
_PIECE = 1 << 20  # bytes per read if only a few of them are needed


class ArraySource(Source):
    """A movie in an array; frames are views of its memory where possible.

    Frames of a memory map are read from its file, at most 2 GiB at once. If the file is cut off meanwhile,
    this raises an error; access to the map itself would kill the process.

    Parameters
    ----------
    array : array_like
        ``(T, ..., H, W)``, any strides, any byte order. Memory maps and other
        ndarray subclasses are read in place; lists are copied once.
    name : str
        Name in messages.
    path : path-like, optional
        File of a memory map that was just made. For other maps, the operating system names the file.

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

    def __init__(self, array: Any, *, name: str = "array", path: Any = None) -> None:
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
        self._file = _MappedFile.of(self._array, path)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop``: a view if contiguous and native, else a copy of these frames."""
        self._check_frames(start, stop)
        array = self._array
        if array is None:
            raise InvalidInputError(f"{self.name}: the source is closed; open it again")
        frames = array[start:stop]
        if self._file is not None and frames.nbytes <= _MOST_READ:
            frames = self._file.read(frames)
        else:
            _check_mapped(array, self.name)
        return np.ascontiguousarray(frames, dtype=self.dtype)

    def arranged(self, order: tuple[int, ...]) -> ArraySource:
        """See the base class; nothing is copied."""
        assert self._array is not None
        other = ArraySource(self._array.transpose(order), name=self.name)
        other.recording = self.recording
        return other

    def close(self) -> None:
        """Release the array, and the file of a memory map."""
        self._array = None
        if self._file is not None:
            self._file.close()


class _MappedFile:
    """The file of a shared memory map, from which the bytes of the map's views are read.

    Parameters
    ----------
    file : RawFile
    start : int
        Address in memory that the first byte of the file has, or would have.
    """

    def __init__(self, file: RawFile, start: int) -> None:
        self._file, self._start = file, start

    @classmethod
    def of(cls, array: NDArray[Any], path: Any = None) -> _MappedFile | None:
        """Return the file of an array; None if it is not a shared map or the system does not name its file.

        Without ``path`` another file may have the map's name by now. Private maps may differ from their file.
        """
        mapped = _mapped(array)
        if mapped is None:
            return None
        if path is not None:
            return cls(RawFile(path), mapped.ctypes.data - mapped.offset)
        try:
            file = RawFile(mapped.filename)
            lines = Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines()
        except (OSError, PhotonError):
            return None
        name = re.escape(str(Path(file.name).resolve()))
        for line in lines:
            match = re.fullmatch(rf"(\w+)-(\w+) ..-s (\w+) \S+ \d+ +{name}", line)
            if match and int(match[1], 16) <= mapped.ctypes.data < int(match[2], 16):
                return cls(file, int(match[1], 16) - int(match[3], 16))
        file.close()
        return None

    def read(self, view: NDArray[Any]) -> NDArray[Any]:
        """Read what a view of the map holds."""
        if not view.size:
            return view
        reach = [(size - 1) * step for size, step in zip(view.shape, view.strides, strict=True)]
        low = view.ctypes.data + sum(min(step, 0) for step in reach)
        span = sum(map(abs, reach)) + view.itemsize
        if span > max(_PIECE, 2 * view.nbytes):
            axis = int(np.argmax(np.abs(reach)))
            return np.stack([self.read(part) for part in np.moveaxis(view, axis, 0)], axis)
        data = np.empty(span, np.uint8)
        self._file.read_into(low - self._start, data.data)
        return np.ndarray(view.shape, view.dtype, data, view.ctypes.data - low, view.strides)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _mapped(array: Any) -> np.memmap[Any, Any] | None:
    """Return the memory-mapped file that an array is a view of."""
    mapped = None
    while array is not None:
        mapped = array if isinstance(array, np.memmap) else mapped
        array = getattr(array, "base", None)
    return None if mapped is None or mapped.filename is None else mapped


def _check_mapped(array: Any, name: str) -> None:
    """Raise CorruptDataError if a mapped file was cut off; reading its missing part would end the process."""
    mapped = _mapped(array)
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
