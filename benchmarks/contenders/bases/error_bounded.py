"""Error-bounded compressors on stabilized values: what each does with the same movie at the same error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stored:
    """A movie compressed and opened again."""

    nbytes: int
    stabilized: NDArray


class Bounded(ABC):
    """Compresses stabilized values ``(T, H, W)``, noise of one sigma, to a given step."""

    name: str

    @abstractmethod
    def through(self, stabilized: NDArray[np.float32], step: float) -> Stored:
        """Compress with errors like those of a quantization step of ``step``, and decompress."""

    @staticmethod
    def installed() -> bool:
        """Whether its packages can be imported here."""
        return True


class Frames(Bounded):
    """A still-picture codec: frames of codes, one by one."""

    def through(self, stabilized: NDArray[np.float32], step: float) -> Stored:
        codes = np.rint(stabilized / step).astype(np.int64)
        low = int(codes.min())
        pictures = (codes - low).astype(np.uint16 if codes.max() - low > 255 else np.uint8)
        packed = [self.picture(picture) for picture in pictures]
        opened = np.stack([self.opened(data) for data in packed])
        assert np.array_equal(opened, pictures)
        return Stored(sum(map(len, packed)), (opened.astype(np.float32) + low) * np.float32(step))

    @abstractmethod
    def picture(self, codes: NDArray) -> bytes:
        """Compress one frame of codes without loss."""

    @abstractmethod
    def opened(self, data: bytes) -> NDArray:
        """Decompress one frame of codes."""
