"""plain: stabilized values on the grid ``step*k`` as float64, for any Zarr reader (format 1.0)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.blosc import Map, compress_blocks, decompress_span
from photon_gpu.blosc import decompress as open_frame
from photon_gpu.errors import CorruptDataError
from photon_gpu.forward import Extent, Forward, extent
from photon_gpu.inverse import render
from photon_gpu.layouts.base import STABILIZED, Layout, frames_to_rows
from photon_gpu.stages import Stages
from photon_gpu.transform import inverse_anscombe


class Plain(Layout):
    """Format 1.0. A store without ``quantization_step`` holds unquantized stabilized values."""

    version = "1.0"
    itemsize = 8

    @property
    def dtype(self) -> np.dtype:
        """Float64, little-endian."""
        return np.dtype("<f8")

    def encode(
        self, values: NDArray, chunk: tuple[int, ...], *, first_frame: int = 0, run: Map = map, stages: Stages
    ) -> bytes:
        """See the base class."""
        with stages.timed("transform"):
            found = extent(values, self.backend, noise=self.encoding.noise, first_frame=first_frame)
        labels = Labels(self, found)
        flat = np.ascontiguousarray(values).reshape(-1)
        total = int(np.prod(chunk, dtype=np.int64))

        def block(start: int, stop: int) -> NDArray[np.float64]:
            with stages.timed("transform"):
                out = np.zeros(stop - start, np.float64)
                end = min(stop, flat.size)
                if start < end:
                    labels(flat[start:end], start, out[: end - start])
                return out

        with stages.timed("compress"):
            return compress_blocks(block, total, 8, self.encoding.compressor, run)

    def decode(
        self, data: bytes, chunk: tuple[int, ...], start: int, stop: int, what: str | np.dtype, run: Map = map
    ) -> NDArray:
        """See the base class."""
        pixels = int(np.prod(chunk[1:], dtype=np.int64))
        shape = (stop - start, *chunk[1:])
        if start == 0 and stop == chunk[0]:
            raw = open_frame(data, pixels * chunk[0] * 8, run)
        else:
            raw = decompress_span(data, start * pixels * 8, stop * pixels * 8)
        labels = raw.view("<f8")
        encoding = self.encoding
        if encoding.step is None:
            if what == STABILIZED:
                return labels.reshape(shape)
            return _unquantized(labels, encoding.noise, np.dtype(what)).reshape(shape)
        codes = np.empty(labels.size, np.int32)
        strange = self.backend.kernels.codes_from_labels(labels, encoding.step, codes)
        if strange:
            raise CorruptDataError(f"{strange} of {codes.size} values of a chunk are no multiple of the step")
        if what == STABILIZED and encoding.phases == 1:
            return labels.reshape(shape)
        base = int(codes.min()) if codes.size else 0
        unsigned = (codes - base).astype(np.uint32).reshape(shape[0], -1)
        top = int(unsigned.max()) if codes.size else 0
        out = np.empty(unsigned.shape, np.float64 if what == STABILIZED else np.dtype(what))
        render(encoding, base, top, what, self.backend)(unsigned, start * pixels, pixels, out)
        return out.reshape(shape)


class Labels:
    """Values of a chunk to labels, in one pass where a lookup table serves."""

    def __init__(self, layout: Plain, found: Extent) -> None:
        encoding = layout.encoding
        self._kernels, self._seed = layout.backend.kernels, encoding.seed
        table = encoding.table()
        self._step, self._phases = table.step, table.phases
        self._luts = table.luts() * table.step if table.has_lut else None
        self._forward = None if table.has_lut else Forward(table, found, layout.backend, self._seed)

    def __call__(self, flat: NDArray, first: int, out: NDArray[np.float64]) -> None:
        """Labels of values that begin with sample ``first`` of the chunk."""
        values = flat.reshape(1, -1)
        target = out.reshape(1, -1)
        if self._forward is not None:
            codes = np.empty(values.shape, self._forward.dtype)
            self._forward(values, first, 0, codes)
            np.multiply(codes.astype(np.int64) + self._forward.base, self._step, out=target)
            return
        patterns = values.view(f"u{values.dtype.itemsize}")
        assert self._luts is not None
        if self._phases > 1:
            self._kernels.forward_lut_phased(patterns, self._luts, self._seed, first, 0, target)
        else:
            self._kernels.forward_lut(patterns, self._luts[0], target)


def _unquantized(labels: NDArray, noise: object, dtype: np.dtype) -> NDArray:
    """Values of a store that was not quantized: the algebraic inverse, rounded for integers."""
    values = inverse_anscombe(labels, noise)  # type: ignore[arg-type]
    if dtype.kind == "f":
        return values.astype(dtype)
    info = np.iinfo(dtype)
    rounded = np.rint(values)
    outside = ~((rounded >= info.min) & (rounded <= info.max))
    if outside.any():
        raise CorruptDataError(
            f"{int(outside.sum())} values of a chunk decode to what {dtype.name} cannot hold, "
            f"{rounded[outside][0]} for one"
        )
    return rounded.astype(dtype)


__all__ = ["Plain", "frames_to_rows"]
