"""Draw a photon-transfer curve: points, line, interval band, excluded points, residuals."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate.diagnostics import Estimated
from photon_gpu.plots import (
    BLUE,
    GREEN,
    INK,
    PALE,
    VERMILION,
    add_legend,
    new_figure,
    save_figure,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VERDICT = {"PASS": GREEN, "WARN": VERMILION, "REFUSE": VERMILION}


def plot_estimate(estimate: Estimated, path: str | Path | None = None) -> Figure:
    """Draw the photon-transfer curve of an estimate.

    The upper panel shows the variance per level with standard errors, the line with its 95 % band, the
    variance before moving samples were left out, and the levels that were left out. A triangle at the upper
    edge is a point above it. The lower panel shows the distance of the points from the line, in per cent.

    Parameters
    ----------
    estimate : NoiseEstimate
        An estimate with diagnostics.
    path : path-like, optional
        File to save; its suffix sets the format (``.png``, ``.svg``, ``.pdf``).

    Returns
    -------
    matplotlib.figure.Figure
        A figure without a window.

    Raises
    ------
    InvalidInputError
        The estimate has no diagnostics to draw.
    """
    facts = estimate.diagnostics
    if facts is None:
        raise InvalidInputError(
            f"plot: nothing was measured on {estimate.source or 'the movie'}, so there is no curve: "
            + "; ".join(str(finding) for finding in estimate.warnings)
        )
    level, variance = np.array(facts.curve.level), np.array(facts.curve.variance)
    error, plain = np.array(facts.curve.error), np.array(facts.curve.plain)
    used = np.array(facts.curve.samples) > 0
    # Without a model there is no line to draw, but the points show why.
    gain = estimate.model.gain if estimate.model else 0.0
    intercept = facts.intercept if estimate.model else float(np.nanmean(variance))
    covariance = np.array(facts.covariance)

    figure = new_figure(8, 7.2, dpi=120)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    span = np.linspace(level.min(), level.max(), 200)
    drawn = gain * span + intercept
    at = np.stack([span, np.ones_like(span)])
    half = 1.96 * np.sqrt(np.maximum(np.einsum("ik,ij,jk->k", at, covariance, at), 0))
    style_axes(upper, y="variance [ADU²]")
    style_axes(lower, x="level z [ADU]", y="off the line [%]")
    if estimate.model is not None:
        upper.fill_between(span, drawn - half, drawn + half, color=BLUE, alpha=0.18, lw=0, label="95 % band")
        upper.plot(span, drawn, color=BLUE, lw=1.6, label=f"{gain:.4g} z {intercept:+.4g}")
    upper.errorbar(
        level[used],
        variance[used],
        2 * error[used],
        fmt="o",
        color=INK,
        ms=4,
        lw=1,
        label="samples kept, 2 standard errors",
    )
    # The line sets the height: moving samples may lie far above it.
    ceiling = 1.35 * float(np.nanmax(np.concatenate([drawn, variance[used]])))
    for where, marker, colour, label in (
        (np.ones_like(used), "x", PALE, "all samples, moving ones too"),
        (~used, "s", VERMILION, "levels left out (clipped, or nothing quiet)"),
    ):
        if where.any():
            inside = where & (plain <= ceiling)
            upper.plot(level[inside], plain[inside], marker, mfc="none", color=colour, ms=6, label=label)
            above = where & (plain > ceiling)
            upper.plot(
                level[above], np.full(above.sum(), 0.99 * ceiling), "^", mfc="none", color=colour, ms=6
            )
    upper.set_ylim(min(0.0, float(np.nanmin(drawn))) - 0.02 * ceiling, ceiling)
    add_legend(upper, "upper left", size=9)

    expected = np.maximum(gain * level + intercept, 1e-12)
    off = 100 * (variance / expected - 1)
    fair = used & (error < 0.5 * expected)
    lower.axhline(0, color=BLUE, lw=1.6)
    band = np.maximum(drawn, 1e-12)
    lower.fill_between(span, -100 * half / band, 100 * half / band, color=BLUE, alpha=0.18, lw=0)
    lower.errorbar(level[fair], off[fair], 200 * error[fair] / expected[fair], fmt="o", color=INK, ms=4, lw=1)
    reach = max(5.0, float(np.nanquantile(np.abs(off[fair]), 0.95)) * 1.6 if fair.any() else 5.0)
    lower.set_ylim(-min(reach, 100), min(reach, 150))

    title = f"{estimate.verdict}  {estimate.source}".strip()
    upper.set_title(title, loc="left", color=_VERDICT[estimate.verdict], fontweight="bold")
    upper.set_title(_summary(estimate), loc="right", fontsize=9, color=INK)
    graver = [f for f in estimate.warnings if f.severity != "NOTE"]
    if graver:
        notes = "\n".join(textwrap.fill(str(f), 140, subsequent_indent="    ") for f in graver[:3])
        figure.supxlabel(notes, fontsize=8, ha="left", x=0.02, color=_VERDICT[estimate.verdict])
    if path is not None:
        save_figure(figure, path)
    return figure


def _summary(estimate: Estimated) -> str:
    if estimate.model is None or estimate.interval is None:
        return ""
    low, high = estimate.interval.gain
    text = f"gain {estimate.model.gain:.4g} ({low:.4g} to {high:.4g}) ADU/photon"
    facts = estimate.diagnostics
    if facts is not None and facts.separated_by:
        read = estimate.model.variance**0.5
        return f"{text}, offset {estimate.model.offset:.4g}, read noise {read:.3g} ADU"
    return f"{text}, line reaches 0 at {estimate.model.offset:.4g} ADU"
