"""Choose how many photon peaks of a dark movie get bins of their own, from a sample of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.information import DARK_PHOTONS, entropy, information_kept
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
    values = np.concatenate([block[1::2].reshape(-1) for block in blocks])
    if values.size == 0:
        return 0
    each = [np.tile(one, len(block) // 2) for one, block in zip(light, blocks, strict=True)]
    groups = np.searchsorted(lights, np.concatenate(each))
    photons = (values - noise.offset) / noise.gain
    detector = _seen_detector(photons, noise)
    if detector.variance > (_MOST_READ_NOISE * noise.gain) ** 2 or not _resolved(photons):
        return 0
    if (
        abs(detector.variance - noise.variance)
        > _MOST_VARIANCE_OFF * detector.sigma(detector.offset + detector.gain * lights[1]) ** 2
    ):
        return 0
    most = min(max(math.ceil(np.quantile(photons, _COVERED)), 1), MOST_PEAKS)
    tables = [encoding.but(peaks=peaks).table() for peaks in range(most + 1)]
    grid = information_kept(tables[0], lights, detector) - _SAME_SHARE
    bits = {0: _MOST_BITS * entropy(_codes(tables[0], values)[2])}
    allowed = max(_MOST_BIAS, _bias(tables[0], values, groups))
    for peaks, table in enumerate(tables[1:], 1):
        kept = information_kept(table, lights, detector)
        if kept.min() >= _LEAST_KEPT and (kept >= grid).all() and _bias(table, values, groups) <= allowed:
            bits[peaks] = entropy(_codes(table, values)[2])
    least = min(bits.values())
    return max(peaks for peaks, one in bits.items() if one <= _SAME_BITS * least)


def _lights(block: NDArray, noise: NoiseModel) -> NDArray[np.float64]:
    """Mean light of each pixel, photons."""
    return np.maximum((block.mean(axis=0, dtype=np.float64).reshape(-1) - noise.offset) / noise.gain, 0.0)


def _seen_detector(photons: NDArray[np.float64], noise: NoiseModel) -> NoiseModel:
    """Return the model with the read noise and the offset that the peaks of zero and one photon show.

    An estimate from the line of variance and mean often leaves the read noise out.
    """
    turn = complex(np.exp(2j * np.pi * photons[photons < 1.5]).mean())
    read_noise = math.sqrt(max(-math.log(max(abs(turn), 1e-9)), 0.0) / 2) / math.pi
    shift = math.atan2(turn.imag, turn.real) / (2 * math.pi)
    return NoiseModel(
        gain=noise.gain, offset=noise.offset + shift * noise.gain, variance=(read_noise * noise.gain) ** 2
    )


def _resolved(photons: NDArray[np.float64]) -> bool:
    """Whether values near one photon are many, and few lie between one and two."""
    peak = np.count_nonzero(np.abs(photons - 1.0) < 0.2)
    valley = np.count_nonzero(np.abs(photons - 1.5) < 0.2)
    return bool(peak >= _LEAST_SEEN and valley <= _MOST_IN_VALLEY * peak)


def _codes(table: CodeTable, values: NDArray) -> tuple[int, int, NDArray[np.int64]]:
    low, high = table.code(int(values.min())), table.code(int(values.max()))
    return low, high, np.searchsorted(table.thresholds(low, high), values, side="right") - 1


def _bias(table: CodeTable, values: NDArray, groups: NDArray[np.intp]) -> float:
    """Greatest mean change of the values of a group, in units of its noise by the model."""
    low, high, codes = _codes(table, values)
    change = table.decode_tables(low, high, "float64").mean(axis=0)[codes] - values
    sizes = np.bincount(groups)
    there = sizes > 0
    changes, middles = (np.bincount(groups, one)[there] / sizes[there] for one in (change, values))
    # A group without light or read noise has no noise; what changes it is too much.
    sigmas = [max(table.noise.sigma(middle), 1e-9) for middle in middles]
    return float(np.abs(changes / sigmas).max())
