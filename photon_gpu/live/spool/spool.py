"""The spool: a recording's folder on a fast local disk, its journal, and chunks not yet stored."""

from __future__ import annotations

import os
import re
import shutil
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.errors import CorruptDataError, InvalidInputError, StoreNotFoundError, UnsupportedVersionError
from photon_gpu.live.spool import acknowledged_count, checked_json, journal
from photon_gpu.live.spool.acknowledged_count import AcknowledgedCount
from photon_gpu.live.spool.journal import SEGMENT_NAME, SPARE_NAME, Journal
from photon_gpu.live.state.config import LiveConfig
from photon_gpu.store import durable, metadata

VERSION = 1
RECORDING, ENCODING, LOCK = "recording.json", "encoding.json", "lock"
FINISHED = "finished.json"
"""Name of ``recording.json`` once every frame is in the store and the spool is being removed."""
_CHUNK_HEAD = struct.Struct("<4sIIQIQ")
_CHUNK_MAGIC = b"PHSP"
_NAME = re.compile(r"-\d{8}T\d{6}-[0-9a-f]{8}$")
"""End of the name of a recording's folder."""
_KEPT_NAME = re.compile(r"chunk-(\d{10})")
_STORED_NAME = re.compile(r"stored-(\d{10})(\.copy)?")
_WORDS_NAME = re.compile(r"source_metadata(-\d{10})?\.zip")
_OWN = re.compile(
    rf"{LOCK}|{re.escape(FINISHED)}|{_WORDS_NAME.pattern}|({re.escape(RECORDING)}|{re.escape(ENCODING)})(\.copy)?|{acknowledged_count.NAME}|{re.escape(durable.PARTIAL)}.*"
    rf"|{_KEPT_NAME.pattern}|{_STORED_NAME.pattern}|{SEGMENT_NAME.pattern}|{SPARE_NAME.pattern}"
)


