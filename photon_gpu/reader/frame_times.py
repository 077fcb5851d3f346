"""The times and the metadata of the frames of a stored movie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.store import frame_records, manifest
from photon_gpu.store.storage import Storage, read_required


@dataclass(frozen=True)
class FrameTimes:
    """Reads the frame records of one movie.

    Attributes
    ----------
    storage : Storage
    files : dict
        The movie's manifest.
    frames, chunk_frames : int
        Frames of the movie, and of a chunk.
    """

    storage: Storage
    files: dict[str, list[Any]]
    frames: int
    chunk_frames: int

    def timestamps(self) -> NDArray | None:
        """Time of every frame: int64 where all are integers, else float64 with NaN for none."""
        found: list[Any] = []
        for chunk in range(-(-self.frames // self.chunk_frames)):
            found += self._read(chunk)[0]
        if all(t is None for t in found):
            return None
        if all(isinstance(t, int) and abs(t) < 1 << 63 for t in found):
            return np.array(found, np.int64)
        return np.array([math.nan if t is None else t for t in found], np.float64)

    def metadata(self, frame: int) -> dict[str, Any] | None:
        """Metadata of one frame, None where it has none."""
        number = range(self.frames)[frame]
        chunk, inside = divmod(number, self.chunk_frames)
        found: dict[str, Any] | None = self._read(chunk)[1][inside]
        return found

    def _read(self, chunk: int) -> tuple[list[Any], list[Any]]:
        first = chunk * self.chunk_frames
        frames = min(self.chunk_frames, self.frames - first)
        name = frame_records.file_name(chunk)
        if name not in self.files:
            return [None] * frames, [None] * frames
        what = f"times and metadata of frames {first} to {first + frames - 1}"
        data = read_required(self.storage, name, what)
        manifest.check(name, data, self.files, self.storage.url)
        return frame_records.unpack(data, first, frames, f"{self.storage.url}: {name}")
