"""Plan of one chunk: the settings that follow from its extent, and the payload being built."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import Header, block_shape, header_bytes, identity
from photon_gpu.engine.codec.predictors import MIX, NAMES, Predictor, band_rows, kernel_weights, rates
from photon_gpu.engine.codec.quantize import Extent, Quantizer, narrowest, span
from photon_gpu.engine.codec.residual_bands import SEGMENT, Memory, Places, Writer, new_bytes
from photon_gpu.engine.codec.weights_per_frame import fit_frames
from photon_gpu.engine.runtime.pool import Split
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.errors import InvalidInputError
from photon_gpu.kernels import cpu_encode
from photon_gpu.kernels.cpu_predict import USUAL, predictor
from photon_gpu.kernels.cpu_rans import most_words

_MOST_VALUES = 1 << 32


class ChunkPlan:
    """Settings of one chunk that follow from its extent, and the payload that is being built.

    ``shape`` is the shape of the values, ``chunk`` that of a whole chunk, ``first_frame`` the number of their
    first frame in the movie. ``host`` has the kernels for host memory, if the backend's work elsewhere.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
        encoding: Encoding,
        bounds: Extent,
        backend: Backend,
        host: ModuleType | None = None,
        *,
        first_frame: int = 0,
        memory: Memory = new_bytes,
    ) -> None:
        self.chunk, self.encoding = tuple(chunk), encoding
        self._number, self._movie = identity(encoding.movie_id, first_frame // chunk[0])
        self.frames = shape[0] if len(chunk) > 1 else 1
        _, self.rows, self.columns = block_shape(chunk)
        self.band = band_rows(self.rows, self.columns)
        if encoding.exact:
            code_span(encoding, bounds)  # that stabilized values can be read, too
        self.forward = quantizer_for(encoding, bounds, backend)
        self.dtype, self.width = self.forward.dtype, self.forward.dtype.itemsize
        # Codes of 32 bits exceed the predictors' arithmetic, and the range of any detector.
        self.predictor = encoding.predictor if self.width < 4 else Predictor(name="none")
        self._header_weights = self.predictor.relative(self.forward.base, self.forward.top)
        self.weights = kernel_weights(self.predictor.name, self._header_weights, self.frames)
        self.steps = rates(self.frames, self.predictor.rate)
        places = Places(
            frames=self.frames,
            rows=self.rows,
            columns=self.columns,
            band=self.band,
            width=self.width,
            packed=self.width < 4 and not self.predictor.coded,
            coded=self.predictor.coded,
            levels=self.predictor.levels,
            weights=self.frames * MIX if self.predictor.name == "moving" else 0,
        )
        self._host = host or backend.kernels
        size = header_bytes(len(chunk), bool(encoding.clipping), bool(encoding.peaks))
        self.body = Writer(places, size, self._host, memory)

    def encode_bands(self, values: NDArray, split: Split) -> int:
        """Encode ``values``, 1-D in C order, by compiled kernels; return the sum of the codes' checksums.

        Only codes of one or two bytes are encoded this way.
        """
        places, columns = self.body.places, self.columns
        values, quantizer = self.forward.compiled(values)
        levels = np.zeros((places.bands, places.levels), np.int64)
        counts = np.zeros(places.bands if places.coded else places.segments, np.int64)
        ranges = split.ranges(places.bands)

        def grid_of(part: tuple[int, int]) -> cpu_encode.EncodeGrid:
            begin, end = part[0] * self.band, min(part[1] * self.band, self.rows)
            return cpu_encode.EncodeGrid(self.frames, self.rows, columns, self.band, begin, end)

        def quantize_part(part: tuple[int, int]) -> None:
            cpu_encode.quantize_bands(values, grid_of(part), quantizer, codes)

        def encode_part(part: tuple[int, int]) -> tuple[int, NDArray]:
            grid = grid_of(part)
            long, to = self._to(grid, counts, kept=len(ranges) == 1)
            total = cpu_encode.encode_bands(values, grid, (quantizer, how), to, levels, self._work())
            return int(total), long

        one_call = (
            isinstance(quantizer, cpu_encode.ByRoot | cpu_encode.ByCutRoot) and self.predictor.name in USUAL
        )
        if not one_call:
            codes = scratch("all codes", (self.frames * self.rows * columns,), self.dtype)
            list(split.run(quantize_part, ranges))
        if self.predictor.name == "moving":
            edges = [self.frames * columns * first for first in range(self.band, self.rows, self.band)]
            bands = [part.reshape(self.frames, -1, columns) for part in np.split(codes, edges)]
            self.fit(np.concatenate(bands, axis=1))
        if not one_call:
            values, quantizer = codes, cpu_encode.InBands(codes)
        how = predictor(self.predictor.name, self.steps, self.weights)
        done = list(split.run(encode_part, ranges))
        self.body.put_parts(ranges, counts, [long for _, long in done], levels)
        return sum(total for total, _ in done)

    def _to(
        self, grid: cpu_encode.EncodeGrid, counts: NDArray[np.int64], *, kept: bool
    ) -> tuple[NDArray, cpu_encode.Packed | cpu_encode.Coded]:
        """Memory for the escapes or words of some bands, and for their residuals.

        Where one thread does all bands, it is scratch memory, which need not be made and freed.
        """
        places, each = self.body.places, self.frames * self.band * self.columns
        if places.coded:
            room = most_words(each, places.levels, self.width)
            shape = (room * -(-(grid.end - grid.begin) // self.band),)
            words = scratch("all words", shape, np.uint16) if kept else np.empty(shape, np.uint16)
            return words, cpu_encode.Coded(words, counts, room)
        samples = self.frames * (grid.end - grid.begin) * self.columns
        shape = (samples + SEGMENT,)
        escapes = scratch("all escapes", shape, self.dtype) if kept else np.empty(shape, self.dtype)
        return escapes, cpu_encode.Packed(self.body.all_nibbles, counts, escapes, SEGMENT, each)

    def _work(self) -> cpu_encode.EncodeScratch:
        """Scratch memory of this thread for one band."""
        height = min(self.band, self.rows)
        size = (self.frames * height * self.columns,)
        codes, residuals, ordered = (scratch(n, size, self.dtype) for n in ("codes", "residuals", "ordered"))
        state = scratch("state", (3 * (height + 2) * (self.columns + 2),), np.int32)
        return cpu_encode.EncodeScratch(codes, residuals, ordered, state)

    def put(self, first: int, codes: NDArray, residuals: NDArray) -> None:
        """Add codes and residuals ``(T, rows, columns)`` of the band that begins with row ``first``."""
        if not self.predictor.levels:
            self.body.put(first, residuals)
            return
        levels = np.empty(self.predictor.levels, np.int64)
        self._host.count_levels(codes, residuals, levels)
        ordered = scratch("ordered", (residuals.size,), residuals.dtype)
        self._host.sort_levels(codes, residuals, np.cumsum(levels) - levels, ordered)
        self.body.put(first, ordered, levels)

    def fit(self, codes: NDArray) -> None:
        """Fit weights for every frame to all codes ``(T, rows, columns)`` of the chunk."""
        self.weights = fit_frames(codes, self.predictor.rate, self.forward.top)
        self.body.weights[...] = self.weights.reshape(-1)

    def finished(self, checksum: int) -> NDArray[np.uint8]:
        """Return the payload, with its header."""
        payload, places = self.body.finished()
        return self._with_header(payload, places, checksum)

    def before_residuals(self, counts: NDArray[np.int64], checksum: int) -> NDArray[np.uint8] | None:
        """Return what precedes the packed residuals, if they lie elsewhere; None if they save nothing."""
        head = self.body.before_residuals(counts)
        return None if head is None else self._with_header(head, self.body.places, checksum)

    def _with_header(self, payload: NDArray[np.uint8], places: Places, checksum: int) -> NDArray[np.uint8]:
        noise, encoding, forward = self.encoding.noise, self.encoding, self.forward
        assert noise is not None and encoding.step is not None
        header = Header(
            predictor=NAMES.index(self.predictor.name),
            width=self.width,
            exact=encoding.exact,
            clipping=encoding.clipping,
            peaks=encoding.peaks,
            phases=encoding.phases,
            dtype=encoding.dtype,
            frames=self.frames,
            base=forward.base,
            checksum=checksum % (1 << 64),
            band_rows=self.band,
            seed=encoding.seed,
            rate=self.predictor.rate,
            top=forward.top,
            gain=noise.gain,
            offset=noise.offset,
            variance=noise.variance,
            step=encoding.step,
            packed=places.packed,
            coded=places.coded,
            levels=self.predictor.levels,
            weights_crc=self.body.weights_crc,
            shape=self.chunk,
            weights=self._header_weights,
            number=self._number,
            movie=self._movie,
        )
        payload[: header.nbytes] = np.frombuffer(header.pack(), np.uint8)
        return payload


def code_span(encoding: Encoding, bounds: Extent) -> tuple[int, int]:
    """Return least code and width of an extent; raise InvalidInputError if a chunk cannot hold both ends."""
    codes = span(encoding.table(), bounds)
    if encoding.exact and int(bounds.high) - int(bounds.low) >= _MOST_VALUES:
        raise InvalidInputError(
            f"a chunk spans {int(bounds.high) - int(bounds.low):,} values; at most 2**32 fit: use "
            f"layout='lossless'"
        )
    return codes


def quantizer_for(encoding: Encoding, bounds: Extent, backend: Backend) -> Quantizer | ExactQuantizer:
    """Return the quantizer for values of an extent."""
    if encoding.exact:
        return ExactQuantizer(bounds, backend)
    return Quantizer(encoding.table(), bounds, backend, encoding.seed)


class ExactQuantizer:
    """Replaces :class:`Quantizer` if the values themselves are stored."""

    def __init__(self, bounds: Extent, backend: Backend) -> None:
        self.base, self.top = int(bounds.low), int(bounds.high) - int(bounds.low)
        self.dtype, self._kernels = narrowest(self.top), backend.kernels

    def __call__(self, values: NDArray, first: int, stride: int, out: NDArray) -> None:
        """Write ``values (T, n)`` less ``base`` to ``out``."""
        self._kernels.subtract(values, self.base, out)

    def compiled(self, values: NDArray) -> tuple[NDArray, Any]:
        """See :meth:`photon_gpu.engine.codec.quantize.Quantizer.compiled`."""
        return values, cpu_encode.ByDifference(self.base)
