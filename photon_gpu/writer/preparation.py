"""Check a movie and tune its settings before its first chunk, on one machine or a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from photon_gpu.encode_settings import EncodeSettings
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.lazy_property import lazy_property
from photon_gpu.engine.runtime.pool import parallel
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import PhotonError
from photon_gpu.sources.base import Source
from photon_gpu.store import metadata
from photon_gpu.store.destination import refuse_source
from photon_gpu.store.storage import Storage
from photon_gpu.writer.compression_tuning import EncodingChoice, choose
from photon_gpu.writer.movie_id import identified
from photon_gpu.writer.resume import StoredChunks, plan_of, stored_chunks
from photon_gpu.writer.warmup import warm_up


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Facts about a movie that can be stored, before tuning.

    Attributes
    ----------
    backend : Backend
    encoding : Encoding
        Encoding of the movie's dtype, before tuning.
    chunk : tuple of int
        Shape of a chunk.
    compile_seconds : float
    """

    backend: Backend
    encoding: Encoding
    chunk: tuple[int, ...]
    compile_seconds: float


def accept(movie: Source, storage: Storage, settings: EncodeSettings) -> Accepted:
    """Refuse a movie that cannot be stored, and compile the kernels for one that can.

    Raises
    ------
    InvalidInputError
        The movie is read from where it would be written, or its dtype, chunks or attributes cannot be stored.
    """
    refuse_source(movie.name, storage)
    backend = get_backend(settings.backend, on_gpu=movie.device is not None)
    encoding = settings.encoding(movie.dtype.name)
    layout = layout_for(encoding, backend)
    chunk = (layout.chunk_frames(settings.chunk_frames, movie.shape), *movie.shape[1:])
    metadata.check_extra(metadata.attributes_of(layout), settings.attributes)
    compiled = warm_up(backend, encoding, settings.preset)
    return Accepted(backend=backend, encoding=encoding, chunk=chunk, compile_seconds=compiled)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Movie with its tuned settings, and its chunks that are stored already.

    Attributes
    ----------
    choice : EncodingChoice
    layout : Layout
    movie : Source
    chunk : tuple of int
    stored : StoredChunks
        Chunks of an earlier encode.
    """

    choice: EncodingChoice
    layout: Layout
    movie: Source
    chunk: tuple[int, ...]
    stored: StoredChunks = field(default_factory=StoredChunks)

    @lazy_property
    def plan(self) -> dict[str, Any]:
        """Return the plan that a resumed encode must match; this reads some frames."""
        return plan_of(self.movie, self.layout, self.chunk)


def tune(
    movie: Source,
    accepted: Accepted,
    settings: EncodeSettings,
    target: Storage,
    earlier_plan: dict[str, Any] | None,
    *,
    stages: Stages,
) -> Tuned:
    """Choose the settings that were left open, and find the chunks of an earlier encode.

    Parameters
    ----------
    movie : Source
    accepted : Accepted
        Movie whose encoding has a noise model.
    settings : EncodeSettings
    target : Storage
        Folder of the chunks.
    earlier_plan : dict or None
        Plan of the encode to resume.
    stages : Stages
    """
    with stages.timed("tune"):
        choice = choose(
            movie,
            accepted.encoding,
            accepted.backend,
            settings,
            chunk_frames=accepted.chunk[0],
            run=parallel(settings.threads),
        )
    encoding = identified(choice, movie.shape, accepted.chunk, accepted.backend)
    choice = replace(choice, encoding=encoding if earlier_plan is None else _as_begun(encoding, earlier_plan))
    layout = layout_for(choice.encoding, accepted.backend)
    tuned = Tuned(choice=choice, layout=layout, movie=movie, chunk=accepted.chunk)
    if earlier_plan is None:
        return tuned
    return replace(tuned, stored=stored_chunks(target, earlier_plan, tuned.plan, movie))


def _as_begun(encoding: Encoding, earlier_plan: dict[str, Any]) -> Encoding:
    """Return the encoding with the movie identity of the earlier encode, which its chunks hold."""
    try:
        return encoding.but(movie_id=earlier_plan["attributes"].get(metadata.MOVIE_ID))
    except (PhotonError, KeyError, AttributeError, TypeError):
        return encoding  # This is no plan; the comparison of plans refuses it.
