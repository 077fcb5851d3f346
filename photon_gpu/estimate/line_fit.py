"""Fit variance against light: instrumental variables, robust to outliers above, with intervals.

The instrument of every cell in a stratum is the light of the stratum in other frames. So noise in a cell's
own mean neither dilutes the slope nor determines its own weight. Moving structure is removed in three ways:

- Smooth structure adds equally to the variance and to the covariance of neighbouring pixels. This covariance,
  extrapolated to distance zero, is subtracted (what remains is the *nugget* of geostatistics).
- What structure adds to single pixels is proportional to the local contrast, which is a second regressor.
- Units of space and time that still move are left out, with the strictness of the least expected error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate.second_differences import FORMS, Cells

_ROUNDS, _STEPS = 3, 12
# From strict to "leave nothing out".
_BOUNDS = (3.0, 6.0, 12.0, 30.0, 100.0, np.inf)
# Share of the subtracted structure that remains: -10 to 20 % in simulations of motion.
_LEFTOVER = 0.15
# Share of the difference between near and far neighbours, extrapolated to distance zero. Both shares were
# chosen so that 95 % intervals hold the truth in 95 to 97 % of 264 simulated movies.
_DISAGREED = 1 / 3
# 97.5th percentiles of Student's t for 1, 2, ... degrees of freedom, and of the normal distribution.
_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31)
_STUDENT_MANY = 1.96
_FEW_UNITS = 10
# Relative error of the correction for contrast in one stratum.
_CURVED = 0.2
# Prior: the share of a squared contrast that motion may add to a variance. A jitter of 0.3 pixels adds 0.18,
# of which subtracting the covariance of neighbours leaves 0.05.
JITTER, JITTER_LIMIT = 0.1, 0.3
_NUGGETS = {
    "near": (("y1", 2 / 3), ("y2", -1 / 6), ("x1", 2 / 3), ("x2", -1 / 6)),
    "y": (("y1", 4 / 3), ("y2", -1 / 3)),
    "x": (("x1", 4 / 3), ("x2", -1 / 3)),
    "far": (("y2", 0.9), ("y3", -0.4), ("x2", 0.9), ("x3", -0.4)),
    "none": (),
}


def nugget(cells: Cells, scheme: str) -> NDArray:
    """``D^2/6`` minus the covariance with neighbours, extrapolated to distance 0 (``a + b*distance^2``)."""
    return nugget_of(cells.means.T, scheme)


def nugget_of(forms: NDArray, scheme: str) -> NDArray:
    """Compute :func:`nugget` of an array of forms, in the order of ``FORMS``."""
    value = forms[FORMS.index("square")].copy()
    for name, factor in _NUGGETS[scheme]:
        value -= factor * forms[FORMS.index(name)]
    return np.asarray(value)


def leftover(subtracted: float, disagreed: float) -> tuple[float, float]:
    """Uncertainty of a gain from which structure was subtracted.

    ``subtracted`` is what was subtracted from the gain, ``disagreed`` what far neighbours would change.
    """
    return _LEFTOVER * subtracted, _DISAGREED * disagreed


def overlap(count: int) -> float:
    """Variance of the mean of ``count`` consecutive products of second differences, in single products.

    Neighbouring second differences of white noise have correlations of -4/6 and 1/6; their products have the
    squares of these.
    """
    lags = (1.0, (4 / 6) ** 2, (1 / 6) ** 2)
    total = sum((1 if k == 0 else 2) * max(count - k, 0) * r for k, r in enumerate(lags))
    return total / count**2


@dataclass(frozen=True, kw_only=True)
class NoiseLine:
    """``var = gain*z + intercept``.

    Attributes
    ----------
    gain, intercept : float
        ADU per photon, ADU^2.
    jitter : float
        Variance added per squared contrast between neighbours, ADU^2 per ADU^2.
    covariance : ndarray of shape (2, 2)
        Of (gain, intercept): the scatter between units, plus the uncertainty of the corrections, which does
        not shrink with the number of pairs.
    used : ndarray of bool, shape (N,)
        Cells that the line is fitted to.
    bound : float
        Strictness with which moving units were left out, in sigma.
    plain_gain : float
        Gain without subtracting structure.
    """

    gain: float
    intercept: float
    jitter: float
    covariance: NDArray
    used: NDArray
    bound: float
    plain_gain: float

    def variance(self, level: NDArray | float) -> NDArray:
        """Variance of the line at ``level`` ADU."""
        return np.asarray(self.gain * np.asarray(level) + self.intercept)


def group(index: NDArray, values: NDArray, size: int | None = None) -> NDArray:
    """Sum of ``values`` per index."""
    return np.bincount(index, values, int(index.max()) + 1 if size is None else size)


class LineFit:
    """Cells arranged for fitting, with everything that is the same in each round.

    Parameters
    ----------
    cells : Cells
        All cells.
    usable : ndarray of bool
        False for cells of levels that are clipped.
    scheme : str
        Neighbours whose covariance is subtracted: near, y, x, far, none.
    """

    def __init__(self, cells: Cells, usable: NDArray, scheme: str) -> None:
        if not usable.any():
            raise InvalidInputError("estimate_noise: no sample is left to fit a line to")
        self.cells, self.usable, self.scheme = cells, usable, scheme
        self.signal, self.count = cells.form("signal"), cells.count
        self.square, self.value = cells.form("square"), nugget(cells, scheme)
        self.levels, self.strata = len(cells.edges) + 1, int(cells.stratum.max()) + 1
        mass = self.count * usable
        self.per_level = group(cells.level, mass, self.levels)
        self.per_stratum = group(cells.stratum, mass, self.strata)
        self.centre = group(cells.level, mass * self.signal, self.levels) / np.maximum(self.per_level, 1e-9)
        safe = np.maximum(self.per_stratum, 1e-9)
        self.z_stratum = group(cells.stratum, mass * self.signal, self.strata) / safe
        self.contrast_stratum = group(cells.stratum, mass * cells.form("contrast"), self.strata) / safe
        light = group(cells.stratum, mass * cells.instrument, self.strata) / safe
        steep = group(cells.stratum, mass * cells.steepness, self.strata) / safe
        self.light, self.steep = light[cells.stratum], steep[cells.stratum]
        self.z = self.centre[cells.level]
        tiles = int(cells.tile.max()) + 1
        pair = cells.window.astype(np.int64) * tiles + cells.tile
        units, self.unit = np.unique(pair, return_inverse=True)
        self.unit_window, self.unit_tile = units // tiles, units % tiles
        pairs = cells.pairs_per_sample
        self.share = 1 / max(pairs, 1.0) if cells.trend else overlap(max(1, round(pairs)))
        self.floor = 1e-3 * float((mass * self.square).sum() / mass.sum())

    def sigma2(self, gain: float, intercept: float) -> NDArray:
        """Variance at each cell's level."""
        return np.maximum(gain * self.z + intercept, self.floor)

    def information(self, gain: float, intercept: float) -> NDArray:
        """Inverse variance of one sample per cell, from its stratum alone."""
        sigma2 = np.maximum(gain * self.z_stratum + intercept, self.floor)
        return (1 / (3 * sigma2**2 + 0.5 * max(gain, 0.0) ** 2 * sigma2))[self.cells.stratum]

    def weight(self, gain: float, intercept: float, jitter: float) -> NDArray:
        """Weight of one sample in the regression, from its stratum alone."""
        sigma2 = np.maximum(gain * self.z_stratum + intercept, self.floor)
        spread = 3 * sigma2**2 + 0.5 * max(gain, 0.0) ** 2 * sigma2
        # A steep stratum is never better than its correction for contrast, however many samples it has.
        doubt = (
            (_CURVED * jitter * self.contrast_stratum) ** 2 * self.per_stratum * self.cells.pairs_per_sample
        )
        return (1 / (spread + doubt))[self.cells.stratum]

    def scatter(self, influence: NDArray, used: NDArray) -> NDArray:
        """Covariance of the sums of ``influence``, from their scatter between space-time units."""
        sums = np.stack([group(self.unit, row) for row in influence])
        live = self.units(used)
        return sums @ sums.T * live / max(live - 2, 1)

    def units(self, used: NDArray) -> int:
        """Number of space-time units in use. The scatter between two or fewer tells nothing."""
        return int(np.count_nonzero(np.bincount(self.unit[used])))

    def regression(self, weight: NDArray, *, contrast: bool) -> tuple[NDArray, NDArray, float]:
        """Instruments and regressors, shape (k, N), and the pivot of the levels.

        Regressors are 1, signal and, if asked for, contrast. Their instruments are averages of *other* frames
        over the stratum. There are as many instruments as regressors, so many instruments cause no bias.
        """
        w = weight * self.count
        pivot = float((w * self.usable * self.light).sum() / (w * self.usable).sum())
        rows = [np.ones_like(w), self.signal - pivot]
        tools = [np.ones_like(w), self.light - pivot]
        if contrast:
            rows.append(self.cells.form("contrast"))
            # Use only the part of the steepness of other frames that these frames confirm.
            mass = w * self.usable
            confirmed, shown = (_residual(v, tools[1], mass) for v in (rows[2], self.steep))
            power = float((mass * shown * shown).sum())
            trust = float((mass * shown * confirmed).sum()) / power if power > 0 else 0.0
            tools.append(max(trust, 0.0) * self.steep)
        return np.stack(tools), np.stack(rows), pivot

    def solve(
        self, value: NDArray, weight: NDArray, used: NDArray, *, contrast: bool = False
    ) -> tuple[NDArray, NDArray]:
        """Coefficients (gain, intercept[, jitter]) and the influence of each cell on them, shape (k, N)."""
        tools, rows, pivot = self.regression(weight, contrast=contrast)
        w = np.where(used, weight * self.count, 0.0)
        design = (tools * w) @ rows.T
        if contrast:
            design[2, 2] += self.share / JITTER**2
        inverse = _inverse(design)
        solution = inverse @ ((tools * w) @ value)
        if contrast and abs(solution[2]) > JITTER_LIMIT:
            # This is something other than jitter: correct no further.
            fixed = math.copysign(JITTER_LIMIT, solution[2])
            solution, influence = self.solve(value - fixed * rows[2], weight, used)
            return np.append(solution, fixed), np.vstack([influence, np.zeros_like(w)])
        influence = inverse @ (tools * (w * (value - solution @ rows)))
        turn = np.eye(len(solution))
        turn[:2, :2] = np.array([[0.0, 1.0], [1.0, -pivot]])
        return turn @ solution, turn @ influence


