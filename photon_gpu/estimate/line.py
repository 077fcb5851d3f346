"""The line through the cells: instrumental-variable regression, robust from above, honest intervals.

The estimating equations are those of two-stage least squares (the pooled signal of a level is the
instrument of every cell in it), so noise in a cell's own mean neither dilutes the slope nor chooses
its own weight. What moving structure adds to a variance it also adds to the covariance of neighbouring
pixels; that covariance, extrapolated to distance zero, is subtracted (the *nugget* of geostatistics is
what remains), and space-time units where it is large are left out, the quietest first kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate.pairs import Cells

_ROUNDS = 20
# from strict to "leave nothing out"; the one with the least expected gain error is taken
_BOUNDS = (3.0, 6.0, 12.0, 30.0, 100.0, np.inf)
# share of the subtracted structure that may still be in the variance: 2-9 % in simulations of motion
_LEFTOVER = 0.05
_NUGGETS = {
    "near": (("y1", 2 / 3), ("y2", -1 / 6), ("x1", 2 / 3), ("x2", -1 / 6)),
    "y": (("y1", 4 / 3), ("y2", -1 / 3)),
    "x": (("x1", 4 / 3), ("x2", -1 / 3)),
    "far": (("y2", 0.9), ("y3", -0.4), ("x2", 0.9), ("x3", -0.4)),
    "none": (),
}


def nugget(cells: Cells, scheme: str) -> NDArray:
    """``D^2/6`` less the covariance with neighbours extrapolated to distance 0 (``a + b*distance^2``)."""
    value = cells.form("square").copy()
    for name, factor in _NUGGETS[scheme]:
        value -= factor * cells.form(name)
    return value


def overlap(count: int) -> float:
    """Variance of the mean of ``count`` consecutive products of second differences, in single products.

    Neighbouring second differences of white noise correlate by -4/6 and 1/6; their products by the
    squares of these.
    """
    lags = (1.0, (4 / 6) ** 2, (1 / 6) ** 2)
    total = sum((1 if k == 0 else 2) * max(count - k, 0) * r for k, r in enumerate(lags))
    return total / count**2


@dataclass(frozen=True, kw_only=True)
class Line:
    """``var = gain*z + intercept``.

    Attributes
    ----------
    gain, intercept : float
        ADU per photon, ADU^2.
    covariance : ndarray of shape (2, 2)
        Of (gain, intercept): scatter between units, plus what subtracted structure may have left.
    kept : ndarray of bool, shape (N,)
        Cells the line rests on.
    bound : float
        How strictly moving units were left out, in sigma.
    plain_gain : float
        The gain had nothing been subtracted.
    """

    gain: float
    intercept: float
    covariance: NDArray
    kept: NDArray
    bound: float
    plain_gain: float

    def variance(self, level: NDArray | float) -> NDArray:
        """Variance the line gives at ``level`` ADU."""
        return np.asarray(self.gain * np.asarray(level) + self.intercept)


def group(index: NDArray, values: NDArray, size: int | None = None) -> NDArray:
    """Sum of ``values`` per index."""
    return np.bincount(index, values, int(index.max()) + 1 if size is None else size)


class Problem:
    """The cells arranged for fitting: what stays the same from round to round.

    Parameters
    ----------
    cells : Cells
        All of them.
    usable : ndarray of bool
        False for cells of levels that are clipped.
    even : bool
        Weigh levels by 1/variance, not by information (1/variance^2): where no line is right, a
        compromise over all light beats one that fits the dark end alone.
    """

    def __init__(self, cells: Cells, usable: NDArray, *, even: bool = False) -> None:
        if not usable.any():
            raise InvalidInputError("estimate_noise: no sample is left to fit a line to")
        self.cells, self.usable, self.even = cells, usable, even
        self.signal, self.count = cells.form("signal"), cells.count
        self.levels = len(cells.edges) + 1
        self.per_level = group(cells.level, self.count * usable, self.levels)
        total = group(cells.level, self.count * usable * self.signal, self.levels)
        self.centre = total / np.maximum(self.per_level, 1e-9)
        self.z = self.centre[cells.level]
        tiles = int(cells.tile.max()) + 1
        _, self.unit = np.unique(cells.window.astype(np.int64) * tiles + cells.tile, return_inverse=True)
        self.share = overlap(max(1, round(cells.pairs_per_sample)))
        square = cells.form("square")
        self.floor = 1e-3 * float((self.count * square)[usable].sum() / self.count[usable].sum())

    def noise(self, gain: float, intercept: float) -> tuple[NDArray, NDArray]:
        """Variance at each cell's level, and the weight of one sample there (from the level alone)."""
        sigma2 = np.maximum(gain * self.z + intercept, self.floor)
        weight = 1 / (2 * sigma2**2 + 0.5 * max(gain, 0.0) ** 2 * sigma2)
        return sigma2, weight

    def weight(self, gain: float, intercept: float) -> NDArray:
        """Weight of one sample in the regression."""
        _, weight = self.noise(gain, intercept)
        return np.sqrt(weight) if self.even else weight

    def solve(self, value: NDArray, weight: NDArray, kept: NDArray) -> tuple[float, float, NDArray]:
        """Slope, intercept and the influence of each cell on them, shape (2, N)."""
        w = np.where(kept, weight * self.count, 0.0)
        dz = self.z - (w * self.z).sum() / max(w.sum(), 1e-300)
        design = np.array(
            [[(w * dz * self.signal).sum(), (w * dz).sum()], [(w * self.signal).sum(), w.sum()]]
        )
        spread = float((w * dz * dz).sum())
        if not np.isfinite(design).all() or spread <= 1e-12 * float((w * self.z**2).sum()):
            raise np.linalg.LinAlgError("all levels are the same")
        inverse = np.linalg.inv(design)
        gain, intercept = inverse @ [(w * dz * value).sum(), (w * value).sum()]
        residual = w * (value - gain * self.signal - intercept)
        return float(gain), float(intercept), inverse @ np.stack([residual * dz, residual])

    def scatter(self, influence: NDArray, kept: NDArray) -> NDArray:
        """Covariance of what ``influence`` sums to, from its scatter between space-time units."""
        sums = np.stack([group(self.unit, row) for row in influence])
        live = np.count_nonzero(np.bincount(self.unit[kept]))
        return sums @ sums.T * live / max(live - 2, 1)


