"""Header of a compact chunk, with a checksum. FORMAT.md, "compact", defines every byte."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc import Seal
from photon_gpu.engine.codec.predictors import (
    MAX_LEVELS,
    MIX,
    NAMES,
    SORTABLE,
    TERMS,
    most_band_rows,
    within_limits,
)
from photon_gpu.engine.codec.residual_bands import SEGMENT, Places, Reader
from photon_gpu.engine.model.clipping_levels import NO_CLIPPING, ClippingLevels
from photon_gpu.engine.model.photon_peak_code_table import MOST_PEAKS
from photon_gpu.errors import CorruptDataError, InvalidInputError, UnsupportedVersionError

MAGIC = b"PHTN"
MAJOR = 2
DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")

Need = Callable[[Iterable[slice]], None]

_FIXED = struct.Struct("<4s8BIqQIIIIddddI2BHII")
_MAX_DIMENSIONS = 32
_CLIPPED, _PEAKS = 4, 8
_LEVELS = struct.Struct("<2q")
_PEAK_COUNT = struct.Struct("<Q")
_NO_LEVEL = -(1 << 63)


@dataclass(frozen=True, kw_only=True)
class Header:
    """Header of one chunk; see FORMAT.md for its fields.

    ``number`` is :func:`number_field` of the chunk's number. ``number`` and ``movie`` are 0 if unknown.
    """

    predictor: int
    width: int
    exact: bool
    raw: bool = False
    clipping: ClippingLevels = NO_CLIPPING
    peaks: int = 0
    phases: int
    dtype: str
    frames: int
    base: int
    checksum: int
    band_rows: int
    seed: int
    rate: int
    top: int
    gain: float
    offset: float
    variance: float
    step: float
    packed: bool = False
    coded: bool = False
    levels: int = 0
    number: int = 0
    weights_crc: int = 0
    movie: int = 0
    shape: tuple[int, ...]
    weights: NDArray[np.int32] = field(default_factory=lambda: np.zeros((2, TERMS), np.int32), compare=False)

    def pack(self) -> bytes:
        """Header as bytes."""
        tail = struct.pack(f"<{len(self.shape)}Q", *self.shape) + self.weights.astype("<i4").tobytes()
        if self.clipping:
            ends = (self.clipping.low, self.clipping.high)
            tail += _LEVELS.pack(*(_NO_LEVEL if end is None else end for end in ends))
        if self.peaks:
            tail += _PEAK_COUNT.pack(self.peaks)
        fixed = self._fixed(0)
        return self._fixed(zlib.crc32(tail, zlib.crc32(fixed))) + tail

    def _fixed(self, crc: int) -> bytes:
        minor = 4 if self.number or self.movie else 3 if self.raw else 2 if self.coded else 1
        minor = 7 if self.peaks else 6 if self.clipping else minor
        return _FIXED.pack(
            MAGIC,
            MAJOR,
            minor,
            self.predictor,
            self.width,
            self._codes_are,
            self.phases,
            DTYPES.index(self.dtype),
            len(self.shape),
            self.frames,
            self.base,
            self.checksum,
            self.band_rows,
            self.seed,
            self.rate,
            self.top,
            self.gain,
            self.offset,
            self.variance,
            self.step,
            crc,
            int(self.packed) + 2 * int(self.coded),
            self.levels,
            self.number,
            self.weights_crc,
            self.movie,
        )

    @property
    def _codes_are(self) -> int:
        if self.raw or self.exact:
            return 2 if self.raw else 1
        return _CLIPPED * bool(self.clipping) + _PEAKS * bool(self.peaks)

    @property
    def nbytes(self) -> int:
        """Bytes of the header itself."""
        return header_bytes(len(self.shape), bool(self.clipping), bool(self.peaks))

    @property
    def block(self) -> tuple[int, int, int]:
        """Chunk shape as frames, rows, columns."""
        return block_shape(self.shape)

    @property
    def moving(self) -> bool:
        """Whether every frame has its own weights."""
        return NAMES[self.predictor] == "moving"

    @property
    def samples(self) -> int:
        """Number of stored samples."""
        _, rows, columns = self.block
        return self.frames * rows * columns


def number_field(number: int) -> int:
    """Field of a header for the number of its chunk: 1 to 65535; 0 means unknown.

    Examples
    --------
    >>> number_field(0), number_field(65534), number_field(65535)
    (1, 65535, 1)
    """
    return number % 65535 + 1


def identity(movie_id: str | None, number: int) -> tuple[int, int]:
    """Fields ``number`` and ``movie`` of a header or a seal; both are 0 without a movie id."""
    return (0, 0) if movie_id is None else (number_field(number), int(movie_id, 16))


class MisplacedChunkError(CorruptDataError):
    """A chunk file is in the place of another chunk, or belongs to another movie."""


def check_origin(header: Header | Seal, movie_id: str | None, number: int | None) -> None:
    """Raise MisplacedChunkError for a chunk of another movie or number; None stands for unknown."""
    if header.movie and movie_id is not None and header.movie != int(movie_id, 16):
        raise MisplacedChunkError(
            f"a chunk of movie {header.movie:08x} is among those of movie {movie_id}: its file comes from "
            "elsewhere"
        )
    if header.number and number is not None and header.number != number_field(number):
        raise MisplacedChunkError(
            f"chunk {number} was written as number {header.number - 1}: its file is in the wrong place"
        )


def header_bytes(dimensions: int, clipped: bool = False, peaks: bool = False) -> int:
    """Bytes of the header of a chunk, by dimensions, and with clipping levels and photon peaks or without."""
    extra = clipped * _LEVELS.size + peaks * _PEAK_COUNT.size
    return _FIXED.size + 8 * dimensions + 8 * TERMS + extra


_LONGEST = header_bytes(_MAX_DIMENSIONS, True, True)


def most_bytes(shape: tuple[int, ...], itemsize: int = 4) -> int:
    """Most bytes of a payload: ``itemsize`` per sample (at least 4), the header, and every table."""
    frames, rows, _ = (int(size) for size in block_shape(shape))
    samples = math.prod(int(size) for size in shape)
    # A band has at least one row, its levels, and at least one segment.
    tables = 4 * MIX * frames + 4 * MAX_LEVELS * rows + 4 * (rows + samples // SEGMENT)
    return header_bytes(len(shape), True, True) + max(4, itemsize) * samples + tables


def block_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Frames, rows, columns of ``(T, ..., H, W)``; one axis is one row, two are frames of one row."""
    if len(shape) < 2:
        return 1, 1, math.prod(map(int, shape))
    return int(shape[0]), math.prod(map(int, shape[1:-1])), int(shape[-1])