def _residual(values: NDArray, light: NDArray, mass: NDArray) -> NDArray:
    """``values`` minus their regression line on ``light``."""
    centred = values - (mass * values).sum() / mass.sum()
    light = light - (mass * light).sum() / mass.sum()
    power = float((mass * light * light).sum())
    slope = float((mass * light * centred).sum()) / power if power > 0 else 0.0
    return np.asarray(centred - slope * light)


def _inverse(design: NDArray) -> NDArray:
    size = np.sqrt(np.abs(np.diag(design)))
    if not np.isfinite(design).all() or not (size > 0).all():
        raise np.linalg.LinAlgError("all levels are the same")
    scaled = design / np.outer(size, size)
    if np.linalg.cond(scaled) > 1e8:
        raise np.linalg.LinAlgError("all levels are the same")
    return np.linalg.inv(scaled) / np.outer(size, size)


def _first(p: LineFit) -> tuple[float, float]:
    """Start values: the line through the lower third of about 16 large groups of every level."""
    cells = p.cells
    windows, tiles = int(cells.window.max()) + 1, int(cells.tile.max()) + 1
    index = cells.window * 16 // windows if windows >= 8 else cells.tile * 16 // tiles
    groups = int(index.max()) + 1
    key, size = cells.level * groups + index, p.levels * groups
    mass = group(key, p.count * p.usable, size).reshape(p.levels, groups)
    sums = group(key, p.count * p.usable * p.square, size).reshape(p.levels, groups)
    filled = (mass > 0).any(axis=1)
    means = np.where(mass > 0, sums / np.maximum(mass, 1e-9), np.nan)[filled]
    low = np.nanquantile(means, 0.3, axis=1)
    weight = np.sqrt(p.per_level[filled]) / np.maximum(low, p.floor)
    if filled.sum() < 2:
        return 0.0, float(low[0])
    design = np.stack([p.centre[filled], np.ones(filled.sum())], axis=1) * weight[:, None]
    (gain, intercept), *_ = np.linalg.lstsq(design, low * weight)
    return float(gain), float(intercept)


