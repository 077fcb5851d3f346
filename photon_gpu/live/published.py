"""What readers can see of a recording that ended early, and finishing a movie with that alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from photon_gpu import manifest, metadata
from photon_gpu.claim import MARKER
from photon_gpu.errors import StoreNotFoundError
from photon_gpu.metadata import chunk_name
from photon_gpu.records import chunk_of, file_name
from photon_gpu.storage import Storage


def describe(storage: Storage) -> metadata.Description:
    """What was published last."""
    try:
        array, attributes = storage.read(metadata.ARRAY), storage.read(metadata.ATTRIBUTES)
    except FileNotFoundError as error:
        raise StoreNotFoundError(f"{storage.url}: nothing was published there") from error
    return metadata.describe(array, attributes, storage.url)


def published(storage: Storage) -> tuple[int, dict[str, list[Any]], metadata.Description | None]:
    """Frames that readers can see, the manifest entries of their files, and how they are encoded."""
    try:
        description = describe(storage)
    except StoreNotFoundError:
        return 0, {}, None
    frames, size = description.shape[0], description.chunks[0]
    listed = manifest.unpack(storage.read(manifest.NAME), storage.url)
    names = set(_names_of(-(-frames // size), len(description.shape)))
    files = {name: entry for name, entry in listed.items() if name in names}
    return frames, files, description


def finished_frames(storage: Storage) -> int:
    """Of a movie that nobody is writing."""
    try:
        return describe(storage).shape[0]
    except StoreNotFoundError as error:
        raise StoreNotFoundError(f"{storage.url}: nothing is there to recover") from error


def finish_published(storage: Storage) -> tuple[int, list[str]]:
    """Without a spool, what is published is what was acknowledged; the rest goes.

    Returns
    -------
    int, list of str
        Frames of the movie, and names of the chunks that went.
    """
    frames, files, description = published(storage)
    storage.delete_partial()
    if description is not None:
        array, attributes = storage.read(metadata.ARRAY), storage.read(metadata.ATTRIBUTES)
        index = manifest.pack(files, {metadata.ATTRIBUTES: attributes, metadata.ARRAY: array})
        storage.write(manifest.NAME, index)
    discarded = discard_unpublished(storage, files)
    storage.delete_for_certain(MARKER)
    return frames, discarded


def discard_unpublished(storage: Storage, keep: Collection[str]) -> list[str]:
    """Delete chunks and frame records but those to keep; of a movie that nobody saw, its metadata too.

    Returns the names of the chunks. Files that no recording writes stay.
    """
    names = storage.names()
    left = {manifest.NAME, metadata.ATTRIBUTES} if metadata.ARRAY not in names else set()
    gone = [name for name in names if name in left or (_of_a_chunk(name) and name not in keep)]
    for name in gone:
        storage.delete(name)
    return [name for name in gone if not name.startswith(".")]


def _of_a_chunk(name: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)+", name) is not None or chunk_of(name) is not None


def _names_of(chunks: int, dimensions: int) -> Iterator[str]:
    for number in range(chunks):
        yield chunk_name(number, dimensions)
        yield file_name(number)
