"""Decoded values of codes with few integers per bin, chosen so that means over pixels are unbiased.

If a bin holds a few integers, the likeliest of them depends on the light, and no point of the bin suits all
light levels. The errors of neighbouring bins can cancel, however. This module finds points, each within its
bin, whose mean is right for a Poisson detector with Gaussian read noise at every light level from 0.1 to 21
photons. See FORMAT.md, "Representatives".

The points are part of the format. To be equal on every machine, they are computed with additions,
multiplications, divisions and square roots of IEEE binary64 in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from photon_gpu.engine.model.anscombe import stabilized_floor
from photon_gpu.engine.model.noise import NoiseModel

_WIDE = 5.0  # ADU, of a photon or of the dark's sigma
_LIGHTS = 25
_BRIGHTEST = 24.0
_PHOTONS = 80
_LEAST_READ_NOISE = 0.5
_ENOUGH = 0.016
_RIDGE = 1e-3
_ROOT_2_PI = 2.5066282746310002
_ROUNDS, _SWEEPS, _SETTLED = 16, 300, 1e-6


def needed(noise: NoiseModel, dtype: DTypeLike) -> bool:
    """Whether bins of whole numbers are so narrow that their centres would be biased."""
    fine = noise.gain >= _WIDE or stabilized_floor(noise) >= _WIDE * _WIDE
    return np.dtype(dtype).kind in "iu" and not fine


def reach(noise: NoiseModel) -> tuple[int, int]:
    """First and last value of the bins that :func:`unbiased` covers."""
    dark = 8.0 * math.sqrt(noise.variance)
    return math.floor(noise.offset - dark), math.ceil(noise.offset + _BRIGHTEST * noise.gain)


def unbiased(
    noise: NoiseModel, first: Sequence[float], last: Sequence[float], start: Sequence[float], least: float
) -> list[float]:
    """Choose points within bins that keep the bias of the mean below 1.6 % of a sigma, if possible.

    Parameters
    ----------
    noise : NoiseModel
    first, last : sequence of float
        First and last integer of successive bins, ADU.
    start : sequence of float
        Points to start from; the result stays near them.
    least : float
        Least value of the dtype, at which the detector clips.

    Returns
    -------
    list of float
        One point per bin.
    """
    free = [k for k in range(len(first)) if last[k] > first[k]]
    points = list(start)
    if not free:
        return points
    spans = [(int(first[k]), int(last[k])) for k in free]
    share, wanted = _expected(noise, spans, least)
    fitted = _fit(share, wanted, spans, [start[k] for k in free])
    for k, point in zip(free, fitted, strict=True):
        points[k] = point
    return points


def _expected(
    noise: NoiseModel, spans: list[tuple[int, int]], least: float
) -> tuple[list[list[float]], list[float]]:
    """Weight of each bin's point in the mean at each light level, in sigmas, and the true mean."""
    sigma = max(math.sqrt(noise.variance), _LEAST_READ_NOISE * noise.gain)
    chances, moments = [], []
    for photons in range(_PHOTONS + 1):
        centre = noise.offset + noise.gain * photons
        row, moment = [], 0.0
        for low, high in spans:
            below = 0.0 if low <= least else _below((low - 0.5 - centre) / sigma)
            total = 0.0
            for value in range(low, high + 1):
                above = _below((value + 0.5 - centre) / sigma)
                total += above - below
                moment += (above - below) * value
                below = above
            row.append(total)
        chances.append(row)
        moments.append(moment)
    share, wanted, light = [], [], 0.1
    for _ in range(_LIGHTS):
        unit = math.sqrt(noise.gain * noise.gain * light + noise.variance)
        weight, row, total = _exp(light), [0.0] * len(spans), 0.0
        for photons in range(_PHOTONS + 1):
            if photons:
                weight = weight * light / photons
            for k, chance in enumerate(chances[photons]):
                row[k] += weight * chance
            total += weight * moments[photons]
        share.append([part / unit for part in row])
        wanted.append(total / unit)
        light = light * 1.25
    return share, wanted


def _fit(
    share: list[list[float]], wanted: list[float], spans: list[tuple[int, int]], start: list[float]
) -> list[float]:
    """Fit points within the bins by least squares, near ``start``; levels with large errors gain weight."""
    count, lights = len(start), len(wanted)
    hold = [_RIDGE / ((high - low) * (high - low)) for low, high in spans]
    weights = [1.0] * lights
    points, best, least = list(start), list(start), math.inf
    for _ in range(_ROUNDS):
        off = [abs(_dot(share[i], points) - wanted[i]) for i in range(lights)]
        if max(off) < least:
            best, least = list(points), max(off)
        if least < _ENOUGH:
            break
        weights = [w * 1.5 if o > _ENOUGH else w for w, o in zip(weights, off, strict=True)]
        square = [
            [_dot3(weights, share, j, k) + (hold[k] if j == k else 0.0) for k in range(count)]
            for j in range(count)
        ]
        aim = [
            _dot(weights, [share[i][k] * wanted[i] for i in range(lights)]) + hold[k] * start[k]
            for k in range(count)
        ]
        for _ in range(_SWEEPS):
            moved = 0.0
            for k in range(count):
                row = square[k]
                new = points[k] + (aim[k] - _dot(row, points)) / row[k]
                new = min(max(new, float(spans[k][0])), float(spans[k][1]))
                moved = max(moved, abs(new - points[k]))
                points[k] = new
            if moved < _SETTLED:
                break
    return best


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    total = 0.0
    for a, b in zip(one, other, strict=True):
        total += a * b
    return total


def _dot3(weights: list[float], share: list[list[float]], j: int, k: int) -> float:
    total = 0.0
    for weight, row in zip(weights, share, strict=True):
        total += weight * row[j] * row[k]
    return total


def _below(deviation: float) -> float:
    """Normal distribution function, by the series of Marsaglia, J. Stat. Softw. 11(4), 2004, section 1."""
    if abs(deviation) > 7.0:
        return 0.0 if deviation < 0.0 else 1.0
    square, term, total, n = deviation * deviation, deviation, deviation, 1
    while abs(term) > 1e-18:
        n += 2
        term = term * square / n
        total += term
    return 0.5 + total * _exp(0.5 * square) / _ROOT_2_PI


def _exp(x: float) -> float:
    """``e**-x`` for ``x >= 0``: the power series at x/1024, squared ten times."""
    small, term, total = x / 1024.0, 1.0, 1.0
    for n in range(1, 10):
        term = term * -small / n
        total += term
    for _ in range(10):
        total = total * total
    return total
