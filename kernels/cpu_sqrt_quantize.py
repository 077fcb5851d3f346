"""Codes by a single-precision square root: faster than a table, because it runs on vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit


@jit
def _code(value: Any, model: NDArray[np.float32], least: Any) -> Any:
    """Code of one value less ``least``; see :func:`quantize_sqrt`."""
    scale, shift, bend, slope, dark = model[0], model[1], model[2], model[3], model[4]
    under = np.float32(np.float32(value * scale) + shift)
    line = np.float32(np.float32(value * slope) + dark)
    code = np.float32(np.sqrt(under)) if under >= bend else line
    return np.int32(np.int32(np.floor(np.float32(code + np.float32(0.5)))) - least)


@jit
def quantize_sqrt(values: NDArray, pitch: int, model: NDArray[np.float32], base: int, out: NDArray) -> None:
    """Write codes less ``base`` to ``out (T, n)``; frames begin ``pitch`` values apart in 1-D ``values``.

    A code is the rounded root of ``value*model[0] + model[1]`` where that is at least ``model[2]``, else the
    rounded ``value*model[3] + model[4]``. :mod:`photon_gpu.engine.codec.sqrt_quantize` finds the values for
    which this equals the exact table.
    """
    least = np.int32(base)
    for t in range(out.shape[0]):
        frame = values[t * pitch : t * pitch + out.shape[1]]
        for i in range(frame.size):
            out[t, i] = _code(np.float32(frame[i]), model, least)


@jit
def quantize_sqrt_cut(
    values: NDArray, pitch: int, model: NDArray[np.float32], base: int, low: int, high: int, out: NDArray
) -> None:
    """Quantize like :func:`quantize_sqrt`, with codes of their own for the values ``low`` and ``high``.

    Codes beyond them are moved (FORMAT.md, "Clipping levels"). A level that no value reaches changes nothing.
    """
    least = np.int32(base)
    for t in range(out.shape[0]):
        frame = values[t * pitch : t * pitch + out.shape[1]]
        # Few frames reach a level. Looking for the ends costs nothing here, since roots take longer.
        lowest, highest = frame[0], frame[0]
        for i in range(frame.size):
            lowest, highest = min(lowest, frame[i]), max(highest, frame[i])
            out[t, i] = _code(np.float32(frame[i]), model, least)
        if lowest <= low or highest >= high:
            _cut(frame, np.int32(low), np.int32(high), out[t])


@jit
def _cut(values: NDArray, low: Any, high: Any, codes: NDArray) -> None:
    """Move the codes of values that reach or pass a level."""
    for i in range(values.size):
        value = np.int32(values[i])
        up = np.int32(value >= high) + np.int32(value > high)
        down = np.int32(value <= low) + np.int32(value < low)
        codes[i] = np.int32(np.int32(codes[i]) + up - down)
