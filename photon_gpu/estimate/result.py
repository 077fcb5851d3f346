"""What an estimate is: the model, its intervals, what was seen on the way, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate.curve import Correlation, Curve
from photon_gpu.estimate.levels import Levels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["PASS", "WARN", "REFUSE"]
Severity = Literal["NOTE", "WARN", "REFUSE"]
Range = tuple[float, float]
_SHORT = (
    "intercept", "separated_by", "frames_sampled", "pairs", "pairs_kept", "structure_share", "shot_share", "bend",
    "skewness",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing the owner of the data should know.

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
    """95 % intervals; ``offset`` and ``variance`` only where they could be separated.

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
        Second differences measured, and those the line rests on.
    structure_share : float
        Share of frame-to-frame change that neighbouring pixels have in common.
    subtracted_gain : float
        What subtracting that structure took from the gain, relative.
    bend, bend_error : float
        Coefficient of the square of the level beside the line (ADU^2 per ADU^2), and its standard error.
    skewness, skewness_error : float
        Slope of the third cumulant over gain^2: 1 for equal pulses, ``2 - 1/F`` for excess noise factor F.
    shot_share : float
        Share of the variance at the bright end that light made, over the dark end.
    constant_share, nonfinite_share : float
        Samples left out because nothing ever changes there, or because they are NaN or infinite.
    correlation : Correlation
        Of the noise with its neighbours.
    levels : Levels
        What the histogram says.
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
    levels: Levels
    curve: Curve


@dataclass(frozen=True, kw_only=True)
class NoiseEstimate:
    """Result of :func:`photon_gpu.estimate.estimate_noise`.

    Attributes
    ----------
    model : NoiseModel or None
        None only where not even a line could be drawn. Where offset and read variance are
        degenerate, ``variance`` is 0 and ``offset`` the level at which the line reaches zero: the
        transform depends on gain and intercept alone and is the same.
    interval : Interval or None
        95 % intervals; None with the model.
    diagnostics : Diagnostics or None
        None only where nothing could be measured.
    verdict : {"PASS", "WARN", "REFUSE"}
        REFUSE: do not quantize with this model.
    warnings : tuple of Finding
        Reasons, with numbers, the gravest first; a PASS may carry notes.
    source : str
        What was measured.
    """

    model: NoiseModel | None
    interval: Interval | None
    diagnostics: Diagnostics | None
    verdict: Verdict
    warnings: tuple[Finding, ...]
    source: str = ""

    @property
    def layout(self) -> str:
        """Layout that is offered: ``"plain"``, or ``"lossless"`` where the noise cannot be modelled."""
        return "lossless" if self.verdict == "REFUSE" else "plain"

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary that survives JSON; NaN and infinities become None."""
        return dict(_plain(asdict(self)))

    def summary(self) -> dict[str, Any]:
        """What is kept with a movie: model, intervals, verdict, warnings and the short diagnostics."""
        facts = self.diagnostics
        short = None if facts is None else {name: getattr(facts, name) for name in _SHORT}
        if short is not None and facts is not None:
            short["correlation"] = {axis: getattr(facts.correlation, axis) for axis in "yxt"}
        return dict(
            _plain(
                {
                    "verdict": self.verdict,
                    "model": self.model.to_dict() if self.model else None,
                    "interval": asdict(self.interval) if self.interval else None,
                    "warnings": [asdict(finding) for finding in self.warnings],
                    "diagnostics": short,
                }
            )
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NoiseEstimate:
        """Inverse of :meth:`to_dict`; unknown keys are an error."""
        unknown = sorted(set(data) - set(cls.__dataclass_fields__))
        if unknown:
            raise InvalidInputError(f"noise estimate: unknown key {unknown[0]!r}")
        try:
            return _restore(cls, data)
        except (KeyError, TypeError) as error:
            raise InvalidInputError(f"noise estimate: {error} is missing or wrong") from error

    def plot(self, path: str | Path | None = None) -> Figure:
        """Photon-transfer curve; see :func:`photon_gpu.estimate.plot.plot_estimate`."""
        from photon_gpu.estimate.plot import plot_estimate

        return plot_estimate(self, path)

    def __str__(self) -> str:
        lines = [f"{self.verdict}: noise of {self.source or 'movie'}"]
        if self.model and self.interval and self.diagnostics:
            low, high = self.interval.gain
            lines.append(f"  gain {self.model.gain:.5g} ADU/photon (95 %: {low:.5g} to {high:.5g})")
            low, high = self.interval.intercept
            lines.append(
                f"  intercept {self.diagnostics.intercept:.5g} ADU^2 (95 %: {low:.5g} to {high:.5g})"
            )
            how = self.diagnostics.separated_by
            if how:
                sigma = self.model.variance**0.5
                lines.append(f"  offset {self.model.offset:.5g} ADU, read noise {sigma:.4g} ADU (from {how})")
            else:
                lines.append(
                    f"  offset and read noise cannot be told apart; the line reaches zero at "
                    f"{self.model.offset:.5g} ADU"
                )
        lines += [f"  {finding}" for finding in self.warnings]
        if self.verdict == "REFUSE":
            lines.append("  store it with layout='lossless'")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None if value != value else ("inf" if value > 0 else "-inf")
    return value


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if value is None:
        return float("nan")
    return float(value) if value in ("inf", "-inf") else value


def _restore(cls: type[NoiseEstimate], data: Mapping[str, Any]) -> NoiseEstimate:
    def build(kind: Any, part: Mapping[str, Any], **inner: Any) -> Any:
        return kind(**{**{k: _tuples(v) for k, v in part.items() if k not in inner}, **inner})

    model, interval, diagnostics = data["model"], data["interval"], data["diagnostics"]
    if interval is not None:
        interval = build(Interval, {}, **{k: None if v is None else tuple(v) for k, v in interval.items()})
    if diagnostics is not None:
        diagnostics = build(
            Diagnostics,
            diagnostics,
            separated_by=diagnostics["separated_by"],
            correlation=build(Correlation, diagnostics["correlation"]),
            levels=build(Levels, diagnostics["levels"]),
            curve=build(Curve, diagnostics["curve"]),
        )
    return cls(
        model=None if model is None else NoiseModel.from_dict(model),
        interval=interval,
        diagnostics=diagnostics,
        verdict=data["verdict"],
        warnings=tuple(build(Finding, f) for f in data["warnings"]),
        source=data.get("source", ""),
    )
