"""Clipping levels: values that saturation or a cut at zero puts into many pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError

_LEVELS = 8  # Occupied levels next to the last one; they show how many values to expect there.
_TIMES, _ENOUGH = 4.0, 20
_LEAST_FULL_SCALE = 255  # Digitizers end at 2**n - 1, from this value up.
_ENOUGH_AT_FULL_SCALE = 2
_BLOCK = 2048  # Copies of more than 128 KiB are slow: new pages are cleared for them.
_LARGE = 1 << 20
_FEW = 16  # Levels next to an end that are counted one by one, which is fastest where all are occupied.
_NEAR = 512  # Levels that are counted first: to count all takes a sixth of the encode of a short movie.


@dataclass(frozen=True, kw_only=True)
class ClippingLevels:
    """Lowest and highest value of a movie, each if values pile up there.

    Attributes
    ----------
    low, high : int or None
        ADU. None: no values pile up at this end.

    Examples
    --------
    >>> ClippingLevels(high=16383).to_dict(), bool(ClippingLevels())
    ({'high': 16383}, False)
    """

    low: int | None = None
    high: int | None = None

    def __post_init__(self) -> None:
        for end in (self.low, self.high):
            if end is not None and (type(end) is not int or abs(end) > 1 << 53):
                raise InvalidInputError(f"clipping level is {str(end)[:40]}; a whole number is needed")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InvalidInputError(f"clipping levels are {self.low} and {self.high}; low must be below high")

    def __bool__(self) -> bool:
        return self.low is not None or self.high is not None

    def to_dict(self) -> dict[str, int]:
        """Return the existing levels as a plain dictionary."""
        ends = (("low", self.low), ("high", self.high))
        return {name: level for name, level in ends if level is not None}

    @classmethod
    def from_dict(cls, data: dict[str, Any] | None) -> ClippingLevels:
        """Inverse of :meth:`to_dict`; no levels for None."""
        if data is not None and (not isinstance(data, dict) or not set(data) <= {"low", "high"} or not data):
            raise InvalidInputError(f"clipping levels are {str(data)[:60]}; low, high or both are needed")
        return cls(**(data or {}))


NO_CLIPPING = ClippingLevels()


def clipping_levels(values: Sequence[NDArray]) -> ClippingLevels:
    """Find the levels at which whole numbers pile up.

    An end of the range is such a level if it holds at least 20 values and more than 4 times the median of
    the next 8 occupied levels, or if it is the end of the dtype or of a digitizer (2**n - 1) and holds two
    values.

    Examples
    --------
    >>> light = np.random.default_rng(0).normal(900, 100, 10_000).astype("uint16")
    >>> clipping_levels([light]), clipping_levels([np.minimum(light, 1023)])
    (ClippingLevels(low=None, high=None), ClippingLevels(low=None, high=1023))
    """
    blocks = _blocks(values)
    bottoms, tops = ([extreme(block, axis=1) for block in blocks] for extreme in (np.min, np.max))
    low, high = min(int(some.min()) for some in bottoms), max(int(some.max()) for some in tops)
    full_scale = high == np.iinfo(values[0].dtype).max or (
        high >= _LEAST_FULL_SCALE and not high & (high + 1)
    )

    def above(level: int) -> NDArray:
        """All blocks with values that are at least ``level``, as one array."""
        return np.concatenate(
            [block[top >= level].reshape(-1) for block, top in zip(blocks, tops, strict=True)]
        )

    def below(level: int) -> NDArray:
        rows = zip(blocks, bottoms, strict=True)
        return np.concatenate([block[bottom <= level].reshape(-1) for block, bottom in rows])

    least = _ENOUGH_AT_FULL_SCALE if full_scale else _ENOUGH
    low_piles = _piles(_counts_from(below, low, high, _ENOUGH))
    high_piles = _piles(_counts_from(above, high, low, least), full_scale=full_scale)
    return ClippingLevels(low=low if low_piles else None, high=high if high_piles else None)


def _blocks(values: Sequence[NDArray]) -> list[NDArray]:
    """Values in blocks, ``(blocks, size)``; most blocks of a movie have none near an end of its range."""
    flat = [part.reshape(-1) for part in values]
    whole = [part.size - part.size % _BLOCK if part.size >= _LARGE else 0 for part in flat]
    rest = np.concatenate([part[size:] for part, size in zip(flat, whole, strict=True)])
    flat, whole = [*flat, rest], [*whole, rest.size - rest.size % _BLOCK]
    blocks = [part[:size].reshape(-1, _BLOCK) for part, size in zip(flat, whole, strict=True)]
    return [part for part in (*blocks, rest[whole[-1] :].reshape(1, -1)) if part.size]


def _counts_from(reaching: Callable[[int], NDArray], end: int, other: int, enough: int) -> NDArray[np.int64]:
    """Number of values at each occupied level, from one end on, if that end has ``enough``.

    ``reaching(level)`` returns all values from the end to ``level``, and perhaps others.
    """
    step, span = (1 if other > end else -1), abs(other - end)
    if span < _LEVELS or np.count_nonzero(reaching(end) == end) < enough:
        return np.empty(0, np.int64)
    levels = [end + step * away for away in range(min(_FEW, span) + 1)]
    near = reaching(levels[-1])
    counts = np.array([np.count_nonzero(near == level) for level in levels])
    for reach in (_NEAR, span):
        if np.count_nonzero(counts) > _LEVELS or len(levels) > span:
            break
        edge = end + step * reach
        near = reaching(edge)
        near = near[near <= edge if step > 0 else near >= edge]
        counts = _occupied(near, min(end, edge), max(end, edge))[::step]
    return counts[counts > 0]


def _occupied(values: NDArray, low: int, high: int) -> NDArray[np.int64]:
    """Count the values of each occupied level, from the lowest to the highest."""
    if high - low < 1 << 16:
        counts = np.bincount(values.astype(np.int64) - low, minlength=1)
        return counts[counts > 0]
    return np.unique(values, return_counts=True)[1]


def _piles(counts: NDArray[np.int64], *, full_scale: bool = False) -> bool:
    if counts.size <= _LEVELS or full_scale:
        return counts.size > _LEVELS
    return bool(counts[0] > _TIMES * float(np.median(counts[1 : 1 + _LEVELS])))