def unpack(payload: NDArray[np.uint8], need: Need | None = None) -> tuple[Header, Reader]:
    """Read and check the header of a payload, and its body.

    If the payload is decompressed part by part, ``need`` is called with the bytes that are read next.

    Raises
    ------
    CorruptDataError
        A checksum fails, a field is out of range, or the body is not as long as the header says.
    UnsupportedVersionError
        The chunk has another major format version.
    """
    if need is not None:
        need([slice(0, min(_LONGEST, payload.size))])
    header = _header(payload)
    _, rows, columns = header.block
    places = Places(
        frames=header.frames,
        rows=rows,
        columns=columns,
        band=header.band_rows,
        width=header.width,
        packed=header.packed,
        coded=header.coded,
        levels=header.levels,
        weights=header.frames * MIX if header.moving else 0,
    )
    if need is not None:
        need([slice(header.nbytes, min(header.nbytes + places.nibbles_at, payload.size))])
    body = Reader(places, payload[header.nbytes :])
    if zlib.crc32(body.weights.astype("<i4").tobytes()) != header.weights_crc:
        raise CorruptDataError("the weights of a chunk's frames fail their checksum")
    if header.moving and not within_limits(body.weights.reshape(-1, MIX).astype(np.int64), header.top).all():
        raise CorruptDataError("the weights of a chunk's frames are outside their allowed range")
    return header, body


def _clipping(tail: bytes) -> ClippingLevels:
    low, high = (None if end == _NO_LEVEL else end for end in _LEVELS.unpack(tail))
    try:
        levels = ClippingLevels(low=low, high=high)
    except InvalidInputError as error:
        raise CorruptDataError(f"the header of a chunk cannot be used: {error}") from error
    if not levels:
        raise CorruptDataError("the header of a chunk says it has clipping levels, and lists none")
    return levels


