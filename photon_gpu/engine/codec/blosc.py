"""Compress and decompress Blosc frames.

A Blosc 1 frame is a 16-byte header, a table of block starts, and blocks that do not depend on each other.
Runs of blocks can be compressed separately and joined, so that several threads work on one chunk; the bytes
equal those of a single call (tested). To read part of a chunk, some blocks are taken out as a smaller frame.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.runtime.buffers import Buffers, bytes_of
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.engine.runtime.stopwatch import Map
from photon_gpu.errors import CorruptDataError, InvalidInputError

__all__ = [
    "MAX_BYTES",
    "Blocks",
    "Compressor",
    "FrameBlocks",
    "compress",
    "compress_blocks",
    "compress_bytes",
    "decompress",
    "decompress_span",
    "frame_blocks",
    "frame_sizes",
]

MAX_BYTES = 2**31 - 17
"""Largest buffer one Blosc frame can hold."""

_AT_ONCE = 1 << 20  # bytes that are opened by one call, where parts of a frame are wanted
_MADE_AT_ONCE = 1 << 23  # bytes that are compressed by one call, where they are made for it
_HEADER = struct.Struct("<BBBBiii")
_MEMCPYED, _UNSPLIT = 0x02, 0x10
_HUFFMAN_BLOCK = 1 << 15  # bytes per block of a Huffman-only frame
_TRIAL_BYTES = 1 << 18  # bytes of a block that a trial compresses in both ways
_NO_NUMBERS, _NO_BYTES = np.empty(0, np.int64), np.empty(0, np.uint8)
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
        """Settings as :meth:`parse` reads them."""
        shuffle = ("none", "shuffle", "bitshuffle")[self.shuffle]
        size = f"-{self.blocksize}" if self.blocksize else ""
        return f"{self.cname}-{self.clevel}-{shuffle}{size}"

    def to_dict(self) -> dict[str, Any]:
        """Return the ``compressor`` entry of ``.zarray``."""
        entry: dict[str, Any] = {
            "id": "blosc",
            "cname": self.cname,
            "clevel": self.clevel,
            "shuffle": self.shuffle,
        }
        return {**entry, "blocksize": self.blocksize} if self.blocksize else entry

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Compressor:
        """Read a ``compressor`` entry of ``.zarray``."""
        keys = {"id", "cname", "clevel", "shuffle", "blocksize"}
        if not isinstance(entry, dict) or entry.get("id") != "blosc" or set(entry) - keys:
            raise InvalidInputError(
                f"compressor is {entry!r}; a Blosc entry with cname, clevel, shuffle is needed"
            )
        return cls(**{"blocksize": 0, **{key: value for key, value in entry.items() if key != "id"}})

    @classmethod
    def parse(cls, text: str) -> Compressor:
        """Read ``"zstd-5-bitshuffle"`` or ``"zstd-1-none-1048576"`` (block size optional)."""
        parts = str(text).lower().replace(":", "-").split("-")
        valid = len(parts) in (3, 4) and parts[2] in _SHUFFLES
        if not valid or not all(part.isdecimal() for part in (parts[1], *parts[3:])):
            raise InvalidInputError(
                f"compressor is {text!r}; write NAME-LEVEL-SHUFFLE, as in zstd-5-bitshuffle or zstd-1-none"
            )
        size = int(parts[3]) if len(parts) == 4 else 0
        return cls(cname=parts[0], clevel=int(parts[1]), shuffle=_SHUFFLES[parts[2]], blocksize=size)


def compress(
    data: NDArray, compressor: Compressor, split: Split = WHOLE, buffers: Buffers | None = None
) -> bytes:
    """Compress a contiguous array to one Blosc frame, equal to ``numcodecs.Blosc(...).encode(data)``.

    With ``buffers``, the frame is a memoryview of a buffer that the caller gives back.
    """
    if data.nbytes > MAX_BYTES:
        raise InvalidInputError(
            f"a chunk of {data.nbytes:,} bytes exceeds Blosc's limit of {MAX_BYTES:,}; take fewer "
            f"chunk_frames"
        )
    flat = data.reshape(-1)
    if split.parts == 1:
        return next(iter(split.run(lambda whole: _one_frame(whole, compressor, buffers), [flat])))
    return compress_blocks(
        lambda start, stop: flat[start:stop], flat.size, flat.dtype.itemsize, compressor, split
    )


def compress_bytes(
    data: NDArray[np.uint8], compressor: Compressor, split: Split = WHOLE, buffers: Buffers | None = None
) -> bytes:
    """Compress bytes like :func:`compress`, or by Huffman codes only where that is shorter.

    Noise has no matches, and zstd takes longer to look for them than to code it. A trial of some blocks
    decides; both are zstd frames.
    """
    size, trial = compressor.blocksize, _try_huffman(data, compressor, split)
    if trial is None:
        return compress(data, compressor, split, buffers)
    if isinstance(trial, np.ndarray):
        return bytes_of([trial])

    def code_whole(whole: NDArray[np.uint8]) -> Any:
        if buffers is None:
            return bytes_of([_huffman_frame(whole, size, trial)])
        return _huffman_frame(whole, size, trial, buffers).data

    if split.parts > 1:

        def code_part(part: tuple[int, int]) -> NDArray[np.uint8]:
            return _huffman_frame(data[part[0] * size : part[1] * size], size, trial.part(*part)).copy()

        frames = list(split.run(code_part, split.ranges(-(-data.size // size))))
        if len(frames) > 1 and not any(frame[2] & _MEMCPYED for frame in frames):
            return _join(frames, data.size)
    whole_frame: bytes = next(iter(split.run(code_whole, [data])))
    return whole_frame


class _Trial(NamedTuple):
    """Blocks that were Huffman-coded as a trial: their numbers, rising, and a Blosc frame of just them."""

    numbers: NDArray[np.int64]
    frame: NDArray[np.uint8]

    def part(self, first: int, last: int) -> _Trial:
        """Return the trial of blocks ``first:last``, counted from ``first``; empty unless all lie there."""
        inside = bool(self.numbers.size) and first <= self.numbers[0] and self.numbers[-1] < last
        return _Trial(self.numbers - first, self.frame) if inside else _Trial(_NO_NUMBERS, self.frame)


def _try_huffman(
    data: NDArray[np.uint8], compressor: Compressor, split: Split
) -> _Trial | NDArray[np.uint8] | None:
    """Code a part of one block in 16 in both ways; return it if Huffman codes save 0.1 %, else None.

    If zstd is as good and was tried on all data, its frame is returned.
    """
    size = compressor.blocksize
    if compressor.cname != "zstd" or compressor.shuffle or not compressor.clevel or not size or not data.size:
        return None
    count = -(-data.size // size)
    numbers = np.arange(min(count, 16) // 3, count, 16)
    length = min(size, _TRIAL_BYTES)
    blocks = [data[start : start + length] for start in (size * numbers).tolist()]
    joined = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    frame, by_zstd = split.run(
        lambda way: way(),
        [
            lambda: _huffman_frame(joined, length, _Trial(_NO_NUMBERS, _NO_BYTES)).copy(),
            lambda: [_encode(block, compressor).copy() for block in blocks],
        ],
    )
    # A smaller difference may be chance, and the other blocks might be longer.
    if 1024 * (len(frame) + _HEADER.size * (len(blocks) - 1)) > 1023 * sum(map(len, by_zstd)):
        return by_zstd[0] if joined.size == data.size else None
    return _Trial(numbers if length == size else _NO_NUMBERS, frame)


@cache
def _huffman() -> Any:
    """Import the kernels of Huffman-only frames when they are first used: Numba takes long to import."""
    try:
        return import_module("photon_gpu.kernels.zstd_huffman.cpu")
    except ImportError:
        return import_module("photon_gpu.kernels.zstd_huffman.reference")


def _huffman_frame(
    data: NDArray[np.uint8], blocksize: int, trial: _Trial, buffers: Buffers | None = None
) -> NDArray[np.uint8]:
    """Compress to a Blosc frame of Huffman-only zstd frames, in a buffer or in scratch memory."""
    huffman = _huffman()
    most = huffman.most_blosc_bytes(data.size, blocksize, _HUFFMAN_BLOCK)
    out = scratch("coded", (most,), np.uint8) if buffers is None else buffers.take(most)
    return out[: huffman.encode_blosc(data, blocksize, _HUFFMAN_BLOCK, out, *trial)]


def _one_frame(data: NDArray, compressor: Compressor, buffers: Buffers | None = None) -> Any:
    if buffers is None:
        return bytes_of([_encode(data, compressor)])
    return _encode(data, compressor, buffers.take(data.nbytes + _HEADER.size)).data


def compress_blocks(
    items: Callable[[int, int], NDArray],
    count: int,
    itemsize: int,
    compressor: Compressor,
    split: Split = WHOLE,
) -> bytes:
    """Compress like :func:`compress` ``count`` items, which ``items(start, stop)`` makes when needed.

    A chunk of float64 labels, four times the size of the raw movie, therefore never exists as a whole.
    ``items`` may reuse the memory of its result when the same thread calls it again.
    """
    nbytes = count * itemsize

    def encode_whole(parts: list[tuple[int, int]]) -> bytes:
        return bytes_of([_encode(np.concatenate([items(*part).copy() for part in parts]), compressor)])

    def one_frame(parts: list[tuple[int, int]]) -> bytes:
        return next(iter(split.run(encode_whole, [parts])))

    if nbytes < 1 << 16:
        return one_frame([(0, count)])
    # A requested block size is the same for every longer buffer; one that Blosc chooses is not.
    size, unsplit = _blocks(compressor, min(nbytes, 2 * compressor.blocksize or nbytes), itemsize)
    per_block = max(size // itemsize, 1)
    if count < 2 * per_block or size % itemsize or not unsplit:
        return one_frame([(0, count)])
    fixed = replace(compressor, blocksize=compressor.blocksize or size)
    # Blocks are compressed together, about 8 MiB per call.
    starts = list(range(0, count - count % per_block, per_block * max(1, _MADE_AT_ONCE // size)))
    # A short rest joins the last whole block: alone, Blosc would treat it as a whole block.
    edges = [*starts, count]
    spans = list(itertools.pairwise(edges))

    def encode_part(part: tuple[int, int]) -> list[NDArray[np.uint8]]:
        return [_encode(items(*span), fixed).copy() for span in spans[part[0] : part[1]]]

    frames = [frame for part in split.run(encode_part, split.ranges(len(spans))) for frame in part]
    if all(frame[2] == frames[0][2] and _HEADER.unpack_from(frame.data)[5] == size for frame in frames):
        joined = _join(frames, nbytes)
        if not frames[0][2] & _MEMCPYED and len(joined) < nbytes:
            return joined
    # A block that does not compress changes how Blosc stores the whole buffer.
    return one_frame(spans)


def frame_sizes(frame: bytes) -> tuple[int, int]:
    """Return the decompressed bytes of a frame and the bytes per block; CorruptDataError for a bad header."""
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
    frame: bytes, nbytes: int, split: Split = WHOLE, into: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Decompress a frame of ``nbytes`` bytes, to the contiguous array ``into`` if given."""
    actual, size = frame_sizes(frame)
    if actual != nbytes:
        raise CorruptDataError(f"a chunk opens to {actual:,} bytes; its metadata asks for {nbytes:,}")
    out = np.empty(nbytes, np.uint8) if into is None else into
    if nbytes == 0:
        return out
    blocks = -(-nbytes // size)
    if blocks < 2 or frame[2] & _MEMCPYED or split.parts == 1:
        _decode(frame, out)
        return out
    ends = _block_ends(frame, blocks)

    def open_part(part: tuple[int, int]) -> None:
        # A short last block joins the one before: Blosc refuses a frame smaller than its block size.
        first, last = part[0], blocks if part[1] == blocks - 1 else part[1]
        _decode(_part(frame, first, last, ends), out[first * size : last * size])

    list(split.run(open_part, split.ranges(blocks - 1)))
    return out


class FrameBlocks(NamedTuple):
    """Blocks of a frame, as compiled kernels need them.

    Attributes
    ----------
    data : (n,) uint8 array
    starts, ends : (blocks,) int64 array
    size, nbytes : int
        Bytes per block and of the content.
    decompress : int
        Address of Blosc's function ``blosc_decompress_ctx``.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    size: int
    nbytes: int
    decompress: int


def frame_blocks(frame: bytes) -> FrameBlocks | None:
    """Return the blocks of a frame; None if it has fewer than two, or Blosc's functions have no address."""
    nbytes, size = frame_sizes(frame)
    blocks, library = -(-nbytes // size) if size else 0, _library()
    if blocks < 2 or frame[2] & _MEMCPYED or library is None:
        return None
    starts = np.frombuffer(frame, "<i4", blocks, _HEADER.size).astype(np.int64)
    address = ctypes.cast(library.blosc_decompress_ctx, ctypes.c_void_p).value or 0
    data = np.frombuffer(frame, np.uint8)
    data.flags.writeable = False  # so that kernels are compiled for one type
    return FrameBlocks(data, starts, _block_ends(frame, blocks), size, nbytes, address)


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


def _encode(
    data: NDArray, compressor: Compressor, into: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Compress an array, to ``into`` or to scratch memory of the thread, which its next frame overwrites."""
    data, library = np.ascontiguousarray(data), _library()
    name = compressor.cname.encode()
    if library is None:
        from numcodecs import blosc

        made = blosc.compress(data, name, compressor.clevel, compressor.shuffle, compressor.blocksize)
        if into is None:
            return np.frombuffer(made, np.uint8)
        into[: len(made)] = np.frombuffer(made, np.uint8)
        return into[: len(made)]
    frame = scratch("frame", (data.nbytes + _HEADER.size,), np.uint8) if into is None else into
    size = library.blosc_compress_ctx(
        compressor.clevel,
        compressor.shuffle,
        data.itemsize,
        data.nbytes,
        data.ctypes.data,
        frame.ctypes.data,
        frame.size,
        name,
        compressor.blocksize,
        1,
    )
    if size <= 0:
        raise InvalidInputError(f"Blosc cannot compress with {compressor.text}: it returned {size}")
    return frame[:size]


def _decode(frame: bytes, out: NDArray[np.uint8]) -> None:
    library = _library()
    if library is None:
        from numcodecs import blosc

        try:
            blosc.decompress(frame, out)
        except (RuntimeError, ValueError) as error:
            raise CorruptDataError(f"a Blosc frame does not open: {error}") from error
        return
    nbytes, _ = frame_sizes(frame)
    if nbytes > out.size:
        raise CorruptDataError(f"a Blosc frame opens to {nbytes:,} bytes, not to {out.size:,}")
    source = np.frombuffer(frame, np.uint8).ctypes.data
    size = library.blosc_decompress_ctx(source, out.ctypes.data, out.size, 1) if nbytes else 0
    if size != nbytes:
        raise CorruptDataError(f"a Blosc frame does not open: Blosc returned {size}")


@cache
def _library() -> ctypes.CDLL | None:
    """Load the C functions of numcodecs' Blosc, called without Python's lock; None if not exported.

    numcodecs itself copies every frame with the lock held, and lets Blosc's own threads write the blocks of
    the main thread in any order.
    """
    from numcodecs import blosc

    number, size, pointer = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
    try:
        library = ctypes.CDLL(blosc.__file__)
        compress, decompress = library.blosc_compress_ctx, library.blosc_decompress_ctx
    except (OSError, AttributeError):
        return None
    compress.argtypes = [
        number,
        number,
        size,
        size,
        pointer,
        pointer,
        size,
        ctypes.c_char_p,
        size,
        number,
    ]
    decompress.argtypes = [pointer, pointer, size, number]
    return library


@lru_cache(maxsize=64)
def _blocks(compressor: Compressor, nbytes: int, itemsize: int) -> tuple[int, bool]:
    """Return the block size that Blosc uses for a buffer, and whether each block is one stream, as for zstd.

    Both may differ from the request, so Blosc compresses zeros to find out: half a millisecond per MB.
    """
    frame = _encode(np.zeros(nbytes // itemsize, f"V{itemsize}"), compressor)
    return int(_HEADER.unpack_from(frame.data)[5]), bool(frame[2] & _UNSPLIT)


def _join(frames: list[NDArray[np.uint8]], nbytes: int) -> bytes:
    version, lz, flags, itemsize, _, size, _ = _HEADER.unpack_from(frames[0].data)
    counts = [-(-_HEADER.unpack_from(frame.data)[4] // size) for frame in frames]
    position = _HEADER.size + 4 * sum(counts)
    starts: list[NDArray] = []
    bodies: list[NDArray[np.uint8]] = []
    for frame, count in zip(frames, counts, strict=True):
        head = _HEADER.size + 4 * count
        starts.append(np.frombuffer(frame, "<i4", count, _HEADER.size) + (position - head))
        bodies.append(frame[head:])
        position += len(frame) - head
    header = _HEADER.pack(version, lz, flags, itemsize, nbytes, size, position)
    table = np.concatenate(starts).astype("<i4").view(np.uint8)
    return bytes_of([np.frombuffer(header, np.uint8), table, *bodies])


def _block_ends(frame: bytes, blocks: int) -> NDArray[np.int64]:
    """Return the end of every block; Blosc's own threads write blocks in any order."""
    starts = np.frombuffer(frame, "<i4", blocks, _HEADER.size).astype(np.int64)
    if starts.min() < _HEADER.size + 4 * blocks or starts.max() >= len(frame):
        raise CorruptDataError("a Blosc frame's table of blocks points outside the frame")
    order = np.sort(starts)
    return np.append(order, len(frame))[np.searchsorted(order, starts, side="right")]


def _part(frame: bytes, first: int, last: int, ends: NDArray[np.int64]) -> bytes:
    """Copy blocks ``first:last`` to a separate frame."""
    version, lz, flags, itemsize, nbytes, size, _ = _HEADER.unpack_from(frame)
    starts = np.frombuffer(frame, "<i4", last, _HEADER.size)[first:last]
    whole = memoryview(frame)
    bodies = [whole[start:end] for start, end in zip(starts, ends[first:last], strict=True)]
    head = _HEADER.size + 4 * (last - first)
    placed = head + np.concatenate([[0], np.cumsum([len(body) for body in bodies])])
    part_bytes = min(last * size, nbytes) - first * size
    header = _HEADER.pack(version, lz, flags, itemsize, part_bytes, size, int(placed[-1]))
    return b"".join([header, placed[:-1].astype("<i4").tobytes(), *bodies])
