"""Read the sample of a movie that the steps are tried on: runs of frames of one window, in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source

LEAST_FRAMES, LEAST_SIDE = 8, 8
_FRAMES = 500  # a window is cut out of the frames until the sample has so many
_RUNS = 4
_PIECE_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class WindowSample:
    """Frames of one window of a movie.

    Attributes
    ----------
    movie : ndarray of shape (T, H, W)
        ADU, in the dtype of the source.
    runs : tuple of slice
        Frames of ``movie`` that follow each other in the source.
    frames_in_all : int
    window : tuple of slice
        Rows and columns of the source.
    """

    movie: NDArray
    runs: tuple[slice, ...]
    frames_in_all: int
    window: tuple[slice, slice]

    def __str__(self) -> str:
        frames, rows, columns = self.movie.shape
        runs = f" in {len(self.runs)} runs" if len(self.runs) > 1 else ""
        return f"{frames:,} of {self.frames_in_all:,} frames{runs}, {rows} x {columns} pixels"


def read_sample(source: Source, pixels: int) -> WindowSample:
    """Read about ``pixels`` values: the middle of the frames, in runs that are spread over the movie.

    Raises
    ------
    InvalidInputError
        The source has several channels or planes, too few or too small frames, or lies on a GPU.
    """
    _check(source)
    total, height, width = source.shape
    share = min(1.0, pixels / (min(total, _FRAMES) * height * width))
    rows, columns = (min(n, max(LEAST_SIDE, round(n * math.sqrt(share)))) for n in (height, width))
    count = total if total <= _FRAMES else min(total, max(LEAST_FRAMES, pixels // (rows * columns)))
    top, left = (height - rows) // 2, (width - columns) // 2
    window = (slice(top, top + rows), slice(left, left + columns))
    number = _RUNS if count < total and count >= _RUNS * LEAST_FRAMES else 1
    length = count // number
    movie = np.empty((number * length, rows, columns), source.dtype)
    piece = max(1, _PIECE_BYTES // source.frame_nbytes)
    for run in range(number):
        start = (total - length) * run // (number - 1) if number > 1 else (total - length) // 2
        for done in range(0, length, piece):
            stop = min(done + piece, length)
            here = slice(run * length + done, run * length + stop)
            movie[here] = source.read(start + done, start + stop)[:, window[0], window[1]]
    if movie.dtype.kind == "f" and not np.isfinite(movie).all():
        raise InvalidInputError(f"{source.name[-60:]}: choose: values are not finite; fill them first")
    runs = tuple(slice(run * length, (run + 1) * length) for run in range(number))
    return WindowSample(movie=movie, runs=runs, frames_in_all=total, window=window)


def _check(source: Source) -> None:
    name = source.name[-60:]
    if source.device is not None:
        raise InvalidInputError(
            f"{name}: choose needs frames in host memory, and these are on a GPU: pass frames.get()"
        )
    if len(source.shape) != 3:
        axes = source.recording.axes
        named = f"its axes are {axes}" if axes else "its axes are not named"
        raise InvalidInputError(
            f"{name}: choose looks at one channel and one plane, (T, H, W); this movie has shape "
            f"{source.shape}, {named}. Give channel= and plane=" + ("" if axes else ", with axes=")
        )
    frames, rows, columns = source.shape
    if frames < LEAST_FRAMES or min(rows, columns) < LEAST_SIDE:
        raise InvalidInputError(
            f"{name}: choose needs at least {LEAST_FRAMES} frames of {LEAST_SIDE} x {LEAST_SIDE} pixels; "
            f"this movie has {frames} of {rows} x {columns}. Take a longer one, or the default step of 0.5"
        )
