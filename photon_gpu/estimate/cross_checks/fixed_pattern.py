"""Compare the line with one whose instrument cannot hold the fixed pattern of a camera.

Offsets that differ between pixels, rows or columns look like light, without the noise of light: they dilute
the slope. The light of a pixel is therefore predicted from pixels around it that share neither its row nor
its column, and what rows and columns have in common is taken out of the prediction. So no such offset
correlates with it, and the slope that it gives is not diluted. The difference of both slopes, over its own
scatter between pixels, shows a fixed pattern (Hausman's specification test). Glow of an amplifier is smooth,
so neighbours share it; what the light adds to its own wider neighbourhood does not hold it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.line_fit import JITTER, JITTER_LIMIT, LineFit, NoiseLine, leftover, nugget_of
from photon_gpu.estimate.pixel_light import Pooled, around, box, halves
from photon_gpu.estimate.sample import Window
from photon_gpu.estimate.second_differences import FORMS, TILE, Cells, Tiling, measure, slopes

_CHANCE = 2.0  # A difference of up to so many standard errors counts as chance.
_SMALL = 0.01  # Difference, of the gain, below which the first line stays and its interval grows.
_USUAL = 0.08  # Dilution by the patterns of real cameras, of the gain; 0.03 to 0.12 were seen.
_GLOW = 6.0  # Standard errors that the difference must exceed to count as glow.
_GLOWING = 0.05  # The same, of the gain.
_WIDE = 15  # Pixels over which glow hardly changes.
_SWEEPS = 4  # Alternating subtractions of rows and columns.
_NARROWEST = 8  # Rows or columns.


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


@dataclass(frozen=True, kw_only=True)
class PixelLine:
    """A line from sums over single pixels, with one instrument.

    Attributes
    ----------
    gain, intercept, jitter : float
    covariance : ndarray of shape (2, 2)
    influence : ndarray
        Of every pixel on the gain, ADU/photon.
    """

    gain: float
    intercept: float
    jitter: float
    covariance: NDArray
    influence: NDArray


def undiluted(
    p: LineFit, line: NoiseLine, apart: Cells, usable: NDArray, windows: Sequence[Window], light: Pooled
) -> Undiluted | None:
    """Fit the same units with the light of other pixels; return None if that light does not vary enough.

    The result lies between both lines. It is the first line as long as they differ by chance; the surer the
    difference, the nearer it is to the second line. The interval includes the remaining difference.

    ``apart`` are cells sorted by the light of other pixels, to draw the second line's curve with.
    """
    if p.units(line.used) <= 2 or min(windows[0].frames.shape[1:]) < _NARROWEST:
        return None
    try:
        own, other, local = by_pixel(p, line, windows, light)
    except np.linalg.LinAlgError:
        return None
    apart_by = np.array([other.gain - line.gain, other.intercept - line.intercept])
    error = _distance(own, other)
    glow, glow_error = local.gain - other.gain, _distance(other, local)
    if glow > max(_GLOW * glow_error, _GLOWING * line.gain):
        other, error = local, _distance(own, local)
        apart_by = np.array([other.gain - line.gain, other.intercept - line.intercept])
    # A pattern can only lower the gain.
    surely = apart_by[0] > _SMALL * line.gain
    # If light does not reach across pixels, the second line scatters too widely to tell anything.
    telling = 1 / (1 + (error / (_USUAL * line.gain)) ** 4)
    share = telling * max(1 - (_CHANCE * error / apart_by[0]) ** 4, 0.0) if surely else 0.0
    left = telling * (1 - share) * apart_by * (1.0 if apart_by[0] > 0 else 0.0)
    covariance = (1 - share) * line.covariance + share * other.covariance + np.outer(left, left)
    problem, used, jitter = p, line.used, line.jitter
    if share > 0.5 and usable.any():
        problem, jitter = LineFit(apart, usable, p.scheme), other.jitter
        mine, theirs = _units(p), _units(problem)
        used = usable & np.isin(theirs[problem.unit], np.unique(mine[p.unit[line.used]]))
    blended = replace(
        line,
        gain=float(line.gain + share * apart_by[0]),
        intercept=float(line.intercept + share * apart_by[1]),
        jitter=jitter,
        covariance=covariance,
        used=used,
    )
    return Undiluted(problem=problem, line=blended, difference=float(apart_by[0]), error=error)


def by_pixel(p: LineFit, line: NoiseLine, windows: Sequence[Window], light: Pooled) -> list[PixelLine]:
    """Fit with three instruments: light with the pixel itself, of the pixels around, and that without glow.

    Weights and units in use are those of ``line``.
    """
    height, width = next(iter(light.totals.values())).shape
    sums = {plane: np.zeros((3, 2, 5, height, width)) for plane in light.totals}
    means = {plane: np.zeros((4, height, width)) for plane in light.totals}
    totals = np.zeros((3, 2, 5))
    power = np.zeros(3)
    tiling, cells = Tiling(windows), p.cells
    in_use = np.zeros((len(windows), len(cells.tiles)), bool)
    in_use[cells.window[line.used], cells.tile[line.used]] = True
    clean = np.zeros(len(cells.edges) + 1, bool)
    clean[cells.level[p.usable]] = True
    changing = _changing(windows, light)
    for number, window in enumerate(windows):
        block = window.frames.astype(np.float32 if window.frames.dtype.itemsize <= 2 else np.float64)
        rows = slice(window.row, window.row + block.shape[1])
        tile = np.minimum(np.searchsorted(cells.tiles, tiling.of(window)), len(cells.tiles) - 1)
        counted = in_use[number][tile] & changing[window.plane][rows]
        for chosen, rest in halves(len(block)):
            forms = measure(block[chosen], lines=True, trend=False)
            seen = light.light(number, chosen, rest)
            image = block[rest].mean(axis=0)
            sigma2 = np.maximum(line.variance(seen), p.floor)
            weight = counted * clean[np.searchsorted(cells.edges, seen)]
            weight = weight * np.isfinite(forms).all(axis=0) / (3 * sigma2**2 + 0.5 * line.gain**2 * sigma2)
            if not weight.any():
                continue
            forms = np.where(weight > 0, forms, 0.0)
            contrast = forms[FORMS.index("contrast")]
            values = np.stack(
                [
                    nugget_of(forms, p.scheme),
                    forms[FORMS.index("signal")],
                    contrast,
                    forms[FORMS.index("square")],
                    nugget_of(forms, "far"),
                ]
            )
            steep = _apart_from_stripes(slopes(image), weight)
            lights = (
                _centred(box(image, 3), weight),
                _apart_from_stripes(seen, weight),
                _apart_from_stripes(seen - around(seen, _WIDE), weight),
            )
            for k, one in enumerate(lights):
                for j, tool in enumerate((one, steep)):
                    scaled = weight * tool
                    totals[k, j] += (scaled * values).sum(axis=(1, 2))
                    sums[window.plane][k, j, :3, rows] += scaled * values[:3]
                    sums[window.plane][k, j, 3, rows] += scaled
                power[k] += float((weight * steep**2).sum())
            means[window.plane][:3, rows] += weight * values[:3]
            means[window.plane][3, rows] += weight
    return [
        _solve(p, totals[k], float(power[k]), [part[k] for part in sums.values()], list(means.values()))
        for k in range(3)
    ]


def _solve(
    p: LineFit, totals: NDArray, power: float, sums: Sequence[NDArray], means: Sequence[NDArray]
) -> PixelLine:
    """Solve for gain and jitter. Columns of ``totals`` and ``sums``: value, signal, contrast, ..."""
    trust = max(totals[1, 2] / power, 0.0) if power > 0 else 0.0
    scale = np.array([1.0, trust])
    right, design = scale[:, None] * totals, scale[:, None] * totals[:, 1:3]
    design[1, 1] += p.share / JITTER**2
    if not design[0, 0] > 0 or not np.isfinite(totals).all():
        raise np.linalg.LinAlgError("the light does not vary")
    inverse = np.linalg.inv(design)
    jitter, fixed = float((inverse @ right[:, 0])[1]), 0.0
    if abs(jitter) > JITTER_LIMIT:
        # This is something other than jitter: correct no further.
        jitter = fixed = math.copysign(JITTER_LIMIT, jitter)
        inverse = np.diag([1 / design[0, 0], 0.0])
    gain, far = (float(inverse[0] @ (right[:, k] - fixed * right[:, 2])) for k in (0, 4))
    plain = float(right[0, 3] / design[0, 0])
    mass = sum(float(part[3].sum()) for part in means)
    value, signal, contrast = (sum(float(part[k].sum()) for part in means) / mass for k in range(3))
    on_gain, on_mean, by_tile = [], [], []
    for part, mean in zip(sums, means, strict=True):
        weight = mean[3]
        residual = np.where(
            weight > 0, (mean[0] - gain * mean[1] - jitter * mean[2]) / np.maximum(weight, 1e-300), 0.0
        )
        stripes = residual - _apart_from_stripes(residual, weight)
        own = part[:, 0] - gain * part[:, 1] - jitter * part[:, 2] - stripes * part[:, 3]
        influence = inverse[0, 0] * own[0] + inverse[0, 1] * trust * own[1]
        on_gain.append(influence.ravel())
        on_mean.append((weight * (residual - stripes)).ravel() / mass)
        height, width = influence.shape
        by_tile.append(
            np.add.reduceat(
                np.add.reduceat(influence, range(0, height, TILE), axis=0), range(0, width, TILE), axis=1
            )
        )
    influence = np.concatenate(on_gain)
    shift = np.concatenate(on_mean) - signal * influence
    both = np.stack([influence, shift])
    covariance = both @ both.T
    # Structure that neighbours share makes whole tiles scatter.
    tiles = float(sum((part**2).sum() for part in by_tile)) if sum(part.size for part in by_tile) > 8 else 0.0
    covariance = covariance * max(tiles / max(covariance[0, 0], 1e-300), 1.0)
    turn = np.array([1.0, -signal])
    for left in leftover(plain - gain, far - gain if p.scheme not in ("far", "none") else 0.0):
        covariance = covariance + left**2 * np.outer(turn, turn)
    return PixelLine(
        gain=gain,
        intercept=float(value - gain * signal - jitter * contrast),
        jitter=jitter,
        covariance=covariance,
        influence=influence,
    )


def _changing(windows: Sequence[Window], light: Pooled) -> dict[int, NDArray]:
    """Pixels of every plane that change within any window; the others hold no data."""
    out = {plane: np.zeros(total.shape, bool) for plane, total in light.totals.items()}
    for window in windows:
        rows = slice(window.row, window.row + window.frames.shape[1])
        out[window.plane][rows] |= (window.frames != window.frames[0]).any(axis=0)
    return out


def _distance(one: PixelLine, other: PixelLine) -> float:
    """Standard error of the difference of both gains."""
    return float(np.sqrt(((one.influence - other.influence) ** 2).sum()))


def _centred(image: NDArray, weight: NDArray) -> NDArray:
    return np.asarray(image - (weight * image).sum() / weight.sum())


def _apart_from_stripes(image: NDArray, weight: NDArray) -> NDArray:
    """``image`` minus what its rows and its columns have in common, as weighted least squares have it."""
    out = np.array(image, np.float64)
    across, down = (np.maximum(weight.sum(axis=axis, keepdims=True), 1e-300) for axis in (1, 0))
    for _ in range(_SWEEPS):
        out -= (weight * out).sum(axis=1, keepdims=True) / across
        out -= (weight * out).sum(axis=0, keepdims=True) / down
    return out


def _units(p: LineFit) -> NDArray:
    return p.unit_window.astype(np.int64) * 10_000_000 + p.unit_tile
