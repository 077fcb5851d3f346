"""Feeds of a recording: a raw stream, a growing file, a complete file or a simulated camera."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu import file_types
from photon_gpu.engine.model.code_table import supported_dtype
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import NOTHING, Recording
from photon_gpu.redact_credentials import without_credentials
from photon_gpu.sources.base import Source
from photon_gpu.sources.check import SingleImageError
from photon_gpu.sources.missing_frames import lost_note
from photon_gpu.sources.open import open_source
from photon_gpu.sources.select.open_options import OpenOptions
from photon_gpu.sources.truncated_file import with_truncation
from photon_gpu.store import source_metadata

_BATCH_BYTES = 4 << 20
_FILE_BATCH_BYTES = 32 << 20
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Batch:
    """Frames ``(n, ...)`` that arrived together, with a timestamp and metadata for each, or None."""

    frames: NDArray[Any]
    timestamps: Sequence[float | None] | None = None
    metadata: list[dict[str, Any]] | None = None


class Feed(ABC):
    """An iterator over batches as they arrive; a batch is valid until the next one.

    Attributes
    ----------
    name : str
    frame_shape : tuple of int
    dtype : numpy.dtype
    unread : list of str
        Data that arrived and is not in the movie, and why.
    attributes : dict
        Facts about the source, for ``.zattrs``.
    axes : str or None
        Axes of the movie, time first; see :class:`photon_gpu.recording.Recording`.
    recording : Recording
        Metadata of the source. A feed of several files extends it until the feed ends.
    """

    name: str
    frame_shape: tuple[int, ...]
    dtype: np.dtype
    unread: list[str]
    attributes: Mapping[str, Any] = MappingProxyType({})
    axes: str | None = None
    recording: Recording = NOTHING

    @abstractmethod
    def __iter__(self) -> Iterator[Batch]:
        """Yield batches until the feed ends."""


class RawFeed(Feed):
    """Raw frames without gaps from a pipe, a socket or a file.

    Parameters
    ----------
    stream : binary file
        An unbuffered stream, so that a frame is read when it arrives: ``sys.stdin.buffer.raw``, or
        ``socket.makefile("rb", buffering=0)``.
    frame_shape : tuple of int
    dtype : dtype
        Dtype of the frames, such as ``">i2"`` for big-endian int16.
    name : str
    axes : str, optional
        Axes of the movie: ``"tcyx"`` of frames ``(c, y, x)``.

    Examples
    --------
    >>> import io
    >>> feed = RawFeed(io.BytesIO(bytes(range(12))), (2, 2), "uint8")
    >>> [batch.frames.shape for batch in feed]
    [(3, 2, 2)]
    """

    def __init__(
        self,
        stream: BinaryIO,
        frame_shape: tuple[int, ...],
        dtype: DTypeLike,
        name: str = "stream",
        axes: str | None = None,
    ) -> None:
        self.name, self.frame_shape = without_credentials(name), tuple(frame_shape)
        self.dtype = np.dtype(dtype)
        self.axes = axes
        supported_dtype(self.dtype.newbyteorder("="))
        self.unread = []
        self._stream = stream
        self._nbytes = math.prod(self.frame_shape) * self.dtype.itemsize
        if self._nbytes < 1:
            raise InvalidInputError(
                f"frames of shape {self.frame_shape} hold no values; each axis needs at least 1"
            )

    def __iter__(self) -> Iterator[Batch]:
        buffer = np.empty(max(self._nbytes, _BATCH_BYTES // self._nbytes * self._nbytes), np.uint8)
        view, filled, frames = buffer.data, 0, 0
        while (got := self._stream.readinto(view[filled:])) != 0:  # type: ignore[attr-defined]
            if got is None:  # a non-blocking pipe is empty
                time.sleep(_LOOK_SECONDS)
                continue
            filled += got
            count, rest = divmod(filled, self._nbytes)
            if count:
                whole = buffer[: count * self._nbytes].view(self.dtype).reshape(count, *self.frame_shape)
                yield Batch(whole, [time.time()] * count)
                buffer[:rest] = buffer[count * self._nbytes : filled].copy()
                filled, frames = rest, frames + count
        if filled:
            self.unread.append(
                f"{self.name} ended within frame {frames}, after {filled:,} of its {self._nbytes:,} bytes"
            )


class SourceFeed(Feed):
    """All frames of a complete source, in order.

    Parameters
    ----------
    source : Source

    Examples
    --------
    >>> from photon_gpu.sources.open import open_source
    >>> feed = SourceFeed(open_source(np.zeros((9, 4, 4), "uint16")))
    >>> sum(len(batch.frames) for batch in feed)
    9
    """

    def __init__(self, source: Source) -> None:
        self.name, self.frame_shape, self.dtype = source.name, source.shape[1:], source.dtype
        self.recording = source_metadata.of_source(source)
        self.axes = self.recording.axes
        self.unread = []
        self.attributes = with_truncation({}, source.truncation)
        self._source = source
        refuse_lost(source)

    def __iter__(self) -> Iterator[Batch]:
        for start, stop in batches(self._source):
            yield Batch(self._source.read(start, stop), times_of(self.recording, start, stop))
        if self._source.truncation is not None:
            self._source.truncation.refuse_growth()


def times_of(recording: Recording, start: int, stop: int) -> list[float | None] | None:
    """Timestamps of frames ``start:stop``; None for a frame without a time."""
    if recording.timestamps is None:
        return None
    return [None if math.isnan(time) else time for time in recording.timestamps[start:stop].tolist()]


def refuse_lost(source: Source) -> None:
    """Raise InvalidInputError if frames of a source are missing: a recording cannot mark them as lost."""
    if note := lost_note(source.lost):
        raise InvalidInputError(f"{source.name}: {note}. A recording cannot store that; encode the file")


def open_whole(path: Any, /, **options: Unpack[OpenOptions]) -> Source:
    """Open a file as ``encode`` does, but accept a single image as a movie of one frame."""
    try:
        return open_source(path, **options)
    except SingleImageError:
        options["as_pages"] = True
        return open_source(path, **options)


def batches(source: Source) -> Iterator[tuple[int, int]]:
    """Yield the ranges of frames to read at once."""
    step = max(1, _FILE_BATCH_BYTES // source.frame_nbytes)
    for start in range(0, source.shape[0], step):
        yield start, min(start + step, source.shape[0])


class GrowingFile:
    """A file of raw frames that another program is still writing.

    Parameters
    ----------
    path : path-like
    idle_seconds : float
        The file is complete if it did not grow for this long.

    Raises
    ------
    InvalidInputError
        The file has the signature of a TIFF, NumPy or HDF5 file, which holds more than frames.
    """

    def __init__(self, path: Any, *, idle_seconds: float = 10.0) -> None:
        self._path, self._idle = Path(path), idle_seconds
        with self._path.open("rb") as file:
            self._refuse_other_types(file.read(8))
        self._file = self._path.open("rb", buffering=0)
        self._read = 0

    def readinto(self, view: memoryview) -> int:
        """Wait for at least one byte and return the number available; 0 when the file is complete."""
        until = time.monotonic() + self._idle
        while not (got := self._file.readinto(view)):
            if self._path.stat().st_size < self._read:
                raise CorruptDataError(f"{self._path} was truncated or replaced while it was recorded")
            if time.monotonic() > until:
                return 0
            time.sleep(_LOOK_SECONDS)
        if not self._read:  # the file was empty when it was opened
            self._refuse_other_types(bytes(view[: min(got, 8)]))
        self._read += got
        return int(got)

    def _refuse_other_types(self, first_bytes: bytes) -> None:
        if name := file_types.type_of(first_bytes):
            raise InvalidInputError(
                f"{self._path} is a {name} file, not raw frames; to read it as such a file, "
                "give it the suffix of its type. If its frames only begin like one, pipe them in instead"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class PacedFeed(Feed):
    """A simulated camera: the frames of a source in a loop, at a fixed rate.

    Parameters
    ----------
    source : Source
    frames_per_second : float or None
        None: as fast as the recording accepts them.
    frames : int
        Number of frames in all.
    made : int
        Number of frames that are simulated before the recording begins, and then repeated.
    """

    def __init__(
        self, source: Source, *, frames_per_second: float | None, frames: int, made: int = 64
    ) -> None:
        if frames < 1 or (frames_per_second is not None and not frames_per_second > 0):
            raise InvalidInputError(
                f"frames is {frames}, frames_per_second is {frames_per_second}; both must be positive"
            )
        self.name, self.frame_shape, self.dtype = source.name, source.shape[1:], source.dtype
        self.unread = []
        self._period = 0.0 if frames_per_second is None else 1.0 / frames_per_second
        self._frames, self._made = frames, source.read(0, min(made, source.shape[0], frames))

    def __iter__(self) -> Iterator[Batch]:
        began = time.monotonic()
        for number in range(self._frames):
            due = began + number * self._period
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            yield Batch(self._made[number % len(self._made)][np.newaxis], [time.time()])
