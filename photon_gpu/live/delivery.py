"""Encoded chunks on their way to the store: several at once, tried again, kept in the spool meanwhile."""

from __future__ import annotations

import heapq
import threading
from dataclasses import dataclass, field

from photon_gpu import manifest, records
from photon_gpu.live.ledger import Ledger
from photon_gpu.live.retrying import Patience, again, told
from photon_gpu.live.spool import Spool
from photon_gpu.metadata import chunk_name
from photon_gpu.storage import Storage

_SENDERS = 4
_PATIENCE_SECONDS = 5.0  # for a request that hangs; its thread does not keep the process
_IN_MEMORY = 4  # encoded chunks that wait in memory, beside one in each sender's hands


@dataclass(order=True)
class _Parcel:
    chunk: int
    frames: int = field(compare=False)
    said: bytes | None = field(compare=False)
    data: bytes | None = field(compare=False)  # None: in the spool
    lock: threading.Lock = field(compare=False, default_factory=threading.Lock)


class Delivery:
    """Sends chunks, lowest number first.

    Parameters
    ----------
    storage : Storage
    ledger : Ledger
    spool : Spool or None
        Takes chunks while the store is away; without one :meth:`send` waits.
    dimensions : int
        Of the movie.
    frame_nbytes : int
    """

    def __init__(
        self, storage: Storage, ledger: Ledger, spool: Spool | None, dimensions: int, frame_nbytes: int
    ) -> None:
        self._storage, self._ledger, self._spool = storage, ledger, spool
        self._dimensions, self._frame_nbytes = dimensions, frame_nbytes
        self._waiting: list[_Parcel] = []
        self._in_hand: list[_Parcel] = []
        self._ready = threading.Condition()
        self._room = threading.Semaphore(_IN_MEMORY)
        self._away = threading.Event()  # the last answer of the store was a failure
        self.patience = Patience()
        self._threads = [
            threading.Thread(target=self._work, name=f"photon-send-{i}", daemon=True) for i in range(_SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, chunk: int, frames: int, said: bytes | None, data: bytes) -> None:
        """Hand over an encoded chunk; waits where memory for chunks is full and no spool takes them."""
        parcel = _Parcel(chunk, frames, said, data)
        in_memory = not self._away.is_set() and self._room.acquire(blocking=False)
        if not in_memory:
            self._keep_those_before()
        if not in_memory and not self._keep(parcel):
            while not self._room.acquire(timeout=0.1):
                if self.patience.stopping.is_set():
                    return
        self._push(parcel)

    def send_kept(self, chunk: int, frames: int) -> None:
        """Send a chunk that lies in the spool."""
        self._ledger.keep(chunk, frames)
        self._push(_Parcel(chunk, frames, None, None))

    def stop(self) -> None:
        """Give up what is not in the store; the spool keeps what it can."""
        self.patience.stopping.set()
        with self._ready:
            self._ready.notify_all()
        for thread in self._threads:
            thread.join(_PATIENCE_SECONDS)
        for parcel in sorted([*self._waiting, *self._in_hand]):
            with parcel.lock:
                self._keep(parcel)

    def _push(self, parcel: _Parcel) -> None:
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
                    self._in_hand.append(parcel)
                self._deliver(parcel)
                with self._ready:
                    self._in_hand.remove(parcel)
        except Exception as error:
            if not self.patience.stopping.is_set():
                self._ledger.fail(error)

    def _deliver(self, parcel: _Parcel) -> None:
        def attempt() -> dict[str, list[object]]:
            with parcel.lock:
                said, data = parcel.said, parcel.data
            if data is None:
                assert self._spool is not None
                _, said, data = self._spool.load_chunk(parcel.chunk)
            files = {}
            if said is not None:
                name = records.file_name(parcel.chunk)
                self._storage.write(name, said)
                files[name] = manifest.entry(said)
            name = chunk_name(parcel.chunk, self._dimensions)
            self._storage.write(name, data)
            files[name] = manifest.entry(data)
            return files

        def failed(error: Exception) -> None:
            self._ledger.note_trouble(told(error))
            self._away.set()
            self._keep_those_before()

        files = again(attempt, self.patience, failed)
        self._away.clear()
        with parcel.lock:
            if parcel.data is not None:
                parcel.data = None
                self._room.release()
        self._ledger.store(parcel.chunk, parcel.frames, files, parcel.frames * self._frame_nbytes)

    def _keep_those_before(self) -> None:
        """Move all from memory to the spool: frames are acknowledged in order, and any request may hang."""
        with self._ready:
            held = sorted([*self._in_hand, *self._waiting])
        for parcel in held:
            with parcel.lock:
                if parcel.data is not None and self._keep(parcel):
                    self._room.release()

    def _keep(self, parcel: _Parcel) -> bool:
        """Move a chunk from memory to the spool; False where that cannot take it."""
        if self._spool is None or parcel.data is None:
            return False
        try:
            self._spool.save_chunk(parcel.chunk, parcel.frames, parcel.said, parcel.data)
        except OSError as error:
            self._ledger.note_trouble(told(error))
            return False
        parcel.data = parcel.said = None
        self._ledger.keep(parcel.chunk, parcel.frames)
        return True
