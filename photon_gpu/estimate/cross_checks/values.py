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

    Frames that were stretched to one range do. Pixels that never change do not count.
    """
    ends: list[NDArray] = []
    for window in windows:
        changing = (window.frames != window.frames[0]).any(axis=0)
        values = window.frames[:, changing]
        ends.append(np.stack([(values == lowest).sum(axis=1), (values == highest).sum(axis=1)]))
    counts = np.concatenate(ends, axis=1)
    if counts.shape[1] < 16 or not counts.all():
        return False
    return bool((counts.var(axis=1) < 0.25 * counts.mean(axis=1)).all())
