"""Finish or remove recordings that have no row, after a crash or an error."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Any

from photon_gpu.dj.movie_column import Column, columns_of
from photon_gpu.dj.path_from_key import table_path
from photon_gpu.dj.pending_row import ENCODING, PENDING_ROW, PendingRow
from photon_gpu.dj.stored_movies import modified
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.requested_part import ChunkPart
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.live.recovery.published_part import discard_unpublished, published
from photon_gpu.live.recovery.recover import recover as recover_movie
from photon_gpu.live.recovery.recover import spool_of
from photon_gpu.live.spool.spool import Spool
from photon_gpu.store import manifest, metadata
from photon_gpu.store.chunk_grid import chunk_name
from photon_gpu.store.claim import MARKER, alive, read_marker
from photon_gpu.store.owned_files import remove_own, some
from photon_gpu.store.storage import Storage
from photon_gpu.writer.auto_noise import KEY

_ACTIONS = ("list", "finish", "remove")


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A recording that has no row.

    Attributes
    ----------
    row : dict
        The row of the recording, without the movie.
    frames : int
        Frames in the store. If the recording has a spool, finishing it adds the frames there.
    lost : str
        Which frames or files could not be kept, and why; empty if all were.
    quiet_seconds : float
        Time since anything was written to the store, by this machine's clock.
    done : str
        ``listed``, ``finished``, ``removed``, or ``busy``: left alone, because it was written to a moment ago
        or its process still runs.
    """

    path: str
    store: str
    field: str
    row: dict[str, Any]
    frames: int
    lost: str
    quiet_seconds: float
    done: str


def recover(table: Any, *, action: str = "list", quiet_minutes: float = 10, **options: Any) -> list[Begun]:
    """List recordings that have no row, and finish or remove them on request.

    Parameters
    ----------
    table : datajoint table
    action : {"list", "finish", "remove"}
        ``finish`` completes the movie from the store and the spool and inserts the row. ``remove`` deletes
        what was recorded.
    quiet_minutes : float
        A recording that was written to within this time is left alone, since it may still run.
    **options
        Options of :func:`photon_gpu.recover`, such as ``salvage`` or ``discard_spool``.

    Returns
    -------
    list of Begun

    Notes
    -----
    If there is a spool, run this on the machine that recorded. Only one person may run it at a time. A second
    run changes nothing more.
    """
    if action not in _ACTIONS:
        raise InvalidInputError(f"action={action!r}; allowed: {', '.join(map(repr, _ACTIONS))}")
    table = table() if isinstance(table, type) else table
    columns = {column.store: column for column in (Column.of(table, field) for field in columns_of(table))}
    return [
        _handle(PendingRow.read(table, column.storage(path)), action, quiet_minutes * 60, options)
        for column in columns.values()
        for path in _paths(column)
    ]


def _paths(column: Column) -> list[str]:
    """Paths within the store of movies that have a pending row."""
    prefix = str(column.backend.spec["schema_prefix"] or "").strip("/")
    folder = table_path(column.table.database, column.table.table_name)
    folder = f"{prefix}/{folder}" if prefix else folder
    end = "/" + PENDING_ROW
    return [
        f"{folder}/{name.removesuffix(end)}" for name in column.storage(folder).names() if name.endswith(end)
    ]


