"""Finishing what a killed recording began: every acknowledged frame, once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from photon_gpu import manifest, metadata
from photon_gpu.auto_noise import KEY
from photon_gpu.backend import get_backend
from photon_gpu.claim import MARKER, Claim, alive, read_marker
from photon_gpu.errors import (
    CorruptDataError,
    InvalidInputError,
    RecordingError,
    StoreExistsError,
    StoreNotFoundError,
)
from photon_gpu.layouts import layout_for
from photon_gpu.live.chunks import Chunk
from photon_gpu.live.encoder import resolve_noise
from photon_gpu.live.journal import Found, journaled, scan
from photon_gpu.live.pipeline import Pipeline
from photon_gpu.live.spool import RECORDING, Spool, pending
from photon_gpu.noise import NoiseModel
from photon_gpu.pool import worker_count
from photon_gpu.storage import Storage
from photon_gpu.writer import chunk_name

Range = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class RecoverReport:
    """What :func:`recover` found and did.

    Attributes
    ----------
    url : str
    frames : int
        Of the movie now.
    recovered : int
        Of these, stored by this call.
    lost : list of (int, int)
        Ranges of frames that had been acknowledged and cannot be read; zeros stand in their place
        and ``.zattrs`` names them (``lost_frames``). Only with ``salvage=True``.
    doubtful : list of (int, int)
        Ranges after the last whole frame that were being written when the recording ended.
    discarded : list of str
        Files of chunks that were stored but never published, hence never acknowledged, without a spool.
    seconds : float
    """

    url: str
    frames: int
    recovered: int
    lost: list[Range] = field(default_factory=list)
    doubtful: list[Range] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary."""
        return asdict(self)

    def __str__(self) -> str:
        text = f"{self.url}: {self.frames:,} frames, {self.recovered:,} of them recovered in {self.seconds:.1f} s"
        if self.lost:
            text += f"; LOST: {_named(self.lost)}"
        if self.doubtful:
            text += f"; being written when it ended: {_named(self.doubtful)}"
        if self.discarded:
            text += f"; {len(self.discarded)} unpublished chunks discarded"
        return text


def recover(
    where: str | os.PathLike[str] | Storage,
    *,
    url: str | os.PathLike[str] | Storage | None = None,
    noise: Any = None,
    salvage: bool = False,
    discard_spool: bool = False,
    close_seconds: float = 60.0,
    backend: str = "auto",
    workers: int | None = None,
    storage_options: dict[str, Any] | None = None,
) -> RecoverReport:
    """Finish a recording whose process ended early. Doing it twice changes nothing.

    Parameters
    ----------
    where : str, path or Storage
        The spool of the recording, or the movie, which knows its spool.
    url : str, path or Storage, optional
        Where the movie goes, if not where it was going (with options or credentials, say, which
        are never kept).
    noise : NoiseModel, optional
        Where the recording ended before its noise model was estimated.
    salvage : bool
        Go on although acknowledged frames cannot be read (a damaged disk): zeros take their places,
        and report and ``.zattrs`` name them. Otherwise that is an error, and nothing is changed.
    discard_spool : bool
        Finish the movie with what is in the store, although its spool is elsewhere or gone.
    close_seconds : float
        How long to go on trying a store that takes nothing.
    backend, workers, storage_options
        As of :func:`photon_gpu.encode`.

    Returns
    -------
    RecoverReport

    Raises
    ------
    StoreNotFoundError
        Nothing is there to recover.
    StoreExistsError
        Something else lies where the movie goes, or its writer still runs.
    CorruptDataError
        Acknowledged frames cannot be read; the message names them.
    """
    began = monotonic()
    folder = _spool_at(where)
    if folder is None:
        storage = Storage.at(where, storage_options)
        try:
            marker = read_marker(storage)
        except FileNotFoundError:
            return RecoverReport(url=storage.url, frames=_finished_frames(storage), recovered=0)
        _refuse(storage, marker)
        folder = None if discard_spool else _noted_spool(storage, marker)
        if folder is None:
            return _finish_published(storage, marker, began)
        url = url or storage
    spool = Spool.open(folder)
    try:
        target = Storage.at(url if url is not None else spool.facts["url"], storage_options)
        report = _Recovery(spool, target, noise, salvage, close_seconds, backend, workers, began).run()
    finally:
        spool.release()
    return report


