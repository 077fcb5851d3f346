"""Estimate offset and read variance from dark pixels whose noise is cut off at the lowest level.

The noise of a pixel without light is normal. The share that is cut off and the shape of the rest determine
its mean and width (a censored fit). Light would shift the mean too, so it is fitted as well. If the fit
cannot exclude light to within a fraction of the noise, there is no estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.dark import Dark
from photon_gpu.estimate.sample import Window

_BLOCK = 8
_FEWEST = 2000  # samples
_BINS = 48
_LIGHT = 0.2  # sigma: the most light that "dark" pixels may hold, as in dark.py
_normal = np.frompyfunc(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), 1, 1)


def clipped_dark(windows: Sequence[Window], bottom: float, gain: float) -> Dark | None:
    """Estimate mean and variance of the darkest pixels' noise, cut off at ``bottom`` ADU; None if unclear.

    Parameters
    ----------
    windows : sequence of Window
    bottom : float
        Lowest level, ADU, at which values pile up.
    gain : float
        ADU per photon, from the levels above.
    """
    values = _darkest(windows, bottom)
    share = float((values <= bottom).mean()) if values.size else 0.0
    if values.size < _FEWEST or not 0.02 < share < 0.98:
        return None
    whole = bool((values == np.rint(values)).all())
    low = bottom + 0.5 if whole else bottom
    above = values[values > low]
    if above.size < _FEWEST * 0.02:
        return None
    # Far outliers do not inform a normal distribution, so the last bin collects all of them.
    width = max(float(np.quantile(above, 0.995) - low) / _BINS, 1e-9)
    edges = low + (math.ceil(width) if whole else width) * np.arange(_BINS)
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    spread = max(float(above.mean() - low), 1e-9)
    dark = _fit(edges, counts, np.array([low, math.log(spread), 0.0]), gain, light=False)
    lit = _fit(edges, counts, np.array([*dark[0][:2], 0.0]), gain, light=True) if dark else None
    if dark is None or lit is None:
        return None
    (offset, log_sigma, _), covariance = dark
    sigma, light, error = math.exp(log_sigma), gain * lit[0][2], gain * math.sqrt(lit[1][2, 2])
    if abs(light) + 2 * error > _LIGHT * math.hypot(sigma, math.sqrt(0.375) * gain):
        return None
    return Dark(
        offset=float(offset),
        variance=sigma**2,
        offset_error=math.hypot(math.sqrt(covariance[0, 0]), error),
        # Hidden light adds to the variance too.
        variance_error=math.hypot(2 * sigma**2 * math.sqrt(covariance[1, 1]), gain * error),
        how="clipping",
    )


def _darkest(windows: Sequence[Window], bottom: float) -> NDArray:
    """Values of the blocks that are cut off most, chosen by even frames and read from odd frames."""
    shares: dict[tuple[int, int], list[NDArray]] = {}
    for window in windows:
        frames = window.frames[0::2]
        height, width = (n // _BLOCK * _BLOCK for n in frames.shape[1:])
        if not height or not width:
            return np.zeros(0)
        cut = (frames[:, :height, :width] <= bottom).mean(axis=0)
        blocks = cut.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).mean(axis=(1, 3))
        shares.setdefault((window.plane, window.row), []).append(blocks)
    means = {origin: np.mean(samples, axis=0) for origin, samples in shares.items()}
    every = np.concatenate([mean.ravel() for mean in means.values()])
    frames_each = np.mean([len(w.frames) for w in windows]) / 2 * np.mean([len(s) for s in shares.values()])
    top = float(np.quantile(every, 0.98))
    # Blocks that differ from the darkest by no more than chance.
    slack = 3 * math.sqrt(max(top * (1 - top), 1e-9) / (frames_each * _BLOCK**2)) + 0.01
    parts = []
    for window in windows:
        chosen = np.abs(means[window.plane, window.row] - top) < slack
        mask = np.kron(chosen, np.ones((_BLOCK, _BLOCK), bool))
        height, width = mask.shape
        samples = window.frames[1::2, :height, :width][:, mask].astype(np.float64)
        parts.append(samples[np.isfinite(samples)])
    return np.concatenate(parts)


def _shares(edges: NDArray, state: NDArray, gain: float) -> NDArray:
    """Share of samples below, between and above the edges."""
    offset, sigma, light = state[0], math.exp(state[1]), state[2]
    total = np.zeros(len(edges))
    for photons in range(9):
        weight = math.exp(-light) * light**photons / math.factorial(photons)
        total += weight * _normal((edges - offset - gain * photons) / sigma).astype(np.float64)
    return np.maximum(np.diff(np.concatenate([[0.0], total, [1.0]])), 1e-12)


def _fit(
    edges: NDArray, counts: NDArray, state: NDArray, gain: float, *, light: bool
) -> tuple[NDArray, NDArray] | None:
    """Maximize the likelihood by Fisher scoring; return offset, log(sigma), photons, and their covariance."""
    free = 3 if light else 2
    total = float(counts.sum())
    for _ in range(60):
        shares = _shares(edges, state, gain)
        steps = np.array([0.02 * math.exp(state[1]), 0.02, 0.01])[:free]
        slopes = np.stack(
            [
                (_shares(edges, state + d, gain) - _shares(edges, state - d, gain)) / (2 * steps[k])
                for k, d in enumerate(np.diag([*steps, 0.0, 0.0])[:free, :3])
            ]
        )
        information = total * (slopes / shares) @ slopes.T
        if (
            not np.isfinite(information).all()
            or np.linalg.cond(information / np.sqrt(np.outer(np.diag(information), np.diag(information))))
            > 1e10
        ):
            return None
        inverse = np.linalg.inv(information)
        move = inverse @ (slopes @ (counts / shares - total))
        limit = np.array([math.exp(state[1]), 0.5, 0.3])[:free]
        move *= min(1.0, float((limit / np.maximum(np.abs(move), 1e-300)).min()))
        state = state + np.array([*move, *np.zeros(3 - free)])
        if (np.abs(move) < 1e-3 * np.sqrt(np.diag(inverse))).all():
            return state, inverse
    return None
