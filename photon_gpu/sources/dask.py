"""Source of a movie in a dask array, computed block by block."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie

_KEPT = 2  # partly read blocks in the cache, since the next range begins in one of them


class DaskSource(Source):
    """A movie in a dask array ``(T, ..., H, W)``, or in an xarray object that wraps one.

    Parameters
    ----------
    array : dask.array.Array
        Array of known shape, with blocks of any size.
    name : str, optional
        Name in messages.

    Raises
    ------
    InvalidInputError, UnsupportedTypeError
        See :func:`photon_gpu.sources.check.check_movie`; also if the shape is unknown (NaN).

    Notes
    -----
    If the movie is read from front to back, each block is computed once: up to two partly read blocks are
    kept for the next range. :func:`misaligned` counts the blocks that chunks cut.

    Examples
    --------
    >>> import dask.array as da
    >>> movie = DaskSource(da.ones((50, 4, 4), chunks=(20, 4, 4), dtype="uint16"))
    >>> movie.read(15, 45).shape
    (30, 4, 4)
    """

    def __init__(self, array: Any, *, name: str | None = None) -> None:
        self.name = name or "dask array"
        if any(length != length for length in array.shape):
            raise InvalidInputError(
                f"{self.name}: its shape is {array.shape}; a movie needs a known shape: call "
                f"array.compute_chunk_sizes()"
            )
        self.dtype = check_movie(array.shape, array.dtype, self.name)
        self.shape = tuple(int(length) for length in array.shape)
        self.array = array
        self._starts = [0, *itertools.accumulate(array.chunks[0])]
        self._cut: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop`` from the blocks that hold them."""
        self._check_frames(start, stop)
        with self._lock:
            if self._closed:
                raise InvalidInputError(f"{self.name}: the source is closed; open it again")
            parts = [
                self._block(number, first, last)[max(start - first, 0) : stop - first]
                for number, (first, last) in enumerate(itertools.pairwise(self._starts))
                if first < stop and start < last
            ]
            for number in [n for n in self._cut if self._starts[n + 1] <= stop]:
                del self._cut[number]
        return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts), dtype=self.dtype)

    def arranged(self, order: tuple[int, ...]) -> DaskSource:
        """See the base class; the array is transposed lazily."""
        other = DaskSource(self.array.transpose(order), name=self.name)
        other.recording = self.recording
        return other

    def close(self) -> None:
        """Release the array and the cached blocks."""
        with self._lock:
            self._closed = True
            self._cut.clear()

    def note(self, chunk_frames: int) -> str | None:
        """Remark on dask blocks that are not aligned with chunks; None if all are."""
        counts = misaligned(self.array.chunks, chunk_frames)
        return counts.sentence(chunk_frames) if counts.unaligned else None

    def _block(self, number: int, first: int, last: int) -> NDArray[Any]:
        if number in self._cut:
            self._cut.move_to_end(number)
            return self._cut[number]
        values = np.asarray(self.array[first:last].compute())
        expected = (last - first, *self.shape[1:])
        if values.shape != expected or values.dtype.newbyteorder("=") != self.dtype:
            raise InvalidInputError(
                f"{self.name}: block {number} is {values.dtype} {values.shape}, but dask promised "
                f"{self.dtype} {expected}: pass the right meta= where the array is made"
            )
        self._cut[number] = values
        while len(self._cut) > _KEPT:
            self._cut.popitem(last=False)
        return values


class Misaligned(NamedTuple):
    """Number of blocks, and number of blocks that are not made of whole chunks."""

    unaligned: int
    blocks: int

    def sentence(self, chunk_frames: int) -> str:
        """Sentence for a report or an error."""
        count = f"{self.unaligned} of {self.blocks} dask blocks"
        return f"{count} are not aligned with chunks of {chunk_frames} whole frames"


def misaligned(blocks: tuple[tuple[int, ...], ...], chunk_frames: int) -> Misaligned:
    """Count the blocks that share a chunk with other blocks.

    Parameters
    ----------
    blocks : tuple of tuple of int
        ``chunks`` of the dask array.
    chunk_frames : int

    Examples
    --------
    >>> misaligned(((100, 100, 50), (512,), (512,)), 100).unaligned
    0
    >>> misaligned(((100, 150), (256, 256), (512,)), 100)
    Misaligned(unaligned=4, blocks=4)
    """
    per_frame = 1
    for lengths in blocks[1:]:
        per_frame *= len(lengths)
    total, ends = sum(blocks[0]), list(itertools.accumulate(blocks[0]))
    starts = [0, *ends[:-1]]
    fits = [
        first % chunk_frames == 0 and (last % chunk_frames == 0 or last == total)
        for first, last in zip(starts, ends, strict=True)
    ]
    whole = per_frame == 1
    return Misaligned(sum(not (fit and whole) for fit in fits) * per_frame, len(fits) * per_frame)


def aligned(array: Any, chunk_frames: int) -> Any:
    """Rechunk an array lazily, so that each block is one chunk of whole frames."""
    return array.rechunk((chunk_frames, *array.shape[1:]))
