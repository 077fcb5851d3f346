"""Compare noise before and after encoding, per level of light: bias, variance, slope, cost of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.bias_causes import likely_cause
from photon_gpu.check.fidelity.property_verdicts import LIMITS, PASS, WARN, ReportLine, measured, skipped
from photon_gpu.check.fidelity.sample import Block, Sample
from photon_gpu.engine.model.anscombe import anscombe, stabilized_floor
from photon_gpu.engine.model.entropy_and_information import COARSE, DARK_PHOTONS, information_kept
from photon_gpu.engine.model.noise import NoiseModel

GROUPS = 20
_MOST_FOR_EDGES = 50_000  # Number of pixels that determine the borders between groups.
_LEAST = 2000
_ENOUGH = 500
_ERRORS = 3.0
_WINDOW, _LEAST_WINDOW = 16, 4
_QUANTILES = ((0.5, 0.0), (0.25, -0.6745))
_STRUCTURE = 1.5
_OTHER_SLOPE = 0.1
# Per cent that a single level is off, and the per cent off of the median that are as grave.
_SINGLE, _GRADED = (0.0, 25.0, 50.0), (0.0, 10.0, 50.0)
_LIGHTS = (0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class LightLevels:
    """Measurements of groups of pixels of similar light, all arrays ``(groups,)``.

    Attributes
    ----------
    light, photons : ndarray
        Mean of a group, ADU and photons.
    share : ndarray
        Share of all pixels.
    bias, float_bias, label_bias : ndarray
        Bias of counts, of counts before rounding, and of stabilized values, sigma.
    bias_error : ndarray
        Standard error of ``bias``.
    raw_variance, decoded_variance, expected_variance : ndarray
        Noise from differences of successive frames (of rows, for a single frame), ADU^2.
    ratio_error : ndarray
        Standard error of decoded over raw variance.
    """

    light: NDArray
    photons: NDArray
    share: NDArray
    bias: NDArray
    float_bias: NDArray
    label_bias: NDArray
    bias_error: NDArray
    label_error: NDArray
    raw_variance: NDArray
    decoded_variance: NDArray
    expected_variance: NDArray
    ratio_error: NDArray


def group(sample: Sample) -> tuple[LightLevels, NDArray[np.int8]]:
    """Sort the pixels of a sample into groups of similar light.

    Returns
    -------
    LightLevels
    ndarray of int8
        Group of every pixel, one block after another.
    """
    light = sample.flat("light")
    some = light[:: max(1, light.size // _MOST_FOR_EDGES)]
    count = max(1, min(GROUPS, light.size // _LEAST))
    edges = np.unique(np.quantile(some, np.linspace(0, 1, count + 1)[1:-1]).astype(np.float32))
    groups = np.zeros(light.size, np.int8)
    for edge in edges:  # A few comparisons of all pixels are faster than a search for each.
        groups += light >= edge
    places = groups.astype(np.intp)
    size = np.maximum(np.bincount(places, minlength=edges.size + 1), 1).astype(float)

    def mean(values: NDArray) -> NDArray:
        return np.asarray(np.bincount(places, values, minlength=edges.size + 1) / size)

    error, residual = sample.flat("error"), sample.flat("residual")
    bias, labels = mean(error), mean(residual)
    spread, label_spread = mean(error**2) - bias**2, mean(residual**2) - labels**2
    unrounded = np.concatenate([(block.unrounded / block.sigma).ravel() for block in sample.blocks])
    middle = mean(light)
    raw, decoded, cross, pairs = _differences(sample, places, edges.size + 1)
    noise, step = sample.noise, sample.step
    light_noise = noise.gain * np.maximum(middle - noise.offset, 0) + noise.variance
    assumed = light_noise + stabilized_floor(noise) - noise.variance
    # A model that assumes more noise than there is must not excuse what its wide bins add.
    there = np.median(raw / np.maximum(light_noise, 1e-30))
    added = step**2 / 12 * assumed * min(1.0, float(there))
    levels = LightLevels(
        light=middle,
        photons=(middle - noise.offset) / noise.gain,
        share=size / light.size,
        bias=bias,
        float_bias=mean(unrounded),
        label_bias=labels,
        bias_error=np.sqrt(np.maximum(spread, 0) / size),
        label_error=np.sqrt(np.maximum(label_spread, 0) / size),
        raw_variance=raw,
        decoded_variance=decoded,
        expected_variance=raw + added,
        ratio_error=2 * np.sqrt(np.maximum(cross, 0) / np.maximum(pairs, 1)) / np.maximum(raw, 1e-30),
    )
    return levels, groups


def _differences(
    sample: Sample, places: NDArray[np.intp], groups: int
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Half the mean square of successive differences, raw and decoded, per group of light.

    ``places`` is the group of every pixel. The third array is the variance of the difference between the two,
    the fourth the number of differences.
    """
    sums = np.zeros((4, groups))
    done = 0
    for block in sample.blocks:
        here = places[done : done + block.raw.size].reshape(block.raw.shape)
        done += block.raw.size
        axis = 0 if len(block.raw) > 1 else 1
        if block.raw.shape[axis] < 2:
            continue
        before = np.diff(block.raw.astype(np.float64), axis=axis).ravel()
        after = np.diff(block.counts.astype(np.float64), axis=axis).ravel()
        later = (here[1:] if axis == 0 else here[:, 1:]).ravel()
        for row, values in enumerate((before**2, after**2, (before * (after - before)) ** 2)):
            sums[row] += np.bincount(later, values, minlength=groups)
        sums[3] += np.bincount(later, minlength=groups)
    pairs = np.maximum(sums[3], 1)
    raw, decoded = 0.5 * sums[0] / pairs, 0.5 * sums[1] / pairs
    return raw, decoded, 0.25 * sums[2] / pairs, pairs


