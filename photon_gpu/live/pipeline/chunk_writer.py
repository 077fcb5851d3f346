"""Write encoded chunks to the store: several at once, with retries, backed by the spool."""

from __future__ import annotations

import heapq
import threading
from typing import Any

from photon_gpu.engine.runtime.service_thread import ServiceThread
from photon_gpu.live.pipeline.unstored_chunks import Keeper, Parcel
from photon_gpu.live.spool.spool import Spool
from photon_gpu.live.state.ledger import Ledger
from photon_gpu.live.state.retrying import Patience, again, error_text
from photon_gpu.store.movie_folder import MovieFolder

_WRITERS = 4
_PATIENCE_SECONDS = 5.0  # how long to wait for a request that hangs; its thread is a daemon
_IN_MEMORY = 4  # encoded chunks in memory, including those that are being sent
_AGAIN_SECONDS = 0.5  # between attempts to save a chunk that the spool's disk refused


class ChunkWriter:
    """Writes chunks to the store, lowest number first.

    Parameters
    ----------
    folder : MovieFolder
    ledger : Ledger
    spool : Spool or None
        Holds chunks while the store is unreachable; without a spool, :meth:`send` waits.
    keeper : Keeper
    frame_nbytes : int
    """

    def __init__(
        self,
        folder: MovieFolder,
        ledger: Ledger,
        spool: Spool | None,
        keeper: Keeper,
        *,
        frame_nbytes: int,
    ) -> None:
        self._folder, self._ledger, self._spool, self._keeper = folder, ledger, spool, keeper
        self._frame_nbytes = frame_nbytes
        self._waiting: list[Parcel] = []
        self._ready = threading.Condition()
        self._away = threading.Event()  # set if the last request to the store failed
        self.patience = Patience()
        self._threads = [ServiceThread(f"photon-send-{i}", self._work) for i in range(_WRITERS)]

    def send(self, chunk: int, frames: int, records: bytes | None, data: bytes) -> None:
        """Queue an encoded chunk; wait if memory is full and the spool accepts no chunk."""
        parcel = Parcel(chunk, frames, records, data)
        in_memory = self._keeper.hold(parcel)
        self._push(parcel)
        if self._away.is_set() or in_memory > _IN_MEMORY:
            self._keeper.keep()
        while not self._keeper.wait(_IN_MEMORY, _AGAIN_SECONDS) and not self.patience.stopping.is_set():
            self._keeper.keep()

    def send_kept(self, chunk: int, frames: int) -> None:
        """Queue a chunk that is in the spool."""
        self._ledger.keep(chunk, frames)
        self._push(Parcel(chunk, frames, None, None))

    def stop(self) -> None:
        """Stop sending; the spool keeps as many of the remaining chunks as it can."""
        self.patience.stopping.set()
        with self._ready:
            self._ready.notify_all()
        for thread in self._threads:
            thread.wait(_PATIENCE_SECONDS)
        self._keeper.end()

    def _push(self, parcel: Parcel) -> None:
        with self._ready:
            heapq.heappush(self._waiting, parcel)
            self._ready.notify()

    def _work(self) -> None:
        try:
            while True:
                with self._ready:
                    while not self._waiting and not self.patience.stopping.is_set():
                        self._ready.wait()
                    if self.patience.stopping.is_set():
                        return
                    parcel = heapq.heappop(self._waiting)
                self._deliver(parcel)
        except Exception as error:
            if not self.patience.stopping.is_set():
                self._ledger.fail(error)

    def _deliver(self, parcel: Parcel) -> None:
        def attempt() -> dict[str, list[Any]]:
            with parcel.lock:
                records, data = parcel.records, parcel.data
            if data is None:
                assert self._spool is not None
                _, records, data = self._spool.load_chunk(parcel.chunk)
            return self._folder.write_chunk(parcel.chunk, data, records)

        def failed(error: Exception) -> None:
            self._ledger.note_trouble(error_text(error))
            self._away.set()
            self._keeper.keep()  # all chunks, since frames are acknowledged in order and any request may hang

        files = again(attempt, self.patience, failed)
        self._away.clear()
        self._keeper.let_go(parcel)
        self._ledger.store(parcel.chunk, parcel.frames, files, parcel.frames * self._frame_nbytes)
