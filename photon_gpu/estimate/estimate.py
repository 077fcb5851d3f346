"""Estimate the noise model of a movie, or report why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from photon_gpu.encode_settings import bounded_number, one_of, whole_number
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate import checks, curve
from photon_gpu.estimate import dark as darkness
from photon_gpu.estimate.censored_dark_fit import clipped_dark
from photon_gpu.estimate.cross_checks.dead_zone import dead_zone
from photon_gpu.estimate.cross_checks.fixed_pattern import Undiluted, undiluted
from photon_gpu.estimate.cross_checks.frame_noise import frame_noise
from photon_gpu.estimate.cross_checks.low_rank_noise import noise_rank
from photon_gpu.estimate.cross_checks.per_pixel_scaling import comb
from photon_gpu.estimate.cross_checks.photon_peaks import peak_distance
from photon_gpu.estimate.cross_checks.spectrum import noise_spectrum
from photon_gpu.estimate.cross_checks.value_scaling import spread_of_means, stretched
from photon_gpu.estimate.curve import Correlation, Curve
from photon_gpu.estimate.diagnostics import Diagnostics, Finding, Interval
from photon_gpu.estimate.line_fit import LineFit, NoiseLine, fit
from photon_gpu.estimate.pixel_light import Pooled, pooled
from photon_gpu.estimate.result import NoiseEstimate
from photon_gpu.estimate.sample import Window, draw
from photon_gpu.estimate.second_differences import Cells, gather, gather_ways
from photon_gpu.estimate.value_histogram import HistogramLevels, survey
from photon_gpu.sources.base import Source
from photon_gpu.sources.missing_frames import without_lost
from photon_gpu.sources.open import open_source
from photon_gpu.sources.select.detect_alternation import alternation
from photon_gpu.sources.select.open_options import SourceOptions, SourceRequest
from photon_gpu.sources.select.selected import Selected, by_channel

_SIGMAS = 1.96
_CLIPPED = 3e-4  # Share of clipped values that changes a variance by a thousandth.
_COMB = 0.25  # Relative difference between the gain and the distance of levels in photon counts.
_KNOWN = 0.25  # Relative error of the gain above which single photons cannot be judged.
_WAYS: tuple[Literal["square", "corners"], ...] = ("square", "corners")
_GRAVITY = {"REFUSE": 0, "WARN": 1, "NOTE": 2}


def estimate_noise(
    source: Any,
    *,
    dark: Any = None,
    seed: int = 0,
    pairs: Literal["time", "space"] = "time",
    budget_bytes: int = 1 << 26,
    **source_options: Unpack[SourceOptions],
) -> NoiseEstimate:
    """Estimate gain and intercept of ``var = gain*z + c`` from a movie, or report why that is impossible.

    Parameters
    ----------
    source : Source, ndarray or anything ``open_source`` takes
        ``(T, ..., H, W)``, integers or floats, raw ADU.
    dark : Source, ndarray or anything ``open_source`` takes, optional
        Frames of the same detector without light, at least 4; they separate offset from read noise.
    seed : int
        Seed of the choice of frames, if the movie is larger than ``budget_bytes``.
    pairs : {"time", "space"}
        Compare a pixel with itself in the next frames, or with the next rows of the same frame (for
        uniform calibration slides and single images of smooth light).
    budget_bytes : int
        Most raw bytes to sample.
    **source_options
        Options of :func:`photon_gpu.open_source` for ``source``: ``axes``, ``channels``, ``channel``, ...

    Returns
    -------
    NoiseEstimate
        Model, 95 % intervals, diagnostics, verdict and reasons. Pixel values never cause an error. Where the
        axes of the movie name several channels, each is estimated by itself: ``channels``.

    Raises
    ------
    InvalidInputError, UnsupportedTypeError
        If ``source`` has no frames, is complex or boolean, or a parameter is out of range.

    Notes
    -----
    Second differences in time are sorted by the light of other frames, so both axes of the photon-transfer
    curve are unbiased at any count. If read noise hides that light, it is pooled from all frames that are not
    measured. Only structure has covariance between neighbours, so this covariance is subtracted. Units that
    still move are left out. The line is fitted by two-stage least squares. Reference: Janesick, *Photon
    Transfer* (SPIE, 2007).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> light = rng.uniform(2, 20, (64, 64))
    >>> movie = np.uint16(100 + 8 * rng.poisson(light, (200, 64, 64)) + rng.normal(0, 4, (200, 64, 64)))
    >>> estimate = estimate_noise(movie)
    >>> estimate.verdict, abs(estimate.model.gain - 8) < 0.4
    ('PASS', True)
    """
    one_of("pairs", pairs, ("time", "space"))
    seed = whole_number("seed", seed, 0)
    budget_bytes = int(bounded_number("budget_bytes", budget_bytes, 1 << 16, 1e18))
    with ExitStack() as stack:
        movie = stack.enter_context(_opened(SourceRequest.of(source, source_options)))
        darkness_of = None if dark is None else by_channel(stack.enter_context(_opened(dark)))
        parts = by_channel(movie)
        if darkness_of is not None and len(darkness_of) != len(parts):
            raise InvalidInputError(
                f"estimate_noise: the dark recording has {len(darkness_of)} channels, the movie {len(parts)}"
            )
        estimates = [
            _estimate(part, darkness_of[number] if darkness_of else None, seed, pairs, budget_bytes)
            for number, part in enumerate(parts)
        ]
    return estimates[0] if len(estimates) == 1 else of_channels(movie.name, estimates)


def of_channels(name: str, channels: Sequence[NoiseEstimate]) -> NoiseEstimate:
    """Combine the estimates of a movie's channels into one."""
    warnings = [
        replace(finding, message=f"channel {number}: {finding.message}")
        for number, channel in enumerate(channels)
        for finding in channel.warnings
    ]
    whole = _verdict(name, warnings, None, None, None)
    return replace(whole, channels=tuple(channels))


