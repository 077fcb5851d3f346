"""Dequantize codes to stabilized values, or to values in the movie's units."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend, cpu_backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.quantize import Extent, Quantizer
from photon_gpu.engine.codec.requested_part import STABILIZED, Values
from photon_gpu.engine.model.code_table import MAX_CODES
from photon_gpu.errors import CorruptDataError
from photon_gpu.kernels import cpu_decode
from photon_gpu.kernels.instructions.avx512_table_lookup import can_permute

_BEYOND = "a chunk holds a code beyond the greatest one in its header"


class Render(Protocol):
    """Turns codes into output samples."""

    def __call__(self, codes: NDArray, first: int, stride: int, out: NDArray) -> None:
        """Write samples of ``codes (T, n)`` to ``out``; sample ``(t, i)`` is ``first + t*stride + i``."""

    def compiled(self, width: int, pixels: int, out: NDArray) -> Any:
        """Parameters for :func:`photon_gpu.kernels.cpu_decode.decode_bands`; None if it cannot render this.

        ``width`` is the width of a code in bytes. Frames and bands have multiples of ``pixels`` samples.
        """


def render(encoding: Encoding, base: int, top: int, what: Values, backend: Backend) -> Render:
    """Return an object that turns codes ``0..top``, counted from ``base``, into output samples.

    Only altered data has codes beyond ``top``. They raise an error or, if codes have 8 or 16 bits, decode to
    zero, and the caller's checksum detects them.
    """
    if encoding.exact:
        info = np.iinfo(encoding.dtype)
        if base < info.min or base + top > info.max:
            raise CorruptDataError(
                f"a chunk says it holds values {base:,} to {base + top:,}, which {encoding.dtype} cannot hold"
            )
        if beyond_tables(encoding, top):
            return _WideValues(encoding, base, top, what)
    elif top >= MAX_CODES - 1:
        raise CorruptDataError(f"a chunk says it spans {top + 1:,} codes; no release writes that many")
    if not encoding.exact and beyond_tables(encoding, top) and backend.gpu is None:
        return _ByOccurrence(encoding, base, top, what, backend)
    begin, tables = _tables(encoding, base, top, what)
    skipped = base - begin
    return _Tables(tables[:, skipped : skipped + top + 1], encoding.seed, backend)


def sample_rows(encoding: Encoding, base: int, top: int, what: Values) -> NDArray | None:
    """Return the samples of codes ``base`` to ``base + top``, one row or one per phase.

    None if there are too many codes for a table.
    """
    if top >= MAX_CODES - 1 or beyond_tables(encoding, top):
        return None
    begin, tables = _tables(encoding, base, top, what)
    return _different(tables[:, base - begin : base - begin + top + 1])


def _different(tables: NDArray) -> NDArray:
    """Return only the first row if all rows are equal."""
    if len(tables) > 1 and all(np.array_equal(tables[0], row) for row in tables[1:]):
        return tables[:1]
    return tables


class _Tables:
    """Renders codes with a table, or with one table per phase."""

    def __init__(self, tables: NDArray, seed: int, backend: Backend) -> None:
        tables = _different(tables)
        self._tables, self._seed, self._backend = tables, seed, backend
        self._padded: dict[int, Any] = {}
        self._by_pairs = len(tables) == 1 and tables.itemsize == 2 and backend.gpu is None

    def __call__(self, codes: NDArray, first: int, stride: int, out: NDArray) -> None:
        width, kernels = codes.dtype.itemsize, self._backend.kernels
        if self._by_pairs and width == 1 and codes.size >= _MANY and _even(codes, out):
            kernels.dequantize(codes.view(np.uint16), pairs(self._tables.tobytes()), out.view(np.uint32))
            return
        rows = self._rows(width)
        # A GPU kernel checks the bounds of its table itself.
        if (
            width > 2
            and isinstance(codes, np.ndarray)
            and codes.size
            and int(codes.max()) >= self._tables.shape[1]
        ):
            raise CorruptDataError(_BEYOND)
        if len(rows) == 1:
            kernels.dequantize(codes, rows[0], out)
        else:
            kernels.dequantize_phased(codes, rows, self._seed, first, stride, out)

    def compiled(self, width: int, pixels: int, out: NDArray) -> Any:
        """See :class:`Render`."""
        if width > 2:
            return None
        if self._by_pairs and width == 1 and can_permute():
            return cpu_decode.Permuted(self._rows(1)[0].view(np.uint16))
        even = pixels % 2 == 0 and out.itemsize == 2 and out.ctypes.data % 4 == 0
        if self._by_pairs and width == 1 and out.size >= _MANY and even:
            return cpu_decode.Pairs(pairs(self._tables.tobytes()))
        rows = self._rows(width)
        return cpu_decode.Table(rows[0]) if len(rows) == 1 else cpu_decode.PhasedTable(rows, self._seed)

    def _rows(self, width: int) -> Any:
        """Tables that cover all codes of a width, so that altered codes stay within them."""
        if width not in self._padded:
            padding = (1 << 8 * width) - self._tables.shape[1] if width <= 2 else 0
            padded = np.ascontiguousarray(np.pad(self._tables, ((0, 0), (0, padding))))
            self._padded[width] = self._backend.upload(padded)
        return self._padded[width]


LARGEST_TABLE = 1 << 16
"""Most entries of a table that covers all codes of a span; an entry takes up to 30 us."""

_MANY = 1 << 16
"""Least number of codes for which a table of pairs pays off."""


@lru_cache(maxsize=16)
def pairs(table: bytes) -> NDArray[np.uint32]:
    """Table of the two samples of every pair of 8-bit codes, from a table of two-byte samples."""
    one = np.zeros(256, np.uint16)
    one[: len(table) // 2] = np.frombuffer(table, np.uint16)
    both = np.empty((256, 256, 2), np.uint16)
    both[:, :, 0], both[:, :, 1] = one, one[:, np.newaxis]
    joined = both.view(np.uint32).reshape(-1)
    joined.setflags(write=False)
    return joined


def _even(codes: NDArray, out: NDArray) -> bool:
    """Whether two neighbouring codes, and two samples, can be read as one number each."""
    contiguous = codes.flags.c_contiguous and out.strides[-1] == out.itemsize
    whole = codes.shape[-1] % 2 == 0 and out.ctypes.data % 4 == 0
    return (
        contiguous and whole and out.itemsize == 2 and codes.ctypes.data % 2 == 0 and out.strides[0] % 4 == 0
    )


def beyond_tables(encoding: Encoding, top: int) -> bool:
    """Whether a chunk spans too much for a table; its values are then computed on the CPU."""
    return (top + 1) * encoding.phases > LARGEST_TABLE


class _ByOccurrence:
    """Renders codes of a wide span, of which few occur.

    A header of a few bytes may claim any span, so only the codes that occur are computed.
    """

    def __init__(self, encoding: Encoding, base: int, top: int, what: Values, backend: Backend) -> None:
        self._table, self._seed, self._kernels = encoding.table(), encoding.seed, backend.kernels
        self._base, self._top, self._what = base, top, what

    def __call__(self, codes: NDArray, first: int, stride: int, out: NDArray) -> None:
        table = self._table
        occurring, index = np.unique(codes, return_inverse=True)
        if occurring.size and int(occurring[-1]) > self._top:
            raise CorruptDataError(_BEYOND)
        values = occurring.astype(np.int64) + self._base
        if self._what == STABILIZED:
            rows = np.stack([table.stabilized(values, phase) for phase in range(table.phases)])
        else:
            rows = table.decode_rows_of(values, self._what)
        places = index.reshape(codes.shape).astype(np.uint32)
        if len(rows) == 1:
            self._kernels.dequantize(places, rows[0], out)
        else:
            self._kernels.dequantize_phased(places, rows, self._seed, first, stride, out)

    def compiled(self, width: int, pixels: int, out: NDArray) -> None:
        """See :class:`Render`."""


class _WideValues:
    """Renders exact values that span too much for a table."""

    def __init__(self, encoding: Encoding, base: int, top: int, what: Values) -> None:
        self._encoding, self._base, self._top, self._what = encoding, base, top, what

    def __call__(self, codes: NDArray, first: int, stride: int, out: NDArray) -> None:
        if codes.size and int(codes.max()) > self._top:
            raise CorruptDataError(_BEYOND)
        values = (codes.astype(np.int64) + self._base).astype(self._encoding.dtype)
        out[...] = _stabilized(self._encoding, values) if self._what == STABILIZED else values

    def compiled(self, width: int, pixels: int, out: NDArray) -> None:
        """See :class:`Render`."""


def _stabilized(encoding: Encoding, values: NDArray) -> NDArray[np.float64]:
    """Labels that values ``(T, n)`` in host memory would have if they were quantized."""
    if not values.size:
        return np.empty(values.shape)
    table = encoding.table()
    quantize = Quantizer(table, Extent(int(values.min()), int(values.max())), cpu_backend(), 0)
    codes = np.empty(values.shape, quantize.dtype)
    quantize(values, 0, 0, codes)
    return np.multiply(codes.astype(np.int64) + quantize.base, table.step, dtype=np.float64)


def _tables(encoding: Encoding, base: int, top: int, what: Values) -> tuple[int, NDArray]:
    """First code, and rows, of a table that covers ``base`` to ``base + top``."""
    if encoding.exact:
        values = np.arange(base, base + top + 1, dtype=np.int64).astype(encoding.dtype)[np.newaxis]
        return base, _stabilized(encoding, values) if what == STABILIZED else values.astype(what)
    table = encoding.table()
    if what != STABILIZED:
        return table.decode_table_at_least(base, base + top, np.dtype(what))
    codes = np.arange(base, base + top + 1)
    return base, np.stack([table.stabilized(codes, phase) for phase in range(table.phases)])
