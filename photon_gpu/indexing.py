"""Resolve an index: the frames it needs, the part of each, and the shape of the result.

An index has the same meaning as for NumPy on the decoded array. Frames are decoded chunk by chunk, and NumPy
applies the index to the frames of one chunk at a time. The order of the axes of the result (axes of separated
advanced indices come first) is computed once for the whole result.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.runtime.physical_memory import memory_bytes
from photon_gpu.errors import InvalidIndexError

_Label = tuple[str, int]
"""Axis of a result: ``("axis", n)`` of the movie, ``("point", n)`` of advanced indices, or ``("new", n)``."""

_ALLOWED = (
    "allowed are whole numbers, slices, '...', None, and lists or arrays of whole numbers or of booleans"
)


@dataclass(frozen=True)
class Share:
    """Frames of one chunk that an index selects.

    Attributes
    ----------
    number : int
        Number of the chunk.
    where : (n,) int array
        Positions in the result.
    inside : (n,) int array
        Positions in the chunk.
    """

    number: int
    where: NDArray[np.int64]
    inside: NDArray[np.int64]

    @property
    def span(self) -> tuple[int, int]:
        """First needed frame of the chunk, and the one after the last."""
        return int(self.inside.min()), int(self.inside.max()) + 1

    @property
    def straight(self) -> bool:
        """Whether successive frames of the chunk are successive frames of the result."""
        n = len(self.where)
        return bool(
            (self.where == np.arange(self.where[0], self.where[0] + n)).all()
            and (self.inside == np.arange(self.inside[0], self.inside[0] + n)).all()
        )


def shares(frames: NDArray[np.int64], chunk_frames: int) -> Iterator[Share]:
    """Divide frames among chunks, one share per chunk.

    Examples
    --------
    >>> [(s.number, s.where.tolist(), s.inside.tolist()) for s in shares(np.array([7, 2, 6]), 5)]
    [(0, [1], [2]), (1, [0, 2], [2, 1])]
    """
    numbers = frames // chunk_frames
    order = np.argsort(numbers, kind="stable")
    edges = np.flatnonzero(np.diff(numbers[order])) + 1
    for where in np.split(order, edges) if len(frames) else []:
        number = int(numbers[where[0]])
        yield Share(number, where, frames[where] - number * chunk_frames)


class Selection:
    """Selection of an index from an array of ``shape``, whose first axis counts frames.

    Attributes
    ----------
    shape : tuple of int
        Shape of the result, as from NumPy.
    scalar : bool
        Whether the result is a scalar rather than an array.
    frames : (n,) int array
        Needed frames, in the order in which they are filled in.
    rows : (int, int)
        First needed row of a frame, and the one after the last, counted over all axes but the last.
    whole : bool
        Whether whole frames are selected.
    filled : tuple of int
        Shape of the array that :meth:`put` fills in and :meth:`arranged` turns into the result.

    Raises
    ------
    InvalidIndexError
        The index does not fit the array.

    Examples
    --------
    >>> selection = Selection((2, slice(None), [1, 2]), (10, 4, 5))
    >>> selection.shape, selection.frames.tolist(), selection.rows
    ((2, 4), [2], (0, 4))
    """

    filled: tuple[int, ...]

    def __init__(self, key: Any, shape: tuple[int, ...]) -> None:
        entries = _entries(key, shape)
        time, *rest = [entry for entry in entries if entry.axis is not None]
        block = _broadcast(entries)
        if block is None:  # Integers among slices only remove their axes.
            entries = [entry for entry in entries if not isinstance(entry.value, int)]
            block = ()
        points: list[_Label] = [("point", i) for i in range(len(block))]
        arranged = _labels(entries, points)
        sizes = dict(zip(points, block, strict=True))
        sizes.update((entry.label, entry.length) for entry in entries if isinstance(entry.value, slice))
        self.shape = tuple(sizes.get(label, 1) for label in arranged)
        self.scalar = not self.shape and all(entry.value is not Ellipsis for entry in entries)
        self.rows = _row_span(rest)
        self.whole = all(entry.everything for entry in rest)
        self._points = isinstance(time.value, np.ndarray)
        self._arrays = any(isinstance(entry.value, np.ndarray) for entry in rest)
        self._coupled = self._points and self._arrays  # The selection differs from frame to frame.
        if self._points:
            labels = self._by_points(time.value, rest, block)
        else:
            labels = self._by_slice(time, rest, points)
            sizes["axis", 0] = len(self._frames)
            self.filled = tuple(sizes[label] for label in labels)
            if ("axis", 0) not in arranged:  # One frame: its axis is removed at the end.
                arranged = [("axis", 0), *arranged]
        self._sizes = tuple(sizes[label] for label in labels)
        self._order = [labels.index(label) for label in arranged if label in labels]

    def _by_slice(self, time: _Entry, rest: list[_Entry], points: list[_Label]) -> list[_Label]:
        """Select frames in equal steps, all with the same index."""
        single = not isinstance(time.value, slice)
        chosen = range(time.value, time.value + 1) if single else range(*time.value.indices(time.size))
        self._step = chosen.step if len(chosen) > 1 else 1
        self._frames: range | NDArray[np.int64] = chosen
        # NumPy takes an integer beside arrays as an array. CuPy does so only if it is passed as one.
        self._rest = tuple(
            np.full((1,) * len(points), entry.value)
            if self._arrays and isinstance(entry.value, int)
            else entry.value
            for entry in rest
        )
        entries = [entry for entry in rest if self._arrays or not isinstance(entry.value, int)]
        labels = _labels([_Entry(slice(None), 0), *entries], points if self._arrays else [])
        self._lead = labels.index(("axis", 0))
        return labels

    def _by_points(
        self, frames: NDArray[np.int64], rest: list[_Entry], block: tuple[int, ...]
    ) -> list[_Label]:
        """Select frame by frame. Axes of the block along which frames vary become one, the first."""
        axes = range(len(block))
        frames = _of_depth(frames, len(block))
        along = [axis for axis in axes if frames.shape[axis] != 1 or not self._arrays]
        across = [axis for axis in axes if axis not in along]
        self._frames, self._step, self._lead = frames.reshape(-1), 1, 0
        varying = tuple(frames.shape[axis] for axis in along)

        def aligned(value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            value = _of_depth(value, len(block)).transpose(*along, *across)
            others = value.shape[len(along) :]
            if value.size == math.prod(others):
                return value.reshape(1, *others)
            return np.broadcast_to(value, (*varying, *others)).reshape(len(self._frames), *others)

        self._rest = tuple(aligned(entry.value) for entry in rest)
        self._across = (1,) * len(across)
        slices = [entry for entry in rest if isinstance(entry.value, slice)]
        self.filled = (
            len(self._frames),
            *(block[axis] for axis in across),
            *(entry.length for entry in slices),
        )
        return [*(("point", axis) for axis in [*along, *across]), *(entry.label for entry in slices)]

    @property
    def frames(self) -> NDArray[np.int64]:
        """Compute on request, because the numbers of a range may not fit in memory."""
        chosen = self._frames
        return chosen.start + self._step * np.arange(len(chosen)) if isinstance(chosen, range) else chosen

    def put(self, out: NDArray, share: Share, decoded: NDArray) -> None:
        """Copy a share, whose span of frames was decoded, to ``out``."""
        where, inside = share.where, share.inside - share.span[0]
        to: Any = slice(where[0], where[-1] + 1) if where[-1] - where[0] + 1 == len(where) else where
        if not self._points:
            part = decoded[(slice(None, None, self._step), *self._rest)]
            np.moveaxis(out, self._lead, 0)[to] = np.moveaxis(part, self._lead, 0)
        elif share.straight and not self._coupled:  # Indexing with a list of frames would copy once more.
            out[to] = decoded[(slice(None), *self._rest)]
        else:
            out[to] = decoded[self._at(where, inside)]

    def needed(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Frames of a block that :meth:`taken` reads, and the positions of :attr:`frames` in it."""
        if self._coupled:
            return np.unique(self.frames, return_inverse=True)
        return self.frames, np.arange(len(self.frames))

    def taken(self, block: Any, places: NDArray[np.int64]) -> Any:
        """Result of a block of the needed frames, unless it is empty."""
        index = self._at(np.arange(len(places)), places) if self._coupled else (slice(None), *self._rest)
        return self.arranged(block if self.whole else block[index])

    def _at(self, where: NDArray[np.int64], inside: NDArray[np.int64]) -> tuple[Any, ...]:
        """Index of frames ``inside`` of a block, each with its own selection."""
        rest = (
            part[where] if isinstance(part, np.ndarray) and len(part) != 1 else part for part in self._rest
        )
        return (inside.reshape(-1, *self._across), *rest)

    def arranged(self, out: Any) -> Any:
        """Result of a filled array, unless it is empty: put axes in NumPy's order and add new axes."""
        return out.reshape(self._sizes).transpose(*self._order).reshape(self.shape)


