"""Verdict on one property of a report: measured value, limits, and PASS, WARN or FAIL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from photon_gpu.recording import channel_label

PASS, WARN, FAIL, SKIP = "PASS", "WARN", "FAIL", "SKIP"
_GRAVITY = {SKIP: 0, PASS: 1, WARN: 2, FAIL: 3}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Limits of a line of the report.

    Parameters
    ----------
    title : str
        The property that the line checks.
    warn, fail : float
        PASS up to ``warn``, WARN up to ``fail``, FAIL beyond.
    unit : str
        Unit of the measured number, printed after it.
    reason : str
        Reason for these thresholds.
    """

    title: str
    warn: float
    fail: float
    unit: str
    reason: str

    def grade(self, value: float) -> str:
        """Grade a value as PASS, WARN or FAIL; NaN fails."""
        if not math.isfinite(value):
            return FAIL
        return PASS if value <= self.warn else WARN if value <= self.fail else FAIL

    def text(self) -> str:
        """Thresholds in words."""
        if self.warn == self.fail:
            allowed = f"up to {self.warn:g}{self.unit}" if self.warn else "none"
            return f"PASS: {allowed}"
        return f"PASS up to {self.warn:g}{self.unit}, FAIL above {self.fail:g}{self.unit}"


LIMITS = {
    "noise_model": Limit(
        title="Noise model: raw noise, stabilized, has variance 1",
        warn=10.0,
        fail=50.0,
        unit=" %",
        reason="the step is counted in sigma of the model: a variance 50 % off makes every step 1.2 "
        "times too coarse or too fine. What all levels share decides from 10 % on; a single level, which "
        "structure and chance move, from 25 % on (and 50 %)",
    ),
    "snr": Limit(
        title="Step: what it costs in signal to noise",
        warn=4.5,
        fail=13.5,
        unit=" %",
        reason="1 - 1/sqrt(1 + step^2/12): a step of 0.5 costs 1.0 %, 1 costs 3.9 %, 2 costs 13.4 %; "
        "finer than half a sigma keeps essentially all information (Price-Whelan and Hogg 2010)",
    ),
    "escaped": Limit(
        title="Escaped pixels: stored value farther from the raw one than its bin reaches",
        warn=0.0,
        fail=0.0,
        unit="",
        reason="half a step, or 0.35 photons in the bin of a photon peak; a larger distance "
        "means that the pixel was not rounded to its code",
    ),
    "inverse": Limit(
        title="Inverse: pixels whose decoded value lies outside the bin of their code",
        warn=0.0,
        fail=0.0,
        unit="",
        reason="a decoded value must have the code that it was decoded from; an inverse that is off by one "
        "code, or that is made for averages, leaves the bin",
    ),
    "clipped": Limit(
        title="Clipped pixels: decoded at the end of the decoded range, raw beyond it",
        warn=0.0,
        fail=0.0,
        unit="",
        reason="the brightest and darkest pixels must survive; a codec with too few codes cuts them",
    ),
    "worst": Limit(
        title="Worst single pixel",
        warn=1.0,
        fail=1.25,
        unit=" steps",
        reason="a value decodes to somewhere in its bin, so at most one bin's width away; integers "
        "add their rounding",
    ),
    "bias": Limit(
        title="Bias of single pixels, at every light",
        warn=3.0,
        fail=5.0,
        unit=" % of a sigma",
        reason="3 % is the bar of the decoder at step 0.5 for integers (2 % for floats); rounding "
        "always down, "
        "or an inverse made for averages, costs 5 to 40 %",
    ),
    "labels": Limit(
        title="Bias of stabilized values (movie[...]), at every light",
        warn=3.0,
        fail=50.0,
        unit=" % of a sigma",
        reason="labels lie on the grid of the step, and where single photons are resolved they cannot "
        "follow the "
        "curve of the transform: up to 22 % at no light. movie.counts is not affected",
    ),
    "averages": Limit(
        title="Bias of averages over time and over regions",
        warn=3.0,
        fail=5.0,
        unit=" % of a sigma",
        reason="averages show errors that noise hides in single pixels: the error of an average must shrink "
        "with the number of pixels, as noise does",
    ),
    "variance": Limit(
        title="Variance of the noise against 1 + step^2/12",
        warn=3.0,
        fail=5.0,
        unit=" %",
        reason="quantization adds step^2/12 of the measured noise (not of the modelled noise) and nothing "
        "else; more is additional noise, less is smoothing",
    ),
    "information": Limit(
        title="Information kept about the light, at every light",
        warn=13.0,
        fail=60.0,
        unit=" % lost",
        reason="Fisher information of Poisson light, relative to the raw values, by the noise model. A step "
        "of 0.5 loses 2.1 % in bright light and up to 12 % at 0.1 photons, where photons are resolved; a "
        "step of 1 loses 8 % and up to 50 %, and warns below 3 photons",
    ),
    "slope": Limit(
        title="Slope of the mean-variance line, before and after",
        warn=2.0,
        fail=5.0,
        unit=" %",
        reason="gain is read off this slope: it may only grow by 1 + step^2/12",
    ),
    "uniform": Limit(
        title="Residual is uniform within half a step",
        warn=5.0,
        fail=10.0,
        unit=" %",
        reason="greatest distance of its distribution from the uniform one; noise wider than a step "
        "makes it uniform, "
        "and theory (the cost of the step, no bias) rests on that. Resolved photon peaks leave up to 4 %",
    ),
    "white": Limit(
        title="Residual is white in time, rows and columns",
        warn=0.02,
        fail=0.05,
        unit="",
        reason="correlation between neighbours: structure in the residual was removed from the movie",
    ),
    "uncorrelated": Limit(
        title="Residual is uncorrelated with the signal",
        warn=0.1,
        fail=0.2,
        unit="",
        reason="a residual that follows the light has taken some of it, or added to it; a correlation "
        "of 0.1 is 1.4 % "
        "of a sigma at step 0.5, half of what the bar on bias allows",
    ),
    "percentiles": Limit(
        title="Medians and percentiles of traces (F0 is made of them)",
        warn=3.0,
        fail=10.0,
        unit=" % of a sigma",
        reason="10th, 20th, 50th and 90th percentile over time of regions, in sigma of one pixel",
    ),
    "dff": Limit(
        title="dF/F of regions, against what fresh noise does to it",
        warn=1.6,
        fail=3.2,
        unit=" times theory",
        reason="control: the same movie with fresh noise of the modelled size. A step changes dF/F by "
        "step/sqrt(12) of its spread: 0.14 at 0.5, which adds 1 % to the error bars, and 0.29 at 1, which "
        "adds 4 %. More is noise or bias that no step explains",
    ),
    "events": Limit(
        title="Events found, against what fresh noise does to them",
        warn=0.0,
        fail=5.0,
        unit=" % fewer agree",
        reason="events of the decoded movie must agree with those of the raw one at least as well as "
        "those of two "
        "redrawings of the same movie agree with each other",
    ),
    "efficiency": Limit(
        title="Size above the noise floor",
        warn=100.0,
        fail=900.0,
        unit=" %",
        reason="noise alone carries log2(4.133/step) bits per pixel, which no codec gets below; far "
        "above it, another "
        "layout or preset would do better. Larger than the raw movie fails",
    ),
}


