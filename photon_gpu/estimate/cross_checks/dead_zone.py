"""Dead zones of pairs: decimated wavelets set small differences to zero, but only within their own pairs.

Raw noise does not know whether a pixel, row or frame is even or odd. Wavelets (and codecs of blocks) pair
pixels 0 and 1, 2 and 3, and so on. Where they weaken noise, differences within pairs are close to zero more
often than differences between pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window

_SMALL = 0.15  # Standard deviations of a difference that counts as close to zero.
_SAMPLES = 1 << 21  # Most values.
_SURE = 8.0  # Standard errors.
_FEWEST = 10_000  # Differences of each phase.


def dead_zone(windows: Sequence[Window], gain: float, intercept: float) -> float:
    """Share of differences that a phase has close to zero beyond all other phases; zero if it is chance.

    Differences are those of neighbours in time, in rows and in columns, and those of the diagonals of
    2 x 2 pixels.
    """
    close, every = np.zeros((4, 4)), np.zeros((4, 4))
    for window in windows[:: max(1, sum(w.frames.size for w in windows) // _SAMPLES)]:
        frames = window.frames.astype(np.float32)
        if not np.isfinite(frames).all() or min(frames.shape) < 4:
            continue
        light = frames.mean(axis=0)
        sigma = np.sqrt(np.maximum(gain * light + intercept, 1e-9))
        first = window.start % 2, window.row % 2, 0
        step = frames[:, :, 1:] - frames[:, :, :-1]
        kinds = (
            (np.abs(frames[1:] - frames[:-1]), _SMALL * 2**0.5 * sigma, (first[0],)),
            (np.abs(frames[:, 1:] - frames[:, :-1]), _SMALL * 2**0.5 * sigma[1:], (None, first[1])),
            (np.abs(step), _SMALL * 2**0.5 * sigma[:, 1:], (None, None, 0)),
            (np.abs(step[:, 1:] - step[:, :-1]), _SMALL * 2 * sigma[1:, 1:], (None, first[1], 0)),
        )
        for number, (difference, limit, starts) in enumerate(kinds):
            small = difference < limit
            for phase, part in enumerate(_phases(small, starts)):
                close[number, phase] += np.count_nonzero(part)
                every[number, phase] += part.size
    return max(_beyond(close[k, :n], every[k, :n]) for k, n in enumerate((2, 2, 2, 4)))


def _phases(small: NDArray, starts: tuple[int | None, ...]) -> list[NDArray]:
    """The parts of every phase, in order, along the axes that have a start."""
    parts = [small]
    for axis, start in enumerate(starts):
        if start is not None:
            index = (slice(None),) * axis
            parts = [
                part[(*index, slice((phase + start) % 2, None, 2))] for part in parts for phase in (0, 1)
            ]
    return parts


def _beyond(close: NDArray, every: NDArray) -> float:
    if every.min() < _FEWEST:
        return 0.0
    share = close / every
    order = np.argsort(share)
    top, next_ = share[order[-1]], share[order[-2]]
    error = float(np.sqrt((share * (1 - share) / every)[order[-2:]].sum()))
    return float(top - next_) if top - next_ > _SURE * error else 0.0
