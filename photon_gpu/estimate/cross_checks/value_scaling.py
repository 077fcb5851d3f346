"""Traces of scaling in the values: equal means of all pixels, frames stretched to one range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window


def spread_of_means(windows: Sequence[Window]) -> float:
    """Return the variance of the pixels' means over time, relative to that of equal pixels with noise.

    It is at least 1, except where each pixel was normalized. Infinite if there are few pixels.
    """
    groups: dict[tuple[int, int], list[NDArray]] = {}
    for window in windows:
        groups.setdefault((window.plane, window.row), []).append(window.frames)
    frames = np.concatenate(max(groups.values(), key=lambda parts: sum(map(len, parts))))
    if frames[0].size < 256 or not np.isfinite(frames).all():
        return float("inf")
    mean = frames.mean(axis=0, dtype=np.float64)
    alone = float(frames.var(axis=0, dtype=np.float64).mean()) / len(frames)
    return float(mean.var()) / alone if alone > 0 else float("inf")


def stretched(windows: Sequence[Window], lowest: float, highest: float) -> bool:
    """Whether every frame reaches both ends of the range with about the same number of pixels.

    Frames that were stretched to one range do. Independent pixels come and go without regard to each other,
    so from frame to frame the square of the change in their number is about the number that came or went.
    """
    square, moved, frames, reached = np.zeros(2), np.zeros(2), 0, True
    for window in windows:
        at = np.stack([window.frames == lowest, window.frames == highest])
        changes = np.diff(at.view(np.int8), axis=1)
        square += (changes.sum(axis=(2, 3), dtype=np.int64).astype(np.float64) ** 2).sum(axis=1)
        moved += np.count_nonzero(changes, axis=(1, 2, 3))
        frames += len(window.frames)
        reached &= bool(at.any(axis=(2, 3)).all())
    if frames < 16 or not reached or not moved.all():
        return False
    even = np.sort(square / moved)
    # Rounding to few levels adds pixels to one end that were not cut off. Then the other end tells alone.
    return bool(even[0] < 0.1 or (even[0] < 0.25 and even[1] < 0.75))
