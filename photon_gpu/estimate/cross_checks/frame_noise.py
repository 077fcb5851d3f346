"""Noise of single frames, rows and columns: repeated frames, frames made from others, periodic variance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window

_QUIET = 0.2  # Share of the variance that a frame must lack to count as quiet.
_SURE = 6.0  # Standard errors.
_SHORTEST = 24  # Rows or columns in which a period can be found.
_PEAK = 60.0  # Times the median power.


@dataclass(frozen=True, kw_only=True)
class FrameNoise:
    """Properties of the noise frame by frame, row by row and column by column.

    Attributes
    ----------
    repeated : float
        Share of frames that are the same as the frame before, beyond chance.
    quiet : float
        Share of second differences with much less noise than the others.
    periodic : float
        Amplitude of the variance of rows or columns that repeats with a period, as a share of the mean.
    period : float
        In pixels.
    """

    repeated: float
    quiet: float
    periodic: float
    period: float


def frame_noise(windows: Sequence[Window], gain: float, intercept: float) -> FrameNoise:
    """Measure the noise of single frames, rows and columns against the line ``gain*z + intercept``."""
    size = windows[0].frames[0].size
    variances, errors = [], []
    maps: dict[tuple[int, int], list[tuple[NDArray, NDArray]]] = {}
    for window in windows:
        frames = window.frames.astype(np.float32)
        if not np.isfinite(frames).all() or frames.min() == frames.max():
            continue
        difference = frames[:-2] - 2 * frames[1:-1] + frames[2:]
        light = (frames[:-2] + 4 * frames[1:-1] + frames[2:]) / 6
        expected = 6 * (gain * light + intercept)
        total = np.maximum(expected.sum(axis=(1, 2)), 1e-9)
        # Neighbouring rows share structure, but no noise.
        shared = (difference[:, 1:] * difference[:, :-1]).sum(axis=(1, 2)) * difference.shape[1]
        structure = shared / max(difference.shape[1] - 1, 1)
        variances.append(((difference**2).sum(axis=(1, 2)) - structure) / total)
        spread = 5 * expected**2 + 6 * gain**2 * np.maximum(expected, 0.0)
        errors.append(np.sqrt(spread.sum(axis=(1, 2))) / total)
        own, promised = (difference**2).sum(axis=0), expected.sum(axis=0)
        # Active cells change whole patches, which pixels along a row (or column) share with the next.
        along = [
            np.einsum("jyx,jyx->y", difference[:, :, 1:], difference[:, :, :-1]),
            np.einsum("jyx,jyx->x", difference[:, 1:], difference[:, :-1]),
        ]
        key = window.plane, window.row
        before = maps.get(key, [(0.0, 0.0)] * 2)
        maps[key] = [
            (old + own.sum(axis=axis) - part, expected_before + promised.sum(axis=axis))
            for (old, expected_before), axis, part in zip(before, (1, 0), along, strict=True)
        ]
    if not variances:
        return FrameNoise(repeated=0.0, quiet=0.0, periodic=0.0, period=0.0)
    value, error = np.concatenate(variances), np.concatenate(errors)
    middle = float(np.median(value))
    quiet = float((value < middle - np.maximum(_QUIET * middle, _SURE * error)).mean())
    peaks = [_period(own / np.maximum(promised, 1e-9)) for both in maps.values() for own, promised in both]
    periodic, period = max(peaks)
    return FrameNoise(
        repeated=_repeated(windows) if size > 1 else 0.0, quiet=quiet, periodic=periodic, period=period
    )


def _period(variance: NDArray) -> tuple[float, float]:
    """Amplitude, relative to the mean, and period of the strongest oscillation; zero if it is chance."""
    if len(variance) < _SHORTEST:
        return 0.0, 0.0
    middle = float(np.median(variance))
    edges = np.clip(variance / max(middle, 1e-12), 0.0, 2.0)[1:-1]
    window = np.hanning(len(edges))
    spectrum = np.abs(np.fft.rfft((edges - edges.mean()) * window))
    low = math.ceil(len(edges) / 16)  # Longer periods are the scene.
    power = spectrum[low:] ** 2
    at = int(power.argmax())
    if power[at] < _PEAK * float(np.median(power)):
        return 0.0, 0.0
    return float(2 * spectrum[low + at] / window.sum()), len(edges) / (low + at)


def _repeated(windows: Sequence[Window]) -> float:
    """Share of frames that are the same as the one before, if chance cannot make them so."""
    pairs = repeats = 0
    equal: dict[tuple[int, int], NDArray] = {}
    others = 0
    for window in windows:
        flat = (window.frames == window.frames[:, :1, :1]).all(axis=(1, 2))
        same = (window.frames[1:] == window.frames[:-1])[~flat[1:]]
        whole = same.all(axis=(1, 2))
        pairs += len(whole)
        repeats += int(whole.sum())
        others += int((~whole).sum())
        key = window.plane, window.row
        equal[key] = equal.get(key, np.zeros(same.shape[1:])) + same[~whole].sum(axis=0)
    if not repeats or not others:
        return 0.0
    # A frame of few photons repeats by chance. The chance is largest where every pixel is most often
    # the same.
    counts = np.concatenate([part.ravel() for part in equal.values()]) / max(others / len(equal), 1)
    chance = float(np.log(np.clip(counts, 1e-3, 1.0)).sum()) / len(equal)
    return repeats / pairs if chance + math.log(pairs) < math.log(1e-3) else 0.0
