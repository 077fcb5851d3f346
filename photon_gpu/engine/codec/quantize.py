"""Quantize values to codes with the kernel and the table for their dtype and range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.sqrt_quantize import Root, root_of, runs
from photon_gpu.engine.model.anscombe import stabilized_floor
from photon_gpu.engine.model.code_table import MAX_CODES, CodeTable
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.errors import InvalidInputError
from photon_gpu.kernels import cpu, cpu_encode

_LARGEST_INTEGER = 1 << 53
_PHOTON_COUNTER = NoiseModel()


@dataclass(frozen=True)
class Extent:
    """Least and greatest value of a chunk."""

    low: float | int
    high: float | int


def extent(
    values: NDArray,
    backend: Backend,
    *,
    noise: NoiseModel | None = None,
    first_frame: int = 0,
    split: Split = WHOLE,
) -> Extent:
    """Return the least and greatest value of a chunk, which ``split`` shares among threads.

    Raises
    ------
    InvalidInputError
        A value is NaN, infinite, an integer beyond 2**53, or negative under the default noise model, which is
        that of a photon counter. The message names frame and pixel.
    """
    flat = np.ascontiguousarray(values).reshape(-1)

    def of_part(part: tuple[int, int]) -> NDArray:
        out = np.zeros(3, values.dtype)
        backend.kernels.extent(flat[slice(*part)], out)
        return out

    parts = list(split.run(of_part, split.ranges(flat.size)))
    out = parts[0] if len(parts) == 1 else _extent_of(parts)

    def locate(strange: bool) -> tuple[tuple[Any, ...], Any]:
        where = int(np.argmin(np.isfinite(flat) if strange else flat))
        return np.unravel_index(where, values.shape), flat[where]

    return check_extent(out, locate, noise=noise, first_frame=first_frame)


def _extent_of(parts: list[NDArray]) -> NDArray:
    """Combine the results of the kernel ``extent`` for parts into its result for the whole."""
    low, high, strange = np.transpose(parts)
    return np.array([low.min(), high.max(), strange.max()], low.dtype)


def check_extent(
    out: NDArray,
    locate: Callable[[bool], tuple[tuple[Any, ...], Any]],
    *,
    noise: NoiseModel | None,
    first_frame: int,
) -> Extent:
    """Make an Extent from the output of the kernel ``extent``; raise InvalidInputError if it is invalid.

    ``locate(strange)`` returns index and value of the first value that is not finite, or of the least value.
    """
    if out[2]:
        (t, *pixel), value = locate(True)
        raise InvalidInputError(
            f"{value} at frame {first_frame + int(t)}, pixel {tuple(int(i) for i in pixel)}; only finite "
            "values can be encoded: replace such pixels, or mask them, before encoding"
        )
    low, high = out[0].item(), out[1].item()
    if out.dtype.kind in "iu" and max(abs(low), abs(high)) > _LARGEST_INTEGER:
        raise InvalidInputError(
            f"values reach {max(abs(low), abs(high))} in frames from {first_frame}; integers up to 2**53 "
            "can be encoded: use layout='lossless'"
        )
    if low < 0 and noise == _PHOTON_COUNTER:
        (t, *pixel), _ = locate(False)
        raise InvalidInputError(
            f"{low} at frame {first_frame + int(t)}, pixel {tuple(int(i) for i in pixel)}: photon counts "
            "cannot be negative, and the default noise model counts photons; give the detector's own: "
            "NoiseModel(gain=..., offset=<value in the dark>, variance=<its variance>)"
        )
    return Extent(low, high)


@lru_cache(maxsize=16)
def _luts(table: CodeTable, base: int, dtype: np.dtype) -> NDArray:
    """Codes counted from ``base``; entries outside the extent may wrap, since they are never used."""
    return np.subtract(table.luts(), base, dtype=np.int32).astype(dtype)


class Quantizer:
    """Quantizes values within an extent to codes counted from ``base``, of the narrowest dtype.

    Attributes
    ----------
    base : int
        Least code.
    top : int
        Greatest code, counted from ``base``.
    dtype : numpy.dtype
        uint8, uint16 or uint32.
    """

    def __init__(self, table: CodeTable, bounds: Extent, backend: Backend, seed: int) -> None:
        self._table, self._bounds = table, bounds
        self._kernels, self._seed = backend.kernels, seed
        self.base, self.top = span(table, bounds)
        self.dtype = narrowest(self.top)
        self._root: Root | None = None
        if table.has_lut and table.phases == 1 and self._kernels is cpu and self.dtype.itemsize < 4:
            root = root_of(table)
            self._root = root if root.exact(int(bounds.low), int(bounds.high)) else None
        if table.has_lut:
            # The table is made on demand: only frames that are not contiguous need it.
            self._luts = None if self._root else backend.upload(_luts(table, self.base, self.dtype))
            return
        high = self.base + self.top
        rows = [table.thresholds(self.base, high, phase) for phase in range(table.phases)]
        self._thresholds = backend.upload(np.stack(rows))
        noise = table.noise
        shifts = [0.5 - table.shift(phase) - self.base for phase in range(table.phases)]
        model = [noise.gain, noise.offset, stabilized_floor(noise), 1.0 / table.step, *shifts]
        self._model = backend.upload(np.array(model, np.float64))

    def __call__(self, values: NDArray, first: int, stride: int, out: NDArray) -> None:
        """Write codes of ``values (T, n)`` to ``out``; sample ``(t, i)`` is ``first + t*stride + i``."""
        phased = self._table.phases > 1
        if self._root is not None and runs(values):
            self._root(values, self.base, out)
        elif self._table.has_lut:
            patterns = values.view(f"u{values.dtype.itemsize}")
            luts = _luts(self._table, self.base, self.dtype) if self._luts is None else self._luts
            if phased:
                self._kernels.quantize_lut_phased(patterns, luts, self._seed, first, stride, out)
            else:
                self._kernels.quantize_lut(patterns, luts[0], out)
        elif phased:
            self._kernels.quantize_thresholds_phased(
                values, self._thresholds, self._model, self._seed, first, stride, out
            )
        else:
            self._kernels.quantize_thresholds(values, self._thresholds[0], self._model, self.base, out)

    def compiled(self, values: NDArray) -> tuple[NDArray, Any]:
        """Values, 1-D, and the settings by which the kernels of ``cpu_encode`` quantize them."""
        phased = self._table.phases > 1
        if self._root is not None:
            return values, self._root.compiled(self.base, int(self._bounds.low), int(self._bounds.high))
        if self._table.has_lut:
            patterns, luts = values.view(f"u{values.dtype.itemsize}"), self._luts
            assert luts is not None
            if phased:
                return patterns, cpu_encode.ByPhasedTable(luts, self._seed)
            return patterns, cpu_encode.ByTable(luts[0])
        if phased:
            return values, cpu_encode.ByPhasedThresholds(self._thresholds, self._model, self._seed)
        return values, cpu_encode.ByThresholds(self._thresholds[0], self._model, self.base)


def span(table: CodeTable, bounds: Extent) -> tuple[int, int]:
    """Return least code and width of an extent; raise InvalidInputError if no table could hold it."""
    if table.has_lut:
        patterns = np.array([bounds.low, bounds.high], table.dtype).view(f"u{table.dtype.itemsize}")
        ends = table.luts()[:, patterns].tolist()
    else:
        ends = [
            [table.code(end, phase) for end in (bounds.low, bounds.high)] for phase in range(table.phases)
        ]
    base = min(low for low, _ in ends)
    top = max(high for _, high in ends) - base
    if top >= MAX_CODES - 1:
        raise InvalidInputError(
            f"values {bounds.low:g} to {bounds.high:g} of a chunk span {top + 1:,} codes under {table.noise} "
            f"at step {table.step:g}, and {MAX_CODES - 1:,} fit: check gain, take a larger step, or layout="
            "'lossless'"
        )
    return base, top


def narrowest(top: int) -> np.dtype:
    """Narrowest unsigned dtype that holds ``top``."""
    return np.dtype(np.uint8 if top < 1 << 8 else np.uint16 if top < 1 << 16 else np.uint32)
