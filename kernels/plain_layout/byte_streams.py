"""Write and read the streams of a Blosc block: each its length, 4 bytes, and its content.

The content is a zstd frame of Huffman codes only, a frame that zstd made, or the bytes as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.plain_layout.blosc_calls import blosc_compress, blosc_decompress
from photon_gpu.kernels.plain_layout.frame_words import HEADER_BYTES, get32, put32
from photon_gpu.kernels.zstd_huffman.cpu import decode_frame, encode_frame, most_bytes

_HUFFMAN_BLOCK = 1 << 15
_MEMCPYED, _ZSTD_UNSPLIT = 0x02, 0x90
_MAGIC, _RLE, _MOST_RLE = 0xFD2FB528, 1, 1 << 17
_WINDOW = (17 - 10) << 3  # of 128 KiB


class FrameSettings(NamedTuple):
    """Settings of Blosc frames.

    Attributes
    ----------
    compress : int
        Address of Blosc's function ``blosc_compress_ctx``.
    name : (n,) uint8 array
        Name of the compressor, with a zero at its end.
    level, size : int
        Level, and bytes per block.
    by_zstd : int
        Planes that zstd compresses, as a sum of ``1 << number``; the others get Huffman codes only.
    """

    compress: int
    name: NDArray[np.uint8]
    level: int
    size: int
    by_zstd: int


@jit
def most_stream_bytes(size: int) -> int:
    """Most bytes of a stream of ``size`` bytes of content, also while it is written."""
    return 4 + most_bytes(size, _HUFFMAN_BLOCK)


@jit
def write_constant(value: Any, size: int, out: NDArray[np.uint8], at: int) -> int:
    """Write a stream of ``size`` equal bytes; return the position after it.

    Its frame states no size, which saves three bytes, and a window of one block.
    """
    begin = at
    put32(out, at + 4, _MAGIC)
    out[at + 8], out[at + 9] = 0, _WINDOW
    at += 10
    while True:
        count = min(size, _MOST_RLE)
        size -= count
        header = (size == 0) | _RLE << 1 | count << 3
        for i in range(3):
            out[at + i] = header >> (8 * i) & 255
        out[at + 3] = value
        at += 4
        if not size:
            put32(out, begin, at - begin - 4)
            return at


@jit
def _by_blosc(data: NDArray[np.uint8], settings: FrameSettings, part: NDArray[np.uint8]) -> int:
    """Compress to a Blosc frame ``part`` of one stream; return the bytes of the stream, 0 if it has none."""
    how = (settings.level, np.int64(0), np.int64(1), data.size)
    length = blosc_compress(settings.compress, how, data, data.size, part, settings.name)
    if length <= HEADER_BYTES + 4 or part[2] & _MEMCPYED or get32(part, 8) != data.size:
        return 0
    return 4 + get32(part, HEADER_BYTES + 4)


@jit
def write_huffman(data: NDArray[np.uint8], out: NDArray[np.uint8], at: int) -> int:
    """Write a stream of Huffman codes only, or of the bytes as they are; return the position after it."""
    room = out[at + 4 :]
    size = encode_frame(data, _HUFFMAN_BLOCK, room)
    if size >= data.size:
        size = data.size
        room[:size] = data
    put32(out, at, size)
    return at + 4 + size


@jit
def write_zstd(
    data: NDArray[np.uint8], settings: FrameSettings, part: NDArray[np.uint8], out: NDArray[np.uint8], at: int
) -> int:
    """Write a stream that zstd compresses, unless it cannot; return the position after it.

    ``part`` is memory for a frame of the data by Blosc.
    """
    size, begin = _by_blosc(data, settings, part), HEADER_BYTES + 4
    if not size:
        return write_huffman(data, out, at)
    out[at : at + size] = part[begin : begin + size]
    return at + size


@jit
def write_shorter(
    data: NDArray[np.uint8], settings: FrameSettings, part: NDArray[np.uint8], out: NDArray[np.uint8], at: int
) -> int:
    """Write the shorter of both streams; return the position after it."""
    coded, size, begin = write_huffman(data, out, at), _by_blosc(data, settings, part), HEADER_BYTES + 4
    if not 0 < size < coded - at:
        return coded
    out[at : at + size] = part[begin : begin + size]
    return at + size


@jit
def zstd_saves(
    data: NDArray[np.uint8], settings: FrameSettings, part: NDArray[np.uint8], out: NDArray[np.uint8]
) -> int:
    """Return how many bytes shorter a stream is that zstd compresses, by trying both."""
    return write_huffman(data, out, 0) - write_zstd(data, settings, part, out, 0)


@jit
def constant_of(content: NDArray[np.uint8], size: int) -> Any:
    """Return the byte that a stream repeats; -1 if it is not one block by :func:`write_constant`."""
    if content.size != 10 or content[4] or content[5] != _WINDOW or get32(content, 0) != _MAGIC:
        return -1
    header = np.int64(content[6]) | np.int64(content[7]) << 8 | np.int64(content[8]) << 16
    return np.int64(content[9]) if header == 1 | _RLE << 1 | size << 3 else -1


@jit
def read_stream(
    content: NDArray[np.uint8], decompress: int, part: NDArray[np.uint8], to: NDArray[np.uint8]
) -> bool:
    """Decode a stream to ``to``; return whether that worked. ``part`` is memory for a frame of the stream."""
    if content.size == to.size:
        to[:] = content
        return True
    if decode_frame(content, to) == to.size:
        return True
    total = HEADER_BYTES + 8 + content.size
    if total > part.size:
        return False
    part[0], part[1], part[2], part[3] = 2, 1, _ZSTD_UNSPLIT, 1
    put32(part, 4, to.size)
    put32(part, 8, to.size)
    put32(part, 12, total)
    put32(part, HEADER_BYTES, HEADER_BYTES + 4)
    put32(part, HEADER_BYTES + 4, content.size)
    part[HEADER_BYTES + 8 : total] = content
    return blosc_decompress(decompress, part[:total], to, to.size) == to.size
