"""Result of a noise estimate: model, intervals, findings and verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate.checks import PROCESSED
from photon_gpu.estimate.curve import Correlation, Curve
from photon_gpu.estimate.diagnostics import Diagnostics, Finding, Interval, Verdict
from photon_gpu.estimate.plot import plot_estimate
from photon_gpu.estimate.value_histogram import HistogramLevels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHORT = (
    "intercept",
    "separated_by",
    "frames_sampled",
    "pairs",
    "pairs_kept",
    "structure_share",
    "shot_share",
    "bend",
    "skewness",
)


@dataclass(frozen=True, kw_only=True)
class NoiseEstimate:
    """Result of :func:`photon_gpu.estimate.estimate_noise`.

    Attributes
    ----------
    model : NoiseModel or None
        None if no line could be fitted. If offset and read variance could not be separated, ``variance`` is 0
        and ``offset`` is the level at which the line reaches zero. The transform is the same, because it
        depends on gain and intercept alone.
    interval : Interval or None
        95 % intervals; None if the model is None.
    diagnostics : Diagnostics or None
        None if nothing could be measured.
    verdict : {"PASS", "WARN", "REFUSE"}
        REFUSE: do not quantize with this model.
    warnings : tuple of Finding
        Reasons, with numbers, the most severe first; a PASS may have notes.
    source : str
        Name of the source.
    channels : tuple of NoiseEstimate
        Estimate of each channel, if the axes of the movie name several. Then ``model``, ``interval`` and
        ``diagnostics`` are None here, ``verdict`` is the most severe, and ``warnings`` are those of all.
    """

    model: NoiseModel | None
    interval: Interval | None
    diagnostics: Diagnostics | None
    verdict: Verdict
    warnings: tuple[Finding, ...]
    source: str = ""
    channels: tuple[NoiseEstimate, ...] = ()

    @property
    def models(self) -> tuple[NoiseModel, ...] | None:
        """Models of all channels, for ``noise`` of :func:`photon_gpu.encode`; None if one is missing."""
        models = tuple(one.model for one in self.channels or (self,) if one.model is not None)
        return models if len(models) == max(len(self.channels), 1) else None

    @property
    def processed(self) -> tuple[str, ...]:
        """Names of the warnings that say that the data were processed; empty for raw data."""
        named = (f.name for f in self.warnings if f.severity == "WARN" and f.name in PROCESSED)
        return tuple(dict.fromkeys(named))

    @property
    def layout(self) -> str:
        """Recommended layout: ``"plain"``, or ``"lossless"`` if the noise cannot be modelled."""
        return "lossless" if self.verdict == "REFUSE" else "plain"

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values; NaN and infinities become None."""
        return dict(_plain(asdict(self)))

    def summary(self) -> dict[str, Any]:
        """Return the part that is stored with a movie: model, intervals, verdict, warnings, diagnostics."""
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
        """Inverse of :meth:`to_dict`; raises InvalidInputError for unknown keys."""
        unknown = sorted(set(data) - set(cls.__dataclass_fields__))
        if unknown:
            raise InvalidInputError(
                f"noise estimate: unknown key {unknown[0]!r}; allowed are "
                f"{', '.join(cls.__dataclass_fields__)}"
            )
        try:
            return _restore(cls, data)
        except (KeyError, TypeError) as error:
            raise InvalidInputError(f"noise estimate: {error} is missing or wrong") from error

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the photon-transfer curve; see :func:`photon_gpu.estimate.plot.plot_estimate`."""
        return plot_estimate(self, path)

    def __str__(self) -> str:
        if self.channels:
            return "\n".join(str(channel) for channel in self.channels)
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
                    f"  offset and read noise cannot be separated; the line reaches zero at "
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
    def build(cls: Any, part: Mapping[str, Any], **inner: Any) -> Any:
        return cls(**{**{k: _tuples(v) for k, v in part.items() if k not in inner}, **inner})

    model, interval, diagnostics = data["model"], data["interval"], data["diagnostics"]
    if interval is not None:
        interval = build(Interval, {}, **{k: None if v is None else tuple(v) for k, v in interval.items()})
    if diagnostics is not None:
        diagnostics = build(
            Diagnostics,
            diagnostics,
            separated_by=diagnostics["separated_by"],
            correlation=build(Correlation, diagnostics["correlation"]),
            levels=build(HistogramLevels, diagnostics["levels"]),
            curve=build(Curve, diagnostics["curve"]),
        )
    return cls(
        model=None if model is None else NoiseModel.from_dict(model),
        interval=interval,
        diagnostics=diagnostics,
        verdict=data["verdict"],
        warnings=tuple(build(Finding, f) for f in data["warnings"]),
        source=data.get("source", ""),
        channels=tuple(cls.from_dict(channel) for channel in data.get("channels", ())),
    )
