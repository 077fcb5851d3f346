"""Compress and decompress Blosc frames, block by block, on many threads.

A Blosc 1 frame is a 16-byte header, a table of block starts, and blocks that do not depend on each other.
Runs of blocks are compressed separately and joined, so that all cores work on one chunk; the bytes equal
those of a single call (tested). To read part of a chunk, some blocks are taken out as a smaller frame.
"""

from __future__ import annotations

import itertools
import mmap
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.engine.runtime.stopwatch import Map
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.kernels.zstd_huffman import cpu as huffman

__all__ = [
    "MAX_BYTES",
    "Blocks",
    "Compressor",
    "compress",
    "compress_blocks",
    "compress_bytes",
    "decompress",
    "decompress_span",
    "frame_sizes",
]

MAX_BYTES = 2**31 - 17
"""Largest buffer one Blosc frame can hold."""

_AT_ONCE = 1 << 20
_HEADER = struct.Struct("<BBBBiii")
_MEMCPYED, _UNSPLIT = 0x02, 0x10
_CODED = 1 << 15  # bytes per block of a Huffman-only frame
_TRIED = 1 << 17  # bytes that are compressed in both ways
_SHUFFLES = {"none": 0, "byte": 1, "bit": 2, "noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_NAMES = ("zstd", "lz4", "lz4hc", "zlib", "blosclz")


@dataclass(frozen=True, kw_only=True)
class Compressor:
    """Settings of numcodecs Blosc, as written in ``.zarray``.

    Parameters
    ----------
    cname : {"zstd", "lz4", "lz4hc", "zlib", "blosclz"}
    clevel : int
        0 to 9.
    shuffle : {0, 1, 2}
        0: none, 1: by byte, 2: by bit.
    blocksize : int
        Bytes per block. 0: Blosc chooses, and ``.zarray`` has no such key.

    Examples
    --------
    >>> Compressor.parse("zstd-5-bitshuffle").to_dict()
    {'id': 'blosc', 'cname': 'zstd', 'clevel': 5, 'shuffle': 2}
    """

    cname: str = "zstd"
    clevel: int = 1
    shuffle: int = 1
    blocksize: int = 1 << 20

    def __post_init__(self) -> None:
        if not isinstance(self.cname, str) or self.cname not in _NAMES:
            raise InvalidInputError(f"compressor: cname is {self.cname!r}; allowed are {', '.join(_NAMES)}")
        for name, top in (("clevel", 9), ("shuffle", 2), ("blocksize", MAX_BYTES)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= top:
                raise InvalidInputError(
                    f"compressor: {name} is {value!r}; a whole number 0 to {top} is needed"
                )
        if 0 < self.blocksize < 1024:
            raise InvalidInputError(
                f"compressor: blocksize is {self.blocksize}; 0 (automatic) or at least 1024"
            )

    @property
    def text(self) -> str:
        """The settings as :meth:`parse` reads them."""
        shuffle = ("none", "shuffle", "bitshuffle")[self.shuffle]
        size = f"-{self.blocksize}" if self.blocksize else ""
        return f"{self.cname}-{self.clevel}-{shuffle}{size}"

    def to_dict(self) -> dict[str, Any]:
        """The ``compressor`` entry of ``.zarray``."""
        entry: dict[str, Any] = {
            "id": "blosc",
            "cname": self.cname,
            "clevel": self.clevel,
            "shuffle": self.shuffle,
        }
        return {**entry, "blocksize": self.blocksize} if self.blocksize else entry

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Compressor:
        """Compressor from a ``compressor`` entry of ``.zarray``."""
        known = {"id", "cname", "clevel", "shuffle", "blocksize"}
        if not isinstance(entry, dict) or entry.get("id") != "blosc" or set(entry) - known:
            raise InvalidInputError(
                f"compressor is {entry!r}; a Blosc entry with cname, clevel, shuffle is needed"
            )
        return cls(**{"blocksize": 0, **{key: value for key, value in entry.items() if key != "id"}})

    @classmethod
    def parse(cls, text: str) -> Compressor:
        """Compressor from ``"zstd-5-bitshuffle"`` or ``"zstd-1-none-1048576"`` (block size optional)."""
        parts = str(text).lower().replace(":", "-").split("-")
        known = len(parts) in (3, 4) and parts[2] in _SHUFFLES
        if not known or not all(part.isdecimal() for part in (parts[1], *parts[3:])):
            raise InvalidInputError(
                f"compressor is {text!r}; write NAME-LEVEL-SHUFFLE, as in zstd-5-bitshuffle or zstd-1-none"
            )
        size = int(parts[3]) if len(parts) == 4 else 0
        return cls(cname=parts[0], clevel=int(parts[1]), shuffle=_SHUFFLES[parts[2]], blocksize=size)


def compress(data: NDArray, compressor: Compressor, run: Map = map) -> bytes:
    """One Blosc frame of a contiguous array, equal to ``numcodecs.Blosc(...).encode(data)``."""
    if data.nbytes > MAX_BYTES:
        raise InvalidInputError(
            f"a chunk of {data.nbytes:,} bytes exceeds Blosc's limit of {MAX_BYTES:,}; take fewer "
            f"chunk_frames"
        )
    flat = data.reshape(-1)
    return compress_blocks(
        lambda start, stop: flat[start:stop], flat.size, flat.dtype.itemsize, compressor, run
    )


def compress_bytes(data: NDArray[np.uint8], compressor: Compressor, run: Map = map) -> bytes:
    """Compress bytes like :func:`compress`, or by Huffman codes only where that is shorter.

    Noise has no matches, and zstd takes longer to look for them than to code it. Some blocks are tried both
    ways; both are zstd frames.
    """
    if not _codes_suffice(data, compressor):
        return compress(data, compressor, run)
    starts = range(0, data.size, compressor.blocksize * max(1, _AT_ONCE // compressor.blocksize))
    edges = list(itertools.pairwise([*starts, data.size]))
    frames = list(run(lambda edge: _code(data[slice(*edge)], compressor), edges))
    if any(frame[2] & _MEMCPYED for frame in frames):
        return _code(data, compressor)
    return frames[0] if len(frames) == 1 else _join(frames, data.size)


def _codes_suffice(data: NDArray[np.uint8], compressor: Compressor) -> bool:
    """Whether Huffman codes only are 0.1 % shorter, for a part of one block in 16."""
    size = compressor.blocksize
    if compressor.cname != "zstd" or compressor.shuffle or not compressor.clevel or not size or not data.size:
        return False
    count = -(-data.size // size)
    starts = range(min(count, 16) // 3 * size, data.size, 16 * size)
    tried = [data[start : start + min(size, _TRIED)] for start in starts]
    coded = sum(len(_code(block, compressor)) for block in tried)
    # A smaller difference may be chance, and the blocks not tried might be longer.
    return 1024 * coded <= 1023 * sum(len(_encode(block, compressor)) for block in tried)


def _code(data: NDArray[np.uint8], compressor: Compressor) -> bytes:
    """Blosc frame of Huffman-only zstd frames."""
    most = huffman.most_blosc_bytes(data.size, compressor.blocksize, _CODED)
    out = scratch("coded", (most,), np.uint8)
    return out[: huffman.encode_blosc(data, compressor.blocksize, _CODED, out)].tobytes()


def compress_blocks(
    items: Callable[[int, int], NDArray], count: int, itemsize: int, compressor: Compressor, run: Map = map
) -> bytes:
    """Compress like :func:`compress` ``count`` items, which ``items(start, stop)`` makes when needed.

    A chunk of float64 labels, four times the size of the raw movie, therefore never exists as a whole.
    ``items`` may reuse the memory of its result when the same thread calls it again.
    """
    nbytes = count * itemsize

    def one_frame(data: Callable[[], NDArray]) -> bytes:
        return next(iter(run(lambda make: _encode(make(), compressor), [data])))

    if nbytes < 1 << 16:
        return one_frame(lambda: items(0, count))
    # A requested block size is the same for every longer buffer; one that Blosc chooses is not.
    size, unsplit = _blocks(compressor, min(nbytes, 2 * compressor.blocksize or nbytes), itemsize)
    per_block = max(size // itemsize, 1)
    if count < 2 * per_block or size % itemsize or not unsplit:
        return one_frame(lambda: items(0, count))
    fixed = replace(compressor, blocksize=compressor.blocksize or size)
    # Small blocks are compressed together, about 1 MiB per call.
    starts = list(range(0, count - count % per_block, per_block * max(1, _AT_ONCE // size)))
    # A short rest joins the last whole block: alone, Blosc would treat it as a whole block.
    edges = [*starts, count]
    spans = list(itertools.pairwise(edges))
    frames = list(run(lambda span: _encode(items(*span), fixed), spans))
    if all(frame[2] == frames[0][2] and _HEADER.unpack_from(frame)[5] == size for frame in frames):
        joined = _join(frames, nbytes)
        if not frames[0][2] & _MEMCPYED and len(joined) < nbytes:
            return joined
    # A block that does not compress changes how Blosc stores the whole buffer.
    return one_frame(lambda: np.concatenate([items(*span).copy() for span in spans]))


def frame_sizes(frame: bytes) -> tuple[int, int]:
    """Decompressed bytes of a frame, and bytes per block; CorruptDataError for a bad header."""
    if len(frame) < _HEADER.size:
        raise CorruptDataError(f"a Blosc frame of {len(frame)} bytes is shorter than its header")
    _, _, flags, _, nbytes, size, length = _HEADER.unpack_from(frame)
    count = -(-nbytes // size) if size > 0 and nbytes > 0 else 0
    if length != len(frame) or nbytes < 0 or (nbytes and size <= 0):
        raise CorruptDataError(
            f"a Blosc frame of {len(frame)} bytes says it has {length}, opening to {nbytes} in blocks "
            f"of {size}"
        )
    if not flags & _MEMCPYED and _HEADER.size + 4 * count > len(frame):
        raise CorruptDataError(f"a Blosc frame of {len(frame)} bytes cannot hold {count} blocks")
    return nbytes, size


def decompress(
    frame: bytes, nbytes: int, run: Map = map, into: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Decompress a frame of ``nbytes`` bytes, to the contiguous array ``into`` if given."""
    actual, size = frame_sizes(frame)
    if actual != nbytes:
        raise CorruptDataError(f"a chunk opens to {actual:,} bytes; its metadata asks for {nbytes:,}")
    out = np.empty(nbytes, np.uint8) if into is None else into
    if nbytes == 0:
        return out
    blocks = -(-nbytes // size)
    if blocks < 2 or frame[2] & _MEMCPYED or run is map:
        _decode(frame, out)
        return out
    ends = _block_ends(frame, blocks)
    step = max(1, _AT_ONCE // size)

    def open_run(first: int) -> None:
        last = blocks if first + step >= blocks - 1 else first + step
        _decode(_part(frame, first, last, ends), out[first * size : last * size])

    # A short last block joins the one before: Blosc refuses a frame smaller than its block size.
    list(run(open_run, range(0, max(blocks - 1, 1), step)))
    return out


def decompress_span(
    frame: bytes, start: int, stop: int, into: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Decompress bytes ``start:stop`` of a frame, and only the blocks that hold them.

    The bytes are written to the contiguous array ``into`` if it is given.
    """
    if into is not None:
        if not _opened_into(frame, start, stop, into):
            into[...] = decompress_span(frame, start, stop)
        return into
    nbytes, size = frame_sizes(frame)
    if not 0 <= start <= stop <= nbytes:
        raise CorruptDataError(
            f"a chunk opens to {nbytes:,} bytes; bytes {start:,} to {stop:,} were asked for"
        )
    if start == stop:
        return np.empty(0, np.uint8)
    blocks = -(-nbytes // size) if size else 0
    if blocks < 2 or frame[2] & _MEMCPYED:
        return decompress(frame, nbytes)[start:stop]
    first, last = min(start // size, blocks - 2), max(-(-stop // size), start // size + 1)
    out = np.empty(min(last * size, nbytes) - first * size, np.uint8)
    _decode(_part(frame, first, last, _block_ends(frame, blocks)), out)
    return out[start - first * size : stop - first * size]


class Blocks:
    """Content of a frame, decompressed block by block when parts of it are needed.

    Attributes
    ----------
    data : (n,) uint8 array
        The content. Blocks that are not open are undefined, and take no memory.
    """

    def __init__(self, frame: bytes, run: Map = map) -> None:
        self._frame, self._run = frame, run
        nbytes, self._size = frame_sizes(frame)
        # NumPy asks for pages of 2 MiB, and each that a block of 32 KiB falls into would be cleared.
        self.data = np.frombuffer(mmap.mmap(-1, max(nbytes, 1)), np.uint8, nbytes)
        blocks = -(-nbytes // self._size) if self._size else 0
        self._one = blocks < 2 or bool(frame[2] & _MEMCPYED)
        # A short last block joins the one before: Blosc refuses a frame smaller than its block size.
        self._opened = np.zeros(1 if self._one else blocks - 1, bool)
        self._blocks = blocks
        self._ends = np.empty(0, np.int64) if self._one else _block_ends(frame, blocks)

    def open(self, spans: Iterable[slice]) -> None:
        """Decompress the blocks that hold these bytes, unless they are open already."""
        wanted, last = np.zeros_like(self._opened), len(self._opened) - 1
        for span in spans:
            if span.start < span.stop:
                first, end = min(span.start // self._size, last), (span.stop - 1) // self._size
                wanted[first : min(end, last) + 1] = True
        numbers = np.flatnonzero(wanted & ~self._opened)
        # Neighbouring blocks are opened together, about 1 MiB per call.
        apart = np.flatnonzero(np.diff(numbers) > 1) + 1
        step = max(1, _AT_ONCE // max(self._size, 1))
        runs = [part[i : i + step] for part in np.split(numbers, apart) for i in range(0, len(part), step)]
        list(self._run(self._open, runs))
        self._opened |= wanted

    def _open(self, numbers: NDArray[np.int64]) -> None:
        if self._one:
            _decode(self._frame, self.data)
            return
        first, stop = int(numbers[0]), int(numbers[-1]) + 1
        stop = self._blocks if stop == len(self._opened) else stop
        part = _part(self._frame, first, stop, self._ends)
        _decode(part, self.data[first * self._size : stop * self._size])


class BlocksPart:
    """A part of the content of :class:`Blocks`, as if it were a frame of its own.

    Attributes
    ----------
    data : (n,) uint8 array
    """

    def __init__(self, blocks: Blocks, start: int, stop: int) -> None:
        self._blocks, self._start = blocks, start
        self.data = blocks.data[start:stop]

    def open(self, spans: Iterable[slice]) -> None:
        """Decompress the blocks that hold these bytes of the part."""
        first = self._start
        self._blocks.open(slice(span.start + first, span.stop + first) for span in spans)


def _opened_into(frame: bytes, start: int, stop: int, into: NDArray[np.uint8]) -> bool:
    """Decompress straight to ``into`` if ``start:stop`` are whole blocks; return whether they are."""
    nbytes, size = frame_sizes(frame)
    blocks = -(-nbytes // size) if size else 0
    if blocks < 2 or frame[2] & _MEMCPYED or start % size or not 0 <= start < stop <= nbytes:
        return False
    first, last = start // size, -(-stop // size)
    # Blosc does not open a short last block by itself.
    if (stop % size and stop != nbytes) or first > blocks - 2:
        return False
    _decode(_part(frame, first, last, _block_ends(frame, blocks)), into)
    return True


def _encode(data: NDArray, compressor: Compressor) -> bytes:
    from numcodecs import blosc

    return bytes(
        blosc.compress(
            np.ascontiguousarray(data),
            compressor.cname.encode(),
            compressor.clevel,
            compressor.shuffle,
            compressor.blocksize,
        )
    )


def _decode(frame: bytes, out: NDArray[np.uint8]) -> None:
    from numcodecs import blosc

    try:
        blosc.decompress(frame, out)
    except (RuntimeError, ValueError) as error:
        raise CorruptDataError(f"a Blosc frame does not open: {error}") from error


@lru_cache(maxsize=64)
def _blocks(compressor: Compressor, nbytes: int, itemsize: int) -> tuple[int, bool]:
    """Block size that Blosc uses for a buffer, and whether each block is one stream, as for zstd.

    Both may differ from the request, so Blosc compresses zeros to find out: half a millisecond per MB.
    """
    frame = _encode(np.zeros(nbytes // itemsize, f"V{itemsize}"), compressor)
    return int(_HEADER.unpack_from(frame)[5]), bool(frame[2] & _UNSPLIT)


def _join(frames: list[bytes], nbytes: int) -> bytes:
    version, lz, flags, itemsize, _, size, _ = _HEADER.unpack_from(frames[0])
    counts = [-(-_HEADER.unpack_from(frame)[4] // size) for frame in frames]
    table = _HEADER.size + 4 * sum(counts)
    starts: list[NDArray] = []
    bodies: list[memoryview] = []
    position = table
    for frame, count in zip(frames, counts, strict=True):
        head = _HEADER.size + 4 * count
        starts.append(np.frombuffer(frame, "<i4", count, _HEADER.size) + (position - head))
        bodies.append(memoryview(frame)[head:])
        position += len(frame) - head
    header = _HEADER.pack(version, lz, flags, itemsize, nbytes, size, position)
    return b"".join([header, np.concatenate(starts).astype("<i4").tobytes(), *bodies])


def _block_ends(frame: bytes, blocks: int) -> NDArray[np.int64]:
    """End of every block; Blosc's own threads write blocks in any order."""
    starts = np.frombuffer(frame, "<i4", blocks, _HEADER.size).astype(np.int64)
    if starts.min() < _HEADER.size + 4 * blocks or starts.max() >= len(frame):
        raise CorruptDataError("a Blosc frame's table of blocks points outside the frame")
    order = np.sort(starts)
    return np.append(order, len(frame))[np.searchsorted(order, starts, side="right")]


def _part(frame: bytes, first: int, last: int, ends: NDArray[np.int64]) -> bytes:
    """Blocks ``first:last`` as a separate frame."""
    version, lz, flags, itemsize, nbytes, size, _ = _HEADER.unpack_from(frame)
    starts = np.frombuffer(frame, "<i4", last, _HEADER.size)[first:last]
    whole = memoryview(frame)
    bodies = [whole[start:end] for start, end in zip(starts, ends[first:last], strict=True)]
    head = _HEADER.size + 4 * (last - first)
    placed = head + np.concatenate([[0], np.cumsum([len(body) for body in bodies])])
    part_bytes = min(last * size, nbytes) - first * size
    header = _HEADER.pack(version, lz, flags, itemsize, part_bytes, size, int(placed[-1]))
    return b"".join([header, placed[:-1].astype("<i4").tobytes(), *bodies])
