"""Estimate the light of a pixel from other frames; pool pixels if read noise hides single photons.

The fit of the line uses the light of other frames as its instrument. In most movies 3 x 3 pixels of half a
window are enough. If read noise hides the light there, :class:`Pooled` averages all other windows of the
movie, over up to 33 pixels. The averages get the weights that best predict the light of the measured frames
(the first stage of two-stage least squares). Measured frames never contribute to their own instrument.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window

# Widths, in pixels, of the averages over the window's own frames and over all other windows.
_OWN, _OTHERS = (3, 5, 9, 17, 33), (3, 5, 9, 17)
# Pool if that explains so many times more of the variance of the light. In simulations this is 1.0 to 1.1 at
# 1 photon without read noise or at more photons, 1.6 to 23 if light makes under a fifth of the variance.
_BETTER = 1.2
_WINDOWS, _PIXELS = 12, 1 << 19  # Windows, and pixels in all, that the weights are fitted to.
_SURE = 25.0  # F statistic below which the light is unknown.
_STEEPEST = 3.0  # Times as bright as the other windows.


def halves(length: int) -> list[tuple[slice, list[int]]]:
    """Split a window of ``length`` frames into frames to measure and instrument frames, in two ways."""
    half = max(3, length // 2)
    first, last = slice(0, half), slice(min(half, length - 3), length)
    return [(first, list(range(half, length))), (last, list(range(last.start)))]


def box(image: NDArray, width: int) -> NDArray:
    """Mean over ``width`` x ``width`` pixels (odd width, no NaN), with edge values repeated outside.

    >>> box(np.eye(3), 3)[1, 1]
    np.float64(0.3333333333333333)
    """
    middle = float(image.mean())  # Keeps running sums small.
    return np.asarray(_run(_run(image - middle, width, 0), width, 1) + middle)


def _run(image: NDArray, width: int, axis: int) -> NDArray:
    """Mean over ``width`` pixels along one axis, with edge values repeated outside."""
    reach = width // 2
    total = np.cumsum(
        np.pad(image, [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge"), axis=axis
    )
    ahead, behind = [slice(None)] * 2, [slice(None)] * 2
    ahead[axis], behind[axis] = slice(width, None), slice(None, -width)
    return np.asarray((total[tuple(ahead)] - total[tuple(behind)]) / width)


def around(image: NDArray, width: int) -> NDArray:
    """Mean over ``width`` x ``width`` pixels without the row and the column of the middle one.

    The fixed pattern of a camera (offsets of pixels, rows and columns) is not light. Without the middle row
    and column it is not part of the instrument, so it does not dilute the slope.
    """
    square, down, across = box(image, width), _run(image, width, 0), _run(image, width, 1)
    return np.asarray((width**2 * square - width * (down + across) + image) / (width - 1) ** 2)


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Light of a half window, from all frames that are not measured.

    Attributes
    ----------
    windows : sequence of Window
        All windows of the sample.
    totals : dict of int to ndarray of shape (H, W)
        Sum of all sampled frames of a plane, ADU.
    frames : dict of int to ndarray of shape (H, 1)
        Sampled frames of each row of a plane.
    weights : ndarray
        Weights of the views, in order.
    better : float
        How many times more of the variance of the light they explain than 3 x 3 pixels of half a window.
    """

    windows: Sequence[Window]
    totals: dict[int, NDArray]
    frames: dict[int, NDArray]
    weights: NDArray
    better: float

    @property
    def needed(self) -> bool:
        """Whether it explains much more than half a window does.

        This uses the light alone, before any variance is measured: how much of the measured frames the other
        frames predict.
        """
        return self.better >= _BETTER

    def light(self, number: int, chosen: slice, rest: list[int]) -> NDArray:
        """Light, ADU, of the frames ``chosen`` of a window.

        Only their mean level, one number for all pixels, is taken from these frames.
        """
        frames = self.windows[number].frames
        level = float(np.median(frames[chosen].mean(axis=(1, 2), dtype=np.float64)))
        out = np.full(frames.shape[1:], level)
        views = _views(self.windows[number], rest, self.totals, self.frames)
        for weight, view in zip(self.weights, views, strict=True):
            out += weight * view
        return out


