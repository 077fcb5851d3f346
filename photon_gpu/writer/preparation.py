"""Prepare a movie before its first chunk, on one machine or a cluster: refuse it or tune."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.dispatch import get_backend
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.pool import parallel
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import PhotonError
from photon_gpu.sources.base import Source
from photon_gpu.store import metadata
from photon_gpu.store.destination import refuse_source
from photon_gpu.store.storage import Storage
from photon_gpu.writer.movie_id import identified
from photon_gpu.writer.resume import Stored, plan_of, stored_chunks
from photon_gpu.writer.tuning import Choice, choose
from photon_gpu.writer.warmup import warm_up


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A movie that nothing speaks against.

    Attributes
    ----------
    backend : Backend
    encoding : Encoding
        Of the movie's dtype, before it is tuned.
    chunk : tuple of int
        Shape of a chunk.
    compile_seconds : float
    """

    backend: Backend
    encoding: Encoding
    chunk: tuple[int, ...]
    compile_seconds: float


def accept(
    movie: Source,
    storage: Storage,
    encoding: Encoding,
    *,
    backend: str,
    preset: str,
    chunk_frames: int | None,
    attributes: dict[str, Any],
) -> Accepted:
    """Refuse what cannot be stored before any work is done, and compile what the others need.

    Raises
    ------
    InvalidInputError
        The place is the movie's own, or its dtype, chunks or attributes cannot be.
    """
    refuse_source(movie.name, storage)
    chosen = get_backend(backend, on_gpu=movie.device is not None)
    base = encoding.but(dtype=movie.dtype.name)
    kind = layout_for(base, chosen)
    chunk = (kind.chunk_frames(chunk_frames, movie.shape), *movie.shape[1:])
    metadata.check_extra(metadata.attributes_of(kind), attributes)
    return Accepted(backend=chosen, encoding=base, chunk=chunk, compile_seconds=warm_up(chosen, base, preset))


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A movie with its settings, and what of it is stored already.

    Attributes
    ----------
    choice : Choice
    layout : Layout
    movie : Source
    chunk : tuple of int
    stored : Stored
        Chunks that are there already.
    """

    choice: Choice
    layout: Layout
    movie: Source
    chunk: tuple[int, ...]
    stored: Stored = field(default_factory=Stored)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What an encode that goes on must find the same; frames are read for it."""
        return plan_of(self.movie, self.layout, self.chunk)


def tune(
    movie: Source,
    accepted: Accepted,
    target: Storage,
    noted: dict[str, Any] | None,
    *,
    preset: str,
    predictor: str | Predictor | None,
    compressor: Compressor | None,
    threads: int,
    stages: Stages,
) -> Tuned:
    """Choose what was left open, and look at what an earlier encode, whose plan was ``noted``, has stored."""
    with stages.timed("tune"):
        choice = choose(
            movie,
            accepted.encoding,
            accepted.backend,
            preset=preset,
            chunk_frames=accepted.chunk[0],
            predictor=predictor,
            compressor=compressor,
            run=parallel(threads),
        )
    encoding = identified(choice, movie.shape, accepted.chunk, accepted.backend)
    choice = replace(choice, encoding=encoding if noted is None else _as_begun(encoding, noted))
    layout = layout_for(choice.encoding, accepted.backend)
    tuned = Tuned(choice=choice, layout=layout, movie=movie, chunk=accepted.chunk)
    if noted is None:
        return tuned
    return replace(tuned, stored=stored_chunks(target, noted, tuned.plan, movie))


def _as_begun(encoding: Encoding, noted: dict[str, Any]) -> Encoding:
    """The identity of an earlier encode's chunks, or none: its ingredients may have changed."""
    try:
        return encoding.but(movie_id=noted["attributes"].get(metadata.MOVIE_ID))
    except (PhotonError, KeyError, AttributeError, TypeError):
        return encoding  # what was noted is no plan, and is refused as such
