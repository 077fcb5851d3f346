"""Going on where a killed encode stopped: what it had planned, and which of its chunks are whole."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from photon_gpu import manifest, metadata
from photon_gpu.crc import crc32
from photon_gpu.errors import CorruptDataError, PhotonError, StoreExistsError
from photon_gpu.layouts.base import Layout
from photon_gpu.sources.base import Source
from photon_gpu.storage import Storage

_READERS = 4


def plan_of(source: Source, layout: Layout, chunk: tuple[int, ...]) -> dict[str, Any]:
    """What two encodes must share for one to go on from the other: the movie, and every setting.

    The movie is known by its shape and the CRC of its first, middle and last frame; on a GPU, of values
    with their codes, since frames there are not sent down.
    """
    frames, gpu = source.shape[0], layout.backend.gpu
    crc = 0
    for frame in sorted({0, frames // 2, frames - 1}):
        values = source.read(frame, frame + 1)
        if source.device is not None and gpu is not None:
            values = gpu.sample(values, layout.encoding, first_frame=frame)
        crc = crc32(np.ascontiguousarray(values).data, crc)
    array, attributes = metadata.array_of(source.shape, chunk, layout), metadata.attributes_of(layout)
    # As it will be read back from where it is noted.
    plan: dict[str, Any] = json.loads(
        json.dumps({"array": array, "attributes": attributes, "frames_crc": crc})
    )
    return plan


def whole_chunks(storage: Storage, noted: dict[str, Any], plan: dict[str, Any]) -> dict[str, list[Any]]:
    """Manifest entries of the chunks that need not be done again: each was read back and agrees.

    Raises
    ------
    StoreExistsError
        Another movie, or the same with other settings, was being written there.
    """
    if noted != plan:
        changed = sorted(key for key in {*noted, *plan} if noted.get(key) != plan.get(key))
        raise StoreExistsError(
            f"{storage.url}: what was begun there is another movie, or was given other settings ({', '.join(changed)} "
            "differ); give the same source and settings, or overwrite=True to begin anew"
        )
    try:
        listed = manifest.unpack(storage.read(manifest.NAME), storage.url)
    except (FileNotFoundError, CorruptDataError):
        listed = {}
    description = metadata.describe(
        json.dumps(plan["array"]).encode(), json.dumps(plan["attributes"]).encode(), storage.url
    )
    count = -(-description.shape[0] // description.chunks[0])
    present = set(storage.names())
    numbers = [number for number in range(count) if description.chunk_name(number) in present]

    def found(number: int) -> list[Any] | None:
        name = description.chunk_name(number)
        data = storage.read(name)
        entry = manifest.entry(data)
        if name in listed:
            return entry if entry == listed[name] else None
        return entry if _proves_itself(data, number, description) else None

    with ThreadPoolExecutor(_READERS, thread_name_prefix="photon-resume") as readers:
        entries = list(readers.map(found, numbers))
    pairs = zip(numbers, entries, strict=True)
    return {description.chunk_name(number): entry for number, entry in pairs if entry is not None}


def _proves_itself(data: bytes, number: int, description: metadata.Description) -> bool:
    """Whether a chunk that was not listed yet is whole: those of ``compact`` have a checksum of their codes."""
    from photon_gpu.decode_whole import decode_whole

    if description.encoding.layout != "compact":
        return False
    try:
        decode_whole(data, number, description)
    except PhotonError:
        return False
    return True
