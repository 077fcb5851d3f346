"""What every source of frames offers: a shape, a dtype, and ``read``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError


class Source(ABC):
    """A movie to be read, frame range by frame range, never whole.

    Attributes
    ----------
    name : str
        What to call it in messages: a path, or ``"array"``.
    shape : tuple of int
        ``(T, ..., H, W)``; time first.
    dtype : numpy.dtype
        Native byte order.
    device : int or None
        GPU on which frames lie; None in host memory.
    lost : tuple of (int, int)
        Ranges ``(first, end)`` of frames that the source lacks, wholly or in part, and reads as zeros.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    device: int | None = None
    lost: tuple[tuple[int, int], ...] = ()

    @abstractmethod
    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Frames ``start:stop`` as a C-contiguous native-endian array.

        The array may be a view of the source's memory; callers never write to it.
        ``0 <= start < stop <= shape[0]``. Safe to call from several threads.
        """

    def note(self, chunk_frames: int) -> str | None:
        """What a report says of how these frames fit such chunks; None if nothing."""
        return None

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Release files; reading afterwards is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def nbytes(self) -> int:
        """Bytes of the whole movie, uncompressed."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def frame_nbytes(self) -> int:
        """Bytes of one frame ``(..., H, W)``, uncompressed."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def _check_frames(self, start: int, stop: int) -> None:
        if not 0 <= start < stop <= self.shape[0]:
            raise InvalidInputError(
                f"{self.name}: frames {start}:{stop} were asked for; the movie has {self.shape[0]}"
            )
