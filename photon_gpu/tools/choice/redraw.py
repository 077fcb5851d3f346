"""Redraw the noise of a movie: what another take of the same scene would have recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.tools.choice.sample import WindowSample

_REACH = 2  # frames on each side of the local mean
_BLOCK = 32  # frames that are drawn at once
_COUNTER = 2.0  # ADU per photon up to which values are counts
_RESOLVED = 0.1  # read noise over gain, squared, below which photon peaks are apart
_PULSES = 5  # shape of the heights of pulses: an excess noise factor of 1.2, as photomultipliers have
_SATURATED = 1e-4


def scene(sample: WindowSample, noise: NoiseModel) -> NDArray[np.float32]:
    """Light of a movie, ADU: the mean over five frames, and what the noise does not explain.

    ``mean + share * (value - mean)`` with ``share = max(0, 1 - noise variance / local variance)``; the local
    variance is that of 5 frames and 3 x 3 pixels. So a pixel whose light changes within five frames, as
    where a molecule blinks, keeps its value. Source: J.-S. Lee, *Digital image enhancement and noise
    filtering by use of local statistics*, IEEE PAMI 2:165 (1980).
    """
    light = np.empty(sample.movie.shape, np.float32)
    for run in sample.runs:
        values = sample.movie[run].astype(np.float32)
        number = _sum_near(np.ones((len(values), 1, 1), np.float32), 0, _REACH)
        mean = _sum_near(values, 0, _REACH) / number
        values -= mean
        spread = _sum_near(values**2, 0, _REACH) / (number - 1)
        expected = np.maximum(np.float32(noise.gain) * (mean - np.float32(noise.offset)), 0)
        expected += np.float32(noise.variance)
        for axis in (1, 2):
            spread, expected = _sum_near(spread, axis, 1), _sum_near(expected, axis, 1)
        share = 1 - expected / np.maximum(spread, np.float32(1e-20))
        light[run] = mean + np.maximum(share, 0) * values
    return light


def redraw(light: NDArray, noise: NoiseModel, like: NDArray, seed: int, number: int) -> NDArray:
    """Draw a take of the scene ``light``: photons, detector noise, rounding and saturation.

    The noise has the variance of the model. Photons are Poisson; where neither counts nor read noise make
    up the values, each photon's pulse has a random height.
    """
    rng = np.random.default_rng((seed, number))
    out = np.empty_like(like)
    low, high = _limits(like)
    pulses = noise.gain > _COUNTER and noise.variance < _RESOLVED * noise.gain**2
    gain = noise.gain / (1 + 1 / _PULSES) if pulses else noise.gain
    for start in range(0, len(light), _BLOCK):
        above = light[start : start + _BLOCK].astype(np.float64) - noise.offset
        photons = rng.poisson(np.maximum(above, 0) / gain).astype(np.float64)
        if pulses:
            photons = rng.standard_gamma(_PULSES * photons) / _PULSES
        values = noise.offset + np.minimum(above, 0) + gain * photons
        if noise.variance:
            values += rng.normal(0, noise.variance**0.5, values.shape)
        values = values if like.dtype.kind == "f" else np.rint(values)
        out[start : start + _BLOCK] = np.clip(values, low, high)
    return out


def _limits(movie: NDArray) -> tuple[float, float]:
    """Lowest and highest value of a redrawn movie: those of its dtype, or where its values pile up."""
    if movie.dtype.kind == "f":
        return -np.inf, np.inf
    info, most = np.iinfo(movie.dtype), _SATURATED * movie.size
    bottom, top = int(movie.min()), int(movie.max())
    low = bottom if (movie == bottom).sum() > most else int(info.min)
    high = top if (movie == top).sum() > most else int(info.max)
    return float(low), float(high) if high < 1 << 53 else float(np.nextafter(float(high), 0))


def _sum_near(values: NDArray[np.float32], axis: int, reach: int) -> NDArray[np.float32]:
    """Sum over ``2 * reach + 1`` neighbours along an axis; fewer at the ends."""
    total = values.copy()
    for shift in range(1, min(reach, values.shape[axis] - 1) + 1):
        near: list[slice] = [slice(None)] * values.ndim
        far = list(near)
        near[axis], far[axis] = slice(None, -shift), slice(shift, None)
        total[tuple(near)] += values[tuple(far)]
        total[tuple(far)] += values[tuple(near)]
    return total
