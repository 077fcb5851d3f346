"""Recording into a table while frames come: chunks first, the row at the end."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from photon_gpu.check import verdict
from photon_gpu.check.fidelity.chunk_sample import ChunkSample
from photon_gpu.dj.address import movie_path
from photon_gpu.dj.codec import PhotonCodec, PhotonCompactCodec, resolve_store
from photon_gpu.dj.marks import mark_location
from photon_gpu.dj.row import Recorded, make_row
from photon_gpu.dj.stores import storage_at, store_backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.dispatch import get_backend
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.pool import parallel, worker_count
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import InvalidInputError, PhotonWarning, StoreExistsError
from photon_gpu.estimate.noise_check import judge_noise
from photon_gpu.sources.array import ArraySource
from photon_gpu.store import manifest, metadata
from photon_gpu.store.chunk_grid import chunk_name
from photon_gpu.store.claim import Claim
from photon_gpu.store.ownership import remove_own
from photon_gpu.store.storage import Storage
from photon_gpu.writer.auto_noise import AUTO, given, settle
from photon_gpu.writer.encode import finish
from photon_gpu.writer.movie_id import identified
from photon_gpu.writer.tuning import choose
from photon_gpu.writer.warmup import warm_up

_CHECK_SECONDS = 60.0

#: In the folder of a movie whose recording has not come to its row: what is to become of it.
JOURNAL = ".photon-recording"
#: Beside it once the first chunk was encoded: how.
ENCODING = ".photon-encoding"


@dataclass(frozen=True)
class Column:
    """One ``<photon@store>`` column of a table, and where it keeps movies."""

    table: Any
    field: str
    layout: str
    store: str
    backend: Any

    @classmethod
    def of(cls, table: Any, field: str) -> Column:
        """The column, or an error that says which there are."""
        table = table() if isinstance(table, type) else table
        attribute = table.heading.attributes.get(field)
        codec = getattr(attribute, "codec", None)
        if not isinstance(codec, PhotonCodec | PhotonCompactCodec):
            raise InvalidInputError(
                f"{table.full_table_name} has no movie column {field!r}; it has {columns_of(table) or 'none'}"
            )
        config = table.connection._config
        store = resolve_store(attribute.store, config)
        return cls(table, field, codec.layout, store, store_backend(store, config))

    def path(self, key: Mapping[str, Any], token: str | None = None) -> str:
        """Path of a row's movie."""
        return movie_path(
            self.table.database,
            self.table.table_name,
            key,
            self.field,
            token=token,
            prefix=self.backend.spec["schema_prefix"],
            partition=self.backend.spec.get("partition_pattern"),
        )


def columns_of(table: Any) -> list[str]:
    """Names of a table's movie columns."""
    kinds = PhotonCodec | PhotonCompactCodec
    return [
        name for name, attribute in table.heading.attributes.items() if isinstance(attribute.codec, kinds)
    ]


