"""Draw a choice: the size at each step, and the change of each result beside the limit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from photon_gpu.plots import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PALE,
    VERMILION,
    add_legend,
    new_figure,
    save_figure,
    style_axes,
)
from photon_gpu.tools.choice.changes import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from photon_gpu.tools.choice.changes import Change

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, INK, "#CC79A7", "#56B4E9", "#F0E442")
_LEAST, _MOST = 1e-3, 10.0  # ratios beyond are drawn at the edge


class StepFacts(Protocol):
    """Attributes of a step that a figure reads."""

    @property
    def step(self) -> float:
        """Quantization step, sigma."""

    @property
    def ratio(self) -> float:
        """Raw bytes over stored bytes."""

    @property
    def distinguishable(self) -> bool:
        """Whether the change of any result is distinguishable."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """Changes, one for each analysis."""


class ChoiceFacts(Protocol):
    """Attributes of a choice that a figure reads."""

    @property
    def source(self) -> str:
        """Name of the movie."""

    @property
    def steps(self) -> Sequence[StepFacts]:
        """Results in rising order."""

    @property
    def recommended(self) -> StepFacts | None:
        """The step that is recommended."""


def plot_choice(choice: ChoiceFacts, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the figure; save it in the format of the suffix if ``path`` is given."""
    best = choice.recommended
    advice = f"step {best.step:g} is {best.ratio:.1f} times smaller" if best else "no step is recommended"
    figure = new_figure(11, 4.6, f"{choice.source[-60:]}: {advice}", dpi=120)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    steps = [result.step for result in choice.steps]
    labels = [f"{step:g}" for step in steps]
    colours = [PALE if result.distinguishable else BLUE for result in choice.steps]
    bars = left.bar(labels, [result.ratio for result in choice.steps], color=colours)
    left.bar_label(bars, fmt="%.1f", fontsize=8, color=INK)
    style_axes(left, "Size (grey: distinguishable)", "step (sigma)", "raw size over stored size")
    _changes(right, choice, steps)
    if path is not None:
        save_figure(figure, path)
    return figure


def _changes(ax: Axes, choice: ChoiceFacts, steps: list[float]) -> None:
    for number, first in enumerate(choice.steps[0].changes):
        ratios = [min(max(one.changes[number].ratio, _LEAST), _MOST) for one in choice.steps]
        colour, style = _COLOURS[number % len(_COLOURS)], "o-" if number < len(_COLOURS) else "s--"
        ax.plot(steps, ratios, style, color=colour, ms=4, lw=1.2, label=first.name)
        seen = [n for n, one in enumerate(choice.steps) if one.changes[number].distinguishable]
        ax.plot(steps, ratios, style[0], color=colour, mfc="white", ms=5, ls="", markevery=seen)
    ax.axhline(LIMIT, color=INK, lw=1.2, ls=(0, (4, 3)))
    ax.annotate("limit", (steps[0], LIMIT), xytext=(0, 3), textcoords="offset points", fontsize=8, color=INK)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(steps, [f"{step:g}" for step in steps])
    ax.minorticks_off()
    style_axes(
        ax, "Change by storing / difference of two takes (white: distinguishable)", "step (sigma)", "ratio"
    )
    add_legend(ax, "lower right", columns=2)
