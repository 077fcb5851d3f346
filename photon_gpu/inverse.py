"""From codes to what is asked for: stabilized values, or values in the movie's units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.backend import Backend
from photon_gpu.encoding import Encoding
from photon_gpu.errors import CorruptDataError

STABILIZED = "stabilized"

Render = Callable[[NDArray, int, int, NDArray], None]
"""``render(codes (T, n), first, stride, out (T, n))``; sample ``(t, i)`` is ``first + t*stride + i``."""


def render(encoding: Encoding, base: int, top: int, what: str | np.dtype, backend: Backend) -> Render:
    """A function from codes ``0..top`` counted from ``base`` to output samples.

    Codes beyond ``top`` are a sign of altered data; they are an error or, for codes of 8 and
    16 bits, decode to zero, for the caller's checksum to find.
    """
    begin, tables = _tables(encoding, base, top, what)
    skipped, kernels, seed = base - begin, backend.kernels, encoding.seed
    tables = tables[:, skipped : skipped + top + 1]
    if len(tables) > 1 and all(np.array_equal(tables[0], row) for row in tables[1:]):
        tables = tables[:1]
    placed: dict[int, Any] = {}

    def run(codes: NDArray, first: int, stride: int, out: NDArray) -> None:
        width = codes.dtype.itemsize
        if width not in placed:
            # A table as long as the codes' dtype reaches: altered codes stay within it.
            padding = (1 << 8 * width) - tables.shape[1] if width <= 2 else 0
            placed[width] = backend.place(np.ascontiguousarray(np.pad(tables, ((0, 0), (0, padding)))))
        rows = placed[width]
        # On a GPU (no NumPy array) the kernel itself keeps to its table.
        if width > 2 and isinstance(codes, np.ndarray) and codes.size and int(codes.max()) > top:
            raise CorruptDataError("a chunk holds a code beyond the greatest its header names")
        if len(rows) == 1:
            kernels.inverse(codes, rows[0], out)
        else:
            kernels.inverse_phased(codes, rows, seed, first, stride, out)

    return run


def _tables(encoding: Encoding, base: int, top: int, what: str | np.dtype) -> tuple[int, NDArray]:
    """First code and rows of a table that covers ``base..base + top``."""
    if encoding.exact:
        values = np.arange(base, base + top + 1, dtype=np.int64).astype(encoding.dtype)
        if what != STABILIZED:
            return base, values.astype(np.dtype(what))[np.newaxis]
        table = encoding.table()
        return base, np.array([[table.code(int(value)) * table.step for value in values]])
    table = encoding.table()
    if what != STABILIZED:
        return table.decode_table_at_least(base, base + top, np.dtype(what))
    codes = np.arange(base, base + top + 1, dtype=np.float64)
    if table.phases == 1:
        return base, (codes * table.step)[np.newaxis]
    return base, np.stack([(codes + table.shift(phase)) * table.step for phase in range(table.phases)])
