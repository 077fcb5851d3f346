"""CUDA kernels that write and decode frames on a device: functions of ``reference``, in the same order.

What finds codes, writes or reads the frame of one block has no function of its own, since it is part of a
kernel of ``zstd_huffman.cu`` or ``zstd_huffman_decode.cu``. :func:`crc32` is that of a finished frame. Arrays
are contiguous CuPy arrays of the current device, and work is queued on the current stream.
"""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np

from photon_gpu.kernels.cuda_launch import THREADS, check, contiguous, launch

LONGEST, SYMBOLS = 11, 256

_MOST_DESCRIPTION, _PLAN_BYTES = 128, 36
_LEAST_LENGTH = 1 << 12  # of zstd frames that have a block of threads each; shorter ones share them
_BLOSC_FLAGS, _MEMCPYED = 0x90, 0x02
_POLYNOMIAL, _CRC_RUN = 0xEDB88320, 256
_LOGARITHMS = np.array([round(math.log2(1 + i / SYMBOLS) * 65536) for i in range(SYMBOLS)], np.uint32)


def most_bytes(size: int, block: int) -> int:
    """See the reference."""
    return 9 + size + 3 * max(1, -(-size // block))


def most_blosc_bytes(size: int, length: int, block: int) -> int:
    """See the reference."""
    count = max(1, -(-size // length))
    return 16 + 8 * count + count * most_bytes(min(size, length), block)


def encode_blosc(data: Any, length: int, block: int, out: Any) -> int:
    """See the reference; all blocks are encoded. The call waits for the sizes of the blocks."""
    for name, array in (("data", data), ("out", out)):
        check(array, name, "uint8")
        contiguous(array, name)
    size, length = data.size, min(length, data.size)
    if not size or out.size < most_blosc_bytes(size, length, block):
        raise ValueError(f"out {out.shape} does not fit the frame of {size:,} bytes")
    frames, each = -(-size // length), -(-length // block)
    pieces = frames * each
    cut = (np.uint64(size), np.uint32(length), np.uint32(block), np.uint32(each))
    counts = cupy.empty((pieces, 4, SYMBOLS), np.uint32)
    plans, codes = cupy.empty((pieces, _PLAN_BYTES), np.uint8), cupy.empty((pieces, SYMBOLS), np.uint16)
    descriptions = cupy.empty((pieces, _MOST_DESCRIPTION), np.uint8)
    sizes, starts = cupy.empty(frames, np.uint32), cupy.empty(frames, np.int64)
    logarithms, stream = cupy.empty(SYMBOLS, np.uint32), cupy.cuda.get_current_stream()
    logarithms.set(_LOGARITHMS, stream=stream)
    launch("count_quarters", pieces * THREADS, 1, data, *cut, np.uint64(pieces), counts)
    tables = (plans, codes, descriptions, sizes)
    launch("plan_frames", frames * THREADS, 1, counts, *cut, np.uint64(frames), logarithms, *tables)
    ends = 16 + 4 * frames + np.cumsum(sizes.get().astype(np.int64) + 4)
    total, flags = int(ends[-1]), _BLOSC_FLAGS
    if total >= 16 + size:
        total, flags = 16 + size, _BLOSC_FLAGS | _MEMCPYED
    fields = np.array([size, length, total], "<i4").view(np.uint8)
    header = np.concatenate([np.array([2, 1, flags, 1], np.uint8), fields])
    if flags & _MEMCPYED:
        out[:16].set(header, stream=stream)
        out[16:total].data.copy_from_device_async(data.data, size, stream)
        return total
    begins = np.concatenate([[16 + 4 * frames], ends[:-1]])
    starts.set(begins, stream=stream)
    head = np.concatenate([header, begins.astype("<i4").view(np.uint8)])
    out[: head.size].set(head, stream=stream)
    launch("write_frames", pieces * THREADS, 1, data, *cut, np.uint64(pieces), *tables, starts, out)
    return total


def decode_blosc(frame: Any, out: Any) -> int:
    """See the reference. The call waits for the result."""
    strange = cupy.empty(1, np.uint64)
    strange.data.memset_async(0, strange.nbytes)
    add_decoded(frame, out, strange)
    return -1 if int(strange.get()[0]) else int(out.size)


def add_decoded(frame: Any, out: Any, strange: Any) -> None:
    """Run :func:`decode_blosc` without waiting; add to ``strange`` (one uint64) on the device if it fails."""
    for name, array in (("frame", frame), ("out", out)):
        check(array, name, "uint8")
        contiguous(array, name)
    check(strange, "strange", "uint64")
    # The device finds out how many zstd frames there are. Blocks of threads that get none end at once.
    work = max(1, out.size // _LEAST_LENGTH) * THREADS
    launch("decode_blosc", work, 1, frame, np.uint64(frame.size), out, np.uint64(out.size), strange)


def crc32(data: Any, out: Any) -> None:
    """Write the CRC-32 of bytes, as :func:`zlib.crc32`, to ``out`` (one uint32), without waiting."""
    check(data, "data", "uint8")
    check(out, "out", "uint32")
    contiguous(data, "data")
    powers, stream = cupy.empty(_POWERS.size, np.uint32), cupy.cuda.get_current_stream()
    powers.set(_POWERS, stream=stream)
    out.data.memset_async(255 if data.size else 0, out.nbytes)
    if data.size:
        launch("crc32", -(-data.size // _CRC_RUN), 1, data, np.uint64(data.size), powers, out)


def _powers_of_x() -> list[int]:
    """Return x to the ``8 * 2**k`` modulo the polynomial of CRC-32, whose highest bit belongs to 1."""
    powers = [1 << 23]
    while len(powers) < 32:
        product, factor = 0, powers[-1]
        for bit in range(31, -1, -1):
            product ^= factor if powers[-1] >> bit & 1 else 0
            factor = factor >> 1 ^ (_POLYNOMIAL if factor & 1 else 0)
        powers.append(product)
    return powers


_POWERS = np.array(_powers_of_x(), np.uint32)
