"""After a crash: the recordings that never came to their row."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from photon_gpu.dj.address import table_path
from photon_gpu.dj.record import ENCODING, JOURNAL, Column, columns_of, insert_recorded
from photon_gpu.dj.stored_movies import modified
from photon_gpu.dj.stores import storage_at
from photon_gpu.engine.dispatch import get_backend
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.store import manifest, metadata
from photon_gpu.store.chunk_grid import chunk_name
from photon_gpu.store.claim import MARKER, Claim
from photon_gpu.store.ownership import own_names, remove_own, some
from photon_gpu.store.storage import Storage
from photon_gpu.writer.auto_noise import KEY
from photon_gpu.writer.encode import finish

_ACTIONS = ("list", "finish", "remove")


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A recording that has no row.

    Attributes
    ----------
    row : dict
        The row it was begun for, without the movie.
    frames : int
        Frames that are whole in the store.
    lost : str
        What is not, and why; empty if nothing is.
    quiet_seconds : float
        Time since anything was written, by this machine's clock.
    done : str
        ``listed``, ``finished``, ``removed``, or ``busy``: written to a moment ago, so left alone.
    """

    path: str
    store: str
    field: str
    row: dict[str, Any]
    frames: int
    lost: str
    quiet_seconds: float
    done: str


def recover(table: Any, *, action: str = "list", quiet_minutes: float = 10) -> list[Begun]:
    """List recordings that were begun and have no row; finish or remove them if told to.

    Parameters
    ----------
    table : datajoint table
    action : {"list", "finish", "remove"}
        ``finish`` makes a movie of the chunks that are whole and inserts the row;
        ``remove`` deletes what was recorded.
    quiet_minutes : float
        A recording written to within this time is left alone: it may still be going on.

    Returns
    -------
    list of Begun

    Notes
    -----
    To be run by one person at a time.
    """
    if action not in _ACTIONS:
        raise InvalidInputError(f"action={action!r}; allowed: {', '.join(map(repr, _ACTIONS))}")
    table = table() if isinstance(table, type) else table
    fields = columns_of(table)
    found = []
    for store in {column.store: column for column in (Column.of(table, field) for field in fields)}.values():
        for path in _begun(store):
            found.append(_handle(table, store, path, action, quiet_minutes * 60))
    return found


def _begun(column: Column) -> list[str]:
    """Paths within the store that hold a journal."""
    prefix = str(column.backend.spec["schema_prefix"] or "").strip("/")
    folder = table_path(column.table.database, column.table.table_name)
    root = storage_at(column.backend, f"{prefix}/{folder}" if prefix else folder, column.store)
    ends = [name.removesuffix("/" + JOURNAL) for name in root.names() if name.endswith("/" + JOURNAL)]
    return [f"{prefix}/{folder}/{end}" if prefix else f"{folder}/{end}" for end in ends]


def _handle(table: Any, column: Column, path: str, action: str, quiet: float) -> Begun:
    storage = storage_at(column.backend, path, column.store)
    journal = json.loads(storage.read(JOURNAL))
    column = Column.of(table, journal["field"])
    seconds = _quiet_seconds(storage)
    files, frames, lost = _whole_chunks(storage)
    done = "listed" if action == "list" else "busy"
    if action != "list" and seconds >= quiet:
        if action == "remove":
            kept = remove_own(storage, ours=True, also=(JOURNAL, ENCODING))
            done, lost = "removed", f"{some(kept)} is no part of it and was kept" if kept else lost
        elif frames:
            _finish(column, journal, storage, files)
            done = "finished"
        else:
            done, lost = "listed", lost or "no chunk is whole; action='remove' deletes the rest"
    return Begun(
        path=path,
        store=column.store,
        field=column.field,
        row=journal["row"],
        frames=frames,
        lost=lost,
        quiet_seconds=seconds,
        done=done,
    )


def _whole_chunks(storage: Storage) -> tuple[dict[str, list[Any]], int, str]:
    """Manifest entries of the chunks up to the first that is not whole, their frames, and what is lost."""
    names = set(storage.names())
    if metadata.ARRAY in names:
        found = metadata.describe(
            storage.read(metadata.ARRAY), storage.read(metadata.ATTRIBUTES), storage.url
        )
        listed = manifest.unpack(storage.read(manifest.NAME), storage.url)
        return listed, found.shape[0], ""
    if ENCODING not in names:
        return {}, 0, ""
    told = json.loads(storage.read(ENCODING))
    found = metadata.describe(told["zarray"].encode(), told["zattrs"].encode(), storage.url)
    layout = layout_for(found.encoding, get_backend("auto"))
    files: dict[str, list[Any]] = {}
    while (name := chunk_name(len(files), len(found.chunks))) in names:
        data = storage.read(name)
        number = len(files)
        try:
            layout.decode(data, found.chunks, 0, found.chunks[0], found.encoding.dtype, number=number)
        except CorruptDataError as error:
            break_ = f"{name} is not whole: {error}"
            return files, len(files) * found.chunks[0], break_
        files[name] = manifest.entry(data)
    return files, len(files) * found.chunks[0], ""


def _finish(column: Column, journal: dict[str, Any], storage: Storage, files: dict[str, list[Any]]) -> None:
    names = set(storage.names())
    if metadata.ARRAY not in names:
        told = json.loads(storage.read(ENCODING))
        found = metadata.describe(told["zarray"].encode(), told["zattrs"].encode(), storage.url)
        layout = layout_for(found.encoding, get_backend("auto"))
        shape = (len(files) * found.chunks[0], *found.shape[1:])
        own = own_names(storage, names, ours=True)
        for name in own - set(files) - {JOURNAL, ENCODING, MARKER}:
            storage.delete(name)
        estimate = {KEY: found.attributes[KEY]} if KEY in found.attributes else {}
        texts = metadata.texts(shape, found.chunks, layout, estimate)
        finish(Claim(storage, overwrite=False), texts, files, Stages())
    key = {name: journal["row"][name] for name in column.table.primary_key}
    if len(column.table & key):
        raise InvalidInputError(
            f"{column.table.full_table_name} has a row {key} by now; the recording is whole at "
            f"{storage.url}: "
            "delete the row to finish it, or remove the recording"
        )
    insert_recorded(column, journal["row"], storage, journal["path"])


def _quiet_seconds(storage: Storage) -> float:
    storage.fs.invalidate_cache()
    entries = storage.fs.find(storage.root, detail=True).values()
    return time.time() - max(modified(entry) for entry in entries).timestamp()
