"""Numbers behind a noise estimate: intervals, findings, diagnostics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.estimate.curve import Correlation, Curve
from photon_gpu.estimate.value_histogram import HistogramLevels

Verdict = Literal["PASS", "WARN", "REFUSE"]
Severity = Literal["NOTE", "WARN", "REFUSE"]
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding about the data, with its severity and what to do.

    Attributes
    ----------
    name : str
        What was tested, for instance ``"saturation"``.
    severity : {"NOTE", "WARN", "REFUSE"}
        How much it matters.
    value : float
        The number behind it.
    message : str
        The reason, with the number, and what to do.
    """

    name: str
    severity: Severity
    value: float
    message: str

    def __str__(self) -> str:
        return f"{self.severity} {self.name}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """95 % intervals; ``offset`` and ``variance`` are None if they could not be separated.

    Attributes
    ----------
    gain : tuple of float
        ADU per photon.
    intercept : tuple of float
        ``c`` of ``var = gain*z + c``, ADU^2.
    offset : tuple of float or None
        ADU.
    variance : tuple of float or None
        ADU^2.
    """

    gain: Range
    intercept: Range
    offset: Range | None = None
    variance: Range | None = None


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """The numbers behind an estimate.

    Attributes
    ----------
    intercept : float
        ``c`` of ``var = gain*z + c``, ADU^2.
    covariance : tuple
        2 x 2, of (gain, intercept).
    separated_by : str or None
        ``"dark recording"``, ``"dark pixels"``, ``"clipping"`` or ``"floor"``; None if offset and
        variance are degenerate.
    frames_sampled : int
        Frames that were read (rows, for ``pairs="space"``).
    pairs, pairs_kept : int
        Second differences measured, and those that the line is fitted to.
    structure_share : float
        Share of the change between frames that neighbouring pixels have in common.
    subtracted_gain : float
        Relative change of the gain by subtracting that structure.
    bend, bend_error : float
        Coefficient of the squared level when fitted with the line (ADU^2 per ADU^2), and its standard error.
    skewness, skewness_error : float
        Slope of the third cumulant over gain^2: 1 for equal pulses, ``2 - 1/F`` for excess noise factor F.
    kurtosis, kurtosis_error : float
        Excess kurtosis of the noise: photons make it positive.
    shot_share : float
        Share of the variance at the bright end that light adds to that of the dark end.
    constant_share, nonfinite_share : float
        Shares of samples left out because they never change, and because they are NaN or infinite.
    correlation : Correlation
        Of the noise between neighbours.
    levels : HistogramLevels
        Saturation, clipping and gaps in the histogram.
    curve : Curve
        The photon-transfer curve.
    """

    intercept: float
    covariance: tuple[Range, Range]
    separated_by: str | None
    frames_sampled: int
    pairs: int
    pairs_kept: int
    structure_share: float
    subtracted_gain: float
    bend: float
    bend_error: float
    skewness: float
    skewness_error: float
    shot_share: float
    constant_share: float
    nonfinite_share: float
    correlation: Correlation
    levels: HistogramLevels
    curve: Curve
    kurtosis: float = 0.0
    kurtosis_error: float = float("inf")


class Estimated(Protocol):
    """Attributes of a noise estimate that a plot reads."""

    @property
    def model(self) -> NoiseModel | None:
        """Noise model; None if no line could be fitted."""

    @property
    def interval(self) -> Interval | None:
        """95 % intervals."""

    @property
    def diagnostics(self) -> Diagnostics | None:
        """Numbers behind the estimate."""

    @property
    def verdict(self) -> Verdict:
        """PASS, WARN or REFUSE."""

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Reasons for the verdict."""

    @property
    def source(self) -> str:
        """Name of the source."""
