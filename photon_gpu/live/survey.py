"""Where each chunk of a recording that ended early can be had from, and which frames cannot be had at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from photon_gpu import manifest
from photon_gpu.errors import CorruptDataError
from photon_gpu.live.chunks import Chunk
from photon_gpu.live.journal import Found, journaled, scan
from photon_gpu.live.spool import Spool
from photon_gpu.storage import Storage

Range = tuple[int, int]


@dataclass(frozen=True)
class Held:
    """A chunk that is not published: in the store, encoded in the spool, or as records of the journal.

    Attributes
    ----------
    number, frames : int
    files : dict or None
        Manifest entries, where it is in the store already and whole.
    records : list of Found or None
        None: it is in the store, or encoded in the spool.
    """

    number: int
    frames: int
    files: dict[str, list[Any]] | None = None
    records: list[Found] | None = None

    def fill(self, chunk: Chunk) -> None:
        """Put the journal's frames into an empty chunk; zeros where there is no record."""
        chunk.values[: self.frames] = 0
        said: list[Any] = [(None, None)] * self.frames
        for found in self.records or []:
            found.read(chunk.values[found.first : found.first + found.frames])
            said[found.first : found.first + found.frames] = found.records
        chunk.records, chunk.filled = said, self.frames


@dataclass
class Survey:
    """What is to be published after what is.

    Attributes
    ----------
    total : int
        Frames there will be, published ones included.
    chunks : list of Held
        In order.
    lost : list of (int, int)
        Ranges of frames before others that are there, which cannot be read. Chunks are kept in order, so
        they were there once, and acknowledged.
    doubtful : list of (int, int)
        Ranges after the last whole frame that were being written when the recording ended.
    """

    total: int
    chunks: list[Held] = field(default_factory=list)
    lost: list[Range] = field(default_factory=list)
    doubtful: list[Range] = field(default_factory=list)

    def follow(self, stored: Iterable[tuple[int, dict[str, list[Any]]]]) -> None:
        """Chunks (frames and files of each) come after those that were found, or in the last one's place if longer."""
        for frames, files in stored:
            number = int(next(iter(files)).split(".")[0])
            if self.chunks and self.chunks[-1].number == number:
                if frames <= self.chunks[-1].frames:
                    return
                self.total -= self.chunks.pop().frames
            self.chunks.append(Held(number, frames, files=files))
            self.total += frames
        self.doubtful = [span for span in self.doubtful if span[1] > self.total]


def survey(spool: Spool, storage: Storage, published: int) -> Survey:
    """Look for the frames after the first ``published``; nothing is changed."""
    size, found = spool.config.frames_per_chunk, Survey(published)
    if published % size:
        return found  # only the last chunk is partial, and then all are published
    last = max([*spool.saved(), *spool.stored(), *journaled(spool.folder)], default=-1)
    for number in range(published // size, last + 1):
        held = _in_store(spool, storage, number) or _in_spool(spool, number)
        if held is None:
            held = _in_journal(spool, found, number, number == last)
        if held.frames:
            found.chunks.append(held)
        found.total += held.frames
    return found


def first_number(spool: Spool) -> int:
    """Of the chunks that a spool holds."""
    return min([*spool.saved(), *journaled(spool.folder)], default=0)


def named(ranges: list[Range]) -> str:
    """Ranges in words."""
    return "frames " + ", ".join(f"{a} to {b - 1}" if b - a > 1 else str(a) for a, b in ranges)


def _in_store(spool: Spool, storage: Storage, number: int) -> Held | None:
    if number not in spool.stored():
        return None
    try:
        frames, files = spool.load_stored(number)
        if all(manifest.entry(storage.read(name)) == entry for name, entry in files.items()):
            return Held(number, frames, files=files)
    except (CorruptDataError, FileNotFoundError):
        return None
    return None


def _in_spool(spool: Spool, number: int) -> Held | None:
    if number not in spool.saved():
        return None
    try:
        return Held(number, spool.load_chunk(number)[0])
    except CorruptDataError:
        return None


def _in_journal(spool: Spool, into: Survey, number: int, last: bool) -> Held:
    size = spool.config.frames_per_chunk
    first = number * size
    records, damaged = scan(spool.folder, spool.token, number, spool.config.frame_nbytes)
    end = max((found.first + found.frames for found in records), default=0)
    frames = end if last else size
    for a, b in damaged:
        if a >= end and last:
            into.doubtful.append((first + a, first + b))
        else:
            into.lost.append((first + a, first + b))
    if end < frames and not any(a <= end < b for a, b in damaged):
        into.lost.append((first + end, first + frames))
    if last and number not in journaled(spool.folder):  # kept or stored it was, and neither can be read
        into.lost.append((first, first + size))
    return Held(number, frames, records=records)
