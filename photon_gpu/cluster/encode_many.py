"""Encode many movies on this machine or on a Dask cluster."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, Unpack

from photon_gpu.cluster.distributed_movie import MovieOnCluster, threads_of
from photon_gpu.cluster.report import ManyReport
from photon_gpu.encode_settings import (
    EncodeSettings,
    NoiseSetting,
    checked_noise,
    flag,
    progress_call,
    whole_number,
)
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.pool import Calls, Pool
from photon_gpu.errors import BatchError, InvalidInputError
from photon_gpu.sources.dask import DaskSource, misaligned
from photon_gpu.sources.open import open_source
from photon_gpu.sources.select.open_options import SourceOptions, SourceRequest
from photon_gpu.store.destination import check_target, destination
from photon_gpu.store.ome_zarr.zarr2_view import in_container
from photon_gpu.store.storage import Storage
from photon_gpu.writer.encode import encode_with
from photon_gpu.writer.ome_zarr_axes_and_shards import check_options
from photon_gpu.writer.report import EncodeReport

__all__ = ["ManyReport", "encode_many"]

MovieProgress = Callable[[str, int, int], None]
"""``progress(url, frames_done, frames_in_all)``, one call at a time."""

_MOST_AT_ONCE = 16


def encode_many(
    sources: Sequence[Any],
    urls: Sequence[str | os.PathLike[str] | Storage],
    *,
    client: Any = None,
    noise: NoiseModel | str | Sequence[NoiseModel | Sequence[NoiseModel] | str | None] | None = None,
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
    rechunk: bool = True,
    workers: int | None = None,
    at_once: int | None = None,
    progress: MovieProgress | bool = False,
    storage_options: dict[str, Any] | None = None,
    attributes: dict[str, Any] | None = None,
    trust_noise: bool = False,
    accept_processed: bool = False,
    check: bool = True,
    with_decoder: bool = False,
    pyramid: int = 0,
    **source_options: Unpack[SourceOptions],
) -> ManyReport:
    """Encode many movies; on a cluster, any free worker encodes the next chunk.

    Each movie is claimed, tuned once, written chunk by chunk, and published after its last chunk. The store
    is byte for byte that of :func:`photon_gpu.encode` on one machine. If a worker dies, other workers write
    its unfinished chunks. A movie that fails leaves nothing behind, and the other movies continue.

    Parameters
    ----------
    sources : sequence
        Sources for :func:`photon_gpu.open_source`. Workers open paths, URLs (all workers must reach them) and
        simulated movies themselves. Blocks of dask arrays stay on the cluster. Frames of other sources are
        read here and sent.
    urls : sequence of str, path or Storage
        Destinations, one per source, that all workers reach.
    client : distributed.Client, optional
        Default: this machine, one movie after the other, with all cores.
    noise : NoiseModel, "auto", or one per movie, optional
        Default: estimate each from its movie, as :func:`photon_gpu.encode` does. The entry of a movie may be
        a list of models, one per channel.
    rechunk : bool
        Rechunk dask blocks that are not aligned with chunks of whole frames, and report their number. False
        refuses such sources.
    workers : int, optional
        Threads per chunk. Default: 1 with a client, which keeps all cores busy with chunks; else one per
        core.
    at_once : int, optional
        Movies in progress at once, with a client. Default: two more than the cluster has threads, at most 16,
        so that chunks of other movies keep all workers busy while a movie is begun or published.
    progress : callable or bool
        ``progress(url, frames_done, frames_in_all)``; True draws bars on stderr.
    resume : bool
        Continue a killed encode of the same movies.
    **source_options
        Options of :func:`photon_gpu.open_source` for every source.
    check : bool
        Read back every chunk, and compare a sample with the source (the default). If a line fails, the movie
        is kept and marked as failing, and a :class:`photon_gpu.FidelityWarning` names the line. If that
        warning is made an error, the movie counts as failed and is removed.
    step, layout, preset, predictor, compressor, dither, peaks, chunk_frames, backend, overwrite, trust_noise
        See :func:`photon_gpu.encode`; they apply to all movies.
    accept_processed, storage_options, attributes, with_decoder, pyramid
        See :func:`photon_gpu.encode`; they apply to all movies.

    Returns
    -------
    ManyReport

    Raises
    ------
    BatchError
        Some movies could not be stored; its ``report`` lists them with the reasons, and the stored movies.
    InvalidInputError
        A setting is invalid for every movie.

    Examples
    --------
    >>> import photon_gpu as pg
    >>> movies = [pg.simulate(frames=20, height=16, width=16, seed=n) for n in range(2)]
    >>> report = pg.encode_many(movies, ["memory://many0.zarr", "memory://many1.zarr"], noise=movies[0].noise)
    >>> len(report.reports), report.raw_bytes
    (2, 20480)
    """
    targets = [in_container(destination(url, storage_options), None) for url in urls]
    models = _one_each(noise, len(sources))
    _check_targets(sources, targets)
    sources = [SourceRequest.of(source, source_options) for source in sources]
    check_target(overwrite=overwrite, resume=resume)
    flag("rechunk", rechunk)
    progress = progress if isinstance(progress, bool) else progress_call(progress) or False
    shared = EncodeSettings(
        step=step,
        layout=layout,
        preset=preset,
        predictor=predictor,
        compressor=compressor,
        dither=dither,
        peaks=peaks,
        chunk_frames=chunk_frames,
        backend=backend,
        # On a cluster, chunks of several movies keep the cores busy.
        workers=workers if client is None or workers is not None else 1,
        trust_noise=trust_noise,
        accept_processed=accept_processed,
        check=flag("check", check),
        attributes={} if attributes is None else attributes,
        with_decoder=with_decoder,
        pyramid=pyramid,
    )
    for target in targets:
        check_options(target, shared)
    settings = [shared.replace(noise=model) for model in models]
    if at_once is not None:
        whole_number("at_once", at_once, 1)
    way: dict[str, Any] = {"overwrite": overwrite, "resume": resume}
    start = time.perf_counter()
    with _ticks(progress, len(targets)) as tick:
        if client is None:
            facts = {"workers": 1, "threads": shared.threads}
            done = _here(sources, targets, settings, rechunk, tick, way)
        else:
            before = set(client.scheduler_info(n_workers=-1)["workers"])
            facts = {"workers": len(before), "threads": threads_of(client)}
            limit = at_once or min(facts["threads"] + 2, _MOST_AT_ONCE)
            # Enter the client's context once, here: it changes settings of the whole process, which threads
            # would not restore in order.
            with client.as_current():
                done = _there(client, sources, targets, settings, rechunk, limit, tick, way)
            facts["lost_workers"] = len(before - set(client.scheduler_info(n_workers=-1)["workers"]))
    report = ManyReport(
        reports=tuple(outcome for outcome in done if isinstance(outcome, EncodeReport)),
        failures={
            target.url: f"{type(outcome).__name__}: {outcome}"
            for target, outcome in zip(targets, done, strict=True)
            if not isinstance(outcome, EncodeReport)
        },
        seconds=time.perf_counter() - start,
        **facts,
    )
    if report.failures:
        errors = [outcome for outcome in done if isinstance(outcome, BaseException)]
        url, message = next(iter(report.failures.items()))
        raise BatchError(
            f"{len(errors)} of {len(done)} movies were not stored; the first: {url}: {message}", report
        ) from errors[0]
    return report


def _here(
    sources: Sequence[Any],
    targets: list[Storage],
    settings: list[EncodeSettings],
    rechunk: bool,
    tick: MovieProgress,
    way: dict[str, Any],
) -> list[EncodeReport | Exception]:
    """Encode the movies one by one, each with all cores."""
    done: list[EncodeReport | Exception] = []
    for source, target, own in zip(sources, targets, settings, strict=True):

        def progress(frames: int, total: int, url: str = target.url) -> None:
            tick(url, frames, total)

        try:
            if not rechunk:
                _refuse_misaligned(source, own)
            done.append(encode_with(own, source, target, progress=progress, **way))
        except Exception as error:
            done.append(error)
    return done


def _there(
    client: Any,
    sources: Sequence[Any],
    targets: list[Storage],
    settings: list[EncodeSettings],
    rechunk: bool,
    limit: int,
    tick: MovieProgress,
    way: dict[str, Any],
) -> list[EncodeReport | Exception]:
    """Encode the movies on the cluster; one local thread follows each movie in progress."""
    ahead = max(2, -(-2 * threads_of(client) // min(limit, len(targets))))
    runs = [MovieOnCluster(client, own, ahead=ahead, rechunk=rechunk) for own in settings]

    def one(n: int) -> EncodeReport:
        url = targets[n].url
        return runs[n].encode(
            sources[n], targets[n], tick=lambda frames, total: tick(url, frames, total), **way
        )

    with Pool("photon-movie", limit) as pool:
        movies = [pool.submit(copy_context().run, one, n) for n in range(len(targets))]
        try:
            for movie in movies:
                movie.wait()
        except BaseException:
            for movie in movies:
                movie.cancel()
            for run in runs:
                run.stop()
            raise
    return [_outcome(movie) for movie in movies]


def _outcome(movie: Calls) -> EncodeReport | Exception:
    error = movie.error
    if error is None:
        report: EncodeReport = movie.result()
        return report
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")  # Cancelled by the cluster.


def _refuse_misaligned(source: Any, settings: EncodeSettings) -> None:
    movie = open_source(source)
    if isinstance(movie, DaskSource):
        layout = layout_for(settings.encoding(movie.dtype.name), get_backend(settings.backend))
        frames = layout.chunk_frames(settings.chunk_frames, movie.shape)
        blocks = misaligned(movie.array.chunks, frames)
        if blocks.unaligned:
            raise InvalidInputError(
                f"{movie.name}: {blocks.sentence(frames)}; rechunk it, or give rechunk=True"
            )


def _one_each(noise: Any, movies: int) -> list[NoiseSetting]:
    models = [noise] * movies if noise is None or isinstance(noise, NoiseModel | str) else list(noise)
    if len(models) != movies:
        raise InvalidInputError(
            f"noise has {len(models)} entries for {movies} movies; one for all, or one per movie, is needed"
        )
    return [checked_noise(model) for model in models]


def _check_targets(sources: Sequence[Any], targets: list[Storage]) -> None:
    if (
        isinstance(sources, str | bytes | os.PathLike)
        or not hasattr(sources, "__len__")
        or hasattr(sources, "shape")
    ):
        raise InvalidInputError(
            f"sources is a {type(sources).__name__}; a list of movies is needed; pass [movie] for one"
        )
    if len(sources) != len(targets) or not targets:
        raise InvalidInputError(
            f"{len(sources)} sources and {len(targets)} urls; one url per source is needed"
        )
    seen: set[str] = set()
    for target in targets:
        if target.url in seen:
            raise InvalidInputError(f"{target.url} is listed twice in urls; each movie needs its own folder")
        seen.add(target.url)


@contextmanager
def _ticks(progress: MovieProgress | bool, movies: int) -> Iterator[MovieProgress]:
    """Return the progress callback: the caller's, or one that draws bars."""
    lock = threading.Lock()
    if callable(progress):

        def one_at_a_time(url: str, frames: int, total: int) -> None:
            with lock:
                progress(url, frames, total)

        yield one_at_a_time
        return
    if not progress:
        yield lambda url, frames, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True)) as bars:
        whole = bars.add_task(f"{movies} movies", total=movies)
        tasks: dict[str, Any] = {}

        def draw(url: str, frames: int, total: int) -> None:
            with lock:
                if url not in tasks:
                    tasks[url] = bars.add_task(url.rpartition("/")[2], total=total)
                bars.update(tasks[url], completed=frames, visible=frames < total)
                if frames == total:
                    bars.advance(whole)

        yield draw
