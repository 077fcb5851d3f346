"""Encoding a movie: read, transform, compress and write at once, with a bound on memory.

Chunks are written first, then the manifest, ``.zattrs``, and ``.zarray`` last: an array that
opens is whole. FORMAT.md, "Order of writing".
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from photon_gpu.check import verdict
from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.pool import Ranked, lent, worker_count
from photon_gpu.engine.runtime.stopwatch import Map, Stages
from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source
from photon_gpu.sources.missing import lost_note, with_lost
from photon_gpu.sources.open import open_source
from photon_gpu.store import manifest, metadata
from photon_gpu.store.claim import Claim
from photon_gpu.store.destination import destination
from photon_gpu.store.storage import Storage
from photon_gpu.writer import auto_noise
from photon_gpu.writer.deletion import Deletable, drop_source
from photon_gpu.writer.preparation import accept, tune
from photon_gpu.writer.read_back import Checker, check_mode
from photon_gpu.writer.report import EncodeReport, little_light
from photon_gpu.writer.resume import Stored, frames_crc
from photon_gpu.writer.tuning import check_choice

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from photon_gpu.check.fidelity.lines import ReportLine

BUDGET_BYTES = 512 << 20
_LIST_SECONDS = 2.0  # between two listings at most; less where they are quick
_LIST_SHARE = 0.02  # of the time
_CRC_SECONDS = (
    0.25  # before the first listing; a chunk encoded before that is encoded again on resume, and compared
)

Progress = Callable[[int, int], None]
"""``progress(frames_written, frames_in_all)``, called from the thread that called encode."""


def encode(
    source: Any,
    url: str | os.PathLike[str] | Storage,
    *,
    noise: NoiseModel | str | None = None,
    step: float = 0.5,
    layout: str = "plain",
    preset: str = "balanced",
    predictor: str | Predictor | None = None,
    compressor: str | Compressor | None = None,
    dither: int | None = None,
    chunk_frames: int | None = None,
    backend: str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    budget_bytes: int = BUDGET_BYTES,
    progress: Progress | None = None,
    storage_options: dict[str, Any] | None = None,
    attributes: dict[str, Any] | None = None,
    trust_noise: bool = False,
    check: bool | str = True,
    delete_source: bool = False,
    missing: str | None = None,
) -> EncodeReport:
    """Store a movie at a fraction of its size, losing nothing but what is far below its noise.

    Parameters
    ----------
    source : array, path, URL or Source
        ``(T, ..., H, W)``; see :func:`photon_gpu.open_source`. Read chunk by chunk.
    url : str, path or Storage
        Where to: any fsspec URL. Must not exist, unless ``overwrite``.
    noise : NoiseModel or "auto", optional
        Of the detector. One that is stated is measured against the movie: where it would add more than
        10 % to the variance of the noise at any level of light, it is refused; more than 5 % is a
        PhotonWarning (docs/trust.md). ``"auto"``, the default of layouts that quantize: as
        :func:`photon_gpu.estimate_noise` finds it, kept with the movie; refused where it finds none.
    step : float
        Quantization step, sigma. 0.5 adds 2.1 % to the noise's variance, 1.0 adds 8.3 %.
    layout : {"plain", "compact", "lossless"}
        ``plain`` opens in any Zarr reader as stabilized values; ``compact`` is smaller and opens
        as counts where photon_gpu is installed; ``lossless`` keeps every bit.
    preset : {"fast", "balanced", "small"}
        How hard to try.
    predictor : str or Predictor, optional
        Fixes the predictor of ``compact`` instead of trying.
    compressor : str or Compressor, optional
        Fixes the Blosc settings, as in ``"zstd-5-bitshuffle"``.
    dither : int, optional
        Seed of a subtractive dither: no bias at any light level, for a little more noise.
    chunk_frames : int, optional
        Whole frames per chunk. Default: 100, or as many as fit 2 GiB.
    backend : {"auto", "numba", "cupy", "numpy"}
        ``"cupy"`` takes all GPUs, ``"cupy:0,2"`` those; ``"auto"`` one where the frames lie there.
    overwrite : bool
        Replace the movie that is there; the old one goes once the new one is whole. A folder that is no
        movie, holds other files too, or is being written is refused. A symbolic link stays, and the movie it
        leads to is replaced.
    resume : bool
        Go on where an encode of the same movie with the same settings was killed. A chunk that it finished is
        kept if its file is whole and the source's frames have the checksum they had then; if the source was
        changed, its chunks are encoded again, and a PhotonWarning says so. Nothing there: begin. A failure
        then leaves what was written, to be resumed again.
    workers : int, optional
        Threads. Default: one per core.
    budget_bytes : int
        Memory for chunks in flight: at most ``max(1, budget_bytes // (3*chunk))`` are, of
        ``chunk`` raw bytes each. One that is compressed may be written beside them.
    progress : callable, optional
        ``progress(frames_written, frames_in_all)``.
    storage_options : dict, optional
        For fsspec.
    attributes : dict, optional
        More JSON to keep in ``.zattrs``, after photon_gpu's own keys.
    trust_noise : bool
        Take a stated noise model as it is, unmeasured.
    check : {False, True, "full", "sample"}
        True, the default: read every chunk back before the movie is published, and run the cheap lines of
        :func:`photon_gpu.fidelity` on a sample. "full": also hold every pixel against the source.
        "sample": only run the lines, on the bytes that go to the store.
        Damage is an error, and nothing is kept. Where a line fails, the movie is kept and says so
        (``report.failed``, ``.zattrs``), and a :class:`photon_gpu.FidelityWarning` names it; where that
        warning is made an error, nothing is kept. Chunks of frames on a GPU are only read back.
    delete_source : bool
        Delete the source file (.npy or TIFF) once a full check has found nothing. Refused where the file
        holds anything that the store would not (metadata, further images), or is a link.

    Returns
    -------
    EncodeReport

    Raises
    ------
    InvalidInputError, UnsupportedTypeError
        The movie or a parameter cannot be encoded as asked. NoiseContradictionError: the stated noise model
        contradicts the movie.
    StoreExistsError
        Something is there already, or somebody else is writing there.
    CorruptDataError
        The source is damaged.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> counts = np.random.default_rng(1).poisson(30.0, (20, 32, 32)).astype("uint16")
    >>> report = pg.encode(counts, "memory://doc.zarr", layout="compact", overwrite=True)
    >>> movie = pg.open("memory://doc.zarr")
    >>> bool(abs(movie[3] - pg.anscombe(counts[3])).max() <= 0.25)
    True
    """
    storage = destination(url, storage_options)
    threads = worker_count(workers)
    base = Encoding(layout=layout, noise=auto_noise.given(noise), step=step, dither=dither)
    fixed = Compressor.parse(compressor) if isinstance(compressor, str) else compressor
    if isinstance(budget_bytes, bool) or not budget_bytes >= 1:
        raise InvalidInputError(f"budget_bytes is {budget_bytes!r}; a positive number of bytes is needed")
    mode = check_mode(check, delete_source)
    check_choice(preset, predictor)
    if resume and overwrite:
        raise InvalidInputError("resume goes on from what is there, overwrite replaces it: give one of them")
    if resume and mode == "full":
        raise InvalidInputError(
            "check='full' holds every pixel against the source, and resume does not see again what it keeps: "
            "resume with check=True, then compare the whole with photon_gpu.fidelity"
        )
    given = isinstance(source, Source)
    movie = open_source(source, missing=missing)
    attributes = with_lost(attributes, movie.lost)
    try:
        goes = Deletable(movie) if delete_source else None
        accepted = accept(
            movie,
            storage,
            base,
            backend=backend,
            preset=preset,
            chunk_frames=chunk_frames,
            attributes=attributes or {},
        )
        frames = accepted.chunk[0]
        if mode == "sample" and movie.device is not None:
            mode = False
        if mode == "full" and movie.device is not None:
            raise InvalidInputError(
                "check='full' compares every pixel, and frames on a GPU are never sent down unasked: "
                "frames.get() does"
            )
        with Claim(storage, overwrite=overwrite, resume=resume, noted=True) as claim:
            start = time.perf_counter()
            stages = Stages()
            with stages.timed("estimate"):
                settled = auto_noise.settle(movie, accepted.encoding, noise, attributes, trust=trust_noise)
            settled.warn()
            accepted = replace(accepted, encoding=settled.encoding)
            tuned = tune(
                movie,
                accepted,
                claim.target,
                claim.found.get("plan"),
                preset=preset,
                predictor=predictor,
                compressor=fixed,
                threads=threads,
                stages=stages,
            )
            choice, kind = tuned.choice, tuned.layout
            run = _Run(movie, claim.target, kind, frames, threads, int(budget_bytes), stages, progress)
            checker = Checker(mode, kind, claim.target, movie, run.chunk) if mode else None
            run.check = checker.chunk if checker else None
            if goes is not None and checker is not None:
                run.check = goes.seen_by(checker.chunk)
            run.keep(tuned.stored)
            texts: dict[str, bytes] = {}

            def note() -> None:
                # Synced while the first chunks are encoded, before one is written: without it none is ever
                # trusted.
                claim.note(plan=tuned.plan)
                texts.update(metadata.texts(movie.shape, run.chunk, kind, settled.attributes))

            with lent("photon-band", threads) as bands, lent("photon-chunk", run.in_flight + 1) as chunks:
                stored = run.all_chunks(chunks, Ranked(bands, threads), note)
                lines: tuple[ReportLine, ...] = ()
                if checker is not None:
                    with stages.timed("check"):
                        lines = checker.finish(run.files)
                    # Before the movie is published: where the warning is an error, nothing of it is kept.
                    verdict.warn(storage.url, lines, stacklevel=2)
                    if failed := verdict.to_keep(lines):
                        texts = metadata.texts(movie.shape, run.chunk, kind, settled.attributes, failed)
                stored += finish(claim, texts, run.files, stages, run.written)
            seconds = time.perf_counter() - start
        notes = [auto_noise.note(settled.attributes), *settled.notes]
        notes += [little_light(choice.mean, choice.encoding), movie.note(frames)]
        notes += [lost_note(movie.lost), claim.note_of_link]
        if goes is not None:
            notes.append(drop_source(goes, movie, storage, lines))
        if check == "sample" and not mode:
            notes.append("not checked: frames on a GPU are never sent down unasked")
        if run.replaced:
            notes.append(
                f"{run.replaced} chunks that were there were not what the source gives now, and were replaced"
            )
        if run.kept:
            notes.append(f"{run.kept} chunks were there already, and whole")
        if chunk_frames is None and frames < min(100, movie.shape[0]):
            notes.append(f"chunks hold {frames} frames, not 100: one Blosc frame holds at most 2 GiB")
        return EncodeReport(
            source=movie.name,
            url=storage.url,
            shape=movie.shape,
            encoding=choice.encoding,
            preset=preset,
            chunk_frames=frames,
            raw_bytes=movie.nbytes,
            stored_bytes=stored,
            seconds=seconds,
            compile_seconds=accepted.compile_seconds,
            stages=dict(stages.seconds),
            backend=accepted.backend.name,
            why=accepted.backend.why,
            workers=threads,
            notes=tuple(note for note in notes if note),
            checked=checker.said(lines) if checker else "",
            checks=tuple(line.to_dict() for line in lines),
        )
    finally:
        if not given:
            movie.close()


def finish(
    claim: Claim,
    texts: dict[str, bytes],
    files: dict[str, list[Any]],
    stages: Stages,
    written: Callable[[], object] | None = None,
) -> int:
    """Write manifest and :func:`photon_gpu.store.metadata.texts` after ``written``; return their bytes."""
    last = {manifest.NAME: manifest.pack(files, texts), **texts}
    with stages.timed("write"):
        claim.publish(list(last.items()), written)
    return sum(map(len, last.values()))


class _Run:
    """The chunks of one movie on their way: a reader, compute threads, and writers, at once."""

    def __init__(
        self,
        movie: Source,
        target: Storage,
        layout: Layout,
        frames: int,
        threads: int,
        budget_bytes: int,
        stages: Stages,
        progress: Progress | None,
    ) -> None:
        self.chunk = (frames, *movie.shape[1:])
        self.files: dict[str, list[Any]] = {}
        self._movie, self._target, self._layout, self._frames = movie, target, layout, frames
        self._stages, self._progress = stages, progress
        raw = math.prod(self.chunk) * movie.dtype.itemsize
        # Raw values, codes and compressed bytes of a chunk stay below three times its raw size.
        devices = layout.backend.gpu.chunks_in_flight if layout.backend.gpu else 0
        self.in_flight = max(1, min(threads + 2 + devices, budget_bytes // (3 * raw)))
        self.check: Callable[[str, int, bytes, NDArray], None] | None = None
        self._note: Callable[[], object] | None = None
        self._note_error: BaseException | None = None
        self._noting = threading.Lock()
        self._lock = threading.Lock()
        self._outside = threading.Semaphore()
        self._events: SimpleQueue[tuple[int, int] | BaseException] = SimpleQueue()
        self._encoded: set[int] = set()  # and not written yet
        self.kept = self.replaced = 0  # chunks that an earlier encode had written
        self._frames_crcs: dict[str, str] = {}
        self._present: frozenset[str] = frozenset()
        self._began = time.monotonic()
        self._done = self._stored = 0
        self._listed = time.monotonic()
        self._list_seconds = 0.01  # what a listing takes; half a second before the first

    def keep(self, stored: Stored) -> None:
        """Take over what an earlier encode has stored; before :meth:`all_chunks`."""
        self.files.update(stored.files)
        self._frames_crcs.update(stored.frames)
        self._present, self.kept = stored.present, len(stored.files)

    def all_chunks(self, chunks: ThreadPoolExecutor, bands: Ranked, note: Callable[[], object]) -> int:
        """Encode every chunk, and write all but the last ones; returns the bytes stored.

        ``note`` is called once, as soon as somebody has time for it; no chunk is written before it returned.
        A chunk makes room for the next once it is encoded, if none else is being written outside of that
        room.
        """
        total, self._note = self._movie.shape[0], note
        self._last = -(-total // self._frames) - self.in_flight
        pending: set[int] = set()
        for number, start in enumerate(range(0, total, self._frames)):
            if (known := self.files.get(metadata.chunk_name(number, len(self.chunk)))) is not None:
                self._done += min(self._frames, total - start)
                self._stored += known[0]
                continue
            # A single chunk, unless it is checked, takes less than twice its raw size: the next is read
            # meanwhile.
            if self.in_flight > 1 or self.check is not None:
                self._make_room(pending, self.in_flight)
            with self._stages.timed("read"):
                given = [self._movie.read(start, min(start + self._frames, total))]
            self._make_room(pending, self.in_flight)
            pending.add(number)
            chunks.submit(self._chunk, bands.of(number), number, start, given)
            del given
            if len(pending) == self.in_flight:
                self._noted()
        self._noted()
        self._make_room(pending, 1)
        return self._stored

    def _noted(self) -> None:
        """Ensure the resume plan is saved; the first caller saves it."""
        with self._noting:
            if self._note_error is not None:
                raise self._note_error
            try:
                if self._note is not None:
                    self._note()
                    self._note = None
            except BaseException as error:
                self._note_error = error
                raise

    def _make_room(self, pending: set[int], most: int) -> None:
        """Wait until fewer than so many chunks are being encoded."""
        while len(pending) >= most:
            self._collect(pending)
            if time.monotonic() - self._listed > min(_LIST_SECONDS, self._list_seconds / _LIST_SHARE):
                self._list()

    def _collect(self, pending: set[int]) -> None:
        """Wait for the next chunk that is encoded, or written."""
        # Not concurrent.futures.wait: interrupted, it keeps locks of futures, and their workers hang.
        event = self._events.get()
        if isinstance(event, BaseException):
            raise event
        number, frames = event
        pending.discard(number)
        self._done += frames
        if self._progress is not None and frames:
            self._progress(self._done, self._movie.shape[0])

    def _list(self) -> None:
        """What resume trusts: chunks listed here and found to agree."""
        began = time.monotonic()
        with self._lock:
            unwritten = {metadata.chunk_name(number, len(self.chunk)) for number in self._encoded}
            listed = {name: self.files[name] for name in self.files.keys() - unwritten}
            crcs = {name: crc for name, crc in self._frames_crcs.items() if name in listed}
        index = manifest.pack(listed, frames=crcs)
        self._target.write(manifest.NAME, index)
        self._listed = time.monotonic()
        self._list_seconds = self._listed - began

    def written(self) -> None:
        """Wait until the last chunks are written, which they are while the manifest is made."""
        while self._done < self._movie.shape[0]:
            self._collect(set())

    def _chunk(self, run: Map, number: int, start: int, given: list[NDArray]) -> None:
        aside = False
        try:
            values, frames = given[0], len(given[0])
            data = self._layout.encode(values, self.chunk, first_frame=start, run=run, stages=self._stages)
            name, entry = metadata.chunk_name(number, len(self.chunk)), manifest.entry(data)
            crc = self._frames_crc(values)
            with self._lock:
                self.files[name] = entry
                if crc is not None:
                    self._frames_crcs[name] = crc
                self._encoded.add(number)
                self._stored += len(data)
            if self.check is None:
                given.clear()
                del values
                aside = self._outside.acquire(blocking=self.in_flight == 1)
                # Beside the last chunks nothing more is encoded, so what comes after them need not wait.
                if aside or number >= self._last:
                    self._events.put((number, 0))
            self._noted()
            with self._stages.timed("write"):
                if name in self._present and self._target.read(name) == data:
                    with self._lock:
                        self.kept += 1
                else:
                    self._target.write(name, data, listed=False)
                    with self._lock:
                        self.replaced += name in self._present
            if self.check is not None:
                with self._stages.timed("check"):
                    self.check(name, start, data, values)
            with self._lock:
                self._encoded.discard(number)
            self._events.put((number, frames))
        except BaseException as error:
            self._events.put(error)
        finally:
            if aside:
                self._outside.release()

    def _frames_crc(self, values: NDArray) -> str | None:
        """CRC of a chunk's raw frames; None for a short encode or frames on a GPU, which list none."""
        if self._movie.device is not None or time.monotonic() - self._began < min(
            _CRC_SECONDS, _LIST_SECONDS
        ):
            return None
        return frames_crc(values)


__all__ = ["Backend", "encode", "finish"]
