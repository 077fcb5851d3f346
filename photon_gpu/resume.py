"""Going on where a killed encode stopped: what it had planned, and which of its chunks are whole."""

from __future__ import annotations

import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from photon_gpu import manifest, metadata
from photon_gpu.errors import CorruptDataError, StoreExistsError
from photon_gpu.layouts.base import Layout
from photon_gpu.sources.base import Source
from photon_gpu.storage import Storage

_READERS = 4


def plan_of(source: Source, layout: Layout, chunk: tuple[int, ...]) -> dict[str, Any]:
    """What two encodes must share for one to go on from the other: the movie, and every setting.

    The movie is known by its shape and the CRC of its first, middle and last frame.
    """
    frames = source.shape[0]
    crc = 0
    # Frames on a GPU are never sent down raw; they are known by their shape and dtype alone.
    for frame in sorted({0, frames // 2, frames - 1}) if source.device is None else ():
        crc = zlib.crc32(np.ascontiguousarray(source.read(frame, frame + 1)).data, crc)
    array = json.loads(metadata.array_json(source.shape, chunk, layout))
    return {"array": array, "attributes": json.loads(metadata.attributes_json(layout, {})), "frames_crc": crc}


def whole_chunks(
    storage: Storage, noted: dict[str, Any] | None, plan: dict[str, Any]
) -> dict[str, list[Any]]:
    """Manifest entries of the chunks that need not be done again: each was read back and agrees.

    Raises
    ------
    StoreExistsError
        Another movie, or the same with other settings, was being written there.
    """
    if noted is None:
        return {}
    if noted != plan:
        changed = sorted(key for key in {*noted, *plan} if noted.get(key) != plan.get(key))
        raise StoreExistsError(
            f"{storage.url}: what was begun there is another movie, or was given other settings ({', '.join(changed)} "
            "differ); give the same source and settings, or overwrite=True to begin anew"
        )
    try:
        listed = manifest.unpack(storage.read(manifest.NAME), storage.url)
    except (FileNotFoundError, CorruptDataError):
        return {}
    present = set(storage.names())
    names = [name for name in listed if name in present and not name.startswith(".")]

    def agrees(name: str) -> bool:
        return manifest.entry(storage.read(name)) == listed[name]

    with ThreadPoolExecutor(_READERS, thread_name_prefix="photon-resume") as readers:
        whole = list(readers.map(agrees, names))
    return {name: listed[name] for name, good in zip(names, whole, strict=True) if good}
