"""Tasks of a worker: prepare a movie, and write one of its chunks."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.sample import Block
from photon_gpu.check.fidelity.sample_during_encode import decoded, excerpts
from photon_gpu.cluster.worker_sources import Frames
from photon_gpu.encode_settings import EncodeSettings
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import Split, parallel
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError
from photon_gpu.recording import Recording
from photon_gpu.sources.base import Source
from photon_gpu.sources.truncated_file import Truncation
from photon_gpu.store import source_metadata
from photon_gpu.store.claim import read_marker
from photon_gpu.store.metadata import Description
from photon_gpu.store.movie_folder import MovieFolder
from photon_gpu.store.ome_zarr.zarr2_view import OmeZarrStorage
from photon_gpu.store.storage import Storage
from photon_gpu.writer import auto_noise, ome_zarr_axes_and_shards
from photon_gpu.writer.auto_noise import Settled
from photon_gpu.writer.preparation import accept, tune
from photon_gpu.writer.resume import StoredChunks, frames_crc
from photon_gpu.writer.warmup import warm_up

_writing: Counter[str] = Counter()
_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class EncodeJob:
    """Everything that a worker needs to write any chunk of a movie. It is small: every chunk sends it."""

    frames: Frames | None
    folder: MovieFolder
    token: str
    encoding: Encoding
    dtype: str
    settings: EncodeSettings
    sampled: dict[int, bool] = field(default_factory=dict)
    """Numbers of the chunks to check; True if a run of frames is checked too, not only some rows."""
    lost: tuple[tuple[int, int], ...] = ()
    """Ranges ``(first, end)`` of frames that the source lacks; the check leaves them out."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A tuned movie, as a worker reports it to the process that requested it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    raw_bytes: int
    chunk: tuple[int, ...]
    encoding: Encoding
    settled: Settled
    mean: float
    plan: dict[str, Any]
    recording: Recording
    stored: StoredChunks
    backend: str
    why: str
    compile_seconds: float
    seconds: dict[str, float]
    lost: tuple[tuple[int, int], ...]
    truncation: Truncation | None
    group: bytes
    """``zarr.json`` of the group of an OME-Zarr movie."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """One stored chunk."""

    files: dict[str, list[Any]]
    """Its manifest entry, by file name."""
    frames: int
    frames_crc: str
    seconds: dict[str, float]
    blocks: list[Block] = field(default_factory=list)
    container: dict[str, list[Any]] = field(default_factory=dict)
    """Manifest entry of the shard that was written with this chunk, of an OME-Zarr movie."""


def prepare(
    movie: Source | Frames,
    target: Storage,
    url: Storage,
    token: str,
    settings: EncodeSettings,
    earlier_plan: dict[str, Any] | None,
) -> Prepared:
    """Open, check and tune a movie as :func:`photon_gpu.encode` does before the first chunk."""
    movie = movie.opened() if isinstance(movie, Frames) else movie
    if movie.device is not None:
        raise InvalidInputError(f"{movie.name}: frames on a GPU are not sent to a cluster; pass frames.get()")
    check_claim(target, token)
    stages = Stages()
    recording = source_metadata.of_source(movie)
    settings = settings.replace(attributes=source_metadata.with_recording(settings.attributes, recording))
    accepted = accept(movie, url, settings)
    with stages.timed("estimate"):
        settled = auto_noise.settle(movie, accepted.encoding, settings)
    accepted = replace(accepted, encoding=settled.encoding)
    tuned = tune(movie, accepted, settings, target, earlier_plan, stages=stages)
    settled = replace(settled, warnings=(*settled.warnings, *tuned.choice.warnings))
    return Prepared(
        name=movie.name,
        shape=movie.shape,
        dtype=movie.dtype.name,
        raw_bytes=movie.nbytes,
        chunk=accepted.chunk,
        encoding=tuned.choice.encoding,
        settled=settled,
        mean=tuned.choice.mean,
        plan=tuned.plan,
        recording=recording,
        stored=tuned.stored,
        backend=accepted.backend.name,
        why=accepted.backend.why,
        compile_seconds=accepted.compile_seconds,
        seconds=dict(stages.seconds),
        lost=movie.lost,
        truncation=movie.truncation,
        group=ome_zarr_axes_and_shards.group_of(
            target, url.root, movie, recording, tuned.layout, settings.pyramid
        ),
    )


def write_chunks(job: EncodeJob, numbers: list[int], values: list[NDArray] | None = None) -> list[Written]:
    """Write chunks one by one as :func:`write_chunk` does; those of a shard are given together."""
    sent = values if values is not None else [None] * len(numbers)
    written = [write_chunk(job, number, frames) for number, frames in zip(numbers, sent, strict=True)]
    storage = job.folder.storage
    if isinstance(storage, OmeZarrStorage):
        name = storage.shard_path(numbers[0] // storage.grid.per_shard)
        written[-1] = replace(written[-1], container={name: storage.written[name]})
    return written


def write_levels_of(job: EncodeJob, shard: int, files: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Write this shard of all pyramid levels from stored chunks, and return the manifest entries."""
    folder = job.folder
    description = Description(folder.shape, folder.chunks, job.encoding, {})
    with _counted_as_writing(job.token):
        check_claim(folder.storage, job.token)
        return ome_zarr_axes_and_shards.write_levels(
            folder.storage, description, files, job.settings, [shard]
        )


