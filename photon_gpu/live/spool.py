"""The folder of one recording on a fast local disk: what it is, its journal, and chunks the store would not take."""

from __future__ import annotations

import os
import shutil
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from photon_gpu import durable, metadata
from photon_gpu.crc import crc32
from photon_gpu.errors import CorruptDataError, InvalidInputError, StoreNotFoundError, UnsupportedVersionError
from photon_gpu.live import journal, sealed
from photon_gpu.live.config import LiveConfig
from photon_gpu.live.journal import Journal

VERSION = 1
RECORDING, ENCODING, LOCK = "recording.json", "encoding.json", "lock"
_CHUNK_HEAD = struct.Struct("<4sIIQIQ")
_CHUNK_MAGIC = b"PHSP"


class Spool:
    """One recording's folder, held by a lock that ends with the process.

    Attributes
    ----------
    folder : Path
    facts : dict
        What ``recording.json`` holds: version, token, url, config, noise, attributes.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder, self.facts = folder, facts
        self._lock: int | None = None
        self._encoding: dict[str, Any] | None = None  # not on disk yet
        self._hold()

    @classmethod
    def begin(cls, parent: str | os.PathLike[str], name: str, facts: dict[str, Any]) -> Spool:
        """A new recording's folder below ``parent``."""
        token = str(facts["token"])
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        folder = Path(parent).absolute() / f"{name}-{stamp}-{token[:8]}"
        durable.make_folder(str(folder))
        spool = cls(folder, {"spool_version": VERSION, **facts})
        try:
            sealed.write(folder / RECORDING, spool.facts)
        except BaseException:  # a recording that never began must not look like one that ended early
            with suppress(OSError):
                spool.remove()
            spool.release()
            raise
        return spool

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Spool:
        """A recording's folder as its writer left it; an error where that still runs."""
        path = Path(folder).absolute()
        try:
            facts = sealed.read(path / RECORDING)
        except FileNotFoundError as error:
            raise StoreNotFoundError(f"{path} is no spool of a recording: no {RECORDING} is there") from error
        if (version := facts.get("spool_version")) != VERSION:
            raise UnsupportedVersionError(f"{path}: spool version {version!r}; this release reads {VERSION}")
        return cls(path, facts)

    @property
    def token(self) -> bytes:
        """The recording's own 16 bytes."""
        return bytes.fromhex(self.facts["token"])

    @property
    def config(self) -> LiveConfig:
        """Parameters of the recording."""
        return LiveConfig.from_dict(self.facts["config"])

    def journal(self) -> Journal:
        """Where frames are written before they are acknowledged."""
        config = self.config
        return Journal(self.folder, self.token, config.chunk_nbytes + 512 * config.frames_per_chunk)

    def keep_encoding(self, array: bytes, attributes: bytes) -> None:
        """Before the first chunk is encoded: so that recovery makes the same bytes."""
        self._encoding = {"array": array.decode(), "attributes": attributes.decode()}
        self._write_encoding()

    def _write_encoding(self) -> None:
        if self._encoding is not None:
            sealed.write(self.folder / ENCODING, self._encoding)
            self._encoding = None

    def encoding(self) -> metadata.Description | None:
        """What was kept; None where no chunk was encoded yet."""
        try:
            found = sealed.read(self.folder / ENCODING)
        except FileNotFoundError:
            return None
        return metadata.describe(found["array"].encode(), found["attributes"].encode(), str(self.folder))

    def save_chunk(self, chunk: int, frames: int, said: bytes | None, data: bytes) -> None:
        """Keep an encoded chunk, and its frame records, that the store would not take."""
        self._write_encoding()  # without it the chunk could not be read back
        records = said or b""
        crc = crc32(data, crc32(records))
        fields = (_CHUNK_MAGIC, frames, len(records), len(data), crc, chunk)
        head = _CHUNK_HEAD.pack(*fields)
        durable.write_file(
            str(self.folder / _chunk_name(chunk)), head + struct.pack("<I", crc32(head)) + records + data
        )

    def load_chunk(self, chunk: int) -> tuple[int, bytes | None, bytes]:
        """Frames, records and data of a chunk that was kept."""
        path = self.folder / _chunk_name(chunk)
        content = path.read_bytes()
        start = _CHUNK_HEAD.size + 4
        if len(content) >= start:
            head = content[: _CHUNK_HEAD.size]
            magic, frames, said, nbytes, crc, number = _CHUNK_HEAD.unpack(head)
            (head_crc,) = struct.unpack_from("<I", content, _CHUNK_HEAD.size)
            whole = len(content) == start + said + nbytes and crc32(head) == head_crc
            if magic == _CHUNK_MAGIC and number == chunk and whole and crc32(content[start:]) == crc:
                return frames, content[start : start + said] or None, content[start + said :]
        raise CorruptDataError(f"{path} was altered")

    def saved(self) -> list[int]:
        """Numbers of the chunks that were kept."""
        return sorted(int(path.name.split("-")[1]) for path in self.folder.glob("chunk-*"))

    def note_stored(self, chunk: int, frames: int, files: dict[str, list[Any]]) -> None:
        """Keep which files of the store hold a chunk that cannot be published now."""
        self._write_encoding()
        sealed.write(self.folder / _stored_name(chunk), {"chunk": chunk, "frames": frames, "files": files})

    def load_stored(self, chunk: int) -> tuple[int, dict[str, list[Any]]]:
        """Frames and manifest entries of a chunk that is in the store."""
        facts = sealed.read(self.folder / _stored_name(chunk))
        return facts["frames"], facts["files"]

    def stored(self) -> list[int]:
        """Numbers of the chunks that were noted to be in the store."""
        return sorted(int(path.name.split("-")[1]) for path in self.folder.glob("stored-??????????"))

    def drop(self, chunk: int, recycler: Journal | None = None) -> None:
        """A chunk is published: nothing here is needed any more."""
        if recycler is not None:
            recycler.retire(chunk)
        else:
            for path in journal.segments(self.folder, chunk):
                durable.remove(str(path))
        durable.remove(str(self.folder / _chunk_name(chunk)))
        sealed.remove(self.folder / _stored_name(chunk))

    @property
    def nbytes(self) -> int:
        """Bytes of frames and chunks that wait here."""
        total = 0
        for pattern in ("journal-*", "chunk-*"):
            for path in self.folder.glob(pattern):
                try:
                    total += path.stat().st_size
                except FileNotFoundError:
                    continue
        return total

    @property
    def free_bytes(self) -> int:
        """Bytes the disk still has."""
        try:
            return shutil.disk_usage(self.folder).free
        except FileNotFoundError:  # the recording is finished
            return 0

    def release(self) -> None:
        """Let somebody else recover what is here."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            os.close(lock)

    def remove(self) -> None:
        """All is in the store: ``recording.json`` goes first, so that what is half removed is no recording."""
        durable.remove(str(self.folder / RECORDING))
        durable.sync_folder(str(self.folder))
        self.release()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # only where nothing else is in it

    def _hold(self) -> None:
        import fcntl

        lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise InvalidInputError(
                f"{self.folder} is in use: its recording, or a recovery of it, still runs"
            ) from error
        self._lock = lock


def pending(parent: str | os.PathLike[str]) -> list[Path]:
    """Folders of recordings below a spool that were begun and not finished, oldest first."""
    found = Path(parent).absolute()
    if (found / RECORDING).is_file():
        return [found]
    return sorted(path.parent for path in found.glob(f"*/{RECORDING}"))


def _chunk_name(chunk: int) -> str:
    return f"chunk-{chunk:010d}"


def _stored_name(chunk: int) -> str:
    return f"stored-{chunk:010d}"
