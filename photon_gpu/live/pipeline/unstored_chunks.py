"""Encoded chunks that are not in the store yet: keep them in memory or in the spool."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from photon_gpu.live.spool.spool import Spool
from photon_gpu.live.state.ledger import Ledger
from photon_gpu.live.state.retrying import error_text


@dataclass(order=True)
class Parcel:
    """An encoded chunk that is to be stored; parcels sort by number.

    Attributes
    ----------
    chunk, frames : int
    records : bytes or None
        Frame records.
    data : bytes or None
        None if the chunk is in the spool or delivered.
    """

    chunk: int
    frames: int = field(compare=False)
    records: bytes | None = field(compare=False)
    data: bytes | None = field(compare=False)
    lock: threading.Lock = field(compare=False, default_factory=threading.Lock)


class Keeper:
    """Moves chunks from memory to the spool, in order.

    A chunk counts only once all chunks before it are safe, and a kill loses the chunks in memory. If a later
    chunk were saved first, recovery would find frames after a gap. So a chunk missing in a spool was damaged.

    Parameters
    ----------
    ledger : Ledger
    spool : Spool or None
    """

    def __init__(self, ledger: Ledger, spool: Spool | None) -> None:
        self._ledger, self._spool = ledger, spool
        self._parcels: dict[int, Parcel] = {}
        self._left = threading.Condition()
        self._turn = threading.Lock()
        self._over = False

    def hold(self, parcel: Parcel) -> int:
        """Add a chunk to memory and return the number of chunks there."""
        with self._left:
            self._parcels[parcel.chunk] = parcel
            return len(self._parcels)

    def let_go(self, parcel: Parcel) -> None:
        """Drop a chunk from memory; it is in the store or in the spool."""
        with parcel.lock:
            parcel.data = parcel.records = None
        self._forget(parcel)

    def wait(self, most: int, seconds: float) -> bool:
        """Wait until at most ``most`` chunks are in memory; False on timeout."""
        with self._left:
            return self._left.wait_for(lambda: len(self._parcels) <= most, seconds)

    def keep(self) -> None:
        """Move chunks to the spool until it refuses one; that one and all later ones stay in memory."""
        with self._turn:
            self._keep_all()

    def end(self) -> None:
        """Move chunks for the last time; another process may take the spool afterwards."""
        with self._turn:
            self._keep_all()
            self._over = True

    def _keep_all(self) -> None:
        if self._spool is None or self._over:
            return
        try:
            while self._keep_next(self._spool):
                pass
        except OSError as error:
            self._ledger.note_trouble(error_text(error))

    def _keep_next(self, spool: Spool) -> bool:
        number, stored = self._ledger.first_unsafe()
        if stored is not None:
            frames, files = stored
            spool.note_stored(number, frames, files)
            self._count(spool, number, frames)
            self._ledger.keep(number, frames)
            if self._ledger.is_published(number):  # published during the write: nobody else deletes the note
                spool.drop(number)
            return True
        with self._left:
            parcel = self._parcels.get(number)
        if parcel is None:
            return False
        with parcel.lock:  # no thread may publish it meanwhile
            if parcel.data is not None:
                spool.save_chunk(number, parcel.frames, parcel.records, parcel.data)
                parcel.data = parcel.records = None
                self._count(spool, number, parcel.frames)
                self._ledger.keep(number, parcel.frames)
        self._forget(parcel)
        return True

    def _count(self, spool: Spool, chunk: int, frames: int) -> None:
        try:
            spool.count.note(chunk * self._ledger.chunk_frames + frames, synced=True)
        except OSError as error:  # the chunk itself is safe
            self._ledger.note_trouble(f"the count of acknowledged frames: {error_text(error)}")

    def _forget(self, parcel: Parcel) -> None:
        with self._left:
            self._parcels.pop(parcel.chunk, None)
            self._left.notify_all()
