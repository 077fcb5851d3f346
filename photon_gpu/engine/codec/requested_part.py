"""The part of a chunk that a reader requests, and the type of the values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STABILIZED = "stabilized"

Values = str | np.dtype
"""Type of the requested values: ``"stabilized"``, or a dtype for values in the movie's units."""


@dataclass(frozen=True)
class ChunkPart:
    """Frames and rows of a chunk.

    Attributes
    ----------
    chunk : tuple of int
        Shape of the chunk.
    start, stop : int
        Frames ``start:stop``, which the chunk must hold. Without ``stop``, all frames of the shape; frames
        that the chunk does not hold are zeros.
    rows : (int, int), optional
        First row and end, counted over all axes between the first and the last; all rows by default.
    number : int, optional
        Number of the chunk, if known; a chunk that states another number is an error.

    Examples
    --------
    >>> part = ChunkPart((10, 2, 4, 8), 3, 6)
    >>> part.shape, part.row_range, part.first_sample
    ((3, 2, 4, 8), (0, 8), 192)
    """

    chunk: tuple[int, ...]
    start: int = 0
    stop: int | None = None
    rows: tuple[int, int] | None = None
    number: int | None = None

    @property
    def end(self) -> int:
        """Number of the frame after the last one."""
        return self.chunk[0] if self.stop is None else self.stop

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.end - self.start

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded frames."""
        return (self.frames, *self.chunk[1:])

    @property
    def frame_size(self) -> int:
        """Samples per frame."""
        return math.prod(self.chunk[1:])

    @property
    def row_range(self) -> tuple[int, int]:
        """First row and end, also if all rows are requested."""
        return (0, math.prod(self.chunk[1:-1])) if self.rows is None else self.rows

    @property
    def first_sample(self) -> int:
        """Number, in the chunk, of the first sample of the first row of the first frame."""
        return self.start * self.frame_size + self.row_range[0] * self.chunk[-1]

    def empty(self, what: Values) -> NDArray:
        """Allocate memory for the decoded frames."""
        return np.empty(self.shape, dtype_of(what))


def dtype_of(what: Values) -> np.dtype:
    """Dtype of decoded values: float64 for ``"stabilized"``, else the dtype ``what``.

    Examples
    --------
    >>> dtype_of(STABILIZED), dtype_of(np.dtype("uint16"))
    (dtype('float64'), dtype('uint16'))
    """
    return np.dtype(np.float64 if what == STABILIZED else what)
