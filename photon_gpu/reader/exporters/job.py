"""What an export writes: the frames of a stored movie, read block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.chunk_part import STABILIZED
from photon_gpu.engine.runtime.pool import Pool
from photon_gpu.reader.movie import Movie
from photon_gpu.recording import some
from photon_gpu.settings import Progress


class Job:
    """Which values are asked for, and their blocks in order."""

    def __init__(
        self, movie: Movie, what: Any, dtype: np.dtype, first: int, end: int, progress: Progress | None
    ) -> None:
        self.movie, self.dtype, self.first, self.end = movie, dtype, first, end
        self.whole, self.counts = end - first == movie.shape[0], what != STABILIZED
        self.shape = (end - first, *movie.shape[1:])
        self.nbytes = math.prod(self.shape) * dtype.itemsize
        self._what, self._progress = what, progress
        self.notes: list[str] = []

    def not_written(self, names: Sequence[str], instead: str) -> None:
        """Note what of the recording the file does not hold, and which files do."""
        if names:
            self.notes.append(f"not written back: {some(names)}; {instead}")

    def blocks(self, per_block: int, first: int) -> Iterator[NDArray]:
        """Values of ``per_block`` frames at a time, counted from ``first``; the next is read meanwhile."""
        edges = [self.first, *range(first + per_block, self.end, per_block), self.end]
        with Pool("photon-export", 1) as pool:
            coming = pool.submit(self.movie.read, slice(edges[0], edges[1]), self._what)
            for number, stop in enumerate(edges[1:], 1):
                block = coming.result()
                if stop != self.end:
                    coming = pool.submit(self.movie.read, slice(stop, edges[number + 1]), self._what)
                yield block
                if self._progress is not None:
                    self._progress(stop - self.first, self.shape[0])

    def aligned(self) -> Iterator[NDArray]:
        """Values chunk by chunk, so that none is opened twice."""
        per_chunk = self.movie.chunks[0]
        return self.blocks(per_chunk, self.first // per_chunk * per_chunk)

    def pages(self, run: slice, page: tuple[int, ...]) -> Iterator[NDArray]:
        """Values ``(H, W)`` of one page of each frame of a run, counted from the movie's first frame."""
        per_block = self.movie.chunks[0]
        for start in range(run.start, run.stop, per_block):
            yield from self.movie.read((slice(start, min(start + per_block, run.stop)), *page), self._what)
