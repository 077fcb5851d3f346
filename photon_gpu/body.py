"""The body of a compact payload: where the residuals of each band lie, packed and sorted.

FORMAT.md, "Body". Bands do not depend on each other, so each is written and read by itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError
from photon_gpu.scratch import scratch

SEGMENT = 1 << 16
"""Residuals that are packed together: how many of them escape is known."""

MAX_LEVELS = 255


class Places:
    """Where everything lies in a body, from the figures of a header.

    Parameters
    ----------
    frames, rows, columns : int
        Of the chunk, as far as frames are present.
    band : int
        Rows per band.
    width : int
        Bytes per code.
    packed : bool
    levels : int
        0: residuals are in the order of their samples.
    weights : int
        Weights that frames have of their own.
    """

    def __init__(
        self,
        *,
        frames: int,
        rows: int,
        columns: int,
        band: int,
        width: int,
        packed: bool,
        levels: int,
        weights: int = 0,
    ) -> None:
        self.width, self.packed, self.levels, self.band, self.rows = width, packed, levels, band, rows
        self.weights, self.levels_at = weights, 4 * weights
        self._row = frames * columns
        self.bands = -(-rows // band)
        self.samples = self._row * rows
        self._segments = -(-self._row * band // SEGMENT)
        last = self._row * (rows - (self.bands - 1) * band)
        self.segments = (self.bands - 1) * self._segments + -(-last // SEGMENT)
        self.counts_at = self.levels_at + 4 * self.bands * levels
        self.nibbles_at = self.counts_at + (4 * self.segments if packed else 0)
        self.fixed = self.nibbles_at + (
            (self.bands - 1) * (-(-self._row * band // 2)) - (-last // 2) if packed else self.samples * width
        )
        """Bytes of a body without its escapes."""

    def band_samples(self, first: int) -> int:
        """Samples of the band that begins with row ``first``."""
        return self._row * (min(first + self.band, self.rows) - first)

    def band_segments(self, first: int) -> slice:
        """Segments of that band."""
        start = first // self.band * self._segments
        return slice(start, start - (-self.band_samples(first) // SEGMENT))

    def band_bytes(self, first: int) -> slice:
        """Where its residuals lie in a body: half bytes if packed."""
        each, size = self._row * self.band, self.band_samples(first)
        if self.packed:
            start = self.nibbles_at + first // self.band * -(-each // 2)
            return slice(start, start - (-size // 2))
        start = self.nibbles_at + first // self.band * each * self.width
        return slice(start, start + size * self.width)

    def unpacked(self) -> Places:
        """Of the same chunk, not packed."""
        return Places(
            frames=1, rows=self.rows, columns=self._row, band=self.band, width=self.width, packed=False,
            levels=self.levels, weights=self.weights,
        )  # fmt: skip


class Writer:
    """A body while it fills, band by band, from any thread.

    ``head`` bytes are left free before it.
    """

    def __init__(self, places: Places, head: int, kernels: ModuleType) -> None:
        self.places, self._head, self._kernels = places, head, kernels
        # Packed or not, a body that is kept is never longer than this.
        most = places.samples * places.width + 4 * places.segments + places.counts_at
        self._payload = np.empty(head + most, np.uint8)
        self._body = self._payload[head:]
        self._levels = np.zeros((places.bands, places.levels), "<u4")
        self._counts = np.zeros(places.segments if places.packed else 0, "<u4")
        self._escapes: list[NDArray] = [np.empty(0, np.uint8)] * places.bands
        self.weights = np.zeros(places.weights, np.int32)
        """Weights that frames have of their own, to be filled in."""

    @property
    def weights_crc(self) -> int:
        """CRC-32 of them."""
        return zlib.crc32(self.weights.astype("<i4").tobytes())

    def put(self, first: int, residuals: NDArray, levels: NDArray[np.int64] | None = None) -> None:
        """Residuals of the band that begins with row ``first``, contiguous; of sorted ones, how many each level has."""
        places, flat = self.places, residuals.reshape(-1)
        if levels is not None:
            self.put_levels(first, levels)
        if not places.packed:
            to_planes(flat, self._body[places.band_bytes(first)])
            return
        segments = places.band_segments(first)
        rows = segments.stop - segments.start
        escapes, counts = scratch("escapes", (rows, SEGMENT), flat.dtype), np.empty(rows, np.int64)
        self._kernels.pack(flat, SEGMENT, self._body[places.band_bytes(first)], escapes, counts)
        self.put_escapes(first, list(escapes), counts)

    def nibbles(self, first: int) -> NDArray[np.uint8]:
        """Where the packed residuals of a band go, for those who pack themselves."""
        return self._body[self.places.band_bytes(first)]

    def put_levels(self, first: int, levels: NDArray[np.int64]) -> None:
        """How many residuals of a sorted band each level has."""
        self._levels[first // self.places.band] = levels

    def put_escapes(self, first: int, escapes: Sequence[NDArray], counts: NDArray[np.int64]) -> None:
        """What the kernel ``pack`` left beside the half bytes of a band: rows, and how much of each counts."""
        places = self.places
        self._counts[places.band_segments(first)] = counts
        parts = [row[:count] for row, count in zip(escapes, counts.tolist(), strict=True)]
        self._escapes[first // places.band] = np.concatenate(parts)

    def finished(self) -> tuple[NDArray[np.uint8], bool]:
        """The payload, its head still empty, and whether it is packed: it is where that is shorter."""
        places, size = self.places, self.places.fixed
        if places.packed:
            size += places.width * sum(part.size for part in self._escapes)
            if size >= places.unpacked().fixed:
                return self._unpacked(), False
            self._body[places.counts_at : places.nibbles_at] = self._counts.view(np.uint8)
            escapes = np.concatenate(self._escapes)
            self._body[places.fixed : size] = _little(escapes, places.width).view(np.uint8)
        to_planes(self.weights.view(np.uint32), self._body[: places.levels_at])
        self._body[places.levels_at : places.counts_at] = self._levels.reshape(-1).view(np.uint8)
        return self._payload[: self._head + size], places.packed

    def _unpacked(self) -> NDArray[np.uint8]:
        """All residuals as they were before they were packed."""
        places = self.places.unpacked()
        out = Writer(places, self._head, self._kernels)
        out._levels, out.weights = self._levels, self.weights
        for first in range(0, places.rows, places.band):
            segments = self.places.band_segments(first)
            starts = _starts(self._counts[segments])
            residuals = np.empty(places.band_samples(first), f"u{places.width}")
            escapes = self._escapes[first // places.band]
            self._kernels.unpack(self.nibbles(first), escapes, starts, SEGMENT, residuals)
            out.put(first, residuals)
        return out.finished()[0]


class Reader:
    """A body that is whole: its length is what its own tables say.

    Raises
    ------
    CorruptDataError
        It is not.
    """

    def __init__(self, places: Places, body: NDArray[np.uint8]) -> None:
        self.places, self._body, size = places, body, places.fixed
        if body.size >= size and places.packed:
            counts = body[places.counts_at : places.nibbles_at].copy().view("<u4")
            self.starts = _starts(counts)
            """Where the escapes of each segment begin, and the last one's end."""
            size += places.width * int(self.starts[-1])
        if body.size != size:
            raise CorruptDataError(f"the body of a chunk has {body.size} bytes; its header describes {size}")
        self.weights = from_planes(body[: places.levels_at], 4).view(np.int32)
        self.levels = (
            body[places.levels_at : places.counts_at].copy().view("<u4").reshape(places.bands, places.levels)
        )
        """Samples of each level, by band."""
        if places.levels and any(
            int(row.sum(dtype=np.int64)) != places.band_samples(i * places.band)
            for i, row in enumerate(self.levels)
        ):
            raise CorruptDataError("the levels of a chunk do not add up to its samples")

    @property
    def escapes(self) -> NDArray:
        """All escapes, as residuals."""
        width = self.places.width
        return self._body[self.places.fixed :].copy().view(f"<u{width}").astype(f"u{width}", copy=False)

    def band(self, first: int) -> NDArray[np.uint8]:
        """What is stored of the band that begins with row ``first``: half bytes, or planes of bytes."""
        return self._body[self.places.band_bytes(first)]

    def part(self, span: slice) -> NDArray[np.uint8]:
        """Bytes of the body."""
        return self._body[span]

    def residuals(self, first: int, escapes: NDArray, kernels: ModuleType) -> NDArray | None:
        """Residuals of a band, 1-D, in the order they are stored in; None where its tables contradict it.

        They are valid until the thread asks for those of another band.
        """
        places = self.places
        if not places.packed:
            return from_planes(self.band(first), places.width)
        segments = places.band_segments(first)
        starts = self.starts[segments.start : segments.stop + 1]
        out = scratch("residuals", (places.band_samples(first),), f"u{places.width}")
        return None if kernels.unpack(self.band(first), escapes, starts, SEGMENT, out) else out


def to_planes(residuals: NDArray, body: NDArray[np.uint8]) -> None:
    """Residuals of one band as bytes: all low bytes first, then all of the next, ..."""
    width = residuals.dtype.itemsize
    if width == 1:
        body[...] = residuals
        return
    body.reshape(width, -1)[...] = _little(residuals, width).view(np.uint8).reshape(-1, width).T


def from_planes(body: NDArray[np.uint8], width: int) -> NDArray:
    """Inverse of :func:`to_planes`, 1-D."""
    if width == 1:
        return body
    joined = np.ascontiguousarray(body.reshape(width, -1).T)
    return joined.reshape(-1).view(f"<u{width}").astype(f"u{width}", copy=False)


def _little(residuals: NDArray, width: int) -> NDArray:
    return residuals.reshape(-1).astype(f"<u{width}", copy=False)


def _starts(counts: NDArray) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
