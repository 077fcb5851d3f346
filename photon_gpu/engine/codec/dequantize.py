"""From codes to what is asked for: stabilized values, or values in the movie's units."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.backend import Backend, cpu_backend
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.quantize import Extent, Quantizer
from photon_gpu.engine.model.code_table import MAX_CODES
from photon_gpu.errors import CorruptDataError

STABILIZED = "stabilized"

_BEYOND = "a chunk holds a code beyond the greatest its header names"

Render = Callable[[NDArray, int, int, NDArray], None]
"""``render(codes (T, n), first, stride, out (T, n))``; sample ``(t, i)`` is ``first + t*stride + i``."""


def render(encoding: Encoding, base: int, top: int, what: str | np.dtype, backend: Backend) -> Render:
    """A function from codes ``0..top`` counted from ``base`` to output samples.

    Codes beyond ``top`` are a sign of altered data; they are an error or, for codes of 8 and
    16 bits, decode to zero, for the caller's checksum to find.
    """
    if encoding.exact:
        info = np.iinfo(encoding.dtype)
        if base < info.min or base + top > info.max:
            raise CorruptDataError(
                f"a chunk says it holds values {base:,} to {base + top:,}; {encoding.dtype} holds none such"
            )
        if beyond_tables(encoding, top):
            return _itself(encoding, base, top, what)
    elif top >= MAX_CODES - 1:
        raise CorruptDataError(f"a chunk says it spans {top + 1:,} codes; no release writes as many")
    begin, tables = _tables(encoding, base, top, what)
    skipped, kernels, seed = base - begin, backend.kernels, encoding.seed
    tables = tables[:, skipped : skipped + top + 1]
    if len(tables) > 1 and all(np.array_equal(tables[0], row) for row in tables[1:]):
        tables = tables[:1]
    placed: dict[int, Any] = {}
    by_pairs = len(tables) == 1 and tables.itemsize == 2 and backend.gpu is None

    def run(codes: NDArray, first: int, stride: int, out: NDArray) -> None:
        width = codes.dtype.itemsize
        if by_pairs and width == 1 and codes.size >= _MANY and _even(codes, out):
            kernels.inverse(codes.view(np.uint16), pairs(tables.tobytes()), out.view(np.uint32))
            return
        if width not in placed:
            # A table as long as the codes' dtype reaches: altered codes stay within it.
            padding = (1 << 8 * width) - tables.shape[1] if width <= 2 else 0
            placed[width] = backend.place(np.ascontiguousarray(np.pad(tables, ((0, 0), (0, padding)))))
        rows = placed[width]
        # On a GPU (no NumPy array) the kernel itself keeps to its table.
        if width > 2 and isinstance(codes, np.ndarray) and codes.size and int(codes.max()) > top:
            raise CorruptDataError(_BEYOND)
        if len(rows) == 1:
            kernels.inverse(codes, rows[0], out)
        else:
            kernels.inverse_phased(codes, rows, seed, first, stride, out)

    return run


_MANY = 1 << 16
"""Codes from which on two at a time pay for a table of pairs."""


@lru_cache(maxsize=16)
def pairs(table: bytes) -> NDArray[np.uint32]:
    """The two samples of every two codes of 8 bits, from a table of samples of two bytes."""
    one = np.zeros(256, np.uint16)
    one[: len(table) // 2] = np.frombuffer(table, np.uint16)
    both = np.empty((256, 256, 2), np.uint16)
    both[:, :, 0], both[:, :, 1] = one, one[:, np.newaxis]
    found = both.view(np.uint32).reshape(-1)
    found.setflags(write=False)
    return found


def _even(codes: NDArray, out: NDArray) -> bool:
    """Whether two codes and two samples can be taken as one number each."""
    contiguous = codes.flags.c_contiguous and out.strides[-1] == out.itemsize
    whole = codes.shape[-1] % 2 == 0 and out.ctypes.data % 4 == 0
    return (
        contiguous and whole and out.itemsize == 2 and codes.ctypes.data % 2 == 0 and out.strides[0] % 4 == 0
    )


def beyond_tables(encoding: Encoding, top: int) -> bool:
    """Whether exact values lie too far apart for a table: they are added up, on the CPU."""
    return encoding.exact and top >= 1 << 16


def _itself(encoding: Encoding, base: int, top: int, what: str | np.dtype) -> Render:
    """Exact values too far apart for a table."""

    def run(codes: NDArray, first: int, stride: int, out: NDArray) -> None:
        if codes.size and int(codes.max()) > top:
            raise CorruptDataError(_BEYOND)
        values = (codes.astype(np.int64) + base).astype(encoding.dtype)
        out[...] = _stabilized(encoding, values) if what == STABILIZED else values

    return run


def _stabilized(encoding: Encoding, values: NDArray) -> NDArray[np.float64]:
    """Labels of host values ``(T, n)``, as if they had been quantized."""
    if not values.size:
        return np.empty(values.shape)
    table = encoding.table()
    forward = Quantizer(table, Extent(int(values.min()), int(values.max())), cpu_backend(), 0)
    codes = np.empty(values.shape, forward.dtype)
    forward(values, 0, 0, codes)
    return np.multiply(codes.astype(np.int64) + forward.base, table.step, dtype=np.float64)


def _tables(encoding: Encoding, base: int, top: int, what: str | np.dtype) -> tuple[int, NDArray]:
    """First code and rows of a table that covers ``base..base + top``."""
    if encoding.exact:
        values = np.arange(base, base + top + 1, dtype=np.int64).astype(encoding.dtype)[np.newaxis]
        return base, _stabilized(encoding, values) if what == STABILIZED else values.astype(what)
    table = encoding.table()
    if what != STABILIZED:
        return table.decode_table_at_least(base, base + top, np.dtype(what))
    codes = np.arange(base, base + top + 1, dtype=np.float64)
    if table.phases == 1:
        return base, (codes * table.step)[np.newaxis]
    return base, np.stack([(codes + table.shift(phase)) * table.step for phase in range(table.phases)])
