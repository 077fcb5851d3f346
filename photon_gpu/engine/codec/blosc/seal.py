"""The seal after the blocks of a Blosc frame: which chunk of which movie it is, and a checksum.

Blosc finds its blocks by a table, so it skips bytes after the last one. FORMAT.md, "Seal of a chunk",
defines every byte.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc.frame import HEADER, MEMCPYED, UNSPLIT
from photon_gpu.engine.runtime.fast_crc32 import crc32

SEAL = struct.Struct("<4s2BHII")
_MAGIC = b"PHTS"
_NO_CRC = b"\0\0\0\0"
_RAW_BLOCK = 1 << 20  # bytes per block of content that does not compress
_MOST_RAW_BLOCKS = 256  # so that the table of the largest chunk fits the room that layouts leave


class Seal(NamedTuple):
    """Fields of a seal.

    Attributes
    ----------
    version : (int, int)
        Major and minor version of the layout.
    number, movie : int
        As in the header of a compact chunk: see :func:`photon_gpu.engine.codec.header.identity`.
    """

    version: tuple[int, int]
    number: int
    movie: int

    def pack(self, crc: int) -> bytes:
        """Seal as bytes."""
        return SEAL.pack(_MAGIC, *self.version, self.number, self.movie, crc)


def sealed(parts: Sequence[NDArray[np.uint8]], seal: Seal | None) -> list[NDArray[np.uint8]]:
    """Return the parts of a frame with a seal after them; the first part begins with the header.

    A frame without content gets none: c-blosc2 refuses further bytes there.
    """
    version, lz, flags, itemsize, nbytes, size, length = HEADER.unpack_from(parts[0].data)
    if seal is None or not nbytes:
        return list(parts)
    bodies = [parts[0][HEADER.size :], *parts[1:]]
    if flags & MEMCPYED:  # Blosc allows no bytes after the content of such a frame.
        flags, (size, bodies) = flags & 0xE0 | UNSPLIT, _raw_blocks(bodies[0], nbytes)
        length = HEADER.size + sum(body.size for body in bodies)
    header = HEADER.pack(version, lz, flags, itemsize, nbytes, size, length + SEAL.size)
    crc = crc32(header)
    for body in bodies:
        crc = crc32(body.data, crc)
    end = seal.pack(crc32(seal.pack(0), crc))
    return [np.frombuffer(header, np.uint8), *bodies, np.frombuffer(end, np.uint8)]


def _raw_blocks(content: NDArray[np.uint8], nbytes: int) -> tuple[int, list[NDArray[np.uint8]]]:
    """Return the block size, and the table and the blocks of content that is stored as it is.

    A stream of a block that is as long as what it opens to is a copy of it.
    """
    size = min(max(_RAW_BLOCK, -(-nbytes // _MOST_RAW_BLOCKS) + 7 & ~7), nbytes)
    starts = range(0, nbytes, size)
    first = HEADER.size + 4 * len(starts)
    table = np.array([first + start + 4 * number for number, start in enumerate(starts)], "<i4")
    parts = [table.view(np.uint8)]
    for start in starts:
        block = content[start : min(start + size, nbytes)]
        parts += [np.array([block.size], "<i4").view(np.uint8), block]
    return size, parts


def read_seal(frame: bytes) -> Seal | None:
    """Read the seal of a frame; None if it has none. The checksum is not compared."""
    if len(frame) < HEADER.size + SEAL.size or frame[2] & MEMCPYED:
        return None
    magic, major, minor, number, movie, _ = SEAL.unpack_from(frame, len(frame) - SEAL.size)
    return Seal((major, minor), number, movie) if magic == _MAGIC else None


def seal_holds(frame: bytes) -> bool:
    """Whether the checksum in the seal of a frame is that of the frame."""
    (crc,) = struct.unpack_from("<I", frame, len(frame) - 4)
    return crc32(_NO_CRC, crc32(memoryview(frame)[:-4])) == crc
