"""Fast float32 quantizer, with a list of the inputs for which it disagrees with the exact table.

The table is the format. The quantizer is compared with it for all 65,536 values, once, on the machine that
uses it. Where they agree, it gives the same codes faster.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from photon_gpu.engine.model.anscombe import stabilized_floor
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.kernels import cpu_encode
from photon_gpu.kernels.cpu_sqrt_quantize import quantize_sqrt, quantize_sqrt_cut


class Root:
    """Quantizes integers of up to 16 bits by a square root, without dither.

    Attributes
    ----------
    model : ndarray of float32
        Parameters of the kernel.
    wrong : ndarray of int64
        Sorted values whose code differs from the table's, since they are within rounding of a boundary.

    Examples
    --------
    >>> from photon_gpu import NoiseModel
    >>> root = Root(CodeTable(NoiseModel(), step=0.5, dtype="uint16"))
    >>> root.exact(0, 65535)
    True
    """

    def __init__(self, table: CodeTable) -> None:
        noise, floor = table.noise, stabilized_floor(table.noise)
        # In codes, A(z)/step = sqrt(scale*gain*(z - offset) + scale*floor), FORMAT.md, "Codes".
        scale = (2.0 / (noise.gain * table.step)) ** 2
        slope = 1.0 / (np.sqrt(floor) * table.step)
        dark = 2.0 * np.sqrt(floor) / (noise.gain * table.step) - noise.offset * slope
        shift = scale * (floor - noise.gain * noise.offset)
        with np.errstate(over="ignore"):
            self.model = np.array([scale * noise.gain, shift, scale * floor, slope, dark], np.float32)
        bits = 8 * table.dtype.itemsize
        info = np.iinfo(table.dtype)
        values = np.arange(info.min, info.max + 1, dtype=np.int64)
        patterns = values & ((1 << bits) - 1)
        codes = np.empty((1, values.size), np.int32)
        low, high = table.clipping_levels
        self._cut = (low, high) != (None, None)
        # No value of the dtype reaches a level that is missing.
        self._low = int(info.min) - 1 if low is None else max(low, int(info.min) - 1)
        self._high = int(info.max) + 1 if high is None else min(high, int(info.max) + 1)
        self._quantize(values.astype(table.dtype), values.size, 0, codes)
        self.wrong = values[codes[0] != table.luts()[0, patterns]]

    def exact(self, low: int, high: int) -> bool:
        """Whether every value from ``low`` to ``high`` gets the table's code."""
        return bool(np.searchsorted(self.wrong, low) == np.searchsorted(self.wrong, high, side="right"))

    def __call__(self, values: NDArray, base: int, out: NDArray) -> None:
        """Write codes of ``values (T, n)``, counted from ``base``, to ``out``; see :func:`runs`."""
        frames, samples = values.shape
        pitch = values.strides[0] // values.itemsize if frames > 1 else samples
        # The compiler knows only for 1-D arrays that neighbours are contiguous.
        flat = as_strided(values, ((frames - 1) * pitch + samples,), (values.itemsize,))
        self._quantize(flat, pitch, base, out)

    def compiled(self, base: int, low: int, high: int) -> cpu_encode.ByRoot | cpu_encode.ByCutRoot:
        """Return how ``cpu_encode`` quantizes values from ``low`` to ``high`` to the same codes."""
        if low <= self._low or high >= self._high:
            return cpu_encode.ByCutRoot(self.model, base, self._low, self._high)
        return cpu_encode.ByRoot(self.model, base)

    def _quantize(self, values: NDArray, pitch: int, base: int, out: NDArray) -> None:
        if self._cut:
            quantize_sqrt_cut(values, pitch, self.model, base, self._low, self._high, out)
        else:
            quantize_sqrt(values, pitch, self.model, base, out)


def runs(values: NDArray) -> bool:
    """Whether each frame of ``(T, n)`` is contiguous, and frames follow in order."""
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
    """Return the quantizer of a table, after comparing the two once."""
    return Root(table)
