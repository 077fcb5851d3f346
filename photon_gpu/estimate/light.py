"""What the other frames say of a pixel's light: the instrument of the regression.

Candidates are means over boxes of growing width, of the half of the window that is not measured and of all
other windows that show the same pixels, the latter scaled to the window's own light (bleaching, flashes).
The best linear forecast of the measured signal from them is the first stage of two-stage least squares:
raw pixels where photons are many, wide averages of the whole movie where they are few. No candidate shares
a frame with what it foretells, so its noise is independent of it, however good or bad the forecast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window

_NEAR = (0, 1, 3, 7)  # how far boxes reach, pixels
_FAR = (0, 1, 3)
_WINDOWS = 8  # windows the forecast is learned from
_BINS = 12
_PIXELS = 20_000  # per half window
_FEWEST = 2000


def halves(length: int) -> list[tuple[slice, list[int]]]:
    """Frames to measure and frames that are the instrument, twice, for a window of ``length`` frames."""
    half = max(3, length // 2)
    first, last = slice(0, half), slice(min(half, length - 3), length)
    return [(first, list(range(half, length))), (last, list(range(last.start)))]


def box(image: NDArray, reach: int) -> NDArray:
    """Mean over the pixels up to ``reach`` rows and columns away; fewer at the edges."""
    if reach == 0:
        return image
    for axis in (0, 1):
        size = image.shape[axis]
        total = np.insert(np.cumsum(image, axis=axis), 0, 0.0, axis=axis)
        place = np.arange(size)
        low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, size)
        count = (high - low).reshape((-1, 1) if axis == 0 else (1, -1))
        image = (total.take(high, axis) - total.take(low, axis)) / count
    return image


class Light:
    """Forecasts of the light of every pixel, from frames that are not measured.

    Parameters
    ----------
    windows : sequence of Window
        No two of them share a frame of the same pixels.
    smooth : bool
        Whether neighbours are neighbours in space and windows show the same pixels again. If not, the forecast is
        the mean of the window's other frames.
    """

    def __init__(self, windows: Sequence[Window], *, smooth: bool) -> None:
        self._windows, self._smooth = windows, smooth
        self._sums: dict[tuple[int, int], tuple[NDArray, NDArray]] = {}
        self._weights: dict[bool, NDArray] = {}
        if not smooth:
            return
        for window in windows:
            image, seen = _total(window)
            sums = self._sums.setdefault(_place(window), (np.zeros(image.shape), np.zeros(image.shape)))
            sums[0][...] += image
            sums[1][...] += seen
        whole = [self._elsewhere(window) is not None for window in windows]
        for far in set(whole):
            self._weights[far] = self._learn([n for n, has in enumerate(whole) if has is far])

    def images(self, number: int) -> Iterator[NDArray]:
        """Forecast for each half of window ``number``, ``(H, W)`` float64, ADU; NaN where a frame is not finite."""
        window = self._windows[number]
        far = self._elsewhere(window) if self._smooth else None
        for _, rest in halves(len(window.frames)):
            own = window.frames[rest].mean(axis=0, dtype=np.float64)
            if not self._smooth:
                yield own
                continue
            weights = self._weights[far is not None]
            image = weights[0] + np.tensordot(weights[1:], _candidates(own, far), 1)
            yield np.where(np.isfinite(own), image, np.nan)

    def _elsewhere(self, window: Window) -> NDArray | None:
        """Mean of all other windows of the same pixels; None if there is no other."""
        image, seen = (a - b for a, b in zip(self._sums[_place(window)], _total(window), strict=True))
        if not (seen > 0).any():
            return None
        mean = image / np.maximum(seen, 1)
        return np.where(seen > 0, mean, mean[seen > 0].mean())

    def _learn(self, numbers: Sequence[int]) -> NDArray:
        """Constant and factors of the best linear forecast, weighed by the noise at each level."""
        lights, signals, squares = [], [], []
        for number in numbers[:: max(1, len(numbers) // _WINDOWS)]:
            window = self._windows[number]
            far = self._elsewhere(window)
            every = max(1, window.frames[0].size // _PIXELS)
            for chosen, rest in halves(len(window.frames)):
                frames = (
                    window.frames[chosen].reshape(-1, window.frames[0].size)[:, ::every].astype(np.float64)
                )
                own = window.frames[rest].mean(axis=0, dtype=np.float64)
                lights.append(_candidates(own, far).reshape(-1, own.size)[:, ::every])
                signals.append(np.where(np.isfinite(own.ravel()[::every]), frames.mean(axis=0), np.nan))
                squares.append((frames[0] - 2 * frames[1] + frames[2]) ** 2 / 6)
        light, signal, square = (np.concatenate(part, axis=-1) for part in (lights, signals, squares))
        good = np.isfinite(signal) & np.isfinite(square)
        light, signal, square = light[:, good], signal[good], square[good]
        if signal.size < _FEWEST:
            return _plain(len(light))
        level = np.searchsorted(np.quantile(light[2], np.linspace(0, 1, _BINS + 1)[1:-1]), light[2])
        rough = np.bincount(level, square, _BINS) / np.maximum(np.bincount(level, minlength=_BINS), 1)
        root = 1 / np.sqrt(np.maximum(rough, max(float(square.mean()), 1e-12) * 1e-3))[level]
        pivot = float(signal.mean())
        design = np.vstack([np.ones_like(signal), light - pivot]) * root
        weights, *_ = np.linalg.lstsq(design.T, (signal - pivot) * root, rcond=1e-9)
        weights[0] += pivot * (1 - weights[1:].sum())
        return np.asarray(weights)


def _plain(count: int) -> NDArray:
    """The forecast of too few pixels to learn one: the mean of 3 x 3 pixels of the window's other half."""
    weights = np.zeros(count + 1)
    weights[2] = 1.0
    return weights


def _place(window: Window) -> tuple[int, int]:
    return window.plane, window.row


def _total(window: Window) -> tuple[NDArray, NDArray]:
    """Sum over the frames of a window, and how many: none where one of them is not finite."""
    image = window.frames.sum(axis=0, dtype=np.float64)
    good = np.isfinite(image)
    return np.where(good, image, 0.0), np.where(good, float(len(window.frames)), 0.0)


def _candidates(own: NDArray, far: NDArray | None) -> NDArray:
    """Boxes of the window's other half, then of the other windows in the window's own light."""
    good = np.isfinite(own)
    if not good.all():
        own = np.where(good, own, own[good].mean() if good.any() else 0.0)
    found = [box(own, reach) for reach in _NEAR]
    if far is not None:
        here, there = found[1] - found[1].mean(), box(far, 1)
        there = there - there.mean()
        power = float((there * there).sum())
        slope = float((here * there).sum()) / power if power > 0 else 0.0
        scaled = found[1].mean() + slope * (far - far.mean())
        found += [box(scaled, reach) for reach in _FAR]
    return np.stack(found)
