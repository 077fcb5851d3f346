"""Findings of a noise estimate: reasons to warn or to refuse, with number, limit and remedy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from photon_gpu.estimate.cross_checks.frame_noise import FrameNoise
from photon_gpu.estimate.cross_checks.low_rank_noise import NoiseRank
from photon_gpu.estimate.cross_checks.spectrum import NoiseSpectrum
from photon_gpu.estimate.curve import Correlation, Curve, Moments
from photon_gpu.estimate.diagnostics import Finding, Severity
from photon_gpu.estimate.line_fit import NoiseLine
from photon_gpu.estimate.value_histogram import HistogramLevels

PLANES, ALTERNATION, STRETCHED, BENT = "planes", "alternation", "stretched frames", "bent curve"
"""Names of findings that others refer to."""

PROCESSED = frozenset(
    {
        "correlation y",
        "correlation t",
        "skewness",
        "outliers",
        "repeated frames",
        "quiet frames",
        "periodic variance",
        "rank",
        "lattice",
        "spectrum",
        "uneven levels",
        "photon peaks",
        "paired pixels",
        STRETCHED,
        BENT,
    }
)
"""Names of findings that, as a WARN, say that the data were processed."""

_NUMBERS = {2: "two", 3: "three", 4: "four"} | {number: str(number) for number in range(5, 17)}

LEAST_FRAMES = 4
FEW_FRAMES = 16
# Raw two-photon data reach 0.07 along x. Bilinear resampling gives 0.19 (random shifts) to 0.5 (half pixel).
CORRELATED, SMOOTHED = 0.1, 0.15
# Nothing correlates the rows of a raw image: 0.017 at most in 134 simulated movies, 0.08 if frames were
# shifted by a seventh of a pixel.
ROWS_CORRELATED, ROWS_SMOOTHED = 0.04, 0.06
UNEVEN = 0.25
WIDE, USELESS, USELESS_IF_CLIPPED = 0.1, 0.4, 0.2
OFF_LINE, NO_LINE = 0.05, 0.5
# Bend of a curve, and excess kurtosis with it, that no detector makes. A gamma of 1.5 makes 0.027 and 0.99 or
# more; raw cameras with fixed patterns reach 0.024, with a kurtosis of 0.13.
TOO_BENT, TOO_SURE, LONG_TAILED = 0.02, 8.0, 0.5
DILUTED = 0.03
_SURE = 5.0  # Standard errors; motion and bleaching make differences of 4 to 5 on raw movies.
# Limits of the cross checks. MOST_SKEWED is for the mean third cumulant, which transients skew less.
# In 300 raw simulated movies, no third cumulant was outside of 1 to 2 by 4
# standard errors, and no frame was quiet, no direction empty and no variance periodic at all.
GAMMA_LIKE, MOST_SKEWED, MOST_EXCESS, LEAST_SKEWED = 1.7, 1.65, 2.5, 0.9
FLAT, REPEATED, QUIET, PERIODIC, RANK, EQUAL = 0.15, 0.1, 0.25, 0.1, 0.04, 0.5
# In 300 raw simulated movies that the limits were not set on, none was reached. A cortex with activity
# has 12 % more noise at the slowest changes, and 4 % more at those of 8 to 12 frames. Sharp cells that are
# active everywhere reach 0.088 over three pixels, at a share of structure of 0.32.
COMB, COLOURED, SHARPENED, BROAD = 0.006, 0.12, 0.008, 0.01
BLENDED = 0.06
# A drop between the noise of neighbouring directions: 1.03 in five raw movies, also with 30 active cells.
DROP = 1.3
# Gain below the distance of photon peaks, and share of small differences that pairs of pixels have more.
BELOW_PEAKS, FAR_BELOW_PEAKS = 0.05, 0.2
PAIRED = 0.02
# Share of the values on levels that lie farther from the next than the noise reaches.
COARSE = 0.01
MOVING, SKEWED = 0.3, 1.25
SATURATED = 0.05
# Share of the variance that light makes. In 241 large simulated movies the gain was off by up to 1.8 %
# above this share, and by up to 38 % below it.
DIM = 0.2


def _finding(name: str, severity: Severity, value: float, message: str) -> Finding:
    return Finding(name=name, severity=severity, value=float(value), message=message)


def frames(count: int, pairs: str) -> Iterator[Finding]:
    """Warn or refuse if there are too few frames."""
    unit = "frames" if pairs == "time" else "rows"
    if count < LEAST_FRAMES:
        yield _finding(
            "frames",
            "REFUSE",
            count,
            f"{count} {unit}; noise is measured between {unit}, at least {LEAST_FRAMES} are needed "
            f"(and {FEW_FRAMES} to trust it). A single image of smooth light can be tried with "
            f"pairs='space'.",
        )
    elif count < FEW_FRAMES:
        yield _finding(
            "frames",
            "WARN",
            count,
            f"only {count} {unit}: changing structure cannot be separated well from noise; "
            f"{FEW_FRAMES} or more are advised.",
        )


def precision(
    line: NoiseLine, pairs: int, shot_share: float, half: float, clipped_floor: bool
) -> Iterator[Finding]:
    """Warn or refuse if read noise dominates, or if there is too little data or range of light."""
    relative = half / abs(line.gain) if line.gain else np.inf
    # Pixels that a background was subtracted from are cut off where they are dim, and biased above.
    if line.gain <= 0 or relative > (USELESS_IF_CLIPPED if clipped_floor else USELESS):
        cause = "the data is limited by read noise or lit evenly" if shot_share < DIM else "too little data"
        if clipped_floor:
            cause += ", or a background was subtracted"
        yield _finding(
            "precision",
            "REFUSE",
            relative,
            f"gain {line.gain:.4g} +- {half:.2g} ADU/photon from {pairs} pairs: {cause} (light makes "
            f"{max(shot_share, 0):.1%} of the variance at the bright end). Give the model of the detector "
            "(noise=...), or store with layout='lossless'.",
        )
    elif relative > WIDE:
        yield _finding(
            "precision",
            "WARN",
            relative,
            f"the 95 % interval of the gain is +-{relative:.0%} wide ({pairs} pairs; light makes "
            f"{max(shot_share, 0):.1%} of the variance at the bright end): sample more frames.",
        )
    if shot_share < DIM and line.gain > 0:
        yield _finding(
            "read noise",
            "WARN",
            shot_share,
            f"read-noise-limited or evenly lit: light makes only {max(shot_share, 0):.1%} of the "
            f"variance at the "
            f"bright end, so the gain rests on little ({DIM:.0%} or more is wanted).",
        )


def correlations(c: Correlation) -> Iterator[Finding]:
    """Find interpolated, smoothed, averaged or repeated frames by the correlation of their noise."""
    for axis, rho, error, reason in (
        (
            "y",
            c.y,
            c.y_error,
            "resampled, motion-corrected with interpolation, smoothed or binned with overlap",
        ),
        ("x", c.x, c.x_error, "resampled or smoothed, or a detector slower than the pixel clock"),
        ("t", c.t, c.t_error, "a running average, interpolated in time, or with repeated frames"),
    ):
        least, most = (ROWS_CORRELATED, ROWS_SMOOTHED) if axis == "y" else (CORRELATED, SMOOTHED)
        if abs(rho) < least or abs(rho) < 4 * error:
            continue
        # A slow amplifier correlates raw pixels along a line, so correlation in x alone does not prove
        # processing.
        refused = abs(rho) > most and (axis != "x" or abs(c.y) > CORRELATED or abs(rho) > 0.35)
        along = {"y": "rows", "x": "columns", "t": "frames"}[axis]
        yield _finding(
            f"correlation {axis}",
            "REFUSE" if refused else "WARN",
            rho,
            f"the noise of neighbouring {along} correlates by {rho:.2f} (raw data: under {least}): "
            f"the data looks {reason}. Estimate and store the raw recording"
            + (", or use layout='lossless'." if refused else "."),
        )


def of_values(share: float, samples: int) -> str:
    """Return a share of the values as text; if it is small, with the number of values.

    >>> of_values(0.0312, 12_000_000), of_values(71 / 12_000_000, 12_000_000)
    ('3.12% of the values', '71 of 12,000,000 values (0.0006 %)')
    """
    if share >= 1e-3:
        return f"{share:.2%} of the values"
    percent = np.format_float_positional(100 * share, 1, fractional=False, trim="-")
    return f"{round(share * samples):,} of {samples:,} values ({percent} %)"


def saturation(histogram: HistogramLevels) -> Iterator[Finding]:
    """Warn of values that pile up at the highest level; refuse if there are many."""
    share, top = histogram.saturated_share, histogram.top
    if not np.isfinite(top):
        return
    if share > SATURATED:
        yield _finding(
            "saturation",
            "REFUSE",
            share,
            f"{of_values(share, histogram.samples)} lie at the highest level, {top:g} ADU: the detector "
            "saturates, and the noise of the brightest pixels is lost "
            f"(at most {SATURATED:.0%} are allowed). Lower the light or the gain.",
        )
        return
    yield _finding(
        "saturation",
        "WARN" if share > 1e-5 else "NOTE",
        share,
        f"{of_values(share, histogram.samples)} lie at the highest level, {top:g} ADU, where they pile up; "
        "the levels they reach were left out of the fit.",
    )


def levels(
    histogram: HistogramLevels, gain: float, intercept: float, sigma: float, clipped_floor: bool
) -> Iterator[Finding]:
    """Find saturation, clipping and rescaling in the histogram; ``sigma`` is the noise at the dim end."""
    yield from saturation(histogram)
    if clipped_floor:
        yield _finding(
            "clipping",
            "WARN",
            histogram.floor_share,
            f"{of_values(histogram.floor_share, histogram.samples)} are cut off at the lowest level, "
            f"{histogram.bottom:g} ADU: the dark half of the noise is missing "
            "there, and those levels were left out of the fit.",
        )
    coarse = histogram.coarse_share(gain, intercept)
    if coarse > COARSE:
        yield _finding(
            "uneven levels",
            "REFUSE",
            coarse,
            f"{coarse:.1%} of the values lie farther from the next level than the noise reaches, and levels "
            f"are not evenly spaced: the values were rounded to {len(histogram.palette)} levels (a palette). "
            "Estimate and store the raw recording.",
        )
        return
    photon_comb = abs(histogram.spacing - gain) < 0.1 * gain
    if sigma >= 2 * max(histogram.step, 1) and histogram.roughness > UNEVEN and not photon_comb:
        yield _finding(
            "uneven levels",
            "WARN",
            histogram.roughness,
            f"counts of neighbouring levels differ by {histogram.roughness:.0%} beyond chance and "
            f"{histogram.missing_share:.0%} of the levels are missing: the values were rescaled after "
            "digitization (a straight line does not prove that they are raw). The line holds for them; the "
            "raw recording is better.",
        )
    if histogram.step > 1 and not abs(histogram.step - gain) < 0.1 * gain:
        yield _finding(
            "level step",
            "NOTE",
            histogram.step,
            f"all levels are multiples of {histogram.step} ADU apart (shifted bits or an integer factor): "
            f"harmless.",
        )


def structure(share: float, kept_share: float, subtracted: float) -> Iterator[Finding]:
    """Warn if frames differ by more than noise."""
    if share > MOVING:
        yield _finding(
            "structure",
            "WARN",
            share,
            f"{share:.0%} of what changes from frame to frame is shared by neighbouring pixels: "
            f"structure, not "
            "noise. Either everything moves, or axis 0 is not time (a z-stack, a series of exposures). "
            "For the latter compare with pairs='space'.",
        )
    if kept_share < 0.05:
        yield _finding(
            "quiet samples",
            "WARN",
            kept_share,
            f"only {kept_share:.1%} of the samples are quiet enough to measure noise on.",
        )
    if abs(subtracted) > 0.3:
        yield _finding(
            "subtracted structure",
            "WARN",
            subtracted,
            f"structure that had to be subtracted would have raised the gain by {subtracted:.0%}.",
        )


def _ranges(curve: Curve, line: NoiseLine) -> tuple[list[str], float, float, float]:
    level, variance = np.array(curve.level), np.array(curve.variance)
    error, samples = np.array(curve.error), np.array(curve.samples)
    expected = np.maximum(line.variance(level), 1e-12)
    off = np.where(samples > 0, variance / expected - 1, 0.0)
    far = (samples >= 500) & (np.abs(off) > OFF_LINE) & (np.abs(off) > 4 * error / expected)
    ranges, k = [], 0
    while k < len(level):
        if not far[k]:
            k += 1
            continue
        stop = k
        while stop + 1 < len(level) and far[stop + 1] and off[stop + 1] * off[k] > 0:
            stop += 1
        mean = np.average(off[k : stop + 1], weights=samples[k : stop + 1])
        ranges.append(
            f"{mean:+.0%} at {level[k]:.4g}" + (f" to {level[stop]:.4g} ADU" if stop > k else " ADU")
        )
        k = stop + 1
    worst = float(np.abs(off[far]).max()) if far.any() else 0.0
    top = float(off[far][-1]) if far.any() else 0.0
    return ranges, worst, top, float(samples[far].sum()) / max(float(samples.sum()), 1.0)


def straightness(
    curve: Curve, line: NoiseLine, bend: float, error: float, structure: float, moments: Moments
) -> Iterator[Finding]:
    """Warn if the photon-transfer curve is not a line; say where, and what may bend it.

    ``structure`` is the share of the changes that neighbours have in common: flicker and motion.
    """
    ranges, worst, top, share = _ranges(curve, line)
    if not ranges:
        return
    bent = abs(bend) > 4 * error and top * bend > 0
    cause = ""
    if bent and bend > 0:
        cause = (
            f" It bends upwards, as multiplicative noise of {np.sqrt(bend):.1%} of the light does (laser or "
            "gain flicker, or structure that moves by less than a pixel)."
        )
    elif bent:
        cause = " It bends downwards, as saturation, dead time, compression or a gamma curve do."
    severity: Severity = "REFUSE" if worst > NO_LINE and share > 0.1 else "WARN" if share > 0.01 else "NOTE"
    yield _finding(
        "curve",
        severity,
        worst,
        f"the photon-transfer curve is not a line: variance {', '.join(ranges[:4])}"
        f"{' ...' if len(ranges) > 4 else ''} ({share:.1%} of the samples).{cause}",
    )
    long_tailed = moments.kurtosis - 4 * moments.kurtosis_error > LONG_TAILED
    if severity == "WARN" and bend > max(TOO_BENT, TOO_SURE * error) and structure < MOVING and long_tailed:
        yield _finding(
            BENT,
            "WARN",
            bend,
            f"the curve bends upwards as noise of {np.sqrt(bend):.0%} of the light in each pixel alone would "
            f"bend it, with outliers (excess kurtosis {moments.kurtosis:.2f}) that no detector makes: a "
            "gamma curve or another curve stretched the bright values. Estimate and store the raw recording.",
        )


def least_skewed(moments: Moments) -> float:
    """Return what the third cumulant surely exceeds, as a multiple of that of equal pulses."""
    return max(
        moments.skewness - 4 * moments.skewness_error,
        moments.overall - 4 * moments.overall_error,
    )


def excess(moments: Moments, bend: float, bend_error: float, structure: float) -> Iterator[Finding]:
    """Report excess noise of a multiplying detector, from the skewness of the noise."""
    skewness, error = moments.skewness, moments.skewness_error
    # Transients skew the noise too: simulated movies without excess noise reach 1.2.
    if skewness < SKEWED or skewness - 1 < 4 * error:
        return
    if structure > MOVING or (bend > 4 * bend_error and bend > 0.02):
        return
    if least_skewed(moments) > GAMMA_LIKE:
        yield _finding(
            "excess noise",
            "WARN",
            skewness,
            f"the noise is {skewness:.2f} times as skewed as equal pulses per photon would make it, and "
            f"multiplication of a PMT or EMCCD makes up to {GAMMA_LIKE}: it is not gamma-like. The "
            "interval of "
            "the gain was widened. Processing that weakened the noise looks like this, so store the raw "
            "recording.",
        )
        return
    factor = 1 / max(2 - skewness, 1 / MOST_EXCESS)
    yield _finding(
        "excess noise",
        "NOTE",
        factor,
        f"the noise is {skewness:.2f} times as skewed as equal pulses per photon would make it: "
        f"multiplicative "
        f"excess noise of a PMT or EMCCD, factor about {factor:.1f} (gamma-distributed charge). The "
        f"gain counts "
        f"effective photons, each worth about {factor:.1f} detected ones; the stored noise is "
        f"modelled all the same.",
    )


def cumulants(moments: Moments, moving: float) -> Iterator[Finding]:
    """Find noise that photons do not make, by its third and fourth cumulants.

    ``moving`` is the share of the gain that structure would add: motion skews as well.
    """
    low = moments.skewness + 4 * moments.skewness_error
    high = moments.skewness - 4 * moments.skewness_error - 8 * abs(moving)
    # Read noise lowers the mean over all light, so there the limit of real detectors holds.
    uneven = moments.overall - 4 * moments.overall_error - 2 * abs(moving) > MOST_SKEWED
    if low < 1 or high > 2 or uneven:
        yield _finding(
            "skewness",
            "REFUSE" if low < LEAST_SKEWED or high > 2 or uneven else "WARN",
            moments.skewness,
            f"the noise is {moments.skewness:.2f} +- {2 * moments.skewness_error:.2f} times as skewed "
            "as equal "
            "pulses per photon would make it; for light it is 1 (equal pulses) to 2. The data look "
            + (
                "sharpened, scaled up or cut off."
                if low < 1
                else "denoised, blended with an average, or maxima."
            )
            + " Estimate and store the raw recording.",
        )
    flat = moments.kurtosis + 4 * moments.kurtosis_error
    if flat < -FLAT / 10:
        yield _finding(
            "outliers",
            "REFUSE" if flat < -FLAT else "WARN",
            moments.kurtosis,
            f"the noise has fewer outliers than any detector's (excess kurtosis "
            f"{moments.kurtosis:.2f}, never below "
            "0): outliers were cut off or replaced, or a curve compressed the values. Estimate and "
            "store the raw "
            "recording.",
        )


def single_frames(noise: FrameNoise) -> Iterator[Finding]:
    """Find frames that repeat, frames made from others, and variance with a period."""
    if noise.repeated > 0:
        yield _finding(
            "repeated frames",
            "REFUSE" if noise.repeated > REPEATED else "WARN",
            noise.repeated,
            f"{noise.repeated:.1%} of the frames are the same, bit for bit, as the frame before. "
            "Repeated frames "
            "have no noise between them. Store the recording without them.",
        )
    elif noise.quiet > 0.01:
        yield _finding(
            "quiet frames",
            "REFUSE" if noise.quiet > QUIET else "WARN",
            noise.quiet,
            f"{noise.quiet:.0%} of the differences between frames hold much less noise than the others: some "
            "frames were interpolated, averaged or filled in. Estimate and store the raw recording.",
        )
    if noise.periodic > PERIODIC:
        yield _finding(
            "periodic variance",
            "REFUSE" if noise.periodic > 2 * PERIODIC else "WARN",
            noise.periodic,
            f"the variance of the noise goes up and down by {noise.periodic:.0%} every "
            f"{noise.period:.3g} pixels: "
            "the images were resampled, or lines were filled in. Estimate and store the raw recording.",
        )


def rank(noise: NoiseRank) -> Iterator[Finding]:
    """Find reconstructions from components, and filters, by directions without noise, or with little."""
    missing = noise.missing
    if missing > RANK / 2:
        yield _finding(
            "rank",
            "REFUSE" if missing > RANK else "WARN",
            missing,
            f"{missing:.0%} of the directions of the noise are empty: the movie was rebuilt from some of its "
            "components (PCA, SVD), filtered, or has frames made from others. Estimate and store the "
            "raw recording.",
        )
    elif noise.drop > DROP:
        yield _finding(
            "rank",
            "REFUSE" if noise.drop > 1.1 * DROP else "WARN",
            noise.drop,
            f"{noise.strong} directions hold {noise.drop:.1f} times as much noise as the next ones: the "
            "movie was rebuilt from so many components and a share of the others. Estimate and store the "
            "raw recording.",
        )


def lattice(amplitude: float) -> Iterator[Finding]:
    """Find pixels whose deviations were scaled after digitization."""
    if amplitude > COMB:
        yield _finding(
            "lattice",
            "REFUSE" if amplitude > 2 * COMB else "WARN",
            amplitude,
            f"the changes of single pixels favour some distances of levels by {amplitude:.1%}, and other "
            "distances for other pixels: deviations were scaled after digitization (a blend with the mean, "
            "dF/F, a background that was subtracted). Estimate and store the raw recording.",
        )


def photon_peaks(distance: float, gain: float, half: float) -> Iterator[Finding]:
    """Find a gain below the distance of photon peaks, by more than its interval: no detector has one."""
    below = distance / (gain + half) - 1
    if below > BELOW_PEAKS:
        yield _finding(
            "photon peaks",
            "REFUSE" if below > FAR_BELOW_PEAKS else "WARN",
            distance / gain,
            f"single photons are {distance:.4g} ADU apart, and the noise gives a gain of {gain:.4g} "
            "ADU/photon, where a detector gives that distance or more: the noise was weakened (denoised, "
            "blended, or the maximum, minimum or median of some values). Estimate and store the raw "
            "recording.",
        )


def paired(share: float) -> Iterator[Finding]:
    """Find wavelets and codecs of blocks, which pair pixels or frames."""
    if share > PAIRED:
        yield _finding(
            "paired pixels",
            "REFUSE" if share > 2 * PAIRED else "WARN",
            share,
            f"pixels or frames come in pairs: {share:.1%} more differences are close to zero within pairs "
            "than between them. Wavelets or a codec of blocks weakened the noise. Estimate and store the "
            "raw recording.",
        )


def spectrum(noise: NoiseSpectrum, structure: float) -> Iterator[Finding]:
    """Find filters in time and space that leave noise of some frequencies.

    ``structure`` is the share of the changes that neighbours have in common. Where cells are active
    everywhere, no tile is free of it.
    """
    slow = noise.slow if noise.slow < -COLOURED else noise.middle
    for value, least, most, text in (
        (
            slow,
            COLOURED,
            1.5 * COLOURED,
            f"slow changes have {abs(slow):.0%} {'less' if slow < 0 else 'more'} noise than fast ones: "
            "sharpened, smoothed or blended over time.",
        ),
        (
            noise.blended,
            BLENDED,
            BLENDED,
            f"slow changes correlate by {noise.blended:.3f} with the next pixel and no further: blended with "
            "a smoothed movie (denoised).",
        ),
        (
            noise.sharpened,
            SHARPENED,
            1.15 * SHARPENED,
            f"the noise is anticorrelated ({-noise.sharpened:.3f}) with the next rows and columns: sharpened "
            "(an unsharp mask).",
        ),
        (
            max(noise.smoothed - structure**2, 0.0),
            BROAD,
            1.5 * BROAD,
            f"the noise correlates by {noise.smoothed:.3f} over three pixels in every part of the image: "
            "smoothed, or blended with a smooth image.",
        ),
    ):
        if abs(value) > least:
            yield _finding(
                "spectrum",
                "REFUSE" if abs(value) > most else "WARN",
                value,
                f"{text} Estimate and store the raw recording.",
            )
            return


def scaling(means: float, stretched: bool) -> Iterator[Finding]:
    """Find pixels that were normalized, and frames that were stretched."""
    if means < EQUAL:
        yield _finding(
            "equal means",
            "REFUSE",
            means,
            "all pixels have the same mean, closer than noise allows: each was normalized (z-score, dF/F). "
            "Estimate and store the raw recording, or use layout='lossless'.",
        )
    if stretched:
        yield _finding(
            STRETCHED,
            "WARN",
            1.0,
            "every frame reaches the lowest and the highest level with as many pixels: each was "
            "stretched to this "
            "range by a factor of its own. Estimate and store the raw recording.",
        )


def fixed_pattern(difference: float, error: float, gain: float) -> Iterator[Finding]:
    """Report offsets that differ between pixels, rows or columns, and would have lowered the gain."""
    if difference < 4 * error or difference < DILUTED / 2 * gain:
        return
    yield _finding(
        "fixed pattern",
        "WARN" if difference > max(DILUTED * gain, _SURE * error) else "NOTE",
        difference / gain,
        f"the light of a pixel itself gives a gain {difference / gain:.1%} below that of the pixels "
        "around it: "
        "offsets differ between pixels, rows or columns, or an amplifier glows. The gain is that of "
        "the pixels "
        "around; subtract no dark frame.",
    )


def leftovers(constant: float, nonfinite: float) -> Iterator[Finding]:
    """Report samples that never change, and NaN or infinite ones."""
    if nonfinite > 0:
        yield _finding(
            "not finite",
            "WARN",
            nonfinite,
            f"{nonfinite:.2%} of the pixels hold NaN or infinity within a window and were left out.",
        )
    if constant > 0.01:
        yield _finding(
            "constant pixels",
            "WARN",
            constant,
            f"{constant:.1%} of the samples lie where nothing ever changes (padding, masks: a sign of "
            "motion correction or of other processing); they were left out.",
        )


def planes(gains: list[float], errors: list[float]) -> Iterator[Finding]:
    """Warn if channels or planes have different noise."""
    if len(gains) < 2:
        return
    low, high = int(np.argmin(gains)), int(np.argmax(gains))
    gap = gains[high] - gains[low]
    mean = sum(gains) / len(gains)
    if gap > 0.1 * abs(mean) and gap > 4 * float(np.hypot(errors[low], errors[high])):
        yield _finding(
            PLANES,
            "WARN",
            gap / mean,
            f"the planes of the extra axes differ: gain {gains[low]:.4g} in plane {low}, "
            f"{gains[high]:.4g} in plane "
            f"{high}. If they are channels, axes= names them, and each gets its own model.",
        )


def _gains_of(differ: Finding) -> str:
    """The gains that a finding of different planes names."""
    return differ.message.partition("gain ")[2].partition(". ")[0]


def unnamed(dimensions: int, differ: Finding) -> Finding:
    """Noise that differs along an axis without a name, which may be the axis of channels."""
    names = "axes=tczyx" if dimensions > 4 else "axes=tcyx (channels, a model each) or axes=tzyx (planes)"
    return _finding(
        PLANES,
        "REFUSE",
        differ.value,
        f"noise differs along an axis without a name (gain {_gains_of(differ)}): give {names}.",
    )


def alternate(period: int, differ: Finding | None) -> Finding:
    """Frames that alternate: channels or planes that are stored one after another.

    ``differ`` is the finding that their noise differs; one model for all would be wrong then.
    """
    if differ is None:
        return _finding(
            ALTERNATION,
            "NOTE",
            float(period),
            f"frames alternate with period {period}: planes or channels? One noise model holds for all of "
            f"them. planes={period} or channels={period} says what they are.",
        )
    gains = _gains_of(differ).replace("plane", "frame")
    return _finding(
        ALTERNATION,
        "REFUSE",
        float(period),
        f"frames alternate with period {period}: {_NUMBERS[period]} channels? use channels={period}. Their "
        f"noise differs (gain {gains}), so one model cannot hold for all.",
    )