@dataclass(frozen=True)
class _Entry:
    """Part of an index: its value, and the axis that it applies to, if any, with its size."""

    value: Any
    axis: int | None = None
    size: int = 0

    @property
    def label(self) -> _Label:
        return ("new", 0) if self.axis is None else ("axis", self.axis)

    @property
    def length(self) -> int:
        return len(range(*self.value.indices(self.size)))

    @property
    def everything(self) -> bool:
        return isinstance(self.value, slice) and self.value.indices(self.size) == (0, self.size, 1)

    @property
    def reach(self) -> tuple[int, int]:
        """Least and greatest position; the first position if there is none."""
        if isinstance(self.value, slice):
            named = range(*self.value.indices(self.size))
            return (min(named[0], named[-1]), max(named[0], named[-1])) if named else (0, 0)
        places = np.asarray(self.value)
        return (int(places.min()), int(places.max())) if places.size else (0, 0)


def _entries(key: Any, shape: tuple[int, ...]) -> list[_Entry]:
    """Split an index into parts: one per axis, and those that add axes or separate arrays."""
    values = [_value(part) for part in (key if isinstance(key, tuple) else (key,))]
    takes = [_axes(value) for value in values]
    missing, holes = len(shape) - sum(takes), sum(value is Ellipsis for value in values)
    if missing < 0 or holes > 1:
        raise InvalidIndexError(
            f"index {_index_text(key)} is for {sum(takes)} axes and has '...' {holes} times; "
            f"the movie has {len(shape)}, and '...' may be used once"
        )
    entries: list[_Entry] = []
    axis = 0

    def fill() -> None:
        nonlocal axis
        entries.extend(_Entry(slice(None), a, shape[a]) for a in range(axis, axis + missing))
        axis += missing

    for value, count in zip(values, takes, strict=True):
        if value is Ellipsis:
            entries.append(_Entry(value))  # It has no axes, but still separates arrays.
            fill()
        elif not count:
            entries.append(_Entry(value))
        else:
            places = _nonzero(value, shape, axis) if _is_mask(value) else [value]
            for position in places:
                entries.append(_Entry(_within(position, axis, shape[axis]), axis, shape[axis]))
                axis += 1
    if not holes:
        fill()
    return entries


