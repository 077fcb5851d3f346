"""Photon-transfer curve of a movie: points per level, bend, skewness, correlations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.line_fit import LineFit, NoiseLine, group, nugget


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Photon-transfer curve: one point per level, in order of level.

    Attributes
    ----------
    level : tuple of float
        Mean signal, ADU.
    variance : tuple of float
        Variance of the samples that the line is fitted to, ADU^2.
    error : tuple of float
        Standard error of ``variance``, ADU^2.
    plain : tuple of float
        Variance of all samples, including moving ones, ADU^2.
    samples : tuple of int
        Samples of the point; 0 if the level was left out (clipped or saturated).
    """

    level: tuple[float, ...]
    variance: tuple[float, ...]
    error: tuple[float, ...]
    plain: tuple[float, ...]
    samples: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Correlation of the noise between neighbouring rows (y), columns (x) and frames (t).

    ``*_error`` are standard errors. In space, correlation that also reaches pixels 2 and 3 away is
    structure and does not count. In time, frames one and two apart are compared.
    """

    y: float
    x: float
    t: float
    y_error: float
    x_error: float
    t_error: float


def points(p: LineFit, line: NoiseLine) -> Curve:
    """Compute the curve: means per level of used and of all cells, with errors from the scatter of cells."""
    cells, plain = p.cells, p.square
    value = p.value - line.jitter * cells.form("contrast")
    weight = p.count * line.used
    mass = group(cells.level, weight, p.levels)
    everything = group(cells.level, p.count, p.levels)
    safe = np.maximum(mass, 1e-9)
    variance = group(cells.level, weight * value, p.levels) / safe
    scatter = group(cells.level, (weight * (value - variance[cells.level])) ** 2, p.levels)
    signal = np.where(mass > 0, group(cells.level, weight * p.signal, p.levels) / safe, 0.0)
    total = np.maximum(everything, 1e-9)
    overall = group(cells.level, p.count * p.signal, p.levels) / total
    level = np.where(mass > 0, signal, overall)
    used = np.flatnonzero(everything >= 50)
    used = used[np.argsort(level[used])]

    def column(values: NDArray) -> tuple[float, ...]:
        return tuple(float(v) for v in values[used])

    return Curve(
        level=column(level),
        variance=column(np.where(mass > 0, variance, np.nan)),
        error=column(np.where(mass > 0, np.sqrt(scatter) / safe, np.nan)),
        plain=column(group(cells.level, p.count * plain, p.levels) / total),
        samples=tuple(int(v) for v in mass[used]),
    )


def bend(p: LineFit, line: NoiseLine) -> tuple[float, float]:
    """Coefficient of ``(z - pivot)^2`` beside the line, and its standard error, 1/1 (ADU^2 per ADU^2)."""
    w = np.where(line.used, p.weight(line.gain, line.intercept, line.jitter) * p.count, 0.0)
    level, dz = p.z_stratum[p.cells.stratum], p.light
    pivot = (w * level).sum() / w.sum()
    dz = dz - (w * dz).sum() / w.sum()
    scale = float(np.sqrt((w * dz * dz).sum() / w.sum())) or 1.0
    # Square the stratum's own mean: the mean of other frames is blurred, which alone would bend the curve.
    basis = np.stack([np.ones_like(dz), dz / scale, (dz / scale) ** 2])
    regressors = np.stack([np.ones_like(dz), (p.signal - pivot) / scale, ((level - pivot) / scale) ** 2])
    design = (basis * w) @ regressors.T / w.sum()
    if not np.isfinite(design).all() or np.linalg.cond(design) > 1e10:
        return 0.0, float("inf")
    inverse = np.linalg.inv(design) / w.sum()
    value = p.value - line.jitter * p.cells.form("contrast")
    solution = inverse @ ((basis * w) @ value)
    influence = inverse @ (basis * (w * (value - solution @ regressors)))
    error = float(np.sqrt(p.scatter(influence, line.used)[2, 2]))
    return float(solution[2]) / scale**2, error / scale**2


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Third and fourth cumulants of the noise, with standard errors.

    Attributes
    ----------
    skewness, skewness_error : float
        Slope of the third cumulant over the gain squared. It is 1 if all photons are amplified alike
        (Poisson), and more if the charge per photon varies: ``2 - 1/F`` for a gamma distribution with excess
        noise factor F.
    overall, overall_error : float
        Mean of the third cumulant over gain times variance: the skewness without the extrapolation to no
        light. Read noise has variance only, so it is at most ``skewness``, and has a smaller error.
    kurtosis, kurtosis_error : float
        Mean of the fourth cumulant over the squared variance. Photons, and mixtures of noise of several
        widths, make it positive.
    """

    skewness: float
    skewness_error: float
    overall: float
    overall_error: float
    kurtosis: float
    kurtosis_error: float


