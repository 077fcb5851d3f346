"""LRU cache of recently read chunks, compressed and decoded."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Any

MOST_BYTES = 256 << 20
MOST_CHUNKS = 2
STORED = "bytes"
"""Form of a chunk file as it is stored. Other forms name the type of the decoded values."""


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

    def get(self, number: int, form: str) -> Any:
        """Return a chunk in one form; None if it is not in the cache."""
        with self._lock:
            entry = self._values.get((number, form == STORED, form))
        return None if entry is None else entry[0]

    def put(self, number: int, form: str, value: Any, nbytes: int) -> None:
        """Add a chunk; drop the oldest ones if there are too many in this form, or too many bytes."""
        if nbytes > MOST_BYTES:
            return
        stored = form == STORED
        with self._lock:
            self._values[number, stored, form] = value, nbytes
            while (
                sum(size for _, size in self._values.values()) > MOST_BYTES
                or sum(key[1] == stored for key in self._values) > MOST_CHUNKS
            ):
                oldest = next(k for k in self._values if k[1] == stored or len(self._values) == 1)
                del self._values[oldest]

    def asked_before(self, number: int) -> bool:
        """Return whether a chunk is one of the last two that were requested, and record this request."""
        with self._lock:
            if number in self._asked:
                return True
            self._asked.append(number)
            return False