def _handle(row: PendingRow, action: str, quiet_seconds: float, options: dict[str, Any]) -> Begun:
    storage = row.storage
    marker = read_marker(storage) if storage.exists(MARKER) else {}
    if unfinished := row.version == 1 and not storage.exists(metadata.ARRAY):
        files, frames, lost = _unfinished_chunks(storage)
    else:
        frames, lost = published(storage)[0], ""
    begun = Begun(
        path=row.path,
        store=row.column.store,
        field=row.column.field,
        row=row.row,
        frames=frames,
        lost=lost,
        quiet_seconds=_quiet_seconds(storage),
        done="listed",
    )
    if action == "list":
        return begun
    if begun.quiet_seconds < quiet_seconds or alive(marker):
        return replace(begun, done="busy")
    if action == "remove":
        left = _remove(storage, marker, **options)
        return replace(
            begun, done="removed", lost=f"{some(left)} is not part of it and was kept" if left else lost
        )
    if unfinished and frames:
        _publish_unfinished(storage, files)
    elif marker.get("recording"):
        report = recover_movie(storage, **options)
        begun = replace(begun, frames=report.frames)
        if report.lost or report.doubtful or report.discarded:
            begun = replace(begun, lost=str(report))
    if not begun.frames:
        return replace(begun, lost=lost or "no chunk is whole; action='remove' deletes the rest")
    if not _has_row(row):
        row.insert()
    row.delete()
    return replace(begun, done="finished")


def _has_row(row: PendingRow) -> bool:
    """Whether the row was inserted already; raise an error if another row has the same key."""
    existing = row.column.table & row.key
    if not len(existing):
        return False
    if getattr(existing.fetch1(row.column.field), "url", None) == row.storage.url:
        return True
    raise InvalidInputError(
        f"{row.column.table.full_table_name} has a row {row.key} now; the recording is complete at "
        f"{row.storage.url}: delete the row to finish it, or remove the recording"
    )


def _remove(storage: Storage, marker: dict[str, Any], *, discard_spool: bool = False, **_: Any) -> list[str]:
    """Delete a recording and its spool; return the files in its folder that are not part of it."""
    folder = None if discard_spool else spool_of(storage, marker)
    if folder is not None:
        Spool.open(folder).remove()
    return remove_own(storage, ours=True, also=(PENDING_ROW, ENCODING))


def _unfinished_chunks(storage: Storage) -> tuple[dict[str, list[Any]], int, str]:
    """Find the whole chunks of an unfinished recording of photon_gpu 0.1.0, which published nothing.

    Returns
    -------
    dict, int, str
        Manifest entries of the chunks before the first damaged one, their number of frames, and the
        damage.
    """
    if not storage.exists(ENCODING):
        return {}, 0, ""
    description, names = _kept_encoding(storage), set(storage.names())
    layout = layout_for(description.encoding, get_backend("auto"))
    size, files = description.chunks[0], dict[str, list[Any]]()
    whole = ChunkPart(description.chunks, 0, size)
    while (name := chunk_name(len(files), len(description.chunks))) in names:
        data = storage.read(name)
        try:
            layout.decode(data, replace(whole, number=len(files)), description.encoding.dtype)
        except CorruptDataError as error:
            return files, len(files) * size, f"{name} is not whole: {error}"
        files[name] = manifest.entry(data)
    return files, len(files) * size, ""


def _publish_unfinished(storage: Storage, files: dict[str, list[Any]]) -> None:
    """Make a movie of these chunks, which photon_gpu 0.1.0 recorded, and delete the chunks after them."""
    description = _kept_encoding(storage)
    frames = len(files) * description.chunks[0]
    discard_unpublished(storage, files, frames, description)
    estimate = {KEY: description.attributes[KEY]} if KEY in description.attributes else {}
    layout = layout_for(description.encoding, get_backend("auto"))
    texts = metadata.texts((frames, *description.shape[1:]), description.chunks, layout, estimate)
    storage.write_in_order([(manifest.NAME, manifest.pack(files, texts)), *texts.items()])
    storage.delete(MARKER)


def _kept_encoding(storage: Storage) -> metadata.Description:
    """Read the metadata that photon_gpu 0.1.0 kept before the first chunk."""
    content = json.loads(storage.read(ENCODING))
    return metadata.describe(content["zarray"].encode(), content["zattrs"].encode(), storage.url)


def _quiet_seconds(storage: Storage) -> float:
    storage.fs.invalidate_cache()
    entries = storage.fs.find(storage.root, detail=True).values()
    return time.time() - max(modified(entry) for entry in entries).timestamp()
