"""Encode chunks to compact payloads and decode them, in independent bands of rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.bands import Places, Writer, from_planes
from photon_gpu.engine.codec.dequantize import STABILIZED, render
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import (
    Header,
    Need,
    block_shape,
    check_place,
    header_bytes,
    identity,
    unpack,
)
from photon_gpu.engine.codec.predictors import MIX, NAMES, Predictor, band_rows, mix, rates
from photon_gpu.engine.codec.quantize import Extent, Quantizer, extent, narrowest, span
from photon_gpu.engine.codec.weights_per_frame import fit_frames
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.runtime.crc import crc32
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.engine.runtime.stopwatch import Map, Stages
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.kernels import cpu

Empty = Callable[[tuple[int, ...], np.dtype], NDArray]

_MOST_VALUES = 1 << 32

ALTERED = "the codes of a chunk fail their checksum: the chunk was altered"


def encode(
    values: NDArray,
    chunk: tuple[int, ...],
    encoding: Encoding,
    backend: Backend,
    *,
    first_frame: int = 0,
    run: Map = map,
    stages: Stages,
) -> NDArray[np.uint8]:
    """Encode a chunk to its payload: a header, then the residuals of each band of rows."""
    with stages.timed("transform"):
        found = extent(values, backend, noise=encoding.noise, first_frame=first_frame)
        plan = ChunkPlan(values.shape, chunk, encoding, found, backend, first_frame=first_frame)
    block = values.reshape(plan.frames, plan.rows, plan.columns)

    bands = range(0, plan.rows, plan.band)

    def coded(first: int, empty: Empty) -> tuple[NDArray, int]:
        stop = min(first + plan.band, plan.rows)
        start, pixels = first * plan.columns, plan.rows * plan.columns
        with stages.timed("transform"):
            piece = block[:, first:stop].reshape(plan.frames, -1)
            codes = empty(piece.shape, plan.dtype)
            plan.forward(piece, start, pixels, codes)
            total = int(backend.kernels.checksum(codes, start, pixels))
        return codes.reshape(plan.frames, stop - first, plan.columns), total

    def predicted(first: int, codes: NDArray) -> None:
        with stages.timed("predict"):
            residuals = scratch("residuals", codes.shape, codes.dtype)
            _predict(plan.predictor.name, codes, plan.weights, plan.steps, residuals, backend)
            plan.put(first, codes, residuals)

    def encode_band(first: int) -> int:
        codes, total = coded(first, partial(scratch, "codes"))
        predicted(first, codes)
        return total

    if plan.predictor.name != "moving":
        return plan.finished(sum(run(encode_band, bands)))
    made = list(run(lambda first: coded(first, np.empty), bands))
    with stages.timed("predict"):
        plan.fit(np.concatenate([codes for codes, _ in made], axis=1))
    list(run(lambda i: predicted(bands[i], made[i][0]), range(len(made))))
    return plan.finished(sum(total for _, total in made))


def encode_raw(
    values: NDArray, chunk: tuple[int, ...], encoding: Encoding, backend: Backend, *, first_frame: int = 0
) -> NDArray[np.uint8]:
    """Payload of a chunk that cannot be quantized: its exact values, in any dtype."""
    frames, rows, columns = block_shape((len(values), *chunk[1:]))
    noise, width = encoding.noise, values.dtype.itemsize
    assert noise is not None and encoding.step is not None
    places = Places(frames=frames, rows=rows, columns=columns, band=rows, width=width, packed=False, levels=0)
    body = Writer(places, header_bytes(len(chunk)), backend.kernels)
    body.put(0, np.ascontiguousarray(values).view(f"u{width}"))
    payload, _ = body.finished()
    size = header_bytes(len(chunk))
    number, movie = identity(encoding.movie_id, first_frame // chunk[0])
    header = Header(
        predictor=NAMES.index("none"),
        width=width,
        exact=False,
        raw=True,
        phases=encoding.phases,
        dtype=encoding.dtype,
        frames=frames,
        base=0,
        checksum=crc32(payload[size:]),
        band_rows=rows,
        seed=encoding.seed,
        rate=1,
        top=0,
        gain=noise.gain,
        offset=noise.offset,
        variance=noise.variance,
        step=encoding.step,
        weights_crc=body.weights_crc,
        shape=tuple(chunk),
        number=number,
        movie=movie,
    )
    payload[:size] = np.frombuffer(header.pack(), np.uint8)
    return payload


class ChunkPlan:
    """Settings of one chunk, which follow from its extent, and the payload that is being built.

    ``shape`` is that of the values, ``chunk`` that of a whole chunk, ``first_frame`` the number of their
    first frame in the movie. ``host`` are kernels for host memory, if those of the backend work elsewhere.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
        encoding: Encoding,
        found: Extent,
        backend: Backend,
        host: ModuleType | None = None,
        *,
        first_frame: int = 0,
    ) -> None:
        self.chunk, self.encoding = tuple(chunk), encoding
        self._number, self._movie = identity(encoding.movie_id, first_frame // chunk[0])
        self.frames = shape[0] if len(chunk) > 1 else 1
        _, self.rows, self.columns = block_shape(chunk)
        self.band = band_rows(self.rows, self.columns)
        if encoding.exact:
            code_span(encoding, found)  # that stabilized values can be read, too
        self.forward = quantizer_for(encoding, found, backend)
        self.dtype, self.width = self.forward.dtype, self.forward.dtype.itemsize
        # Codes of 32 bits are beyond the predictors' arithmetic, and beyond any detector's.
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
        self.body = Writer(places, header_bytes(len(chunk)), self._host)

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
        noise, encoding, forward = self.encoding.noise, self.encoding, self.forward
        assert noise is not None and encoding.step is not None
        payload, places = self.body.finished()
        header = Header(
            predictor=NAMES.index(self.predictor.name),
            width=self.width,
            exact=encoding.exact,
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


def decode(
    payload: NDArray[np.uint8],
    chunk: tuple[int, ...],
    encoding: Encoding,
    backend: Backend,
    *,
    start: int = 0,
    stop: int | None = None,
    what: str | np.dtype = STABILIZED,
    number: int | None = None,
    run: Map = map,
    out: NDArray | None = None,
) -> NDArray:
    """Decode frames ``start:stop`` of a payload, to ``out`` if given, and verify its checksum.

    ``number`` is the number of the chunk, if known; a chunk that states another number is an error. Without
    ``stop``, frames beyond those of the chunk (a movie's last chunk may be short) are zeros.
    """
    opened = Opened(payload, chunk, encoding, start, stop, what, number=number)
    if opened.header.raw:
        return opened.raw(encoding, out)
    header, rows, columns = opened.header, opened.rows, opened.columns
    frames, pixels = header.frames, rows * columns
    if out is None:
        out = np.empty(opened.shape, opened.dtype)
    target = out.reshape(opened.stop - opened.start, pixels)
    target[opened.present :] = 0
    draw = render(encoding, header.base, header.top, what, backend)

    def decode_band(first: int) -> int:
        last = min(first + header.band_rows, rows)
        codes = scratch("codes", (frames, last - first, columns), f"u{header.width}")
        opened.restore(first, codes, backend)
        flat = codes.reshape(frames, -1)
        if opened.present:
            place = target[: opened.present, first * columns : last * columns]
            kept = flat[opened.start : opened.start + opened.present]
            draw(kept, opened.start * pixels + first * columns, pixels, place)
        return int(backend.kernels.checksum(flat, first * columns, pixels))

    opened.check(sum(run(decode_band, range(0, rows, header.band_rows))))
    return out


class Opened:
    """A payload with a valid header, and the requested range of its frames."""

    def __init__(
        self,
        payload: NDArray[np.uint8],
        chunk: tuple[int, ...],
        encoding: Encoding,
        start: int,
        stop: int | None,
        what: str | np.dtype,
        need: Need | None = None,
        *,
        number: int | None = None,
    ) -> None:
        self.header, self.body = unpack(payload, need)
        _check(self.header, chunk, encoding)
        check_place(self.header, encoding.movie_id, number)
        total, self.rows, self.columns = block_shape(chunk)
        if len(chunk) < 2:
            total, start, stop = 1, 0, 1
        if stop is not None and len(chunk) > 1 and stop > self.header.frames:
            raise CorruptDataError(f"a chunk holds {self.header.frames} frames; {stop} belong there")
        self.start, self.stop = start, total if stop is None else stop
        self.shape = chunk if len(chunk) < 2 else (self.stop - self.start, *chunk[1:])
        self.present = max(min(self.stop, self.header.frames) - self.start, 0)
        self.stabilized = what == STABILIZED
        self.dtype = np.dtype(np.float64) if what == STABILIZED else np.dtype(what)
        self.predictor = NAMES[self.header.predictor]
        self.steps = rates(self.header.frames, self.header.rate)
        self.weights = kernel_weights(self.predictor, self.header.weights, self.header.frames)
        if self.header.moving:
            self.weights = self.body.weights.reshape(-1, MIX)
        whole = need is None and self.header.packed
        self.escapes = self.body.escapes if whole else np.empty(0, np.uint8)

    def residuals(self, first: int, kernels: ModuleType) -> NDArray:
        """Residuals of the band from row ``first``, 1-D, as they are stored, in scratch of the thread."""
        found = self.body.residuals(first, self.escapes, kernels)
        if found is None:
            raise CorruptDataError(ALTERED)
        return found

    def restore(self, first: int, codes: NDArray, backend: Backend) -> None:
        """Restore codes ``(T, rows, columns)`` of the band that begins with row ``first``."""
        header = self.header
        if backend.kernels is cpu and self.predictor == "mean" and header.packed and header.width == 1:
            if not self.body.restore_mean(
                first, self.escapes, self.steps, int(self.weights[0, -1]) >> 8, codes
            ):
                raise CorruptDataError(ALTERED)
            return
        residuals = self.residuals(first, backend.kernels)
        if not header.levels:
            restore(
                self.predictor,
                residuals.reshape(codes.shape),
                self.weights,
                self.steps,
                codes,
                backend,
            )
            return
        levels = self.body.levels[first // header.band_rows]
        missing, left = restore_sorted(
            self.predictor, residuals, levels, self.weights, self.steps, codes, backend
        )
        if missing or left:
            raise CorruptDataError(ALTERED)

    def raw(self, encoding: Encoding, out: NDArray | None) -> NDArray:
        """Decode a chunk of exact values; their stabilized values are not quantized."""
        header, body = self.header, self.body.band(0)
        self.check(crc32(body))
        values = from_planes(body, header.width).view(encoding.dtype).reshape(header.frames, -1)
        kept = values[self.start : self.start + self.present]
        out = np.empty(self.shape, self.dtype) if out is None else out
        target = out.reshape(self.stop - self.start, self.rows * self.columns)
        target[: self.present] = anscombe(kept, encoding.noise) if self.stabilized else kept
        target[self.present :] = 0
        return out

    def check(self, checksum: int) -> None:
        """Raise CorruptDataError if the checksum of the codes is not that of the header."""
        if checksum % (1 << 64) != self.header.checksum:
            raise CorruptDataError(ALTERED)


def code_span(encoding: Encoding, found: Extent) -> tuple[int, int]:
    """Least code of an extent, and its width; InvalidInputError where a chunk cannot hold both ends."""
    codes = span(encoding.table(), found)
    if encoding.exact and int(found.high) - int(found.low) >= _MOST_VALUES:
        raise InvalidInputError(
            f"a chunk spans {int(found.high) - int(found.low):,} values; at most 2**32 fit: use "
            f"layout='lossless'"
        )
    return codes


def quantizer_for(encoding: Encoding, found: Extent, backend: Backend) -> Quantizer | ExactQuantizer:
    """Quantizer for values of an extent."""
    if encoding.exact:
        return ExactQuantizer(found, backend)
    return Quantizer(encoding.table(), found, backend, encoding.seed)


class ExactQuantizer:
    """Replaces :class:`Quantizer` where the values themselves are stored."""

    def __init__(self, found: Extent, backend: Backend) -> None:
        self.base, self.top = int(found.low), int(found.high) - int(found.low)
        self.dtype, self._kernels = narrowest(self.top), backend.kernels

    def __call__(self, values: NDArray, first: int, stride: int, out: NDArray) -> None:
        """Write ``values (T, n)`` less ``base`` to ``out``."""
        self._kernels.subtract(values, self.base, out)


def _state(rows: int, columns: int) -> NDArray[np.int32]:
    """Scratch memory of the predictors' kernels for a band."""
    return scratch("state", (3, rows + 2, columns + 2), np.int32)


def kernel_weights(name: str, weights: NDArray[np.int32], frames: int) -> NDArray[np.int32]:
    """Weights in the form that the kernel of a predictor takes."""
    return mix(weights, frames) if name in ("full", "spatial") else weights


def _predict(
    name: str, codes: NDArray, weights: NDArray, steps: NDArray, out: NDArray, backend: Backend
) -> None:
    frames, rows, columns = codes.shape
    state = _state(rows, columns)
    kernels = backend.kernels
    if name == "none":
        out[...] = codes
    elif name == "mean":
        first = int(weights[0, -1]) >> 8
        kernels.predict_mean(
            codes.reshape(frames, -1), steps, first, state.reshape(-1), out.reshape(frames, -1)
        )
    elif name == "past":
        kernels.predict_past(codes, weights, steps, state, out)
    elif name == "spatial":
        for t in range(frames):
            kernels.predict_full(codes[t : t + 1], weights[:1], steps[:1], state, out[t : t + 1])
    elif name in ("full", "moving"):
        kernels.predict_full(codes, weights, steps, state, out)
    else:
        raise InvalidInputError(f"predictor {name!r} has no kernel here")


def restore(
    name: str, body: NDArray, weights: NDArray, steps: NDArray, out: NDArray, backend: Backend
) -> None:
    """Restore codes ``(T, rows, columns)`` of a band from residuals of the same shape."""
    frames, rows, columns = body.shape
    state = _state(rows, columns)
    kernels = backend.kernels
    if name == "none":
        out[...] = body
    elif name == "mean":
        first = int(weights[0, -1]) >> 8
        kernels.restore_mean(
            body.reshape(frames, -1), steps, first, state.reshape(-1), out.reshape(frames, -1)
        )
    elif name == "past":
        kernels.restore_past(body, weights, steps, state, out)
    elif name == "spatial":
        for t in range(frames):
            kernels.restore_full(body[t : t + 1], weights[:1], steps[:1], state, out[t : t + 1])
    elif name in ("full", "moving"):
        kernels.restore_full(body, weights, steps, state, out)
    else:
        raise InvalidInputError(f"predictor {name!r} has no kernel here")


def restore_sorted(
    name: str,
    residuals: NDArray,
    levels: NDArray,
    weights: NDArray,
    steps: NDArray,
    out: NDArray,
    backend: Backend,
) -> tuple[int, int]:
    """Restore a sorted band like :func:`restore`; return the counts of residuals missing and left.

    ``levels`` is the number of residuals of each level. ``out`` may have fewer frames than the band.
    """
    _, rows, columns = out.shape
    ends = np.cumsum(levels, dtype=np.int64)
    places = np.stack([np.concatenate([[0], ends[:-1]]), ends])
    state, kernel = _state(rows, columns), backend.kernels.restore_full_sorted
    if name == "spatial":
        missing = sum(kernel(residuals, places, weights[:1], steps[:1], state, frame[None]) for frame in out)
    else:
        missing = kernel(residuals, places, weights, steps, state, out)
    return int(missing), int((places[1] - places[0]).sum())


def _check(header: Header, chunk: tuple[int, ...], encoding: Encoding) -> None:
    """Raise CorruptDataError unless the header of a chunk agrees with the metadata of its store."""
    noise = encoding.noise
    assert noise is not None
    told = (
        tuple(chunk),
        encoding.dtype,
        noise.gain,
        noise.offset,
        noise.variance,
        encoding.step,
        encoding.exact and not header.raw,  # any chunk of a movie may hold values as they are
    )
    found = (
        header.shape,
        header.dtype,
        header.gain,
        header.offset,
        header.variance,
        header.step,
        header.exact,
    )
    if told != found or (header.phases, header.seed) != (encoding.phases, encoding.seed):
        raise CorruptDataError(f"a chunk was encoded as {found}, seed {header.seed}; its store says {told}")