def write_chunk(job: EncodeJob, number: int, values: NDArray | None = None) -> Written:
    """Read the frames of a chunk, unless they were sent, and encode, write and check them."""
    stages, backend = Stages(), get_backend(job.settings.backend)
    target, chunk, span = job.folder.storage, job.folder.chunks, job.folder.frames_of(number)
    check_claim(target, job.token)  # Fails if the encode gave the movie up.
    if values is None:
        assert job.frames is not None
        with stages.timed("read"):
            values = job.frames.opened().read(span.start, span.stop)
    values = _as_promised(values, job, span)
    warm_up(backend, job.encoding, job.settings.preset)
    layout = layout_for(job.encoding, backend)
    split = Split(job.settings.threads, parallel(job.settings.threads))
    data = layout.encode(values, chunk, Resources(stages, split), span.start)
    blocks: list[Block] = []
    with _counted_as_writing(job.token), stages.timed("write"):
        check_claim(target, job.token)
        files = job.folder.write_chunk(number, data)
    if job.settings.check:
        with stages.timed("check"):
            _read_back(job.folder, number, data)
            if number in job.sampled:
                lost = tuple((max(a - span.start, 0), max(b - span.start, 0)) for a, b in job.lost)
                parts = excerpts(layout, values, number, span.start, run=job.sampled[number], lost=lost)
                blocks = decoded(layout, data, chunk, number, parts)
    return Written(
        files=files,
        frames=len(span),
        frames_crc=frames_crc(values),
        seconds=dict(stages.seconds),
        blocks=blocks,
    )


def check_claim(target: Storage, token: str) -> None:
    """Check that the claim still exists here, so that nothing is written elsewhere or after a failure.

    Raises
    ------
    PhotonError
        This worker does not find the claim of the calling process.
    """
    try:
        owner = read_marker(target).get("token")
    except (FileNotFoundError, NotADirectoryError):
        owner = None
    if owner != token:
        raise PhotonError(
            f"{target.url}: worker {socket.gethostname()} does not find the claim of this movie, and wrote "
            "nothing. The encode was stopped, or this URL is another folder on that machine: use an object "
            "store, or a folder that all mount"
        )


def writing(token: str) -> int:
    """Return the number of chunks of a claim that this process is writing."""
    with _lock:
        return _writing[token]


@contextmanager
def _counted_as_writing(token: str) -> Iterator[None]:
    with _lock:
        _writing[token] += 1
    try:
        yield
    finally:
        with _lock:
            _writing[token] -= 1
            if not _writing[token]:
                del _writing[token]


def _as_promised(values: Any, job: EncodeJob, span: range) -> NDArray:
    array = np.asarray(values)
    expected = (len(span), *job.folder.shape[1:])
    if array.shape != expected or array.dtype.newbyteorder("=") != np.dtype(job.dtype):
        raise InvalidInputError(
            f"frames {span[0]} to {span[-1]} arrived as {array.dtype} {array.shape}; "
            f"{job.dtype} {expected} was expected"
        )
    return np.ascontiguousarray(array, dtype=job.dtype)


def _read_back(folder: MovieFolder, number: int, data: bytes) -> None:
    name, frames = folder.chunk_name(number), folder.frames_of(number)
    if not folder.storage.holds(name, data):
        raise CorruptDataError(
            f"{folder.storage.url}: {name} (frames {frames[0]} to {frames[-1]}) does not read back as "
            "written: nothing was kept"
        )
