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
    holders : int
        Number of threads that read the buffer: the encoder, and the journal if there is one.
    encoding : bool
        Whether the encoder took the chunk.
    """

    def __init__(self, number: int, values: NDArray[Any]) -> None:
        self.number, self.values = number, values
        self.filled = self.journaled = 0
        self.records: list[Record] = []
        self.holders = 1
        self.encoding = False

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


class ChunkBuffers:
    """A pool of at most ``config.chunks`` buffers; the last one used is reused first.

    An interrupt at any moment loses no buffer.
    """

    def __init__(self, config: LiveConfig) -> None:
        self._shape, self._dtype = config.chunk(), np.dtype(config.dtype)
        self._most = config.chunks
        self._free: list[NDArray[Any]] = []
        self._taken: dict[int, Chunk] = {}
        self._changed = threading.Condition()

    @property
    def free(self) -> int:
        """Number of free buffers."""
        with self._changed:
            return self._most - len(self._taken)

    @property
    def used_bytes(self) -> int:
        """Bytes of the buffers in use."""
        with self._changed:
            return len(self._taken) * math.prod(self._shape) * self._dtype.itemsize

    def take(self, number: int, wait_seconds: float) -> Chunk | None:
        """Return an empty chunk; None if no buffer became free in time.

        A chunk that was taken already, before an interrupt, is returned again.
        """
        with self._changed:
            if number not in self._taken:
                if not self._changed.wait_for(lambda: len(self._taken) < self._most, wait_seconds):
                    return None
                values = self._free.pop() if self._free else np.empty(self._shape, self._dtype)
                self._taken[number] = Chunk(number, values)
            return self._taken[number]

    def release(self, chunk: Chunk) -> None:
        """Release a chunk; its buffer is freed when its last holder does."""
        with self._changed:
            chunk.holders -= 1
            if chunk.holders:
                return
            self._free.append(chunk.values)
            chunk.values = chunk.values[:0]
            del self._taken[chunk.number]
            self._changed.notify_all()