class _Units:
    """Sums per space-time unit with fixed weights, enough for selecting units and solving."""

    def __init__(self, p: LineFit, gain: float, intercept: float, jitter: float) -> None:
        self.p = p
        sigma2, root = p.sigma2(gain, intercept), np.sqrt(p.information(gain, intercept))
        usable = np.where(p.usable, p.count, 0.0)
        self.mass = group(p.unit, usable)
        # Lag 1 along x is left out: the bandwidth of a scanning detector correlates raw noise there.
        pairs = (("y1", "y2"), ("x2", "x3")) if p.scheme != "none" else ()
        forms = [(p.cells.form(a) + p.cells.form(b)) / np.sqrt(2) / sigma2 for a, b in pairs]
        self.shared = [group(p.unit, usable * form) for form in forms]
        self.excess = [group(p.unit, usable * root * form) for form in (p.square, p.signal, 1.0)]
        weight = p.weight(gain, intercept, jitter)
        tools, rows, self.pivot = p.regression(weight, contrast=p.scheme != "none")
        w = weight * usable
        self.design = np.array([[group(p.unit, w * t * r) for r in rows] for t in tools])
        self.right = np.array([group(p.unit, w * t * p.value) for t in tools])

    def quiet(self, gain: float, intercept: float, bound: float) -> NDArray:
        """Leave out units, tiles and windows that move or lie above the line; return the other units."""
        p = self.p
        used = self.mass > 0
        excess = self.excess[0] - gain * self.excess[1] - intercept * self.excess[2]
        every = np.arange(len(used))
        for index, slack in ((every, 2.0), (p.unit_tile, 0.0), (p.unit_window, 0.0)):
            mass = group(index, np.where(used, self.mass, 0.0))
            live = mass > 0
            if live.sum() < 8:
                continue
            scale = np.sqrt(np.maximum(mass, 1e-9) * p.share)
            bad = np.zeros(len(mass), bool)
            for form in self.shared:
                score = group(index, np.where(used, form, 0.0)) / scale
                # Clean scores have a known width, so their median follows from their tenth percentile.
                low = float(np.quantile(score[live], 0.1)) + 1.2816 if live.sum() >= 20 else 0.0
                bad |= score > low + bound
            score = group(index, np.where(used, excess, 0.0)) / scale
            below = score[live & (score < 0)]
            if below.size > 3:
                bad |= score > (bound + slack) * max(1.0, float(np.sqrt(np.mean(below**2))))
            used &= ~bad[index]
        return used

    def solve(self, used: NDArray) -> tuple[float, float, float]:
        design = self.design[:, :, used].sum(axis=2)
        if len(design) > 2:
            design[2, 2] += self.p.share / JITTER**2
        right = self.right[:, used].sum(axis=1)
        solution = _inverse(design) @ right
        jitter = float(solution[2]) if len(solution) > 2 else 0.0
        if abs(jitter) > JITTER_LIMIT:
            jitter = math.copysign(JITTER_LIMIT, jitter)
            solution = _inverse(design[:2, :2]) @ (right - jitter * design[:, 2])[:2]
        return float(solution[1]), float(solution[0] - self.pivot * solution[1]), jitter


