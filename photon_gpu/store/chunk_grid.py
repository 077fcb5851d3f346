"""Divide the frames of a movie into chunks, and name the chunk files."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CHUNK_NAME = re.compile(r"(0|[1-9][0-9]{0,16})(?:\.0)+")


def chunk_name(number: int, dimensions: int) -> str:
    """Return the file name of a chunk of whole frames: ``3.0.0``."""
    return ".".join([str(number), *["0"] * (dimensions - 1)])


def chunk_number(name: str) -> int | None:
    """Return the number of a chunk file, or None for any other name.

    >>> chunk_number("3.0.0"), chunk_number("03.0.0"), chunk_number("3.1.0"), chunk_number(".zarray")
    (3, None, None, None)
    """
    match = _CHUNK_NAME.fullmatch(name)
    return int(match[1]) if match else None


def chunk_count(frames: int, chunk_frames: int) -> int:
    """Return the number of chunks that a number of frames fills, the last one perhaps in part."""
    return -(-frames // chunk_frames)


@dataclass(frozen=True)
class ChunkGrid:
    """The division of a movie into chunks of whole frames.

    Attributes
    ----------
    shape, chunks : tuple of int
        ``(frames, ..., height, width)`` of the movie, and of a chunk. The last chunk may hold fewer frames.

    Examples
    --------
    >>> grid = ChunkGrid((25, 8, 8), (10, 8, 8))
    >>> grid.chunk_count, grid.frames_of(2), grid.chunk_name(2)
    (3, range(20, 25), '2.0.0')
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]

    @property
    def chunk_count(self) -> int:
        """Number of chunks."""
        return chunk_count(self.shape[0], self.chunks[0])

    def frames_of(self, number: int) -> range:
        """Return the frames of one chunk."""
        first = number * self.chunks[0]
        return range(first, min(first + self.chunks[0], self.shape[0]))

    def chunk_name(self, number: int) -> str:
        """Return the file name of one chunk."""
        return chunk_name(number, len(self.chunks))
