"""The file with the count of acknowledged frames, which shows whether the end of a journal is lost.

FORMAT.md, "The spool of a recording", states every byte. The count is written before a frame is acknowledged,
so a kill does not lose it. It is synced at most once a second, so that appends are not slowed down. After
a power cut it may therefore be older than the frames.
"""

from __future__ import annotations

import os
import struct
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.store import durable

NAME = "acknowledged"
_MAGIC = b"PHAC"
_SLOT = struct.Struct("<4s16sQ")
_APART = 4096  # bytes between the two slots, so that one bad sector damages only one
_SYNC_SECONDS = 1.0


class AcknowledgedCount:
    """Writes the count; thread-safe.

    Parameters
    ----------
    folder : Path
        Folder of the recording's spool.
    token : bytes
        The 16 bytes that identify the recording.
    """

    def __init__(self, folder: Path, token: bytes) -> None:
        self._token, self._lock = token, threading.Lock()
        self._frames, self._turn = read(folder, token) or 0, 0
        self._synced, self._dirty = monotonic(), False
        self._descriptor: int | None = durable.open_file(str(folder / NAME))
        for _ in range(2):  # write both slots now, so that no later write needs disk space
            self._write()
            self._sync()

    def note(self, frames: int, *, synced: bool = False) -> None:
        """Write the count, just before these frames are acknowledged."""
        with self._lock:
            if frames <= self._frames or self._descriptor is None:
                return
            self._frames, self._dirty = frames, True
            self._write()
            if synced:
                self._sync()

    @property
    def due_seconds(self) -> float | None:
        """Return the seconds until :meth:`sync` is due; None if all is synced."""
        with self._lock:
            return max(self._synced + _SYNC_SECONDS - monotonic(), 0.0) if self._dirty else None

    def sync(self) -> None:
        """Sync the count if the last sync is a second old."""
        with self._lock:
            if self._dirty and self._descriptor is not None and monotonic() >= self._synced + _SYNC_SECONDS:
                self._sync()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._descriptor is not None:
                descriptor, self._descriptor = self._descriptor, None
                os.close(descriptor)

    def _write(self) -> None:
        assert self._descriptor is not None
        slot = _SLOT.pack(_MAGIC, self._token, self._frames)
        durable.write_all(self._descriptor, slot + struct.pack("<I", crc32(slot)), self._turn * _APART)

    def _sync(self) -> None:
        assert self._descriptor is not None
        self._synced = monotonic()  # after a failure too: retry in a second
        durable.sync_data(self._descriptor)
        self._dirty = False
        self._turn ^= 1  # keep the synced slot until the other one is synced


def read(folder: Path, token: bytes) -> int | None:
    """Read the count of a recording; None if the file is missing or damaged."""
    data = b""
    with suppress(OSError):
        data = (folder / NAME).read_bytes() if (folder / NAME).is_file() else b""
    counts = []
    for start in (0, _APART):
        slot, crc = data[start : start + _SLOT.size], data[start + _SLOT.size : start + _SLOT.size + 4]
        if len(crc) == 4 and struct.unpack("<I", crc)[0] == crc32(slot):
            magic, owner, frames = _SLOT.unpack(slot)
            if magic == _MAGIC and owner == token:
                counts.append(frames)
    return max(counts, default=None)
