"""Distance of photon peaks: where single photons are resolved, it is at most the gain.

Without much read noise, the changes of a pixel favour multiples of one photon. Raw data have a gain of this
distance, or more if the pulses of photons differ. What weakens the noise and keeps the values (the median of
some frames, their maximum) or scales deviations leaves a gain below the distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window
from photon_gpu.estimate.value_histogram import HistogramLevels

_NEAREST, _FARTHEST = 0.8, 8.0  # Distances to look for, in gains.
_LEAST = 6  # Distance in levels: shorter combs come from digitization.
_LONGEST = 1 << 12  # Levels of a change.
_REACH = 6.0  # Standard deviations of a change.
_DIM = 0.5  # Share of pixels, from the dimmest: bright ones have narrow peaks.
_SAMPLES = 1 << 21  # Most changes.
_STEPS = 400
_ROUNDED = 0.5  # Share of samples on isolated levels: their changes show the grid, not photons.
_HEIGHT, _SURE = 0.01, 8.0  # Least height of a peak, and in standard errors.
_BINARY = 0.01  # Converters favour every 8th, 16th, ... level, to this precision.


def peak_distance(windows: Sequence[Window], gain: float, levels: HistogramLevels) -> float:
    """Return the distance of photon peaks, ADU; zero if none are seen."""
    step = levels.step
    if step < 1 or windows[0].frames.dtype.kind not in "iu" or levels.isolated_share > _ROUNDED:
        return 0.0
    shortest = max(_NEAREST * gain / step, _LEAST)
    longest = _FARTHEST * gain / step
    if not shortest < longest < _LONGEST:
        return 0.0
    changes = _changes(windows, step)
    if len(changes) < 1000:
        return 0.0
    reach = int(min(np.ceil(_REACH * changes.std()), _LONGEST))
    counts = np.bincount(np.minimum(np.abs(changes), reach + 1), minlength=reach + 2)[: reach + 1]
    frequencies = np.linspace(1 / longest, 1 / shortest, _STEPS)
    waves = np.cos(2 * np.pi * np.outer(frequencies, np.arange(reach + 1)))
    power = waves @ counts / len(changes)
    # Below the peak lies a valley; without one, this is the slope of ordinary noise.
    height = power - np.minimum.accumulate(power)
    at = int(height.argmax())
    if height[at] < max(_HEIGHT, _SURE / (2 * len(changes)) ** 0.5) or at == _STEPS - 1:
        return 0.0
    distance = 1 / float(frequencies[at])
    octave = np.log2(distance)
    return 0.0 if abs(octave - np.rint(octave)) < _BINARY else distance * step


def _changes(windows: Sequence[Window], step: int) -> NDArray:
    """Changes from frame to frame of the dim pixels, in levels."""
    parts = []
    for window in windows[:: max(1, sum(w.frames.size for w in windows) // _SAMPLES)]:
        mean = window.frames.mean(axis=0)
        values = window.frames[:, mean <= np.quantile(mean, _DIM)].astype(np.int64) // step
        parts.append((values[1:] - values[:-1]).ravel())
    return np.concatenate(parts)
