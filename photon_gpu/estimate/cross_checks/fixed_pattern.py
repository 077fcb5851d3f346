"""Compare the line with one whose instrument cannot hold the fixed pattern of a camera.

Offsets that differ between pixels, rows or columns look like light, without the noise of light: they dilute
the slope. The light of the diagonal neighbours shares no such offset with a pixel, so the slope that it gives
is not diluted. It scatters more. The difference of both slopes, over its own scatter, shows a fixed pattern
(Hausman's specification test). Glow of an amplifier is smooth, so neighbours share it; what the light adds
to its own wider neighbourhood does not hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.line import LineFit, NoiseLine, finish, group
from photon_gpu.estimate.pairs import Cells, corners
from photon_gpu.estimate.sample import Window

_CHANCE = 2.0  # A difference of up to so many standard errors counts as chance.
_SMALL = 0.015  # Difference, of the gain, below which the first line stays and its interval grows.
_USUAL = 0.08  # Dilution by the patterns of real cameras, of the gain; 0.03 to 0.12 were seen.
_LEAST_SPREAD = 0.35  # Of the levels sorted by other pixels, of that sorted by the pixel itself.
_GLOW = 4.0  # Standard errors that the difference must exceed to count as glow.
_GLOWING = 0.03  # The same, of the gain.


@dataclass(frozen=True, kw_only=True)
class Undiluted:
    """A line without the dilution by a fixed pattern, as far as the difference exceeds chance.

    Attributes
    ----------
    problem : LineFit
        Cells of the line that is nearer.
    line : NoiseLine
    difference, error : float
        Of the gain without dilution, minus the one before, and its standard error; ADU/photon.
    """

    problem: LineFit
    line: NoiseLine
    difference: float
    error: float

    @property
    def glows(self) -> bool:
        """Whether the difference is sure and large enough to speak of glow."""
        return self.difference > max(_GLOW * self.error, _GLOWING * self.line.gain)


@dataclass(frozen=True, kw_only=True)
class Stripes:
    """Mean images, and the possible effect of row and column offsets on a line.

    Attributes
    ----------
    images : tuple of ndarray
        Mean over time of every plane or band, ADU.
    """

    images: tuple[NDArray, ...]

    def scatter(self, line: NoiseLine) -> float:
        """Return the variance of the gain from row and column offsets that correlate with light by chance."""
        total = leverage = 0.0
        for image in self.images:
            light = corners(image)
            variance = line.variance(light)
            sigma2 = np.maximum(variance, max(0.05 * abs(float(variance.mean())), 1e-9))
            weight = 1 / (3 * sigma2**2 + 0.5 * line.gain**2 * sigma2)
            centred = light - float((weight * light).sum() / weight.sum())
            leverage += float((weight * centred**2).sum())
            for axis in (0, 1):
                stripe = image.mean(axis=1 - axis)
                # The light differs between neighbouring rows as well, so this is the most they can have.
                jitter = float((np.diff(stripe, 2) ** 2).mean()) / 6 if len(stripe) > 2 else 0.0
                total += jitter * float(((weight * centred).sum(axis=1 - axis) ** 2).sum())
        return line.gain**2 * total / leverage**2 if leverage > 0 else 0.0


def stripes(windows: Sequence[Window]) -> Stripes:
    """Average every plane or band over time, without values that are not finite."""
    totals: dict[tuple[int, int], list[NDArray]] = {}
    for window in windows:
        totals.setdefault((window.plane, window.row), []).append(window.frames.mean(axis=0, dtype=np.float64))
    images = (np.mean(parts, axis=0) for parts in totals.values())
    return Stripes(images=tuple(image for image in images if np.isfinite(image).all()))


def undiluted(
    p: LineFit, line: NoiseLine, apart: Cells, usable: NDArray, striped: Stripes
) -> Undiluted | None:
    """Fit the same units with the light of other pixels; return None if that light does not vary enough.

    The result lies between both lines. It is the first line as long as they differ by chance; the surer the
    difference, the nearer it is to the second line. The interval includes the remaining difference.
    """
    other = LineFit(apart, usable, p.scheme)
    if p.units(line.used) <= 2 or _spread(other) < _LEAST_SPREAD * _spread(p):
        return None
    mine, theirs = _units(p), _units(other)
    used = usable & np.isin(theirs[other.unit], np.unique(mine[p.unit[line.used]]))
    state = (line.gain, line.intercept, line.jitter)
    try:
        for _ in range(2):
            fitted = finish(other, used, state, line.bound)
            state = (fitted.gain, fitted.intercept, fitted.jitter)
    except np.linalg.LinAlgError:
        return None
    keys = np.union1d(mine, theirs)
    sums = np.zeros((2, len(keys)))
    for sign, problem, solved, units in ((-1, p, line, mine), (1, other, fitted, theirs)):
        for row, influence in enumerate(_influence(problem, solved)):
            per_unit = np.bincount(problem.unit, influence, len(units))
            sums[row] += sign * np.bincount(np.searchsorted(keys, units), per_unit, len(keys))
    error = float(np.sqrt((sums[0] ** 2).sum()))
    apart_by = np.array([fitted.gain - line.gain, fitted.intercept - line.intercept])
    # A pattern can only lower the gain.
    surely = apart_by[0] > _SMALL * line.gain
    # If light does not reach across pixels, the second line scatters too widely to tell anything.
    telling = 1 / (1 + (error / (_USUAL * line.gain)) ** 4)
    share = telling * max(1 - (_CHANCE * error / apart_by[0]) ** 4, 0.0) if surely else 0.0
    left = telling * (1 - share) * apart_by * (1.0 if surely else 0.5 if apart_by[0] > 0 else 0.0)
    covariance = (
        (1 - share) * line.covariance + share * _beside_pattern(other, fitted, striped) + np.outer(left, left)
    )
    nearer = fitted if share > 0.5 else line
    blended = replace(
        nearer,
        gain=float(line.gain + share * apart_by[0]),
        intercept=float(line.intercept + share * apart_by[1]),
        covariance=covariance,
    )
    problem = other if share > 0.5 else p
    return Undiluted(problem=problem, line=blended, difference=float(apart_by[0]), error=error)


def _beside_pattern(p: LineFit, line: NoiseLine, striped: Stripes) -> NDArray:
    """Return the covariance of a line with a pattern, which adds the same in every window."""
    influence = _influence(p, line)
    sums = np.stack([group(p.cells.tile, row) for row in influence])
    shared = sums @ sums.T - p.scatter(influence, line.used)
    covariance = line.covariance + (shared if shared[0, 0] > 0 else 0.0)
    # The line turns about the middle of the light.
    middle = -covariance[0, 1] / covariance[0, 0]
    turn = np.array([1.0, -middle])
    return np.asarray(covariance + striped.scatter(line) * np.outer(turn, turn))


def _spread(p: LineFit) -> float:
    """Return the standard deviation of the signal between the levels, ADU: what their light can tell."""
    middle = np.average(p.centre, weights=p.per_level)
    return float(np.sqrt(np.average((p.centre - middle) ** 2, weights=p.per_level)))


def _units(p: LineFit) -> NDArray:
    return p.unit_window.astype(np.int64) * 10_000_000 + p.unit_tile


def _influence(p: LineFit, line: NoiseLine) -> NDArray:
    weight = p.weight(line.gain, line.intercept, line.jitter)
    return p.solve(p.value, weight, line.used, contrast=p.scheme != "none")[1][:2]
