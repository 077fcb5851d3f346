"""Source of a movie in a file of raw frames, one after another."""

from __future__ import annotations

import math
import operator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.check import check_movie
from photon_gpu.sources.truncated_file import ERROR, check_truncated, keep_whole_frames


class RawSource(ArraySource):
    """A movie in a file of raw frames.

    Parameters
    ----------
    path : path-like
    frame_shape : tuple of int
        ``(..., H, W)`` of a frame.
    dtype : dtype-like
        Stored dtype, such as ``">i2"`` for big-endian int16.
    offset : int
        Bytes before the first frame.
    truncated : {"error", "keep"}
        What to do if the file does not end with a frame.
    remedy : str
        What else the user can do about such a file: the options that say where frames begin and end.

    Raises
    ------
    CorruptDataError
        The file does not end with a frame.
    InvalidInputError, UnsupportedTypeError
        See :func:`photon_gpu.sources.check.check_movie`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "movie.raw"
    >>> np.arange(24, dtype="uint16").tofile(path)
    >>> RawSource(path, (3, 4), "uint16").read(1, 2)[0, 0].tolist()
    [12, 13, 14, 15]
    """

    def __init__(
        self,
        path: Any,
        frame_shape: tuple[int, ...],
        dtype: DTypeLike,
        offset: int = 0,
        *,
        truncated: str = ERROR,
        remedy: str = "",
    ) -> None:
        name = str(path)
        check_truncated(truncated)
        try:
            stored = np.dtype(dtype)
        except (TypeError, ValueError) as error:
            raise UnsupportedTypeError(
                f"{name}: dtype is {dtype!r}; one such as 'uint16' or '>i2' is needed"
            ) from error
        native = check_movie((1, *frame_shape), stored, name)
        if offset < 0:
            raise InvalidInputError(f"{name}: offset_bytes is {offset}; 0 or more are needed")
        size, frame = Path(path).stat().st_size - offset, math.prod(frame_shape) * native.itemsize
        frames, rest = divmod(max(size, 0), frame)
        if rest or not frames:
            problem = f"{rest:,} of the {frame:,} bytes of a frame {frame_shape} {stored} follow"
            self.truncation = keep_whole_frames(name, problem, frames, None, truncated, other=remedy)
        array = np.memmap(path, stored, "r", offset, (frames, *frame_shape))
        super().__init__(array, name=name, path=path)


def frame_shape(shape: Any, name: str) -> tuple[int, ...]:
    """Parse the shape of a frame from numbers or from text.

    Examples
    --------
    >>> frame_shape("2,512,512", "x.raw"), frame_shape((512, 512), "x.raw")
    ((2, 512, 512), (512, 512))
    """
    try:
        parts = shape.replace("x", ",").split(",") if isinstance(shape, str) else list(shape)
        sizes = tuple(int(part) if isinstance(part, str) else operator.index(part) for part in parts)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) < 2 or min(sizes) < 1:
        raise InvalidInputError(f"{name}: shape is {shape!r}; (HEIGHT, WIDTH) of a frame is needed")
    return sizes


def note_on_volumes(frames: int, planes: int) -> str | None:
    """Remark on a last volume that is not whole.

    >>> note_on_volumes(8, 4)
    """
    if not (left := frames % planes):
        return None
    return (
        f"its volumes have {planes} planes, and {left} frames are left over, so planes are frames in turn; "
        f"planes={planes} with frames=0:{frames // planes} takes the whole volumes"
    )