class _Recovery:
    def __init__(
        self,
        spool: Spool,
        storage: Storage,
        noise: Any,
        salvage: bool,
        close_seconds: float,
        backend: str,
        workers: int | None,
        began: float,
    ) -> None:
        self._spool, self._storage, self._salvage, self._began = spool, storage, salvage, began
        self._config = replace(spool.config, close_seconds=close_seconds)
        self._token = spool.facts["token"]
        self._noise, self._backend, self._workers = noise, get_backend(backend), worker_count(workers)
        self._lost: list[Range] = []
        self._doubtful: list[Range] = []
        self._sources: list[tuple[int, int, list[Found] | None]] = []

    def run(self) -> RecoverReport:
        finished = self._take_over()
        if finished is not None:
            self._spool.remove()
            return self._report(finished, 0)
        published, files, description = _published(self._storage)
        total = self._survey(published)
        if self._lost and not self._salvage:
            raise CorruptDataError(
                f"{self._spool.folder}: {_named(self._lost)} had been acknowledged and cannot be read; nothing was "
                "changed. salvage=True stores all others, with zeros in their place"
            )
        if total == 0:
            Claim(self._storage, overwrite=False).withdraw()
            self._spool.remove()
            return self._report(0, 0)
        described = description or self._spool.encoding()
        attributes = {**self._spool.facts["attributes"], "recording_id": self._token}
        if described is not None and KEY in described.attributes:
            attributes[KEY] = described.attributes[KEY]
        if self._lost:
            attributes["lost_frames"] = [list(span) for span in self._lost]
        pipeline = Pipeline(
            self._storage, self._config, token=self._token, spool=self._spool, recycler=None,
            noise=self._known_noise(described), backend=self._backend, workers=self._workers,
            attributes=attributes, published=published, files=files,
        )  # fmt: skip
        try:
            if described is not None:
                pipeline.describe(layout_for(described.encoding, self._backend), described.chunks)
            for number, frames, records in self._sources:
                self._feed(pipeline, number, frames, records)
            pipeline.finish(total)
        finally:
            pipeline.stop()
        self._spool.remove()
        return self._report(total, total - published)

    def _take_over(self) -> int | None:
        """Make the place ours again; the count of frames where the recording had been finished after all."""
        names = self._storage.names()
        if MARKER in names:
            marker = read_marker(self._storage)
            if marker.get("token") != self._token:
                raise StoreExistsError(f"{self._storage.url} is being written by somebody else")
            return None
        if metadata.ARRAY in names:
            description = _describe(self._storage)
            if description.attributes.get("recording_id") != self._token:
                raise StoreExistsError(f"{self._storage.url} holds another movie; give another place as url")
            return description.shape[0]
        if names or self._first_number() > 0:
            raise StoreNotFoundError(
                f"{self._storage.url}: chunks that had been published there are gone; the spool at "
                f"{self._spool.folder} holds frames from {self._first_number() * self._config.frames_per_chunk} on"
            )
        self._storage.create(MARKER, _marker(self._token, self._spool))
        return None

    def _first_number(self) -> int:
        return min([*self._spool.saved(), *journaled(self._spool.folder)], default=0)

    def _survey(self, published: int) -> int:
        """Where each chunk after those published can be had from; returns the frames there will be."""
        size = self._config.frames_per_chunk
        if published % size:
            return published  # only the last chunk is partial, and then all are published
        saved, written = set(self._spool.saved()), set(journaled(self._spool.folder))
        last = max(saved | written, default=-1)
        total = published
        for number in range(published // size, last + 1):
            frames, found = self._survey_chunk(number, number in saved, number in written, number == last)
            if frames:
                self._sources.append((number, frames, found))
            total += frames
        return total

    def _survey_chunk(
        self, number: int, saved: bool, written: bool, last: bool
    ) -> tuple[int, list[Found] | None]:
        size, first = self._config.frames_per_chunk, number * self._config.frames_per_chunk
        known = 0
        if saved:
            try:
                return self._spool.load_chunk(number)[0], None
            except CorruptDataError:
                known = 0 if last else size
        records, damaged = scan(self._spool.folder, self._spool.token, number, self._config.frame_nbytes)
        end = max((found.first + found.frames for found in records), default=0)
        frames = size if not last else max(end, known)
        for a, b in damaged:
            if a >= end and last:
                self._doubtful.append((first + a, first + b))
            else:
                self._lost.append((first + a, first + b))
        if end < frames and not any(a <= end < b for a, b in damaged):
            self._lost.append((first + end, first + frames))
        if saved and last and not written:
            self._lost.append((first, first + size))
        return frames, records

    def _feed(self, pipeline: Pipeline, number: int, frames: int, records: list[Found] | None) -> None:
        if records is None:
            pipeline.send_kept(number, frames)
            return
        while (chunk := pipeline.buffers.take(number, 0.2)) is None:
            with pipeline.ledger.changed:
                error = pipeline.ledger.error
            if error is not None:
                raise RecordingError(f"{self._storage.url}: recovery ended early: {error}") from error
        _fill(chunk, frames, records)
        pipeline.ledger.take(frames, frames * self._config.frame_nbytes)
        pipeline.submit(chunk)

    def _known_noise(self, described: metadata.Description | None) -> Any:
        if described is not None:
            return described.encoding.noise
        if self._noise is not None:
            return resolve_noise(self._noise)
        facts = self._spool.facts
        if not facts["noise_known"]:
            raise InvalidInputError(
                f"{self._spool.folder}: the recording ended before its noise model was estimated; give noise=..."
            )
        return NoiseModel.from_dict(facts["noise"]) if facts["noise"] else None

    def _report(self, frames: int, recovered: int) -> RecoverReport:
        return RecoverReport(
            url=self._storage.url, frames=frames, recovered=recovered, lost=self._lost, doubtful=self._doubtful,
            seconds=monotonic() - self._began,
        )  # fmt: skip


def _fill(chunk: Chunk, frames: int, records: list[Found]) -> None:
    """Frames of a chunk from its records; zeros where there is none."""
    chunk.values[:frames] = 0
    said: list[Any] = [(None, None)] * frames
    for found in records:
        found.read(chunk.values[found.first : found.first + found.frames])
        said[found.first : found.first + found.frames] = found.records
    chunk.records, chunk.filled = said, frames


def _published(storage: Storage) -> tuple[int, dict[str, list[Any]], metadata.Description | None]:
    """Frames that readers can see, the manifest entries of their files, and how they are encoded."""
    try:
        description = _describe(storage)
    except StoreNotFoundError:
        return 0, {}, None
    frames, size = description.shape[0], description.chunks[0]
    listed = manifest.unpack(storage.read(manifest.NAME), storage.url)
    names = set(_names_of(-(-frames // size), len(description.shape)))
    files = {name: entry for name, entry in listed.items() if name in names}
    return frames, files, description


def _names_of(chunks: int, dimensions: int) -> Iterator[str]:
    from photon_gpu.records import file_name

    for number in range(chunks):
        yield chunk_name(number, dimensions)
        yield file_name(number)


def _describe(storage: Storage) -> metadata.Description:
    try:
        array, attributes = storage.read(metadata.ARRAY), storage.read(metadata.ATTRIBUTES)
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"{storage.url}: nothing was published there") from error
    return metadata.describe(array, attributes, storage.url)


def _finish_published(storage: Storage, marker: dict[str, Any], began: float) -> RecoverReport:
    """Without a spool: what is published is what was acknowledged; the rest goes."""
    frames, files, description = _published(storage)
    storage.delete_partial()
    keep = {MARKER, manifest.NAME, metadata.ARRAY, metadata.ATTRIBUTES, *files}
    discarded = [name for name in storage.names() if name not in keep]
    if description is not None:
        array, attributes = storage.read(metadata.ARRAY), storage.read(metadata.ATTRIBUTES)
        index = manifest.pack(files, {metadata.ATTRIBUTES: attributes, metadata.ARRAY: array})
        storage.write(manifest.NAME, index)
    else:
        discarded += [manifest.NAME, metadata.ATTRIBUTES]
    for name in discarded:
        storage.delete(name)
    storage.delete(MARKER)
    chunks = [name for name in discarded if not name.startswith(".")]
    return RecoverReport(
        url=storage.url, frames=frames, recovered=0, discarded=chunks, seconds=monotonic() - began
    )


def _finished_frames(storage: Storage) -> int:
    try:
        return _describe(storage).shape[0]
    except StoreNotFoundError as error:
        raise StoreNotFoundError(f"{storage.url}: nothing is there to recover") from error


def _refuse(storage: Storage, marker: dict[str, Any]) -> None:
    if not marker.get("recording"):
        raise InvalidInputError(
            f"{storage.url} was being encoded, not recorded: photon_gpu.encode(..., resume=True) goes on"
        )
    if alive(marker):
        raise StoreExistsError(
            f"{storage.url} is being recorded by process {marker['pid']}, which still runs"
        )


def _noted_spool(storage: Storage, marker: dict[str, Any]) -> Path | None:
    noted = marker.get("spool")
    if noted is None:
        return None
    if not isinstance(noted, str) or "\0" in noted:
        raise CorruptDataError(
            f"{storage.url}: its marker names {str(noted)[:80]!r} as spool, which is no folder"
        )
    folder = Path(noted)
    if not (folder / RECORDING).is_file():
        raise StoreNotFoundError(
            f"{storage.url}: its frames are at {noted} on {marker.get('host')}, and that is not here; recover there, "
            "or give discard_spool=True to finish the movie with what is in the store"
        )
    return folder


def _spool_at(where: Any) -> Path | None:
    if isinstance(where, Storage) or "://" in os.fspath(where):
        return None
    found = pending(where)
    if len(found) > 1:
        listed = "\n  ".join(map(str, found))
        raise InvalidInputError(f"{os.fspath(where)} holds {len(found)} recordings; give one of:\n  {listed}")
    return found[0] if found else None


def _marker(token: str, spool: Spool) -> bytes:
    import json
    import socket

    who = {"host": socket.gethostname(), "pid": os.getpid(), "token": token}
    return json.dumps({**who, "recording": True, "spool": str(spool.folder)}).encode()


def _named(ranges: list[Range]) -> str:
    return "frames " + ", ".join(f"{a} to {b - 1}" if b - a > 1 else str(a) for a, b in ranges)
