"""Draw the comparison and the scaling measurements from their results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from photon_gpu.plots import new_figure, save_figure, style_axes

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"
_OFFSETS = (
    *((7, 0), (-7, 0), (0, 8), (0, -8), (6, 7), (-6, 7), (6, -7), (-6, -7)),
    *((7, 14), (-7, 14), (7, -14), (-7, -14)),
)
"""Positions of a label around its point, in points, best first."""

TITLES = {
    "length": "Longer movies",
    "cores": "More cores, one process",
    "chunk_frames": "Frames per chunk",
    "movies": "More movies, one after the other",
    "dask workers": "More Dask workers",
    "frame size": "Larger frames",
}
"""Titles of the axes of benchmarks.scaling."""

LABELS = {
    "length": "frames",
    "cores": "cores",
    "chunk_frames": "frames per chunk",
    "movies": "movies",
    "dask workers": "workers",
    "frame size": "rows and columns of a frame",
}


def draw_comparison(points: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Draw ratio against encoding and decoding speed, every point with its name.

    Each point has ``name``, ``ratio``, ``encode`` and ``decode`` (MB/s), ``ours`` and ``lossless``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = new_figure(13, 5.6, title)
    for axes, action in zip(figure.subplots(1, 2, sharey=True), ("encode", "decode"), strict=True):
        for point in points:
            colour = BLUE if point["ours"] else GREY if point["lossless"] else ORANGE
            axes.scatter(point[action], point["ratio"], color=colour, s=70 if point["ours"] else 40, zorder=3)
        speeds = [point[action] for point in points]
        axes.set_xscale("log")
        axes.set_xlim(min(speeds) / 1.8, max(speeds) * 1.8)
        axes.set_ylim(0, 1.12 * max(point["ratio"] for point in points))
        ticks = [m * 10**n for n in range(6) for m in (1, 2, 5)]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xlim(min(speeds) / 1.8, max(speeds) * 1.8)
        axes.minorticks_off()
        style_axes(axes, f"{action.capitalize()} speed", "raw MB per second (higher is faster)", tick_size=10)
    figure.axes[0].set_ylabel("compression ratio (higher is smaller)")
    figure.legend(
        handles=_handles(("photon_gpu", BLUE), ("others, same error", ORANGE), ("others, lossless", GREY)),
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    FigureCanvasAgg(figure).draw()  # labels are placed by their size in pixels
    for axes, action in zip(figure.axes, ("encode", "decode"), strict=True):
        _label(axes, [(point[action], point["ratio"], point["name"], point["ours"]) for point in points])
    figure.set_layout_engine("none")
    save_figure(figure, path, dpi=110)


def _handles(*entries: tuple[str, str]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], color=colour, marker="o", lw=0, label=name) for name, colour in entries]


def _label(axes: Any, points: Sequence[tuple[float, float, str, bool]]) -> None:
    """Name each point where its label covers no other point or label."""
    places = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    inside, taken = axes.bbox, []
    for x, y, name, ours in sorted(points, key=lambda point: not point[3]):
        own = axes.transData.transform((x, y))
        for dx, dy in _OFFSETS:
            text = axes.annotate(
                name,
                (x, y),
                xytext=(dx, dy),
                textcoords="offset points",
                fontsize=10 if ours else 9,
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                va="bottom" if dy > 0 else "top" if dy < 0 else "center",
                weight="bold" if ours else "normal",
            )
            box = text.get_window_extent()
            free = (
                inside.x0 <= box.x0
                and box.x1 <= inside.x1
                and inside.y0 <= box.y0
                and box.y1 <= inside.y1
                and not any(box.overlaps(other) for other in taken)
                and not any(
                    box.padded(4).contains(*candidate)
                    for candidate in places
                    if tuple(candidate) != tuple(own)
                )
            )
            if free or (dx, dy) == _OFFSETS[-1]:
                taken.append(box)
                break
            text.remove()


def draw_scaling(points_of: dict[str, list[dict[str, float]]], title: str, path: Path) -> None:
    """Draw seconds and peak memory against each axis; a dotted line shows linear growth."""
    across = min(3, len(points_of))
    down = -(-len(points_of) // across)
    figure = new_figure(4.6 * across, 3.6 * down, title)
    panels = figure.subplots(down, across, squeeze=False).flat
    for axes, (name, points) in zip(panels, points_of.items(), strict=False):
        _scaling_panel(axes, name, points)
    for axes in list(panels)[len(points_of) :]:
        axes.set_visible(False)
    figure.legend(handles=_lines(), loc="outside lower center", ncols=3, frameon=False)
    save_figure(figure, path, dpi=110)


def _lines() -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=BLUE, marker="o", label="seconds"),
        Line2D([], [], color=GREY, linestyle=":", label="perfectly linear"),
        Line2D([], [], color=ORANGE, marker="s", linestyle="--", label="peak memory"),
    ]


def _scaling_panel(axes: Any, name: str, points: list[dict[str, float]]) -> None:
    x, y = [row["value"] for row in points], [row["seconds"] for row in points]
    axes.set_title(TITLES.get(name, name), loc="left", fontsize=11)
    axes.plot(x, y, "o-", color=BLUE, markersize=5)
    if name in ("length", "movies"):
        axes.plot(x, [y[-1] * v / x[-1] for v in x], ":", color=GREY)
    if name == "frame size":
        axes.plot(x, [y[-1] * (v / x[-1]) ** 2 for v in x], ":", color=GREY)
    if name in ("cores", "dask workers"):
        axes.plot(x, [y[0] * x[0] / v for v in x], ":", color=GREY)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(x, [f"{v:g}" for v in x])
    axes.minorticks_off()
    low, high = min(y) / 2, max(y) * 2  # a curve that hardly changes should look flat
    axes.set_ylim(low, high)
    ticks = [m * 10.0**n for n in range(-3, 4) for m in (1, 2, 5) if low <= m * 10.0**n <= high]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xlabel(LABELS.get(name, name))
    axes.set_ylabel("seconds", color=BLUE)
    memory, peaks = axes.twinx(), [row["peak_bytes"] / 1e6 for row in points]
    memory.plot(x, peaks, "s--", color=ORANGE, markersize=4, linewidth=1)
    memory.set_ylim(0, 1.15 * max(peaks))
    memory.set_ylabel("peak memory (MB)", color=ORANGE)
