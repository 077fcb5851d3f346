"""Draw figures of movies, bias and noise from plain arrays.

Every function returns a new :class:`matplotlib.figure.Figure`, opens no window, and does not use pyplot:
``plot_demo(...).savefig("demo.png")``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.store.durable import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, which all forms of colour vision distinguish.
BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
INK, PALE = "#333333", "#999999"


def save_figure(figure: Figure, path: str | os.PathLike[str], **options: Any) -> None:
    """Write a figure to a file, in the format of its suffix; after an error the earlier file is unchanged.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path
        Without a suffix, ``.png`` is appended.
    **options
        Options of ``figure.savefig``.
    """
    target = Path(path)
    if not target.suffix:
        target = target.with_suffix(".png")
    with replacing(target) as file:
        figure.savefig(file, format=target.suffix[1:].lower(), **options)


def new_figure(width: float, height: float, title: str = "", **options: Any) -> Figure:
    """Make an empty figure without a window, in inches, with automatic layout.

    >>> new_figure(4, 3, "Noise").get_suptitle()
    'Noise'
    """
    from matplotlib.figure import Figure

    options = {"layout": "constrained", "facecolor": "white", **options}
    figure = Figure(figsize=(width, height), **options)
    if title:
        figure.suptitle(title, fontsize=15, color=INK, weight="bold")
    return figure


def style_axes(ax: Axes, title: str = "", x: str = "", y: str = "", *, tick_size: float = 9) -> None:
    """Give axes the common style: title, labels, no box, and a faint grid behind the data."""
    if title:
        ax.set_title(title, color=INK, loc="left")
    if x:
        ax.set_xlabel(x, color=INK)
    if y:
        ax.set_ylabel(y, color=INK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(PALE)
    ax.tick_params(colors=INK, labelsize=tick_size)
    ax.grid(color="black", alpha=0.06, lw=0.8)
    ax.set_axisbelow(True)


def show_image(
    ax: Axes, image: NDArray, limits: tuple[float, float], title: str, unit: str, cmap: str = "gray"
) -> None:
    """Draw an image without interpolation, with its title and a colour bar."""
    drawn = ax.imshow(image, cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    ax.set_title(title, color=INK, loc="left")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.025, 0, 0.035, 1)))
    bar.set_label(unit, color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=9, colors=INK)


def add_legend(ax: Axes, location: Any, columns: int = 1, *, size: float = 8) -> None:
    """Add a legend without a frame, through which the data are visible."""
    ax.legend(loc=location, fontsize=size, ncols=columns, framealpha=0.85, edgecolor="none")


def plot_demo(
    *,
    raw: ArrayLike,
    stabilized: ArrayLike,
    decoded: ArrayLike,
    noise: NoiseModel,
    step: float,
    ratio: float | None = None,
    frame: int | None = None,
    title: str = "",
) -> Figure:
    """Draw a movie before and after: frames, their difference, and the mean-variance lines.

    Parameters
    ----------
    raw, decoded : array_like
        ``(T, H, W)``, ADU; ``T`` of 2 or more (a few hundred frames give a clean line).
    stabilized : array_like
        ``(T, H, W)``, sigma.
    noise : NoiseModel
        Noise model of the lines.
    step : float
        Quantization step, sigma. The colours of the residual range from -step/2 to step/2.
    ratio : float, optional
        Raw bytes per stored byte, for the title of the decoded frame.
    frame : int, optional
        Frame to show. Default: the middle one.
    title : str
        Above the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidInputError
        If the arrays are not three movies of one shape.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    raw, stabilized, decoded = _movies(raw=raw, stabilized=stabilized, decoded=decoded)
    shown = raw.shape[0] // 2 if frame is None else frame
    figure = new_figure(14, 9, title, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    top, bottom = figure.subplots(2, 3)

    photons = float(noise.photons(float(raw.mean())))
    adu = tuple(np.percentile(raw[shown], (0.5, 99.7)))
    sigma = tuple(np.percentile(stabilized[shown], (0.5, 99.7)))
    lost = (decoded[shown].astype(np.float64) - raw[shown]) / _sigma(raw[shown], noise)
    worst = float(np.abs(lost).max())
    show_image(top[0], raw[shown], adu, f"Raw: {photons:.2g} photons per pixel", "ADU")
    show_image(top[1], stabilized[shown], sigma, "Stabilized: the unit is one sigma of noise", "sigma")
    smaller = f"Decoded: from {ratio:.1f}x fewer bytes" if ratio else "Decoded"
    show_image(top[2], decoded[shown], adu, smaller, "ADU")
    show_image(
        bottom[0],
        lost,
        (-step / 2, step / 2),
        f"Lost: at most {worst:.2f} sigma in this frame",
        "decoded - raw (sigma)",
        cmap="PuOr_r",
    )
    _scale_bar(top[0], raw.shape[2])

    _, variances = _cloud(bottom[1], *_temporal(raw))
    growth = max(variances) / max(min(variances), 1e-300)
    style_axes(bottom[1], f"Raw: the variance grows {growth:.2g}-fold with the light", tick_size=10)
    reach = np.array(bottom[1].get_xlim())
    line = np.maximum(noise.gain * (reach - noise.offset), 0) + noise.variance
    label = f"model: {noise.gain:.3g} (mean - {noise.offset:.3g}) + {noise.variance:.3g}"
    bottom[1].plot(reach, line, color=VERMILION, lw=2.2, label=label)
    thousands = max(0, math.floor(math.log10(max(bottom[1].get_ylim()[1], 1)) / 3))
    unit = ("ADU²", "10³ ADU²", "10⁶ ADU²", "10⁹ ADU²")[min(thousands, 3)]
    bottom[1].yaxis.set_major_formatter(lambda value, _: f"{value / 1000 ** min(thousands, 3):g}")
    bottom[1].set(xlabel="mean of a pixel (ADU)", ylabel=f"variance of a pixel ({unit})", xlim=reach)
    add_legend(bottom[1], "lower right", size=9.5)

    _, variances = _cloud(bottom[2], *_temporal(stabilized))
    style_axes(
        bottom[2],
        f"Stabilized: variance {min(variances):.2f} to {max(variances):.2f} at every light",
        tick_size=10,
    )
    bottom[2].axhline(1, color=VERMILION, lw=2.2, label="model: 1")
    cost = 1 + step**2 / 12
    bottom[2].axhline(cost, color=INK, lw=1.4, ls=(0, (4, 3)), label=f"with the cost of the step: {cost:.3f}")
    bottom[2].set(xlabel="mean of a pixel (sigma)", ylabel="variance of a pixel (sigma²)")
    bottom[2].set_ylim(0, max(2.0, bottom[2].get_ylim()[1]))
    add_legend(bottom[2], "upper right", size=9.5)
    return figure


def plot_bias(
    *,
    photons: ArrayLike,
    float_bias: Mapping[float, ArrayLike],
    integer_bias: Mapping[float, ArrayLike],
    step: float = 0.5,
    float_bar: float = 2.0,
    integer_bar: float = 3.0,
    title: str = "",
) -> Figure:
    """Draw the bias of the decoded mean as heat maps: one row per gain, one column per light level.

    A black dot marks each cell above the limit.

    Parameters
    ----------
    photons : array_like
        ``(N,)``, mean photons per pixel, positive and increasing.
    float_bias, integer_bias : mapping
        Gain (ADU/photon) to ``(N,)`` biases, per cent of a sigma, of float and of integer output.
    step : float
        Quantization step, sigma.
    float_bar, integer_bar : float
        Limits, per cent of a sigma.
    title : str
        Above the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidInputError
        If a row and ``photons`` differ in length.
    """
    light = np.asarray(photons, np.float64)
    panels = (("Float output", float_bias, float_bar), ("Integer output", integer_bias, integer_bar))
    rows = {name: _bias_rows(biases, light) for name, biases, _ in panels}
    reach = max(float_bar, integer_bar, *(float(np.abs(biases).max()) for biases in rows.values()))
    figure = new_figure(12, 5.4, title or f"Bias of the decoded mean at step {step:g}")
    axes = figure.subplots(1, 2)
    for ax, (name, biases, bar) in zip(axes, panels, strict=True):
        gains, drawn = sorted(biases), rows[name]
        mesh = ax.pcolormesh(
            light, np.arange(len(gains)), drawn, cmap="PuOr_r", vmin=-reach, vmax=reach, shading="nearest"
        )
        above = np.argwhere(np.abs(drawn) > bar)
        ax.scatter(light[above[:, 1]], above[:, 0], color="black", s=14, zorder=3)
        row, column = np.unravel_index(int(np.abs(drawn).argmax()), drawn.shape)
        worst = f"{abs(drawn[row, column]):.2g} % (gain {gains[row]:g}, {light[column]:.2g} photons)"
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_yticks(np.arange(len(gains)), [f"{gain:g}" for gain in gains])
        ax.set_xlabel("mean light (photons per pixel)")
        ax.set_title(f"{name}: limit {bar:g} %, worst {worst}", fontsize=11, color=INK, loc="left")
        ax.tick_params(colors=INK, labelsize=9)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("gain (ADU per photon)")
    colours = figure.colorbar(mesh, ax=axes, shrink=0.9, pad=0.02)
    colours.set_label("bias (% of a sigma); black dot: above the limit", color=INK)
    colours.outline.set_visible(False)
    return figure


def _bias_rows(biases: Mapping[float, ArrayLike], light: NDArray) -> NDArray:
    """Biases as ``(gains, light levels)``, with increasing gains."""
    rows = []
    for gain in sorted(biases):
        row = np.asarray(biases[gain], np.float64)
        if row.shape != light.shape:
            raise InvalidInputError(
                f"plot_bias: the biases at gain {gain:g} have shape {row.shape}; the light levels "
                f"have {light.shape}"
            )
        rows.append(row)
    return np.stack(rows)


def _movies(**arrays: ArrayLike) -> list[NDArray]:
    movies = [np.asarray(array) for array in arrays.values()]
    shapes = {name: movie.shape for name, movie in zip(arrays, movies, strict=True)}
    if len(set(shapes.values())) != 1 or movies[0].ndim != 3 or movies[0].shape[0] < 2:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InvalidInputError(f"plot: {listed} arrived; one shape (T, H, W) with T of 2 or more is needed")
    return movies


def _sigma(raw: NDArray, noise: NoiseModel) -> NDArray:
    """ADU per sigma of the stabilized scale at each raw value."""
    return np.sqrt(
        noise.gain * np.maximum(raw.astype(np.float64) - noise.offset, 0)
        + 0.375 * noise.gain**2
        + noise.variance
    )


def _temporal(movie: NDArray) -> tuple[NDArray, NDArray]:
    """Mean and noise variance of each pixel, from successive differences, which exclude slow changes."""
    light, change = np.zeros(movie.shape[1:]), np.zeros(movie.shape[1:])
    before = movie[0].astype(np.float64)
    for frame in movie:
        now = frame.astype(np.float64)
        light += now
        change += (now - before) ** 2
        before = now
    return (light / len(movie)).ravel(), (0.5 * change / (len(movie) - 1)).ravel()


def _scale_bar(ax: Axes, width: int) -> None:
    """Draw a scale bar of a round number of pixels, about a fifth of the width."""
    from matplotlib.patheffects import withStroke

    target = max(width / 5, 1)
    unit = 10 ** math.floor(math.log10(target))
    length = max(n * unit for n in (1, 2, 5) if n * unit <= target)
    left, down = 0.05 * width, ax.get_xaxis_transform()  # x in pixels, y in fractions of the image height.
    edge = [withStroke(linewidth=6, foreground="black")]
    ax.plot(
        [left, left + length],
        [0.05, 0.05],
        transform=down,
        color="white",
        lw=4,
        solid_capstyle="butt",
        path_effects=edge,
    )
    ax.text(
        left + length / 2,
        0.075,
        f"{length:g} pixels",
        transform=down,
        color="white",
        weight="bold",
        ha="center",
        va="bottom",
        path_effects=[withStroke(linewidth=3, foreground="black")],
    )


def _cloud(ax: Axes, mean: NDArray, variance: NDArray) -> tuple[NDArray, NDArray]:
    """Draw the density of all pixels and the means of 25 groups of equal light; return the means."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    reach, height = np.percentile(mean, (0.05, 99.8)), 1.08 * float(np.percentile(variance, 99.7))
    if not reach[1] > reach[0]:
        reach = reach + np.array((-0.5, 0.5))
    height = height if height > 0 else 1.0
    counts, x, y = np.histogram2d(mean, variance, bins=(90, 90), range=(reach, (0, height)))
    shades = LinearSegmentedColormap.from_list("pale to blue", ["#DCEAF5", BLUE])
    density = np.ma.masked_equal(counts.T, 0)
    ax.pcolormesh(x, y, density, cmap=shades, norm=LogNorm(1, max(counts.max(), 2)), rasterized=True)
    groups = [group for group in np.array_split(np.argsort(mean, kind="stable"), 25) if group.size]
    means = np.array([mean[group].mean() for group in groups])
    variances = np.array([variance[group].mean() for group in groups])
    ax.plot(
        means,
        variances,
        "o",
        color=INK,
        ms=4.5,
        mfc="white",
        mew=1.3,
        label="average of 4 % of the pixels",
        zorder=3,
    )
    ax.set_xlim(*reach)
    ax.set_ylim(0, height)
    ax.set_box_aspect(1)
    return means, variances
