"""Base class of sources: a shape, a dtype, and ``read``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.recording import NOTHING, Recording
from photon_gpu.redact_credentials import without_credentials
from photon_gpu.sources.truncated_file import Truncation


@dataclass(frozen=True, kw_only=True)
class PageSelection:
    """Frames, channels and planes that were chosen, and the order of their dimensions.

    Attributes
    ----------
    shape : tuple of int
        Of the whole movie, with frames parted into channels and planes.
    order : tuple of int
        Dimensions in their new order.
    index : tuple of int and slice
        What is chosen along each dimension, in the new order.
    axes : str or None
        Letters of the dimensions that are left.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    index: tuple[int | slice, ...]
    axes: str | None


class Source(ABC):
    """A movie that is read one range of frames at a time, never as a whole.

    Attributes
    ----------
    name : str
        Name in messages and reports: a path, a URL without its credentials, or ``"array"``.
    shape : tuple of int
        ``(T, ..., H, W)``; time first.
    dtype : numpy.dtype
        Native byte order.
    device : int or None
        Number of the GPU that holds the frames; None for host memory.
    lost : tuple of (int, int)
        Ranges ``(first, end)`` of frames that are missing, wholly or in part, and are read as zeros.
    stored_axes : str or None
        Names of the dimensions in their stored order, if the file names them and :func:`open_source` has not
        reordered them yet.
    stated_planes : int
        Planes that alternate from frame to frame, as the source says, where :func:`open_source` is yet to
        part them.
    truncation : Truncation or None
        What is missing at the end of a source that was cut off; None if it is whole.
    recording : Recording
        Metadata of the source: axes, names, units, times, and its own documents.
    """

    _name = ""
    shape: tuple[int, ...]
    dtype: np.dtype
    device: int | None = None
    lost: tuple[tuple[int, int], ...] = ()
    stored_axes: str | None = None
    stated_planes: int = 1
    truncation: Truncation | None = None
    recording: Recording = NOTHING

    @property
    def name(self) -> str:
        """Name in messages and reports."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = without_credentials(name) if "://" in name else name

    @abstractmethod
    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop`` as a C-contiguous array in native byte order.

        ``0 <= start < stop <= shape[0]``. The array may be a view of the source's memory, so callers must not
        write to it. Several threads may call this at once.
        """

    def describe_pages(self, recording: Recording, pages: PageSelection) -> Recording:
        """Note in the documents of a recording which pages of this source were chosen, if they list pages."""
        return recording

    def arranged(self, order: tuple[int, ...]) -> Source:
        """Return this source with its dimensions reordered; raise InvalidInputError if that is impossible."""
        raise InvalidInputError(
            f"{self.name[-60:]}: its dimensions can only be read in the order in which they are stored; "
            "open the file yourself, and pass the array in the order you need"
        )

    def origins(self, start: int, stop: int) -> list[tuple[str, int]] | None:
        """File of each frame of ``start:stop``, and the frame's number in it; None for a single file."""
        return None

    def note(self, chunk_frames: int) -> str | None:
        """Remark for a report on how the frames fit chunks of ``chunk_frames``; None if there is none."""
        return None

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Close files; reading afterwards is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def nbytes(self) -> int:
        """Uncompressed bytes of the movie."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def frame_nbytes(self) -> int:
        """Uncompressed bytes of a frame ``(..., H, W)``."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def _check_frames(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= self.shape[0]:
            raise InvalidInputError(
                f"{self.name}: frames {start}:{stop} were requested; the movie has {self.shape[0]}"
            )
