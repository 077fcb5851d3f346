"""Chunks that are filling with frames, and a bounded pool of their buffers."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.live.state.config import LiveConfig
from photon_gpu.store.frame_records import NOTHING, Record


class Chunk:
    """The frames of one chunk, in order of arrival.

    Attributes
    ----------
    number : int
    values : numpy.ndarray
        ``(chunk_frames, *frame_shape)``; only the first ``filled`` frames are defined.
    records : list
        Timestamp and metadata of each frame.
    journaled : int
        Frames that are in the journal.
    """

    def __init__(self, number: int, values: NDArray[Any]) -> None:
        self.number, self.values = number, values
        self.filled = self.journaled = 0
        self.records: list[Record] = []
        self.holders = 1

    @property
    def room(self) -> int:
        """Number of frames that still fit."""
        return len(self.values) - self.filled

    def add(self, block: NDArray[Any], records: list[Record] | None) -> None:
        """Append frames to the chunk."""
        self.values[self.filled : self.filled + len(block)] = block
        # Assign a slice, which overwrites entries that an interrupted call left.
        self.records[self.filled :] = records if records is not None else [NOTHING] * len(block)
        self.filled += len(block)


class Buffers:
    """A pool of at most ``config.chunks`` buffers; the last one used is reused first."""

    def __init__(self, config: LiveConfig) -> None:
        self._shape, self._dtype = config.chunk(), np.dtype(config.dtype)
        self._left = self._most = config.chunks
        self._free: list[NDArray[Any]] = []
        self._changed = threading.Condition()

    @property
    def free(self) -> int:
        """Number of free buffers."""
        with self._changed:
            return self._left

    @property
    def used_bytes(self) -> int:
        """Bytes of the buffers in use."""
        with self._changed:
            return (self._most - self._left) * math.prod(self._shape) * self._dtype.itemsize

    def take(self, number: int, wait_seconds: float) -> Chunk | None:
        """Return an empty chunk; None if no buffer became free in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._left > 0, wait_seconds):
                return None
            self._left -= 1
            values = self._free.pop() if self._free else np.empty(self._shape, self._dtype)
        return Chunk(number, values)

    def release(self, chunk: Chunk) -> None:
        """Release a chunk; its buffer is freed when its last holder does."""
        with self._changed:
            chunk.holders -= 1
            if chunk.holders:
                return
            self._free.append(chunk.values)
            chunk.values = chunk.values[:0]
            self._left += 1
            self._changed.notify_all()
