"""Encode one movie on a cluster: this process claims and publishes it, workers tune and write it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from photon_gpu.check import warn_failed_checks
from photon_gpu.check.fidelity.sample import Block
from photon_gpu.check.fidelity.sample_during_encode import MOST_CHUNKS, lines_of
from photon_gpu.cluster.worker_sources import Frames, travelling
from photon_gpu.cluster.worker_tasks import (
    EncodeJob,
    Prepared,
    Written,
    prepare,
    write_chunks,
    write_levels_of,
    writing,
)
from photon_gpu.encode_settings import EncodeSettings
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import InvalidInputError, PhotonError
from photon_gpu.progress_bar import Progress
from photon_gpu.sources.base import Source
from photon_gpu.sources.dask import DaskSource, aligned, misaligned
from photon_gpu.sources.missing_frames import lost_note, with_lost
from photon_gpu.sources.open import open_source
from photon_gpu.sources.truncated_file import truncation_note, with_truncation
from photon_gpu.store import manifest, metadata
from photon_gpu.store.chunk_grid import ChunkGrid
from photon_gpu.store.claim import MARKER, Claim
from photon_gpu.store.movie_folder import MovieFolder
from photon_gpu.store.ome_zarr.pyramid_levels import is_level_file
from photon_gpu.store.ome_zarr.zarr2_view import OmeZarrStorage
from photon_gpu.store.storage import Storage
from photon_gpu.writer import auto_noise, ome_zarr_axes_and_shards
from photon_gpu.writer.encode import beside_files, finish
from photon_gpu.writer.read_back import refuse_inexact, sentence
from photon_gpu.writer.report import EncodeReport, little_light, pyramid_note
from photon_gpu.writer.resume import StoredChunks

_LIST_SECONDS = 2.0
_QUIET_SECONDS = 60.0


class MovieOnCluster:
    """One movie that the workers of a client encode.

    Parameters
    ----------
    client : distributed.Client
    settings : EncodeSettings
    ahead : int
        Chunks of one movie whose frames may be in transit from this process to workers.
    rechunk : bool
        Whether dask blocks that do not fit chunks are rechunked; otherwise they are refused.
    """

    def __init__(self, client: Any, settings: EncodeSettings, *, ahead: int, rechunk: bool) -> None:
        self.client, self.settings, self._ahead, self._rechunk = client, settings, ahead, rechunk
        self._futures: set[Any] = set()
        self._stopped = False

    def encode(
        self,
        source: Any,
        storage: Storage,
        *,
        overwrite: bool,
        resume: bool,
        tick: Progress,
    ) -> EncodeReport:
        """Encode the movie to the same bytes as :func:`photon_gpu.encode`.

        Call it while ``client`` is the current client of dask, so that dask computes blocks on it.
        """
        frames = travelling(source)
        here = None if frames is not None else open_source(source)
        settings = self.settings
        try:
            with Claim(storage, overwrite=overwrite, resume=resume) as claim:
                assert claim.token is not None
                start, stages = time.perf_counter(), Stages()
                ready = self._prepared(here or frames, claim, storage)
                _add(stages, ready.seconds)
                ready = replace(ready, stored=_whole_shards(ready.stored, claim.target))
                facts = ome_zarr_axes_and_shards.begin(
                    claim.target,
                    ready.group,
                    ready.shape,
                    ready.chunk,
                    ready.dtype,
                    ready.stored.files,
                    settings.pyramid,
                )
                claim.note(plan=ready.plan, **facts)
                ready.settled.warn()
                notes = [auto_noise.note(ready.settled.attributes), *ready.settled.notes]
                notes += [little_light(ready.mean, ready.encoding), self._fit(here, ready.chunk[0])]
                notes.append(lost_note(ready.lost))
                if here is not None and not isinstance(here, DaskSource):
                    notes.append(
                        "frames were read by one machine and sent to the workers; a path they open is faster"
                    )
                job = EncodeJob(
                    frames=frames,
                    folder=MovieFolder(ready.shape, ready.chunk, claim.target),
                    token=claim.token,
                    encoding=ready.encoding,
                    dtype=ready.dtype,
                    settings=settings.replace(attributes={}),  # They are not needed, and may be large.
                    sampled=self._sampled(ready),
                    lost=ready.lost,
                )
                files, crcs = dict(ready.stored.files), dict(ready.stored.frames)
                try:
                    blocks = self._all_chunks(job, here, files, crcs, stages, tick)
                    levels = self._levels(job, files, ready)
                except BaseException:
                    self._give_up(claim, manifest.pack(files, frames=crcs) if resume else None)
                    raise
                layout = layout_for(ready.encoding, get_backend(settings.backend))
                stored = sum(size for size, _ in [*files.values(), *levels.values()])
                lines = lines_of(layout, blocks, ready.shape[0])
                refuse_inexact(storage.url, lines)
                warn_failed_checks.warn(storage.url, lines, stacklevel=1)
                attributes = with_lost(ready.settled.attributes, ready.lost)
                attributes = with_truncation(attributes, ready.truncation)
                if ready.truncation is not None:
                    ready.truncation.refuse_growth()
                notes.append(truncation_note(attributes))
                failed = warn_failed_checks.to_keep(lines)
                texts = metadata.texts(ready.shape, ready.chunk, layout, attributes, failed)
                stored += finish(claim, texts, files, stages, beside=beside_files(ready.recording, settings))
                seconds = time.perf_counter() - start
        finally:
            if here is not None and here is not source:
                here.close()
        notes.append(pyramid_note(levels, ready.raw_bytes, stored))
        notes += [claim.note_of_link, *ready.recording.notes()]
        if ready.stored.files:
            notes.append(f"{len(ready.stored.files)} chunks were there already, and whole")
        return EncodeReport(
            source=ready.name,
            url=storage.url,
            shape=ready.shape,
            encoding=ready.encoding,
            preset=settings.preset,
            chunk_frames=ready.chunk[0],
            raw_bytes=ready.raw_bytes,
            stored_bytes=stored,
            seconds=seconds,
            compile_seconds=0.0,
            stages=dict(stages.seconds),
            backend=ready.backend,
            why=ready.why,
            workers=threads_of(self.client),
            notes=tuple(note for note in notes if note),
            checked=sentence("every chunk was read back and is whole", lines) if settings.check else "",
            checks=tuple(line.to_dict() for line in lines),
        )

    def stop(self) -> None:
        """Submit no more work; work in progress ends with an error."""
        self._stopped = True
        self._cancel()

    def _prepared(self, movie: Source | Frames | None, claim: Claim, storage: Storage) -> Prepared:
        arguments = (movie, claim.target, storage, claim.token, self.settings, claim.earlier.get("plan"))
        if isinstance(movie, Frames):
            return self._result(self._submit(prepare, *arguments))
        return prepare(*arguments)  # type: ignore[arg-type]

    def _fit(self, here: Source | None, chunk_frames: int) -> str | None:
        if not isinstance(here, DaskSource):
            return None
        problem = misaligned(here.array.chunks, chunk_frames)
        if not problem.unaligned:
            return None
        if not self._rechunk:
            raise InvalidInputError(
                f"{here.name}: {problem.sentence(chunk_frames)}; rechunk it, give chunk_frames that fit, or "
                "pass rechunk=True"
            )
        return f"{problem.sentence(chunk_frames)}: they were rechunked"

    def _sampled(self, ready: Prepared) -> dict[int, bool]:
        """Choose chunks to check, evenly among the missing ones, and a run of frames in the first of them."""
        if not self.settings.check or not ready.encoding.models:
            return {}
        grid = ChunkGrid(ready.shape, ready.chunk)
        new = [n for n in range(grid.chunk_count) if grid.chunk_name(n) not in ready.stored.files]
        chosen = new[:: -(-len(new) // MOST_CHUNKS)] if new else []
        return {n: n == chosen[0] for n in chosen}

    def _all_chunks(
        self,
        job: EncodeJob,
        here: Source | None,
        files: dict[str, list[Any]],
        crcs: dict[str, str],
        stages: Stages,
        tick: Progress,
    ) -> list[Block]:
        """Write all missing chunks and return the blocks for the check, in the order of frames."""
        blocks: list[Block] = []
        folder, total = job.folder, job.folder.shape[0]
        numbers = [n for n in range(folder.chunk_count) if folder.chunk_name(n) not in files]
        done = total - sum(len(folder.frames_of(n)) for n in numbers)
        listed = time.monotonic()
        tick(done, total)
        for written in self._written(job, here, numbers):
            files |= written.files
            if isinstance(folder.storage, OmeZarrStorage):
                folder.storage.written |= written.container
            crcs |= dict.fromkeys(written.files, written.frames_crc)
            _add(stages, written.seconds)
            blocks += written.blocks
            done += written.frames
            tick(done, total)
            if time.monotonic() - listed > _LIST_SECONDS:  # A resumed encode trusts the manifest.
                folder.storage.write(manifest.NAME, manifest.pack(files, frames=crcs))
                listed = time.monotonic()
        run = folder.frames_of(min(job.sampled, default=0))  # This chunk also provides the run of frames.
        return sorted(blocks, key=lambda block: (block.frames[0] >= run.stop, -len(block.raw)))

    def _levels(self, job: EncodeJob, files: dict[str, list[Any]], ready: Prepared) -> dict[str, list[Any]]:
        """Have workers write the shards of all pyramid levels, and write what describes these levels."""
        from distributed import as_completed

        folder, storage = job.folder, job.folder.storage
        if not isinstance(storage, OmeZarrStorage) or not self.settings.pyramid:
            return {}
        for shard in range(storage.grid.shard_count):
            names = [folder.chunk_name(number) for number in storage.grid.numbers(shard)]
            self._submit(write_levels_of, job, shard, {name: files[name] for name in names})
        for future in as_completed(list(self._futures)):
            storage.written |= self._result(future)
        layout = layout_for(job.encoding, get_backend(self.settings.backend))
        texts = metadata.texts(folder.shape, folder.chunks, layout, ready.settled.attributes)
        description = metadata.describe(texts[metadata.ARRAY], texts[metadata.ATTRIBUTES], storage.url)
        storage.written |= ome_zarr_axes_and_shards.write_levels(
            storage, description, files, self.settings, shards=()
        )
        return {name: entry for name, entry in storage.written.items() if is_level_file(name)}

    def _written(self, job: EncodeJob, here: Source | None, numbers: list[int]) -> Iterator[Written]:
        """Yield chunks as workers finish them."""
        from distributed import as_completed

        groups = _by_shard(job.folder, numbers)
        if here is None:
            pending = as_completed([self._submit(write_chunks, job, group) for group in groups])
            rest: list[list[int]] = []
        elif isinstance(here, DaskSource):
            pending, rest = as_completed(self._from_blocks(job, here.array, groups)), []
        else:
            pending, rest = as_completed([]), groups
        ahead = max(2, self._ahead // max(map(len, groups), default=1))
        for group in rest[:ahead]:
            pending.add(self._sent(job, here, group))
        rest = rest[ahead:]
        for future in pending:
            written: list[Written] = self._result(future)
            del future
            if rest:
                pending.add(self._sent(job, here, rest.pop(0)))
            yield from written

    def _from_blocks(self, job: EncodeJob, array: Any, groups: list[list[int]]) -> list[Any]:
        """Submit dask blocks; each travels from the worker that computed it to the worker that writes it."""
        from dask import delayed

        blocks = aligned(array, job.folder.chunks[0]).to_delayed(optimize_graph=True).reshape(-1)
        write = delayed(write_chunks, pure=False, traverse=False)
        futures = self.client.compute([write(job, group, [blocks[n] for n in group]) for group in groups])
        self._futures.update(futures)
        return list(futures)

    def _sent(self, job: EncodeJob, here: Source | None, numbers: list[int]) -> Any:
        assert here is not None
        spans = [job.folder.frames_of(number) for number in numbers]
        return self._submit(write_chunks, job, numbers, [here.read(span.start, span.stop) for span in spans])

    def _submit(self, function: Any, *arguments: Any) -> Any:
        if self._stopped:
            raise PhotonError("stopped before it was done")
        future = self.client.submit(function, *arguments, pure=False)
        self._futures.add(future)
        return future

    def _result(self, future: Any) -> Any:
        """Return a worker's result and forget its future."""
        try:
            return future.result()
        finally:
            self._futures.discard(future)

    def _cancel(self) -> None:
        self.client.cancel(list(self._futures))

    def _give_up(self, claim: Claim, index: bytes | None) -> None:
        """Cancel all work and wait until no worker writes, so that the movie can be removed or resumed."""
        self._cancel()
        if index is None:
            claim.target.delete(MARKER)  # No worker begins a chunk once the marker is gone.
        else:
            claim.target.write(manifest.NAME, index)
        until = time.monotonic() + _QUIET_SECONDS
        while time.monotonic() < until:
            busy = self.client.run(writing, claim.token, on_error="ignore")
            if not any(count for count in busy.values() if isinstance(count, int)):
                return
            time.sleep(0.05)


def threads_of(client: Any) -> int:
    """Return the number of threads of all workers."""
    return max(1, sum(client.nthreads().values()))


def _by_shard(folder: MovieFolder, numbers: list[int]) -> list[list[int]]:
    """Group the numbers of chunks that one worker writes: those of a shard, or one."""
    size = folder.storage.grid.per_shard if isinstance(folder.storage, OmeZarrStorage) else 1
    return [list(group) for _, group in groupby(numbers, lambda number: number // size)]


def _whole_shards(stored: StoredChunks, storage: Storage) -> StoredChunks:
    """Keep only chunks whose whole shard is kept, since a worker writes whole shards."""
    if not isinstance(storage, OmeZarrStorage) or not stored.files:
        return stored
    grid = storage.grid
    shards = [shard for shard in grid.shards_with(stored.files) if grid.sizes(shard, stored.files)]
    files = {
        name: stored.files[name] for shard in shards for name in map(grid.chunk_name, grid.numbers(shard))
    }
    return replace(stored, files=files)


def _add(stages: Stages, seconds: dict[str, float]) -> None:
    for stage, spent in seconds.items():
        stages.add(stage, spent)