def _header(payload: NDArray[np.uint8]) -> Header:
    data = payload[:_LONGEST].tobytes()
    if len(data) < _FIXED.size or data[:4] != MAGIC:
        raise CorruptDataError(f"a chunk of {payload.size} bytes does not begin with a photon header")
    (
        _,
        major,
        _,
        predictor,
        width,
        exact,
        phases,
        dtype,
        dimensions,
        frames,
        base,
        checksum,
        band_rows,
        seed,
        rate,
        top,
        gain,
        offset,
        variance,
        step,
        crc,
        record_type,
        levels,
        number,
        weights_crc,
        movie,
    ) = _FIXED.unpack_from(data)
    if major != MAJOR:
        raise UnsupportedVersionError(
            f"a chunk has format {major}; this release reads compact chunks of {MAJOR}.x"
        )
    special = exact & (_CLIPPED | _PEAKS)
    size = header_bytes(dimensions, bool(special & _CLIPPED), bool(special & _PEAKS))
    if not 1 <= dimensions <= _MAX_DIMENSIONS or len(data) < size:
        raise CorruptDataError("a chunk is shorter than its header")
    tail = data[_FIXED.size : size]
    fixed = bytearray(data[: _FIXED.size])
    fixed[-16:-12] = bytes(4)
    if zlib.crc32(tail, zlib.crc32(fixed)) != crc:
        raise CorruptDataError("the header of a chunk fails its checksum")
    shape = struct.unpack_from(f"<{dimensions}Q", tail)
    if not 0 < math.prod(shape) < 1 << 48:
        raise CorruptDataError(f"the header of a chunk says its shape is {shape}")
    weights = np.frombuffer(tail, "<i4", 2 * TERMS, 8 * dimensions).reshape(2, TERMS).astype(np.int32)
    if predictor >= len(NAMES):
        raise UnsupportedVersionError(
            f"a chunk has predictor {predictor}, which is unknown: a newer version of photon_gpu wrote it"
        )
    raw = exact == 2
    valid = dtype < len(DTYPES) and phases in (1, 16)
    if raw:  # the width is that of the values; nothing is predicted, packed or sorted
        valid = (
            valid and width == np.dtype(DTYPES[dtype]).itemsize and not (predictor or record_type or levels)
        )
    else:
        valid = valid and width in (1, 2, 4)
    sortable = valid and NAMES[predictor] in SORTABLE and width < 4
    if (
        not valid
        or (exact not in (0, 1, 2) and exact != special)
        or record_type > 2 * (width < 4)
        or levels == 1
        or (levels and not sortable)
    ):
        raise CorruptDataError("the header of a chunk holds a value that no release has written")
    if record_type == 2 and not levels:
        raise CorruptDataError(
            "the header of a chunk says its residuals are coded by level, and has no levels"
        )
    levels_at = 8 * dimensions + 8 * TERMS
    peaks = _PEAK_COUNT.unpack(tail[-_PEAK_COUNT.size :])[0] if special & _PEAKS else 0
    if special & _PEAKS and not (
        1 <= peaks <= MOST_PEAKS and phases == 1 and not DTYPES[dtype].startswith("f")
    ):
        raise CorruptDataError(
            f"the header of a chunk says it has {peaks} photon peaks; 1 to {MOST_PEAKS} are read, of "
            "integers without dither"
        )
    header = Header(
        predictor=predictor,
        width=width,
        exact=exact == 1,
        raw=raw,
        clipping=_clipping(tail[levels_at : levels_at + _LEVELS.size]) if special & _CLIPPED else NO_CLIPPING,
        peaks=peaks,
        phases=phases,
        dtype=DTYPES[dtype],
        frames=frames,
        base=base,
        checksum=checksum,
        band_rows=band_rows,
        seed=seed,
        rate=rate,
        top=top,
        gain=gain,
        offset=offset,
        variance=variance,
        step=step,
        packed=record_type == 1,
        coded=record_type == 2,
        levels=levels,
        number=number,
        weights_crc=weights_crc,
        movie=movie,
        shape=shape,
        weights=weights,
    )
    if not (
        1 <= frames <= header.block[0]
        and band_rows >= 1
        and 1 <= rate <= 128
        and top < 1 << (8 * width)
        and (header.exact or abs(base) < 1 << 62)  # arithmetic on codes stays in 64 bits
    ):
        raise CorruptDataError("the header of a chunk holds a value outside its allowed range")
    most_rows = most_band_rows(header.block[2])
    if not raw and min(band_rows, header.block[1]) > most_rows:
        raise CorruptDataError(
            f"the header of a chunk says its bands have {band_rows:,} rows of {header.block[2]:,} columns; "
            f"at most {most_rows:,} are read"
        )
    return header
