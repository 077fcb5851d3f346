"""Layout plain: stabilized values ``step*k`` as float64, for any Zarr reader (formats 1.0 to 1.3)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.blosc import FrameOf, compress_blocks, decompress_span, frame_sizes
from photon_gpu.engine.codec.blosc.c_functions import encode
from photon_gpu.engine.codec.dequantize import render
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.quantize import Extent, Quantizer, extent, span
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart, Values
from photon_gpu.engine.layouts.base import stored_rows
from photon_gpu.engine.layouts.plain_decode import LabelDecoder
from photon_gpu.engine.layouts.plain_encode import (
    frame_of_labels,
    frames_of_values,
    has_planes,
    planes_for_zstd,
)
from photon_gpu.engine.layouts.sealed_blosc_layout import SealedFrames
from photon_gpu.engine.model.anscombe import inverse_anscombe
from photon_gpu.engine.model.clipping_levels_code_table import MARKS, ClippedCodeTable
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import CorruptDataError, InvalidInputError


class Plain(SealedFrames):
    """Layout plain, format 1.0 or 1.2; without ``quantization_step`` a store has unquantized values."""

    seal_version = (1, 3)

    @property
    def version(self) -> str:  # type: ignore[override]
        """1.2 with clipping levels, whose labels lie between those of codes, else 1.0."""
        return "1.2" if self.encoding.clipped else "1.0"

    itemsize = 8

    def __init__(self, encoding: Encoding, backend: Backend) -> None:
        super().__init__(encoding, backend)
        self._decoder = LabelDecoder(encoding)

    @property
    def dtype(self) -> np.dtype:
        """Float64, little-endian."""
        return np.dtype("<f8")

    def encode(
        self, values: NDArray, chunk: tuple[int, ...], resources: Resources, first_frame: int = 0
    ) -> bytes:
        """See the base class."""
        total = math.prod(chunk)
        there = math.prod(values.shape)
        stages = resources.stages
        if isinstance(values, np.ndarray):
            values = np.ascontiguousarray(values)
        fill = self.labelled(values, first_frame, stages, resources.split)

        def block(start: int, stop: int) -> NDArray[np.float64]:
            began = time.perf_counter()
            out, size = scratch("labels", (stop - start,), np.float64), max(min(stop, there) - start, 0)
            if size:
                fill(start, out[:size])
            out[size:] = 0.0
            spent = time.perf_counter() - began
            stages.add("transform", spent)
            stages.add("compress", -spent)  # this function is called within that stage
            return out

        split, compressor = resources.split.timed(stages, "compress"), self.encoding.compressor
        frame_of, encode_items = None, encode
        if has_planes(compressor, self.encoding.step):
            with stages.timed("compress"):
                by_zstd = planes_for_zstd(block, total, compressor)
            frame_of = self._compiled(values, by_zstd)
            encode_items = partial(frame_of_labels, by_zstd=by_zstd)
        return compress_blocks(
            block,
            total,
            8,
            compressor,
            split,
            seal=self.seal(chunk, first_frame),
            frame_of=frame_of,
            encode_items=encode_items,
            buffers=resources.buffers,
        )

    def _compiled(self, values: NDArray, by_zstd: int) -> FrameOf | None:
        """Return compiled calls that encode parts of a chunk; None if the values have no lookup table."""
        compiled = self.backend.gpu is None and self.backend.name != "numpy" and not self.encoding.channels
        if not compiled or not (table := self.encoding.table()).has_lut:
            return None
        return frames_of_values(values.reshape(-1), table.label_luts(), self.encoding.seed, by_zstd)

    def labelled(
        self, values: NDArray, first_frame: int, stages: Stages, split: Split = WHOLE
    ) -> Callable[[int, NDArray[np.float64]], None]:
        """Return ``fill(start, out)``, which writes the labels of a chunk's samples from ``start`` on."""
        labels: Labels | LabelsOfCodes
        if self.backend.gpu is not None:
            flat, base = self.backend.gpu.codes(values, self.encoding, first_frame=first_frame, stages=stages)
            _check_codes(base, int(flat.max()), self._marks)
            labels = LabelsOfCodes(self, base)
        else:
            with stages.timed("transform"):
                noise = self.encoding.noise
                label_range = extent(values, self.backend, noise=noise, first_frame=first_frame, split=split)
            labels = Labels(self, label_range)
            flat = np.ascontiguousarray(values).reshape(-1)
        return lambda start, out: labels(flat[start : start + out.size], start, out)

    def check(self, bounds: Extent) -> tuple[int, int]:
        """See the base class."""
        codes = span(self.encoding.table(), bounds)
        _check_codes(*codes, self._marks)
        return codes

    @property
    def _marks(self) -> int:
        """Number of grid marks of the labels per step."""
        return MARKS if self.encoding.clipping else 1

    def decode(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """See the base class."""
        return self.decode_part(data, replace(part, rows=None), what, split, out=out)

    def decode_part(
        self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE, *, out: NDArray | None = None
    ) -> NDArray:
        """Decode some rows. Blosc decompresses whole blocks, and skips blocks without requested rows."""
        pixels, columns, rows = part.frame_size, part.chunk[-1], part.row_range
        self.check_origin(data, part.number)
        nbytes, size = frame_sizes(data)
        if nbytes != pixels * part.chunk[0] * 8:
            raise CorruptDataError(
                f"a chunk decompresses to {nbytes:,} bytes; its metadata say {pixels * part.chunk[0] * 8:,}"
            )
        if out is None:
            out = part.empty(what)
        flat, first, end = out.reshape(-1), part.start * pixels, part.end * pixels
        as_they_are = what == STABILIZED and self.encoding.phases == 1

        def open_samples(low: int, high: int) -> None:
            span = flat[low - first : high - first]
            into = span.view(np.uint8) if as_they_are else scratch("span", (8 * span.size,), np.uint8)
            labels = decompress_span(data, low * 8, high * 8, into).view("<f8")
            self.render(labels, low, span, what)

        every_row = rows == replace(part, rows=None).row_range
        quantized = self.encoding.step is not None and not self.encoding.channels
        compiled = quantized and self.backend.name != "numpy"
        needed = replace(part, rows=None) if every_row else part
        if compiled and self._decoder.decode(data, needed, what, flat, split, open_samples):
            return out
        # Spans end where Blosc's blocks end, so that no block is opened twice.
        # If all rows are requested, spans have the length that is fastest.
        per_span = max(size // 8, (1 << 20 if every_row else 1 << 17) // max(size // 8, 1) * (size // 8))
        edges = [first, *range((first // per_span + 1) * per_span, end, per_span), end]
        wanted = rows[0] * columns, rows[1] * columns

        def holds(low: int, high: int) -> bool:
            """Whether a requested row of any frame is in this span."""
            begin = low // pixels * pixels
            here = low < begin + wanted[1] and high > begin + wanted[0]
            return here or high > begin + pixels + wanted[0]

        def open_spans(numbers: tuple[int, int]) -> None:
            for i in range(*numbers):
                if holds(edges[i], edges[i + 1]):
                    open_samples(edges[i], edges[i + 1])

        list(split.run(open_spans, split.ranges(len(edges) - 1)))
        return out

    def decode_rows(self, data: bytes, part: ChunkPart, whats: Sequence[Values]) -> list[NDArray]:
        """See the base class."""
        self.check_origin(data, part.number)
        labels = stored_rows(data, part, self.dtype)
        flat = labels.reshape(len(labels), -1)
        decoded = []
        for what in whats:
            if what == STABILIZED:
                out = flat.copy()
            else:
                out = np.empty(flat.shape, np.dtype(what))
            self.render(flat, part.first_sample, out, what, stride=part.frame_size)
            decoded.append(out.reshape(labels.shape))
        return decoded

    def decode_on_gpu(self, data: bytes, part: ChunkPart, what: Values, split: Split = WHOLE) -> Any:
        """See the base class. Labels are copied to the GPU, which turns them into codes."""
        encoding = self.encoding
        if encoding.step is None or encoding.clipping or (what == STABILIZED and encoding.phases == 1):
            return super().decode_on_gpu(data, part, what, split)
        gpu = self._gpu()
        self.check_origin(data, part.number)
        pixels = part.frame_size
        labels = decompress_span(data, part.start * pixels * 8, part.end * pixels * 8).view("<f8")
        shaped = labels.reshape(part.frames, pixels)
        values = gpu.counts_from_labels(shaped, part.start, encoding, what, gpu.lanes[0].number)
        return values.reshape(part.shape)

    def render(
        self, labels: NDArray[np.float64], first: int, out: NDArray, what: Values, *, stride: int = 0
    ) -> None:
        """Decode labels ``[t, i]``, samples ``first + t*stride + i`` of the chunk, into ``out``."""
        encoding = self.encoding
        if encoding.step is None:
            if what != STABILIZED:
                out[...] = _unquantized(labels, encoding.noise, np.dtype(what))
            return
        codes = scratch("codes", (labels.size,), np.int32)
        strange = self.backend.kernels.codes_from_labels(
            labels.reshape(-1), encoding.step / self._marks, codes
        )
        if encoding.clipping and not strange:
            table = encoding.table()
            assert isinstance(table, ClippedCodeTable)
            codes[...], strange = table.codes_of_marked(codes)
        if strange:
            raise CorruptDataError(
                f"{strange} of {codes.size} values of a chunk are not multiples of the step"
            )
        base, top = int(codes.min()), int(codes.max()) - int(codes.min())
        self._decoder.saw(base, base + top)
        if what == STABILIZED and encoding.phases == 1:
            return  # the labels are in out already
        codes -= np.int32(base)
        frames = len(labels) if labels.ndim > 1 else 1
        unsigned = codes.view(np.uint32).reshape(frames, -1)
        render(encoding, base, top, what, self.backend)(unsigned, first, stride, out.reshape(frames, -1))


class Labels:
    """Turns values of a chunk into labels, in one pass if there is a lookup table."""

    def __init__(self, layout: Plain, bounds: Extent) -> None:
        encoding = layout.encoding
        self._kernels, self._seed = layout.backend.kernels, encoding.seed
        table = self._table = encoding.table()
        self._phases = table.phases
        self._luts = table.label_luts() if table.has_lut else None
        self._quantize = None if table.has_lut else Quantizer(table, bounds, layout.backend, self._seed)
        layout.check(bounds)

    def __call__(self, flat: NDArray, first: int, out: NDArray[np.float64]) -> None:
        """Write labels of values, of which the first is sample ``first`` of the chunk, to ``out``."""
        values = flat.reshape(1, -1)
        target = out.reshape(1, -1)
        if self._quantize is not None:
            codes = np.empty(values.shape, self._quantize.dtype)
            self._quantize(values, first, 0, codes)
            target[...] = self._table.labels(codes.astype(np.int64) + self._quantize.base)
            return
        patterns = values.view(f"u{values.dtype.itemsize}")
        assert self._luts is not None
        if self._phases > 1:
            self._kernels.quantize_lut_phased(patterns, self._luts, self._seed, first, 0, target)
        else:
            self._kernels.quantize_lut(patterns, self._luts[0], target)


def _check_codes(base: int, top: int, marks: int) -> None:
    bits = 29 if marks == MARKS else 31  # bits of a label in units of its grid, which is read as int32
    if max(abs(base), abs(base + top)) >= 1 << bits:
        raise InvalidInputError(
            f"a chunk has codes {base:,} to {base + top:,}; layout 'plain' reads back codes below "
            f"2**{bits}: check the "
            "noise model, take a larger step, or use layout='lossless'"
        )


class LabelsOfCodes:
    """Turns codes from a GPU, counted from ``base``, into labels."""

    def __init__(self, layout: Plain, base: int) -> None:
        self._kernels, self._base = layout.backend.kernels, base
        self._table = layout.encoding.table()
        self._tables: dict[np.dtype, NDArray] = {}

    def __call__(self, flat: NDArray, first: int, out: NDArray[np.float64]) -> None:
        """Write labels of codes to ``out``."""
        if flat.dtype.itemsize > 2:
            out[...] = self._table.labels(flat.astype(np.int64) + self._base)
            return
        if flat.dtype not in self._tables:
            codes = np.arange(1 << 8 * flat.dtype.itemsize) + self._base
            self._tables[flat.dtype] = self._table.labels(codes)
        self._kernels.dequantize(flat.reshape(1, -1), self._tables[flat.dtype], out.reshape(1, -1))


def _unquantized(labels: NDArray, noise: NoiseModel | None, dtype: np.dtype) -> NDArray:
    """Compute values of a store without quantization by the algebraic inverse; round them for integers."""
    values = inverse_anscombe(labels, noise)
    if dtype.kind == "f":
        return values.astype(dtype)
    info = np.iinfo(dtype)
    rounded = np.rint(values)
    outside = ~((rounded >= info.min) & (rounded <= info.max))
    if outside.any():
        raise CorruptDataError(
            f"{int(outside.sum())} values of a chunk decode to numbers that {dtype.name} cannot hold, "
            f"such as {rounded[outside][0]}"
        )
    return rounded.astype(dtype)
