"""zfp by imagecodecs, fixed accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.bounded import Bounded, Stored


class Zfp(Bounded):
    name = "zfp (imagecodecs), fixed accuracy"

    def through(self, stabilized: NDArray[np.float32], step: float) -> Stored:
        import imagecodecs

        # Its errors are far below its bound, which it rounds down to a power of two.
        data = imagecodecs.zfp_encode(stabilized, level=8.0 * step, mode="a")
        return Stored(len(data), np.asarray(imagecodecs.zfp_decode(data)).reshape(stabilized.shape))
