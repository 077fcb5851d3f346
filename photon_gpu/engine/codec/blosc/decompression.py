"""Decompress Blosc frames, whole or the blocks that hold a span."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc.c_functions import c_library, decode
from photon_gpu.engine.codec.blosc.frame import HEADER, MEMCPYED, block_ends, frame_of_blocks, frame_sizes
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.errors import CorruptDataError
from photon_gpu.kernels.plain_layout.blosc_blocks import FrameBlocks


def decompress(
    frame: bytes, nbytes: int, split: Split = WHOLE, into: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Decompress a frame of ``nbytes`` bytes, to the contiguous array ``into`` if given."""
    actual, size = frame_sizes(frame)
    if actual != nbytes:
        raise CorruptDataError(f"a chunk decompresses to {actual:,} bytes; its metadata say {nbytes:,}")
    out = np.empty(nbytes, np.uint8) if into is None else into
    if nbytes == 0:
        return out
    blocks = -(-nbytes // size)
    if blocks < 2 or frame[2] & MEMCPYED or split.parts == 1:
        decode(frame, out)
        return out
    ends = block_ends(frame, blocks)

    def open_part(part: tuple[int, int]) -> None:
        # A short last block joins the one before: Blosc refuses a frame smaller than its block size.
        first, last = part[0], blocks if part[1] == blocks - 1 else part[1]
        decode(frame_of_blocks(frame, first, last, ends), out[first * size : last * size])

    list(split.run(open_part, split.ranges(blocks - 1)))
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
            f"a chunk decompresses to {nbytes:,} bytes; bytes {start:,} to {stop:,} are needed"
        )
    if start == stop:
        return np.empty(0, np.uint8)
    blocks = -(-nbytes // size) if size else 0
    if blocks < 2 or frame[2] & MEMCPYED:
        return decompress(frame, nbytes)[start:stop]
    first, last = min(start // size, blocks - 2), max(-(-stop // size), start // size + 1)
    out = np.empty(min(last * size, nbytes) - first * size, np.uint8)
    decode(frame_of_blocks(frame, first, last, block_ends(frame, blocks)), out)
    return out[start - first * size : stop - first * size]


def _opened_into(frame: bytes, start: int, stop: int, into: NDArray[np.uint8]) -> bool:
    """Decompress straight to ``into`` if ``start:stop`` are whole blocks; return whether they are."""
    nbytes, size = frame_sizes(frame)
    blocks = -(-nbytes // size) if size else 0
    if blocks < 2 or frame[2] & MEMCPYED or start % size or not 0 <= start < stop <= nbytes:
        return False
    first, last = start // size, -(-stop // size)
    # Blosc does not open a short last block by itself.
    if (stop % size and stop != nbytes) or first > blocks - 2:
        return False
    decode(frame_of_blocks(frame, first, last, block_ends(frame, blocks)), into)
    return True


def frame_blocks(frame: bytes) -> FrameBlocks | None:
    """Return the blocks of a frame; None if it has fewer than two, or Blosc's functions have no address."""
    nbytes, size = frame_sizes(frame)
    blocks, library = -(-nbytes // size) if size else 0, c_library()
    if blocks < 2 or frame[2] & MEMCPYED or library is None:
        return None
    starts = np.frombuffer(frame, "<i4", blocks, HEADER.size).astype(np.int64)
    address = ctypes.cast(library.blosc_decompress_ctx, ctypes.c_void_p).value or 0
    data = np.frombuffer(frame, np.uint8)
    data.flags.writeable = False  # so that kernels are compiled for one type
    return FrameBlocks(data, starts, block_ends(frame, blocks), size, nbytes, address)
