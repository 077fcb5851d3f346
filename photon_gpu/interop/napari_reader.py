"""Reader for napari: each channel of a stored movie becomes a layer; frames are read when they are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from photon_gpu.errors import PhotonError
from photon_gpu.reader.movie import Movie
from photon_gpu.reader.open import open as open_movie
from photon_gpu.recording import axis_names

_LENGTHS = frozenset(["\u00b5m", "nm", "mm", "m"])
_DARKEST, _BRIGHTEST = 1.0, 99.8  # percentiles that become black and white
_COLORS = ("green", "magenta", "cyan", "yellow", "red", "blue")

Layer = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[str], list[Layer]] | None:
    """Return :func:`read_movie` if the path holds a movie, None otherwise."""
    if not isinstance(path, str):
        return None
    try:
        open_movie(path)
    except (PhotonError, OSError):
        return None
    return read_movie


def read_movie(path: str) -> list[Layer]:
    """Return the layers of a movie: lazy counts, names, scale, units and contrast limits.

    One frame is read, for the contrast limits.
    """
    return layers_of(open_movie(path))


def layers_of(movie: Movie) -> list[Layer]:
    """Return the layers of an opened movie, as :func:`read_movie` describes them."""
    axes = axis_names(movie.axes, movie.ndim)
    if "c" not in axes:
        return [_layer(movie, movie.counts, axes, {"name": _name_of(movie)})]
    axis = axes.index("c")
    channels, rest = movie.shape[axis], axes[:axis] + axes[axis + 1 :]
    names = (
        movie.channel_names
        if len(movie.channel_names) == channels
        else [f"channel {n}" for n in range(channels)]
    )
    layers = []
    for number, name in enumerate(names):
        # A movie with a model per channel can read one channel; otherwise Dask reads what napari shows.
        data: Any = (
            movie.channel(number).counts if movie.encoding.channels else _one_channel(movie, axis, number)
        )
        color = _COLORS[number % len(_COLORS)] if channels > 1 else "gray"
        layers.append(_layer(movie, data, rest, {"name": name, "colormap": color, "blending": "additive"}))
    return layers


def _one_channel(movie: Movie, axis: int, number: int) -> Any:
    return movie.counts.to_dask()[(*(slice(None),) * axis, number)]


def _name_of(movie: Movie) -> str:
    return movie.url.rstrip("/").rpartition("/")[2].removesuffix(".zarr").removesuffix(".ome")


def _layer(movie: Movie, data: Any, axes: tuple[str, ...], look: dict[str, Any]) -> Layer:
    sizes = {axis: size for axis, size in movie.pixel_size.items() if size[1] in _LENGTHS}
    if movie.frame_rate is not None:
        sizes[axes[0]] = (1.0 / movie.frame_rate, "s" if axes[0] == "t" else "pixel")
    scale = [sizes.get(axis, (1.0, "pixel")) for axis in axes]
    frame = np.asarray(data[len(data) // 2])
    low, high = (float(limit) for limit in np.nanpercentile(frame, (_DARKEST, _BRIGHTEST)))
    facts = {
        "scale": [size for size, _ in scale],
        "units": [unit for _, unit in scale],
        "axis_labels": list(axes),
        "contrast_limits": [low, max(high, low + 1.0)],
        "metadata": {"movie": movie},
    }
    return data, {**facts, **look}, "image"
