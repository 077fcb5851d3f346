"""Pack two residuals into each byte, and unpack them, without a branch on rare values.

:mod:`photon_gpu.kernels.cpu` calls and inlines these functions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit

_FEW = 16
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
def groups_with_15(halves: NDArray[np.uint8], flags: NDArray[np.uint8], groups: NDArray[np.int32]) -> int:
    """List the groups of 16 residuals that hold a 15 in ``groups``; return their number."""
    words, count = halves.view(np.uint64), 0
    for i in range(words.size):
        # The lowest bit of a half byte stays set where all four bits are set.
        two = words[i] & (words[i] >> np.uint64(1))
        flags[i] = (two & (two >> np.uint64(2)) & _LOWEST) != 0
    for i in range(words.size):
        groups[count] = i
        count += flags[i]
    return count


@jit
def take_excess(residuals: NDArray, groups: NDArray[np.int32], escapes: NDArray) -> int:
    """Copy the excess over 15 of the residuals in ``groups`` to ``escapes``; return their number."""
    count = 0
    for i in range(groups.size):
        few = residuals[_FEW * groups[i] : _FEW * groups[i] + _FEW]
        if count + _FEW <= escapes.size:
            for k in range(_FEW):
                escapes[count] = few[k] - 15
                count += few[k] >= 15
        else:
            count = take_excess_each(few, escapes, count)
    return count


@jit
def take_excess_each(residuals: NDArray, escapes: NDArray, count: int) -> int:
    """Append the excess over 15 of each residual behind ``count`` escapes; return the new count."""
    for i in range(residuals.size):
        if residuals[i] >= 15:
            escapes[count] = residuals[i] - 15
            count += 1
    return count


@jit
def add_excess(residuals: NDArray, groups: NDArray[np.int32], escapes: NDArray) -> int:
    """Add an escape to each residual of 15 in ``groups``; return the number of escapes needed."""
    count = 0
    for i in range(groups.size):
        few = residuals[_FEW * groups[i] : _FEW * groups[i] + _FEW]
        if count + _FEW <= escapes.size:
            for k in range(_FEW):
                escaped = few[k] == 15
                few[k] += escapes[count] * escaped
                count += escaped
        else:
            count = add_excess_each(few, escapes, count)
    return count


@jit
def add_excess_each(residuals: NDArray, escapes: NDArray, count: int) -> int:
    """Add escapes, from number ``count`` on, to each residual of 15; return the new count."""
    for i in range(residuals.size):
        if residuals[i] == 15:
            if count < escapes.size:
                residuals[i] += escapes[count]
            count += 1
    return count
