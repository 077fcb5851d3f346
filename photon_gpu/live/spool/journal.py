"""The journal: frames on disk before they are acknowledged, as records with checksums.

A record is ``header, metadata, frames, header again``, so that damage to a few bytes cannot hide that it
existed; FORMAT.md, "Journal", states every byte. Segments are reused
by overwriting, which syncs two to three times faster than growing a file; the chunk number in
every record distinguishes new records from old ones.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.errors import CorruptDataError
from photon_gpu.store import durable
from photon_gpu.store.frame_records import NOTHING, Record

MAGIC, END = b"PHJR", b"PHJE"
_HEAD = struct.Struct("<4s16sQIIIQII")
_SIGNATURE = struct.Struct("<4s16sQ")
_SPARE = 3  # segments kept for reuse
SEGMENT_NAME = re.compile(r"journal-(\d{10})-\d+")
SPARE_NAME = re.compile(rf"spare-{SEGMENT_NAME.pattern}")


@dataclass(frozen=True)
class FrameRun:
    """A complete record: ``frames`` frames of a chunk from ``first``, at ``offset`` of a segment."""

    path: Path
    first: int
    frames: int
    offset: int
    records: list[Record]

    def read(self, out: NDArray[Any]) -> None:
        """Read the frames into ``out``."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            view = out.data.cast("B")
            while len(view):
                got = file.readinto(view)
                if not got:
                    raise OSError(f"{self.path} was truncated while it was read")
                view = view[got:]


class Journal:
    """Writes the segments of one recording.

    Parameters
    ----------
    folder : Path
        Folder of the recording's spool.
    token : bytes
        The 16 bytes that identify the recording.
    segment_nbytes : int
        Disk space to reserve for a segment.
    """

    def __init__(self, folder: Path, token: bytes, segment_nbytes: int) -> None:
        self._folder, self._token, self._nbytes = folder, token, segment_nbytes
        self._descriptor: int | None = None
        self._offset = 0
        self._attempts: dict[int, int] = {}

    def begin(self, chunk: int) -> None:
        """Open a segment for a chunk. After a failed sync this is a new one, since the old is not trusted."""
        self.end()
        attempt = self._attempts.get(chunk, 0)
        self._attempts = {chunk: attempt + 1}
        path = self._folder / segment_name(chunk, attempt)
        spares = self._spares() if attempt == 0 else []
        if spares:
            durable.rename(str(spares[0]), str(path))
        self._descriptor = durable.open_file(str(path), exclusive=not spares)
        self._offset = 0
        if not spares:
            durable.reserve(self._descriptor, self._nbytes)
        durable.sync_folder(str(self._folder))

    def write(self, chunk: int, first: int, frames: NDArray[Any], records: list[Record]) -> None:
        """Write one record; it is safe once :meth:`sync` returns."""
        assert self._descriptor is not None
        metadata = b""
        if any(record != NOTHING for record in records):
            metadata = json.dumps([list(record) for record in records], separators=(",", ":")).encode()
        payload = frames.data.cast("B")
        fields = (
            MAGIC,
            self._token,
            chunk,
            first,
            len(frames),
            len(metadata),
            len(payload),
            crc32(payload),
        )
        crc = crc32(metadata, crc32(_HEAD.pack(*fields, 0)))
        head = _HEAD.pack(*fields, crc) + metadata
        written = durable.write_all(self._descriptor, head, self._offset)
        written += durable.write_all(self._descriptor, payload, self._offset + written)
        tail = (END, *fields[1:])
        tail_bytes = _HEAD.pack(*tail, crc32(_HEAD.pack(*tail, 0)))
        written += durable.write_all(self._descriptor, tail_bytes, self._offset + written)
        self._offset += written

    def sync(self) -> None:
        """Sync everything written so far."""
        assert self._descriptor is not None
        durable.sync_data(self._descriptor)

    def end(self) -> None:
        """Close the segment."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def retire(self, chunk: int) -> None:
        """Reuse or delete the segments of a chunk that is safe elsewhere."""
        spare = len(self._spares())
        for path in segments(self._folder, chunk):
            if spare < _SPARE:
                durable.rename(str(path), str(self._folder / f"spare-{path.name}"))
                spare += 1
            else:
                durable.remove(str(path))

    def _spares(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("spare-*") if SPARE_NAME.fullmatch(path.name))


def segment_name(chunk: int, attempt: int) -> str:
    """Return the file name of a segment."""
    return f"journal-{chunk:010d}-{attempt}"


def segments(folder: Path, chunk: int) -> list[Path]:
    """Return the segments of a chunk."""
    paths = folder.glob(f"journal-{chunk:010d}-*")
    return sorted(path for path in paths if SEGMENT_NAME.fullmatch(path.name) and path.is_file())


def journaled(folder: Path) -> list[int]:
    """Return the numbers of the chunks that have segments."""
    named = ((path, SEGMENT_NAME.fullmatch(path.name)) for path in folder.glob("journal-*-*"))
    return sorted({int(match[1]) for path, match in named if match and path.is_file()})


def holds_records(folder: Path, token: bytes, chunk: int) -> bool:
    """Whether any record header of this chunk exists, even of an incomplete record."""
    for path in segments(folder, chunk):
        data = _content(path)
        if any(_SIGNATURE.pack(magic, token, chunk) in data for magic in (MAGIC, END)):
            return True
    return False


def _content(path: Path) -> bytes:
    """Read a segment. It is not memory-mapped, since a failing disk would then kill the process."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptDataError(
            f"{path} cannot be read: {error}; copy what can be read to another disk, and recover there"
        ) from error


