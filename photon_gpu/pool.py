"""Threads for compute: one pool per size, shared, and made anew in a forked child."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from photon_gpu.blosc import Map
from photon_gpu.errors import InvalidInputError

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def worker_count(workers: int | None) -> int:
    """Threads to use: those asked for, or one per core this process may run on."""
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= 1024:
        raise InvalidInputError(f"workers is {workers!r}; a whole number from 1 to 1024 is needed")
    return workers


def parallel(workers: int) -> Map:
    """``map`` over so many threads; calls must not wait for each other."""
    return map if workers == 1 else bounded(workers)


def bounded(workers: int) -> Map:
    """As :func:`parallel`, and never more than so many at once, however many threads call: one has a thread, too."""
    with _lock:
        if workers not in _pools:
            _pools[workers] = ThreadPoolExecutor(workers, thread_name_prefix="photon")
        return _pools[workers].map


def _forget() -> None:
    """A forked child has its parent's pools but not their threads."""
    global _lock
    _pools.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
