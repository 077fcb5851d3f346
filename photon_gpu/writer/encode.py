"""Encode a movie: read, transform, compress and write at once, within a memory budget.

Chunks are written first, then the manifest, ``.zattrs``, and ``.zarray`` last, so a movie that opens is
complete. FORMAT.md, "Order of writing".
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from photon_gpu.check import warn_failed_checks
from photon_gpu.encode_settings import EncodeSettings, checked_noise, progress_call, tell_stage
from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.pool import Pool
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import InvalidInputError, PhotonWarning
from photon_gpu.progress_bar import Progress
from photon_gpu.recording import Recording
from photon_gpu.sources.missing_frames import lost_note, with_lost
from photon_gpu.sources.open import open_source
from photon_gpu.sources.select.open_options import SourceOptions, SourceRequest
from photon_gpu.sources.truncated_file import truncation_note, with_truncation
from photon_gpu.store import manifest, metadata, source_metadata
from photon_gpu.store.claim import Claim
from photon_gpu.store.destination import check_target, destination
from photon_gpu.store.ome_zarr.zarr2_view import in_container
from photon_gpu.store.owned_files import DECODER, decoder_program
from photon_gpu.store.source_metadata import with_recording
from photon_gpu.store.storage import Storage
from photon_gpu.writer import auto_noise, ome_zarr_axes_and_shards
from photon_gpu.writer.ome_zarr_axes_and_shards import check_container
from photon_gpu.writer.preparation import accept, tune
from photon_gpu.writer.read_back import Checker, check_mode
from photon_gpu.writer.report import EncodeReport, little_light, pyramid_note
from photon_gpu.writer.scheduler import ChunkScheduler
from photon_gpu.writer.source_deletion import Deletable, drop_source

if TYPE_CHECKING:
    from photon_gpu.check.fidelity.property_verdicts import ReportLine


def encode(
    source: Any,
    url: str | os.PathLike[str] | Storage,
    *,
    noise: NoiseModel | Sequence[NoiseModel] | str | None = None,
    step: float = 0.5,
    layout: str = "plain",
    preset: str = "balanced",
    predictor: str | Predictor | None = None,
    compressor: str | Compressor | None = None,
    dither: int | None = None,
    peaks: int | str = "auto",
    chunk_frames: int | None = None,
    backend: str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    budget_bytes: int = 512 << 20,
    progress: Progress | None = None,
    storage_options: dict[str, Any] | None = None,
    attributes: dict[str, Any] | None = None,
    trust_noise: bool = False,
    accept_processed: bool = False,
    check: bool | str = True,
    delete_source: bool = False,
    with_decoder: bool = False,
    container: str | None = None,
    pyramid: int = 0,
    **source_options: Unpack[SourceOptions],
) -> EncodeReport:
    """Store a movie at a fraction of its size; only detail far below its noise is lost.

    Parameters
    ----------
    source : array, path, URL or Source
        ``(T, ..., H, W)``; see :func:`photon_gpu.open_source`. Read chunk by chunk.
    url : str, path or Storage
        Destination: a folder or any fsspec URL. It must not exist, unless ``overwrite``.
    noise : NoiseModel, list of NoiseModel or "auto", optional
        Noise model of the detector. A stated model is compared with the movie: it is refused if it would add
        more than 10 % to the variance of the noise at any level of light, and more than 5 % is a
        PhotonWarning (docs/trust.md). ``"auto"``, the default of layouts that quantize, estimates it with
        :func:`photon_gpu.estimate_noise` and stores it with the movie; without an estimate it is an error.
    step : float
        Quantization step, sigma. 0.5 adds 2.1 % to the variance of the noise, 1.0 adds 8.3 %.
    layout : {"plain", "compact", "lossless"}
        ``plain`` opens in any Zarr reader as stabilized values; ``compact`` is smaller and opens as counts
        if photon_gpu is installed; ``lossless`` keeps every bit.
    preset : {"fast", "balanced", "small"}
        Number of candidates to try: ``fast`` tries few, ``small`` tries many.
    predictor : str or Predictor, optional
        Predictor of ``compact`` to use instead of trying several.
    compressor : str or Compressor, optional
        Blosc settings to use instead of trying several, such as ``"zstd-5-bitshuffle"``.
    dither : int, optional
        Seed of a subtractive dither, which removes the bias at every light level and adds a little noise.
    peaks : int or "auto"
        ``compact`` only: give this many photon peaks, from that of zero photons up, and the valleys between
        them, bins of their own (1 to 8; 0: none). For dark movies (below about 3 photons) of detectors that
        resolve single photons: more information at a smaller size (docs/dark.md). ``"auto"``, the
        default, chooses the number from a sample: 0 unless the values show the peaks where the noise model
        has them.
    chunk_frames : int, optional
        Whole frames per chunk. Default: 100, or as many as fit 2 GiB.
    backend : {"auto", "numba", "cupy", "numpy"}
        ``"cupy"`` uses all GPUs, ``"cupy:0,2"`` these two; ``"auto"`` uses a GPU if the frames are on one.
    overwrite : bool
        Replace an existing movie once the new one is complete. A folder that is no movie, holds other files,
        or is being written is refused. If it is a symbolic link, its target is replaced.
    resume : bool
        Continue a killed encode of the same movie with the same settings, or begin if there is none. A
        finished chunk is kept if its file is whole and the frames of the source still have the same checksum.
        If the source was changed, its chunks are encoded again, with a PhotonWarning. After another failure
        the encode can be resumed again.
    workers : int, optional
        Threads. Default: one per core.
    budget_bytes : int
        Memory for chunks in progress: at most ``max(1, budget_bytes // (3*chunk))`` chunks of ``chunk`` raw
        bytes each. One more compressed chunk may be written at the same time.
    progress : callable, optional
        ``progress(frames_written, frames_in_all)``.
    storage_options : dict, optional
        Options of the fsspec filesystem.
    attributes : dict, optional
        Further JSON values for ``.zattrs``, after photon_gpu's own keys.
    trust_noise : bool
        Use a stated noise model without comparing it with the movie.
    accept_processed : bool
        Quantize a movie although the estimate names it as processed (rescaled, stretched, cut off, filled
        in). Without it that is an error. The store names what was accepted.
    check : {False, True, "full", "sample"}
        True, the default: read back every chunk before the movie is published, and compute the cheap lines of
        :func:`photon_gpu.fidelity` on a sample. "full": also compare every pixel with the source. "sample":
        only compute the lines, from the bytes that are written. Damage is an error, and nothing is kept. If a
        line fails, the movie is kept and marked as failing (``report.failed``, ``.zattrs``), and a
        :class:`photon_gpu.FidelityWarning` names the line; if that warning is made an error, nothing is kept.
        Chunks of frames on a GPU are only read back.
    delete_source : bool
        Delete the source file (.npy or TIFF) after a full check has passed. Refused if the file is a link, or
        holds anything that the store does not (further images, bytes that nothing points to).
    with_decoder : bool
        Store ``photon_decode.py`` with the movie, which decodes it with Python, NumPy and zstandard alone:
        ``python movie.zarr/photon_decode.py movie.zarr out.npy``. An OME-Zarr movie has it in its folder
        ``0``.
    container : {"folder", "ome-zarr"}, optional
        ``"folder"`` is a Zarr v2 array; ``"ome-zarr"`` an OME-Zarr 0.5 image (Zarr v3) in shards, whose name
        ends in ``.ome.zarr``. Default: what the name implies. An OME-Zarr movie keeps the compressed bytes of
        a shard in memory, of 250 MB of raw frames or one chunk; ``resume`` keeps whole shards.
    pyramid : int
        Number of further levels of an OME-Zarr movie, for viewers: each has half of the rows and columns of
        the one before, averaged over counts. They are written from the stored chunks once all are there.
    **source_options
        Options of :func:`photon_gpu.open_source`: ``axes``, ``channels``, ``planes``, ``channel``, ``plane``,
        ``frames``, ``missing``, ``dataset``, ``series``, ...

    Returns
    -------
    EncodeReport

    Raises
    ------
    InvalidInputError, UnsupportedTypeError
        A setting or the movie is not allowed. NoiseContradictionError: the movie contradicts the stated noise
        model.
    StoreExistsError
        The destination exists, or another process is writing there.
    CorruptDataError
        The source is damaged.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> counts = np.random.default_rng(1).poisson(30.0, (20, 32, 32)).astype("uint16")
    >>> options = {"noise": pg.NoiseModel(), "layout": "compact", "overwrite": True}
    >>> report = pg.encode(counts, "memory://doc.zarr", **options)
    >>> movie = pg.open("memory://doc.zarr")
    >>> bool(abs(movie[3] - pg.anscombe(counts[3])).max() <= 0.25)
    True
    """
    settings = EncodeSettings(
        noise=checked_noise(noise),
        step=step,
        layout=layout,
        preset=preset,
        predictor=predictor,
        compressor=compressor,
        dither=dither,
        peaks=peaks,
        chunk_frames=chunk_frames,
        backend=backend,
        workers=workers,
        budget_bytes=budget_bytes,
        trust_noise=trust_noise,
        accept_processed=accept_processed,
        check=check,
        attributes={} if attributes is None else attributes,
        with_decoder=with_decoder,
        pyramid=pyramid,
    )
    return encode_with(
        settings,
        SourceRequest.of(source, source_options),
        in_container(destination(url, storage_options), container),
        overwrite=overwrite,
        resume=resume,
        progress=progress,
        delete_source=delete_source,
    )


def encode_with(
    settings: EncodeSettings,
    source: Any,
    storage: Storage,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    delete_source: bool = False,
) -> EncodeReport:
    """Encode a movie with prepared settings; :func:`encode` makes them from its arguments."""
    check_target(overwrite=overwrite, resume=resume)
    mode = check_mode(settings, resume=resume, delete_source=delete_source)
    progress = progress_call(progress)
    threads = settings.threads
    movie = open_source(source)
    try:
        recording = source_metadata.of_source(movie)
        attributes = with_recording(settings.attributes, recording)
        attributes = with_truncation(with_lost(attributes, movie.lost), movie.truncation)
        settings = settings.replace(attributes=attributes)
        goes = Deletable(movie) if delete_source else None
        check_container(
            storage,
            movie.recording,
            movie.shape,
            settings,
        )
        accepted = accept(movie, storage, settings)
        frames = accepted.chunk[0]
        if mode == "sample" and movie.device is not None:
            mode = False
        if mode == "full" and movie.device is not None:
            raise InvalidInputError(
                "check='full' compares every pixel in host memory, and these frames are on a GPU: "
                "pass frames.get(), or another check"
            )
        with Claim(storage, overwrite=overwrite, resume=resume, notes_first=True) as claim:
            start = time.perf_counter()
            stages = Stages()
            tell_stage(
                progress, "estimating the noise" if settings.stated_noise is None else "reading a sample"
            )
            with stages.timed("estimate"):
                settled = auto_noise.settle(movie, accepted.encoding, settings)
            settled.warn()
            accepted = replace(accepted, encoding=settled.encoding)
            tell_stage(progress, "trying settings on a sample")
            tuned = tune(movie, accepted, settings, claim.target, claim.earlier.get("plan"), stages=stages)
            choice, layout = tuned.choice, tuned.layout
            for text in choice.warnings:
                warnings.warn(text, PhotonWarning, stacklevel=3)
            scheduler = ChunkScheduler(
                movie, claim.target, layout, frames, threads, settings.budget_bytes, stages, progress
            )
            group = ome_zarr_axes_and_shards.group_of(
                claim.target, storage.root, movie, recording, layout, settings.pyramid
            )
            facts = ome_zarr_axes_and_shards.begin(
                claim.target,
                group,
                movie.shape,
                scheduler.chunk,
                movie.dtype,
                tuned.stored.files,
                settings.pyramid,
            )
            checker = Checker(mode, layout, claim.target, movie, scheduler.chunk) if mode else None
            scheduler.check = checker.chunk if checker else None
            if goes is not None and checker is not None:
                scheduler.check = goes.seen_by(checker.chunk)
            scheduler.keep_stored(tuned.stored)
            texts: dict[str, bytes] = {}

            def save_plan() -> None:
                # The scheduler calls this while it encodes the first chunks, before it writes one.
                claim.note(plan=tuned.plan, **facts)
                texts.update(metadata.texts(movie.shape, scheduler.chunk, layout, settled.attributes))

            with (
                Pool("photon-write", scheduler.in_flight + 1) as writers,
                Pool("photon-encode", threads) as encoders,
            ):
                stored = scheduler.encode_chunks(encoders, writers, save_plan)
                lines: tuple[ReportLine, ...] = ()
                if checker is not None:
                    with stages.timed("check"):
                        lines = checker.finish(scheduler.files)
                    # Warn before the movie is published: if the warning is an error, nothing is kept.
                    warn_failed_checks.warn(storage.url, lines, stacklevel=3)
                    if failed := warn_failed_checks.to_keep(lines):
                        texts = metadata.texts(
                            movie.shape, scheduler.chunk, layout, settled.attributes, failed
                        )
                levels: dict[str, list[Any]] = {}
                if settings.pyramid:
                    scheduler.wait_until_written()
                    tell_stage(progress, "averaging pyramid levels")
                    at_once = min(threads, scheduler.in_flight) - 1  # beside this thread
                    with stages.timed("pyramid"), Pool("photon-average", max(1, at_once)) as averagers:
                        levels = ome_zarr_axes_and_shards.write_levels(
                            claim.target,
                            metadata.describe(texts[metadata.ARRAY], texts[metadata.ATTRIBUTES], storage.url),
                            scheduler.files,
                            settings,
                            run=averagers.map if at_once else map,
                        )
                stored += sum(size for size, _ in levels.values())
                if movie.truncation is not None:
                    movie.truncation.refuse_growth()
                stored += finish(
                    claim,
                    texts,
                    scheduler.files,
                    stages,
                    scheduler.wait_until_written,
                    beside_files(recording, settings),
                )
            seconds = time.perf_counter() - start
        notes = [auto_noise.note(settled.attributes), *settled.notes]
        notes += [little_light(choice.mean, choice.encoding), movie.note(frames)]
        notes.append(pyramid_note(levels, movie.nbytes, stored))
        notes += [lost_note(movie.lost), truncation_note(attributes), claim.note_of_link, *recording.notes()]
        if goes is not None:
            notes.append(drop_source(goes, movie, storage, lines))
        if settings.check == "sample" and not mode:
            notes.append("not checked: frames on a GPU are not copied to the host")
        if scheduler.replaced:
            notes.append(
                f"{scheduler.replaced} stored chunks differed from the frames of the source, "
                "and were replaced"
            )
        if scheduler.kept:
            notes.append(f"{scheduler.kept} chunks were there already, and whole")
        if settings.chunk_frames is None and frames < min(100, movie.shape[0]):
            notes.append(f"chunks hold {frames} frames, not 100: one Blosc frame holds at most 2 GiB")
        return EncodeReport(
            source=movie.name,
            url=storage.url,
            shape=movie.shape,
            encoding=choice.encoding,
            preset=settings.preset,
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
            checked=checker.summary(lines) if checker else "",
            checks=tuple(line.to_dict() for line in lines),
        )
    finally:
        if movie is not source:
            movie.close()


def beside_files(recording: Recording, settings: EncodeSettings) -> dict[str, bytes]:
    """Return the files of a movie that are neither chunks nor metadata of the format, by name."""
    words = source_metadata.pack(recording)
    files = {} if words is None else {source_metadata.NAME: words}
    return {**files, DECODER: decoder_program()} if settings.with_decoder else files


def finish(
    claim: Claim,
    texts: dict[str, bytes],
    files: dict[str, list[Any]],
    stages: Stages,
    written: Callable[[], object] | None = None,
    beside: dict[str, bytes] | None = None,
) -> int:
    """Write the files beside the chunks, manifest and texts after ``written``; return their bytes.

    ``texts`` is the result of :func:`photon_gpu.store.metadata.texts`, ``beside`` that of
    :func:`beside_files`.
    """
    beside = beside or {}
    entries = {name: manifest.entry(data) for name, data in beside.items()}
    last = {**beside, manifest.NAME: manifest.pack({**files, **entries}, texts), **texts}
    with stages.timed("write"):
        claim.publish(list(last.items()), written)
    return sum(map(len, last.values()))


__all__ = ["Backend", "encode", "finish"]
