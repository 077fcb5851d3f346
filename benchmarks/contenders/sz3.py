"""SZ3 by pysz, absolute error bound, its default interpolation and Lorenzo predictors."""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.bounded import Bounded, Stored


class Sz3(Bounded):
    name = "SZ3 (pysz), absolute bound"

    def through(self, stabilized: NDArray[np.float32], step: float) -> Stored:
        from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

        best: Stored | None = None
        for algorithm in (szAlgorithm.INTERP_LORENZO, szAlgorithm.LORENZO_REG, szAlgorithm.NOPRED):
            config = szConfig(stabilized.shape)
            config.errorBoundMode = szErrorBoundMode.ABS
            config.absErrorBound = step / 2
            config.cmprAlgo = algorithm
            data = sz.compress(stabilized, config)
            data = data[0] if isinstance(data, tuple) else data
            if best is None or len(data) < best.nbytes:
                opened = sz.decompress(data, np.float32, stabilized.shape)
                opened = opened[0] if isinstance(opened, tuple) else opened
                best = Stored(len(data), np.asarray(opened).reshape(stabilized.shape))
        assert best is not None
        return best

    @staticmethod
    def installed() -> bool:
        return importlib.util.find_spec("pysz") is not None
