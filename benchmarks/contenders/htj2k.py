"""High-throughput JPEG 2000 (OpenJPH) by imagecodecs, lossless, frame by frame: raw, and our codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.base import Contender
from benchmarks.contenders.files import Frames


class Htj2k(Frames):
    name = "HTJ2K, raw (imagecodecs)"
    lossless = True

    def picture(self, values: NDArray) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.htj2k_encode(np.ascontiguousarray(values)))

    def opened(self, data: bytes) -> NDArray:
        import imagecodecs

        return np.asarray(imagecodecs.htj2k_decode(data))


class Htj2kCodes(Htj2k):
    name = "HTJ2K of our codes (imagecodecs)"
    lossless, worst, step = False, 0.35, 0.5


def contenders() -> list[Contender]:
    return [Htj2k(), Htj2kCodes()]
