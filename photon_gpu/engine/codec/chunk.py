"""Encode chunks to compact payloads and decode them, in independent bands of rows."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.chunk_plan import ChunkPlan
from photon_gpu.engine.codec.dequantize import render
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import (
    Header,
    Need,
    block_shape,
    check_origin,
    header_bytes,
    identity,
    unpack,
)
from photon_gpu.engine.codec.header_against_metadata import check_agreement
from photon_gpu.engine.codec.predictors import MIX, NAMES, kernel_weights, rates
from photon_gpu.engine.codec.quantize import extent
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart, Values, dtype_of
from photon_gpu.engine.codec.residual_bands import SEGMENT, Memory, Places, Writer, from_planes, new_bytes
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.kernels import cpu, cpu_decode
from photon_gpu.kernels.cpu_predict import USUAL, predictor

ALTERED = "the codes of a chunk fail their checksum: the chunk was altered"


def encode(
    values: NDArray,
    chunk: tuple[int, ...],
    encoding: Encoding,
    backend: Backend,
    *,
    first_frame: int = 0,
    split: Split = WHOLE,
    stages: Stages,
    memory: Memory = new_bytes,
) -> NDArray[np.uint8]:
    """Encode a chunk to its payload, in ``memory``: a header, then the residuals of each band of rows."""
    values = np.ascontiguousarray(values)
    with stages.timed("transform"):
        bounds = extent(values, backend, noise=encoding.noise, first_frame=first_frame, split=split)
        plan = ChunkPlan(
            values.shape, chunk, encoding, bounds, backend, first_frame=first_frame, memory=memory
        )
    if backend.kernels is cpu and plan.width < 4:
        return plan.finished(plan.encode_bands(values.reshape(-1), split.timed(stages, "predict")))
    with stages.timed("predict"):
        return plan.finished(_encode_each(values, plan, backend))


def _encode_each(values: NDArray, plan: ChunkPlan, backend: Backend) -> int:
    """Encode the bands of a chunk one by one, by the kernels of any backend; return the checksum."""
    block, total = values.reshape(plan.frames, plan.rows, plan.columns), 0
    moving = plan.predictor.name == "moving"
    coded: dict[int, NDArray] = {}
    for first in range(0, plan.rows, plan.band):
        stop, start = min(first + plan.band, plan.rows), first * plan.columns
        piece = block[:, first:stop].reshape(plan.frames, -1)
        flat = np.empty(piece.shape, plan.dtype)
        plan.forward(piece, start, plan.rows * plan.columns, flat)
        total += int(backend.kernels.checksum(flat, start, plan.rows * plan.columns))
        codes = flat.reshape(plan.frames, stop - first, plan.columns)
        if moving:
            coded[first] = codes
        else:
            _put(first, codes, plan, backend)
    if moving:
        plan.fit(np.concatenate(list(coded.values()), axis=1))
        for first, codes in coded.items():
            _put(first, codes, plan, backend)
    return total


def _put(first: int, codes: NDArray, plan: ChunkPlan, backend: Backend) -> None:
    residuals = np.empty_like(codes)
    predict(plan.predictor.name, codes, plan.weights, plan.steps, residuals, backend)
    plan.put(first, codes, residuals)


def encode_raw(
    values: NDArray, chunk: tuple[int, ...], encoding: Encoding, backend: Backend, *, first_frame: int = 0
) -> NDArray[np.uint8]:
    """Encode a chunk that cannot be quantized to a payload of its exact values, in any dtype."""
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


def decode(
    payload: NDArray[np.uint8],
    part: ChunkPart,
    encoding: Encoding,
    backend: Backend,
    *,
    what: Values = STABILIZED,
    split: Split = WHOLE,
    out: NDArray | None = None,
) -> NDArray:
    """Decode all rows of the frames of a part, to ``out`` if given, and verify the payload's checksum."""
    opened = Opened(payload, part, encoding, what)
    if opened.header.raw:
        return opened.raw(encoding, out)
    header, rows, columns = opened.header, opened.rows, opened.columns
    frames, pixels = header.frames, rows * columns
    if out is None:
        out = np.empty(opened.shape, opened.dtype)
    target = out.reshape(opened.stop - opened.start, pixels)
    target[opened.present :] = 0
    draw = render(encoding, header.base, header.top, what, backend)
    drawing = draw.compiled(header.width, columns, target) if backend.kernels is cpu else None
    if drawing is not None:
        opened.check(opened.decode_bands(drawing, target[: opened.present].reshape(-1), split))
        return out
    total = 0
    for first in range(0, rows, header.band_rows):
        last = min(first + header.band_rows, rows)
        codes = np.empty((frames, last - first, columns), f"u{header.width}")
        opened.restore(first, codes, backend)
        flat = codes.reshape(frames, -1)
        if opened.present:
            region = target[: opened.present, first * columns : last * columns]
            kept = flat[opened.start : opened.start + opened.present]
            draw(kept, opened.start * pixels + first * columns, pixels, region)
        total += int(backend.kernels.checksum(flat, first * columns, pixels))
    opened.check(total)
    return out


