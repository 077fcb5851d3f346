"""Layout of a Blosc 1 frame: read its header, join frames, and take blocks out of one.

A frame is a 16-byte header, a table of block starts, and blocks that do not depend on each other.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError

MAX_BYTES = 2**31 - 17
"""Largest buffer one Blosc frame can hold."""

HEADER = struct.Struct("<BBBBiii")
"""Version, version of the codec, flags, bytes per item, of the content, per block and of the frame."""

MEMCPYED, UNSPLIT = 0x02, 0x10
"""Flags: the content is stored uncompressed; each block is one stream."""


def frame_sizes(frame: bytes) -> tuple[int, int]:
    """Return the decompressed bytes of a frame and the bytes per block; CorruptDataError for a bad header."""
    if len(frame) < HEADER.size:
        raise CorruptDataError(f"a Blosc frame of {len(frame)} bytes is shorter than its header")
    _, _, flags, _, nbytes, size, length = HEADER.unpack_from(frame)
    count = -(-nbytes // size) if size > 0 and nbytes > 0 else 0
    if length != len(frame) or nbytes < 0 or (nbytes and size <= 0):
        raise CorruptDataError(
            f"a Blosc frame of {len(frame)} bytes says it has {length}, opening to {nbytes} in blocks "
            f"of {size}"
        )
    if not flags & MEMCPYED and HEADER.size + 4 * count > len(frame):
        raise CorruptDataError(f"a Blosc frame of {len(frame)} bytes cannot hold {count} blocks")
    return nbytes, size


def join_frames(frames: list[NDArray[np.uint8]], nbytes: int) -> list[NDArray[np.uint8]]:
    """Return the parts of one frame of ``nbytes`` bytes of content, made of frames of the same settings."""
    version, lz, flags, itemsize, _, size, _ = HEADER.unpack_from(frames[0].data)
    counts = [-(-HEADER.unpack_from(frame.data)[4] // size) for frame in frames]
    position = HEADER.size + 4 * sum(counts)
    starts: list[NDArray] = []
    bodies: list[NDArray[np.uint8]] = []
    for frame, count in zip(frames, counts, strict=True):
        head = HEADER.size + 4 * count
        starts.append(np.frombuffer(frame, "<i4", count, HEADER.size) + (position - head))
        bodies.append(frame[head:])
        position += len(frame) - head
    header = HEADER.pack(version, lz, flags, itemsize, nbytes, size, position)
    table = np.concatenate(starts).astype("<i4").view(np.uint8)
    return [np.frombuffer(header, np.uint8), table, *bodies]


def block_ends(frame: bytes, blocks: int) -> NDArray[np.int64]:
    """Return the end of every block; Blosc's own threads write blocks in any order."""
    starts = np.frombuffer(frame, "<i4", blocks, HEADER.size).astype(np.int64)
    if starts.min() < HEADER.size + 4 * blocks or starts.max() >= len(frame):
        raise CorruptDataError("a Blosc frame's table of blocks points outside the frame")
    order = np.sort(starts)
    return np.append(order, len(frame))[np.searchsorted(order, starts, side="right")]


def frame_of_blocks(frame: bytes, first: int, last: int, ends: NDArray[np.int64]) -> bytes:
    """Copy blocks ``first:last`` to a separate frame."""
    version, lz, flags, itemsize, nbytes, size, _ = HEADER.unpack_from(frame)
    starts = np.frombuffer(frame, "<i4", last, HEADER.size)[first:last]
    whole = memoryview(frame)
    bodies = [whole[start:end] for start, end in zip(starts, ends[first:last], strict=True)]
    head = HEADER.size + 4 * (last - first)
    placed = head + np.concatenate([[0], np.cumsum([len(body) for body in bodies])])
    part_bytes = min(last * size, nbytes) - first * size
    header = HEADER.pack(version, lz, flags, itemsize, part_bytes, size, int(placed[-1]))
    return b"".join([header, placed[:-1].astype("<i4").tobytes(), *bodies])
