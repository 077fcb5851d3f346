"""Reusable scratch arrays, one set per thread, which avoid the cost of new zeroed pages."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import DTypeLike, NDArray

MOST_BYTES = 1 << 24
"""Larger arrays are not kept, because threads live as long as the process."""

_buffers = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Return an uninitialized array, valid until this thread requests the same name again.

    Parameters
    ----------
    name : str
        Name of the use. Two arrays in use at once need two names.
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
