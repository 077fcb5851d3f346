"""Read the published part of a recording that ended early, and finish a movie from it alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.errors import StoreNotFoundError
from photon_gpu.live.recovery.unpublished_chunks import unpublished
from photon_gpu.store import durable, manifest, metadata, source_metadata
from photon_gpu.store.chunk_grid import chunk_count, chunk_number
from photon_gpu.store.claim import MARKER
from photon_gpu.store.frame_records import chunk_of
from photon_gpu.store.movie_folder import read_description
from photon_gpu.store.ome_zarr.recorded_shards import RecordedShards
from photon_gpu.store.owned_files import decoder_of
from photon_gpu.store.storage import Storage


def describe(storage: Storage) -> metadata.Description:
    """Read the description of the last published state."""
    try:
        return read_description(storage)
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"{storage.url}: nothing was published there") from error


def published(storage: Storage) -> tuple[int, dict[str, list[Any]], metadata.Description | None]:
    """Return the number of published frames, the entries of their files, and their description."""
    try:
        description = describe(storage)
    except StoreNotFoundError:
        return 0, _beside(storage), None
    listed = manifest.unpack(storage.read(manifest.NAME), storage.url)
    files = {name: entry for name, entry in listed.items() if 0 <= _chunk_of(name) < description.chunk_count}
    files |= _beside(storage)
    return description.shape[0], files, description


def _beside(storage: Storage) -> dict[str, list[Any]]:
    """Return the entries of the source metadata and of the decoder, if they are there."""
    decoder = {name: manifest.entry(storage.read(name)) for name in decoder_of(storage, storage.names())}
    return {**source_metadata.listed(storage), **decoder}


def finished_frames(storage: Storage) -> int:
    """Return the number of frames of a movie that no process is writing."""
    try:
        return describe(storage).shape[0]
    except StoreNotFoundError as error:
        raise StoreNotFoundError(
            f"{storage.url}: nothing is there to recover. If this was a spool, its movie is complete: a "
            "spool is removed when its movie is finished"
        ) from error


def finish_published(storage: Storage) -> tuple[int, int, list[str]]:
    """Finish a recording without a spool: keep published and whole chunks, delete the rest.

    If nothing was published, a local folder goes too, unless it holds other files.

    Returns
    -------
    int, int, list of str
        Frames of the movie, how many of them were not published before, and names of the deleted chunks.
    """
    seen, files, description = published(storage)
    storage.delete_partial()
    frames = seen
    if description is not None:
        for count, chunk in unpublished(storage, seen, description):
            frames += count
            files.update(chunk)
        layout = layout_for(description.encoding, get_backend("numpy"))
        array, attributes = storage.read(metadata.ARRAY), storage.read(metadata.ATTRIBUTES)
        if frames > seen:
            array = metadata.array_json((frames, *description.shape[1:]), description.chunks, layout)
            # As in a recording, the manifest does not list ``.zarray`` while that grows.
            storage.write(manifest.NAME, manifest.pack(files, {metadata.ATTRIBUTES: attributes}))
            storage.write(metadata.ARRAY, array)
        texts = {metadata.ATTRIBUTES: attributes, metadata.ARRAY: array}
        shards = RecordedShards(storage)
        shards.join(files, last=True)
        shards.add_levels(files, texts)
        storage.write(manifest.NAME, shards.manifest(files, texts))
        shards.finish(texts)
    discarded = discard_unpublished(storage, files, seen, description)
    storage.delete_for_certain(MARKER)
    if description is None and storage.local:
        durable.remove_folder_if_empty(storage.root)
    return frames, frames - seen, discarded


def discard_unpublished(
    storage: Storage, keep: Collection[str], published: int, description: metadata.Description | None
) -> list[str]:
    """Delete the files of chunks after the ``published`` frames, except files to keep.

    If nothing was published (``description`` is None), delete the metadata too. Return the names of
    the chunks. Files that no recording writes are kept.
    """
    first = chunk_count(published, description.chunks[0]) if description is not None else 0
    left = {manifest.NAME, metadata.ATTRIBUTES} if description is None else set()
    names = [name for name in storage.names() if name not in keep]
    gone = [name for name in names if name in left or _chunk_of(name) >= first]
    for name in gone:
        storage.delete(name)
    return [name for name in gone if not name.startswith(".")]


def _chunk_of(name: str) -> int:
    """Return the chunk number of a chunk file or records file; -1 for other names."""
    number = chunk_number(name)
    number = chunk_of(name) if number is None else number
    return -1 if number is None else number
