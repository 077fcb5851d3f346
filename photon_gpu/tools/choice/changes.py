"""Compare what storing changes in a result with what redrawn noise changes in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ADDED_VARIANCE = 0.10
"""Largest variance that storing may add to a result, relative to that of one take."""

LIMIT = math.sqrt(ADDED_VARIANCE / 2)
"""Largest ratio of the change by storing to the difference of two takes: 0.22."""

_CHANCE = 0.95
_TRIALS = 1000


@dataclass(frozen=True, kw_only=True)
class Change:
    """Change that one step makes in one result.

    Attributes
    ----------
    name : str
        The result.
    change : float
        Root mean square of stored minus original, in units of the result.
    redraw : float
        Root mean square of the difference of two takes of the same scene, in units of the result.
    ratio : float
        Change by storing over difference of two takes. Each item of a two-dimensional result is divided by
        its own. Of results that are whole numbers: share of the entries that change over the share that
        differs between two takes.
    limit : float
        Ratio up to which the change is not distinguishable: 0.22; above that for few numbers, which scatter.
    bias : float
        Mean of stored minus original, in standard deviations of one take.
    """

    name: str
    change: float
    redraw: float
    ratio: float
    limit: float
    bias: float

    @property
    def distinguishable(self) -> bool:
        """Whether the change is too large to be lost in the noise."""
        return not self.ratio <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {**asdict(self), "distinguishable": self.distinguishable}


def compare(
    name: str,
    stored: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    takes: Sequence[NDArray[np.float64]],
    seed: int,
) -> Change | None:
    """Compare one result; None if it is never finite.

    Parameters
    ----------
    name : str
    stored : sequence of (ndarray, ndarray)
        Result of a movie, and of the same movie after it was stored.
    takes : sequence of ndarray
        Results of redrawn takes; at least 3.
    seed : int

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> takes = [rng.normal(0, 1, 5000) for _ in range(6)]
    >>> pairs = [(take, take + rng.normal(0, 0.5 / 12**0.5, 5000)) for take in takes[:2]]
    >>> found = compare("mean", pairs, takes, 0)
    >>> round(found.ratio, 2), found.distinguishable
    (0.1, False)
    """
    everything = [*takes, *(result for pair in stored for result in pair)]
    usable = np.all([np.isfinite(result) for result in everything], axis=0)
    if not usable.any():
        return None
    whole = all(np.array_equal(np.rint(result[usable]), result[usable]) for result in everything)
    items = usable.shape[0] if usable.ndim > 1 and not whole else 1

    def per_item(squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each item over its samples; NaN without any."""
        kept = np.where(usable, squares, 0.0).reshape(items, -1).sum(1)
        with np.errstate(invalid="ignore"):
            return np.asarray(kept / usable.reshape(items, -1).sum(1))

    def relative(squares: NDArray[np.float64]) -> float:
        """Mean over the items, each in units of the variance of one take."""
        mine = per_item(squares)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = np.where((mine == 0) & (one_take == 0), 0.0, mine / one_take)
        return float(np.nanmean(ratios))

    clean = [np.where(usable, result, 0.0) for result in takes]
    one_take = per_item(np.var(clean, axis=0, ddof=1))
    moved = [np.where(usable, after - before, 0.0) for before, after in stored]
    added = float(np.mean([relative(change**2) for change in moved]))
    pairs = [
        relative((one - two) ** 2) / 2 for number, one in enumerate(clean) for two in clean[number + 1 :]
    ]
    # Where a result is few numbers, even a harmless change may be large by chance: then the limit is that
    # which a harmless change exceeds in one of twenty trials.
    drawn = np.random.default_rng(seed).choice(pairs, (_TRIALS, len(moved))).mean(1)
    chance = max(float(np.quantile(drawn, _CHANCE)) / max(float(np.mean(pairs)), 1e-300), 1.0)
    if whole and usable.sum() > 1:  # storing changes fewer entries than a take does, which scatter more
        chance = 1 + (chance - 1) / math.sqrt(LIMIT)
    variance = float(np.nanmean(one_take))
    shift = float(np.sum(moved) / (usable.sum() * len(moved)))
    return Change(
        name=name,
        change=math.sqrt(float(np.mean([np.nanmean(per_item(change**2)) for change in moved]))),
        redraw=math.sqrt(2 * variance),
        ratio=added / 2 if whole else math.sqrt(added / 2),
        limit=LIMIT * (chance if whole else math.sqrt(chance)),
        bias=shift / math.sqrt(variance) if variance else (math.copysign(math.inf, shift) if shift else 0.0),
    )
