"""Compare percentiles, dF/F and events of regions with those of redrawn noise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.property_verdicts import ReportLine, measured, skipped
from photon_gpu.check.fidelity.sample import Block, Sample
from photon_gpu.errors import InvalidInputError

_REGIONS = 40
_SIDE = 8
_REDRAWN = 12
_LEAST_FRAMES = 50
_PERCENTILES = (10, 20, 50, 90)
_THRESHOLD = 3.5
_WITHIN = 2


@dataclass(frozen=True)
class Traces:
    """Mean of each region in each frame, ``(frames, regions)``, ADU above offset.

    Attributes
    ----------
    raw, decoded : ndarray
    redrawn : ndarray
        ``(redrawings, frames, regions)``: the light of the raw movie with fresh noise of the modelled size.
    sigma : ndarray
        ``(regions,)``: noise of one pixel, ADU.
    """

    raw: NDArray
    decoded: NDArray
    redrawn: NDArray
    sigma: NDArray


def traces(sample: Sample, regions: NDArray | None = None, seed: int = 0) -> Traces | None:
    """Compute traces of regions (labels, 0 outside), or of the most active and brightest squares."""
    block = sample.run
    frames, rows, columns = block.raw.shape
    if frames < _LEAST_FRAMES or min(rows, columns) < 2:
        return None
    labels = squares(block) if regions is None else _cut(regions, block)
    number = int(labels.max())
    if number == 0:
        return None
    where = labels.ravel()
    size = np.maximum(np.bincount(where, minlength=number + 1)[1:], 1)
    matrix = [np.flatnonzero(where == n + 1) for n in range(number)]

    def means(values: NDArray) -> NDArray:
        flat = values.reshape(frames, -1)
        return np.stack([flat[:, pixels].mean(1, dtype=np.float64) for pixels in matrix], 1)

    raw, decoded = means(block.raw), means(block.counts)
    offset = sample.noise.offset
    noise = np.sqrt(np.maximum(means(block.sigma**2), 1e-30))
    light = smooth(raw) - offset
    rng = np.random.default_rng(seed)
    redrawn = light + rng.standard_normal((_REDRAWN, frames, number)) * (noise / np.sqrt(size))
    return Traces(raw - offset, decoded - offset, redrawn, noise.mean(0))


def squares(block: Block) -> NDArray[np.int32]:
    """Label squares: half are the brightest, half those whose light changes most."""
    _, rows, columns = block.raw.shape
    side = max(2, min(_SIDE, rows // 2, columns // 2))
    down, across = rows // side, columns // side
    cut = block.raw[:, : down * side, : across * side]
    means = (
        cut.reshape(len(cut), down, side, across, side).mean((2, 4), dtype=np.float64).reshape(len(cut), -1)
    )
    slow = means[: len(means) // 5 * 5].reshape(-1, 5, means.shape[1]).mean(1)
    lively = slow.var(0) / np.maximum(means.var(0), 1e-30)
    order = [*np.argsort(-lively)[: _REGIONS // 2], *np.argsort(-means.mean(0))[: _REGIONS // 2]]
    labels = np.zeros((rows, columns), np.int32)
    for number, square in enumerate(dict.fromkeys(int(i) for i in order), 1):
        top, left = divmod(square, across)
        labels[top * side : (top + 1) * side, left * side : (left + 1) * side] = number
    return labels


def _cut(regions: NDArray, block: Block) -> NDArray[np.int32]:
    labels = np.asarray(regions).reshape(-1, regions.shape[-1])
    _, rows, columns = block.raw.shape
    if labels.shape[1] != columns or labels.shape[0] < block.first_row + rows:
        raise InvalidInputError(
            f"the regions have shape {regions.shape}, which does not fit frames of {columns} columns"
        )
    cut = labels[block.first_row : block.first_row + rows]
    numbers = np.unique(cut[cut > 0])
    return np.where(cut > 0, np.searchsorted(numbers, cut) + 1, 0).astype(np.int32)


def smooth(values: NDArray, reach: int = 1) -> NDArray:
    """Running mean over ``2*reach + 1`` frames, shorter at the ends."""
    padded = np.cumsum(np.concatenate([np.zeros((1, *values.shape[1:])), values]), 0)
    stop = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    start = np.maximum(np.arange(len(values)) - reach, 0)
    width = (stop - start).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray((padded[stop] - padded[start]) / width)


def relative(trace: NDArray) -> NDArray:
    """dF/F with the 20th percentile over time as F0; NaN where both F0 and the trace are zero."""
    rest = np.percentile(trace, 20, axis=-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(trace / rest - 1)


def trace_lines(traces: Traces | None, expected_change: float) -> list[ReportLine]:
    """Return the lines of percentiles, dF/F and events; ``expected_change`` is that of a value, in sigma."""
    if traces is None:
        why = f"fewer than {_LEAST_FRAMES} frames: no traces over time"
        return [skipped(name, why) for name in ("percentiles", "dff", "events")]
    return [_percentiles(traces), _dff(traces, expected_change), _events(traces)]


def _percentiles(traces: Traces) -> ReportLine:
    before, after = (np.percentile(values, _PERCENTILES, axis=0) for values in (traces.raw, traces.decoded))
    off = 100 * (after - before) / traces.sigma
    means = off.mean(1)
    at = int(np.abs(means).argmax())
    text = (
        f"{means[at]:+.2f} % at percentile {_PERCENTILES[at]}, single regions up to {np.abs(off).max():.1f} %"
    )
    return measured("percentiles", abs(means[at]), text, "a bias, or a step too coarse for these regions")


def _dff(traces: Traces, theory: float) -> ReportLine:
    bright = np.percentile(traces.raw, 20, axis=0) > 0.5 * traces.sigma * 0.2
    if not bright.any():
        return skipped("dff", "no region is bright enough for an F0")
    raw, decoded, redrawn = (relative(v[..., bright]) for v in (traces.raw, traces.decoded, traces.redrawn))
    spread = np.sqrt(((redrawn - redrawn.mean(0)) ** 2).mean((0, 1)) * _REDRAWN / (_REDRAWN - 1))
    error = np.sqrt(((decoded - raw) ** 2).mean(0))
    ratio = error / np.maximum(spread, 1e-30)
    middle = float(np.median(ratio))
    text = (
        f"{middle:.3f} of the spread (theory {theory:.3f}) in {bright.sum()} regions, at most "
        f"{ratio.max():.3f}; "
        f"error {100 * np.median(error):.2f} %, fresh noise {100 * np.median(spread):.2f} %"
    )
    beyond = middle / theory if theory else 0.0
    return measured("dff", beyond, text, "the step is coarse against the noise, or F0 is biased")


def _events(traces: Traces) -> ReportLine:
    raw, decoded = events(traces.raw), events(traces.decoded)
    number = sum(len(region) for region in raw)
    if number < 10:
        return skipped("events", f"{number} events in these regions: too few to compare")
    again = [events(trace) for trace in traces.redrawn]
    control = float(np.mean([agreement(a, b) for a, b in pairwise(again)]))
    same = agreement(raw, decoded)
    text = f"{100 * same:.1f} % of {number} agree with the raw movie's; redrawn noise: {100 * control:.1f} %"
    return measured("events", 100 * max(control - same, 0.0), text, "the step is coarse against the noise")


def events(trace: NDArray) -> list[NDArray]:
    """Find the frames at which each region's smoothed trace rises above a robust threshold."""
    calm = smooth(trace)
    middle = np.median(calm, 0)
    spread = 1.4826 * np.median(np.abs(calm - middle), 0)
    high = calm > middle + _THRESHOLD * np.maximum(spread, 1e-30)
    rises = high & ~np.concatenate([np.zeros((1, high.shape[1]), bool), high[:-1]])
    return [np.flatnonzero(column) for column in rises.T]


def agreement(one: list[NDArray], two: list[NDArray]) -> float:
    """Share of events with a partner within two frames: twice the pairs, divided by all events (F1)."""
    pairs = total = 0
    for a, b in zip(one, two, strict=True):
        total += len(a) + len(b)
        free = list(b)
        for frame in a:
            near = [other for other in free if abs(int(other) - int(frame)) <= _WITHIN]
            if near:
                free.remove(min(near, key=lambda other: abs(int(other) - int(frame))))
                pairs += 1
    return 2 * pairs / total if total else 1.0
