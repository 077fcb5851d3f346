"""Read arrays whose chunks hold parts of many frames, and decode each chunk once."""

from __future__ import annotations

import bisect
import itertools
import math
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, ...]
"""A slice along each axis of the array; both ends are numbers."""

_MEMORY_BYTES = 256 << 20
_DISK_BYTES = 4 << 30
_PIECE_BYTES = 32 << 20
_FREE_SHARE = 0.9  # of the free disk space that a layer may take
_SHORT = 16  # Frames of a layer up to which single frames are read alone: decoding it again costs little.


class ChunkLayerCache:
    """Frames of a chunked array. If they are read in order, each chunk is decoded only once.

    A layer is all chunks that hold the same frames. Where a range of frames ends within a layer, the whole
    layer is decoded and kept for the next range: in memory up to ``memory_bytes``, else in a temporary file.
    The least recently used layers are dropped first.

    Parameters
    ----------
    shape : tuple of int
        ``(T, ..., H, W)``
    dtype : numpy.dtype
    chunks : tuple of int
        Shape of a chunk.
    read_box : callable
        ``read_box(box)`` decodes a part of the array.
    memory_bytes : int
        Memory for cached layers.
    edges : sequence of int, optional
        First frame of each layer. Default: multiples of the length of a chunk.

    Attributes
    ----------
    no_room : str or None
        Why chunks are decoded more than once, if they are: the disk has no room for a layer.

    Examples
    --------
    >>> array, boxes = np.arange(24).reshape(6, 2, 2), []
    >>> def read_box(box):
    ...     boxes.append(box[0])
    ...     return array[box]
    >>> layers = ChunkLayerCache(array.shape, array.dtype, (6, 2, 2), read_box)
    >>> layers.read(0, 2).shape, layers.read(2, 6).shape, len(boxes)
    ((2, 2, 2), (4, 2, 2), 1)
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        chunks: tuple[int, ...],
        read_box: Callable[[Box], NDArray[Any]],
        *,
        memory_bytes: int = _MEMORY_BYTES,
        edges: Sequence[int] | None = None,
    ) -> None:
        self.no_room: str | None = None
        self._shape, self._dtype, self._frames = shape, dtype, chunks[0]
        self._edges = range(0, shape[0], chunks[0]) if edges is None else edges
        self._read_box, self._memory_bytes = read_box, memory_bytes
        self._pieces = list(_pieces(shape, dtype, chunks))
        self._layers: OrderedDict[int, _Layer] = OrderedDict()

    def cuts(self, start: int, stop: int) -> bool:
        """Whether frames ``start:stop`` begin or end within a layer."""
        return not all(self._begins(frame) for frame in (start, stop) if frame != self._shape[0])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop``."""
        frames = np.empty((stop - start, *self._shape[1:]), self._dtype)
        for number in range(self._number(start), self._number(stop - 1) + 1):
            first, last = self._range(number)
            a, b = max(start, first), min(stop, last)
            out = frames[a - start : b - start]
            alone = (a, b) == (first, last) or (stop - start == 1 and last - first <= _SHORT)
            layer = None if alone and number not in self._layers else self._layer(number)
            if layer is None:
                for piece in self._pieces:
                    out[(slice(None), *piece)] = self._read_box((slice(a, b), *piece))
            else:
                layer.copy(a - first, b - first, out)
        return frames

    def close(self) -> None:
        """Release the cached layers and their files."""
        while self._layers:
            self._layers.popitem()[1].close()

    def _range(self, number: int) -> tuple[int, int]:
        following = self._edges[number + 1] if number + 1 < len(self._edges) else self._shape[0]
        return self._edges[number], following

    def _begins(self, frame: int) -> bool:
        return self._edges[self._number(frame)] == frame

    def _number(self, frame: int) -> int:
        """Number of the layer that holds a frame."""
        return bisect.bisect_right(self._edges, frame) - 1

    def _layer(self, number: int) -> _Layer | None:
        """Return a layer, which is decoded unless it is cached; None if there is no room for it."""
        if number in self._layers:
            self._layers.move_to_end(number)
            return self._layers[number]
        first, last = self._range(number)
        nbytes = (last - first) * math.prod(self._shape[1:]) * self._dtype.itemsize
        layer: _Layer
        if nbytes <= self._memory_bytes:
            self._drop(_MemoryLayer, self._memory_bytes - nbytes)
            layer = _MemoryLayer(nbytes)
        else:
            self._drop(_FileLayer, _DISK_BYTES - nbytes)
            if self.no_room is not None or not self._has_room(nbytes):
                return None
            layer = _FileLayer(nbytes)
        try:
            for piece in self._pieces:
                values = self._read_box((slice(first, last), *piece))
                layer.add(piece, np.ascontiguousarray(values, self._dtype))
        except _DiskError as error:
            layer.close()
            self._say_no_room(nbytes, str(error))
            return None
        except BaseException:
            layer.close()
            raise
        self._layers[number] = layer
        return layer

    def _drop(self, layer_type: type[_Layer], room: int) -> None:
        """Drop the oldest layers of a type until the others take at most ``room`` bytes."""
        layers = [number for number, layer in self._layers.items() if isinstance(layer, layer_type)]
        while layers and sum(self._layers[number].nbytes for number in layers) > room:
            self._layers.pop(layers.pop(0)).close()

    def _has_room(self, nbytes: int) -> bool:
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if nbytes > _FREE_SHARE * free:
            self._say_no_room(nbytes, f"{free:,} bytes are free")
        return self.no_room is None

    def _say_no_room(self, nbytes: int, why: str) -> None:
        self.no_room = (
            f"its chunks hold {self._frames} frames each, and {tempfile.gettempdir()} has no room for the "
            f"{nbytes:,} bytes of such a layer ({why}): chunks were decoded several times. TMPDIR names "
            "another folder"
        )


