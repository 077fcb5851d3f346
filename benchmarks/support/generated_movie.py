"""Movies of any length that are generated while they are read, and the ranges of frames to read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from photon_gpu.sources.base import Source

CHUNK_FRAMES = 100
"""Frames per chunk, for all contenders that have chunks."""

_AT_ONCE = 4 * CHUNK_FRAMES


class Made(Source):
    """A movie of any length. Later chunks are the first one, shifted; no chunk compresses better for that."""

    def __init__(self, first: NDArray, frames: int, name: str) -> None:
        self._first, self.name = first, name
        self.shape, self.dtype = (frames, *first.shape[1:]), first.dtype

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> NDArray:
        out, each = np.empty((stop - start, *self.shape[1:]), self.dtype), len(self._first)
        done = start
        while done < stop:
            number, inside = divmod(done, each)
            count = min(each - inside, stop - done)
            shift = tuple(np.random.default_rng(number).integers(0, self.shape[1], 2)) if number else (0, 0)
            out[done - start : done - start + count] = np.roll(
                self._first[inside : inside + count], shift, axis=(1, 2)
            )
            done += count
        return out

    def __getitem__(self, key: slice) -> NDArray:
        start, stop, step = key.indices(len(self))
        assert step == 1
        return self.read(start, stop)


def spans(values: NDArray | Made) -> Iterator[slice]:
    """Yield the ranges of frames to read: an array at once, a generated movie some chunks at a time."""
    if isinstance(values, np.ndarray):
        yield slice(0, len(values))
        return
    for start in range(0, len(values), _AT_ONCE):
        yield slice(start, min(start + _AT_ONCE, len(values)))
