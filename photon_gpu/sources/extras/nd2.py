"""Source of a movie in a Nikon ND2 file, by the package nd2."""

from __future__ import annotations

import math
import threading
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import check_movie
from photon_gpu.sources.extras.libraries import load

_LETTERS = {"T": "t", "P": "p", "Z": "z", "C": "c", "Y": "y", "X": "x"}


class Nd2Source(Source):
    """A movie in an ND2 file, read frame by frame.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    InvalidInputError
        The file has axes that no movie has, such as the colors of a photograph, or ``nd2`` is not installed.
    UnsupportedTypeError
        The dtype is not that of a movie.
    CorruptDataError
        The file is truncated or not ND2.

    Notes
    -----
    The stored order of loops is kept in :attr:`stored_axes`; :func:`photon_gpu.open_source` puts time first.
    """

    def __init__(self, path: Any) -> None:
        self.name = str(path)
        nd2 = load("nd2", "nd2", self.name)
        self._lock = threading.Lock()
        self._file: Any = None
        try:
            self._file = nd2.ND2File(path)
            self._describe()
        except BaseException as error:
            self.close()
            if isinstance(error, PhotonError | MemoryError) or not isinstance(error, Exception):
                raise
            # nd2 passes on every exception of its parsers.
            raise CorruptDataError(f"{self.name}: it is truncated or not ND2: {error}") from error

    def _describe(self) -> None:
        sizes = dict(self._file.sizes)
        if unknown := [axis for axis in sizes if axis not in _LETTERS]:
            raise InvalidInputError(
                f"{self.name}: of its axes {', '.join(sizes)}, a movie cannot have {', '.join(unknown)}. "
                "Open it by nd2.ND2File(path), and pass the array"
            )
        loops = [axis for axis in sizes if axis not in "CYX"]
        self._loops = tuple(sizes[axis] for axis in loops) or (1,)
        self._loop_order = tuple(range(len(self._loops)))
        self._in_frame = tuple(sizes[axis] for axis in sizes if axis in "CYX")
        self.shape = (*self._loops, *self._in_frame)
        self.dtype = check_movie(self.shape, self._file.dtype, self.name)
        axes = "".join(_LETTERS[axis] for axis in (*loops, *(axis for axis in sizes if axis in "CYX")))
        self.stored_axes = axes if loops else f"t{axes}"
        try:
            self.recording = self._recording()
        except (
            Exception
        ) as error:  # nd2 reads metadata of many versions, and raises any error where it cannot
            self.recording = Recording(not_kept=(f"metadata that nd2 cannot read: {error}",))

    def _recording(self) -> Recording:
        voxel = self._file.voxel_size()
        sizes = {axis: (float(getattr(voxel, axis)), "um") for axis in "zyx" if getattr(voxel, axis, 0) > 0}
        channels = getattr(self._file.metadata, "channels", None) or ()
        names = tuple(str(channel.channel.name) for channel in channels)
        periods = [getattr(loop.parameters, "periodMs", 0) for loop in self._file.experiment]
        texts = {"text_info": self._file.text_info, "metadata": self._file.metadata}
        documents = tuple(
            Document(name=f"{name}.txt", media_type="text/plain", data=str(value).encode())
            for name, value in texts.items()
            if value
        )
        return Recording(
            channel_names=names if len(names) == dict(self._file.sizes).get("C", 1) else (),
            pixel_size={axis: size for axis, size in sizes.items() if axis in (self.stored_axes or "")},
            frame_rate=1000.0 / periods[0] if len(periods) == 1 and periods[0] > 0 else None,
            documents=documents,
        )

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop``."""
        self._check_frames(start, stop)
        loops = self.shape[: len(self._loops)]
        first, last = (step * math.prod(loops[1:]) for step in (start, stop))
        frames = np.empty((last - first, *self._in_frame), self.dtype)
        with self._lock:
            if self._file is None:
                raise InvalidInputError(f"{self.name}: the source is closed; open it again")
            for number in range(first, last):
                steps = np.unravel_index(number, loops)
                stored = [steps[self._loop_order.index(loop)] for loop in range(len(loops))]
                index = int(np.ravel_multi_index(stored, self._loops))
                try:
                    values = np.asarray(self._file.read_frame(index))
                except (OSError, ValueError, KeyError, IndexError) as error:
                    raise CorruptDataError(f"{self.name}: frame {index} cannot be read: {error}") from error
                frames[number - first] = values.reshape(self._in_frame)
        return frames.reshape(stop - start, *self.shape[1:])

    def arranged(self, order: tuple[int, ...]) -> Source:
        """See the base class. Any order is possible, because each frame is stored separately."""
        loops = len(self._loops)
        if order[loops:] != tuple(range(loops, len(order))):
            return super().arranged(order)
        other = copy(self)
        other._loop_order = order[:loops]
        other.shape = tuple(self.shape[number] for number in order)
        return other

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
