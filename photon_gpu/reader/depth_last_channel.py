"""One channel of a stored movie with its axes in the order of NWB and roiextractors: depth last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.reader.movie import Movie

ALL = slice(None)


def series_axes(axes: str | None, shape: tuple[int, ...]) -> str:
    """Axes of a movie that is a series of images or volumes; InvalidInputError for other axes.

    Examples
    --------
    >>> series_axes("tczyx", (9, 2, 3, 4, 5)), series_axes(None, (9, 4, 5))
    ('tczyx', 'tyx')
    """
    names = axes or ("tyx" if len(shape) == 3 else "?")
    if names[0] != "t" or not names.endswith("yx") or set(names) - set("tczyx") or len(names) != len(shape):
        raise InvalidInputError(
            f"each channel of a movie becomes a series with axes t, y, x or t, y, x, z; this movie has axes "
            f"{axes or shape}: decode it to .h5 instead"
        )
    return names


class ImageSeries:
    """Counts of one channel, ``(t, y, x)`` or, with depth, ``(t, y, x, z)``; read on request.

    Parameters
    ----------
    movie : Movie
    channel : int, optional
        Needed where the movie has several channels.

    Raises
    ------
    InvalidInputError
        The movie has other axes, or no such channel.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> volumes = np.ones((9, 3, 4, 5), "uint16")
    >>> _ = pg.encode(volumes, "memory://series.zarr", noise=pg.NoiseModel(), axes="tzyx", overwrite=True)
    >>> series = ImageSeries(pg.open("memory://series.zarr"))
    >>> series.shape, series.read(slice(2, 4)).shape
    ((9, 4, 5, 3), (2, 4, 5, 3))
    """

    def __init__(self, movie: Movie, channel: int | None = None) -> None:
        self.recording = movie.recording
        axes = series_axes(self.recording.axes, movie.shape)
        sizes = dict(zip(axes, movie.shape, strict=True))
        channels = sizes.get("c", 1)
        if channel is None and channels > 1:
            raise InvalidInputError(
                f"{movie.url} has {channels} channels; name one: channel=0 to {channels - 1}"
            )
        if channel is not None and not 0 <= channel < channels:
            raise InvalidInputError(f"channel is {channel}; {movie.url} has 0 to {channels - 1}")
        self.channel, self.channels = channel or 0, channels
        if movie.encoding.channels:
            movie, axes = movie.channel(self.channel), axes.replace("c", "")
        self._movie, self._axes = movie, axes
        self.url, self.dtype, self.frames_per_chunk = movie.url, movie.counts.dtype, movie.chunks[0]
        self.shape = tuple(sizes[axis] for axis in "tyxz" if axis in sizes)

    @property
    def volumetric(self) -> bool:
        """Whether there is an axis of depth."""
        return len(self.shape) == 4

    def read(self, frames: Any, rows: slice = ALL, columns: slice = ALL, planes: slice = ALL) -> NDArray[Any]:
        """Counts of some frames, which are a slice or an array of numbers."""
        keys = {"t": frames, "c": self.channel, "z": planes, "y": rows, "x": columns}
        values = self._movie.read(tuple(keys[axis] for axis in self._axes), self.dtype)
        return np.moveaxis(values, 1, -1) if self.volumetric else values
