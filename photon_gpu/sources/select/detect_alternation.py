"""Detect movies whose frames alternate, because channels are stored one after another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.sources.base import Source

LONGEST_PERIOD = 16
_FRAMES = 3 * LONGEST_PERIOD + 2
_READ_BYTES = 128 << 20
_PIECE_BYTES = 16 << 20
_PIXELS = 1 << 14
_LIKER = 0.8  # frames one period apart differ by less than this share of the difference of others
_EXPLAINED = 0.8  # share of a series that a period must explain
_LEAST_CYCLES = 3


def alternation(source: Source) -> int | None:
    """Period of frames that alternate, 2 to 16; None if they do not.

    Frames one period apart resemble each other more than frames at other lags, or the spread over the
    pixels has that period. Up to 50 frames from the middle of the movie are compared.

    Examples
    --------
    >>> from photon_gpu.sources.array import ArraySource
    >>> random = np.random.default_rng(0)
    >>> light = random.uniform(2.0, 20.0, (3, 32, 32))
    >>> frames = random.poisson(np.tile(light, (20, 1, 1))).astype("uint16")
    >>> alternation(ArraySource(frames)), alternation(ArraySource(frames[::3].copy()))
    (3, None)
    """
    if source.device is not None:
        return None
    frames = _middle(source)
    if len(frames) < 2 * _LEAST_CYCLES or not np.isfinite(frames).all():
        return None
    return period_of_scenes(frames) or _by_spread(frames)


def _middle(source: Source) -> NDArray[np.float64]:
    """Some pixels of consecutive frames from the middle of the movie, ``(frames, pixels)``."""
    count = min(source.shape[0], _FRAMES, max(2 * _LEAST_CYCLES, _READ_BYTES // source.frame_nbytes))
    start = (source.shape[0] - count) // 2
    piece = max(1, _PIECE_BYTES // source.frame_nbytes)
    pixels = source.frame_nbytes // source.dtype.itemsize
    every = max(1, pixels // _PIXELS)
    parts = []
    for first in range(start, start + count, piece):
        last = min(first + piece, start + count)
        block = source.read(first, last).reshape(last - first, -1)[:, ::every]
        parts.append(block.astype(np.float64))
    return np.concatenate(parts)


def period_of_scenes(frames: NDArray[np.float64]) -> int | None:
    """Period at which ``(frames, pixels)`` differ least, if they differ clearly more at all shorter lags."""
    frames = frames[:, :: max(1, frames.shape[1] // _PIXELS)]
    longest = min(len(frames) // 2, LONGEST_PERIOD)
    lags = range(1, min(2 * longest, len(frames) - 2) + 1)
    differ = {lag: float(np.mean((frames[lag:] - frames[:-lag]) ** 2)) for lag in lags}
    for period in range(2, longest + 1):
        whole = [lag for lag in lags if lag % period == 0]
        between = [lag for lag in lags if lag % period and lag < 2 * period]
        if whole and max(differ[lag] for lag in whole[:2]) < _LIKER * min(differ[lag] for lag in between):
            return period
    return None


def _by_spread(frames: NDArray[np.float64]) -> int | None:
    """Period of the spread of a frame's pixels around their mean; channels may differ in noise only."""
    spread = np.log(np.maximum(((frames - frames.mean(0)) ** 2).mean(1), 1e-300))
    time = np.arange(len(spread))
    spread -= np.polyval(np.polyfit(time, spread, 1), time)
    total = float((spread**2).sum())
    for period in range(2, min(len(spread) // _LEAST_CYCLES, LONGEST_PERIOD) + 1):
        means = np.array([spread[phase::period].mean() for phase in range(period)])
        left = float(((spread - means[time % period]) ** 2).sum())
        # A long period has many free phases and explains much by chance, so degrees of freedom are counted.
        freedom = (len(spread) - period) / len(spread)
        if total > 0 and left / freedom < (1 - _EXPLAINED) * total:
            return period
    return None
