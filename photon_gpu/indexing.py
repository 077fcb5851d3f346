"""What an index asks of a movie: which frames, and which part of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError


@dataclass(frozen=True)
class Share:
    """Frames that one chunk has of those asked for.

    Attributes
    ----------
    number : int
        Of the chunk.
    where : (n,) int array
        Their places in the result.
    inside : (n,) int array
        Their places in the chunk.
    """

    number: int
    where: NDArray[np.int64]
    inside: NDArray[np.int64]

    @property
    def span(self) -> tuple[int, int]:
        """First frame of the chunk that is needed, and the one after the last."""
        return int(self.inside.min()), int(self.inside.max()) + 1

    @property
    def straight(self) -> bool:
        """Whether successive frames of the chunk are successive frames of the result."""
        n = len(self.where)
        return bool(
            (self.where == np.arange(self.where[0], self.where[0] + n)).all()
            and (self.inside == np.arange(self.inside[0], self.inside[0] + n)).all()
        )


def shares(frames: NDArray[np.int64], chunk_frames: int) -> Iterator[Share]:
    """What each chunk has of the frames, chunk by chunk.

    Examples
    --------
    >>> [(s.number, s.where.tolist(), s.inside.tolist()) for s in shares(np.array([7, 2, 6]), 5)]
    [(0, [1], [2]), (1, [0, 2], [2, 1])]
    """
    numbers = frames // chunk_frames
    order = np.argsort(numbers, kind="stable")
    edges = np.flatnonzero(np.diff(numbers[order])) + 1
    for where in np.split(order, edges) if len(frames) else []:
        number = int(numbers[where[0]])
        yield Share(number, where, frames[where] - number * chunk_frames)


def split_key(key: Any, ndim: int) -> tuple[Any, tuple[Any, ...]]:
    """Index along time, and indices within frames."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(k is None for k in keys):
        raise InvalidInputError("a movie takes no new axes (None) in its index; add them to what it returns")
    holes = [i for i, k in enumerate(keys) if k is Ellipsis]
    if len(holes) > 1 or len(keys) - len(holes) > ndim:
        raise InvalidInputError(f"index {key!r} has more than the movie's {ndim} axes")
    if holes:
        i = holes[0]
        keys = keys[:i] + (slice(None),) * (ndim - len(keys) + 1) + keys[i + 1 :]
    # Whole axes at the end say nothing: left out, frames go straight to where they belong.
    while keys and isinstance(keys[-1], slice) and keys[-1] == slice(None):
        keys = keys[:-1]
    return (keys[0], tuple(keys[1:])) if keys else (slice(None), ())


def row_span(rest: tuple[Any, ...], frame: tuple[int, ...]) -> tuple[int, int]:
    """First row, and the one after the last, that indices within frames ``(..., H, W)`` ask for.

    Rows are counted over all axes but the last.

    Examples
    --------
    >>> row_span((slice(2, 4),), (8, 8)), row_span((1, slice(2, 4), 0), (3, 8, 8)), row_span((), (8, 8))
    ((2, 4), (10, 12), (0, 8))
    """
    rows = math.prod(frame[:-1])
    if not rest:
        return 0, rows
    numbers = np.broadcast_to(np.arange(rows).reshape(*frame[:-1], 1), frame)[rest]
    return (int(numbers.min()), int(numbers.max()) + 1) if numbers.size else (0, 0)


def frame_numbers(index: Any, frames: int) -> NDArray[np.int64]:
    """Frames that a number, a list or a mask names, counted from 0, in its shape."""
    array = np.asarray(index)
    if array.dtype == bool:
        if array.shape != (frames,):
            raise InvalidInputError(f"a mask of shape {array.shape} for {frames} frames")
        return np.flatnonzero(array)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise InvalidInputError(f"frames are counted by whole numbers, not {index!r}")
    numbers = np.where(array < 0, array + frames, array).astype(np.int64)
    if (numbers < 0).any() or (numbers >= frames).any():
        raise IndexError(f"frame {index!r} of a movie of {frames}")
    return numbers
