"""Choose how many photon peaks of a dark movie get bins of their own, from a sample of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.entropy_and_information import (
    DARK_PHOTONS,
    entropy_of_counts,
    information_kept_by,
)
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.model.photon_peak_code_table import LEAST_GAIN, MOST_PEAKS

_MOST_READ_NOISE = 0.3  # Photons, as the values show it; above it, the grid keeps as much.
_LEAST_KEPT = 0.98  # Of the information about the light, at each of the lights below.
_SAME_SHARE = 0.001  # Shares of the information this close count as equal.
_LIGHTS = (0.1, 0.5, 0.9)  # Quantiles of the pixels' mean light.
_MOST_BIAS = 0.025  # Of the noise, at the light of any group of pixels; or that of the grid.
_MOST_VARIANCE_OFF = 0.02  # Read noise that the model lacks, as a share of the variance at the median light.
_LEAST_SEEN = 200  # Values near one photon.
_MOST_IN_VALLEY = 0.45  # Values between one and two photons, per value near one.
_MOST_BITS = 1.0  # Entropy of the codes, relative to the grid, where a predictor saves up to 3 % more.
_SAME_BITS = 1.01  # Entropies this close count as equal.
_COVERED = 0.9999  # Quantile of the values above which no peak is needed.


def chosen_peaks(blocks: Sequence[NDArray], encoding: Encoding) -> int:
    """Return the number of photon peaks for a movie of which ``blocks`` ``(t, rows, columns)`` are a sample.

    Of the numbers that keep 0.98 of the information about the light, and no less than the grid does, the one
    with the smallest codes; the most of those about equal. 0, the grid, unless the movie is dark, its own
    values show the peaks where the noise model has them, and the codes get no larger.

    Examples
    --------
    >>> random, detector = np.random.default_rng(1), NoiseModel(gain=100.0, offset=500.0, variance=400.0)
    >>> photons = random.poisson(0.3, (50, 32, 32))
    >>> values = np.rint(500 + 100 * photons + random.normal(0, 20, photons.shape)).astype("uint16")
    >>> chosen_peaks([values], Encoding(layout="compact", noise=detector))
    5
    >>> chosen_peaks([values + 1000], Encoding(layout="compact", noise=detector))
    0
    """
    noise = encoding.noise
    quantized = encoding.layout == "compact" and encoding.dither is None and not encoding.exact
    if not quantized or np.dtype(encoding.dtype).kind == "f" or noise is None or encoding.channels:
        return 0
    if noise.gain < LEAST_GAIN:
        return 0
    # Light from even frames, values from odd ones: a pixel's own noise must not select its group.
    light = [_lights(block[::2], noise) for block in blocks]
    pixels = np.concatenate(light)
    # Most movies are bright, and to count takes a tenth of the time of quantiles.
    if np.count_nonzero(pixels < DARK_PHOTONS) <= _LIGHTS[-1] * (pixels.size - 1):
        return 0
    lights = np.quantile(pixels, _LIGHTS)
    if not lights[-1] < DARK_PHOTONS:
        return 0
    groups = np.searchsorted(lights, pixels)
    levels, counts = _histogram(blocks, np.split(groups, np.cumsum([one.size for one in light])[:-1]))
    if levels.size == 0:
        return 0
    photons: NDArray[np.float64] = np.subtract(levels, noise.offset, dtype=np.float64) / noise.gain
    total = counts.sum(axis=0)
    detector = _seen_detector(photons, total, noise)
    if detector.variance > (_MOST_READ_NOISE * noise.gain) ** 2 or not _resolved(photons, total):
        return 0
    if (
        abs(detector.variance - noise.variance)
        > _MOST_VARIANCE_OFF * detector.sigma(detector.offset + detector.gain * lights[1]) ** 2
    ):
        return 0
    most = min(max(math.ceil(_quantile(photons, total, _COVERED)), 1), MOST_PEAKS)
    tables = [encoding.but(peaks=peaks).table() for peaks in range(most + 1)]
    codes = [_codes(table, levels) for table in tables]
    bits = [entropy_of_counts(np.bincount(one[2], total)) for one in codes]
    bits[0] *= _MOST_BITS
    kept = information_kept_by(tables, lights, detector)
    enough = (kept.min(axis=1) >= _LEAST_KEPT) & (kept >= kept[0] - _SAME_SHARE).all(axis=1)
    small = [peaks for peaks in range(1, most + 1) if enough[peaks] and bits[peaks] <= _SAME_BITS * bits[0]]
    most_bias = max(_MOST_BIAS, _bias(tables[0], codes[0], levels, counts)) if small else 0.0
    allowed = [0, *(n for n in small if _bias(tables[n], codes[n], levels, counts) <= most_bias)]
    least = min(bits[peaks] for peaks in allowed)
    return max(peaks for peaks in allowed if bits[peaks] <= _SAME_BITS * least)


def _lights(block: NDArray, noise: NoiseModel) -> NDArray[np.float64]:
    """Mean light of each pixel, photons."""
    return np.maximum((block.mean(axis=0, dtype=np.float64).reshape(-1) - noise.offset) / noise.gain, 0.0)


def _histogram(
    blocks: Sequence[NDArray], groups: Sequence[NDArray[np.intp]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct values ``(n,)`` of the odd frames, and how often each group of pixels has each, ``(4, n)``."""
    values = np.concatenate([block[1::2].reshape(-1) for block in blocks])
    each = np.concatenate([np.tile(one, len(block) // 2) for one, block in zip(groups, blocks, strict=True)])
    low, high = (int(values.min()), int(values.max())) if values.size else (0, -1)
    if high - low < values.size:
        levels, numbers = np.arange(low, high + 1), np.subtract(values, low, dtype=np.int64)
    else:
        levels, numbers = np.unique(values, return_inverse=True)
    shape = (len(_LIGHTS) + 1, levels.size)
    counts = np.bincount(each * levels.size + numbers, minlength=math.prod(shape)).reshape(shape)
    there = counts.any(axis=0)
    return levels[there].astype(np.int64), counts[:, there]


def _quantile(levels: NDArray[np.float64], total: NDArray[np.int64], share: float) -> float:
    """Quantile of values that occur ``total`` times each, as by NumPy."""
    last, ends = int(total.sum()) - 1, np.cumsum(total)
    below = int(share * last)
    low, high = levels[np.searchsorted(ends, [below, min(below + 1, last)], side="right")]
    return float(low + (high - low) * (share * last - below))


def _seen_detector(photons: NDArray[np.float64], total: NDArray[np.int64], noise: NoiseModel) -> NoiseModel:
    """Return the model with the read noise and the offset that the peaks of zero and one photon show.

    An estimate from the line of variance and mean often leaves the read noise out.
    """
    near = photons < 1.5
    turn = complex(np.exp(2j * np.pi * photons[near]) @ total[near]) / max(int(total[near].sum()), 1)
    read_noise = math.sqrt(max(-math.log(max(abs(turn), 1e-9)), 0.0) / 2) / math.pi
    shift = math.atan2(turn.imag, turn.real) / (2 * math.pi)
    return NoiseModel(
        gain=noise.gain, offset=noise.offset + shift * noise.gain, variance=(read_noise * noise.gain) ** 2
    )


def _resolved(photons: NDArray[np.float64], total: NDArray[np.int64]) -> bool:
    """Whether values near one photon are many, and few lie between one and two."""
    peak = total[np.abs(photons - 1.0) < 0.2].sum()
    valley = total[np.abs(photons - 1.5) < 0.2].sum()
    return bool(peak >= _LEAST_SEEN and valley <= _MOST_IN_VALLEY * peak)


_Codes = tuple[int, int, NDArray[np.int64]]
"""Least and greatest code of some levels, and the code of each, counted from the least."""


def _codes(table: CodeTable, levels: NDArray[np.int64]) -> _Codes:
    low, high = table.code(int(levels[0])), table.code(int(levels[-1]))
    return low, high, np.searchsorted(table.thresholds(low, high), levels, side="right") - 1


def _bias(table: CodeTable, coded: _Codes, levels: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """Greatest mean change of the values of a group, in units of its noise by the model."""
    low, high, codes = coded
    change = table.decode_tables(low, high, "float64").mean(axis=0)[codes] - levels
    sizes = counts.sum(axis=1)
    there = sizes > 0
    changes, middles = ((counts @ one)[there] / sizes[there] for one in (change, levels))
    # A group without light or read noise has no noise; what changes it is too much.
    sigmas = [max(table.noise.sigma(middle), 1e-9) for middle in middles]
    return float(np.abs(changes / sigmas).max())
