"""Blosc2 with the filter it has for such data: float32 cut to so many bits of mantissa."""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.bases.error_bounded import Bounded, Stored


class Precision(Bounded):
    name = "Blosc2 truncated precision, zstd 5"

    def through(self, stabilized: NDArray[np.float32], step: float) -> Stored:
        import blosc2

        # Truncation of a value v to b bits has a step of 2**(floor(log2 v) - b); the filter refuses 0 bits.
        bits = max(1, round(float(np.log2(np.median(np.abs(stabilized)) / step))))
        array = blosc2.asarray(
            stabilized,
            cparams={
                "codec": blosc2.Codec.ZSTD,
                "clevel": 5,
                "filters": [blosc2.Filter.TRUNC_PREC, blosc2.Filter.BITSHUFFLE],
                "filters_meta": [bits, 0],
            },
        )
        return Stored(int(array.schunk.cbytes), array[...])

    @staticmethod
    def installed() -> bool:
        return importlib.util.find_spec("blosc2") is not None
