"""Chunks of values to compact payloads and back: bands of rows, each independent of the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.backend import Backend
from photon_gpu.blosc import Map
from photon_gpu.encoding import Encoding
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.forward import Extent, Forward, extent, narrowest, span
from photon_gpu.inverse import STABILIZED, render
from photon_gpu.payload import Header, block_shape, header_bytes, unpack
from photon_gpu.predictors import NAMES, band_rows, rates
from photon_gpu.stages import Stages
from photon_gpu.tables import CodeTable


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
    """Payload of one chunk: header, then the residuals of each band of rows."""
    with stages.timed("transform"):
        found = extent(values, backend, noise=encoding.noise, first_frame=first_frame)
        table = encoding.table()
        forward = _Exact(table, found) if encoding.exact else Forward(table, found, backend, encoding.seed)
    frames = len(values) if len(chunk) > 1 else 1
    _, rows, columns = block_shape(chunk)
    block = values.reshape(frames, rows, columns)
    width = forward.dtype.itemsize
    # Codes of 32 bits are beyond the predictors' arithmetic, and beyond any detector's.
    predictor = encoding.predictor if width < 4 else encoding.predictor.__class__(name="none")
    weights = predictor.relative(forward.base, forward.top)
    band = band_rows(rows, columns)
    head = header_bytes(len(chunk))
    payload = np.empty(head + frames * rows * columns * width, np.uint8)
    steps = rates(frames, predictor.rate)

    def encode_band(first: int) -> int:
        count = min(band, rows - first)
        with stages.timed("transform"):
            codes = np.empty((frames, count * columns), forward.dtype)
            piece = block[:, first : first + count].reshape(frames, -1)
            forward(piece, first * columns, rows * columns, codes)
            total = int(backend.kernels.checksum(codes, first * columns, rows * columns))
        with stages.timed("predict"):
            start = head + first * columns * frames * width
            body = payload[start : start + codes.nbytes]
            shaped = codes.reshape(frames, count, columns)
            if width == 1:
                _predict(predictor.name, shaped, weights, steps, body.reshape(shaped.shape), backend)
            else:
                residuals = np.empty_like(shaped)
                _predict(predictor.name, shaped, weights, steps, residuals, backend)
                planes = residuals.reshape(-1).astype(f"<u{width}", copy=False).view(np.uint8)
                body.reshape(width, -1)[...] = planes.reshape(-1, width).T
        return total

    checksum = sum(run(encode_band, range(0, rows, band))) % (1 << 64)
    noise = encoding.noise
    assert noise is not None and encoding.step is not None
    header = Header(
        predictor=NAMES.index(predictor.name), width=width, exact=encoding.exact, phases=encoding.phases,
        dtype=encoding.dtype, frames=frames, base=forward.base, checksum=checksum, band_rows=band,
        seed=encoding.seed, rate=predictor.rate, top=forward.top, gain=noise.gain, offset=noise.offset,
        variance=noise.variance, step=encoding.step, shape=tuple(chunk), weights=weights,
    )  # fmt: skip
    payload[:head] = np.frombuffer(header.pack(), np.uint8)
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
    run: Map = map,
) -> NDArray:
    """Frames ``start:stop`` of a payload, once all of it has passed its checksum.

    With no ``stop``, frames the chunk never had (the last one's, completed by Zarr) are zeros.
    """
    header = unpack(payload)
    _check(header, chunk, encoding)
    total_frames, rows, columns = block_shape(chunk)
    if len(chunk) < 2:
        total_frames, start, stop = 1, 0, 1
    asked, stop = stop, total_frames if stop is None else stop
    frames, width, pixels = header.frames, header.width, rows * columns
    if asked is not None and asked > frames:
        raise CorruptDataError(f"a chunk holds {frames} frames; {asked} belong there")
    out = np.zeros((stop - start, pixels), np.float64 if what == STABILIZED else np.dtype(what))
    present = max(min(stop, frames) - start, 0)
    draw = render(encoding, header.base, header.top, what, backend)
    name, steps, band = NAMES[header.predictor], rates(frames, header.rate), header.band_rows

    def decode_band(first: int) -> int:
        count = min(band, rows - first)
        samples = frames * count * columns
        begin = header.nbytes + first * columns * frames * width
        body = payload[begin : begin + samples * width]
        if width > 1:
            joined = np.ascontiguousarray(body.reshape(width, samples).T)
            body = joined.reshape(-1).view(f"<u{width}").astype(f"u{width}", copy=False)
        shape = (frames, count, columns)
        codes = np.empty(shape, f"u{width}")
        _restore(name, body.reshape(shape), header.weights, steps, codes, backend)
        flat = codes.reshape(frames, -1)
        if present:
            place = out[:present, first * columns : (first + count) * columns]
            draw(flat[start : start + present], start * pixels + first * columns, pixels, place)
        return int(backend.kernels.checksum(flat, first * columns, pixels))

    if sum(run(decode_band, range(0, rows, band))) % (1 << 64) != header.checksum:
        raise CorruptDataError("the codes of a chunk fail their checksum: the chunk was altered")
    return out.reshape(chunk if len(chunk) < 2 else (stop - start, *chunk[1:]))


class _Exact:
    """Stands in for :class:`Forward` where the values themselves are stored."""

    def __init__(self, table: CodeTable, found: Extent) -> None:
        span(table, found)  # that stabilized values can be read, too
        self.base, self.top = int(found.low), int(found.high) - int(found.low)
        if self.top >= 1 << 32:
            raise InvalidInputError(
                f"a chunk spans {self.top:,} values; at most 2**32 fit: use layout='lossless'"
            )
        self.dtype = narrowest(self.top)

    def __call__(self, values: NDArray, first: int, stride: int, out: NDArray) -> None:
        np.subtract(values, self.base, out=out, dtype=np.int64, casting="unsafe")


def _predict(
    name: str, codes: NDArray, weights: NDArray, steps: NDArray, out: NDArray, backend: Backend
) -> None:
    frames, rows, columns = codes.shape
    state = np.empty((3, rows + 2, columns + 2), np.int32)
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
    elif name == "full":
        kernels.predict_full(codes, weights, steps, state, out)
    else:
        for t in range(frames):
            kernels.predict_full(codes[t : t + 1], weights, steps[:1], state, out[t : t + 1])


def _restore(
    name: str, body: NDArray, weights: NDArray, steps: NDArray, out: NDArray, backend: Backend
) -> None:
    frames, rows, columns = body.shape
    state = np.empty((3, rows + 2, columns + 2), np.int32)
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
    elif name == "full":
        kernels.restore_full(body, weights, steps, state, out)
    else:
        for t in range(frames):
            kernels.restore_full(body[t : t + 1], weights, steps[:1], state, out[t : t + 1])


def _check(header: Header, chunk: tuple[int, ...], encoding: Encoding) -> None:
    """The chunk describes itself; its description must be that of the store."""
    noise = encoding.noise
    assert noise is not None
    told = (
        tuple(chunk),
        encoding.dtype,
        noise.gain,
        noise.offset,
        noise.variance,
        encoding.step,
        encoding.exact,
    )
    found = (
        header.shape, header.dtype, header.gain, header.offset, header.variance, header.step, header.exact,
    )  # fmt: skip
    if told != found or (header.phases, header.seed) != (encoding.phases, encoding.seed):
        raise CorruptDataError(f"a chunk was encoded as {found}, seed {header.seed}; its store says {told}")
