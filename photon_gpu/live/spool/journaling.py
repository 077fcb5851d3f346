"""The journal thread: write all frames that arrived during the last sync, then sync again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from photon_gpu.engine.runtime.service_thread import ServiceThread
from photon_gpu.live.spool.acknowledged_count import AcknowledgedCount
from photon_gpu.live.spool.journal import Journal
from photon_gpu.live.state.filling_chunks import Chunk, ChunkBuffers
from photon_gpu.live.state.ledger import Ledger
from photon_gpu.live.state.retrying import Patience, again, error_text

_MOST_BYTES = 32 << 20  # per record: the next frame would wait for a longer one
_WAIT_SECONDS = 0.5  # most seconds between attempts, since a disk answers at once and a camera waits


class Journaling:
    """Journals the frames of chunks while they fill.

    Parameters
    ----------
    journal : Journal
    ledger : Ledger
    buffers : ChunkBuffers
        Receive a chunk back once it is journaled (and encoded).
    count : AcknowledgedCount
    """

    def __init__(
        self, journal: Journal, ledger: Ledger, buffers: ChunkBuffers, count: AcknowledgedCount
    ) -> None:
        self._journal, self._ledger, self._buffers, self._count = journal, ledger, buffers, count
        self._chunks: deque[Chunk] = deque()
        self._patience = Patience(_WAIT_SECONDS)
        self._broken = True  # no segment is open
        self._thread = ServiceThread("photon-journal", self._work)

    def follow(self, chunk: Chunk) -> None:
        """Journal the frames of a chunk from now on, and hold its buffer until all are journaled.

        A second call, after an interrupt, changes nothing.
        """
        with self._ledger.changed:
            if chunk not in self._chunks:
                chunk.holders = 2
                self._chunks.append(chunk)

    def stop(self, drain_seconds: float = 0.0) -> None:
        """Stop the thread once all frames are journaled or the time is over."""
        with self._ledger.changed:
            self._ledger.changed.wait_for(
                lambda: self._ledger.acknowledged >= self._ledger.frames_in, drain_seconds
            )
        self._patience.stopping.set()
        with self._ledger.changed:
            self._ledger.changed.notify_all()
        self._thread.wait()
        self._journal.end()

    def _work(self) -> None:
        try:
            while (batch := self._next()) is not None:
                chunk, filled = batch
                if chunk is None:
                    self._note_count(self._count.sync)
                    continue
                again(partial(self._write, chunk, filled), self._patience, self._failed)
                if filled == len(chunk.values):
                    self._chunks.popleft()
                    self._broken = True
                    self._buffers.release(chunk)
                self._note_count(self._count.sync)
        except Exception as error:
            if not self._patience.stopping.is_set():
                self._ledger.fail(error)

    def _next(self) -> tuple[Chunk | None, int] | None:
        """Return a chunk with unjournaled frames, or None if only the count is to be synced."""
        with self._ledger.changed:
            while not self._patience.stopping.is_set():
                if self._chunks and (chunk := self._chunks[0]).filled > chunk.journaled:
                    return chunk, chunk.filled
                due = self._count.due_seconds
                if due == 0:
                    return None, 0
                self._ledger.changed.wait(due)
        return None

    def _write(self, chunk: Chunk, filled: int) -> None:
        if self._ledger.is_published(chunk.number):  # it was published before its turn
            chunk.journaled = filled
            return
        if self._broken:
            chunk.journaled = 0
            self._journal.begin(chunk.number)
            self._broken = False
        first = chunk.journaled
        most = max(1, _MOST_BYTES // max(chunk.values[:1].nbytes, 1))
        for start in range(first, filled, most):
            stop = min(start + most, filled)
            self._journal.write(chunk.number, start, chunk.values[start:stop], chunk.records[start:stop])
        self._journal.sync()
        chunk.journaled = filled
        frames = chunk.number * self._ledger.chunk_frames + filled
        self._note_count(partial(self._count.note, frames))
        self._ledger.journal(frames)

    def _note_count(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:  # the frames themselves are safe
            self._ledger.note_trouble(f"the count of acknowledged frames: {error_text(error)}")

    def _failed(self, error: Exception) -> None:
        # After a failed sync the state on disk is unknown, so write the chunk again to a new file.
        self._broken = True
        self._ledger.note_trouble(error_text(error))
