"""The chunks of a movie that were read last: as they are stored, and as they opened."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Any

MOST_BYTES = 256 << 20
MOST_CHUNKS = 2
STORED = "bytes"
"""What a chunk's file is kept as; anything else names what it opened to."""


class Kept:
    """Two files and two opened chunks at most, within 256 MiB, from any thread.

    Examples
    --------
    >>> kept = Kept()
    >>> for number in range(3):
    ...     kept.put(number, STORED, b"data", 4)
    >>> [kept.get(number, STORED) for number in range(3)]
    [None, b'data', b'data']
    """

    def __init__(self) -> None:
        self._values: OrderedDict[tuple[int, bool, str], tuple[Any, int]] = OrderedDict()
        self._asked: deque[int] = deque(maxlen=MOST_CHUNKS)
        self._lock = threading.Lock()

    def get(self, number: int, what: str) -> Any:
        """A chunk as ``what``, or None."""
        with self._lock:
            found = self._values.get((number, what == STORED, what))
        return None if found is None else found[0]

    def put(self, number: int, what: str, value: Any, nbytes: int) -> None:
        """Keep a chunk, and let go of the oldest of its kind, or of any, where there are too many."""
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
        """Whether a chunk is one of the last two that were asked for; from now on it is."""
        with self._lock:
            if number in self._asked:
                return True
            self._asked.append(number)
            return False
