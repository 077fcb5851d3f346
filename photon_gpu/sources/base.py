"""What every source of frames offers: a shape, a dtype, and ``read``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

import numpy as np
from numpy.typing import NDArray


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
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @abstractmethod
    def read(self, start: int, stop: int) -> NDArray:
        """Frames ``start:stop`` as a C-contiguous native-endian array.

        The array may be a view of the source's memory; callers never write to it.
        ``0 <= start < stop <= shape[0]``.
        """

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Release files; reading afterwards is an error."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def nbytes(self) -> int:
        """Bytes of the whole movie, uncompressed."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