def _value(part: Any) -> Any:
    """Normalize a part of an index: None, ``...``, a slice, a bool, an int, or an integer array."""
    if part is None or part is Ellipsis:
        return part
    if isinstance(part, slice):
        try:
            part.indices(1)
        except (TypeError, ValueError) as error:
            raise InvalidIndexError(f"index {_index_text(part)}: {error}") from error
        return part
    if isinstance(part, (bool, np.bool_)):
        return bool(part)
    try:
        return operator.index(part)
    except TypeError:
        pass
    try:
        array = np.asarray(part)
    except (TypeError, ValueError) as error:
        raise InvalidIndexError(f"index {_index_text(part)} makes no array ({error}); {_ALLOWED}") from error
    if not array.size and not isinstance(part, np.ndarray):
        array = array.astype(np.intp)  # An empty list has no meaningful dtype.
    if array.dtype.kind not in "biu":
        raise InvalidIndexError(f"index {_index_text(part)} is of dtype {array.dtype}; {_ALLOWED}")
    if array.dtype == bool:
        return array if array.ndim else bool(array)
    return array.astype(np.intp, copy=False)


def _is_mask(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == bool


def _axes(value: Any) -> int:
    """Number of axes of the movie that a part applies to."""
    if value is None or value is Ellipsis or isinstance(value, bool):
        return 0
    return int(value.ndim) if _is_mask(value) else 1


def _nonzero(mask: NDArray[np.bool_], shape: tuple[int, ...], axis: int) -> tuple[NDArray[np.int64], ...]:
    """Positions of a mask over the axes from ``axis`` on."""
    wanted = shape[axis : axis + mask.ndim]
    if mask.shape != wanted:
        raise InvalidIndexError(
            f"the mask has shape {mask.shape}; the axes from {axis} on have shape {wanted}"
        )
    needed = 8 * mask.ndim * int(np.count_nonzero(mask))
    if needed > memory_bytes():
        raise InvalidIndexError(
            f"the positions in a mask take {needed:,} bytes; this machine has {memory_bytes():,}: "
            "read fewer frames at a time"
        )
    return mask.nonzero()


def _within(value: Any, axis: int, size: int) -> Any:
    """Integers counted from 0; raise an error for those beyond the axis."""
    if isinstance(value, slice):
        return value
    if isinstance(value, int):
        low = high = value
    else:
        low, high = (int(value.min()), int(value.max())) if value.size else (0, -1)
    if low < -size or high >= size:
        raise InvalidIndexError(
            f"{'frame' if axis == 0 else 'index'} {low if low < -size else high} is out of range: axis "
            f"{axis} has {size}"
        )
    if low >= 0:
        return value
    return value + size if isinstance(value, int) else np.where(value < 0, value + size, value)


def _broadcast(entries: list[_Entry]) -> tuple[int, ...] | None:
    """Broadcast shape of the arrays in an index; None if there are none."""
    arrays = [np.shape(entry.value) for entry in entries if isinstance(entry.value, np.ndarray)]
    arrays += [(int(entry.value),) for entry in entries if isinstance(entry.value, bool)]
    try:
        return np.broadcast_shapes(*arrays) if arrays else None
    except ValueError as error:
        raise InvalidIndexError(
            f"lists and arrays of an index have shapes {', '.join(map(str, arrays))}, which cannot be "
            f"broadcast together"
        ) from error


def _labels(entries: list[_Entry], points: list[_Label]) -> list[_Label]:
    """Axes of a result in order: those of ``points`` in place if arrays are adjacent, else first."""
    labels: list[_Label] = []
    at, apart, between = None, False, False
    for entry in entries:
        if isinstance(entry.value, (int, np.ndarray)):
            apart |= between
            at = len(labels) if at is None else at
            continue
        between = at is not None
        if entry.value is not Ellipsis:
            labels.append(entry.label)
    at = 0 if apart or at is None else at
    return [*labels[:at], *points, *labels[at:]]


def _row_span(rest: list[_Entry]) -> tuple[int, int]:
    """First needed row of a frame and the one after the last, counted over all axes but the last."""
    low = high = 0
    for entry in rest[:-1]:
        least, greatest = entry.reach
        low, high = low * entry.size + least, high * entry.size + greatest
    return low, high + 1


def _of_depth(array: NDArray, depth: int) -> NDArray:
    """Array with this many axes; the added first axes have length 1."""
    return array.reshape((1,) * (depth - array.ndim) + array.shape)


def _index_text(part: Any) -> str:
    """Text of an index for an error."""
    return reprlib.repr(part)[:100]
