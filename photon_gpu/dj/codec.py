"""DataJoint column types ``<photon@store>`` and ``<photon_compact@store>``.

DataJoint encodes a value before it knows whether the row can be inserted, and does
not delete it if the insert fails. Therefore a path that holds any file is never
written to: the movie goes beside it under a unique name, which the row records.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from datajoint.builtin_codecs import SchemaCodec
from datajoint.storage import generate_token

from photon_gpu.dj.marks_in_store import mark_insert
from photon_gpu.dj.path_from_key import movie_path
from photon_gpu.dj.row import Recorded, make_row, open_row
from photon_gpu.dj.stores import storage_at, store_backend
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import (
    InvalidInputError,
    NoiseContradictionError,
    PhotonWarning,
    StoreExistsError,
    UnsupportedTypeError,
)
from photon_gpu.estimate.noise_check import judge_noise
from photon_gpu.reader.movie import Movie
from photon_gpu.sources.base import Source
from photon_gpu.store.storage import Storage
from photon_gpu.writer.encode import encode_with
from photon_gpu.writer.movie_to_insert import MovieToInsert, movie

_ADVICE = "Insert photon_gpu.movie(array, noise='auto'), which measures it, or noise=NoiseModel(...)"

_log = logging.getLogger("photon_gpu")


class _Codec(SchemaCodec, register=False):  # type: ignore[call-arg]
    layout: str

    def validate(self, value: Any) -> None:
        """Refuse, before anything is written, a value that is not a movie."""
        if isinstance(value, np.ndarray | MovieToInsert | Movie | Recorded):
            return
        way_out = (
            f"photon_gpu.movie({value!r}, noise=...) streams it from there"
            if isinstance(value, str) or hasattr(value, "__fspath__")
            else "photon_gpu.movie(...) takes whatever photon_gpu.open_source opens"
        )
        raise UnsupportedTypeError(
            f"<{self.name}> takes an ndarray, photon_gpu.movie(...) or a fetched movie, "
            f"not {type(value).__name__}; {way_out}"
        )

    def encode(
        self,
        value: Any,
        *,
        key: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        store_name: str | None = None,
    ) -> dict[str, Any]:
        """Write the movie and return the row's JSON."""
        schema, table, field, primary_key = self._extract_context(key, context)
        config = self._codec_config(key, context)
        store = resolve_store(store_name, config)
        backend = store_backend(store, config)

        def path(token: str | None = None) -> str:
            return movie_path(
                schema,
                table,
                primary_key,
                field,
                token=token,
                prefix=backend.spec["schema_prefix"],
                partition=backend.spec.get("partition_pattern"),
            )

        if isinstance(value, Recorded):
            _check_recorded_path(value, path(), store)
            return value.row
        wanted = _wanted(value)
        mark_insert(backend, store)
        with wanted.open() as frames:
            if isinstance(value, np.ndarray):
                _check_counts(frames, wanted.step)

            def write(storage: Storage) -> None:
                settings = wanted.settings_for(self.layout)
                report = encode_with(settings, frames, storage, progress=wanted.progress)
                for note in report.notes:
                    _log.info("%s: %s", report.url, note)

            chosen = write_at_free_path(
                write, path, lambda text: storage_at(backend, text, store), whole_key=bool(primary_key)
            )
        return make_row(storage_at(backend, chosen, store), path=chosen, store=store)

    def decode(
        self, stored: Any, *, key: dict[str, Any] | None = None, context: dict[str, Any] | None = None
    ) -> Movie:
        """Open the movie of a row without a request to the store; indexing the movie reads it."""
        backend = store_backend(stored["store"], self._codec_config(key, context))
        return open_row(stored, storage_at(backend, stored["path"], stored["store"]))


class PhotonCodec(_Codec):
    """Column of movies in layout ``plain``: stabilized values for any Zarr reader, format 1.0."""

    name = "photon"
    layout = "plain"


class PhotonCompactCodec(_Codec):
    """Column of movies in layout ``compact``: smaller, for readers that have photon_gpu, format 2.4."""

    name = "photon_compact"
    layout = "compact"


def resolve_store(store_name: str | None, config: Any) -> str:
    """Name the store of a column; a default store is named too, so that rows do not depend on the default."""
    if store_name:
        return store_name
    if config is None:
        import datajoint

        config = datajoint.config
    default = config.stores.get("default")
    if not isinstance(default, str):
        raise InvalidInputError(
            "the column names no store and there is no default one; "
            "photon_gpu.dj.stores({...}, default='name') sets it"
        )
    return default


def write_at_free_path(
    write: Callable[[Storage], None],
    path: Callable[[str | None], str],
    storage: Callable[[str], Storage],
    *,
    whole_key: bool,
) -> str:
    """Write a movie to the documented path, or beside it if that path is in use; return the path.

    ``update1`` passes no complete primary key, so its movies always go beside that path.
    """
    if whole_key:
        try:
            write(storage(path(None)))
            return path(None)
        except StoreExistsError:
            _log.info("%s is taken; the movie goes beside it", storage(path(None)).url)
    beside = path(generate_token())
    write(storage(beside))
    return beside


def _wanted(value: Any) -> MovieToInsert:
    if isinstance(value, MovieToInsert):
        return value
    if isinstance(value, Movie):
        if value.step is None:
            raise InvalidInputError(
                f"{value!r} is lossless and has no step; insert "
                f"photon_gpu.movie(it.counts, noise=..., step=...) instead"
            )
        # The same model and step give the same codes, so the copy loses nothing.
        return movie(
            value.counts,
            noise=value.encoding.models if value.encoding.channels else value.noise,
            step=value.step,
            dither=value.encoding.dither,
            trust_noise=True,
        )
    # _check_counts has checked the noise already; a step finer than necessary is allowed.
    return movie(value, noise=NoiseModel(), trust_noise=True, check=False)


def _check_counts(frames: Source, step: float) -> None:
    """Refuse an array whose noise is not that of photon counts; accept one without measurable noise."""
    severity, text = judge_noise(frames, NoiseModel(), step, advice=_ADVICE)
    if severity == "error":
        raise NoiseContradictionError(text)
    if severity == "warn":
        warnings.warn(text, PhotonWarning, stacklevel=3)


def _check_recorded_path(value: Recorded, path: str, store: str) -> None:
    folder = path.rsplit("/", 1)[0]
    if value.row["path"].rsplit("/", 1)[0] != folder or value.row["store"] != store:
        raise InvalidInputError(
            f"this movie was recorded at {value.row['store']}:{value.row['path']}; it cannot become "
            f"the row of "
            f"{store}:{path}"
        )
