"""Reusable scratch arrays, one set per thread, which avoid the cost of new zeroed pages."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.engine.runtime.pool import scratch_until_idle

MOST_BYTES = 1 << 24
"""Larger arrays are kept only by threads of a pool, and only until they are idle, as threads never end."""

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
    buffers = _buffers.__dict__ if nbytes <= MOST_BYTES else scratch_until_idle()
    if buffers is None:
        return np.empty(shape, dtype)
    buffer: NDArray[np.uint8] | None = buffers.get(name)
    if buffer is None or buffer.size < nbytes:
        buffer = buffers[name] = np.empty(nbytes, np.uint8)
    return buffer[:nbytes].view(dtype).reshape(shape)
