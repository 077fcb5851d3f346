"""CUDA kernels that write frames on a device: functions of ``reference``, in the same order.

What finds codes and writes the frame of one block has no function of its own, since it is part of a kernel of
``zstd_huffman.cu``, and a device does not decode frames. Arrays are contiguous CuPy arrays of the current
device, and work is queued on the current stream.
"""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy as np

from photon_gpu.kernels.cuda_launch import THREADS, check, contiguous, launch

LONGEST, SYMBOLS = 11, 256

_MOST_DESCRIPTION, _PLAN_BYTES = 128, 36
_BLOSC_FLAGS, _MEMCPYED = 0x90, 0x02
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
