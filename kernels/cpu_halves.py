"""Half bytes: pack two residuals into each byte without a branch on rare values.

Called by the kernels of :mod:`photon_gpu.kernels.cpu` and inlined there; see
:mod:`photon_gpu.kernels.cpu_terms`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from photon_gpu.kernels.cpu_cache import jit

_FEW = 16
_LOWEST = np.uint64(0x1111111111111111)


@jit
def joined(residuals: NDArray, halves: NDArray[np.uint8]) -> None:
    """The lesser of each residual and 15, the first in the low half."""
    for i in range(halves.size):
        low, high = np.uint8(min(residuals[2 * i], 15)), np.uint8(min(residuals[2 * i + 1], 15))
        halves[i] = np.uint8(low | np.uint8(high << np.uint8(4)))


@jit
def parted(halves: NDArray[np.uint8], residuals: NDArray) -> None:
    """Inverse of :func:`joined`, of residuals below 16."""
    for i in range(halves.size):
        residuals[2 * i], residuals[2 * i + 1] = halves[i] & np.uint8(15), halves[i] >> np.uint8(4)


@jit
def sixteens(halves: NDArray[np.uint8], flags: NDArray[np.uint8], found: NDArray[np.int32]) -> int:
    """Which sixteen residuals hold a 15, into ``found``; returns how many of them do."""
    words, count = halves.view(np.uint64), 0
    for i in range(words.size):
        # Of each half, the lowest bit stays where all four are set.
        two = words[i] & (words[i] >> np.uint64(1))
        flags[i] = (two & (two >> np.uint64(2)) & _LOWEST) != 0
    for i in range(words.size):
        found[count] = i
        count += flags[i]
    return count


@jit
def take(residuals: NDArray, found: NDArray[np.int32], escapes: NDArray) -> int:
    """What exceeds 15 in the sixteens ``found``; returns how many residuals do."""
    count = 0
    for i in range(found.size):
        few = residuals[_FEW * found[i] : _FEW * found[i] + _FEW]
        if count + _FEW <= escapes.size:
            for k in range(_FEW):
                escapes[count] = few[k] - 15
                count += few[k] >= 15
        else:
            count = take_each(few, escapes, count)
    return count


@jit
def take_each(residuals: NDArray, escapes: NDArray, count: int) -> int:
    """List the excess over 15 of 16 residuals after ``count`` escapes; return the new count."""
    for i in range(residuals.size):
        if residuals[i] >= 15:
            escapes[count] = residuals[i] - 15
            count += 1
    return count


@jit
def give(residuals: NDArray, found: NDArray[np.int32], escapes: NDArray) -> int:
    """Add escapes where 15 stands in 16 half bytes; return how many escapes that needs."""
    count = 0
    for i in range(found.size):
        few = residuals[_FEW * found[i] : _FEW * found[i] + _FEW]
        if count + _FEW <= escapes.size:
            for k in range(_FEW):
                escaped = few[k] == 15
                few[k] += escapes[count] * escaped
                count += escaped
        else:
            count = give_each(few, escapes, count)
    return count


@jit
def give_each(residuals: NDArray, escapes: NDArray, count: int) -> int:
    """Add escapes, from ``count`` on, wherever 15 stands; returns as :func:`give`."""
    for i in range(residuals.size):
        if residuals[i] == 15:
            if count < escapes.size:
                residuals[i] += escapes[count]
            count += 1
    return count
