"""JPEG-XL by imagecodecs: our codes without loss, effort 5."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.bounded import Frames


class JpegXl(Frames):
    name = "JPEG-XL of codes (imagecodecs)"

    def picture(self, codes: NDArray) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.jpegxl_encode(codes, lossless=True, effort=5))

    def opened(self, data: bytes) -> NDArray:
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data))
