"""Find frames of an HDF5 dataset that were never written, or that are missing from other files.

HDF5 reads such frames as the fill value and reports no error.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.hdf5.open_file import check_external

_DEEPEST = 8  # levels of virtual datasets that map virtual datasets

AxisRanges = tuple[tuple[int, int], ...]
"""Ranges ``(start, stop)`` along each axis."""


def find_gaps(dataset: Any) -> tuple[NDArray[Any], str]:
    """Return whether each frame lacks data, and a sentence that says what is missing.

    Parameters
    ----------
    dataset : h5py.Dataset

    Raises
    ------
    InvalidInputError
        If a virtual dataset is mapped without bounds, so that missing parts cannot be found.
    """
    with contextlib.ExitStack() as files:
        return _gaps(dataset, _Parts(files), 0)


class _Parts:
    """Cache of opened files and of the gaps in their datasets."""

    def __init__(self, files: contextlib.ExitStack) -> None:
        self._files = files
        self._opened: dict[str, Any] = {}
        self._known: dict[tuple[str, str], tuple[NDArray[Any], str]] = {}

    def open(self, path: Path) -> Any:
        key = str(path.resolve())
        if key not in self._opened:
            self._opened[key] = self._files.enter_context(h5py.File(path, "r"))
        return self._opened[key]

    def gaps(self, dataset: Any, depth: int) -> tuple[NDArray[Any], str]:
        """Return the gaps of a dataset; cached, since it may be mapped often and HDF5 lists chunks slowly."""
        key = (dataset.file.filename, dataset.name)
        if key not in self._known:
            self._known[key] = _gaps(dataset, self, depth)
        return self._known[key]


def _gaps(dataset: Any, parts: _Parts, depth: int) -> tuple[NDArray[Any], str]:
    if dataset.is_virtual:
        return _Virtual(dataset, parts, depth).gaps()
    lacking = np.zeros(dataset.shape[0] if dataset.shape else 1, bool)
    if dataset.external:
        check_external(dataset, f"{dataset.file.filename}::{dataset.name}")
        return lacking, ""
    if dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED:
        return lacking, ""
    if dataset.chunks is None:
        return ~lacking, "none of its data was ever written"
    along = dataset.chunks[0]
    counts = [-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    written = np.zeros(counts[0], np.int64)

    def count(info: Any) -> None:
        written[info.chunk_offset[0] // along] += 1

    dataset.id.chunk_iter(count)
    lacking = np.repeat(written < math.prod(counts[1:]), along)[: len(lacking)]
    return (
        lacking,
        f"{math.prod(counts) - int(written.sum())} of its {math.prod(counts)} chunks were never written",
    )


class _Virtual:
    """Find the gaps of one virtual dataset."""

    def __init__(self, dataset: Any, parts: _Parts, depth: int) -> None:
        self._dataset, self._parts, self._depth = dataset, parts, depth
        self._home = Path(dataset.file.filename).parent
        self._whole: AxisRanges = tuple((0, length) for length in dataset.shape[1:])
        self._covered = np.zeros(dataset.shape[0], bool)
        self._lacking = np.zeros(dataset.shape[0], bool)
        # By frame, where no single part covers a frame.
        self._pieces: dict[int, set[AxisRanges]] = defaultdict(set)

    def gaps(self) -> tuple[NDArray[Any], str]:
        parts = self._dataset.virtual_sources()
        problems = [problem for part in parts if (problem := self._take(part))]
        covers: dict[frozenset[AxisRanges], bool] = {}
        for frame in np.flatnonzero(~self._covered).tolist():
            boxes = frozenset(self._pieces.get(frame, ()))
            if boxes not in covers:
                covers[boxes] = self._cover(boxes)
            self._covered[frame] = covers[boxes]
        if not self._covered.all():
            problems.append("parts of it are not mapped to any dataset")
        return self._lacking | ~self._covered, problems[0] + (
            f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        ) if problems else ""

    def _take(self, part: Any) -> str | None:
        """Record the frames that a part covers; return its problem, or None."""
        boxes = self._boxes(part.vspace)
        inner, problem = self._inside(part)
        whole = len(boxes) == 1 and boxes[0][1:] == self._whole
        for (start, stop), *rest in boxes:
            if problem is not None:
                same = whole and inner is not None and len(inner) == stop - start
                self._lacking[start:stop] |= inner if same else True
            if tuple(rest) == self._whole:
                self._covered[start:stop] = True
            else:
                for frame in range(start, stop):
                    self._pieces[frame].add(tuple(rest))
        return problem

    def _boxes(self, space: Any) -> list[AxisRanges]:
        if space.get_select_type() == h5py.h5s.SEL_ALL:
            return [((0, self._dataset.shape[0]), *self._whole)]
        try:
            blocks = space.get_select_hyper_blocklist()
        except (NotImplementedError, ValueError, RuntimeError) as error:
            raise InvalidInputError(
                f"{self._dataset.file.filename}::{self._dataset.name}: this virtual dataset is mapped "
                "without bounds, so missing parts cannot be found. missing='fill' reads fill values there"
            ) from error
        return [
            tuple((int(a), int(b) + 1) for a, b in zip(first, last, strict=True)) for first, last in blocks
        ]

    def _inside(self, part: Any) -> tuple[NDArray[Any] | None, str | None]:
        """Return the gaps of the dataset that a part maps (None if unknown) and its problem (or None)."""
        where = part.file_name
        try:
            file = self._open(where)
            node = None if file is None else file.get(part.dset_name)
        except (OSError, RuntimeError, KeyError) as error:
            return None, f"{where!r} cannot be opened: {str(error)[:80]}"
        if file is None:
            return None, f"{where!r} does not exist"
        if not isinstance(node, h5py.Dataset):
            return None, f"{where!r} has no dataset {part.dset_name!r}"
        everything = part.src_space.get_select_type() == h5py.h5s.SEL_ALL
        if everything:
            fits = node.size == part.vspace.get_select_npoints()
        else:
            _, last = part.src_space.get_select_bounds()
            fits = len(last) == node.ndim and all(
                end < length for end, length in zip(last, node.shape, strict=True)
            )
        if not fits:
            return None, f"{part.dset_name!r} of {where!r} has shape {node.shape}, less than is mapped"
        if self._depth >= _DEEPEST:
            return None, f"{where!r} is a virtual dataset with too many levels of others"
        lacking, problem = self._parts.gaps(node, self._depth + 1)
        if not lacking.any():
            return None, None
        exact = everything and node.shape[1:] == self._dataset.shape[1:]
        return (lacking if exact else None), f"{where!r}: {problem}"

    def _open(self, name: str) -> Any:
        if name == ".":
            return self._dataset.file
        # HDF5 looks beside the file first, then in the working folder.
        path = next((path for path in (self._home / name, Path(name)) if path.exists()), None)
        return None if path is None else self._parts.open(path)

    def _cover(self, boxes: frozenset[AxisRanges]) -> bool:
        """Whether boxes together cover a whole frame."""
        frame = np.zeros([stop for _, stop in self._whole], bool)
        for box in boxes:
            frame[tuple(slice(start, stop) for start, stop in box)] = True
        return bool(frame.all())
