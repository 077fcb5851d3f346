"""Codes by a single-precision square root: faster than a table, because it runs on vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit


@jit
def quantize_sqrt(values: NDArray, pitch: int, model: NDArray[np.float32], base: int, out: NDArray) -> None:
    """Write codes less ``base`` to ``out (T, n)``; frames begin ``pitch`` values apart in 1-D ``values``.

    A code is the rounded root of ``value*model[0] + model[1]`` where that is at least ``model[2]``, else the
    rounded ``value*model[3] + model[4]``. :mod:`photon_gpu.engine.codec.sqrt_quantize` finds the values for
    which this equals the exact table.
    """
    scale, shift, bend, slope, dark = model[0], model[1], model[2], model[3], model[4]
    least = np.int32(base)
    for t in range(out.shape[0]):
        frame = values[t * pitch : t * pitch + out.shape[1]]
        for i in range(frame.size):
            value = np.float32(frame[i])
            under = np.float32(np.float32(value * scale) + shift)
            line = np.float32(np.float32(value * slope) + dark)
            code = np.float32(np.sqrt(under)) if under >= bend else line
            out[t, i] = np.int32(np.int32(np.floor(np.float32(code + np.float32(0.5)))) - least)


@jit
def cut_codes(values: NDArray, pitch: int, low: int, high: int, out: NDArray) -> None:
    """Give the values ``low`` and ``high`` codes of their own in ``out (T, n)``, and move those beyond.

    FORMAT.md, "Clipping levels". Frames begin ``pitch`` values apart in 1-D ``values``. A level that no value
    reaches changes nothing.
    """
    least, most = np.int32(low), np.int32(high)
    for t in range(out.shape[0]):
        frame = values[t * pitch : t * pitch + out.shape[1]]
        # Few frames have values there, and to look for the ends takes a fifth of the time of moving codes.
        lowest, highest = frame[0], frame[0]
        for i in range(frame.size):
            lowest, highest = min(lowest, frame[i]), max(highest, frame[i])
        if lowest > least and highest < most:
            continue
        for i in range(frame.size):
            value = np.int32(frame[i])
            up = np.int32(value >= most) + np.int32(value > most)
            down = np.int32(value <= least) + np.int32(value < least)
            out[t, i] = np.int32(np.int32(out[t, i]) + up - down)
