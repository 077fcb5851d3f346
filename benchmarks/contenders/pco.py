"""pcodec, its standalone format, a file per chunk: the raw movie, and our codes at the same error.

Of levels 0, 2, 4 and 8 (the default), 8 codes best (4.62) at 144 MB/s of one core; 4 is 5 % faster and 5 %
larger. Only 0 is much faster (433 MB/s), at 3.20.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.contender import Contender
from benchmarks.contenders.bases.file_per_chunk import Files, from_codes, to_codes


class Pcodec(Files):
    name = "pcodec 8, raw"
    lossless = True
    needs = ("pcodec",)

    def pack(self, block: NDArray, noise: pg.NoiseModel) -> bytes:
        from pcodec import ChunkConfig, standalone

        config = ChunkConfig(compression_level=8, enable_8_bit=block.dtype.itemsize == 1)
        return bytes(standalone.simple_compress(np.ascontiguousarray(block).reshape(-1), config))

    def unpack(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype, facts: dict[str, Any]) -> NDArray:
        from pcodec import standalone

        return np.asarray(standalone.simple_decompress(data)).reshape(shape)


class PcodecCodes(Pcodec):
    name = "pcodec 8 of our codes"
    lossless, worst = False, 0.35
    step = 0.5

    def pack(self, block: NDArray, noise: pg.NoiseModel) -> bytes:
        base, codes = to_codes(block, noise, self.step)
        return struct.pack("<q", base) + super().pack(codes.astype(np.uint16), noise)

    def unpack(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype, facts: dict[str, Any]) -> NDArray:
        codes = super().unpack(data[8:], shape, dtype, facts)
        noise = pg.NoiseModel.from_dict(facts["noise"])
        return from_codes(codes, struct.unpack("<q", data[:8])[0], noise, self.step, dtype)


def contenders() -> list[Contender]:
    return [Pcodec(), PcodecCodes()]
