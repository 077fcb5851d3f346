"""zfp by imagecodecs, fixed accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.bases.contender import Contender
from benchmarks.contenders.bases.error_bounded import Bounded, Stored
from benchmarks.contenders.bases.stabilized_floats import Stabilized


class Zfp(Bounded):
    name = "zfp (imagecodecs), fixed accuracy"

    def through(self, stabilized: NDArray[np.float32], step: float) -> Stored:
        import imagecodecs

        # Its errors are far below its bound, which it rounds down to a power of two.
        data = imagecodecs.zfp_encode(stabilized, level=8.0 * step, mode="a")
        return Stored(len(data), np.asarray(imagecodecs.zfp_decode(data)).reshape(stabilized.shape))


class ZfpFiles(Stabilized):
    # The zfpy wheel ships a numcodecs-breaking build; imagecodecs has the same library.
    name = "zfp of stabilized values (imagecodecs), equal error"
    worst = 2.5

    def squeeze(self, stabilized: NDArray) -> bytes:
        import imagecodecs

        return bytes(imagecodecs.zfp_encode(stabilized, level=8.0 * self.step, mode="a"))

    def expand(self, data: bytes, shape: tuple[int, ...]) -> NDArray:
        import imagecodecs

        return np.asarray(imagecodecs.zfp_decode(data)).reshape(shape)


def contenders() -> list[Contender]:
    return [ZfpFiles()]
