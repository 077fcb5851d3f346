"""SZ3 by pysz, absolute error bound, its default interpolation and Lorenzo predictors."""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.bases.contender import Contender
from benchmarks.contenders.bases.error_bounded import Bounded, Stored
from benchmarks.contenders.bases.stabilized_floats import Stabilized


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


class Sz3Files(Stabilized):
    name = "SZ3 of stabilized values (pysz), equal error"
    worst = 0.35
    needs = ("pysz",)

    def squeeze(self, stabilized: NDArray) -> bytes:
        from pysz import sz, szConfig, szErrorBoundMode

        config = szConfig(stabilized.shape)
        config.errorBoundMode, config.absErrorBound = szErrorBoundMode.ABS, self.step / 2
        data = sz.compress(np.ascontiguousarray(stabilized), config)
        return bytes(data[0] if isinstance(data, tuple) else data)

    def expand(self, data: bytes, shape: tuple[int, ...]) -> NDArray:
        from pysz import sz

        opened = sz.decompress(np.frombuffer(data, np.uint8), np.float32, shape)
        return np.asarray(opened[0] if isinstance(opened, tuple) else opened).reshape(shape)


def contenders() -> list[Contender]:
    return [Sz3Files()]