def _first(p: Problem, value: NDArray) -> tuple[float, float]:
    """A start: the line through the lower third of about 16 large groups of every level."""
    cells = p.cells
    windows, tiles = int(cells.window.max()) + 1, int(cells.tile.max()) + 1
    index = cells.window * 16 // windows if windows >= 8 else cells.tile * 16 // tiles
    groups = int(index.max()) + 1
    key, size = cells.level * groups + index, p.levels * groups
    mass = group(key, p.count * p.usable, size).reshape(p.levels, groups)
    sums = group(key, p.count * p.usable * value, size).reshape(p.levels, groups)
    filled = (mass > 0).any(axis=1)
    means = np.where(mass > 0, sums / np.maximum(mass, 1e-9), np.nan)[filled]
    low = np.nanquantile(means, 0.3, axis=1)
    weight = np.sqrt(p.per_level[filled]) / np.maximum(low, p.floor)
    if filled.sum() < 2:
        return 0.0, float(low[0])
    design = np.stack([p.centre[filled], np.ones(filled.sum())], axis=1) * weight[:, None]
    (gain, intercept), *_ = np.linalg.lstsq(design, low * weight)
    return float(gain), float(intercept)


def _quiet(p: Problem, gain: float, intercept: float, bound: float, coherent: bool) -> NDArray:
    """Cells left when units, then tiles, then windows that move or stand above the line are taken out."""
    sigma2, weight = p.noise(gain, intercept)
    cells, kept = p.cells, p.usable.copy()
    shared: list[NDArray] = []
    if coherent:
        # lag 1 along x is left out: the bandwidth of a scanning detector correlates raw noise there
        shared.append((cells.form("y1") + cells.form("y2")) / np.sqrt(2) / sigma2)
        shared.append((cells.form("x2") + cells.form("x3")) / np.sqrt(2) / sigma2)
    excess = (cells.form("square") - gain * p.signal - intercept) * np.sqrt(weight)
    for index, slack in ((p.unit, 2.0), (cells.tile, 0.0), (cells.window, 0.0)):
        mass = group(index, np.where(kept, p.count, 0.0))
        live = mass > 0
        if live.sum() < 8:
            continue
        scale = np.sqrt(np.maximum(mass, 1e-9) * p.share)
        bad = np.zeros(len(mass), bool)
        for form in shared:
            score = group(index, np.where(kept, p.count * form, 0.0)) / scale
            # clean scores have a known width: their middle follows from their tenth percentile
            low = float(np.quantile(score[live], 0.1)) + 1.2816 if live.sum() >= 20 else 0.0
            bad |= score > low + bound
        score = group(index, np.where(kept, p.count * excess, 0.0)) / scale
        below = score[live & (score < 0)]
        if below.size > 3:
            bad |= score > (bound + slack) * max(1.0, float(np.sqrt(np.mean(below**2))))
        kept &= ~bad[index]
    return kept


def _fit_at(p: Problem, scheme: str, bound: float, start: tuple[float, float]) -> Line | None:
    square, value = p.cells.form("square"), nugget(p.cells, scheme)
    gain, intercept = start
    kept = p.usable
    for _ in range(_ROUNDS):
        new = _quiet(p, gain, intercept, bound, scheme != "none")
        if p.count[new].sum() < 0.01 * p.count[p.usable].sum():
            return None
        before = gain
        gain, intercept, _ = p.solve(value, p.weight(gain, intercept), new)
        settled = (new != kept).mean() < 1e-4
        kept = new
        if settled and abs(gain - before) < 1e-6 * abs(gain):
            break
    weight = p.weight(gain, intercept)
    gain, intercept, influence = p.solve(value, weight, kept)
    plain_gain, plain_intercept, _ = p.solve(square, weight, kept)
    leftover = _LEFTOVER * np.array([plain_gain - gain, plain_intercept - intercept])
    return Line(
        gain=gain,
        intercept=intercept,
        covariance=p.scatter(influence, kept) + np.outer(leftover, leftover),
        kept=kept,
        bound=bound,
        plain_gain=plain_gain,
    )


def fit(p: Problem, scheme: str) -> Line | None:
    """The line with the least expected gain error over a ladder of strictness; None if there is none."""
    best: Line | None = None
    try:
        start = _first(p, p.cells.form("square"))
        for bound in _BOUNDS:
            line = _fit_at(p, scheme, bound, start)
            if line is not None and (best is None or line.covariance[0, 0] < best.covariance[0, 0]):
                best = line
    except np.linalg.LinAlgError:
        return best
    return best
