"""Per-thread memory that is reused: fresh pages, zeroed by the kernel, cost as much as a pass."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import DTypeLike, NDArray

MOST_BYTES = 1 << 24
"""Larger arrays are made anew each time: threads live as long as the process."""

_buffers = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """An array whose contents are not defined, valid until this thread asks for the same name again.

    Parameters
    ----------
    name : str
        Of the use. Two arrays in use at once need two names.
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray
        C-contiguous, aligned.

    Examples
    --------
    >>> scratch("codes", (100, 16, 512), "uint8").shape
    (100, 16, 512)
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes > MOST_BYTES:
        return np.empty(shape, dtype)
    buffer: NDArray[np.uint8] | None = getattr(_buffers, name, None)
    if buffer is None or buffer.size < nbytes:
        buffer = np.empty(nbytes, np.uint8)
        setattr(_buffers, name, buffer)
    return buffer[:nbytes].view(dtype).reshape(shape)
