"""Draw a profile: bars per stage under their ceilings, and ratio against speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from photon_gpu.plots import BLUE, GREEN, INK, ORANGE, PALE, VERMILION, new_figure
from photon_gpu.tools.profiling.preset_for_camera import cores_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from photon_gpu.tools.profiling.measured_combination import Measured
    from photon_gpu.tools.profiling.profile import Profile

_COLORS = {"compact": BLUE, "plain": ORANGE, "lossless": GREEN}
_MARKERS = {"fast": "^", "balanced": "o", "small": "s"}


def plot_profile(profile: Profile) -> Figure:
    """Draw bars per stage with the ceilings, and a Pareto plot of ratio against MB/s.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> from photon_gpu.tools.profiling.profile import profile
    >>> counts = np.random.default_rng(0).poisson(20.0, (10, 32, 32)).astype("uint16")
    >>> options = {"layouts": ["compact"], "presets": ["fast"], "cores": [1], "seconds": 0.05}
    >>> result = profile(counts, noise=pg.NoiseModel(), **options)
    >>> len(plot_profile(result).axes)
    2
    """
    figure = new_figure(12, 5.6)
    left, right = figure.subplots(1, 2)
    _bars(left, profile)
    _pareto(right, profile)
    figure.suptitle(f"{profile.machine}; {profile.movie}, {profile.dtype}", fontsize=10, color=INK)
    return figure


def pareto(measured: list[Measured]) -> list[Measured]:
    """Measurements that no other beats in both ratio and speed, the fastest first."""
    best: list[Measured] = []
    for m in sorted(measured, key=lambda m: (-m.megabytes_per_second, -m.ratio)):
        if not best or m.ratio > best[-1].ratio:
            best.append(m)
    return best


def _bars(axes: Axes, profile: Profile) -> None:
    from photon_gpu.tools.profiling.measured_combination import STAGES
    from photon_gpu.tools.profiling.profile import WRITE_UNIT

    shown = [m for m in profile.measured if m.cores == profile.cores]
    stages = [s for s in STAGES if any(s in m.stages for m in shown)]
    width = 0.8 / max(len(shown), 1)
    for n, m in enumerate(shown):
        places = [stages.index(s) - 0.4 + (n + 0.5) * width for s in m.stages]
        alpha = {"fast": 0.45, "balanced": 0.7, "small": 1.0}.get(m.preset, 1.0)
        axes.bar(
            places,
            [m.stage_rate(s) for s in m.stages],
            width,
            color=_COLORS.get(m.layout, PALE),
            alpha=alpha,
            label=f"{m.layout}, {m.preset}" + (f", {m.backend}" if m.backend != "numba" else ""),
        )
    for name, rate in profile.ceilings.items():
        first, last = (
            (stages.index("write") - 0.45, stages.index("write") + 0.45)
            if name == "disk write"
            else (-0.5, len(stages) - 1.5)
        )
        axes.hlines(rate, first, last, colors=VERMILION, linestyles="--", linewidth=1)
        axes.annotate(name, (first, rate), fontsize=7, color=VERMILION, va="bottom")
    axes.set_yscale("log")
    axes.set_xticks(range(len(stages)), stages)
    axes.set_ylabel(f"MB/s of a stage alone, {profile.cores} cores\n({WRITE_UNIT})")
    axes.legend(fontsize=7, ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08))


def _pareto(axes: Axes, profile: Profile) -> None:
    for m in profile.measured:
        axes.scatter(
            m.megabytes_per_second,
            m.ratio,
            color=_COLORS.get(m.layout, PALE),
            marker=_MARKERS.get(m.preset, "o"),
            s=20 + 20 * m.cores / profile.cores,
        )
    front = pareto(list(profile.measured))
    axes.plot(
        [m.megabytes_per_second for m in front], [m.ratio for m in front], color=PALE, linewidth=1, zorder=0
    )
    # Write the names in a column at the side with lines to their points, since they would overlap there.
    for row, m in enumerate(reversed(front)):
        axes.annotate(
            f"{m.layout}, {m.preset}, {cores_text(m.cores)}",
            (m.megabytes_per_second, m.ratio),
            fontsize=8,
            xytext=(0.03, 0.95 - 0.055 * row),
            textcoords="axes fraction",
            va="center",
            color=INK,
            arrowprops={"arrowstyle": "-", "color": PALE, "lw": 0.6, "shrinkB": 4},
        )
    for layout in dict.fromkeys(m.layout for m in profile.measured):
        axes.scatter([], [], color=_COLORS.get(layout, PALE), marker="s", label=layout)
    for preset in dict.fromkeys(m.preset for m in profile.measured):
        axes.scatter([], [], color=PALE, marker=_MARKERS.get(preset, "o"), label=preset)
    axes.legend(fontsize=7, ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    if profile.camera is not None:
        axes.axvline(profile.camera.megabytes_per_second, color=VERMILION, linestyle="--", linewidth=1)
        axes.annotate(
            " your camera",
            (profile.camera.megabytes_per_second, 0.02),
            fontsize=8,
            color=VERMILION,
            xycoords=("data", "axes fraction"),
        )
    axes.set_xscale("log")
    axes.margins(y=0.12)
    axes.set_xlabel("MB/s of raw movie, wall time; larger marks: more cores")
    axes.set_ylabel("ratio")
