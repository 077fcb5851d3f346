"""LRU cache of recently read chunks, compressed and decoded."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Any

MOST_BYTES = 256 << 20
MOST_CHUNKS = 2
STORED = "bytes"
"""Key of a stored chunk file. Other keys name the type of values that a chunk was decoded to."""


class ChunkCache:
    """Keep up to two chunk files and two decoded chunks, at most 256 MiB; safe to use from any thread.

    Examples
    --------
    >>> cache = ChunkCache()
    >>> for number in range(3):
    ...     cache.put(number, STORED, b"data", 4)
    >>> [cache.get(number, STORED) for number in range(3)]
    [None, b'data', b'data']
    """

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[int, bool, str], tuple[Any, int]] = OrderedDict()
        self._asked: deque[int] = deque(maxlen=MOST_CHUNKS)
        self._lock = threading.Lock()

    def get(self, number: int, what: str) -> Any:
        """Return a chunk as ``what``, or None."""
        with self._lock:
            entry = self._values.get((number, what == STORED, what))
        return None if entry is None else entry[0]

    def put(self, number: int, what: str, value: Any, nbytes: int) -> None:
        """Add a chunk; drop the oldest if there are too many with this key, or too many bytes."""
        if nbytes > MOST_BYTES:
            return
        stored = what == STORED
        with self._lock:
            self._values[number, stored, what] = value, nbytes
            while (
                sum(size for _, size in self._values.values()) > MOST_BYTES
                or sum(key[1] == stored for key in self._values) > MOST_CHUNKS
            ):
                oldest = next(k for k in self._values if k[1] == stored or len(self._values) == 1)
                del self._values[oldest]

    def asked_before(self, number: int) -> bool:
        """Return whether a chunk is one of the last two requested, and remember it."""
        with self._lock:
            if number in self._asked:
                return True
            self._asked.append(number)
            return False