def _apply(
    name: str, source: NDArray, weights: NDArray, steps: NDArray, out: NDArray, kernels: tuple[Any, Any, Any]
) -> None:
    """Predict or restore a band by the kernels ``mean, past, full`` of that direction."""
    frames, rows, columns = source.shape
    state = band_state(rows, columns)
    mean, past, full = kernels
    if name == "none":
        out[...] = source
    elif name == "mean":
        first = int(weights[0, -1]) >> 8
        mean(source.reshape(frames, -1), steps, first, state.reshape(-1), out.reshape(frames, -1))
    elif name == "past":
        past(source, weights, steps, state, out)
    elif name == "spatial":
        for t in range(frames):
            full(source[t : t + 1], weights[:1], steps[:1], state, out[t : t + 1])
    elif name in ("full", "moving"):
        full(source, weights, steps, state, out)
    else:
        raise InvalidInputError(f"this backend has no kernel for predictor {name!r}")


class Opened:
    """A payload with a valid header, and the requested range of its frames."""

    def __init__(
        self,
        payload: NDArray[np.uint8],
        part: ChunkPart,
        encoding: Encoding,
        what: Values,
        need: Need | None = None,
    ) -> None:
        chunk, start, stop = part.chunk, part.start, part.stop
        self.header, self.body = unpack(payload, need)
        check_agreement(self.header, chunk, encoding)
        check_origin(self.header, encoding.movie_id, part.number)
        total, self.rows, self.columns = block_shape(chunk)
        if len(chunk) < 2:
            total, start, stop = 1, 0, 1
        if stop is not None and len(chunk) > 1 and stop > self.header.frames:
            raise CorruptDataError(f"a chunk holds {self.header.frames} frames; {stop} belong there")
        self.start, self.stop = start, total if stop is None else stop
        self.shape = chunk if len(chunk) < 2 else (self.stop - self.start, *chunk[1:])
        self.present = max(min(self.stop, self.header.frames) - self.start, 0)
        self.stabilized = what == STABILIZED
        self.dtype = dtype_of(what)
        self.predictor = NAMES[self.header.predictor]
        self.steps = rates(self.header.frames, self.header.rate)
        self.weights = kernel_weights(self.predictor, self.header.weights, self.header.frames)
        if self.header.moving:
            self.weights = self.body.weights.reshape(-1, MIX)
        whole = need is None and self.header.packed
        self.escapes = self.body.escapes if whole else np.empty(0, np.uint8)

    def residuals(self, first: int, kernels: ModuleType) -> NDArray:
        """Residuals of the band from row ``first``, 1-D, as they are stored, in scratch of the thread."""
        stored = self.body.residuals(first, self.escapes, kernels)
        if stored is None:
            raise CorruptDataError(ALTERED)
        return stored

    def restore(self, first: int, codes: NDArray, backend: Backend) -> None:
        """Restore codes ``(T, rows, columns)`` of the band that begins with row ``first``."""
        header = self.header
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

    def decode_bands(self, drawing: Any, out: NDArray, split: Split) -> int:
        """Decode all bands to ``out``, 1-D, by compiled kernels; return the sum of the codes' checksums.

        ``drawing`` is what :meth:`photon_gpu.engine.codec.dequantize.Render.compiled` returned.
        """
        header, rows, columns, places = self.header, self.rows, self.columns, self.body.places
        band, dtype = min(header.band_rows, rows), f"u{header.width}"
        each = header.frames * band * columns
        source: Any
        if places.coded:
            source = cpu_decode.FromWords(self.body.words, self.body.starts)
        elif places.packed:
            nibbles = self.body.part(slice(places.nibbles_at, places.fixed))
            source = cpu_decode.FromHalves(nibbles, self.escapes, self.body.starts, SEGMENT, each)
        else:
            planes = self.body.part(slice(places.nibbles_at, places.fixed))
            source = cpu_decode.FromPlanes(planes, each)
        how = predictor(self.predictor, self.steps, self.weights)
        one_call = places.packed and self.predictor in USUAL
        one_call &= isinstance(drawing, cpu_decode.Pairs | cpu_decode.Permuted) or (
            self.stabilized and len(drawing) == 1
        )
        codes = scratch("all codes", (0 if one_call else header.frames * rows * columns,), dtype)

        def decode_part(part: tuple[int, int]) -> tuple[int, int]:
            begin, end = part[0] * band, min(part[1] * band, rows)
            grid = cpu_decode.DecodeGrid(
                header.frames,
                rows,
                columns,
                band,
                begin,
                end,
                self.start,
                self.start + self.present,
            )
            work = cpu_decode.DecodeScratch(
                scratch("codes", (each,), dtype),
                scratch("residuals", (each,), dtype),
                band_state(band, columns).reshape(-1),
            )
            levels = self.body.levels
            if one_call:
                strange, total = cpu_decode.decode_bands(source, grid, how, levels, drawing, out, work)
            else:
                strange, total = cpu_decode.restore_bands(source, grid, how, levels, codes, work)
                cpu_decode.draw_bands(codes, grid, drawing, out)
            return int(strange), int(total)

        done = list(split.run(decode_part, split.ranges(places.bands)))
        if any(strange for strange, _ in done):
            raise CorruptDataError(ALTERED)
        return sum(total for _, total in done)

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
        """Raise CorruptDataError if the checksum of the codes differs from the one in the header."""
        if checksum % (1 << 64) != self.header.checksum:
            raise CorruptDataError(ALTERED)


