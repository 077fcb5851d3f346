"""Find stored, unpublished chunks of an interrupted recording that can be proven whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.layouts.compact import Compact
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.errors import CorruptDataError, PhotonError
from photon_gpu.store import frame_records, manifest
from photon_gpu.store.check_without_manifest import decode_whole
from photon_gpu.store.metadata import Description
from photon_gpu.store.storage import Storage

UnpublishedChunk = tuple[int, dict[str, list[Any]]]
"""Number of frames of a chunk, and the manifest entries of its files."""


def unpublished(storage: Storage, frames: int, description: Description) -> Iterator[UnpublishedChunk]:
    """Yield the whole chunks that follow the first ``frames`` frames, in order.

    Only chunks of layout ``compact`` hold a checksum; chunks of other layouts are not trusted.
    """
    size, names = description.chunks[0], set(storage.names())
    layout = layout_for(description.encoding, get_backend("numpy"))
    if not isinstance(layout, Compact):
        return
    while frames % size == 0 and description.chunk_name(frames // size) in names:
        try:
            chunk = _whole(storage, frames // size, description, layout, names)
        except (PhotonError, FileNotFoundError):
            return
        yield chunk
        frames += chunk[0]


def _whole(
    storage: Storage, number: int, description: Description, layout: Compact, names: set[str]
) -> UnpublishedChunk:
    name, first = description.chunk_name(number), description.frames_of(number).start
    data = storage.read(name)
    frames = layout.frames(data, description.chunks)
    if not 1 <= frames <= description.chunks[0]:
        raise CorruptDataError(f"{storage.url}: {name} says that it holds {frames} frames")
    decode_whole(data, number, replace(description, shape=(first + frames, *description.shape[1:])))
    files = {name: manifest.entry(data)}
    if (records_name := frame_records.file_name(number)) in names:
        content = storage.read(records_name)
        frame_records.unpack(content, range(first, first + frames), f"{storage.url}: {records_name}")
        files[records_name] = manifest.entry(content)
    return frames, files
