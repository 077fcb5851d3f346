"""Find the shards of a movie in its metadata, in the marker of its writer, or in its manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from photon_gpu.errors import CorruptDataError
from photon_gpu.store import manifest
from photon_gpu.store.manifest import Manifest
from photon_gpu.store.metadata import ARRAY
from photon_gpu.store.ome_zarr.metadata import load
from photon_gpu.store.ome_zarr.shards import MOST_PER_SHARD, ShardGrid

SHARDS = "shards"
"""Key of a marker: shape, chunks and chunks per shard of the OME-Zarr movie that is written."""


def grid_of(data: bytes, url: str) -> ShardGrid:
    """Return the division into shards that ``zarr.json`` of the array states.

    Raises
    ------
    CorruptDataError
        It states none that photon_gpu writes.
    """
    content = load(data, url)
    try:
        outer = content["chunk_grid"]["configuration"]["chunk_shape"]
        inner = content["codecs"][0]["configuration"]["chunk_shape"]
        shape, sizes = content["shape"], [*content["shape"], *inner, *outer]
        whole = all(type(size) is int and 1 <= size < 1 << 48 for size in sizes)
        same_axes = len(shape) == len(inner) == len(outer) and inner[1:] == outer[1:]
        if not whole or not same_axes or outer[0] % inner[0] or outer[0] // inner[0] > MOST_PER_SHARD:
            raise ValueError(f"chunks {str(inner)[:60]} in shards {str(outer)[:60]}")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptDataError(f"{url}: 0/zarr.json states no shards of photon_gpu: {error!r}") from error
    return ShardGrid(tuple(shape), tuple(inner), outer[0] // inner[0])


def marker_facts(grid: ShardGrid) -> dict[str, Any]:
    """Return the facts by which :func:`grid_of_marker` finds the shards of a killed encode."""
    return {SHARDS: [grid.shape, grid.chunks, grid.per_shard]}


def grid_of_marker(data: bytes, url: str) -> ShardGrid | None:
    """Return the shards that the marker of a writer states; None if it states none."""
    try:
        shape, chunks, per_shard = json.loads(data)[SHARDS]
        return _checked(shape, chunks, per_shard)
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def grid_of_manifest(data: bytes, url: str) -> ShardGrid | None:
    """Return the shards that the bytes of a manifest prove; None if they prove none."""
    return shards_of_manifest(manifest.read(data, url))


def shards_of_manifest(index: Manifest) -> ShardGrid | None:
    """Return the shards that a manifest proves: the size of the first is that of its chunks and its index."""
    try:
        array = json.loads(index.copies[ARRAY])
        one = _checked(array["shape"], array["chunks"], 1)
        first = index.container[f"0/{one.shard_name(0)}"][0]
        size = 0
        for number in range(one.chunk_count):
            size += index.files[one.chunk_name(number)][0]
            grid = replace(one, per_shard=number + 1)
            if size + grid.index_bytes == first:
                return grid
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    return None


def _checked(shape: list[int], chunks: list[int], per_shard: int) -> ShardGrid:
    sizes = [*shape, *chunks, per_shard]
    whole = all(type(size) is int and 1 <= size < 1 << 48 for size in sizes)
    if len(shape) != len(chunks) or not whole or per_shard > MOST_PER_SHARD:
        raise ValueError(f"chunks {str(chunks)[:60]} of {str(shape)[:60]}")
    return ShardGrid(tuple(shape), tuple(chunks), per_shard)
