"""Finish a killed recording with every acknowledged frame."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check import warn_failed_checks
from photon_gpu.check.fidelity.property_verdicts import ReportLine
from photon_gpu.encode_settings import AUTO, location
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.pool import worker_count
from photon_gpu.errors import (
    CorruptDataError,
    InvalidInputError,
    PhotonError,
    RecordingError,
    StoreExistsError,
    StoreNotFoundError,
    quoting,
)
from photon_gpu.live.frame_check import FrameCheck
from photon_gpu.live.pipeline.encoder import resolve_noise
from photon_gpu.live.pipeline.pipeline import Pipeline
from photon_gpu.live.recovery.published_part import (
    describe,
    discard_unpublished,
    finish_published,
    finished_frames,
    published,
)
from photon_gpu.live.recovery.survey import FrameSpan, PendingChunk, Survey, first_number, named, survey
from photon_gpu.live.recovery.unpublished_chunks import unpublished
from photon_gpu.live.spool.spool import RECORDING, Spool, pending, remove_rests, without_facts
from photon_gpu.live.state.config import OWN_ATTRIBUTES
from photon_gpu.live.state.filling_chunks import Chunk
from photon_gpu.recording import Document, Recording, some
from photon_gpu.store import durable, metadata, source_metadata
from photon_gpu.store.chunk_grid import chunk_name
from photon_gpu.store.claim import MARKER, Claim, alive, read_marker
from photon_gpu.store.in_progress_marker import started
from photon_gpu.store.ome_zarr.pyramid_levels import PYRAMID
from photon_gpu.store.ome_zarr.zarr2_view import movie_storage, recorded
from photon_gpu.store.overwrite import left_behind, put_back
from photon_gpu.store.storage import Storage
from photon_gpu.writer.auto_noise import KEY


@dataclass(frozen=True, kw_only=True)
class RecoverReport:
    """The report of :func:`recover`.

    Attributes
    ----------
    url : str
    frames : int
        Frames of the movie now.
    recovered : int
        Frames that this call stored.
    lost : list of (int, int)
        Ranges of acknowledged frames that can no longer be read. They are stored as zeros; ``.zattrs``
        (``lost_frames``) and :func:`photon_gpu.verify` name them. Only with ``salvage=True``.
    doubtful : list of (int, int)
        Ranges after the last whole frame that were being written when the recording ended.
    discarded : list of str
        Files of chunks that were stored but never acknowledged, and that could not be proven whole.
    put_back : str or None
        Folder that was moved to the movie's name, if an overwrite had been interrupted.
    beside : list of str
        Folders that interrupted overwrites left beside the movie; they are not changed.
    notes : list of str
        Further remarks: attributes that were left out, files that belong to no recording, rests of spools
        that were removed.
    failed : tuple of str
        Failed lines of the check, which covers only the chunks that this call encoded.
    seconds : float
    """

    url: str
    frames: int
    recovered: int
    lost: list[FrameSpan] = field(default_factory=list)
    doubtful: list[FrameSpan] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    put_back: str | None = None
    beside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        text = (
            f"{self.url}: {self.frames:,} frames, {self.recovered:,} of them recovered in "
            f"{self.seconds:.1f} s"
        )
        if self.lost:
            text += f"; LOST: {named(self.lost)}"
        if self.doubtful:
            text += f"; being written when it ended: {named(self.doubtful)}"
        if self.put_back:
            text += f"; an overwrite had been interrupted: {self.put_back} is at its name now"
        if self.beside:
            text += f"; left beside it by interrupted overwrites: {', '.join(self.beside)}"
        if self.failed:
            text += f"; CHECK FAILED: {', '.join(self.failed)}"
        if self.discarded:
            text += f"; {len(self.discarded)} chunks discarded, which were stored and never acknowledged"
        return "\n  note: ".join([text, *self.notes])


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
    """Finish a recording, or an overwrite, whose process ended early; a second call changes nothing.

    Parameters
    ----------
    where : str, path or Storage
        The spool of the recording, or the movie, which names its spool.
    url : str, path or Storage, optional
        Destination of the movie, if it differs from the recorded one (which never includes options or
        credentials).
    noise : NoiseModel, optional
        Needed if the recording ended before the caller's function returned a noise model. A model that was
        to be estimated is estimated now.
    salvage : bool
        Continue although frames before other frames cannot be read (a damaged disk): store zeros for them,
        and name them in the report, ``.zattrs`` and verify. Otherwise raise an error and change nothing.
    discard_spool : bool
        Finish the movie with the frames in the store, although its spool is elsewhere or gone.
    close_seconds : float
        How long to retry if the store accepts nothing.
    backend, workers, storage_options
        See :func:`photon_gpu.encode`.

    Returns
    -------
    RecoverReport

    Raises
    ------
    StoreNotFoundError
        There is nothing to recover.
    StoreExistsError
        The destination holds something else, or the writer of the movie still runs.
    CorruptDataError
        Frames before other frames cannot be read; the message names them.
    """
    began = monotonic()
    folder = _spool_at(where)
    if folder is None:
        if (rest := _remove_rests(where, url, storage_options, began)) is not None:
            return rest
        storage = recorded(movie_storage(where, storage_options))
        notes = _removed(remove_rests(f"{storage.root}.spool")) if storage.local else []
        restored = put_back(storage)
        beside = [left.url for left in left_behind(storage)]
        try:
            marker = read_marker(storage)
        except FileNotFoundError:
            frames = finished_frames(storage)
            if storage.local and (folder := _spool_beside(storage)) is not None:
                return recover(folder, url=url or storage, storage_options=storage_options)
            return RecoverReport(
                url=storage.url,
                frames=frames,
                recovered=0,
                put_back=restored,
                beside=beside,
                notes=notes,
                seconds=monotonic() - began,
            )
        _refuse(storage, marker)
        folder = None if discard_spool else spool_of(storage, marker)
        if folder is None:
            frames, unseen, discarded = finish_published(storage)
            return RecoverReport(
                url=storage.url,
                frames=frames,
                recovered=unseen,
                discarded=discarded,
                beside=beside,
                notes=notes,
                seconds=monotonic() - began,
            )
        url = url or storage
    spool = Spool.open(folder)
    try:
        target = recorded(movie_storage(url if url is not None else spool.facts["url"], storage_options))
        report = _Recovery(spool, target, noise, salvage, close_seconds, backend, workers, began).run()
    except KeyboardInterrupt as error:
        # A movie that is whole no longer names its spool.
        error.add_note(f"nothing is lost: photon_gpu.recover({str(spool.folder)!r}) goes on")
        raise
    finally:
        spool.release()
    return report


def _spool_beside(storage: Storage) -> Path | None:
    """Return the spool of a finished recording at the default place, if its removal never began."""
    token = describe(storage).attributes.get("recording_id")
    for folder in pending(f"{storage.root}.spool"):
        with suppress(PhotonError):
            spool = Spool.open(folder)
            spool.release()
            if spool.facts["token"] == token:
                return folder
    return None


def _removed(rests: list[tuple[Path, str | None]]) -> list[str]:
    return [f"removed what was left of the finished spool {folder}" for folder, _ in rests]


def _remove_rests(where: Any, url: Any, options: dict[str, Any] | None, began: float) -> RecoverReport | None:
    """Remove what is left of finished recordings in a spool; return None if ``where`` holds no such rest."""
    spool = Storage.at(where, options)
    if not spool.local:
        return None
    if not (rests := remove_rests(spool.root)):
        if folders := without_facts(spool.root):
            raise CorruptDataError(
                f"{folders[0]} holds frames, and {RECORDING}, which describes them, is gone with its copy: "
                f"restore {RECORDING} from a backup. If the movie is whole, delete that folder"
            )
        return None
    notes, frames, movies = _removed(rests), 0, [movie for _, movie in rests if movie]
    if url is None and not movies:
        return RecoverReport(url=spool.url, frames=0, recovered=0, notes=notes, seconds=monotonic() - began)
    movie = movie_storage(url if url is not None else movies[-1], options)
    try:
        frames = finished_frames(movie)
    except PhotonError as error:
        notes.append(f"the movie cannot be read: {error}")
    return RecoverReport(url=movie.url, frames=frames, recovered=0, notes=notes, seconds=monotonic() - began)


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
        self._discarded: list[str] = []
        self._config = replace(spool.config, close_seconds=close_seconds)
        self._token = spool.facts["token"]
        self._noise, self._backend, self._workers = noise, get_backend(backend), worker_count(workers)

    def run(self) -> RecoverReport:
        finished = self._take_over()
        if finished is not None:
            self._spool.remove()
            return self._report(Survey(finished), 0)
        seen, files, description = published(self._storage)
        described = description or self._spool.encoding()
        state = survey(self._spool, self._storage, seen, described)
        if state.lost and not self._salvage:
            raise CorruptDataError(
                f"{self._spool.folder}: {named(state.lost)} had been acknowledged and cannot be read; "
                "nothing was changed. salvage=True stores all others, with zeros in their place"
            )
        layout = layout_for(described.encoding, self._backend) if described is not None else None
        if layout is not None and layout.encoding.layout == "plain":
            self._save_unstorable(state, layout)
        size = self._config.frames_per_chunk
        if described is not None and seen % size == 0:  # else the last chunk, a partial one, is published
            state.follow(unpublished(self._storage, state.total // size * size, described))
        here = {chunk_name(entry.number, 1 + len(self._config.frame_shape)) for entry in state.chunks}
        record_files = (name for entry in state.chunks for name in entry.files or ())
        self._discarded = discard_unpublished(
            self._storage, {*files, *here, *record_files}, seen, description
        )
        if state.total == 0:
            Claim(self._storage, overwrite=False).withdraw()
            self._spool.remove()
            return self._report(state, 0)
        attributes = {**self._attributes(state), "recording_id": self._token}
        if described is not None and KEY in described.attributes:
            attributes[KEY] = described.attributes[KEY]
        if state.lost:
            attributes["lost_frames"] = [list(span) for span in state.lost]
        pipeline = Pipeline(
            self._storage,
            self._config,
            token=self._token,
            spool=self._spool,
            recycler=None,
            noise=self._known_noise(described),
            backend=self._backend,
            workers=self._workers,
            fits=lambda layout: self._admit(state, layout),
            attributes=attributes,
            published=seen,
            files=files,
            failed_check=described.attributes.get(metadata.CHECK) if described is not None else None,
        )
        try:
            if layout is not None and described is not None:
                pipeline.describe(layout, described.chunks)
            self._restore_words(pipeline, state)
            for entry in state.chunks:
                self._feed(pipeline, entry)
            pipeline.finish(state.total)
        finally:
            pipeline.stop()
        self._spool.remove()
        state.notes += pipeline.ledger.notes
        pipeline.ledger.tell()
        warn_failed_checks.warn(self._storage.url, pipeline.lines, stacklevel=3)
        return self._report(state, state.total - seen, pipeline.lines)

    def _restore_words(self, pipeline: Pipeline, state: Survey) -> None:
        """Store the source metadata that the spool keeps, beside those in the store."""
        documents: dict[str, Document] = {}
        for path in self._spool.words():
            try:
                added = source_metadata.unpack(path.read_bytes(), str(path)).documents
            except CorruptDataError as error:
                state.notes.append(f"source metadata of files recorded last are lost: {error}")
            else:
                documents |= {document.name: document for document in added}
        if not documents:
            return
        with suppress(FileNotFoundError, CorruptDataError):
            stored = source_metadata.unpack(self._storage.read(source_metadata.NAME), self._storage.url)
            documents = {document.name: document for document in stored.documents} | documents
        recording = Recording(documents=tuple(documents.values()))
        pipeline.replace_words(source_metadata.fitting(recording))

    def _attributes(self, state: Survey) -> dict[str, Any]:
        """Return the caller's attributes without those that only earlier releases accepted."""
        attributes = self._spool.facts["attributes"]
        taken = metadata.own_keys(attributes, OWN_ATTRIBUTES)
        if taken:
            state.notes.append(f"attributes left out, as these keys are photon_gpu's own: {', '.join(taken)}")
        return {key: value for key, value in attributes.items() if key not in taken}

    def _admit(self, state: Survey, layout: Layout) -> None:
        """Raise InvalidInputError if a layout cannot hold the frames of the journal."""
        check = self._frame_check(layout)
        for entry in state.chunks:
            if entry.records is not None and layout.encoding.layout != "lossless":
                check.admit(self._frames_of(entry), entry.number * self._config.frames_per_chunk)

    def _save_unstorable(self, state: Survey, layout: Layout) -> None:
        """Save as files the chunks that an earlier release accepted and layout plain cannot hold."""
        check = self._frame_check(layout)
        for position, entry in enumerate(state.chunks):
            if entry.records is None:
                continue
            values, first = (
                self._frames_of(entry),
                entry.number * self._config.frames_per_chunk,
            )
            try:
                check.admit(values, first)
            except InvalidInputError as error:
                frames = named([(first, first + entry.frames)])
                if not self._salvage:
                    raise InvalidInputError(
                        f"{self._spool.folder}: {frames} cannot be quantized, as layout 'plain' needs; "
                        "nothing was changed. salvage=True saves them as .npy beside the spool, and puts "
                        "zeros in their place"
                    ) from error
                path = f"{self._spool.folder}-frames-{first}-{first + entry.frames - 1}.npy"
                data = io.BytesIO()
                np.save(data, values)
                durable.write_file(path, data.getbuffer())
                state.chunks[position] = replace(entry, blank=True)
                state.lost = sorted([*state.lost, (first, first + entry.frames)])
                state.notes.append(f"{frames} could not be quantized: they are in {path}")

    def _frame_check(self, layout: Layout) -> FrameCheck:
        config = self._config
        dtype = np.dtype(config.dtype)
        check = FrameCheck(
            config.frame_shape, dtype, config.frames_per_chunk, self._backend, config.channel_axis
        )
        check.expect(layout)
        return check

    def _frames_of(self, entry: PendingChunk) -> NDArray[Any]:
        """Return the frames of a chunk in the journal."""
        chunk = Chunk(entry.number, np.empty(self._config.chunk(), self._config.dtype))
        entry.fill(chunk)
        return chunk.values[: chunk.filled]

    def _take_over(self) -> int | None:
        """Claim the folder again; return the number of frames if the recording was finished already."""
        names = self._storage.names()
        marker = read_marker(self._storage) if MARKER in names else None
        if marker and marker.get("token") != self._token:
            raise StoreExistsError(
                f"{self._storage.url} is being written by another process; recover it once that has ended"
            )
        if marker:
            return None
        description = describe(self._storage) if metadata.ARRAY in names else None
        ours = description is not None and description.attributes.get("recording_id") == self._token
        if description is not None and not ours:
            raise StoreExistsError(f"{self._storage.url} holds another movie; give another url")
        if marker is not None and (ours or first_number(self._spool) == 0):
            self._storage.write(MARKER, _marker(self._token, self._spool))  # the marker was altered
            return None
        if description is not None:
            return description.shape[0]
        if names or first_number(self._spool) > 0:
            raise StoreNotFoundError(
                f"{self._storage.url}: chunks that had been published there are gone; the spool at "
                f"{self._spool.folder} holds frames from "
                f"{first_number(self._spool) * self._config.frames_per_chunk} on"
            )
        self._storage.create(MARKER, _marker(self._token, self._spool))
        return None

    def _feed(self, pipeline: Pipeline, entry: PendingChunk) -> None:
        if entry.files is not None:
            raw_bytes = entry.frames * self._config.frame_nbytes
            pipeline.ledger.store(entry.number, entry.frames, entry.files, raw_bytes)
            return
        if entry.records is None:
            pipeline.send_kept(entry.number, entry.frames)
            return
        while (chunk := pipeline.buffers.take(entry.number, 0.2)) is None:
            with pipeline.ledger.changed:
                error = pipeline.ledger.error
            if error is not None:
                where = f"{self._storage.url}: recovery ended early: "
                raise RecordingError(quoting(where, error)) from error
        entry.fill(chunk)
        pipeline.ledger.take(entry.frames, entry.frames * self._config.frame_nbytes)
        pipeline.submit(chunk)

    def _known_noise(self, described: metadata.Description | None) -> Any:
        if described is not None:
            channels = described.encoding.channels
            return tuple(one.noise for one in channels) if channels else described.encoding.noise
        if self._noise is not None:
            return resolve_noise(self._noise, self._config.layout)
        facts = self._spool.facts
        if facts.get("noise_estimated"):
            return resolve_noise(AUTO, self._config.layout)
        if not facts["noise_known"]:
            raise InvalidInputError(
                f"{self._spool.folder}: the recording ended before its noise model was estimated; "
                f"give noise=..."
            )
        if isinstance(facts["noise"], list):
            return tuple(NoiseModel.from_dict(one) for one in facts["noise"])
        return NoiseModel.from_dict(facts["noise"]) if facts["noise"] else None

    def _report(self, state: Survey, recovered: int, lines: tuple[ReportLine, ...] = ()) -> RecoverReport:
        return RecoverReport(
            url=self._storage.url,
            frames=state.total,
            recovered=recovered,
            lost=state.lost,
            doubtful=state.doubtful,
            discarded=self._discarded,
            notes=state.notes,
            failed=tuple(line.name for line in warn_failed_checks.failing(lines)),
            seconds=monotonic() - self._began,
        )


