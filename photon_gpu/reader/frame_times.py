"""Times and metadata of the frames of a stored movie."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.runtime.physical_memory import memory_bytes
from photon_gpu.errors import CorruptDataError, InvalidIndexError
from photon_gpu.store import frame_records, manifest
from photon_gpu.store.movie_folder import MovieFolder
from photon_gpu.store.storage import read_required


@dataclass(frozen=True)
class FrameTimes:
    """The frame records of one movie, read from its folder.

    Attributes
    ----------
    folder : MovieFolder
    files : dict
        Manifest entries by file name; empty if the movie has no manifest.
    unlisted : bool
        Whether to search for records if there is no manifest.
    """

    folder: MovieFolder
    files: dict[str, list[Any]]
    unlisted: bool

    def timestamps(self) -> NDArray | None:
        """Time of each frame: int64 if all are integers, else float64, with NaN for frames without a time."""
        frames = self.folder.shape[0]
        listed = self.files or (self.folder.storage.names() if self.unlisted else ())
        chunks = sorted(n for name in listed if (n := frame_records.chunk_of(name)) is not None)
        spans = [(self.folder.frames_of(n), self._read(n)[0]) for n in chunks if n < self.folder.chunk_count]
        every_time = [time for _, times in spans for time in times]
        if all(time is None for time in every_time):
            return None
        if 8 * frames > memory_bytes():
            raise CorruptDataError(
                f"{self.folder.storage.url}: times of {frames:,} frames take {8 * frames:,} bytes; this "
                f"machine has {memory_bytes():,}"
            )
        if len(every_time) == frames and all(isinstance(t, int) and abs(t) < 1 << 63 for t in every_time):
            return np.array(every_time, np.int64)
        every = np.full(frames, math.nan)
        for span, times in spans:
            every[span.start : span.stop] = [math.nan if time is None else time for time in times]
        return every

    def metadata(self, frame: int) -> dict[str, Any] | None:
        """Metadata of one frame; None if it has none."""
        frames = self.folder.shape[0]
        try:
            number = range(frames)[operator.index(frame)]
        except (IndexError, TypeError) as error:
            raise InvalidIndexError(
                f"frame is {str(frame)[:80]!r}; for a movie of {frames} frames a whole number "
                f"from {-frames} to {frames - 1} is needed"
            ) from error
        chunk, inside = divmod(number, self.folder.chunks[0])
        record: dict[str, Any] | None = self._read(chunk)[1][inside]
        return record

    def _read(self, chunk: int) -> tuple[list[Any], list[Any]]:
        storage, frames = self.folder.storage, self.folder.frames_of(chunk)
        name = frame_records.file_name(chunk)
        listed = name in self.files
        if not listed and (self.files or not self.unlisted or not storage.exists(name)):
            return [None] * len(frames), [None] * len(frames)
        data = read_required(storage, name, f"times and metadata of frames {frames[0]} to {frames[-1]}")
        if listed:
            manifest.check(name, data, self.files, storage.url)
        return frame_records.unpack(data, frames, f"{storage.url}: {name}")
