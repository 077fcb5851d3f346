"""Payloads of the channels of a chunk, one after another, behind a table of their lengths (format 2.5).

FORMAT.md, "Payload of several channels", defines every byte.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, UnsupportedVersionError

MAGIC = b"PHTC"
MOST_CHANNELS = 1024

_HEAD = struct.Struct("<4s2BHI")
_VERSION = (2, 5)
_ALIGNED = 8


@dataclass(frozen=True)
class ChannelTable:
    """The position of each channel's payload.

    Attributes
    ----------
    rows : int
        Rows of a channel that follow each other in the chunk.
    spans : tuple of slice
        Bytes of each payload.
    """

    rows: int
    spans: tuple[slice, ...]


def join(payloads: Sequence[NDArray[np.uint8]], rows: int) -> NDArray[np.uint8]:
    """Join the payloads of the channels to one payload with a table.

    Examples
    --------
    >>> parts = [np.arange(3, dtype=np.uint8), np.arange(10, dtype=np.uint8)]
    >>> joined = join(parts, rows=64)
    >>> table = read_table(joined)
    >>> table.rows, [joined[span].tolist() == part.tolist() for span, part in zip(table.spans, parts)]
    (64, [True, True])
    """
    head = _HEAD.pack(MAGIC, *_VERSION, len(payloads), rows)
    head += struct.pack(f"<{len(payloads)}Q", *(part.size for part in payloads))
    head += struct.pack("<I", zlib.crc32(head))
    starts, end = [], len(head)
    for part in payloads:
        starts.append(_aligned(end))
        end = starts[-1] + part.size
    joined = np.zeros(end, np.uint8)
    joined[: len(head)] = np.frombuffer(head, np.uint8)
    for start, part in zip(starts, payloads, strict=True):
        joined[start : start + part.size] = part
    return joined


def table_bytes(channels: int) -> int:
    """Return the size of the table in bytes."""
    return _HEAD.size + 8 * channels + 4


def read_table(payload: NDArray[np.uint8]) -> ChannelTable:
    """Read and check the table; only its own bytes of ``payload`` are read.

    Raises
    ------
    CorruptDataError
        There is no table, its checksum fails, or the payloads do not have the lengths in it.
    UnsupportedVersionError
        The chunk has another major format version.
    """
    data = payload[: table_bytes(MOST_CHANNELS)].tobytes()
    if len(data) < _HEAD.size or data[:4] != MAGIC:
        raise CorruptDataError(f"a chunk of {payload.size} bytes does not begin with a table of channels")
    _, major, _, channels, rows = _HEAD.unpack_from(data)
    if major != _VERSION[0]:
        raise UnsupportedVersionError(f"a chunk has format {major}; this release reads compact chunks of 2.x")
    size = table_bytes(channels)
    if not 1 <= channels <= MOST_CHANNELS or len(data) < size:
        raise CorruptDataError("a chunk is shorter than its table of channels")
    *lengths, crc = struct.unpack_from(f"<{channels}QI", data, _HEAD.size)
    if zlib.crc32(data[: size - 4]) != crc or rows < 1:
        raise CorruptDataError("the table of channels of a chunk fails its checksum")
    spans, end = [], size
    for length in lengths:
        start = _aligned(end)
        end = start + length
        spans.append(slice(start, end))
    if end != payload.size:
        raise CorruptDataError(f"a chunk decompresses to {payload.size:,} bytes; its channels take {end:,}")
    return ChannelTable(rows, tuple(spans))


def _aligned(position: int) -> int:
    return -(-position // _ALIGNED) * _ALIGNED