_INF = float("inf")
UNKNOWN = Moments(
    skewness=0.0,
    skewness_error=_INF,
    overall=0.0,
    overall_error=_INF,
    kurtosis=0.0,
    kurtosis_error=_INF,
)
"""Moments of a movie without a gain."""


def moments(p: LineFit, line: NoiseLine) -> Moments:
    """Measure the third and fourth cumulants in the cells that the line is fitted to."""
    used, gain = line.used, line.gain
    if p.units(used) <= 2:
        return UNKNOWN
    sigma2 = p.sigma2(gain, line.intercept)
    cube = p.cells.form("cube")
    third, by_third = p.solve(cube, 1 / sigma2**3, used)
    # The variance of the stratum itself, so that a bend of the curve is not taken for kurtosis.
    weight = p.count * used
    mass = group(p.cells.stratum, weight, p.strata)
    own = (group(p.cells.stratum, weight * p.square, p.strata) / np.maximum(mass, 1e-9))[p.cells.stratum]
    scale = np.where(used, p.count / sigma2**3, 0.0)
    overall, overall_error = _ratio(p, line, scale * cube, scale * gain * own)
    value = p.cells.form("fourth") - 12 * own * p.square + 6 * own**2
    scaled = np.divide(value, own**2, out=np.zeros_like(value), where=used & (own > 0))
    kurtosis = float((weight * scaled).sum() / weight.sum())
    by_kurtosis = (weight * (scaled - kurtosis) / weight.sum())[None, :]

    def error(influence: NDArray) -> float:
        return float(np.sqrt(p.scatter(influence, used)[0, 0]))

    return Moments(
        skewness=float(third[0]) / gain**2,
        skewness_error=error(by_third[:1]) / gain**2,
        overall=overall,
        overall_error=overall_error,
        kurtosis=kurtosis,
        kurtosis_error=error(by_kurtosis),
    )


def correlation(p: LineFit, line: NoiseLine) -> Correlation:
    """Correlations of the noise in the cells that the line is fitted to."""
    sigma2 = p.sigma2(line.gain, line.intercept)
    w = np.where(line.used, p.count / sigma2, 0.0)
    own = w * p.square
    out = {}
    for axis in "yx":
        one, two, three = (p.cells.form(f"{axis}{k}") for k in (1, 2, 3))
        # Jittering structure correlates over one pixel too: subtract what is proportional to the contrast.
        out[axis] = _flat_ratio(p, line, one - 1.6 * two + 0.6 * three, w, own)
    near, far = p.cells.form("t1"), p.cells.form("t2")
    rho, error = _flat_ratio(p, line, far - near, w, w * far)
    return Correlation(
        y=out["y"][0], x=out["x"][0], t=rho, y_error=out["y"][1], x_error=out["x"][1], t_error=error
    )


def _flat_ratio(
    p: LineFit, line: NoiseLine, value: NDArray, w: NDArray, denominator: NDArray
) -> tuple[float, float]:
    """Ratio of ``w * value``, without its part that is proportional to the contrast, and its error.

    The error of that part counts: in few pixels or on an even slope, noise determines it.
    """
    if p.scheme == "none":
        return _ratio(p, line, w * value, denominator)
    weight = p.weight(line.gain, line.intercept, line.jitter)
    solution, influence = p.solve(value, weight, line.used, contrast=True)
    contrast = p.cells.form("contrast")
    return _ratio(p, line, w * (value - solution[2] * contrast), denominator, -(w @ contrast) * influence[2])


def _ratio(
    p: LineFit, line: NoiseLine, numerator: NDArray, denominator: NDArray, correction: NDArray | float = 0.0
) -> tuple[float, float]:
    total = denominator.sum()
    if not total > 0:
        return 0.0, float("inf")
    ratio = float(numerator.sum() / total)
    influence = (numerator - ratio * denominator + correction)[None, :] / total
    return ratio, float(np.sqrt(p.scatter(influence, line.used)[0, 0]))


def structure_share(p: LineFit) -> float:
    """Share of the change between frames that neighbours have in common, which is structure, not noise."""
    total = float((p.count * p.square).sum())
    return float((p.count * (p.square - nugget(p.cells, "near"))).sum()) / total if total > 0 else 0.0