def record(
    table: Any,
    key: Mapping[str, Any],
    field: str,
    *,
    frame_shape: tuple[int, ...],
    dtype: DTypeLike,
    noise: NoiseModel | str | None = None,
    step: float = 0.5,
    preset: str = "balanced",
    predictor: str | Predictor | None = None,
    compressor: str | Compressor | None = None,
    dither: int | None = None,
    chunk_frames: int | None = None,
    backend: str = "auto",
    workers: int | None = None,
    trust_noise: bool = False,
) -> Live:
    """Record a movie into its place, frame by frame, and insert the row on a clean exit.

    Parameters
    ----------
    table : datajoint table
    key : mapping
        The row without the movie: primary key, and other attributes as needed.
    field : str
        Name of the ``<photon@store>`` or ``<photon_compact@store>`` column.
    frame_shape : tuple of int
        ``(..., H, W)``.
    dtype : dtype-like
        Of the frames.
    noise, step, preset, predictor, compressor, dither, chunk_frames, backend, workers
        As for :func:`photon_gpu.encode`; what is tried is tried on the first chunk. So is the noise model:
        it is estimated there, unless it is stated. Where that cannot be done every bit is kept (layout
        lossless); where the movie contradicts a stated model the recording goes on. Both are a PhotonWarning
        once the row is inserted, and stand in ``warnings`` at once.
    trust_noise : bool
        Take a stated noise model as it is, unmeasured.

    Returns
    -------
    Live
        To be used in a ``with`` block.

    Notes
    -----
    An error inside the block inserts nothing and deletes nothing: the frames that were
    stored stay, and :func:`photon_gpu.dj.recover` finishes or removes the recording. So does a
    :class:`photon_gpu.FidelityWarning` that was made an error, where the check of a sample fails.
    """
    column = Column.of(table, field)
    try:
        json.dumps(_as_json(dict(key)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"the row cannot be kept as JSON until it is inserted: {error}; insert such attributes afterwards"
        ) from error
    missing = [name for name in column.table.primary_key if name not in key]
    if missing:
        raise InvalidInputError(f"the primary key needs {', '.join(missing)} too")
    base = Encoding(
        layout=column.layout, dtype=np.dtype(dtype).name, noise=given(noise), step=step, dither=dither
    )
    stated = None if given(noise) is None else trust_noise
    fixed = Compressor.parse(compressor) if isinstance(compressor, str) else compressor
    return Live(
        column,
        dict(key),
        tuple(frame_shape),
        base,
        stated,
        preset,
        predictor,
        fixed,
        chunk_frames,
        backend,
        workers,
    )


class Live:
    """A recording under way.

    Attributes
    ----------
    frames : int
        Frames appended.
    frames_stored : int
        Frames that lie in the store; a crash loses at most the others, less than a chunk.
    path : str
        Where, within the store.
    warnings : list of str
        What should be mended, such as a stated noise model that the movie contradicts.
    """

    def __init__(
        self,
        column: Column,
        row: dict[str, Any],
        frame_shape: tuple[int, ...],
        base: Encoding,
        trusted: bool | None,
        preset: str,
        predictor: str | Predictor | None,
        compressor: Compressor | None,
        chunk_frames: int | None,
        backend: str,
        workers: int | None,
    ) -> None:
        self._column, self._row, self._base = column, row, base
        self._trusted = trusted  # None where no noise model was stated
        self._attributes: dict[str, Any] = {}
        self.warnings: list[str] = []
        self._preset, self._predictor, self._compressor = preset, predictor, compressor
        self._backend = get_backend(backend)
        self._map = parallel(worker_count(workers))
        self._given = chunk_frames
        self._frame_shape = frame_shape
        self._waiting: list[NDArray] = []
        self._files: dict[str, list[Any]] = {}
        self._stages = Stages()
        self._sample = ChunkSample()
        self._layout: Layout | None = None
        # A recording has no length yet; the longest that could be gives the usual chunk.
        self._chunk_frames = layout_for(base, self._backend).chunk_frames(
            chunk_frames, (1 << 40, *frame_shape)
        )
        warm_up(self._backend, base, preset)
        self.frames = 0
        self.frames_stored = 0
        self.path = ""

    def __enter__(self) -> Live:
        column, key = self._column, {name: self._row[name] for name in self._column.table.primary_key}
        if len(column.table & key):
            raise StoreExistsError(f"{column.table.full_table_name} has a row {key} already; delete it first")
        from datajoint.storage import generate_token

        mark_location(column.backend, column.store, column.table.connection)
        for token in (None, generate_token()):
            self.path = column.path(key, token)
            self._storage = storage_at(column.backend, self.path, column.store)
            self._claim = Claim(self._storage, overwrite=False)
            try:
                self._claim.__enter__()
                break
            except StoreExistsError:
                if token:
                    raise
        journal = {
            "row": _as_json(self._row),
            "field": column.field,
            "store": column.store,
            "path": self.path,
        }
        self._storage.create(JOURNAL, json.dumps(journal, indent=4).encode())
        return self

    def append(self, frames: ArrayLike) -> None:
        """Take one frame or several; returns once every full chunk is in the store.

        Parameters
        ----------
        frames : array_like
            ``frame_shape`` or ``(n, *frame_shape)``, of the dtype given.
        """
        block = np.asarray(frames)
        if block.shape == self._frame_shape:
            block = block[np.newaxis]
        if block.shape[1:] != self._frame_shape or block.ndim != len(self._frame_shape) + 1:
            raise InvalidInputError(
                f"frames of shape {block.shape} arrived; {self._frame_shape} or (n, "
                f"*{self._frame_shape}) is recorded"
            )
        if block.dtype != np.dtype(self._base.dtype):
            raise InvalidInputError(f"frames of {block.dtype} arrived; {self._base.dtype} is recorded")
        # Copied, since a camera will write the next frames into the same memory.
        self._waiting.append(np.array(block, order="C"))
        self.frames += len(block)
        while self.frames - self.frames_stored >= self._chunk_frames:
            self._store(self._chunk_frames)

    def _store(self, count: int) -> None:
        block = np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        values, rest = block[:count], block[count:]
        if self._layout is None:
            self._layout = self._begin(values)
        data = self._layout.encode(
            values, self._chunk, first_frame=self.frames_stored, run=self._map, stages=self._stages
        )
        name = chunk_name(len(self._files), len(self._chunk))
        self._storage.write(name, data)
        self._files[name] = manifest.entry(data)
        self._sample.add(len(self._files) - 1, self._layout, data, self._chunk, self.frames_stored, values)
        self._waiting = [rest] if len(rest) else []
        self.frames_stored += len(values)

    def _begin(self, values: NDArray) -> Layout:
        frames = min(self._chunk_frames, len(values)) if self._given is None else self._chunk_frames
        self._chunk = (frames, *self._frame_shape)
        choice = choose(
            ArraySource(values),
            self._settled(values),
            self._backend,
            preset=self._preset,
            chunk_frames=frames,
            predictor=self._predictor,
            compressor=self._compressor,
        )
        layout = layout_for(identified(choice, self._chunk, self._chunk, self._backend), self._backend)
        told = {
            "zarray": metadata.array_json(self._chunk, self._chunk, layout).decode(),
            "zattrs": metadata.attributes_json(layout, self._attributes).decode(),
        }
        self._storage.create(ENCODING, json.dumps(told).encode())
        return layout

    def _settled(self, values: NDArray) -> Encoding:
        """The encoding with its noise model; frames are never refused for it."""
        first, base = ArraySource(values, name=self._storage.url), self._base
        if self._trusted is None:
            # To a lossless layout no estimate is refused; it has no model where there is none.
            found = settle(first, base.but(layout="lossless"), AUTO, None)
            self._attributes = found.attributes
            if found.encoding.noise is None:
                self.warnings.append(
                    f"{self._storage.url}: no noise model could be estimated: every bit is kept"
                )
                return found.encoding
            return base.but(noise=found.encoding.noise)
        if not self._trusted and base.noise is not None and base.step is not None:
            severity, text = judge_noise(first, base.noise, base.step)
            self.warnings += [text] if severity in ("warn", "error") else []
        return base

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(
                f"{self.frames_stored} of {self.frames} frames of this recording lie at {self._storage.url}; "
                "photon_gpu.dj.recover(table) lists them, and finishes or removes the recording"
            )
            return
        if not self.frames:
            remove_own(self._storage, ours=True, also=(JOURNAL, ENCODING))
            raise InvalidInputError("no frame was appended, so there is no movie; no row was inserted")
        if self._waiting:
            self._store(self.frames - self.frames_stored)
        assert self._layout is not None
        shape = (self.frames, *self._frame_shape)
        lines = self._sample.finish(self.frames, _CHECK_SECONDS)
        texts = metadata.texts(shape, self._chunk, self._layout, self._attributes, verdict.to_keep(lines))
        finish(self._claim, texts, self._files, self._stages)
        verdict.warn(self._storage.url, lines, stacklevel=2)  # an error inserts nothing, as any other
        insert_recorded(self._column, self._row, self._storage, self.path)
        for text in self.warnings:
            warnings.warn(text, PhotonWarning, stacklevel=2)


def insert_recorded(column: Column, row: Mapping[str, Any], storage: Storage, path: str) -> None:
    """Insert the row of a movie that is whole, then forget the journal."""
    recorded = Recorded(make_row(storage, path=path, store=column.store))
    column.table.insert1({**row, column.field: recorded}, allow_direct_insert=True)
    storage.delete(ENCODING)
    storage.delete(JOURNAL)


def _as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as the journal keeps it; what JSON has no word for, as the text the database takes."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()} | {
        name: str(value)
        for name, value in row.items()
        if not isinstance(value, str | int | float | bool | None | np.generic | dict | list)
    }
