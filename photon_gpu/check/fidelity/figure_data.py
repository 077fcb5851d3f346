"""Compute the data for the figures of a report, as small arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.noise_by_level import LightLevels
from photon_gpu.check.fidelity.property_verdicts import ReportLine
from photon_gpu.check.fidelity.residual import correlation
from photon_gpu.check.fidelity.sample import Sample
from photon_gpu.check.fidelity.traces import Traces, relative

_LAGS = 5
_BINS = 60
_WIDEST = 400


@dataclass(frozen=True)
class Pictures:
    """Frames, curves and histograms of one report.

    Attributes
    ----------
    raw, decoded, residual : ndarray
        One frame ``(rows, columns)``: ADU, ADU, sigma.
    frame : int
    levels : LightLevels
    photons, noise : ndarray
        Light, and the variance of stabilized raw noise divided by its expected value.
    residual_edges, residual_density : ndarray
        Histogram of the stabilized residual, in steps; 1 is uniform.
    value_edges, raw_values, decoded_values : ndarray
        Histograms of values, ADU.
    correlations : dict
        Axis to correlation of the residual at lags 1 to 5.
    raw_traces, decoded_traces : ndarray
        dF/F ``(frames, regions)`` of a few regions.
    trace_spread : ndarray
        ``(regions,)``: spread of dF/F caused by fresh noise.
    """

    raw: NDArray
    decoded: NDArray
    residual: NDArray
    frame: int
    levels: LightLevels
    photons: NDArray
    noise: NDArray
    residual_edges: NDArray
    residual_density: NDArray
    value_edges: NDArray
    raw_values: NDArray
    decoded_values: NDArray
    correlations: dict[str, list[float]]
    raw_traces: NDArray
    decoded_traces: NDArray
    trace_spread: NDArray


class FidelityFacts(Protocol):
    """Attributes of a finished report that figures and pages read."""

    @property
    def source(self) -> str:
        """Name of the source."""

    @property
    def url(self) -> str:
        """URL of the movie."""

    @property
    def facts(self) -> dict[str, Any]:
        """Shape, noise model, layout, sizes, and the extent of the sample."""

    @property
    def verdict(self) -> str:
        """The worst status of all lines."""

    @property
    def lines(self) -> Sequence[ReportLine]:
        """Lines of the report."""

    @property
    def pictures(self) -> Pictures | None:
        """Data to draw; None if nothing was sampled."""


def draw(
    sample: Sample, levels: LightLevels, photons: NDArray, noise: NDArray, traces: Traces | None
) -> Pictures:
    """Compute the figure data of a sample."""
    block = sample.run
    middle = len(block.raw) // 2
    step = sample.step or 1.0
    edges = np.linspace(-0.75, 0.75, _BINS + 1)
    residual = sample.flat("residual") / step
    density = np.histogram(residual, edges)[0] / max(residual.size, 1) / np.diff(edges)
    raw = sample.flat("raw").astype(np.float64)
    low, high = np.percentile(raw[:: max(1, raw.size // 500_000)], (0.05, 99.9))
    wide = (
        max(1, int(np.ceil((high - low) / 120)))
        if sample.encoding.dtype[0] in "iu"
        else (high - low) / 120 or 1.0
    )
    values = np.arange(low - 0.5, high + wide + 0.5, wide)
    correlations = {
        name: [pair[0] for lag in range(1, _LAGS + 1) if (pair := correlation(sample, axis, lag)) is not None]
        for axis, name in enumerate(("time", "rows", "columns"))
    }
    traces_raw = traces_decoded = np.empty((0, 0))
    spread = np.empty(0)
    if traces is not None:
        one, two, again = relative(traces.raw), relative(traces.decoded), relative(traces.redrawn)
        lively = np.argsort(-(np.percentile(one, 99, axis=0)))[:4]
        traces_raw, traces_decoded = one[:, lively], two[:, lively]
        spread = again.std(0).mean(0)[lively]
    crop = (slice(0, _WIDEST), slice(0, _WIDEST))
    return Pictures(
        raw=block.raw[middle][crop].astype(np.float64),
        decoded=block.counts[middle][crop].astype(np.float64),
        residual=block.error[middle][crop].astype(np.float64),
        frame=int(block.frames[middle]),
        levels=levels,
        photons=photons,
        noise=noise,
        residual_edges=edges,
        residual_density=density,
        value_edges=values,
        raw_values=np.histogram(raw, values)[0].astype(float),
        decoded_values=np.histogram(sample.flat("counts"), values)[0].astype(float),
        correlations=correlations,
        raw_traces=traces_raw,
        decoded_traces=traces_decoded,
        trace_spread=spread,
    )