class _DiskError(Exception):
    """A layer cannot be written to its temporary file."""


class _Layer(ABC):
    """Decoded pieces of a layer, one after another."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    @abstractmethod
    def add(self, piece: Box, values: NDArray[Any]) -> None:
        """Keep the values of a piece."""

    @abstractmethod
    def copy(self, first: int, last: int, out: NDArray[Any]) -> None:
        """Copy frames ``first:last`` of the layer to ``out``."""

    @abstractmethod
    def close(self) -> None:
        """Free the memory or the file."""


class _MemoryLayer(_Layer):
    def __init__(self, nbytes: int) -> None:
        super().__init__(nbytes)
        self._pieces: list[tuple[Box, NDArray[Any]]] = []

    def add(self, piece: Box, values: NDArray[Any]) -> None:
        self._pieces.append((piece, values))

    def copy(self, first: int, last: int, out: NDArray[Any]) -> None:
        for piece, values in self._pieces:
            out[(slice(None), *piece)] = values[first:last]

    def close(self) -> None:
        self._pieces.clear()


class _FileLayer(_Layer):
    """Pieces in a temporary file without a name, which the system deletes when the process ends."""

    def __init__(self, nbytes: int) -> None:
        super().__init__(nbytes)
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="photon_gpu-")  # noqa: SIM115 - closed by close()
        self._pieces: list[tuple[Box, int]] = []
        self._end = 0

    def add(self, piece: Box, values: NDArray[Any]) -> None:
        try:
            self._file.write(values.reshape(-1).view(np.uint8).data)
            self._file.flush()
        except OSError as error:
            raise _DiskError(error.strerror) from error
        self._pieces.append((piece, self._end))
        self._end += values.nbytes

    def copy(self, first: int, last: int, out: NDArray[Any]) -> None:
        for piece, begin in self._pieces:
            target = out[(slice(None), *piece)]
            values = np.empty(target.shape, target.dtype)
            self._file.seek(begin + first * (values.nbytes // (last - first)))
            read = self._file.readinto(values.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
            if read != values.nbytes:
                raise OSError(
                    f"a temporary file in {tempfile.gettempdir()} lost {values.nbytes - read} bytes"
                )
            target[...] = values

    def close(self) -> None:
        self._file.close()


def _pieces(shape: tuple[int, ...], dtype: np.dtype, chunks: tuple[int, ...]) -> Iterator[Box]:
    """Split a frame into boxes of whole chunks, each of about 32 MiB of a layer, or one chunk if larger."""
    size = list(chunks[1:])
    for axis in reversed(range(len(size))):
        row = math.prod(size) * chunks[0] * dtype.itemsize
        count = -(-shape[axis + 1] // size[axis])
        fit = max(1, min(count, _PIECE_BYTES // row))
        size[axis] *= fit
        if fit < count:
            break
    ranges = [
        [slice(begin, min(begin + step, length)) for begin in range(0, length, step)]
        for length, step in zip(shape[1:], size, strict=True)
    ]
    yield from itertools.product(*ranges)
