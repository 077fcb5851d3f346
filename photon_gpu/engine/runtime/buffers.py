"""Join and reuse large byte arrays without Python's lock.

Allocating and freeing megabytes takes as long as a pass over them, and Python frees memory with its lock
held.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_new_bytes: Any = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.argtypes, _new_bytes.restype = [ctypes.c_char_p, ctypes.c_ssize_t], ctypes.py_object


def bytes_of(parts: Sequence[NDArray], buffers: Buffers | None = None) -> bytes:
    r"""Join contiguous byte arrays to ``bytes``, like ``b"".join``, but let other threads run meanwhile.

    With ``buffers``, the result is a memoryview of a buffer that the caller gives back.

    Examples
    --------
    >>> import numpy as np
    >>> bytes_of([np.array([1, 2], "uint8"), np.array([3], "uint8")])
    b'\x01\x02\x03'
    """
    nbytes = sum(part.nbytes for part in parts)
    # Fill in the bytes before any other code can see them, which the C API of Python allows.
    joined: Any = _new_bytes(None, nbytes) if buffers is None else buffers.take(nbytes).data
    at = np.frombuffer(joined, np.uint8).ctypes.data if joined else 0
    for part in parts:
        ctypes.memmove(at, part.ctypes.data, part.nbytes)
        at += part.nbytes
    return joined


class Buffers:
    """Reusable byte arrays; safe to use from any thread.

    Examples
    --------
    >>> buffers = Buffers()
    >>> first = buffers.take(1000)
    >>> buffers.give(first)
    >>> np.shares_memory(buffers.take(900), first)
    True
    """

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> NDArray[np.uint8]:
        """Return an array of ``nbytes`` bytes with undefined content."""
        with self._lock:
            fitting = next((i for i, one in enumerate(self._free) if one.size >= nbytes), None)
            # Drop an array that is too small, to make room for a larger one.
            kept = self._free.pop(fitting or 0) if self._free else None
        if kept is None or kept.size < nbytes:
            kept = np.empty(nbytes, np.uint8)
        return kept[:nbytes]

    def give(self, array: NDArray[np.uint8]) -> None:
        """Return an array of :meth:`take`, or a part of one, that is no longer in use."""
        while isinstance(array.base, np.ndarray):
            array = array.base
        with self._lock:
            self._free.append(array)
