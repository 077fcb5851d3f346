"""Spectrum of the noise in time, and its reach in space: filters colour noise that photons make white.

Structure has its own spectrum. Over time, what neighbouring pixels share is subtracted, as for the line. In
space, differences over three frames are compared with pixels up to 9 rows or columns away, and only tiles
with the least correlation count, because light correlates some of them and a filter all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window

_LONGEST, _PIXELS = 256, 1 << 14  # Frames, and pixels of every frame.
_FEWEST = 32  # Frames.
_SIDE = 12  # Pixels of a tile.
_SLOW, _MIDDLE, _FAST = (0.04, 0.08), (0.08, 0.125), (0.25, 0.5)  # Cycles per frame.
_SLOWEST = 0.02  # Cycles per frame, with which correlation over one row is looked for.
_NARROW = ((1, 1.0), (2, -1.6), (3, 0.6))  # Pixels, and factors: zero for light, as for correlations.
_NEAR = 0.3  # Share of the correlation over one pixel that must reach no further.
_SURE, _SURE_TWICE = 5.0, 3.0  # Standard errors, also where both axes must agree.
_LAGS = (1, 2, 3, 9)  # Pixels.


@dataclass(frozen=True, kw_only=True)
class NoiseSpectrum:
    """Colour of the noise; zeros where it is white or cannot be measured.

    Attributes
    ----------
    slow, middle : float
        Power of slow changes (12 to 25 frames) and of faster ones (8 to 12 frames), relative to that of
        changes within 4 frames, minus 1.
    blended : float
        Correlation of slow changes with the next row and column, beyond what reaches further as light does.
    sharpened : float
        Negative correlation with the next two rows and columns.
    smoothed : float
        Correlation with the third rows and columns that the ninth do not have.
    """

    slow: float
    middle: float
    blended: float
    sharpened: float
    smoothed: float


WHITE = NoiseSpectrum(slow=0.0, middle=0.0, blended=0.0, sharpened=0.0, smoothed=0.0)
"""The spectrum of raw noise."""


def noise_spectrum(windows: Sequence[Window]) -> NoiseSpectrum:
    """Measure the spectrum of the noise over the longest run of frames without a gap."""
    frames = _run(windows)
    if len(frames) < _FEWEST or min(frames.shape[1:]) < 2 * _SIDE or not np.isfinite(frames).all():
        return WHITE
    slow, middle, blended = _in_time(frames)
    sharpened, smoothed = _in_space(frames)
    return NoiseSpectrum(slow=slow, middle=middle, blended=blended, sharpened=sharpened, smoothed=smoothed)


def _run(windows: Sequence[Window]) -> NDArray:
    """The longest run of frames, cut to a square of rows and columns in the middle."""
    runs: list[list[Window]] = []
    last: dict[tuple[int, int], list[Window]] = {}
    for window in windows:
        key = window.plane, window.row
        before = last.get(key)
        if before is not None and before[-1].start + len(before[-1].frames) == window.start:
            before.append(window)
        else:
            last[key] = [window]
            runs.append(last[key])
    longest = max(runs, key=lambda run: sum(len(window.frames) for window in run))
    height, width = longest[0].frames.shape[1:]
    rows = min(height, max(round(_PIXELS**0.5), _PIXELS // width))
    columns = min(width, _PIXELS // rows)
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = [window.frames[:, top : top + rows, left : left + columns] for window in longest]
    return np.concatenate(cut)[:_LONGEST].astype(np.float32)


def _tiles(values: NDArray) -> NDArray:
    """Means over square tiles, flat, of the last two axes."""
    height, width = (size // _SIDE for size in values.shape[-2:])
    whole = values[..., : height * _SIDE, : width * _SIDE]
    split = whole.reshape(*values.shape[:-2], height, _SIDE, width, _SIDE)
    return split.mean(axis=(-3, -1)).reshape(*values.shape[:-2], height * width)


def _shifted(one: NDArray, other: NDArray, lag: int, axis: int) -> NDArray:
    """Product of ``one`` and the conjugate of ``other`` ``lag`` pixels on; zero where there is none."""
    out = np.zeros(one.shape, np.float32)
    here, there = [slice(None)] * one.ndim, [slice(None)] * one.ndim
    here[axis], there[axis] = slice(None, -lag), slice(lag, None)
    out[tuple(here)] = (one[tuple(here)] * other[tuple(there)].conj()).real
    return out


def _in_time(frames: NDArray) -> tuple[float, float, float]:
    length = len(frames)
    time = (np.arange(length) - (length - 1) / 2).astype(np.float32)
    centred = frames - frames.mean(axis=0)
    centred -= np.tensordot(time, centred, 1) / (time @ time) * time[:, None, None]
    taper = np.hanning(length).astype(np.float32)[:, None, None]
    frequency = np.fft.rfftfreq(length)
    waves = np.fft.rfft(centred * taper, axis=0)
    means = []
    for low, high in (_SLOW, _MIDDLE, _FAST):
        some = waves[(frequency >= low) & (frequency <= high)]
        noise = (np.abs(some) ** 2).mean(axis=0)
        for axis in (1, 2):
            for lag, factor in ((1, 4 / 3), (2, -1 / 3)):
                noise -= factor / 2 * _shifted(some, some, lag, axis).mean(axis=0)
        means.append(_tiles(noise))
    fast = np.maximum(means[2], 1e-9)
    slow = waves[(frequency >= _SLOWEST) & (frequency <= _SLOW[1])]
    blended = min(_narrow(slow, fast, axis) for axis in (1, 2))
    return _beyond_chance(means[0] / fast - 1), _beyond_chance(means[1] / fast - 1), blended


def _narrow(slow: NDArray, fast: NDArray, axis: int) -> float:
    """Correlation with the next pixel along an axis beyond that of light; zero if it is chance.

    Optics blur light over more than a pixel, so its correlation falls slowly at first. ``_NARROW`` takes it
    out, except where fine lines move; then most of it remains further away.
    """
    shared = [_tiles(_shifted(slow, slow, lag, axis).mean(axis=0)) / fast for lag, _ in _NARROW]
    left = np.asarray(sum(factor * s for (_, factor), s in zip(_NARROW, shared, strict=True)))
    beyond = _beyond_chance(left, _SURE_TWICE)
    return beyond if beyond > max(_NEAR * float(np.median(shared[0])), 0.0) else 0.0


def _beyond_chance(ratios: NDArray, sure: float = _SURE) -> float:
    """Median; zero if it is chance."""
    middle = float(np.median(ratios))
    error = float(np.subtract(*np.quantile(ratios, (0.75, 0.25)))) / 1.35 * 1.25 / len(ratios) ** 0.5
    return middle if abs(middle) > sure * error else 0.0


def _in_space(frames: NDArray) -> tuple[float, float]:
    change = frames[:-2] - 2 * frames[1:-1] + frames[2:]
    variance = np.maximum(_tiles((change * change).mean(axis=0)), 1e-9)
    dim = _tiles(frames.mean(axis=0))
    dim = dim <= np.quantile(dim, 0.25)
    means, errors, least = np.zeros((2, 4)), np.zeros((2, 4)), np.zeros((2, 4))
    for axis in (1, 2):
        for number, lag in enumerate(_LAGS):
            shared = _tiles(_shifted(change, change, lag, axis).mean(axis=0))
            # The last rows or columns have no neighbour so far away; tiles there count less.
            share = shared / variance
            at = axis - 1, number
            means[at], errors[at] = share.mean(), share.std() / len(share) ** 0.5
            least[at] = min(np.quantile(share, 0.25), share[dim].mean())
    near = means[:, :2]
    sharp = -float(near.max()) if (near < -_SURE * errors[:, :2]).all() else 0.0
    smooth = float((least[:, 2] - np.maximum(least[:, 3], 0.0)).min())
    return sharp, smooth if (means[:, 2] > _SURE * errors[:, 2]).all() and smooth > 0 else 0.0
