"""JPEG-XL by imagecodecs, without loss: raw, our codes, and codes at any step.

Of efforts 1 to 4, 1 is by far the fastest for raw values (277 MB/s of one core; 2 takes four times as long
for 2 % less, 3 eight times for 3 %). For codes 2 is smaller than 3 (4.74 and 4.65) and twice as fast (100
MB/s); 1 is a fifth faster than 2 and 16 % larger.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.bases import file_per_chunk
from benchmarks.contenders.bases.contender import Contender
from benchmarks.contenders.bases.error_bounded import Frames


class JpegXl(Frames):
    name = "JPEG-XL of codes (imagecodecs)"

    def picture(self, codes: NDArray) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.jpegxl_encode(codes, lossless=True, effort=5))

    def opened(self, data: bytes) -> NDArray:
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data))


class Raw(file_per_chunk.Frames):
    name = "JPEG-XL lossless e1, raw (imagecodecs)"
    lossless = True
    effort = 1

    def picture(self, values: NDArray) -> bytes:
        import imagecodecs

        return bytes(
            imagecodecs.jpegxl_encode(np.ascontiguousarray(values), lossless=True, effort=self.effort)
        )

    def opened(self, data: bytes) -> NDArray:
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data))


class OfCodes(Raw):
    name = "JPEG-XL lossless e2 of our codes (imagecodecs)"
    lossless, worst, step, effort = False, 0.35, 0.5, 2


def contenders() -> list[Contender]:
    return [Raw(), OfCodes()]