def level_lines(sample: Sample, levels: LightLevels, groups: NDArray) -> list[ReportLine]:
    """Return the lines of bias, labels, variance, slope and the cost of the step."""
    if sample.pixels < _ENOUGH:
        why = f"{sample.pixels:,} pixels are too few to measure it"
        return [skipped(name, why) for name in ("bias", "labels", "variance", "information", "slope", "snr")]
    return [
        _bias(sample, levels, groups),
        _labels(sample, levels),
        _information(sample, levels),
        *_variances(sample, levels),
    ]


def _information(sample: Sample, levels: LightLevels) -> ReportLine:
    if not sample.step or sample.encoding.exact:
        return skipped("information", "the values themselves are stored: all of it is kept")
    table, darkest = sample.encoding.table(), max(float(levels.photons.min()), 0.0)
    brightest = float(levels.photons.max())
    inside = [light for light in _LIGHTS if darkest <= light <= brightest]
    lights = np.array(sorted({darkest, *inside, brightest}))
    kept = information_kept(table, lights)
    text = ", ".join(f"{share:.2f} at {light:.2g}" for share, light in zip(kept, lights, strict=True))
    cause = f"photons are resolved in the dark, and a step of {sample.step:g} sigma merges them"
    line = measured("information", 100 * (1 - float(kept.min())), f"{text} photons", cause)
    if sample.step >= COARSE and darkest < DARK_PHOTONS and line.status == PASS:
        return replace(line, status=WARN, cause=cause)
    return line


def _bias(sample: Sample, levels: LightLevels, groups: NDArray) -> ReportLine:
    integer = sample.encoding.dtype[0] in "iu"
    pairs = [("float", levels.float_bias)] + ([("integer", levels.bias)] if integer else [])
    worst, text = 0.0, []
    for name, bias in pairs:
        beyond = 100 * np.maximum(np.abs(bias) - _ERRORS * levels.bias_error, 0)
        at = int(np.abs(bias).argmax())
        worst = max(worst, float(beyond.max()))
        text.append(f"{100 * bias[at]:+.2f} % at {levels.photons[at]:.3g} photons ({name})")
    cause = likely_cause(sample, levels.bias, groups) if worst > 3.0 else ""
    return measured("bias", worst, ", ".join(text) + f"; worst of {levels.light.size} levels", cause)


