"""Frames that an export writes: read them from a stored movie, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.requested_part import STABILIZED
from photon_gpu.engine.runtime.pool import Pool
from photon_gpu.progress_bar import Progress
from photon_gpu.reader.movie import Movie
from photon_gpu.recording import some


class ExportJob:
    """Requested values of an export, and their blocks in order."""

    def __init__(
        self, movie: Movie, value_type: Any, dtype: np.dtype, first: int, end: int, progress: Progress | None
    ) -> None:
        self.movie, self.dtype, self.first, self.end = movie, dtype, first, end
        self.whole, self.counts = end - first == movie.shape[0], value_type != STABILIZED
        self.shape = (end - first, *movie.shape[1:])
        self.nbytes = math.prod(self.shape) * dtype.itemsize
        self._value_type, self._progress = value_type, progress
        self.notes: list[str] = []

    def not_written(self, names: Sequence[str], instead: str) -> None:
        """Add a note on the metadata that the file does not hold, and on the files that do."""
        if names:
            self.notes.append(f"not written back: {some(names)}; {instead}")

    def blocks(self, per_block: int, first: int) -> Iterator[NDArray]:
        """Yield ``per_block`` frames at a time, counted from ``first``; the next block is read meanwhile."""
        edges = [self.first, *range(first + per_block, self.end, per_block), self.end]
        with Pool("photon-export", 1) as pool:
            coming = pool.submit(self.movie.read, slice(edges[0], edges[1]), self._value_type)
            for number, stop in enumerate(edges[1:], 1):
                block = coming.result()
                if stop != self.end:
                    coming = pool.submit(self.movie.read, slice(stop, edges[number + 1]), self._value_type)
                yield block
                if self._progress is not None:
                    self._progress(stop - self.first, self.shape[0])

    def frame(self, number: int) -> NDArray:
        """Return the values of one frame of the movie, ``(1, ...)``."""
        return self.movie.read(slice(number, number + 1), self._value_type)

    def aligned(self) -> Iterator[NDArray]:
        """Yield values chunk by chunk, so that no chunk is decoded twice."""
        per_chunk = self.movie.chunks[0]
        return self.blocks(per_chunk, self.first // per_chunk * per_chunk)

    def stored_chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the first frame of each chunk, and the chunk as it is stored, checked by the manifest."""
        for number in range(self.movie.folder.chunk_count):
            frames = self.movie.folder.frames_of(number)
            yield frames.start, self.movie.chunk_bytes(number)
            if self._progress is not None:
                self._progress(frames.stop, self.shape[0])

    def pages(self, run: slice, page: tuple[int, ...]) -> Iterator[NDArray]:
        """Yield one page ``(H, W)`` of each frame of a run; frames count from the movie's first frame."""
        per_block = self.movie.chunks[0]
        for start in range(run.start, run.stop, per_block):
            frames = slice(start, min(start + per_block, run.stop))
            yield from self.movie.read((frames, *page), self._value_type)