@dataclass(frozen=True, kw_only=True)
class ReportLine:
    """One line of a report.

    Attributes
    ----------
    name : str
        Key of ``LIMITS``.
    status : {"PASS", "WARN", "FAIL", "SKIP"}
        SKIP if the property cannot be measured on this movie; ``found`` says why.
    value : float or None
        Graded value, in ``unit``.
    found : str
        The measurement in words.
    cause : str
        Most likely cause of a WARN or FAIL.
    """

    name: str
    status: str
    value: float | None
    found: str
    cause: str = ""

    @property
    def limit(self) -> Limit:
        """Thresholds and their reason."""
        return LIMITS[self.name]

    @property
    def title(self) -> str:
        """The property that the line checks."""
        return self.limit.title

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        limit = self.limit
        value = self.value if self.value is None or math.isfinite(self.value) else None
        return {
            **asdict(self),
            "value": value,
            "unit": limit.unit.strip(),
            "title": limit.title,
            "warn_above": limit.warn,
            "fail_above": limit.fail,
            "reason": limit.reason,
        }

    def __str__(self) -> str:
        cause = f" [{self.cause}]" if self.cause and self.status in (WARN, FAIL) else ""
        return f"{self.status:<4}  {self.title}: {self.found}{cause}"


def measured(name: str, value: float, text: str, cause: str = "") -> ReportLine:
    """Make a line, graded by its limit."""
    value = float(value)
    status = LIMITS[name].grade(value)
    return ReportLine(
        name=name, status=status, value=value, found=text, cause="" if status == PASS else cause
    )


def skipped(name: str, why: str) -> ReportLine:
    """Make a line of a property that could not be measured."""
    return ReportLine(name=name, status=SKIP, value=None, found=why)


def verdict(lines: tuple[ReportLine, ...]) -> str:
    """Worst status of all lines."""
    statuses = {line.status for line in lines}
    return FAIL if FAIL in statuses else WARN if WARN in statuses else PASS


def of_channels(lines: Sequence[Sequence[ReportLine]], names: Sequence[str] = ()) -> list[ReportLine]:
    """Merge the lines of several channels: keep the worst of each line, which names its channel.

    Parameters
    ----------
    lines : sequence of sequence of ReportLine
        Lines of each channel.
    names : sequence of str
        Names of the channels. Without names, the lines give numbers.

    Examples
    --------
    >>> one = ReportLine(name="snr", status="PASS", value=1.0, found="1 % lost")
    >>> [line.found for line in of_channels([[one], [replace(one, status="FAIL", value=44.0)]])]
    ['channel 1: 1 % lost']
    """
    if len(lines) == 1:
        return list(lines[0])
    by_name: dict[str, list[tuple[int, ReportLine]]] = {}
    for number, of_channel in enumerate(lines):
        for line in of_channel:
            by_name.setdefault(line.name, []).append((number, line))
    merged = []
    for same_line in by_name.values():
        number, line = max(same_line, key=lambda one: (_GRAVITY[one[1].status], one[1].value or 0.0, -one[0]))
        merged.append(replace(line, found=f"{channel_label(number, names)}: {line.found}"))
    return merged