class Spool:
    """One recording's folder, locked until the process ends.

    Attributes
    ----------
    folder : Path
    facts : dict
        Content of ``recording.json``: version, token, url, config, noise, attributes.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder, self.facts = folder, facts
        self._lock: FileLock | None = None
        self._encoding: dict[str, Any] | None = None  # not on disk yet
        self._count: AcknowledgedCount | None = None
        self._words_count = 0
        self._hold()

    @classmethod
    def begin(cls, parent: str | os.PathLike[str], name: str, facts: dict[str, Any]) -> Spool:
        """Create a new recording's folder below ``parent``."""
        token = str(facts["token"])
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        folder = Path(parent).absolute() / f"{name}-{stamp}-{token[:8]}"
        spool: Spool | None = None
        try:
            durable.make_folder(str(folder))
            spool = cls(folder, {"spool_version": VERSION, **facts})
            spool._count = AcknowledgedCount(folder, spool.token)
            checked_json.write(folder / RECORDING, spool.facts)
        except BaseException:  # a recording that never began must not look like an interrupted one
            with suppress(OSError):
                _clear(folder) if spool is None else spool.remove()
            if spool is not None:
                spool.release()
            raise
        return spool

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Spool:
        """Open a recording's folder; raise InvalidInputError if its writer still runs."""
        path = Path(folder).absolute()
        try:
            facts = checked_json.read(path / RECORDING)
        except FileNotFoundError as error:
            raise StoreNotFoundError(
                f"{path} is not a spool of a recording: it has no {RECORDING}"
            ) from error
        if (version := facts.get("spool_version")) != VERSION:
            raise UnsupportedVersionError(
                f"{path} has spool version {version!r}; this release reads {VERSION}: a "
                "newer photon_gpu may read it"
            )
        return cls(path, facts)

    @property
    def token(self) -> bytes:
        """The 16 bytes that identify the recording."""
        return bytes.fromhex(self.facts["token"])

    @property
    def config(self) -> LiveConfig:
        """Parameters of the recording."""
        return LiveConfig.from_dict(self.facts["config"])

    @property
    def count(self) -> AcknowledgedCount:
        """The file that holds the count of acknowledged frames."""
        if self._count is None:
            self._count = AcknowledgedCount(self.folder, self.token)
        return self._count

    def acknowledged(self) -> int | None:
        """Return the least number of frames that were acknowledged; None if unknown."""
        return acknowledged_count.read(self.folder, self.token)

    def journal(self) -> Journal:
        """Return the journal that frames are written to before they are acknowledged."""
        config = self.config
        return Journal(self.folder, self.token, config.chunk_nbytes + 512 * config.frames_per_chunk)

    def keep_encoding(self, array: bytes, attributes: bytes) -> None:
        """Save the encoding before the first chunk is encoded, so that recovery writes the same bytes."""
        self._encoding = {"array": array.decode(), "attributes": attributes.decode()}
        self._write_encoding()

    def _write_encoding(self) -> None:
        if self._encoding is not None:
            checked_json.write(self.folder / ENCODING, self._encoding)
            self._encoding = None

    def encoding(self) -> metadata.Description | None:
        """Return the saved encoding; None if no chunk was encoded yet."""
        try:
            settings = checked_json.read(self.folder / ENCODING)
        except FileNotFoundError:
            return None
        return metadata.describe(
            settings["array"].encode(), settings["attributes"].encode(), str(self.folder)
        )

    def add_words(self, data: bytes) -> None:
        """Save source metadata that the store does not have yet, beside those that were saved before."""
        durable.write_file(str(self.folder / f"source_metadata-{self._words_count:010d}.zip"), data)
        self._words_count += 1

    def words(self) -> list[Path]:
        """Return the files of source metadata, in the order in which they were saved."""
        return sorted(path for path in self.folder.iterdir() if _WORDS_NAME.fullmatch(path.name))

    def save_chunk(self, chunk: int, frames: int, records: bytes | None, data: bytes) -> None:
        """Save an encoded chunk that the store did not accept, with its frame records."""
        self._write_encoding()  # without it the chunk could not be read back
        records = records or b""
        crc = crc32(data, crc32(records))
        fields = (_CHUNK_MAGIC, frames, len(records), len(data), crc, chunk)
        head = _CHUNK_HEAD.pack(*fields)
        durable.write_file(
            str(self.folder / _chunk_name(chunk)), head + struct.pack("<I", crc32(head)) + records + data
        )

    def load_chunk(self, chunk: int) -> tuple[int, bytes | None, bytes]:
        """Return the frame count, records and data of a saved chunk."""
        path = self.folder / _chunk_name(chunk)
        content = path.read_bytes()
        start = _CHUNK_HEAD.size + 4
        if (head := _head_of(content)) is not None:
            frames, record_nbytes, nbytes, crc, number = head
            whole = len(content) == start + record_nbytes + nbytes and number == chunk
            if whole and crc32(content[start:]) == crc:
                return (
                    frames,
                    content[start : start + record_nbytes] or None,
                    content[start + record_nbytes :],
                )
        raise CorruptDataError(f"{path} was altered")

    def saved(self) -> list[int]:
        """Return the numbers of the saved chunks."""
        return self._numbers("chunk-*", _KEPT_NAME)

    def _proves(self, chunk: int) -> bool:
        """Whether a chunk's files hold any data that was written for this chunk, complete or not."""
        if journal.holds_records(self.folder, self.token, chunk):
            return True
        with suppress(FileNotFoundError, CorruptDataError, KeyError):
            self.load_stored(chunk)
            return True
        try:
            with (self.folder / _chunk_name(chunk)).open("rb") as file:
                start = file.read(_CHUNK_HEAD.size + 4)
        except FileNotFoundError:
            return False
        head = _head_of(start)
        return head is not None and head[-1] == chunk

    def chunks(self) -> tuple[list[int], list[int]]:
        """Return the numbers of chunks with content here, and of chunks that only a file name mentions."""
        named = sorted({*self.saved(), *self.stored(), *journal.journaled(self.folder)})
        proves = {number: self._proves(number) for number in named}
        return [n for n in named if proves[n]], [n for n in named if not proves[n]]

    def foreign(self) -> list[str]:
        """Return the names of files that no recording writes."""
        return sorted(path.name for path in self.folder.iterdir() if not _own(path))

    def _numbers(self, pattern: str, name: re.Pattern[str]) -> list[int]:
        named = ((path, name.fullmatch(path.name)) for path in self.folder.glob(pattern))
        return sorted({int(match[1]) for path, match in named if match and path.is_file()})

    def note_stored(self, chunk: int, frames: int, files: dict[str, list[Any]]) -> None:
        """Save the manifest entries of a stored chunk that cannot be published now."""
        self._write_encoding()
        checked_json.write(
            self.folder / _stored_name(chunk), {"chunk": chunk, "frames": frames, "files": files}
        )

    def load_stored(self, chunk: int) -> tuple[int, dict[str, list[Any]]]:
        """Return the frame count and the manifest entries of a stored chunk."""
        facts = checked_json.read(self.folder / _stored_name(chunk))
        return facts["frames"], facts["files"]

    def stored(self) -> list[int]:
        """Return the numbers of the chunks that are recorded as stored."""
        return self._numbers("stored-*", _STORED_NAME)

    def drop(self, chunk: int, recycler: Journal | None = None) -> None:
        """Delete all files of a published chunk."""
        if recycler is not None:
            recycler.retire(chunk)
        else:
            for path in journal.segments(self.folder, chunk):
                durable.remove(str(path))
        durable.remove(str(self.folder / _chunk_name(chunk)))
        checked_json.remove(self.folder / _stored_name(chunk))

    @property
    def nbytes(self) -> int:
        """Bytes of the frames and chunks in the spool."""
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
        """Free bytes of the disk."""
        try:
            return shutil.disk_usage(self.folder).free
        except FileNotFoundError:  # the recording is finished
            return 0

    def release(self) -> None:
        """Release the lock, so that another process can recover the recording."""
        if self._count is not None:
            self._count.close()
        if self._lock is not None:
            lock, self._lock = self._lock, None
            lock.release()

    def remove(self) -> None:
        """Remove the spool; ``recording.json`` is renamed first, so a half-removed spool is no recording.

        Files that no recording writes are kept, and then so is the folder.
        """
        for name in (self.folder / RECORDING, self.folder / f"{RECORDING}.copy"):
            if name.is_file():
                durable.rename(str(name), str(self.folder / FINISHED))
        durable.sync_folder(str(self.folder))
        self.release()
        with suppress(OSError):
            _clear(self.folder)

    def _hold(self) -> None:
        # Any thread may release this lock. A forked child closes its own copy.
        lock = FileLock(self.folder / LOCK, timeout=0, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire()
        except (Timeout, OSError) as error:
            raise InvalidInputError(
                f"{self.folder} is in use: its recording, or a recovery of it, still runs"
            ) from error
        self._lock = lock


def pending(parent: str | os.PathLike[str]) -> list[Path]:
    """Return the folders of unfinished recordings below a spool, oldest first."""
    root = Path(parent).absolute()
    if _is_recording(root):
        return [root]
    folders = {path.parent for path in root.glob(f"*/{RECORDING}*")}
    return sorted(folder for folder in folders if _is_recording(folder))


def remove_rests(parent: str | os.PathLike[str]) -> list[tuple[Path, str | None]]:
    """Remove what interrupted removals left below a spool; return the folders and the URLs of their movies.

    Such a folder belongs to a finished recording, or to one that never began: then its URL is None.
    """
    removed = []
    for folder in _own_folders(parent):
        movie = _finished(folder) if (folder / FINISHED).is_file() else None
        if movie is None and _has_frames(folder):
            continue
        try:
            with FileLock(folder / LOCK, timeout=0, fallback_to_soft=False):
                pass
        except (Timeout, OSError):  # it begins now, or another process removes it
            continue
        with suppress(OSError):
            _clear(folder)
        removed.append((folder, movie))
    return removed


def without_facts(parent: str | os.PathLike[str]) -> list[Path]:
    """Return folders below a spool that hold frames, but neither ``recording.json`` nor its copy."""
    return [folder for folder in _own_folders(parent) if _has_frames(folder)]


def _own_folders(parent: str | os.PathLike[str]) -> list[Path]:
    """Return the folders of recordings that :func:`pending` does not list: they have no valid facts."""
    root = Path(parent).absolute()
    folders = {path.parent for pattern in (LOCK, f"*/{LOCK}") for path in root.glob(pattern)}
    folders |= {path.parent for pattern in (FINISHED, f"*/{FINISHED}") for path in root.glob(pattern)}
    facts = (RECORDING, f"{RECORDING}.copy")
    unknown = {
        folder
        for folder in folders
        if (folder / FINISHED).is_file() or not any((folder / name).is_file() for name in facts)
    }
    return sorted(unknown | {path for path in root.glob("*/") if _NAME.search(path.name) and _empty(path)})


def _empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None


def _finished(folder: Path) -> str:
    """Return the URL of the movie of a finished recording."""
    try:
        return str(checked_json.read(folder / FINISHED)["url"])
    except (CorruptDataError, FileNotFoundError, KeyError):
        return ""


def _has_frames(folder: Path) -> bool:
    names = [path.name for path in folder.iterdir()]
    return any(own.fullmatch(name) for name in names for own in (_KEPT_NAME, _STORED_NAME, SEGMENT_NAME))


def _is_recording(folder: Path) -> bool:
    """Whether a folder is a recording; a copy of ``recording.json`` alone counts if there are frames."""
    if (folder / FINISHED).is_file():
        return False
    if (folder / RECORDING).is_file():
        return True
    if not (folder / f"{RECORDING}.copy").is_file():
        return False
    return _has_frames(folder)


def _clear(folder: Path) -> None:
    """Remove a recording's files, its folder, and the spool if that holds nothing else."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == FINISHED):
        if _own(path):
            durable.remove(str(path))
    folder.rmdir()
    folder.parent.rmdir()  # fails if it holds anything else


def _own(path: Path) -> bool:
    return _OWN.fullmatch(path.name) is not None and path.is_file()


def _head_of(content: bytes) -> tuple[int, int, int, int, int] | None:
    """Return frames, record bytes, data bytes, CRC and number of a saved chunk; None if damaged."""
    if len(content) < _CHUNK_HEAD.size + 4:
        return None
    head = content[: _CHUNK_HEAD.size]
    (crc,) = struct.unpack_from("<I", content, _CHUNK_HEAD.size)
    magic, *fields = _CHUNK_HEAD.unpack(head)
    return tuple(fields) if magic == _CHUNK_MAGIC and crc == crc32(head) else None


def _chunk_name(chunk: int) -> str:
    return f"chunk-{chunk:010d}"


def _stored_name(chunk: int) -> str:
    return f"stored-{chunk:010d}"
