"""The transform in single precision, and the values at which it does not give the code of the exact table.

The table is the format. Arithmetic that is held against it value by value, on the machine that is going
to use it, gives the same codes sooner: for a movie of 16 bits that takes 65,536 comparisons, once.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from photon_gpu.engine.model.anscombe import stabilized_floor
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.kernels.cpu_root import forward_root


class Root:
    """Codes of integers of up to 16 bits, without dither.

    Attributes
    ----------
    wrong : ndarray of int64
        Values with another code than the table's, sorted: the root falls within rounding of a boundary there.

    Examples
    --------
    >>> from photon_gpu import NoiseModel
    >>> root = Root(CodeTable(NoiseModel(), step=0.5, dtype="uint16"))
    >>> root.exact(0, 65535)
    True
    """

    def __init__(self, table: CodeTable) -> None:
        noise, floor = table.noise, stabilized_floor(table.noise)
        # Of codes: A(z)/step = sqrt(scale*gain*(z - offset) + scale*floor), FORMAT.md, "Codes".
        scale = (2.0 / (noise.gain * table.step)) ** 2
        slope = 1.0 / (np.sqrt(floor) * table.step)
        dark = 2.0 * np.sqrt(floor) / (noise.gain * table.step) - noise.offset * slope
        shift = scale * (floor - noise.gain * noise.offset)
        with np.errstate(over="ignore"):
            self._model = np.array([scale * noise.gain, shift, scale * floor, slope, dark], np.float32)
        bits = 8 * table.dtype.itemsize
        info = np.iinfo(table.dtype)
        values = np.arange(info.min, info.max + 1, dtype=np.int64)
        patterns = values & ((1 << bits) - 1)
        found = np.empty((1, values.size), np.int32)
        forward_root(values.astype(table.dtype), values.size, self._model, 0, found)
        self.wrong = values[found[0] != table.luts()[0, patterns]]

    def exact(self, low: int, high: int) -> bool:
        """Whether every value from ``low`` to ``high`` gets the table's code."""
        return bool(np.searchsorted(self.wrong, low) == np.searchsorted(self.wrong, high, side="right"))

    def __call__(self, values: NDArray, base: int, out: NDArray) -> None:
        """Codes of ``values (T, n)``, counted from ``base``, into ``out``; see :func:`runs`."""
        frames, samples = values.shape
        pitch = values.strides[0] // values.itemsize if frames > 1 else samples
        # In one dimension: only there does the compiler know that neighbours lie side by side.
        flat = as_strided(values, ((frames - 1) * pitch + samples,), (values.itemsize,))
        forward_root(flat, pitch, self._model, base, out)


def runs(values: NDArray) -> bool:
    """Whether each frame ``(T, n)`` is a run in memory, and one follows the other."""
    frames, samples = values.shape
    whole = values.itemsize
    return bool(
        frames
        and samples
        and (samples == 1 or values.strides[1] == whole)
        and (frames == 1 or (values.strides[0] >= samples * whole and values.strides[0] % whole == 0))
    )


@lru_cache(maxsize=16)
def root_of(table: CodeTable) -> Root:
    """Held against its table once."""
    return Root(table)
