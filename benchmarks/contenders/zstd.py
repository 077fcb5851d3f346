"""Zstandard by numcodecs, a file per chunk: the raw movie, and our codes, at level 1.

Of levels -5, -1, 1, 2 and 3, 1 is the best for codes (4.56 at 761 MB/s of one core; -5 is a quarter faster,
at 2.04). Raw values are no smaller at 3 and take twice as long.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.contender import Contender
from benchmarks.contenders.bases.file_per_chunk import Files, from_codes, to_codes


class Zstandard(Files):
    name = "zstd 1, raw"
    lossless = True
    level = 1

    def pack(self, block: NDArray, noise: pg.NoiseModel) -> bytes:
        from numcodecs import Zstd

        return bytes(Zstd(level=self.level).encode(np.ascontiguousarray(block)))

    def unpack(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype, facts: dict[str, Any]) -> NDArray:
        from numcodecs import Zstd

        return np.frombuffer(Zstd().decode(data), dtype).reshape(shape)


class ZstandardCodes(Zstandard):
    name = "zstd 1 of our codes"
    lossless, worst = False, 0.35
    step = 0.5

    def pack(self, block: NDArray, noise: pg.NoiseModel) -> bytes:
        base, codes = to_codes(block, noise, self.step)
        return struct.pack("<qB", base, codes.itemsize) + super().pack(codes, noise)

    def unpack(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype, facts: dict[str, Any]) -> NDArray:
        base, width = struct.unpack("<qB", data[:9])
        codes = super().unpack(data[9:], shape, np.dtype(f"u{width}"), facts)
        return from_codes(codes, base, pg.NoiseModel.from_dict(facts["noise"]), self.step, dtype)


def contenders() -> list[Contender]:
    return [Zstandard(), ZstandardCodes()]
