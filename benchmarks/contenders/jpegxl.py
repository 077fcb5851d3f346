"""JPEG-XL by imagecodecs: our codes without loss, effort 5."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import file_per_chunk
from benchmarks.contenders.base import Contender
from benchmarks.contenders.error_bounded import Frames


class JpegXl(Frames):
    name = "JPEG-XL of codes (imagecodecs)"

    def picture(self, codes: NDArray) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.jpegxl_encode(codes, lossless=True, effort=5))

    def opened(self, data: bytes) -> NDArray:
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data))


class Raw(file_per_chunk.Frames):
    name = "JPEG-XL lossless e3, raw (imagecodecs)"
    lossless = True

    def picture(self, values: NDArray) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.jpegxl_encode(np.ascontiguousarray(values), lossless=True, effort=3))

    def opened(self, data: bytes) -> NDArray:
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data))


class OfCodes(Raw):
    name = "JPEG-XL lossless e3 of our codes (imagecodecs)"
    lossless, worst, step = False, 0.35, 0.5


def contenders() -> list[Contender]:
    return [Raw(), OfCodes()]
