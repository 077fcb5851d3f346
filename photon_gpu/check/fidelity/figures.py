"""Draw the figures of a report, one function per panel; ``overview`` draws all on one sheet."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.figure_data import FidelityFacts, Pictures
from photon_gpu.check.fidelity.property_verdicts import LIMITS
from photon_gpu.plots import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PALE,
    VERMILION,
    add_legend,
    new_figure,
    show_image,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATUS = {"PASS": GREEN, "WARN": "#D98E04", "FAIL": "#B3261E", "SKIP": PALE}
_FONT: Any = {"font.size": 10, "axes.titlesize": 11.5, "svg.fonttype": "path", "svg.hashsalt": "photon_gpu"}


def raw_frame(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw one raw frame."""
    show_image(ax, p.raw, _reach(p.raw), f"Raw, frame {p.frame}", "ADU", "gray")


def decoded_frame(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the same frame, decoded."""
    title = f"Decoded, {fidelity.facts['ratio']:.1f}x smaller"
    show_image(ax, p.decoded, _reach(p.raw), title, "ADU", "gray")


def residual_frame(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the difference between the decoded and the raw frame."""
    half = 0.5 * (fidelity.facts["step"] or 1.0)
    show_image(ax, p.residual, (-half, half), "Residual: should be structureless", "sigma", "PuOr_r")


def transfer(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the photon-transfer curve before and after."""
    levels, facts = p.levels, fidelity.facts
    noise = facts["noise"] or facts["channel_noise"][facts["pictured_channel"]]
    light = levels.light
    line = np.maximum(noise["gain"] * (light - noise["offset"]), 0) + noise["variance"]
    ax.plot(light, line, color=PALE, lw=1.2, ls=(0, (4, 3)), label="noise model")
    ax.plot(light, levels.raw_variance, "o-", color=INK, ms=4, lw=1, mfc="white", label="raw")
    ax.plot(light, levels.decoded_variance, "s-", color=BLUE, ms=3, lw=1, label="decoded")
    ax.plot(light, levels.expected_variance, color=VERMILION, lw=1, label="raw + step²/12")
    style_axes(ax, "Photon-transfer curve", "mean light (ADU)", "variance of differences (ADU²)")
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
    ax.set_ylim(bottom=0)
    add_legend(ax, "upper left")


def bias(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the bias at each level of light, with its limits."""
    levels, limit = p.levels, LIMITS["bias"]
    photons = _positive(levels.photons)
    _bands(ax, limit.warn, limit.fail)
    ax.errorbar(
        photons,
        100 * levels.bias,
        300 * levels.bias_error,
        fmt="s-",
        color=BLUE,
        ms=3.5,
        lw=1,
        label="counts",
    )
    ax.plot(
        photons, 100 * levels.float_bias, "o-", color=INK, ms=3.5, lw=1, mfc="white", label="before rounding"
    )
    ax.plot(photons, 100 * levels.label_bias, color=ORANGE, lw=1.2, label="stabilized labels")
    _light_axis(ax, photons)
    top = max(1.25 * limit.fail, 1.15 * 100 * float(np.abs([levels.bias, levels.float_bias]).max()))
    ax.set_ylim(-top, top)
    style_axes(ax, "Bias of single pixels", "light (photons per pixel)", "% of a sigma")
    add_legend(ax, "lower right")


def variance(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the ratio of decoded to raw variance, with its theory."""
    levels = p.levels
    raw = np.maximum(levels.raw_variance, 1e-30)
    photons = _positive(levels.photons)
    ideal = 1 + (fidelity.facts["step"] or 0) ** 2 / 12
    ratio, theory = levels.decoded_variance / raw, levels.expected_variance / raw
    ax.errorbar(photons, ratio, 3 * levels.ratio_error, fmt="s-", color=BLUE, ms=3.5, lw=1, label="measured")
    ax.plot(photons, theory, color=VERMILION, lw=1.2, label="theory at the measured noise")
    ax.axhline(ideal, color=PALE, lw=1, ls=(0, (4, 3)), label=f"1 + step²/12 = {ideal:.4f}")
    _light_axis(ax, photons)
    top = max(1.08, float(np.max([ratio.max(), theory.max(), ideal])) + 0.03)
    ax.set_ylim(min(0.97, float(ratio.min()) - 0.02), top)
    style_axes(ax, "Variance, decoded over raw", "light (photons per pixel)", "ratio")
    add_legend(ax, "upper right")


def residual_histogram(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the distribution of the residual in steps."""
    ax.stairs(p.residual_density, p.residual_edges, fill=True, color=BLUE, alpha=0.35)
    ax.stairs(p.residual_density, p.residual_edges, color=BLUE, lw=1.2, label="measured")
    ax.plot([-0.75, -0.5, -0.5, 0.5, 0.5, 0.75], [0, 0, 1, 1, 0, 0], color=VERMILION, lw=1.2, label="uniform")
    ax.set_xlim(-0.75, 0.75)
    ax.set_ylim(0, max(1.35, 1.1 * min(float(p.residual_density.max()), 6.0)))
    style_axes(ax, "Residual of stabilized values", "steps", "density")
    add_legend(ax, "upper right")


def whiteness(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the correlation of the residual along each axis."""
    limit = LIMITS["white"]
    top = 1.6 * limit.fail
    _bands(ax, limit.warn, limit.fail)
    for shift, colour, (name, values) in zip(
        (-0.2, 0, 0.2), (BLUE, ORANGE, INK), p.correlations.items(), strict=True
    ):
        if values:
            lags = np.arange(1, len(values) + 1) + shift
            ax.vlines(lags, 0, values, color=colour, lw=2.5)
            ax.plot(lags, values, "o", color=colour, ms=4, label=name)
            top = max(top, 1.1 * max(abs(v) for v in values))
    ax.set_ylim(-top, top)
    ax.set_xlim(0.4, 5.6)
    style_axes(ax, "Residual against its neighbours", "lag (frames, rows, columns)", "correlation")
    if any(p.correlations.values()):
        add_legend(ax, "upper right", columns=3)
    else:
        _nothing(ax, "every pixel is decoded exactly")


def values(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the histograms of raw and decoded values."""
    top = max(float(p.raw_values.max()), 1.0)
    ax.stairs(p.raw_values / top, p.value_edges, color=INK, lw=1, label="raw")
    ax.stairs(p.decoded_values / top, p.value_edges, color=BLUE, lw=1, alpha=0.8, label="decoded")
    ax.set_yscale("log")
    ax.set_ylim(1e-4, max(3.0, 2 * float(p.decoded_values.max()) / top))
    style_axes(ax, "Values", "ADU", "pixels (relative)")
    add_legend(ax, "upper right")


def noise_model(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the noise of the raw movie relative to the model."""
    limit = LIMITS["noise_model"]
    if not p.photons.size:
        style_axes(ax, "Raw noise against the model", "", "")
        _nothing(ax, "too little data")
        return
    for share, colour in ((limit.fail, ORANGE), (limit.warn, GREEN)):
        ax.axhspan(1 - share / 100, 1 + share / 100, color=colour, alpha=0.1, lw=0)
    ax.axhline(1, color=PALE, lw=1)
    photons = _positive(p.photons)
    ax.plot(photons, p.noise, "o-", color=INK, ms=4.5, lw=1, mfc="white")
    _light_axis(ax, photons)
    ax.set_ylim(min(0.4, 0.9 * float(p.noise.min())), max(1.6, 1.1 * float(p.noise.max())))
    style_axes(ax, "Raw noise against the model", "light (photons per pixel)", "measured / modelled variance")


def traces(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw dF/F of the most active regions, raw and decoded."""
    style_axes(ax, "dF/F of the most active regions", "frame", "")
    if not p.raw_traces.size:
        _nothing(ax, "too few frames for traces")
        return
    shown = slice(0, 600)
    raw, decoded = p.raw_traces[shown], p.decoded_traces[shown]
    frames = np.arange(len(raw))
    lift, ticks = 0.0, []
    for region in range(raw.shape[1]):
        base = lift - float(min(raw[:, region].min(), decoded[:, region].min()))
        # The raw line is thick and the decoded line thin, so both are visible if they coincide.
        ax.plot(
            frames, base + raw[:, region], color=INK, lw=2.4, alpha=0.4, label="raw" if region == 0 else None
        )
        ax.plot(
            frames, base + decoded[:, region], color=BLUE, lw=0.9, label="decoded" if region == 0 else None
        )
        ticks.append(base)
        lift = base + float(max(raw[:, region].max(), decoded[:, region].max())) + 0.15
    ax.set_yticks(ticks, [f"region {n + 1}" for n in range(len(ticks))])
    ax.set_xlim(0, max(len(frames) - 1, 1))
    height = float(np.ptp(p.raw_traces[shown]))
    bar = max((n for n in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if n < height), default=0.05)
    ax.plot([1.012] * 2, [0.0, bar], transform=ax.get_yaxis_transform(), color=INK, lw=2, clip_on=False)
    ax.text(1.02, bar / 2, f"{100 * bar:g} %", transform=ax.get_yaxis_transform(), va="center", color=INK)
    add_legend(ax, "upper right", columns=2)


def trace_errors(ax: Axes, p: Pictures, fidelity: FidelityFacts) -> None:
    """Draw the error of dF/F in the same regions; the band is the spread of fresh noise."""
    style_axes(ax, "Error of dF/F; band: fresh noise", "frame", "")
    if not p.raw_traces.size:
        _nothing(ax, "too few frames for traces")
        return
    shown = slice(0, 600)
    errors = (p.decoded_traces[shown] - p.raw_traces[shown]) / np.maximum(p.trace_spread, 1e-12)
    frames, regions = np.arange(len(errors)), range(errors.shape[1])
    apart = 2.0 * max(1.3, float(np.abs(errors).max()))
    for region in regions:
        base = apart * region
        ax.fill_between(frames, base - 1, base + 1, color=ORANGE, alpha=0.3, lw=0)
        ax.plot(frames, base + errors[:, region], color=BLUE, lw=0.9)
    ax.set_yticks([apart * region for region in regions], [f"region {region + 1}" for region in regions])
    ax.set_xlim(0, max(len(frames) - 1, 1))


PANELS: dict[str, tuple[Callable[[Any, Pictures, FidelityFacts], None], tuple[float, float]]] = {
    "raw": (raw_frame, (4.0, 3.6)),
    "decoded": (decoded_frame, (4.0, 3.6)),
    "residual": (residual_frame, (4.0, 3.6)),
    "traces": (traces, (8.3, 3.3)),
    "trace_errors": (trace_errors, (4.0, 3.3)),
    "transfer": (transfer, (4.0, 3.3)),
    "bias": (bias, (4.0, 3.3)),
    "variance": (variance, (4.0, 3.3)),
    "noise": (noise_model, (4.0, 3.3)),
    "histogram": (residual_histogram, (4.0, 3.3)),
    "whiteness": (whiteness, (4.0, 3.3)),
    "values": (values, (4.0, 3.3)),
}


def svg(name: str, fidelity: FidelityFacts) -> str:
    """Draw one panel as an ``<svg>`` element of a page."""
    from matplotlib import rc_context

    assert fidelity.pictures is not None
    draw, (width, height) = PANELS[name]
    if draw in (raw_frame, decoded_frame, residual_frame):
        rows, columns = fidelity.pictures.raw.shape
        height = min(max(0.75 * width * rows / columns + 0.4, 1.2), 2 * width)
    with rc_context(_FONT):
        figure = new_figure(width, height)
        draw(figure.subplots(), fidelity.pictures, fidelity)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    markup = text.getvalue()
    return _own_ids(markup[markup.index("<svg") :].strip(), name)


def _own_ids(body: str, name: str) -> str:
    """Prefix ids and their references with the panel's name, so that they are unique in a page."""
    body = body.replace('id="', f'id="{name}-')
    return body.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")


def overview(fidelity: FidelityFacts) -> Figure:
    """Draw verdict, lines and all panels on one sheet."""
    from matplotlib import rc_context

    with rc_context(_FONT):
        figure = new_figure(15, 19)
        halves: Any = figure.subfigures(2, 1, height_ratios=(0.36 + 0.012 * len(fidelity.lines), 1.25))
        top, bottom = halves
        _table(top, fidelity)
        if fidelity.pictures is None:
            return figure
        rows: Any = (
            ("raw", "decoded", "residual"),
            ("traces", "trace_errors", "values"),
            ("transfer", "bias", "variance"),
            ("noise", "histogram", "whiteness"),
        )
        for names, part in zip(rows, bottom.subfigures(4, 1, height_ratios=(1.15, 1, 1, 1)), strict=True):
            widths = (2, 1, 1) if "traces" in names else (1, 1, 1)
            for name, ax in zip(names, part.subplots(1, 3, width_ratios=widths), strict=True):
                PANELS[name][0](ax, fidelity.pictures, fidelity)
    return figure


def _table(figure: Any, fidelity: FidelityFacts) -> None:
    ax = figure.subplots()
    ax.axis("off")
    ax.set_xlim(0, 1)
    height = len(fidelity.lines) + 3.2
    ax.set_ylim(height, 0)
    facts = fidelity.facts
    box = {"boxstyle": "round,pad=0.45", "fc": STATUS[fidelity.verdict], "ec": "none"}
    ax.text(0.01, 0.8, fidelity.verdict, color="white", fontsize=20, weight="bold", va="center", bbox=box)
    head = (
        f"{facts['ratio']:.2f} times smaller · {facts['bits_per_pixel']:.2f} bits per pixel · step "
        f"{facts['step']}"
    )
    ax.text(
        0.12, 0.5, f"Fidelity of {_end(fidelity.url)}", fontsize=16, weight="bold", color=INK, va="center"
    )
    ax.text(0.12, 1.4, f"{head} · {facts['layout']} · {facts['looked_at']}", color="#666666", va="center")
    for row, line in enumerate(fidelity.lines, 3):
        small = {"boxstyle": "round,pad=0.25", "fc": STATUS[line.status], "ec": "none"}
        ax.text(
            0.03,
            row,
            line.status,
            color="white",
            weight="bold",
            fontsize=8.5,
            va="center",
            ha="center",
            bbox=small,
        )
        ax.text(0.065, row, line.title, color=INK, va="center", fontsize=10)
        text = f"{line.found} [{line.cause}]" if line.cause else line.found
        ax.text(
            0.44,
            row,
            textwrap.shorten(text, 135, placeholder=" ..."),
            color="#555555",
            va="center",
            fontsize=9,
        )


def _end(path: str, length: int = 60) -> str:
    return path if len(path) <= length else "..." + path[-length:]


def _reach(image: NDArray) -> tuple[float, float]:
    low, high = np.percentile(image, (0.5, 99.7))
    return float(low), float(high) if high > low else float(low) + 1


def _bands(ax: Axes, warn: float, fail: float) -> None:
    """Shade the range that passes green, and the range that warns orange."""
    ax.axhspan(-fail, fail, color=ORANGE, alpha=0.09, lw=0)
    ax.axhspan(-warn, warn, color=GREEN, alpha=0.13, lw=0)
    ax.axhline(0, color=PALE, lw=0.8)


def _positive(photons: NDArray) -> NDArray:
    return np.maximum(photons, 0.01)


def _light_axis(ax: Axes, photons: NDArray) -> None:
    """Use a logarithmic axis with plain numbers if the light spans decades."""
    low, high = float(photons.min()), float(photons.max())
    if high > 5 * low:
        from matplotlib.ticker import LogLocator, NullFormatter

        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    pad = math.sqrt(max(high / max(low, 1e-9), 1.0)) ** 0.1
    ax.set_xlim(low / pad, high * pad if high * pad > low / pad else low + 1)


def _nothing(ax: Axes, why: str) -> None:
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color=PALE)