def _fit_at(
    p: LineFit, bound: float, start: tuple[float, float, float], units: _Units | None = None
) -> NoiseLine | None:
    gain, intercept, jitter = start
    kept_units = np.zeros(0, bool)
    for _ in range(_ROUNDS):
        if units is None:
            units = _Units(p, gain, intercept, jitter)
        before = gain
        for _ in range(_STEPS):
            again = units.quiet(gain, intercept, bound)
            if units.mass[again].sum() < 0.01 * units.mass.sum():
                return None
            settled = len(kept_units) == len(again) and bool((kept_units == again).all())
            kept_units = again
            gain, intercept, jitter = units.solve(kept_units)
            if settled:
                break
        units = None
        if abs(gain - before) < 1e-3 * abs(gain):
            break
    return finish(p, p.usable & kept_units[p.unit], (gain, intercept, jitter), bound)


def finish(p: LineFit, used: NDArray, state: tuple[float, float, float], bound: float) -> NoiseLine:
    """Solve for the cells ``used``, weighted by the state (gain, intercept, jitter), with intervals."""
    contrast = p.scheme != "none"
    weight = p.weight(*state)
    solution, influence = p.solve(p.value, weight, used, contrast=contrast)
    plain, _ = p.solve(p.square, weight, used)
    covariance = _of_few(p, influence[:2], used)
    systematic = [_LEFTOVER * (plain[:2] - solution[:2])]
    if contrast and p.scheme != "far":
        far, _ = p.solve(nugget(p.cells, "far"), weight, used, contrast=True)
        systematic.append(_DISAGREED * (far[:2] - solution[:2]))
    for left in systematic:
        covariance = covariance + np.outer(left, left)
    return NoiseLine(
        gain=float(solution[0]),
        intercept=float(solution[1]),
        jitter=float(solution[2]) if contrast else 0.0,
        covariance=covariance,
        used=used,
        bound=bound,
        plain_gain=float(plain[0]),
    )