def _views(
    window: Window, rest: list[int], totals: dict[int, NDArray], counts: dict[int, NDArray]
) -> Iterator[NDArray]:
    """Averages of the rest of the window and of all other windows, minus their mean, at every width."""
    own = window.frames[rest].mean(axis=0, dtype=np.float64)
    for width in _OWN:
        yield _centred(around(own, width))
    rows = slice(window.row, window.row + window.frames.shape[1])
    count = counts[window.plane][rows] - len(window.frames)
    total = totals[window.plane][rows] - window.frames.sum(axis=0, dtype=np.float64)
    if not count.any():
        yield from (np.zeros(own.shape) for _ in _OTHERS)
        return
    level = total.sum() / (count.sum() * total.shape[1])
    others = [_ratio(around(total - level * count, width), around(count, width)) for width in _OTHERS]
    # The movie bleaches, so the brightness of other windows agrees only up to a factor.
    pattern = _centred(others[0])
    power = float((pattern * pattern).sum())
    factor = float((pattern * _centred(around(own, _OTHERS[0]))).sum()) / power if power > 0 else 0.0
    for view in others:
        yield min(max(factor, 0.0), _STEEPEST) * _centred(view)


def _ratio(total: NDArray, count: NDArray) -> NDArray:
    return np.where(count > 0.5, total / np.maximum(count, 0.5), 0.0)


def _centred(image: NDArray) -> NDArray:
    return np.asarray(image - image.mean())


def _repeats(windows: Sequence[Window]) -> bool:
    """Whether a frame occurs twice: it would predict itself, including its noise."""
    seen: set[tuple[int, int, bytes]] = set()
    for window in windows:
        for frame in window.frames:
            if frame.min() == frame.max():
                continue
            own = (
                window.plane,
                window.row,
                hashlib.blake2b(frame.tobytes(), digest_size=16).digest(),
            )
            if own in seen:
                return True
            seen.add(own)
    return False


def pooled(windows: Sequence[Window]) -> Pooled | None:
    """Light that is pooled from all frames that are not measured; None where it cannot be known."""
    if windows[0].frames.dtype.kind == "f" and not all(np.isfinite(w.frames).all() for w in windows):
        return None
    if _repeats(windows):
        return None
    totals: dict[int, NDArray] = {}
    counts: dict[int, NDArray] = {}
    height, width = max(w.row + w.frames.shape[1] for w in windows), windows[0].frames.shape[2]
    for window in windows:
        rows = slice(window.row, window.row + window.frames.shape[1])
        totals.setdefault(window.plane, np.zeros((height, width)))[rows] += window.frames.sum(
            axis=0, dtype=np.float64
        )
        counts.setdefault(window.plane, np.zeros((height, 1)))[rows] += len(window.frames)
    size = len(_OWN) + len(_OTHERS)
    design, right, power, samples = np.zeros((size, size)), np.zeros(size), 0.0, 0
    some = windows[:: max(1, len(windows) // _WINDOWS)]
    step = max(1, sum(window.frames[0].size for window in some) // _PIXELS)
    for window in some:
        for chosen, rest in halves(len(window.frames)):
            seen = _centred(window.frames[chosen].mean(axis=0, dtype=np.float64)).ravel()[::step]
            views = np.stack([view.ravel()[::step] for view in _views(window, rest, totals, counts)])
            design += views @ views.T
            right += views @ seen
            power += float(seen @ seen)
            samples += seen.size
    if not design[0, 0] > 0 or not power > 0:
        return None
    # Equal views share their weight.
    ridge = 1e-6 * np.diag(np.maximum(np.diag(design), 1e-9 * design.diagonal().max()))
    weights = np.linalg.solve(design + ridge, right)
    explained, alone = float(right @ weights), max(float(right[0]), 0.0) ** 2 / float(design[0, 0])
    if explained * samples < _SURE * size * power:
        return None
    better = explained / max(alone, 1e-12 * power)
    return Pooled(windows=windows, totals=totals, frames=counts, weights=weights, better=better)