def band_state(rows: int, columns: int) -> NDArray[np.int32]:
    """Scratch memory of the predictors' kernels for a band."""
    return scratch("state", (3, rows + 2, columns + 2), np.int32)


def predict(
    name: str, codes: NDArray, weights: NDArray, steps: NDArray, out: NDArray, backend: Backend
) -> None:
    """Write the residuals of codes ``(T, rows, columns)`` of a band."""
    kernels = backend.kernels
    _apply(
        name, codes, weights, steps, out, (kernels.predict_mean, kernels.predict_past, kernels.predict_full)
    )


def restore(
    name: str, body: NDArray, weights: NDArray, steps: NDArray, out: NDArray, backend: Backend
) -> None:
    """Restore codes ``(T, rows, columns)`` of a band from residuals of the same shape."""
    kernels = backend.kernels
    _apply(
        name, body, weights, steps, out, (kernels.restore_mean, kernels.restore_past, kernels.restore_full)
    )


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
    state, kernel = band_state(rows, columns), backend.kernels.restore_full_sorted
    if name == "spatial":
        missing = sum(kernel(residuals, places, weights[:1], steps[:1], state, frame[None]) for frame in out)
    else:
        missing = kernel(residuals, places, weights, steps, state, out)
    return int(missing), int((places[1] - places[0]).sum())
