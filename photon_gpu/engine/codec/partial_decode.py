"""Decode some frames and rows of a compact chunk, reading only the parts that they depend on.

A frame depends on the frames before it, never on later ones; a band of rows does not depend on other bands.
The checksum over all codes needs every band, so it is not verified here: the bytes must have passed the
checksum of their file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.blosc import Blocks, BlocksPart
from photon_gpu.engine.codec.chunk import Opened, restore, restore_sorted
from photon_gpu.engine.codec.dequantize import render
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import Header
from photon_gpu.engine.codec.requested_part import ChunkPart, Values
from photon_gpu.engine.codec.residual_bands import SEGMENT, Reader, from_planes
from photon_gpu.engine.runtime.stopwatch import Map
from photon_gpu.errors import CorruptDataError

_ALONE = ("none", "spatial")
"""Predictors that do not use earlier frames."""


def decode_part(
    blocks: Blocks | BlocksPart,
    part: ChunkPart,
    encoding: Encoding,
    backend: Backend,
    *,
    what: Values,
    run: Map = map,
    out: NDArray | None = None,
) -> NDArray:
    """Decode a part of a chunk with at least two axes to ``(frames, ..., H, W)``.

    Only the rows of the part and other rows of their bands are filled in; the rest is undefined.
    """
    opened = Opened(blocks.data, part, encoding, what, blocks.open)
    if opened.header.raw:
        blocks.open([slice(opened.header.nbytes, blocks.data.size)])
        return opened.raw(encoding, out)
    header, columns, pixels = opened.header, opened.columns, opened.rows * opened.columns
    start, stop, (top, bottom) = opened.start, opened.stop, part.row_range
    if out is None:
        out = np.empty(opened.shape, opened.dtype)
    target = out.reshape(stop - start, pixels)
    draw = render(encoding, header.base, header.top, what, backend)
    band = header.band_rows
    bands = [
        Band(opened.body, header, opened.predictor, first, start, stop)
        for first in range(top // band * band, bottom, band)
    ]
    blocks.open(span for one in bands for span in one.spans)

    def decode_band(one: Band) -> None:
        last = min(one.first + band, opened.rows)
        codes = np.empty((stop - one.begin, last - one.first, columns), f"u{header.width}")
        one.restore(codes, opened.weights, opened.steps, backend)
        flat = codes.reshape(len(codes), -1)[start - one.begin :]
        region = target[:, one.first * columns : last * columns]
        draw(flat, start * pixels + one.first * columns, pixels, region)

    list(run(decode_band, bands))
    return out


def decode_rows(
    blocks: Blocks | BlocksPart,
    part: ChunkPart,
    encoding: Encoding,
    backend: Backend,
    whats: Sequence[Values],
) -> list[NDArray]:
    """Decode the rows of a part, once for each of ``whats``.

    Each array is ``(frames, rows, columns)``. A band is restored once, whatever the number of ``whats``.
    """
    opened = [Opened(blocks.data, part, encoding, what, blocks.open) for what in whats]
    header, columns, (top, bottom) = opened[0].header, opened[0].columns, part.row_range
    start, stop = opened[0].start, opened[0].stop
    if header.raw:
        blocks.open([slice(header.nbytes, blocks.data.size)])
        wholes = [one.raw(encoding, None).reshape(stop - start, -1, columns) for one in opened]
        return [whole[:, top:bottom].copy() for whole in wholes]
    pixels, band = opened[0].rows * columns, header.band_rows
    firsts = range(top // band * band, bottom, band)
    bands = [Band(opened[0].body, header, opened[0].predictor, first, start, stop) for first in firsts]
    blocks.open(span for one in bands for span in one.spans)
    codes = np.empty((stop - start, bottom - top, columns), f"u{header.width}")
    for one_band in bands:
        height = min(band, opened[0].rows - one_band.first)
        restored = np.empty((stop - one_band.begin, height, columns), codes.dtype)
        one_band.restore(restored, opened[0].weights, opened[0].steps, backend)
        low, high = max(top, one_band.first), min(bottom, one_band.first + height)
        kept = restored[start - one_band.begin :, low - one_band.first : high - one_band.first]
        codes[:, low - top : high - top] = kept
    flat, first = codes.reshape(stop - start, -1), start * pixels + top * columns
    decoded = []
    for what, one in zip(whats, opened, strict=True):
        out = np.empty(codes.shape, one.dtype)
        render(encoding, header.base, header.top, what, backend)(flat, first, pixels, out.reshape(flat.shape))
        decoded.append(out)
    return decoded


class Band:
    """The part of the band from row ``first`` that frames ``start:stop`` need.

    Attributes
    ----------
    begin : int
        First frame that must be restored.
    spans : list of slice
        Bytes of the payload.
    """

    def __init__(
        self, body: Reader, header: Header, predictor: str, first: int, start: int, stop: int
    ) -> None:
        self._body, self._predictor, self.first = body, predictor, first
        places = body.places
        total = places.band_samples(first)
        frame = total // header.frames
        # Sorted residuals are not in the order of frames, so all residuals of a band are needed.
        alone = predictor in _ALONE and not places.levels
        self.begin = start if alone else 0
        self._wanted = (0, total) if places.levels else (self.begin * frame, stop * frame)
        begin = header.nbytes
        if places.coded:
            stream = body.band_bytes(first)
            self.spans = [slice(begin + stream.start, begin + stream.stop)]
            return
        if not places.packed:
            # Codes of several bytes are stored as planes, each of the whole band.
            whole = places.band_bytes(first)
            low, high = self._wanted if places.width == 1 else (0, whole.stop - whole.start)
            self.spans = [slice(begin + whole.start + low, begin + whole.start + high)]
            return
        segments, whole = places.band_segments(first), places.band_bytes(first)
        self._low = self._wanted[0] // SEGMENT
        self._opened = min(-(-self._wanted[1] // SEGMENT) * SEGMENT, total) - self._low * SEGMENT
        self._nibbles = slice(
            whole.start + self._low * SEGMENT // 2,
            whole.start + self._low * SEGMENT // 2 - (-self._opened // 2),
        )
        self._starts = body.starts[segments.start + self._low :][: -(-self._opened // SEGMENT) + 1]
        self._escapes = slice(
            places.fixed + places.width * int(self._starts[0]),
            places.fixed + places.width * int(self._starts[-1]),
        )
        self.spans = [slice(begin + part.start, begin + part.stop) for part in (self._nibbles, self._escapes)]

    def restore(self, codes: NDArray, weights: NDArray, steps: NDArray[np.int32], backend: Backend) -> None:
        """Restore codes ``(T, rows, columns)`` of frames from ``begin``, once :attr:`spans` are open."""
        residuals, places = self._residuals(backend), self._body.places
        if not places.levels:
            restore(self._predictor, residuals.reshape(codes.shape), weights, steps, codes, backend)
            return
        levels = self._body.levels[self.first // places.band]
        missing, _ = restore_sorted(self._predictor, residuals, levels, weights, steps, codes, backend)
        if missing:
            raise CorruptDataError(
                "a band of a chunk has too few residuals of a level: the chunk was altered"
            )

    def _residuals(self, backend: Backend) -> NDArray:
        places, (low, high) = self._body.places, self._wanted
        if places.coded:
            stored = self._body.residuals(self.first, np.empty(0, np.uint8), backend.kernels)
            if stored is None:
                raise CorruptDataError("the stream of a band contradicts itself: the chunk was altered")
            return stored
        if not places.packed:
            return from_planes(self._body.band(self.first), places.width)[low:high]
        out = np.empty(self._opened, f"u{places.width}")
        escapes = (
            self._body.part(self._escapes).copy().view(f"<u{places.width}").astype(out.dtype, copy=False)
        )
        nibbles, starts = self._body.part(self._nibbles), self._starts - self._starts[0]
        if backend.kernels.unpack(nibbles, escapes, starts, SEGMENT, out):
            raise CorruptDataError("the escapes of a band differ from its table: the chunk was altered")
        return out[low - self._low * SEGMENT : high - self._low * SEGMENT]
