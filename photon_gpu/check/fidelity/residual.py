"""Test whether the residual is uniform, white, uncorrelated with the light, and small in averages."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.property_verdicts import ReportLine, measured, skipped
from photon_gpu.check.fidelity.sample import Sample
from photon_gpu.engine.model.anscombe import stabilized_floor

_ERRORS = 3.0
_WIDE_BIN = 16.0
_LEAST = 5000
_REGION = 8


def residual_lines(sample: Sample) -> list[ReportLine]:
    """Return the lines ``uniform``, ``white``, ``uncorrelated`` and ``averages``."""
    return [_uniform(sample), _white(sample), _uncorrelated(sample), _averages(sample)]


def resolved(sample: Sample) -> NDArray:
    """Mask of pixels whose bins hold too few integers for a uniform residual, flattened over all blocks."""
    noise = sample.noise
    if sample.encoding.dtype[0] == "f":
        return np.zeros(sample.pixels, bool)
    width = sample.step * np.sqrt(
        noise.gain * np.maximum(sample.flat("light") - noise.offset, 0) + stabilized_floor(noise)
    )
    return np.asarray(width < _WIDE_BIN)


def _uniform(sample: Sample) -> ReportLine:
    step = sample.step
    if not step:
        return skipped("uniform", "nothing was quantized")
    if sample.encoding.exact:
        return skipped("uniform", "the values themselves are stored: there is no residual")
    if sample.encoding.peaks:
        return skipped("uniform", "bins that follow photon peaks have a residual of another shape")
    values = sample.flat("residual")[~resolved(sample)]
    if values.size < _LEAST:
        return skipped(
            "uniform", "bins hold a few whole numbers each (or one): the residual takes few values"
        )
    values = np.sort(values[:: max(1, values.size // 1_000_000)]) / step + 0.5
    ideal = (np.arange(values.size) + 0.5) / values.size
    distance = float(np.abs(values - ideal).max())
    beyond = max(distance - 1.63 / math.sqrt(values.size), 0.0)  # 1 % level of the Kolmogorov-Smirnov test.
    spread = float(values.std() * math.sqrt(12))
    text = f"{100 * distance:.2f} % from uniform; its spread is {spread:.3f} of step/sqrt(12)"
    return measured(
        "uniform", 100 * beyond, text, "noise narrower than the step, or values that were processed before"
    )


def _white(sample: Sample) -> ReportLine:
    worst, text = 0.0, []
    for axis, name in enumerate(("time", "rows", "columns")):
        neighbours = correlation(sample, axis)
        if neighbours is None:
            continue
        value, pairs = neighbours
        worst = max(worst, abs(value) - _ERRORS / math.sqrt(pairs))
        text.append(f"{value:+.4f} in {name}")
    if not text:
        return skipped("white", "every pixel is decoded exactly: there is no residual")
    cause = "the noise is narrower than the step, so the residual follows the image"
    return measured("white", max(worst, 0.0), ", ".join(text), cause)


def correlation(sample: Sample, axis: int, lag: int = 1) -> tuple[float, int] | None:
    """Correlation of the residual between neighbours along an axis, and the number of pairs."""
    total = square = count = 0.0
    for block in sample.blocks:
        if block.error.shape[axis] <= lag:
            continue
        error = block.error - block.error.mean()
        one = np.take(error, range(error.shape[axis] - lag), axis)
        two = np.take(error, range(lag, error.shape[axis]), axis)
        total += float((one * two).sum(dtype=np.float64))
        square += 0.5 * float((one**2).sum(dtype=np.float64) + (two**2).sum(dtype=np.float64))
        count += one.size
    return (total / square, int(count)) if square > 1e-9 * max(count, 1) else None


def _uncorrelated(sample: Sample) -> ReportLine:
    error, light = sample.flat("error"), sample.flat("light").astype(np.float64)
    if not float(error.std()) > 1e-6:
        return skipped("uncorrelated", "every pixel is decoded exactly: there is no residual")
    if not float(light.std()) > 0:
        return skipped("uncorrelated", "the light is the same everywhere")
    value = float(np.corrcoef(error, light)[0, 1])
    beyond = max(abs(value) - _ERRORS / math.sqrt(error.size), 0.0)
    return measured(
        "uncorrelated", beyond, f"{value:+.4f} with the light", "bias that changes with the light"
    )


def _averages(sample: Sample) -> ReportLine:
    """Measure how much larger the error of averages is than that of averaged independent noise."""
    error = sample.run.error
    frames, rows, columns = error.shape
    if frames < 2 and min(rows, columns) < _REGION:
        return skipped("averages", "one small frame has nothing to average")
    noise = float((error - error.mean()).var(dtype=np.float64))
    text, worst = [], 0.0
    if frames >= 20:
        means = error.mean(0, dtype=np.float64)
        left = excess(means, noise / frames)
        worst = left
        text.append(f"{100 * left:.2f} % left in averages of {frames} frames")
    if min(rows, columns) >= _REGION:
        down, across = rows // _REGION, columns // _REGION
        cut = error[:, : down * _REGION, : across * _REGION]
        means = cut.reshape(frames, down, _REGION, across, _REGION).mean((2, 4), dtype=np.float64)
        left = excess(means, noise / _REGION**2)
        worst = max(worst, left)
        text.append(f"{100 * left:.2f} % in regions of {_REGION} x {_REGION} pixels")
    if not text:
        return skipped("averages", "too few frames and pixels to average")
    return measured("averages", 100 * worst, ", ".join(text), "a bias that averaging does not remove")


def excess(means: NDArray, variance: float) -> float:
    """Root mean square of averages, minus the part of independent errors with that variance."""
    power = float((means**2).mean())
    uncertain = 2 * variance * math.sqrt(2 / max(means.size, 1))
    return math.sqrt(max(power - variance - uncertain, 0.0))