def _of_few(p: LineFit, influence: NDArray, used: NDArray) -> NDArray:
    """Covariance of the line: the scatter between units, and if they are few, at least that between cells.

    Two units or fewer have no scatter, because the line goes through them. Few units scatter by chance less
    than they should, which Student's t makes up for.
    """
    units = p.units(used)
    covariance = p.scatter(influence, used)
    if units > _FEW_UNITS:
        return covariance
    cells = influence[:, used]
    widest = cells @ cells.T * cells.shape[1] / max(cells.shape[1] - 3, 1)
    if units <= 2:
        return np.asarray(widest * (_STUDENT[1] / _STUDENT_MANY) ** 2)
    widest = max(1.0, covariance[0, 0] / max(widest[0, 0], 1e-300)) * widest
    return np.asarray(widest * (_STUDENT[min(units - 2, len(_STUDENT)) - 1] / _STUDENT_MANY) ** 2)


def fit(p: LineFit) -> NoiseLine | None:
    """Fit at several levels of strictness; return the line with the least expected gain error, or None."""
    if not p.floor > 0:  # no sample scatters, as in a ramp without noise: all weights would be infinite
        return None
    best: NoiseLine | None = None
    start = (*_first(p), 0.0)
    units = _Units(p, *start)
    everything = float(p.count[p.usable].sum())
    for bound in _BOUNDS:
        try:
            line = _fit_at(p, bound, start, units)
        except np.linalg.LinAlgError:
            continue
        if line is None:
            continue
        if best is None or line.covariance[0, 0] < best.covariance[0, 0]:
            best = line
        if p.count[line.used].sum() > 0.998 * everything:  # Laxer bounds would keep the same units.
            break
    return best
