"""Pack two residuals into each byte, and unpack them.

:mod:`photon_gpu.kernels.cpu` calls and inlines these functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.instructions.cpu_unaligned_words import trailing_zeros

_NONE, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
_LOWEST = np.uint64(0x1111111111111111)


@jit
def pack_pairs(residuals: NDArray, halves: NDArray[np.uint8]) -> None:
    """Pack the lesser of each residual and 15, the first of two in the low half."""
    for i in range(halves.size):
        low, high = np.uint8(min(residuals[2 * i], 15)), np.uint8(min(residuals[2 * i + 1], 15))
        halves[i] = np.uint8(low | np.uint8(high << np.uint8(4)))


@jit
def unpack_pairs(halves: NDArray[np.uint8], residuals: NDArray) -> None:
    """Unpack half bytes: the inverse of :func:`pack_pairs` for residuals up to 15."""
    for i in range(halves.size):
        residuals[2 * i], residuals[2 * i + 1] = halves[i] & np.uint8(15), halves[i] >> np.uint8(4)


@jit
def mark_15(halves: NDArray[np.uint8], marks: NDArray[np.uint64]) -> None:
    """Mark half bytes of 15 in words of 16: the lowest bit of such a half byte is set, all others are not."""
    words = halves.view(np.uint64)
    for i in range(words.size):
        # The lowest bit of a half byte stays set where all four bits are set.
        two = words[i] & (words[i] >> _ONE)
        marks[i] = two & (two >> _TWO) & _LOWEST


@jit
def take_excess(residuals: NDArray, marks: NDArray[np.uint64], escapes: NDArray) -> Any:
    """Copy the excess over 15 of marked residuals to ``escapes``; return their number."""
    count = _NONE
    for i in range(marks.size):
        mark = marks[i]
        while mark:
            if count < np.uint64(escapes.size):
                escapes[count] = residuals[np.uint64(i << 4) + (trailing_zeros(mark) >> _TWO)] - 15
            count += _ONE
            mark &= mark - _ONE
    return np.int64(count)


@jit
def take_excess_each(residuals: NDArray, escapes: NDArray, count: int) -> int:
    """Append the excess over 15 of each residual behind ``count`` escapes; return the new count."""
    for i in range(residuals.size):
        if residuals[i] >= 15:
            escapes[count] = residuals[i] - 15
            count += 1
    return count


@jit
def add_excess(residuals: NDArray, marks: NDArray[np.uint64], escapes: NDArray) -> Any:
    """Add an escape to each marked residual; return the number of escapes needed."""
    count = _NONE
    for i in range(marks.size):
        mark = marks[i]
        while mark:
            if count < np.uint64(escapes.size):
                residuals[np.uint64(i << 4) + (trailing_zeros(mark) >> _TWO)] += escapes[count]
            count += _ONE
            mark &= mark - _ONE
    return np.int64(count)


@jit
def add_excess_each(residuals: NDArray, escapes: NDArray, count: int) -> int:
    """Add escapes, from number ``count`` on, to each residual of 15; return the new count."""
    for i in range(residuals.size):
        if residuals[i] == 15:
            if count < escapes.size:
                residuals[i] += escapes[count]
            count += 1
    return count
