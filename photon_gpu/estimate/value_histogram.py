"""Judge the histogram of the raw values: saturation, clipping, combs and gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window

_PILE = 4.0
_ENOUGH = 20
_FEW = 256  # Most levels of a palette.
_EVEN = 1.5  # Largest distance of levels in use, in the smallest, up to which they count as even.
_MOST, _ALIKE = 0.95, 1.3  # Distances of this share of samples are alike, up to this ratio to the median.
_COARSE = 1.4  # Distance of levels, in units of the noise, whose rounding adds 20 % to the variance.
_PHOTON = 1.2  # Gains that may lie between levels of a detector without read noise.


@dataclass(frozen=True, kw_only=True)
class HistogramLevels:
    """Saturation, clipping and gaps in the histogram of raw values.

    Attributes
    ----------
    lowest, highest : float
        ADU.
    top : float
        Values at or above this are saturated; infinite if none are.
    bottom : float
        Values at or below this pile up at the lowest level; minus infinity if none do.
    saturated_share, floor_share : float
        Share of samples at ``top`` and at ``bottom``.
    samples : int
        Number of samples that these are shares of.
    step : int
        Distance between levels (1 for unscaled integers, 0 for floats).
    roughness : float
        Relative difference of a level's count from the one that its neighbours predict, beyond chance.
    missing_share : float
        Share of levels within the busy range that never occur.
    spacing : float
        Mean distance of occupied levels in the busy range, ADU.
    isolated_share : float
        Share of samples on single levels, or pairs of levels, between levels that never occur: values were
        rounded to a coarse grid. Decoded counts are rounded up or down at random, which makes pairs.
    palette : tuple of (float, int)
        Levels, ADU, and their counts, if there are few and their distances differ; else empty.
    """

    lowest: float
    highest: float
    top: float
    bottom: float
    saturated_share: float
    floor_share: float
    samples: int
    step: int
    roughness: float
    missing_share: float
    spacing: float
    isolated_share: float = 0.0
    palette: tuple[tuple[float, int], ...] = ()

    def coarse_share(self, gain: float, intercept: float) -> float:
        """Share of the samples on levels of a palette from which noise does not reach the next level.

        Photons without read noise leave gaps, too, of up to one gain. Levels whose distances are alike in
        units of the noise, and below 1.4, are no palette: photon_gpu decodes to such.
        """
        if len(self.palette) < 3:
            return 0.0
        levels, counts = np.array(self.palette).T
        gap = np.diff(levels)
        middle = (levels[1:] + levels[:-1]) / 2
        distance = gap / np.sqrt(np.maximum(gain * middle + intercept, 1e-9))
        order = np.argsort(distance)
        below = np.cumsum((counts[1:] + counts[:-1])[order])
        half, most = (distance[order[np.searchsorted(below, share * below[-1])]] for share in (0.5, _MOST))
        if most < _ALIKE * half and half < _COARSE:
            return 0.0
        farthest = np.maximum(np.append(gap, 0.0), np.append(0.0, gap))
        reach = np.sqrt(np.maximum(gain * levels + intercept, 0.0))
        coarse = (farthest > np.maximum(reach, _PHOTON * gain)) & (counts >= _ENOUGH)
        inside = (levels > self.bottom) & (levels < self.top)
        return float(counts[coarse & inside].sum() / max(self.samples, 1))


def _count(windows: Sequence[Window]) -> tuple[NDArray, NDArray]:
    dtype = windows[0].frames.dtype
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        low = int(np.iinfo(dtype).min)
        total = np.zeros(1 << (8 * dtype.itemsize), np.int64)
        for window in windows:
            total += np.bincount(window.frames.ravel().astype(np.int64) - low, minlength=len(total))
        used = np.flatnonzero(total)
        return (used + low).astype(np.float64), total[used]
    parts = []
    for window in windows:
        values, counts = np.unique(window.frames[np.isfinite(window.frames)], return_counts=True)
        if len(values) > 200_000:  # Continuous floats: only the ends matter.
            keep = np.r_[0:100, len(values) - 100 : len(values)]
            values, counts = values[keep], counts[keep]
        parts.append((values.astype(np.float64), counts))
    values, inverse = np.unique(np.concatenate([v for v, _ in parts]), return_inverse=True)
    counted = np.bincount(inverse, np.concatenate([c for _, c in parts]), len(values))
    return values, counted.astype(np.int64)


def _piles(counts: NDArray) -> bool:
    """Whether the first level holds far more samples than the next eight occupied ones."""
    return len(counts) > 8 and counts[0] >= _ENOUGH and counts[0] > _PILE * np.median(counts[1:9])


def survey(windows: Sequence[Window]) -> HistogramLevels:
    """Make the histogram of the sample and judge its levels."""
    values, counts = _count(windows)
    total = float(sum(w.frames.size for w in windows))
    if len(values) == 0:
        return HistogramLevels(
            lowest=math.nan,
            highest=math.nan,
            top=math.inf,
            bottom=-math.inf,
            saturated_share=0.0,
            floor_share=0.0,
            samples=int(total),
            step=0,
            roughness=0.0,
            missing_share=0.0,
            spacing=0.0,
        )
    dtype = windows[0].frames.dtype
    at_limit = dtype.kind in "iu" and values[-1] == np.iinfo(dtype).max
    full = _piles(counts[::-1]) or (at_limit and counts[-1] >= _ENOUGH)
    floored = _piles(counts)
    step, roughness, missing, spacing, isolated = 0, 0.0, 0.0, 0.0, 0.0
    if bool((values == np.rint(values)).all()):
        whole = values.astype(np.int64)
        step = int(np.gcd.reduce(np.diff(whole))) if len(whole) > 1 else 1
        roughness, missing, spacing = _unevenness(whole, counts, max(step, 1))
        isolated = _isolated(whole, counts, max(step, 1)) / total
    return HistogramLevels(
        lowest=float(values[0]),
        highest=float(values[-1]),
        top=float(values[-1]) if full else math.inf,
        bottom=float(values[0]) if floored else -math.inf,
        saturated_share=float(counts[-1]) / total if full else 0.0,
        floor_share=float(counts[0]) / total if floored else 0.0,
        samples=int(total),
        step=step,
        roughness=roughness,
        missing_share=missing,
        spacing=spacing * max(step, 1),
        isolated_share=isolated,
        palette=_palette(values, counts),
    )


def _isolated(values: NDArray, counts: NDArray, step: int) -> float:
    """Samples on levels in runs of one or two."""
    run = np.cumsum(np.append(0, np.diff(values) > step))
    return float(counts[np.bincount(run)[run] <= 2].sum())


def _palette(values: NDArray, counts: NDArray) -> tuple[tuple[float, int], ...]:
    """Levels and counts if they are few, much in use, and unevenly spaced."""
    gap = np.diff(values[counts >= _ENOUGH])
    if len(values) > _FEW or len(gap) < 2 or gap.max() <= _EVEN * gap.min():
        return ()
    return tuple((float(value), int(count)) for value, count in zip(values, counts, strict=True))


def _unevenness(values: NDArray, counts: NDArray, step: int) -> tuple[float, float, float]:
    """Roughness beyond chance, missing levels and spacing, from the 2nd to the 95th percentile.

    A count is compared with the cubic through its four neighbours, which fits any histogram that is smooth
    over a few levels.
    """
    index = (values - values[0]) // step
    cumulative = np.cumsum(counts) / counts.sum()
    first, last = np.searchsorted(cumulative, [0.02, 0.95])
    low, high = int(index[first]), int(index[last])
    if high - low < 16 or high - low > 1 << 20:
        return 0.0, 0.0, 1.0
    inside = (index >= low) & (index <= high)
    dense = np.zeros(high - low + 1)
    dense[index[inside] - low] = counts[inside]
    expected = (4 * dense[1:-3] + 4 * dense[3:-1] - dense[:-4] - dense[4:]) / 6
    local = (dense[:-4] + dense[1:-3] + dense[2:-2] + dense[3:-1] + dense[4:]) / 5
    busy = local >= 50
    if busy.sum() < 12:
        return 0.0, 0.0, 1.0
    chance = 70 / 36
    ratio = ((dense[2:-2] - expected) ** 2 / chance - local)[busy] / local[busy] ** 2
    # The median of a squared normal is 0.455. A quarter of the mean detects combs that spare most levels.
    power = max(float(np.median(ratio)) / 0.455, float(np.mean(ratio)) / 4, 0.0)
    missing = float((dense[2:-2][busy] == 0).mean())
    return math.sqrt(power), missing, (high - low) / max(int(np.count_nonzero(dense)) - 1, 1)
