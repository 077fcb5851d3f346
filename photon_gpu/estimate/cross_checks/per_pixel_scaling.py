"""Lattice of values: pixels that were scaled by themselves after digitization leave combs in their changes.

Raw values lie on one lattice of whole numbers for all pixels, so differences between frames have a smooth
histogram. A factor that multiplies the deviations of a pixel (a blend with its mean, dF/F) and the rounding
that follows leave a comb in it. The histogram of the values hides the comb, because each pixel has it in
another phase. A comb that shows there as well is shared: one factor for all pixels changes no noise model,
and cameras that correct each pixel have combs that agree near their offset.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window
from photon_gpu.estimate.value_histogram import HistogramLevels

_REACH = 24  # Levels; the longest differences.
_NOISE = 4.0  # Levels of noise that blur the lattice of the light itself.
_SAMPLES = 1 << 22  # Most differences.
_APART = 0.08  # Frequencies that the window of the histogram keeps apart.
_SURE = 8.0  # Standard errors.
_ROUGH = 0.05  # Roughness of the histogram of all values above which pixels share the comb.


def comb(windows: Sequence[Window], gain: float, intercept: float, levels: HistogramLevels) -> float:
    """Return the amplitude of a comb in the changes of pixels that their values lack; zero if it is chance.

    Without whole numbers there is no lattice.
    """
    step = levels.step
    if step < 1 or windows[0].frames.dtype.kind not in "iu" or levels.roughness > _ROUGH:
        return 0.0
    histogram = np.zeros(2 * _REACH + 1)
    samples = sum(window.frames.size for window in windows)
    used = windows[:: max(1, samples // _SAMPLES)]
    for window in used:
        noisy = gain * window.frames.mean(axis=0) + intercept > (_NOISE * step) ** 2
        values = window.frames[:, noisy].astype(np.int64) // step
        change = values[1:] - values[:-1]
        change = change[np.abs(change) <= _REACH]
        histogram += np.bincount(change + _REACH, minlength=len(histogram))
    # The photons of a detector with little read noise make a comb themselves.
    frequencies = np.linspace(0.15, 0.5, 71)
    for harmonic in (1, 2, 3):
        away = np.abs((frequencies - harmonic * step / gain + 0.5) % 1 - 0.5)
        frequencies = frequencies[away > 0.05]
    taper = np.hanning(2 * _REACH + 3)[1:-1]
    total = float((taper * histogram).sum())
    if total < 1000 or not len(frequencies):
        return 0.0
    level = np.arange(-_REACH, _REACH + 1)

    def power(frequency: NDArray) -> NDArray:
        waves = np.cos(2 * np.pi * np.outer(frequency, level))
        return np.asarray(waves @ (taper * histogram) / total)

    # A comb is a narrow peak; little noise makes a slope.
    height = power(frequencies) - np.maximum(power(frequencies - _APART), power(frequencies + _APART))
    at = int(height.argmax())
    amplitude, error = float(height[at]), float(np.sqrt((taper**2 * histogram).sum() / 2)) / total
    return amplitude if amplitude > _SURE * error else 0.0