def _refuse(storage: Storage, marker: dict[str, Any]) -> None:
    if not marker.get("recording"):
        raise InvalidInputError(
            f"{storage.url} was being encoded, not recorded: photon_gpu.encode(..., resume=True) goes on"
        )
    if alive(marker):
        raise StoreExistsError(
            f"{storage.url} is being recorded by process {marker['pid']}, which still runs"
        )


def spool_of(storage: Storage, marker: dict[str, Any]) -> Path | None:
    """Return the spool that a recording's marker names; None if it names none."""
    recorded = marker.get("spool")
    if recorded is None:
        return None
    if not isinstance(recorded, str) or "\0" in recorded:
        raise CorruptDataError(
            f"{storage.url}: its marker names {str(recorded)[:80]!r} as spool, which is not a folder; "
            "give the spool's folder itself"
        )
    folder = Path(recorded)
    if not (folder / RECORDING).is_file():
        raise StoreNotFoundError(
            f"{storage.url}: its spool {recorded} on {marker.get('host')} cannot be seen from here; "
            "recover there, or give discard_spool=True to finish the movie with what is in the store"
        )
    return folder


def _spool_at(where: Any) -> Path | None:
    if isinstance(where, Storage) or "://" in location("where", where):
        return None
    spools = pending(where)
    if len(spools) > 1:
        raise InvalidInputError(
            f"{os.fspath(where)} holds {len(spools)} recordings; give the folder of one: "
            f"{some([spool.name for spool in spools], 3)}"
        )
    return spools[0] if spools else None


def _marker(token: str, spool: Spool) -> bytes:
    import json
    import socket

    writer = {"host": socket.gethostname(), "pid": os.getpid(), "token": token, **started()}
    levels = {PYRAMID: spool.facts[PYRAMID]} if PYRAMID in spool.facts else {}
    return json.dumps({**writer, "recording": True, "spool": str(spool.folder), **levels}).encode()
