"""Resume a killed encode: compare its plan, and find the chunks that can be kept."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.engine.runtime.pool import Pool
from photon_gpu.errors import CorruptDataError, PhotonWarning, StoreExistsError
from photon_gpu.sources.base import Source
from photon_gpu.store import manifest, metadata
from photon_gpu.store.chunk_grid import ChunkGrid
from photon_gpu.store.storage import Storage

_READERS = 4
_SOURCE = "source"


def plan_of(source: Source, layout: Layout, chunk: tuple[int, ...]) -> dict[str, Any]:
    """Return the plan of an encode, its movie and all settings; a resumed encode must have the same plan.

    The movie is identified by its shape and the CRC of its first, middle and last frame (on a GPU, of values
    with the same codes, since frames are not copied to the host). ``source`` is informative only and is not
    compared.
    """
    frames, gpu = source.shape[0], layout.backend.gpu
    crc = 0
    for frame in sorted({0, frames // 2, frames - 1}):
        values = source.read(frame, frame + 1)
        if source.device is not None and gpu is not None:
            parts = zip(layout.split(values), layout.channels, strict=True)
            values = np.stack([gpu.sample(part, one.encoding, first_frame=frame) for part, one in parts])
        crc = crc32(np.ascontiguousarray(values).data, crc)
    array, attributes = metadata.array_of(source.shape, chunk, layout), metadata.attributes_of(layout)
    # Use the form in which the marker returns it.
    plan: dict[str, Any] = json.loads(
        json.dumps({"array": array, "attributes": attributes, "frames_crc": crc, _SOURCE: _file_of(source)})
    )
    return plan


@dataclass(frozen=True)
class StoredChunks:
    """Chunks that a resumed encode need not encode again.

    Attributes
    ----------
    files : dict
        Manifest entries by name.
    frames : dict
        CRC of the raw frames by name.
    present : frozenset of str
        All chunk files in the folder; those that are not in ``files`` may be whole, too.
    """

    files: dict[str, list[Any]] = field(default_factory=dict)
    frames: dict[str, str] = field(default_factory=dict)
    present: frozenset[str] = frozenset()


def frames_crc(values: Any) -> str:
    """CRC of a chunk's raw frames, as in the manifest of a running encode."""
    return f"{crc32(np.ascontiguousarray(values).data):08x}"


def stored_chunks(
    storage: Storage, saved_plan: dict[str, Any], plan: dict[str, Any], source: Source
) -> StoredChunks:
    """Find the chunks that are whole and hold the current frames of the source.

    A chunk can be kept if its file agrees with the manifest and the source's frames still have the CRC from
    when the chunk was encoded. If they do not, the source was changed, and a PhotonWarning says so.

    Raises
    ------
    StoreExistsError
        Another movie was being written there, or the same movie with other settings.
    """
    changed = sorted(key for key in {*saved_plan, *plan} - {_SOURCE} if saved_plan.get(key) != plan.get(key))
    if changed:
        raise StoreExistsError(
            f"{storage.url}: the encode that began there was of another movie, or had other settings "
            f"({', '.join(changed)} "
            "differ); give the same source and settings, or overwrite=True to start again"
        )
    try:
        index = manifest.read(storage.read(manifest.NAME), storage.url)
    except (FileNotFoundError, CorruptDataError):
        index = manifest.Manifest()
    grid = ChunkGrid(source.shape, tuple(plan["array"]["chunks"]))
    names = {grid.chunk_name(number): number for number in range(grid.chunk_count)}
    present = frozenset(names.keys() & set(storage.names()))
    candidates = sorted(present & index.files.keys() & index.frames.keys(), key=names.__getitem__)

    def whole(name: str) -> bool:
        return manifest.entry(storage.read(name)) == index.files[name]

    with Pool("photon-resume", _READERS) as readers:
        agreeing = [
            name for name, agrees in zip(candidates, readers.map(whole, candidates), strict=True) if agrees
        ]
    unchanged: dict[str, str] = {}
    for name in agreeing:
        frames = grid.frames_of(names[name])
        crc = frames_crc(source.read(frames.start, frames.stop))
        if crc == index.frames[name]:
            unchanged[name] = crc
    if len(unchanged) < len(agreeing):
        _warn_changed(source, saved_plan, plan, len(agreeing) - len(unchanged), len(agreeing))
    return StoredChunks({name: index.files[name] for name in unchanged}, unchanged, present)


def _file_of(source: Source) -> dict[str, int] | None:
    """Size and last change of a movie's source file; None if it is no local file."""
    path = Path(source.name.rpartition("::")[0] or source.name)
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns}


def _warn_changed(
    source: Source, saved_plan: dict[str, Any], plan: dict[str, Any], changed: int, of: int
) -> None:
    before, now = saved_plan.get(_SOURCE), plan.get(_SOURCE)
    how = ""
    if isinstance(before, dict) and isinstance(now, dict) and before != now:
        how = f" (its size was {before.get('size')} bytes and is {now.get('size')}; it was written to since)"
    warnings.warn(
        f"{source.name} was changed after this encode began{how}: the frames of {changed} of {of} "
        f"stored chunks are "
        "different now, and these chunks are encoded again",
        PhotonWarning,
        stacklevel=2,
    )
