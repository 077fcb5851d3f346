"""Body of a compact payload: the residuals of each band of rows, packed or coded (FORMAT.md, "Body").

Bands do not depend on each other, so each is written and read separately.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.errors import CorruptDataError
from photon_gpu.kernels.cpu_rans import code_levels, most_words, open_levels

SEGMENT = 1 << 16
"""Residuals per packed segment; the body lists the number of escapes of each segment."""


class Places:
    """Offsets of all parts of a body, computed from the fields of a header.

    Parameters
    ----------
    frames, rows, columns : int
        Shape of the chunk; ``frames`` counts only the frames that it holds.
    band : int
        Rows per band.
    width : int
        Bytes per code.
    packed : bool
    coded : bool
        Whether each band is a range-coded stream, which includes its levels.
    levels : int
        Levels by which residuals are sorted; 0 if they are in the order of their samples.
    weights : int
        Number of weights that belong to single frames.
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
        coded: bool = False,
        levels: int,
        weights: int = 0,
    ) -> None:
        self.coded = coded
        self.width, self.packed, self.levels, self.band, self.rows = width, packed, levels, band, rows
        self.weights, self.levels_at = weights, 4 * weights
        self._row = frames * columns
        self.bands = -(-rows // band)
        self.samples = self._row * rows
        self._segments = -(-self._row * band // SEGMENT)
        last = self._row * (rows - (self.bands - 1) * band)
        self.segments = (self.bands - 1) * self._segments + -(-last // SEGMENT)
        self.counts_at = self.levels_at + (0 if coded else 4 * self.bands * levels)
        self.nibbles_at = self.counts_at + 4 * (self.bands if coded else self.segments if packed else 0)
        self.fixed = self.nibbles_at
        """Bytes of a body without escapes and streams."""
        if packed:
            self.fixed += (self.bands - 1) * (-(-self._row * band // 2)) - (-last // 2)
        elif not coded:
            self.fixed += self.samples * width

    def band_samples(self, first: int) -> int:
        """Number of samples of the band that begins with row ``first``."""
        return self._row * (min(first + self.band, self.rows) - first)

    def band_segments(self, first: int) -> slice:
        """Numbers of the segments of that band."""
        start = first // self.band * self._segments
        return slice(start, start - (-self.band_samples(first) // SEGMENT))

    def band_bytes(self, first: int) -> slice:
        """Byte range of the band's residuals in the body; half bytes if packed."""
        each, size = self._row * self.band, self.band_samples(first)
        if self.packed:
            start = self.nibbles_at + first // self.band * -(-each // 2)
            return slice(start, start - (-size // 2))
        start = self.nibbles_at + first // self.band * each * self.width
        return slice(start, start + size * self.width)

    def unpacked(self) -> Places:
        """Offsets of the same chunk if it is neither packed nor coded."""
        return Places(
            frames=1,
            rows=self.rows,
            columns=self._row,
            band=self.band,
            width=self.width,
            packed=False,
            levels=self.levels,
            weights=self.weights,
        )


Memory = Callable[[int], NDArray[np.uint8]]
"""Function that makes a byte array of a size, or returns one that is no longer in use."""


def new_bytes(nbytes: int) -> NDArray[np.uint8]:
    """Make a byte array."""
    return np.empty(nbytes, np.uint8)


class Writer:
    """Builds a body band by band, from any thread, behind ``head`` free bytes for the header.

    ``memory(nbytes)`` makes the array that holds both.
    """

    def __init__(self, places: Places, head: int, kernels: ModuleType, memory: Memory = new_bytes) -> None:
        self.places, self.head, self._kernels = places, head, kernels
        # Upper bound of the body. Streams are joined once all of them are complete.
        most = 0 if places.coded else places.samples * places.width + 4 * places.segments + places.counts_at
        self._payload = memory(head + most)
        self._body = self._payload[head:]
        self._levels = np.zeros((places.bands, places.levels), "<u4")
        # Escapes of each segment, or words of each band; and all escapes or words, in one array or more.
        self._counts = np.zeros(
            places.segments if places.packed else places.bands if places.coded else 0, "<u4"
        )
        self._long: list[NDArray] = [np.empty(0, np.uint8)] * places.bands
        self.weights = np.zeros(places.weights, np.int32)
        """Weights of single frames, which the caller fills in."""

    @property
    def weights_crc(self) -> int:
        """CRC-32 of :attr:`weights`."""
        return zlib.crc32(self.weights.astype("<i4").tobytes())

    def put(self, first: int, residuals: NDArray, levels: NDArray[np.int64] | None = None) -> None:
        """Add the contiguous residuals of the band from row ``first``; ``levels`` counts sorted ones."""
        places, flat = self.places, residuals.reshape(-1)
        if levels is not None:
            self.put_levels(first, levels)
        if places.coded:
            assert levels is not None
            words = scratch("words", (most_words(flat.size, levels.size, places.width),), np.uint16)
            number, stream = first // places.band, words[code_levels(flat, levels, words) :].copy()
            self._long[number], self._counts[number] = stream, stream.size
            return
        if not places.packed:
            to_planes(flat, self._body[places.band_bytes(first)])
            return
        segments = places.band_segments(first)
        rows = segments.stop - segments.start
        escapes, counts = scratch("escapes", (rows, SEGMENT), flat.dtype), np.empty(rows, np.int64)
        self._kernels.pack(flat, SEGMENT, self._body[places.band_bytes(first)], escapes, counts)
        self.put_escapes(first, list(escapes), counts)

    def nibbles(self, first: int) -> NDArray[np.uint8]:
        """Memory of a band's packed residuals, for a caller that packs them itself."""
        return self._body[self.places.band_bytes(first)]

    def put_levels(self, first: int, levels: NDArray[np.int64]) -> None:
        """Set the number of residuals of each level of a sorted band."""
        self._levels[first // self.places.band] = levels

    def put_escapes(self, first: int, escapes: Sequence[NDArray], counts: NDArray[np.int64]) -> None:
        """Add the escapes of a band, as the kernel ``pack`` returns them: rows, and their lengths."""
        places = self.places
        self._counts[places.band_segments(first)] = counts
        parts = [row[:count] for row, count in zip(escapes, counts.tolist(), strict=True)]
        self._long[first // places.band] = np.concatenate(parts)

    @property
    def all_nibbles(self) -> NDArray[np.uint8]:
        """Memory of the packed residuals of all bands."""
        return self._body[self.places.nibbles_at : self.places.fixed]

    def put_parts(
        self,
        ranges: Sequence[tuple[int, int]],
        counts: NDArray[np.int64],
        long: Sequence[NDArray],
        levels: NDArray[np.int64],
    ) -> None:
        """Add the output of compiled kernels for ranges of bands.

        ``counts`` has the escapes of each segment or, if residuals are coded, the words of each band.
        ``long`` has the escapes or words of each range.
        """
        self._levels[...], self._counts[...] = levels, counts
        ends = [0, *np.cumsum(counts).tolist()]
        sizes = [ends[self._own(end - 1).stop] - ends[self._own(begin).start] for begin, end in ranges]
        self._long = [whole[:size] for whole, size in zip(long, sizes, strict=True)]

    def _own(self, number: int) -> slice:
        """Slice of the counts of band ``number``."""
        places = self.places
        return slice(number, number + 1) if places.coded else places.band_segments(number * places.band)

    def finished(self) -> tuple[NDArray[np.uint8], Places]:
        """Return the payload, its header still empty, and its offsets; packed or coded if shorter."""
        places, size = self.places, self.places.fixed
        if places.coded:
            return self._joined()
        if places.packed:
            size += places.width * sum(part.size for part in self._long)
            if size >= places.unpacked().fixed:
                return self._unpacked()
            at = places.fixed
            for part in self._long:
                self._body[at : at + part.nbytes] = _little(part, places.width).view(np.uint8)
                at += part.nbytes
        return self._with_tables(size), places

    def before_residuals(self, counts: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return what precedes the packed residuals of a payload, if they lie elsewhere, its header empty.

        ``counts`` has the escapes of each segment. None: packed residuals would not be shorter.
        """
        places = self.places
        self._counts[...] = counts
        if places.fixed + places.width * int(counts.sum()) >= places.unpacked().fixed:
            return None
        return self._with_tables(places.nibbles_at)

    def _with_tables(self, size: int) -> NDArray[np.uint8]:
        """Fill in all tables; return the payload with ``size`` bytes of its body."""
        places = self.places
        to_planes(self.weights.view(np.uint32), self._body[: places.levels_at])
        self._body[places.levels_at : places.counts_at] = self._levels.reshape(-1).view(np.uint8)
        if places.packed:
            self._body[places.counts_at : places.nibbles_at] = self._counts.view(np.uint8)
        return self._payload[: self.head + size]

    def _joined(self) -> tuple[NDArray[np.uint8], Places]:
        """Join all streams."""
        places = self.places
        size = places.fixed + 2 * sum(part.size for part in self._long)
        if size >= places.unpacked().fixed:
            return self._unpacked()
        payload = np.empty(self.head + size, np.uint8)
        body = payload[self.head :]
        to_planes(self.weights.view(np.uint32), body[: places.levels_at])
        body[places.counts_at : places.nibbles_at] = self._counts.view(np.uint8)
        body[places.fixed :] = np.concatenate(self._long).astype("<u2", copy=False).view(np.uint8)
        return payload, places

    def _unpacked(self) -> tuple[NDArray[np.uint8], Places]:
        """Undo packing or coding of all bands."""
        places = self.places.unpacked()
        out = Writer(places, self.head, self._kernels)
        out._levels, out.weights = self._levels, self.weights
        long, ends = np.concatenate(self._long), _starts(self._counts)
        for first in range(0, places.rows, places.band):
            residuals = np.empty(places.band_samples(first), f"u{places.width}")
            own = self._own(first // places.band)
            part = long[ends[own.start] : ends[own.stop]]
            if self.places.coded:
                open_levels(part, np.empty(places.levels, np.int64), residuals)
                out.put(first, residuals)
                continue
            starts = _starts(self._counts[own])
            self._kernels.unpack(self.nibbles(first), part, starts, SEGMENT, residuals)
            out.put(first, residuals)
        return out.finished()


class Reader:
    """Reads a body band by band, after comparing its length with its tables.

    Raises
    ------
    CorruptDataError
        The length differs, or the levels do not add up to the samples.
    """

    def __init__(self, places: Places, body: NDArray[np.uint8]) -> None:
        self.places, self._body, size = places, body, places.fixed
        if body.size >= size and places.packed:
            counts = body[places.counts_at : places.nibbles_at].copy().view("<u4")
            self.starts = _starts(counts)
            """First escape of each segment, or first word of each band, and the end of the last."""
            size += places.width * int(self.starts[-1])
        elif body.size >= size and places.coded:
            self.starts = _starts(body[places.counts_at : places.nibbles_at].copy().view("<u4"))
            size += 2 * int(self.starts[-1])
        if body.size != size:
            raise CorruptDataError(f"the body of a chunk has {body.size} bytes; its header describes {size}")
        self.weights = from_planes(body[: places.levels_at], 4).view(np.int32)
        self.levels = np.zeros((places.bands, places.levels), np.int64)
        """Samples at each level, by band; filled in for a coded band when its residuals are read."""
        if places.coded:
            return
        self.levels[...] = (
            body[places.levels_at : places.counts_at].copy().view("<u4").reshape(self.levels.shape)
        )
        if places.levels and any(
            int(row.sum()) != places.band_samples(i * places.band) for i, row in enumerate(self.levels)
        ):
            raise CorruptDataError("the levels of a chunk do not add up to its samples")

    @property
    def words(self) -> NDArray[np.uint16]:
        """Words of all range-coded bands."""
        return self._body[self.places.fixed :].copy().view("<u2").astype(np.uint16, copy=False)

    @property
    def escapes(self) -> NDArray:
        """All escapes of the body."""
        width = self.places.width
        return self._body[self.places.fixed :].copy().view(f"<u{width}").astype(f"u{width}", copy=False)

    def band_bytes(self, first: int) -> slice:
        """Byte range of the band that begins with row ``first``."""
        places = self.places
        if not places.coded:
            return places.band_bytes(first)
        begin, end = self.starts[first // places.band : first // places.band + 2].tolist()
        return slice(places.fixed + 2 * begin, places.fixed + 2 * end)

    def band(self, first: int) -> NDArray[np.uint8]:
        """Bytes of that band: half bytes, planes of bytes, or a stream."""
        return self._body[self.band_bytes(first)]

    def part(self, span: slice) -> NDArray[np.uint8]:
        """Bytes of the body."""
        return self._body[span]

    def residuals(self, first: int, escapes: NDArray, kernels: ModuleType) -> NDArray | None:
        """Residuals of a band, 1-D, in stored order; None if its tables contradict it.

        They are valid until the same thread reads another band.
        """
        places = self.places
        if places.coded:
            out = scratch("residuals", (places.band_samples(first),), f"u{places.width}")
            words = self.band(first).copy().view("<u2").astype(np.uint16, copy=False)
            return None if open_levels(words, self.levels[first // places.band], out) else out
        if not places.packed:
            return from_planes(self.band(first), places.width)
        segments = places.band_segments(first)
        starts = self.starts[segments.start : segments.stop + 1]
        out = scratch("residuals", (places.band_samples(first),), f"u{places.width}")
        return None if kernels.unpack(self.band(first), escapes, starts, SEGMENT, out) else out


def to_planes(residuals: NDArray, body: NDArray[np.uint8]) -> None:
    """Write residuals as planes of bytes: all low bytes, then all second bytes, and so on."""
    width = residuals.dtype.itemsize
    if width == 1:
        body[...] = residuals
        return
    body.reshape(width, -1)[...] = _little(residuals, width).view(np.uint8).reshape(-1, width).T


def from_planes(body: NDArray[np.uint8], width: int) -> NDArray:
    """Residuals, 1-D, from planes of bytes: the inverse of :func:`to_planes`."""
    if width == 1:
        return body
    joined = np.ascontiguousarray(body.reshape(width, -1).T)
    return joined.reshape(-1).view(f"<u{width}").astype(f"u{width}", copy=False)


def _little(residuals: NDArray, width: int) -> NDArray:
    return residuals.reshape(-1).astype(f"<u{width}", copy=False)


def _starts(counts: NDArray) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
