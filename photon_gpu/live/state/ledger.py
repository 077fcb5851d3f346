"""The counts of a recording's frames: taken, journaled, in the spool, stored, published."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from time import monotonic
from typing import Any

import numpy as np

from photon_gpu.errors import PhotonWarning
from photon_gpu.logger import logger
from photon_gpu.store.chunk_grid import chunk_count

_WINDOW_SECONDS = 3.0
_LATENCIES = 10_000


class Ledger:
    """Counts that all threads of a recording share under one lock; each change wakes waiting threads.

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
        Error that ended the recording.
    trouble : str or None
        Last error of the store or the spool, while it is unreachable.
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
        self._frames_of: dict[int, int] = {}
        self._safe_chunks, self._safe = self.published_chunks, published
        self._taken: deque[tuple[float, int]] = deque()
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.began = monotonic()

    @property
    def acknowledged(self) -> int:
        """Number of frames, from the first, that survive the end of this process."""
        return max(self.journaled, self._safe, self.published)

    def first_unsafe(self) -> tuple[int, tuple[int, dict[str, list[Any]]] | None]:
        """Return the first chunk that a kill would lose, and its files in the store if known."""
        with self.changed:
            return self._safe_chunks, self.stored.get(self._safe_chunks)

    def is_published(self, chunk: int) -> bool:
        """Whether readers see a chunk."""
        with self.changed:
            return chunk < self.published_chunks

    def appended(self, seconds: float) -> int:
        """Record the duration of an append and return the number of acknowledged frames."""
        with self.changed:
            self.worst_append_seconds = max(self.worst_append_seconds, seconds)
            self._latencies.append(seconds)
            return self.acknowledged

    def append_seconds(self, share: float) -> float:
        """Return a quantile of the duration of the last 10,000 appends."""
        with self.changed:
            return float(np.quantile(self._latencies, share)) if self._latencies else 0.0

    def take(self, frames: int, nbytes: int) -> None:
        """Count frames that were copied into the queue."""
        with self.changed:
            self.frames_in += frames
            now = monotonic()
            self._taken.append((now, nbytes))
            while self._taken[0][0] < now - _WINDOW_SECONDS:
                self._taken.popleft()
            self.changed.notify_all()

    def journal(self, frames: int) -> None:
        """Record that frames up to this count are in the journal."""
        with self.changed:
            self.journaled = max(self.journaled, frames)
            self.changed.notify_all()

    def keep(self, chunk: int, frames: int) -> None:
        """Record that the spool holds an encoded chunk, or the entries of a stored one."""
        with self.changed:
            if chunk < self._safe_chunks:  # published meanwhile
                return
            self._frames_of[chunk] = frames
            while (count := self._frames_of.pop(self._safe_chunks, None)) is not None:
                self._safe_chunks += 1
                self._safe += count
            self.changed.notify_all()

    def store(self, chunk: int, frames: int, files: dict[str, list[Any]], raw_bytes: int) -> None:
        """Record that a chunk's files are in the store."""
        with self.changed:
            self.stored[chunk] = (frames, files)
            self.raw_bytes += raw_bytes
            self.stored_bytes += sum(size for size, _ in files.values())
            self.trouble = None
            self.changed.notify_all()

    def publishable(self) -> list[int]:
        """Return the stored chunks that follow the published ones, in order; call it with the lock held."""
        chunks = []
        number = self.published_chunks
        while number in self.stored:
            chunks.append(number)
            number += 1
        return chunks

    def publish(self, chunks: list[int]) -> None:
        """Record that readers can open these chunks."""
        with self.changed:
            for chunk in chunks:
                self.published += self.stored.pop(chunk)[0]
                self._frames_of.pop(chunk, None)
            self.published_chunks += len(chunks)
            if self.published_chunks > self._safe_chunks:
                self._safe_chunks, self._safe = self.published_chunks, self.published
                while (count := self._frames_of.pop(self._safe_chunks, None)) is not None:
                    self._safe_chunks += 1
                    self._safe += count
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """End the recording with an error; only the first one is reported."""
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    def note_trouble(self, problem: str) -> None:
        """Record a problem that is being retried."""
        with self.changed:
            self.trouble = problem
            self.retries += 1
            self.changed.notify_all()

    def note(self, text: str) -> None:
        """Add a note for the owner, for example on a fallback."""
        logger.info("%s", text)
        with self.changed:
            self.notes += (text,)

    def warn(self, text: str) -> None:
        """Add a warning, which is repeated when the recording ends."""
        with self.changed:
            self.warnings += (text,)

    def tell(self) -> None:
        """Issue the warnings; call it once an error raised by a warning can no longer lose a frame."""
        for text in self.warnings:
            warnings.warn(text, PhotonWarning, stacklevel=3)

    def rate(self) -> float:
        """Return the bytes taken per second over the last seconds."""
        with self.changed:
            recent = [(t, n) for t, n in self._taken if t >= monotonic() - _WINDOW_SECONDS]
        if not recent:
            return 0.0
        return sum(n for _, n in recent) / max(monotonic() - recent[0][0], 0.05)
