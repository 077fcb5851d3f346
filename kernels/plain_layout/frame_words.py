"""Read and write the numbers in a Blosc frame from compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit

HEADER_BYTES = 16
"""Bytes of a frame before its table of block starts."""


@jit
def put32(out: NDArray[np.uint8], at: int, value: Any) -> None:
    """Write a number of 32 bits, least byte first."""
    for i in range(4):
        out[at + i] = (value >> (8 * i)) & 255


@jit
def get32(data: NDArray[np.uint8], at: int) -> Any:
    """Read a number below 2**31."""
    number = np.int64(0)
    for i in range(4):
        number |= np.int64(data[at + i]) << (8 * i)
    return number