def _labels(sample: Sample, levels: LightLevels) -> ReportLine:
    beyond = 100 * np.maximum(np.abs(levels.label_bias) - _ERRORS * levels.label_error, 0)
    at = int(np.abs(levels.label_bias).argmax())
    text = f"{100 * levels.label_bias[at]:+.2f} % at {levels.photons[at]:.3g} photons"
    cause = "few resolved photons per pixel: labels are coarse there; use movie.counts"
    if sample.step > 1:
        cause = f"a step of {sample.step:g} sigma"
    return measured("labels", float(beyond.max()), text, cause)


def _variances(sample: Sample, levels: LightLevels) -> list[ReportLine]:
    step = sample.step
    raw, decoded, expected = levels.raw_variance, levels.decoded_variance, levels.expected_variance
    good = raw > 0
    if not good.any():
        why = (
            "the movie has no noise to measure"
            if sample.run.raw.size > 1
            else "one pixel has no noise to measure"
        )
        return [skipped(name, why) for name in ("variance", "slope", "snr")]
    ratio, theory = decoded[good] / raw[good], expected[good] / raw[good]
    # If single photons are resolved, quantization costs less than in theory, which is no fault.
    off = np.maximum(ratio - theory, 0) - np.maximum(1 - _read_noise_taken(sample, levels)[good] - ratio, 0)
    beyond = 100 * np.maximum(np.abs(off) - _ERRORS * levels.ratio_error[good], 0)
    at = int(np.abs(off).argmax())
    weight = levels.share[good]
    overall, ideal = float((weight * ratio).sum() / weight.sum()), 1 + step**2 / 12
    lines = [
        measured(
            "variance",
            float(beyond.max()),
            f"{overall:.4f} on average, theory {ideal:.4f}; farthest {100 * off[at]:+.2f} % "
            f"at {levels.photons[good][at]:.3g} photons",
            "noise was removed (smoothing, or levels merged)"
            if off[at] < 0
            else "more than quantization was added",
        )
    ]
    lines.append(_slope(levels, good, sample.noise.gain))
    cost = 100 * (1 - 1 / math.sqrt(max(overall, 1e-9)))
    lines.append(
        measured(
            "snr",
            max(cost, 0.0),
            f"{max(cost, 0.0):.2f} % measured, {100 * (1 - 1 / math.sqrt(ideal)):.2f} % by theory for "
            f"step {step:g}",
            f"the step of {step:g} sigma is coarse; 0.5 costs 1 %" if step > 1 else "",
        )
    )
    return lines


def _read_noise_taken(sample: Sample, levels: LightLevels) -> NDArray:
    """Share of the variance at each level that bins of photon peaks may take away: that of the read noise."""
    noise = sample.noise
    if not sample.encoding.peaks:
        return np.zeros(levels.light.shape)
    light = noise.gain * np.maximum(levels.light - noise.offset, 0.0)
    return np.where(levels.photons < sample.encoding.peaks, noise.variance / (light + noise.variance), 0.0)


def _slope(levels: LightLevels, good: NDArray, gain: float) -> ReportLine:
    light, weight = levels.light[good], levels.share[good]
    middle = (weight * light).sum() / weight.sum()
    spread = (weight * (light - middle) ** 2).sum()
    slopes = [
        float((weight * (light - middle) * variance[good]).sum() / max(spread, 1e-30))
        for variance in (levels.raw_variance, levels.decoded_variance, levels.expected_variance)
    ]
    reach = light.max() - light.min()
    if light.size < 3 or slopes[0] * reach < 0.2 * float(levels.raw_variance[good].mean()):
        return skipped("slope", "the light varies too little across this movie for a slope")
    before, after, theory = slopes
    off = max(after / theory - 1, 0) - max(1 - after / before, 0)
    times = f"{after / before:.4f} times, theory {theory / before:.4f}"
    text = f"{before:.4g} before, {after:.4g} after ({times}) ADU/photon"
    if abs(before / gain - 1) > _OTHER_SLOPE:
        text += f"; not the gain of the model ({gain:.4g}): activity and motion are in this slope too"
    return measured("slope", 100 * abs(off), text, "the gain of the decoded movie is not that of the raw one")


