"""Decide which files of a folder belong to a movie, by its metadata and never by names alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any

from photon_gpu.engine.codec import blosc
from photon_gpu.errors import CorruptDataError, PhotonError
from photon_gpu.store import durable, frame_records, manifest, source_metadata
from photon_gpu.store.chunk_grid import chunk_count, chunk_number
from photon_gpu.store.in_progress_marker import MARKER, read_marker
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES
from photon_gpu.store.storage import Storage

_METADATA = frozenset([ARRAY, ATTRIBUTES, manifest.NAME])

DECODER = "photon_decode.py"
"""Name of the decoder in one file, which a movie may have."""

_DECODER_BEGINS = b'"""Decode a movie that photon_gpu stored'


def own_names(
    storage: Storage, names: Collection[str], *, ours: bool = False, unfinished: bool = False
) -> set[str]:
    """Return the files of a folder that belong to a finished or unfinished movie.

    A finished movie has a manifest that lists ``.zarray`` and all other files of the movie. Without a
    readable manifest it has a ``.zarray`` beside a ``.zattrs`` whose ``codec_name`` is ``"photon"``, and
    its chunks are those that ``.zarray`` requires. An unfinished movie has the marker of its writer; a
    file that no manifest lists is a chunk of it if it holds one whole Blosc frame.

    Parameters
    ----------
    storage : Storage
    names : collection of str
        All files of the folder.
    ours : bool
        Whether this process made the folder's marker, so that all chunks there are its own, damaged or not.
    unfinished : bool
        Whether the caller knows that the movie is unfinished or partly deleted, although it has no marker.

    Returns
    -------
    set of str
        Empty if the folder is not a movie.
    """
    present = set(names)
    own = set()
    unfinished = unfinished or ours
    if MARKER in present:
        unfinished = unfinished or "token" in read_marker(storage)
        if unfinished or present == {MARKER}:  # a kill may leave an empty marker and nothing else
            own.add(MARKER)
    listed = _listed(storage) if manifest.NAME in present else None
    array = _json(storage, ARRAY) if ARRAY in present else {}
    encoded = ATTRIBUTES in present and _json(storage, ATTRIBUTES).get("codec_name") == "photon"
    finished = listed is not None and ARRAY in listed
    described = array.get("zarr_format") == 2 and encoded
    if finished or described:
        own |= _METADATA | (listed or set())
    if unfinished:
        chunks = {name for name in present - own if _number(name) is not None}
        known_chunks = chunks if ours else chunks & (listed or set())
        own |= (
            _METADATA
            | {source_metadata.NAME, *decoder_of(storage, present)}
            | known_chunks
            | {name for name in chunks - known_chunks if _is_chunk(storage, name)}
        )
    elif described and not finished:
        count, dimensions = _chunks(array)
        own |= {source_metadata.NAME, *decoder_of(storage, present)}
        for name in present - own:
            number = _number(name)
            right_axes = name[0] == "." or name.count(".") + 1 == dimensions
            if number is not None and number < count and right_axes:
                own.add(name)
    own |= storage.level_names(present) if own else set()
    return own & present


def remove_own(storage: Storage, *, ours: bool = False, also: Collection[str] = ()) -> list[str]:
    """Delete a movie's files, ``.zarray`` first, and the folder if that leaves it empty.

    Parameters
    ----------
    storage : Storage
    ours : bool
        As of :func:`own_names`.
    also : collection of str
        Further files to delete.

    Returns
    -------
    list of str
        Files and, on a local disk, folders that were kept because they are not part of the movie.
    """
    names = storage.names()
    own = own_names(storage, names, ours=ours)
    own |= set(also) & set(names)
    if own:
        storage.delete_partial()
    # The manifest and the marker go last: after an interruption, they show what is left to delete.
    for name in sorted(own, key=lambda name: (name == manifest.NAME, name == MARKER, name != ARRAY, name)):
        storage.delete(name)
    if not storage.local:
        return [name for name in names if name not in own]
    durable.remove_folder_if_empty(storage.path(frame_records.FOLDER))
    return durable.remove_folder_if_empty(storage.root)


def decoder_of(storage: Storage, names: Collection[str]) -> set[str]:
    """Return the name of the decoder if it is among these files, and is not another file of that name."""
    if DECODER in names and storage.read(DECODER).startswith(_DECODER_BEGINS):
        return {DECODER}
    return set()


def decoder_program() -> bytes:
    """Return the bytes of the decoder, of this release."""
    program: bytes = import_module("photon_gpu.decoder").program()
    return program


def some(names: Sequence[str]) -> str:
    """Return up to three names and the number of the others.

    >>> some(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(repr(name) for name in names[:3]) + more


def _number(name: str) -> int | None:
    """Return the chunk number in the name of a chunk file or records file; None for other names."""
    number = chunk_number(name)
    return frame_records.chunk_of(name) if number is None else number


def _is_chunk(storage: Storage, name: str) -> bool:
    """Whether a chunk file is exactly one Blosc frame; records files are accepted by name."""
    if chunk_number(name) is None:
        return True
    try:
        blosc.frame_sizes(storage.read(name))
    except PhotonError:
        return False
    return True


def _listed(storage: Storage) -> set[str] | None:
    try:
        return set(manifest.unpack(storage.read(manifest.NAME), storage.url))
    except PhotonError:
        return None


def _json(storage: Storage, name: str) -> dict[str, Any]:
    try:
        content = json.loads(storage.read(name))
    except (ValueError, RecursionError, CorruptDataError, FileNotFoundError):  # the last two of an OME-Zarr
        return {}
    return content if isinstance(content, dict) else {}


def _chunks(array: dict[str, Any]) -> tuple[int, int]:
    """Return the numbers of chunks and axes in ``.zarray``; zeros if it is damaged."""
    shape, chunks = array.get("shape"), array.get("chunks")
    if not (isinstance(shape, list) and isinstance(chunks, list) and shape and len(shape) == len(chunks)):
        return 0, 0
    frames, size = shape[0], chunks[0]
    if not (isinstance(frames, int) and isinstance(size, int) and size > 0):
        return 0, 0
    return chunk_count(frames, size), len(shape)
