"""What is known of every frame of a recording: taken, journaled, kept, stored, published. One lock."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from time import monotonic
from typing import Any

import numpy as np

from photon_gpu.errors import PhotonWarning
from photon_gpu.store.chunk_grid import chunk_count

_WINDOW_SECONDS = 3.0
_LATENCIES = 10_000


class Ledger:
    """Counts that all threads of a recording share; whoever changes one tells those that wait.

    Parameters
    ----------
    durability : {"frame", "chunk"}
    chunk_frames : int
    published : int
        Frames that an earlier run published.

    Attributes
    ----------
    changed : threading.Condition
        Guards everything; notified on every change.
    error : BaseException or None
        What ended the recording.
    trouble : str or None
        What the store or the spool last answered, while it is away.
    """

    def __init__(self, durability: str, chunk_frames: int, *, published: int = 0) -> None:
        self.changed = threading.Condition()
        self.chunk_frames = chunk_frames
        self.frames_in = published
        self.journaled = published if durability == "frame" else 0
        self.published = published
        self.published_chunks = chunk_count(published, chunk_frames)
        self.stored: dict[int, tuple[int, dict[str, list[Any]]]] = {}
        self.error: BaseException | None = None
        self.trouble: str | None = None
        self.retries = 0
        self.notes: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self.raw_bytes = self.stored_bytes = 0
        self.worst_append_seconds = 0.0
        self._kept: dict[int, int] = {}
        self._safe_chunks, self._safe = self.published_chunks, published
        self._taken: deque[tuple[float, int]] = deque()
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.began = monotonic()

    @property
    def acknowledged(self) -> int:
        """Frames from the first on that survive whatever ends this process."""
        return max(self.journaled, self._safe, self.published)

    def first_unsafe(self) -> tuple[int, tuple[int, dict[str, list[Any]]] | None]:
        """Least number of a chunk that a kill would lose, and what the store is known to have of it."""
        with self.changed:
            return self._safe_chunks, self.stored.get(self._safe_chunks)

    def is_published(self, chunk: int) -> bool:
        """Whether readers see a chunk."""
        with self.changed:
            return chunk < self.published_chunks

    def appended(self, seconds: float) -> int:
        """An append took so long; returns the count of acknowledged frames."""
        with self.changed:
            self.worst_append_seconds = max(self.worst_append_seconds, seconds)
            self._latencies.append(seconds)
            return self.acknowledged

    def append_seconds(self, share: float) -> float:
        """Quantile of the time that the last 10,000 appends took."""
        with self.changed:
            return float(np.quantile(self._latencies, share)) if self._latencies else 0.0

    def take(self, frames: int, nbytes: int) -> None:
        """Frames were copied into the queue."""
        with self.changed:
            self.frames_in += frames
            now = monotonic()
            self._taken.append((now, nbytes))
            while self._taken[0][0] < now - _WINDOW_SECONDS:
                self._taken.popleft()
            self.changed.notify_all()

    def journal(self, frames: int) -> None:
        """Frames up to this count are on the spool's disk."""
        with self.changed:
            self.journaled = max(self.journaled, frames)
            self.changed.notify_all()

    def keep(self, chunk: int, frames: int) -> None:
        """An encoded chunk, or a note of where in the store it is, is on the spool's disk."""
        with self.changed:
            if chunk < self._safe_chunks:  # published meanwhile
                return
            self._kept[chunk] = frames
            while (held := self._kept.pop(self._safe_chunks, None)) is not None:
                self._safe_chunks += 1
                self._safe += held
            self.changed.notify_all()

    def store(self, chunk: int, frames: int, files: dict[str, list[Any]], raw_bytes: int) -> None:
        """A chunk's files are in the store."""
        with self.changed:
            self.stored[chunk] = (frames, files)
            self.raw_bytes += raw_bytes
            self.stored_bytes += sum(size for size, _ in files.values())
            self.trouble = None
            self.changed.notify_all()

    def publishable(self) -> list[int]:
        """Stored chunks that follow on what is published, in order; call with the lock held."""
        chunks = []
        number = self.published_chunks
        while number in self.stored:
            chunks.append(number)
            number += 1
        return chunks

    def publish(self, chunks: list[int]) -> None:
        """Chunks can be opened by readers."""
        with self.changed:
            for chunk in chunks:
                self.published += self.stored.pop(chunk)[0]
                self._kept.pop(chunk, None)
            self.published_chunks += len(chunks)
            if self.published_chunks > self._safe_chunks:
                self._safe_chunks, self._safe = self.published_chunks, self.published
                while (held := self._kept.pop(self._safe_chunks, None)) is not None:
                    self._safe_chunks += 1
                    self._safe += held
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """End the recording; the first error is the one that is told."""
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    def note_trouble(self, what: str) -> None:
        """Something is away, and is tried again."""
        with self.changed:
            self.trouble = what
            self.retries += 1
            self.changed.notify_all()

    def note(self, text: str) -> None:
        """Something the owner should know; it stays."""
        with self.changed:
            self.notes += (text,)

    def warn(self, text: str) -> None:
        """Something that should be mended; it stays, and is told again when the recording ends."""
        with self.changed:
            self.warnings += (text,)

    def tell(self) -> None:
        """Warn of what should be mended, once no frame can be lost by that."""
        for text in self.warnings:
            warnings.warn(text, PhotonWarning, stacklevel=3)

    def rate(self) -> float:
        """Bytes taken per second, lately."""
        with self.changed:
            recent = [(t, n) for t, n in self._taken if t >= monotonic() - _WINDOW_SECONDS]
        if not recent:
            return 0.0
        return sum(n for _, n in recent) / max(monotonic() - recent[0][0], 0.05)