def noise_line(sample: Sample) -> tuple[ReportLine, NDArray, NDArray]:
    """Compare the variance of stabilized raw noise with 1; also return photons and ratios for the plot.

    Scenes that alternate are measured apart, since one may have the right gain and another a wrong one.
    """
    scenes = sorted({block.scene for block in sample.blocks})
    every = []
    for scene in scenes:
        mine = [block for block in sample.blocks if block.scene == scene]
        every.append(_noise_levels(mine, sample.noise, alone=len(scenes) == 1))
    graded = [_grade_noise(sample.noise, levels) for levels in every if levels.size]
    if not graded:
        why = "too few frames and rows to measure noise on"
        if len(scenes) > 1:
            why = f"frames of {len(scenes)} scenes alternate, and too few of each were compared"
        return skipped("noise_model", why), np.empty(0), np.empty(0)
    worst = max(graded, key=lambda line: line.value or 0.0)
    if len(scenes) > 1:
        worst = replace(worst, found=f"{worst.found}, worst of {len(graded)} scenes that alternate")
    photons, ratios = np.concatenate(every, 1)[:2]
    order = np.argsort(photons)
    return worst, photons[order], ratios[order]


def _noise_levels(blocks: list[Block], noise: NoiseModel, *, alone: bool) -> NDArray:
    """Measure levels of light: photons, ratio to the model, time against space, and gain, ``(4, levels)``.

    A scene that is not ``alone`` has few frames, and shorter windows are taken; rows do not replace time.
    """
    frames = max(len(block.raw) for block in blocks)
    window = _WINDOW if alone else min(_WINDOW, max(frames - 2, _LEAST_WINDOW))
    parts = [_stabilized_noise(block, window) for block in blocks]
    light, over_time, over_rows = (np.concatenate(values) for values in zip(*parts, strict=True))
    levels = np.empty((4, 0))
    timed = int(np.isfinite(over_time).sum()) >= 50
    if light.size < 50 or not (timed or alone):
        return levels
    count = max(1, min(12, light.size // 200))
    edges = np.unique(np.quantile(light, np.linspace(0, 1, count + 1)[1:-1]))
    places = np.searchsorted(edges, light, side="right")
    for number in range(edges.size + 1):
        here = places == number
        samples = [values[here & np.isfinite(values)] for values in (over_time, over_rows)]
        if timed and samples[0].size < 50:
            continue  # A single frame cannot distinguish noise from structure between rows.
        if not any(values.any() for values in samples):
            continue  # Nothing changes here, so there is no noise to measure.
        both = [
            _noise_of(values, length)
            for values, length in zip(samples, (window, _WINDOW), strict=True)
            if values.size >= 50
        ]
        if both:
            middle = float(noise.photons(float(light[here].mean())))
            expected = float(expected_variance(noise, np.array([middle]))[0])
            assumed = noise.gain**2 * max(middle, 0.0) + stabilized_floor(noise)
            gain = (min(both) * assumed - noise.variance) / max(noise.gain * middle, 1e-30)
            # Motion, activity and structure only add variance, so the smaller value is nearer to the noise.
            level = (middle, min(both) / max(expected, 1e-3), max(both) / max(min(both), 1e-9), gain)
            levels = np.column_stack([levels, level])
    return levels


def _grade_noise(noise: NoiseModel, levels: NDArray) -> ReportLine:
    """Grade the noise of levels of light: photons, ratio to the model, time against space, and gain."""
    photons, ratios, apart, gains = levels
    bright = photons >= min(2.0, float(photons.max()))
    at = int(np.flatnonzero(bright)[np.abs(ratios[bright] - 1).argmax()])
    middle = float(np.median(ratios[bright]))
    text = (
        f"{middle:.2f} (median), {ratios[at]:.2f} at {photons[at]:.3g} photons, farthest of "
        f"{len(photons)} levels"
    )
    cause = f"the model's gain or offset is wrong: the variance is {middle:.2f} times what it says"
    # The stabilized noise of a model that is far off says little; the noise in ADU says what the gain is.
    if (gain := float(np.median(gains[bright]))) > 0:
        cause += f", so gain is nearer to {gain:.3g}"
    cause += "; photon-gpu estimate measures it"
    # A wrong gain moves all levels; structure and motion raise some, and never lower one.
    all_levels = middle if middle < 1 else max(float(np.quantile(ratios[bright], 0.25)), 1.0)
    value, single = 100 * abs(all_levels - 1), 100 * abs(float(ratios[at]) - 1)
    value = max(value, single if single > _SINGLE[-1] else float(np.interp(single, _SINGLE, _GRADED)))
    if ratios[at] > 1 and apart[at] > _STRUCTURE:
        # A wrong model gives the same ratio in time and space; structure and motion do not.
        value = min(value, LIMITS["noise_model"].fail)
        cause = "structure or motion hides the noise, so that the model can be neither confirmed nor refuted"
    return measured("noise_model", value, text, cause)


def _noise_of(windows: NDArray, length: int) -> float:
    """Estimate the noise variance from windows of a length, some of which also hold changes of the light.

    Divide quantiles of the mean of squared second differences by those of pure noise (Wilson and Hilferty
    1931). Changes raise the upper quantiles first, so the least ratio is taken.
    """
    degrees = length / (1 + 2 * (4 / 9 + 1 / 36))
    spread = 2 / (9 * degrees)
    quantiles = np.quantile(windows, [share for share, _ in _QUANTILES])
    ideal = [(1 - spread + normal * math.sqrt(spread)) ** 3 for _, normal in _QUANTILES]
    return float((quantiles / ideal).min())


def _stabilized_noise(block: Block, over_time: int) -> tuple[NDArray, NDArray, NDArray]:
    """Per window: light, and variance of ``A(raw)`` from second differences over time and over rows.

    Windows over time have ``over_time`` differences.
    """
    raw = block.raw[: 40 * _WINDOW]
    parts: list[list[NDArray]] = [[], [], []]
    for axis, window in enumerate((over_time, _WINDOW)):
        moved = np.moveaxis(raw, axis, 0)
        size = (len(moved) - 2) // window * window
        if size < window:
            continue
        flat = moved.reshape(len(moved), -1)
        thin = flat[:, :: max(1, flat.size // (1 << 22))]
        stabilized = anscombe(thin, block.noise)
        second = (stabilized[:-2] - 2 * stabilized[1:-1] + stabilized[2:])[:size] / math.sqrt(6)
        windows = (second**2).reshape(-1, window, thin.shape[1]).mean(1).ravel()
        light = thin[1 : size + 1].astype(np.float64).reshape(-1, window, thin.shape[1]).mean(1).ravel()
        parts[0].append(light)
        parts[1 + axis].append(windows)
        parts[2 - axis].append(np.full(windows.size, np.nan))
    empty = np.empty(0)
    return (
        np.concatenate(parts[0]) if parts[0] else empty,
        np.concatenate(parts[1]) if parts[1] else empty,
        np.concatenate(parts[2]) if parts[2] else empty,
    )


def expected_variance(noise: NoiseModel, photons: NDArray) -> NDArray:
    """Variance of ``A(z)`` for Poisson light with Gaussian read noise: near 1, less at few photons.

    >>> expected_variance(NoiseModel(), np.array([0.5, 4.0, 50.0])).round(2).tolist()
    [0.47, 1.0, 1.0]
    """
    nodes, weights = _gauss()
    out = np.empty(len(photons))
    for i, mean in enumerate(np.maximum(photons, 0.0)):
        if mean > 400:
            out[i] = 1.0
            continue
        counts = np.arange(int(mean + 10 * math.sqrt(mean) + 20))
        logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, counts.size)))])
        chance = np.exp(counts * math.log(max(mean, 1e-12)) - mean - logs)
        values = noise.offset + noise.gain * counts[:, None] + math.sqrt(noise.variance) * nodes
        stabilized = anscombe(values, noise)
        both = (chance / chance.sum())[:, None] * weights
        middle = (both * stabilized).sum()
        out[i] = (both * (stabilized - middle) ** 2).sum()
    return out


@cache
def _gauss() -> tuple[NDArray, NDArray]:
    """Nodes and weights for integrals over standard normal noise."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    return nodes, weights / weights.sum()
