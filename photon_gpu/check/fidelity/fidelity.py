"""Compare a stored movie with its source and give PASS, WARN or FAIL for each property.

The report compares a sample of the movie with its source: a run of consecutive frames and short blocks
all over the movie. With ``full``, the properties that every pixel must have are checked on all pixels.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike

from photon_gpu.check.fidelity.property_verdicts import (
    LIMITS,
    ReportLine,
    measured,
    of_channels,
    skipped,
    verdict,
)
from photon_gpu.check.fidelity.result import Fidelity
from photon_gpu.check.fidelity.sample import Sample, pieces, take
from photon_gpu.check.fidelity.within_bin import PixelComparison
from photon_gpu.encode_settings import bounded_number, flag, progress_call
from photon_gpu.engine.codec.encoding import noise_of_channels
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.noise import NoiseModel, noise_floor_bits
from photon_gpu.errors import InvalidInputError
from photon_gpu.progress_bar import Progress
from photon_gpu.reader.movie import Movie
from photon_gpu.reader.open import open as open_movie
from photon_gpu.sources.base import Source
from photon_gpu.sources.open import open_source
from photon_gpu.sources.select.open_options import SourceOptions
from photon_gpu.sources.select.selected import by_axis
from photon_gpu.sources.truncated_file import truncation_note
from photon_gpu.store.storage import Storage

PIXELS = 1 << 24
"""Default number of values to compare."""


def fidelity(
    source: Any,
    movie: Movie | str | os.PathLike[str] | Storage,
    *,
    pixels: int = PIXELS,
    full: bool = False,
    regions: ArrayLike | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **source_options: Unpack[SourceOptions],
) -> Fidelity:
    """Compare a stored movie with the source that it was encoded from.

    Parameters
    ----------
    source : array, path, URL or Source
        The raw movie.
    movie : Movie, path, URL or Storage
        The stored movie.
    pixels : int
        Number of values to compare. 16 million take a few seconds and 300 MB.
    full : bool
        Check on all pixels, not on a sample, the properties that every pixel must have.
    regions : array_like of int, optional
        ``(..., H, W)`` labels of the regions of traces, 0 outside. Default: squares of 8 x 8 pixels, the
        brightest and the most active.
    seed : int
        Seed of the redrawn noise.
    progress : callable, optional
        ``progress(frames_done, frames_in_all)``.
    **source_options
        Options of :func:`photon_gpu.open_source` that the movie was encoded with.

    Returns
    -------
    Fidelity
        Report with ``verdict``, ``lines`` and ``save("report.html")``.

    Raises
    ------
    InvalidInputError
        The source is another recording: shape or dtype differ.
    CorruptDataError
        The movie cannot be read.

    Examples
    --------
    >>> import photon_gpu as pg
    >>> raw = pg.simulate(frames=120, height=48, width=48, seed=3)
    >>> report = pg.encode(raw, "memory://faithful.zarr", noise=raw.noise, overwrite=True)
    >>> checked = pg.fidelity(raw, "memory://faithful.zarr")
    >>> checked.verdict, checked["escaped"].found
    ('PASS', '0 of 276,480 pixels in the sample')
    """
    pixels = int(bounded_number("pixels", pixels, 1, 1e18))
    progress = progress_call(progress)
    flag("full", full)
    start = time.perf_counter()
    stored = movie if isinstance(movie, Movie) else open_movie(movie)
    raw = open_source(source, **source_options)
    labels = None if regions is None else np.asarray(regions)
    try:
        lines, facts, pictures = _compare(raw, stored, pixels, full, labels, seed, progress)
    finally:
        if raw is not source:
            raw.close()
    return Fidelity(
        source=raw.name,
        url=stored.url,
        lines=tuple(lines),
        facts=facts,
        seconds=time.perf_counter() - start,
        pictures=pictures,
    )


def _compare(
    raw: Source,
    movie: Movie,
    pixels: int,
    full: bool,
    regions: Any,
    seed: int,
    progress: Progress | None,
) -> tuple[list[ReportLine], dict[str, Any], Any]:
    if not movie.encoding.models:
        lines, looked_at = _identical(raw, movie, progress)
        return lines, _facts(movie, looked_at), None
    _refuse_other(raw, movie)
    parts = by_axis(raw, movie.encoding.channel_axis) if movie.encoding.channels else [raw]
    names = raw.recording.channel_names
    compared = []
    for number, part in enumerate(parts):
        stored = movie.channel(number) if movie.encoding.channels else movie
        if stored.noise is None:
            compared.append((*_identical(part, stored, progress), None))
        else:
            compared.append(
                _compare_channel(part, stored, pixels // len(parts), full, regions, seed, progress)
            )
    lines = [*of_channels([lines for lines, _, _ in compared], names)]
    lines = [line for line in lines if line.name != "efficiency"] + [efficiency(movie)]
    order = list(LIMITS)
    lines.sort(key=lambda line: order.index(line.name))
    # Draw the channel with the worst result.
    worst = max(
        range(len(parts)), key=lambda n: ("PASS", "WARN", "FAIL").index(verdict(tuple(compared[n][0])))
    )
    looked_at = compared[worst][1] + (f", of each of {len(parts)} channels" if len(parts) > 1 else "")
    pictured = {"pictured_channel": worst} if movie.encoding.channels else {}
    return lines, {**_facts(movie, looked_at), **pictured}, compared[worst][2]


def _compare_channel(
    raw: Source,
    movie: Movie,
    pixels: int,
    full: bool,
    regions: Any,
    seed: int,
    progress: Progress | None,
) -> tuple[list[ReportLine], str, Any]:
    from photon_gpu.check.fidelity.figure_data import draw
    from photon_gpu.check.fidelity.noise_by_level import group, level_lines, noise_line
    from photon_gpu.check.fidelity.residual import residual_lines
    from photon_gpu.check.fidelity.traces import trace_lines, traces

    sample = take(raw, movie, pixels=pixels, progress=None if full else progress)
    exact = PixelComparison(movie.encoding)
    if full:
        every_pixel(raw, movie, exact, progress)
    else:
        for block in sample.blocks:
            exact.add(block.raw, block.counts, block.residual, block.frames)
    looked_at = (
        f"{sample.frames:,} of {sample.frames_in_all:,} frames, {sample.pixels / 1e6:.3g} million pixels"
    )
    sample = sample.by_scene()
    levels, groups = group(sample)
    noise, photons, ratios = noise_line(sample)
    region_traces = traces(sample, regions, seed)
    lines = [
        noise,
        *exact.lines("of the movie" if full else "in the sample"),
        *level_lines(sample, levels, groups),
        *residual_lines(sample),
        *trace_lines(region_traces, sample.expected_change),
    ]
    if full:
        looked_at += "; all pixels for the properties that every pixel must have"
    return lines, looked_at, draw(sample, levels, photons, ratios, region_traces)


def sample_lines(sample: Sample, exact: PixelComparison | None = None) -> list[ReportLine]:
    """Return the lines that need only a small sample: no residuals, no traces, no size.

    Parameters
    ----------
    sample : Sample
    exact : PixelComparison, optional
        Comparison of all pixels, if it exists. Default: a comparison of the sample.
    """
    from photon_gpu.check.fidelity.noise_by_level import group, level_lines, noise_line

    counted = exact or PixelComparison(sample.encoding)
    if exact is None:
        for block in sample.blocks:
            counted.add(block.raw, block.counts, block.residual, block.frames)
    lines = counted.lines("in the sample" if exact is None else "of the movie")
    longer = [block.raw for block in sample.blocks if len(block.raw) > 1]
    if longer and all((raw[1:] == raw[:-1]).all() for raw in longer):  # A synthetic movie.
        by_noise = ("noise_model", "bias", "labels", "variance", "information", "slope", "snr")
        lines += [skipped(name, "the movie has no noise over time to measure") for name in by_noise]
    else:
        sample = sample.by_scene()
        levels, groups = group(sample)
        lines += [noise_line(sample)[0], *level_lines(sample, levels, groups)]
    return sorted(lines, key=lambda line: list(LIMITS).index(line.name))


def every_pixel(raw: Source, movie: Movie, exact: PixelComparison, progress: Progress | None = None) -> None:
    """Compare the whole movie in ``exact``, a few frames at a time."""
    columns = raw.shape[-1]
    for first, last in pieces(range(raw.shape[0]), movie):
        values = raw.read(first, last).reshape(last - first, -1, columns)
        counts = movie.counts[first:last].reshape(values.shape)
        residual = movie[first:last].reshape(values.shape) - anscombe(values, movie.noise)
        exact.add(values, counts, residual, range(first, last))
        if progress is not None:
            progress(last, raw.shape[0])


def _refuse_other(raw: Source, movie: Movie) -> None:
    if raw.shape != movie.shape or raw.dtype.name != movie.encoding.dtype:
        raise InvalidInputError(
            f"{raw.name} is {raw.dtype.name} of shape {raw.shape}; the movie is "
            f"{movie.encoding.dtype} of shape "
            f"{movie.shape}: give the recording that the movie was encoded from"
        )


def _identical(raw: Source, movie: Movie, progress: Progress | None) -> tuple[list[ReportLine], str]:
    """Compare a lossless movie without a noise model: every value must be the same, bit for bit."""
    _refuse_other(raw, movie)
    differing = 0
    for first, last in pieces(range(raw.shape[0]), movie):
        one, two = raw.read(first, last), movie.counts[first:last]
        differing += int((one.view(np.uint8) != two.view(np.uint8)).sum())
        if progress is not None:
            progress(last, raw.shape[0])
    lines = [
        measured(
            "escaped", differing, f"{differing:,} bytes differ, of {raw.nbytes:,}", "altered after encoding"
        )
    ]
    why = "stored losslessly, without a noise model"
    lines += [skipped(name, why) for name in LIMITS if name not in ("escaped", "efficiency")]
    return [*lines, efficiency(movie)], f"all {raw.shape[0]:,} frames"


def efficiency(movie: Movie) -> ReportLine:
    """Compare the stored bits per pixel with the noise floor."""
    stored = movie.stored_bytes
    ratio, bits = movie.nbytes / stored, 8 * stored / movie.size
    text = f"{bits:.2f} bits per pixel, {ratio:.2f} times smaller than raw"
    if stored >= movie.nbytes:
        line = measured(
            "efficiency", 1000.0, text, "this movie is larger than the raw one: try layout 'compact'"
        )
        return (
            line
            if movie.nbytes > 1 << 20
            else skipped("efficiency", text + "; too small a movie to judge by")
        )
    if movie.step is None or movie.encoding.exact:
        return skipped("efficiency", text + "; the values themselves are stored")
    floor = noise_floor_bits(movie.step)
    above = 100 * (bits / floor - 1)
    text += f"; noise alone takes {floor:.2f} at step {movie.step:g}: {above:+.0f} %"
    if movie.step > 2:
        return skipped(
            "efficiency", text.split(";")[0] + f"; the floor means little at a step of {movie.step:g}"
        )
    if movie.nbytes < 1 << 20 and above > LIMITS["efficiency"].warn:
        return skipped("efficiency", text + "; too small a movie to judge by")
    cause = "layout 'compact' or preset 'small' would be smaller"
    if movie.layout == "plain" and math.frexp(movie.step)[0] != 0.5:
        cause = (
            f"labels of a step like {movie.step:g} compress badly: take 0.25, 0.5 or 1, or layout 'compact'"
        )
    return measured("efficiency", max(above, 0.0), text, cause)


def _facts(movie: Movie, looked_at: str) -> dict[str, Any]:
    noise: NoiseModel | None = movie.noise
    stored = movie.stored_bytes
    return {
        "shape": list(movie.shape),
        "dtype": movie.encoding.dtype,
        "layout": movie.layout,
        "step": movie.step,
        "dither": movie.encoding.dither,
        "peaks": movie.encoding.peaks_by_channel,
        "noise": noise.to_dict() if noise else None,
        **({"channel_noise": noise_of_channels(movie.encoding)} if movie.encoding.channels else {}),
        "raw_bytes": movie.nbytes,
        "stored_bytes": stored,
        "ratio": movie.nbytes / stored,
        "bits_per_pixel": 8 * stored / movie.size,
        "looked_at": looked_at,
        "truncated": truncation_note(movie.attrs),
    }


__all__ = [
    "LIMITS",
    "PIXELS",
    "Fidelity",
    "ReportLine",
    "Sample",
    "every_pixel",
    "fidelity",
    "sample_lines",
]