def scan(
    folder: Path, token: bytes, chunk: int, frame_nbytes: int
) -> tuple[list[FrameRun], list[tuple[int, int]]]:
    """Return a chunk's complete records in order, and the ranges of frames in damaged records only.

    Bytes after the last header of a record belong to an interrupted write, or were lost; the count of
    acknowledged frames shows which.
    """
    whole: list[FrameRun] = []
    damaged: list[tuple[int, int]] = []
    for path in segments(folder, chunk):
        _scan(path, _content(path), token, chunk, frame_nbytes, whole, damaged)
    whole.sort(key=lambda record: (record.first, -record.frames))
    have = covered(whole)
    return whole, ranges({frame for a, b in damaged for frame in range(a, b)} - have)


def _scan(
    path: Path,
    data: bytes,
    token: bytes,
    chunk: int,
    frame_nbytes: int,
    whole: list[FrameRun],
    damaged: list[tuple[int, int]],
) -> None:
    signature = _SIGNATURE.pack(MAGIC, token, chunk)
    position = data.find(signature)
    while position >= 0:
        following = position + 1
        if position + _HEAD.size <= len(data):
            fields = _HEAD.unpack_from(data, position)
            _, _, _, first, frames, record_nbytes, nbytes, payload_crc, crc = fields
            start = position + _HEAD.size + record_nbytes
            head = crc32(_HEAD.pack(*fields[:-1], 0))
            if start + nbytes <= len(data) and nbytes == frames * frame_nbytes:
                metadata = bytes(data[position + _HEAD.size : start])
                if crc32(metadata, head) == crc:
                    with memoryview(data)[start : start + nbytes] as payload:
                        good = crc32(payload) == payload_crc
                    if good:
                        records = json.loads(metadata) if metadata else [NOTHING] * frames
                        whole.append(FrameRun(path, first, frames, start, [(t, m) for t, m in records]))
                    else:
                        damaged.append((first, first + frames))
                    following = start + nbytes
        position = data.find(signature, following)
    position = data.find(ending := _SIGNATURE.pack(END, token, chunk))
    while position >= 0:
        if position + _HEAD.size <= len(data):
            fields = _HEAD.unpack_from(data, position)
            if crc32(_HEAD.pack(*fields[:-1], 0)) == fields[-1]:
                damaged.append(
                    (fields[3], fields[3] + fields[4])
                )  # ranges that are also whole are removed later
        position = data.find(ending, position + 1)


def covered(whole: list[FrameRun]) -> set[int]:
    """Return the numbers of the frames that records hold."""
    return {frame for record in whole for frame in range(record.first, record.first + record.frames)}


def ranges(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Return numbers as half-open ranges, in order."""
    numbers = np.array(sorted(frames), np.int64)
    if not numbers.size:
        return []
    cuts = np.flatnonzero(np.diff(numbers) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(numbers, cuts)]
