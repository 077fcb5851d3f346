"""Find where to read each chunk of an interrupted recording, and which frames are lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from photon_gpu.errors import CorruptDataError
from photon_gpu.live.recovery.unpublished_chunks import UnpublishedChunk, unpublished
from photon_gpu.live.spool.journal import FrameRun, covered, journaled, ranges, scan
from photon_gpu.live.spool.spool import Spool
from photon_gpu.live.state.filling_chunks import Chunk
from photon_gpu.recording import some
from photon_gpu.store import manifest
from photon_gpu.store.chunk_grid import chunk_count, chunk_number
from photon_gpu.store.metadata import Description
from photon_gpu.store.storage import Storage

FrameSpan = tuple[int, int]
_MOST_MISSING = 10_000  # consecutive missing chunks after which the search stops


@dataclass(frozen=True)
class PendingChunk:
    """An unpublished chunk: in the store, encoded in the spool, or as records of the journal.

    Attributes
    ----------
    number, frames : int
    files : dict or None
        Manifest entries of the chunk if it is whole in the store; else None.
    records : list of FrameRun or None
        Records of the journal; None if the chunk is in the store, or encoded in the spool.
    blank : bool
        Whether only the times and metadata of the records are stored, with zeros instead of the frames.
    """

    number: int
    frames: int
    files: dict[str, list[Any]] | None = None
    records: list[FrameRun] | None = None
    blank: bool = False

    def fill(self, chunk: Chunk) -> None:
        """Copy the journal's frames into an empty chunk, with zeros for missing records."""
        chunk.values[: self.frames] = 0
        frame_records: list[Any] = [(None, None)] * self.frames
        for record in self.records or []:
            if not self.blank:
                record.read(chunk.values[record.first : record.first + record.frames])
            frame_records[record.first : record.first + record.frames] = record.records
        chunk.records, chunk.filled = frame_records, self.frames


@dataclass
class Survey:
    """The chunks to publish after the published ones, and the lost frames.

    Attributes
    ----------
    total : int
        Number of frames that the movie will have, published ones included.
    chunks : list of PendingChunk
        Chunks in order.
    lost : list of (int, int)
        Ranges of acknowledged frames that cannot be read. Either the count of acknowledged frames shows
        this, or frames after them exist (chunks are saved in order).
    doubtful : list of (int, int)
        Ranges after the last whole frame that were being written when the recording ended.
    notes : list of str
        Further remarks.
    """

    total: int
    chunks: list[PendingChunk] = field(default_factory=list)
    lost: list[FrameSpan] = field(default_factory=list)
    doubtful: list[FrameSpan] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def follow(self, stored: Iterable[UnpublishedChunk]) -> None:
        """Append chunks of the store; the first may replace the last chunk so far if it is longer."""
        for frames, files in stored:
            number = next(n for name in files if (n := chunk_number(name)) is not None)
            if self.chunks and self.chunks[-1].number == number:
                if frames <= self.chunks[-1].frames:
                    return
                self.total -= self.chunks.pop().frames
            self.chunks.append(PendingChunk(number, frames, files=files))
            self.total += frames
        self.doubtful = [span for span in self.doubtful if span[1] > self.total]

    def lose(self, spans: Iterable[FrameSpan]) -> None:
        """Add lost frames, with adjacent ranges joined."""
        for first, end in spans:
            if self.lost and self.lost[-1][1] == first:
                first = self.lost.pop()[0]
            self.lost.append((first, end))


def survey(spool: Spool, storage: Storage, published: int, description: Description | None = None) -> Survey:
    """Find the frames after the first ``published`` frames, without changing anything.

    ``description`` describes how chunks in the store are encoded, if that is known.
    """
    size, result, count = spool.config.frames_per_chunk, Survey(published), spool.acknowledged()
    result.notes += [
        f"{spool.folder / name} is not a file of a recording, and was kept" for name in spool.foreign()
    ]
    if count is None:
        result.notes.append(
            "the count of acknowledged frames cannot be read: frames lost at the very end would not be named"
        )
    if published % size:
        return result  # only the last chunk is partial, so all chunks are published
    last = _last_chunk(spool, published // size, count)
    for number in range(published // size, last + 1):
        pending = _in_store(spool, storage, number) or _in_spool(spool, number)
        if pending is None:
            pending = _in_journal(spool, storage, result, number, number == last, description)
        if pending.frames:
            result.chunks.append(pending)
        result.total += pending.frames
    return result


def _last_chunk(spool: Spool, first: int, count: int | None) -> int:
    """Return the last chunk that may hold frames; ``first - 1`` if there is none from ``first`` on.

    Chunk numbers have no gaps, so a file far behind the others comes from elsewhere.
    """
    proven, named = spool.chunks()
    last = first - 1 if count is None else max(first, chunk_count(count, spool.config.frames_per_chunk)) - 1
    for number in proven:
        if last < number <= last + _MOST_MISSING:
            last = number
    while count is None and last + 1 in named:  # remains of a chunk, the only evidence without a count
        last += 1
    return last


def first_number(spool: Spool) -> int:
    """Return the number of the first chunk that a spool holds."""
    return min(spool.chunks()[0], default=0)


def named(ranges: list[FrameSpan]) -> str:
    """Return ranges of frames as text; after ten, only count the rest."""
    return "frames " + some([f"{a} to {b - 1}" if b - a > 1 else str(a) for a, b in ranges], 10)


def _in_store(spool: Spool, storage: Storage, number: int) -> PendingChunk | None:
    if number not in spool.stored():
        return None
    try:
        frames, files = spool.load_stored(number)
        if all(manifest.entry(storage.read(name)) == entry for name, entry in files.items()):
            return PendingChunk(number, frames, files=files)
    except (CorruptDataError, FileNotFoundError):
        return None
    return None


def _in_spool(spool: Spool, number: int) -> PendingChunk | None:
    if number not in spool.saved():
        return None
    try:
        return PendingChunk(number, spool.load_chunk(number)[0])
    except CorruptDataError:
        return None


def _in_journal(
    spool: Spool,
    storage: Storage,
    into: Survey,
    number: int,
    last: bool,
    description: Description | None,
) -> PendingChunk:
    size, count = spool.config.frames_per_chunk, spool.acknowledged()
    first = number * size
    records, damaged = scan(spool.folder, spool.token, number, spool.config.frame_nbytes)
    have = covered(records)
    frames = size
    if last:
        frames = max(have, default=-1) + 1
        if count is not None:
            frames = max(frames, min(count - first, size))
        elif number not in journaled(spool.folder):  # it was saved or stored, and neither can be read
            frames = size
    lost = set(range(frames)) - have
    if lost and description is not None:
        whole = next(unpublished(storage, first, description), None)
        if whole is not None and whole[0] >= frames:
            return PendingChunk(number, whole[0], files=whole[1])
    into.lose((first + a, first + b) for a, b in ranges(lost))
    into.doubtful += [(first + max(a, frames), first + b) for a, b in damaged if b > frames]
    return PendingChunk(number, frames, records=records)