def _estimate(
    movie: Source, dark: Source | None, seed: int, pairs: Literal["time", "space"], budget_bytes: int
) -> NoiseEstimate:
    """Estimate the noise of one channel, or of frames that alternate, by their phases."""
    enough = movie.shape[0] >= 2 * checks.LEAST_FRAMES  # for two channels; else no frame is read for this
    period = alternation(movie) if pairs == "time" and len(movie.shape) == 3 and enough else None
    if period is None or movie.shape[0] // period < checks.LEAST_FRAMES:
        whole = _estimate_frames(movie, dark, seed, pairs, budget_bytes)
        differ = _differing_planes(whole)
        if differ is None or movie.recording.axes is not None:
            return whole
        return _nothing(movie.name, [checks.unnamed(len(movie.shape), differ)])
    apart = Selected(movie, owned=False, planes=period, frames=(0, movie.shape[0] // period))
    channels = _estimate_frames(apart, dark, seed, pairs, budget_bytes)
    differ = _differing_planes(channels)
    alternating = checks.alternate(period, differ)
    if differ is not None:  # all other findings come from the phases together
        return _nothing(channels.source, [alternating])
    findings = [alternating, *channels.warnings]
    return _verdict(channels.source, findings, channels.model, channels.interval, channels.diagnostics)


def _differing_planes(estimate: NoiseEstimate) -> Finding | None:
    return next((finding for finding in estimate.warnings if finding.name == checks.PLANES), None)


def _estimate_frames(
    movie: Source, dark: Source | None, seed: int, pairs: Literal["time", "space"], budget_bytes: int
) -> NoiseEstimate:
    name = movie.name
    findings = list(checks.frames(movie.shape[0 if pairs == "time" else -2], pairs))
    if any(finding.severity == "REFUSE" for finding in findings):
        return _nothing(name, findings)
    windows = draw(movie, pairs=pairs, seed=seed, budget_bytes=budget_bytes)
    point = _dark_recording(dark, seed, budget_bytes) if dark is not None else None
    levels = survey(windows)
    smooth = pairs == "time"
    light = pooled(windows) if smooth else None
    better = light if light is not None and light.needed else None
    apart = None
    if light is not None and better is None:
        cells, apart = gather_ways(windows, _WAYS, top=levels.top, bottom=levels.bottom)
    else:
        cells = gather(windows, top=levels.top, bottom=levels.bottom, smooth=smooth, pooled=better)
    if cells.count.sum() < 100:
        findings.append(_flat(levels))
        return _nothing(name, findings)
    usable, clipped_floor = _usable(cells, levels)
    if not usable.any():
        findings += checks.levels(levels, 1.0, np.inf, 0.0, clipped_floor)
        findings.append(_flat(levels))
        return _nothing(name, findings)
    fitted = _fit(cells, usable, pairs)
    if fitted is None:
        findings += checks.levels(levels, 1.0, np.inf, 0.0, clipped_floor)
        findings.append(_flat(levels) if cells.form("square")[usable].any() else _noiseless())
        return _nothing(name, findings)
    if light is not None and apart is not None and fitted.line.gain > 0:
        fitted = _without_pattern(fitted, apart, _clean_cells(apart, clipped_floor), windows, light)
    return _judge(name, levels, fitted, point, findings, pairs, windows, clipped_floor)


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    problem: LineFit
    line: NoiseLine
    curve: Curve
    bend: tuple[float, float]
    correlation: Correlation
    pattern: Undiluted | None


def _clean_cells(cells: Cells, floor: bool) -> NDArray:
    """Cells of levels that are not saturated and, if asked for, not cut off at the lowest level."""
    size, clean = len(cells.edges) + 1, np.ones(len(cells.count), bool)
    total = np.maximum(np.bincount(cells.level, cells.count, size), 1e-9)
    for form in ("full", "floor") if floor else ("full",):
        share = np.bincount(cells.level, cells.count * cells.form(form), size) / total
        clean &= (share < _CLIPPED)[cells.level]
    return clean


def _usable(cells: Cells, levels: HistogramLevels) -> tuple[NDArray, bool]:
    """Cells of levels that are not clipped, and whether the lowest level cuts noise off."""
    unsaturated = _clean_cells(cells, floor=False)
    if not np.isfinite(levels.bottom):
        return unsaturated, False
    everything = fit(LineFit(cells, unsaturated, "near")) if unsaturated.any() else None
    if everything is None:
        return unsaturated, False
    above = _clean_cells(cells, floor=True)
    line = None
    if above.any() and cells.count[above].sum() > 0.05 * cells.count[unsaturated].sum():
        line = fit(LineFit(cells, above, "near"))
    # Photon counts end at zero without being clipped: the line reaches zero noise there.
    error = float(np.sqrt([levels.bottom, 1.0] @ everything.covariance @ [levels.bottom, 1.0]))
    empty = abs(float(everything.variance(levels.bottom))) < 0.1 * everything.gain**2 + 4 * error
    # A counter's levels are a photon apart. Without that comb, read noise may have been cut off.
    empty &= abs(levels.spacing - everything.gain) < _COMB * everything.gain
    if line is None or not line.gain > 0 or line.covariance[0, 0] ** 0.5 > 0.1 * line.gain:
        return (unsaturated, False) if empty else (above, True)
    apart = abs(everything.gain - line.gain)
    natural = empty and apart < 0.1 * line.gain + 4 * float(np.sqrt(line.covariance[0, 0]))
    return (unsaturated, False) if natural else (above, True)


def _fit(cells: Cells, usable: NDArray, pairs: str) -> _Fitted | None:
    """Fit the line."""
    scheme = "near" if pairs == "time" else "none"
    p = LineFit(cells, usable, scheme)
    line = fit(p)
    if line is None:
        return None
    rho = curve.correlation(p, line)
    if pairs == "time":
        # If raw noise itself correlates, not all covariance of neighbours is structure.
        whole = [
            a
            for a, r, e in (("y", rho.y, rho.y_error), ("x", rho.x, rho.x_error))
            if abs(r) > max(0.015, 4 * e)
        ]
        better = {(): "near", ("x",): "y", ("y",): "x", ("y", "x"): "far"}[tuple(whole)]
        if better != scheme:
            other = LineFit(cells, usable, better)
            again = fit(other)
            if again is not None:
                p, line = other, again
                rho = curve.correlation(p, line)
    return _drawn(p, line, rho, None)


def _drawn(p: LineFit, line: NoiseLine, rho: Correlation, pattern: Undiluted | None) -> _Fitted:
    return _Fitted(
        problem=p,
        line=line,
        curve=curve.points(p, line),
        bend=curve.bend(p, line),
        correlation=rho,
        pattern=pattern,
    )


def _without_pattern(
    fitted: _Fitted, apart: Cells, usable: NDArray, windows: list[Window], light: Pooled
) -> _Fitted:
    """Correct the line for a fixed pattern; ``apart`` are the same samples by the light of other pixels."""
    pattern = undiluted(fitted.problem, fitted.line, apart, usable, windows, light)
    if pattern is None:
        return fitted
    return _drawn(pattern.problem, pattern.line, fitted.correlation, pattern)


@contextmanager
def _opened(source: Any) -> Iterator[Source]:
    """Open a source without its lost frames; close it at the end if it was opened here."""
    with nullcontext(source) if isinstance(source, Source) else open_source(source) as movie:
        yield without_lost(movie)


def _dark_recording(movie: Source, seed: int, budget_bytes: int) -> darkness.Dark:
    if movie.shape[0] < checks.LEAST_FRAMES:
        raise InvalidInputError(
            f"estimate_noise: the dark recording has {movie.shape[0]} frames; "
            f"at least {checks.LEAST_FRAMES} are needed"
        )
    windows = draw(movie, pairs="time", seed=seed, budget_bytes=budget_bytes)
    cells = gather(windows, top=np.inf, bottom=-np.inf)
    if not cells.count.sum():
        raise InvalidInputError(
            "estimate_noise: nothing ever changes in the dark recording; it is not a recording"
        )
    return darkness.recording(cells)


def _judge(
    name: str,
    levels: HistogramLevels,
    fitted: _Fitted,
    point: darkness.Dark | None,
    findings: list[Finding],
    pairs: str,
    windows: list[Window],
    clipped_floor: bool,
) -> NoiseEstimate:
    p, line, cells = fitted.problem, fitted.line, fitted.problem.cells
    gain_is_sure = line.gain > 0 and float(np.sqrt(line.covariance[0, 0])) < _KNOWN * line.gain
    if point is None and not clipped_floor and gain_is_sure:
        point = darkness.floor(line, levels) or (darkness.pixels(p, line) if pairs == "time" else None)
    elif point is None and clipped_floor and gain_is_sure and pairs == "time":
        point = clipped_dark(windows, levels.bottom, line.gain)
    gain, intercept, covariance = line.gain, line.intercept, line.covariance
    if point is not None:
        drawn = darkness.combine(line, point)
        expected = max(float(line.variance(point.offset)), 0.0)
        if abs(drawn[3]) > 4 and abs(expected - point.variance) > 0.1 * max(point.variance, 0.05 * gain**2):
            findings.append(_disagree(point, expected))
        elif point.how in (
            "dark recording",
            "clipping",
        ):  # The other ways use samples that the line was fitted to already.
            gain, intercept, covariance, _ = drawn
    # In photon counts a dark corner may stay at zero; otherwise constant pixels are not data.
    at_rest = 0.0 if point is not None and point.how == "floor" else cells.constant_share
    findings += checks.leftovers(at_rest, cells.nonfinite_share)
    weight = cells.count * line.used
    low, high = _quantiles(p.z[line.used], weight[line.used], (0.01, 0.99))
    bright = max(gain * high + intercept, 1e-300)
    shot = float(gain * (high - low) / bright)
    moments = curve.moments(p, line) if line.gain > 0 else curve.UNKNOWN
    # What multiplies the light more unevenly than any detector may have changed the gain as well.
    odd = gain * max(checks.least_skewed(moments) - checks.GAMMA_LIKE, 0.0) / _SIGMAS
    covariance = covariance + np.diag([odd**2, 0.0])
    half = _SIGMAS * float(np.sqrt(covariance[0, 0]))
    pairs_all = round(cells.count.sum() * cells.pairs_per_sample)
    pairs_kept = round(weight.sum() * cells.pairs_per_sample)
    share = curve.structure_share(p) if pairs == "time" else 0.0
    subtracted = line.plain_gain / line.gain - 1 if line.gain else 0.0
    findings += checks.precision(line, pairs_kept, shot, half, clipped_floor)
    dim = float(np.sqrt(max(gain * low + intercept, 0.0)))
    findings += checks.levels(levels, gain, intercept, dim, clipped_floor)
    if pairs == "time":
        findings += checks.correlations(fitted.correlation)
    # Neighbours share smoothed noise as well. A movie refused for smoothing needs no warning of structure.
    smooth = any(f.name.startswith("correlation") and f.severity == "REFUSE" for f in findings)
    shared = 0.0 if smooth or pairs == "space" else share
    findings += checks.structure(shared, float(weight.sum() / cells.count.sum()), subtracted)
    findings += checks.straightness(fitted.curve, line, *fitted.bend, shared, moments)
    findings += checks.excess(moments, *fitted.bend, share)
    if pairs == "time":
        means = spread_of_means(windows)
        findings += checks.scaling(means, stretched(windows, levels.lowest, levels.highest))
    if pairs == "time" and line.gain > 0:
        findings += checks.cumulants(moments, float(subtracted))
        findings += checks.single_frames(frame_noise(windows, line.gain, line.intercept))
        findings += checks.rank(noise_rank(windows, line.gain, line.intercept))
        findings += checks.photon_peaks(peak_distance(windows, line.gain, levels), gain, half)
        findings += checks.paired(dead_zone(windows, line.gain, line.intercept))
        findings += checks.lattice(comb(windows, line.gain, line.intercept, levels))
        findings += checks.spectrum(noise_spectrum(windows), shared)
    if fitted.pattern is not None:
        findings += checks.fixed_pattern(fitted.pattern.difference, fitted.pattern.error, gain)
    findings += checks.planes(*_planes(p, windows))
    diagnostics = Diagnostics(
        intercept=intercept,
        covariance=tuple((float(a), float(b)) for a, b in covariance),  # type: ignore[arg-type]
        separated_by=point.how if point is not None else None,
        frames_sampled=len({(w.start, k) for w in windows for k in range(len(w.frames))}),
        pairs=pairs_all,
        pairs_kept=pairs_kept,
        structure_share=share,
        subtracted_gain=float(subtracted),
        bend=fitted.bend[0],
        bend_error=fitted.bend[1],
        skewness=moments.skewness,
        skewness_error=moments.skewness_error,
        kurtosis=moments.kurtosis,
        kurtosis_error=moments.kurtosis_error,
        shot_share=shot,
        constant_share=cells.constant_share,
        nonfinite_share=cells.nonfinite_share,
        correlation=fitted.correlation,
        levels=levels,
        curve=fitted.curve,
    )
    model, interval = _model(gain, intercept, covariance, point)
    return _verdict(name, findings, model, interval, diagnostics)


def _model(
    gain: float, intercept: float, covariance: NDArray, point: darkness.Dark | None
) -> tuple[NoiseModel | None, Interval | None]:
    if gain < 1e-6:
        return None, None
    error = _SIGMAS * np.sqrt(np.diag(covariance))
    both = {
        "gain": (gain - float(error[0]), gain + float(error[0])),
        "intercept": (intercept - float(error[1]), intercept + float(error[1])),
    }
    if point is None:
        return NoiseModel(gain=gain, offset=-intercept / gain, variance=0.0), Interval(**both)
    # The transform depends on gain and intercept; the dark point only splits the intercept.
    variance = gain * point.offset + intercept
    spread = _SIGMAS * float(np.hypot(point.variance_error, gain * point.offset_error))
    offset = (point.offset - _SIGMAS * point.offset_error, point.offset + _SIGMAS * point.offset_error)
    if variance < 0:
        return NoiseModel(gain=gain, offset=-intercept / gain, variance=0.0), Interval(
            **both, offset=offset, variance=(0.0, max(variance + spread, 0.0))
        )
    return NoiseModel(gain=gain, offset=point.offset, variance=variance), Interval(
        **both, offset=offset, variance=(max(variance - spread, 0.0), variance + spread)
    )


def _planes(p: LineFit, windows: list[Window]) -> tuple[list[float], list[float]]:
    plane = np.array([w.plane for w in windows])[p.cells.window]
    count = int(plane.max()) + 1
    gains: list[float] = []
    errors: list[float] = []
    if not 2 <= count <= 16:
        return gains, errors
    for k in range(count):
        mine = p.usable & (plane == k)
        line = fit(LineFit(p.cells, mine, p.scheme)) if mine.any() else None
        if line is not None:
            gains.append(line.gain)
            errors.append(float(np.sqrt(line.covariance[0, 0])))
    return gains, errors


def _quantiles(values: NDArray, weights: NDArray, shares: Iterable[float]) -> list[float]:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) / weights.sum()
    return [float(values[order][min(int(np.searchsorted(cumulative, s)), len(order) - 1)]) for s in shares]


def _flat(levels: HistogramLevels) -> Finding:
    return Finding(
        name="range",
        severity="REFUSE",
        value=levels.highest - levels.lowest,
        message=f"values from {levels.lowest:g} to {levels.highest:g} ADU give no two levels that "
        f"differ and are "
        "not clipped, so no line can be drawn. Give the model of the detector (noise=...), or store with "
        "layout='lossless'.",
    )


def _noiseless() -> Finding:
    return Finding(
        name="noise",
        severity="REFUSE",
        value=0.0,
        message="the pixels hold no noise: they never change, or by the same amount in every frame. Give the "
        "model of the detector (noise=...), or store with layout='lossless'.",
    )


def _disagree(point: darkness.Dark, expected: float) -> Finding:
    return Finding(
        name="dark",
        severity="WARN",
        value=expected - point.variance,
        message=f"the {point.how} has a variance of {point.variance:.4g} ADU^2 at {point.offset:.4g} "
        f"ADU, where the "
        f"movie's line gives {expected:.4g}: another setting of the detector, or processing. The "
        f"movie's line is kept.",
    )


def _nothing(name: str, findings: list[Finding]) -> NoiseEstimate:
    return _verdict(name, findings, None, None, None)


def _verdict(
    name: str,
    findings: list[Finding],
    model: NoiseModel | None,
    interval: Interval | None,
    diagnostics: Diagnostics | None,
) -> NoiseEstimate:
    findings.sort(key=lambda finding: _GRAVITY[finding.severity])
    worst = findings[0].severity if findings else "NOTE"
    return NoiseEstimate(
        model=model,
        interval=interval,
        diagnostics=diagnostics,
        verdict="REFUSE" if worst == "REFUSE" else "WARN" if worst == "WARN" else "PASS",
        warnings=tuple(findings),
        source=name,
    )
