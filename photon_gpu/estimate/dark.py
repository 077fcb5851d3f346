"""Separate offset and read variance by a dark recording, dark pixels, or a floor.

The line ``var = gain*z + c`` determines only ``c = variance - gain*offset``. Offset and variance can be
separated only by a point of the line that is known to be dark. For dark pixels that are cut off at the
lowest level see :mod:`photon_gpu.estimate.censored_dark_fit`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from photon_gpu.estimate.line_fit import LineFit, NoiseLine, group
from photon_gpu.estimate.second_differences import Cells
from photon_gpu.estimate.value_histogram import HistogramLevels


@dataclass(frozen=True, kw_only=True)
class Dark:
    """Offset and read variance of a point without light.

    Attributes
    ----------
    offset, variance : float
        ADU, ADU^2.
    offset_error, variance_error : float
        Standard errors.
    how : str
        ``"dark recording"``, ``"dark pixels"``, ``"clipping"`` or ``"floor"``.
    """

    offset: float
    variance: float
    offset_error: float
    variance_error: float
    how: str


def recording(cells: Cells) -> Dark:
    """Measure mean and variance of a recording taken without light."""
    p = LineFit(cells, cells.count > 0, "none")
    offset, offset_error = _mean(p, "signal", p.usable)
    variance, variance_error = _mean(p, "square", p.usable)
    return Dark(
        offset=offset,
        variance=variance,
        offset_error=offset_error,
        variance_error=variance_error,
        how="dark recording",
    )


def _mean(p: LineFit, form: str, chosen: np.ndarray) -> tuple[float, float]:
    weight = np.where(chosen, p.count, 0.0) / p.count[chosen].sum()
    value = float((weight * p.cells.form(form)).sum())
    influence = (weight * (p.cells.form(form) - value))[None, :]
    return value, float(np.sqrt(p.scatter(influence, chosen)[0, 0]))


def floor(line: NoiseLine, levels: HistogramLevels) -> Dark | None:
    """Take the lowest level as the offset if many samples lie there and the line has no noise there."""
    if not np.isfinite(levels.bottom):
        return None
    at = np.array([levels.bottom, 1.0])
    variance = float(at @ [line.gain, line.intercept])
    error = float(np.sqrt(at @ line.covariance @ at))
    # Read noise of a tenth of a photon cannot be distinguished from zero, and is harmless.
    if abs(variance) > max(3 * error, 0.01 * line.gain**2) or error > 0.1 * line.gain**2:
        return None
    return Dark(
        offset=levels.bottom,
        variance=max(variance, 0.0) if variance > 3 * error else 0.0,
        offset_error=0.0,
        variance_error=error,
        how="floor",
    )


def pixels(p: LineFit, line: NoiseLine) -> Dark | None:
    """Find dark tiles: they share the lowest level, agree with each other, and their noise is not skewed.

    Light skews the noise: the third cumulant is at least ``gain^2 * (z - offset)`` (equal for pulses of one
    size). So a symmetric distribution limits the light on these tiles.
    """
    cells, weight = p.cells, p.count * line.used
    mass = group(cells.tile, weight)
    good = mass >= 0.25 * np.median(mass[mass > 0])
    if good.sum() < 16:
        return None
    safe = np.maximum(mass, 1e-9)
    level = group(cells.tile, weight * p.signal) / safe
    spread = np.maximum(line.variance(level), p.floor)
    # Half the weight of the second differences lies on as many frames as there are pairs.
    error = np.sqrt(spread / safe / max(p.cells.pairs_per_sample, 1.0))
    start = float(np.quantile(level[good], 0.02))
    chosen = good & (np.abs(level - start) < 4 * error + 0.05 * np.sqrt(spread))
    for _ in range(5):
        if chosen.sum() < max(8, 0.01 * good.sum()):
            return None
        centre = float(np.average(level[chosen], weights=mass[chosen]))
        again = good & (np.abs(level - centre) < 4 * error + 0.05 * np.sqrt(spread))
        if (again == chosen).all():
            break
        chosen = again
    if (level[good] < centre - 6 * error[good] - 0.1 * np.sqrt(spread[good])).mean() > 0.01:
        return None
    inside = chosen[cells.tile] & line.used
    offset, offset_error = _mean(p, "signal", inside)
    cube, cube_error = _mean(p, "cube", inside)
    light, light_error = cube / line.gain**2, cube_error / line.gain**2
    variance, variance_error = _mean(p, "square", inside)
    sigma = float(np.sqrt(max(variance, 0.0) + 0.375 * line.gain**2))
    if abs(light) + 2 * light_error > 0.2 * sigma:
        return None
    return Dark(
        offset=offset,
        variance=variance,
        offset_error=float(np.hypot(offset_error, light_error)),
        variance_error=variance_error,
        how="dark pixels",
    )


def combine(line: NoiseLine, dark: Dark) -> tuple[float, float, np.ndarray, float]:
    """Refit the line through the dark point: gain, intercept, covariance, and the distance of the point.

    The distance is in standard errors of the difference.
    """
    at = np.array([dark.offset, 1.0])
    state = np.array([line.gain, line.intercept])
    noise = dark.variance_error**2 + (line.gain * dark.offset_error) ** 2
    miss = dark.variance - float(at @ state)
    total = float(at @ line.covariance @ at) + noise
    step = line.covariance @ at / total
    gain, intercept = state + step * miss
    covariance = line.covariance - np.outer(step, at @ line.covariance)
    return float(gain), float(intercept), covariance, miss / float(np.sqrt(total))
