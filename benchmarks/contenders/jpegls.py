"""JPEG-LS by imagecodecs: our codes without loss, and near-lossless on a fine grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.bases import file_per_chunk
from benchmarks.contenders.bases.contender import Contender
from benchmarks.contenders.bases.error_bounded import Bounded, Frames, Stored

_GRID = 1 / 12


class Codes(Frames):
    name = "JPEG-LS of codes (imagecodecs)"

    def picture(self, codes: NDArray) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.jpegls_encode(codes))

    def opened(self, data: bytes) -> NDArray:
        import imagecodecs

        return np.asarray(imagecodecs.jpegls_decode(data))


class Near(Bounded):
    name = "JPEG-LS near-lossless (imagecodecs)"

    def through(self, stabilized: NDArray[np.float32], step: float) -> Stored:
        import imagecodecs

        near = max(1, round((step / _GRID - 1) / 2))
        fine = np.rint(stabilized / _GRID).astype(np.int64)
        low = int(fine.min())
        pictures = (fine - low).astype(np.uint16)
        packed = [imagecodecs.jpegls_encode(picture, level=near) for picture in pictures]
        opened = np.stack([imagecodecs.jpegls_decode(data) for data in packed]).astype(np.float32)
        return Stored(sum(map(len, packed)), (opened + low) * np.float32(_GRID))


class Raw(file_per_chunk.Frames):
    name = "JPEG-LS, raw (imagecodecs)"
    lossless = True

    def picture(self, values: NDArray) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(values)))

    def opened(self, data: bytes) -> NDArray:
        import imagecodecs

        return np.asarray(imagecodecs.jpegls_decode(data))


class OfCodes(Raw):
    name = "JPEG-LS of our codes (imagecodecs)"
    lossless, worst, step = False, 0.35, 0.5


def contenders() -> list[Contender]:
    return [Raw(), OfCodes()]
