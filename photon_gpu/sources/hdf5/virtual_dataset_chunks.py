"""Find the frames that chunks hold together, in a virtual dataset of chunked ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py


def chunk_layers(dataset: Any) -> tuple[list[int], tuple[int, ...]] | None:
    """Frames at which a chunk begins and none is cut, and the largest chunk; None if no chunk holds several.

    Parameters
    ----------
    dataset : h5py.Dataset
        Virtual. Datasets in files that are missing, and those that are mapped in several blocks, count as one
        chunk of a frame each: they are read as they come.
    """
    ranges: list[tuple[int, int]] = []
    largest = [1] * dataset.ndim
    for part in dataset.virtual_sources():
        chunks = _chunks(dataset, part)
        if chunks is None or len(chunks) != dataset.ndim or chunks[0] == 1:
            continue
        try:
            ranges += _ranges(part, chunks[0], len(dataset))
        except (NotImplementedError, ValueError, RuntimeError, TypeError):
            continue  # a mapping without bounds
        largest = [max(one, own) for one, own in zip(largest, chunks, strict=True)]
    if not ranges:
        return None
    edges: list[int] = []
    end = 0
    for first, stop in sorted(ranges):
        if first >= end:
            edges += range(end, first)  # frames that are in no such chunk
            edges.append(first)
        end = max(end, stop)
    return [*edges, *range(end, dataset.shape[0])], tuple(largest)


def _ranges(part: Any, frames: int, length: int) -> Iterator[tuple[int, int]]:
    """Frames of the virtual dataset that each chunk of a mapped dataset holds."""
    first, last = _bounds(part.vspace, length)
    begin, _ = _bounds(part.src_space, length)
    start = first
    while start <= last:
        stop = min(start + frames - (begin + start - first) % frames, last + 1)
        yield start, stop
        start = stop


def _bounds(space: Any, length: int) -> tuple[int, int]:
    """First and last frame of a selection that is one block; ValueError if it is not."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 0, length - 1  # the space itself does not tell its length
    if space.get_select_hyper_nblocks() != 1:
        raise ValueError("several blocks")
    low, high = space.get_select_bounds()
    return int(low[0]), int(high[0])


def _chunks(dataset: Any, part: Any) -> tuple[int, ...] | None:
    """Chunks of a mapped dataset; None if it is not there, or has none."""
    home = Path(dataset.file.filename).parent
    try:
        if part.file_name == ".":
            return _chunks_of(dataset.file.get(part.dset_name))
        # HDF5 looks beside the file first, then in the working folder.
        for path in (home / part.file_name, Path(part.file_name)):
            if path.exists():
                with h5py.File(path, "r") as file:
                    return _chunks_of(file.get(part.dset_name))
    except (OSError, RuntimeError, KeyError):
        pass
    return None


def _chunks_of(node: Any) -> tuple[int, ...] | None:
    return node.chunks if isinstance(node, h5py.Dataset) else None
