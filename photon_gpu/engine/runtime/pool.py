"""Threads that are kept: one pool per purpose and size, shared, and made anew in a forked child."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.runtime.stopwatch import Map
from photon_gpu.errors import InvalidInputError

Submit = Callable[..., "Future[Any]"]

_COPIERS, _LARGE = 4, 1 << 22

_pools: dict[tuple[str, int], ThreadPoolExecutor] = {}
_idle: dict[tuple[str, int], list[ThreadPoolExecutor]] = {}
_lock = threading.Lock()


def worker_count(workers: int | None) -> int:
    """Threads to use: those asked for, or one per core this process may run on."""
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= 1024:
        raise InvalidInputError(f"workers is {workers!r}; a whole number from 1 to 1024 is needed")
    return workers


def parallel(workers: int) -> Map:
    """``map`` over so many threads, and the caller's while it waits; calls must not wait for each other."""
    return map if workers == 1 else partial(_helped, workers)


def _helped(workers: int, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Run, in the calling thread and from the front, what no thread has begun; its cache is warm."""
    given = list(items)
    pool = _pool("photon", workers)
    others = [pool.submit(work, item) for item in given[1:]]
    try:
        done = [work(item) for item in given[:1]]
        for item, other in zip(given[1:], others, strict=True):
            done.append(work(item) if other.cancel() else other.result())
        return done
    finally:
        # After an error nothing still works on what the caller may give away.
        for other in others:
            other.cancel()
        wait(others)


def bounded(workers: int) -> Map:
    """Run like :func:`parallel`, with at most so many at once over all calls; a lone item has a thread."""
    return _pool("photon", workers).map


class Ranked:
    """``map`` over threads of one's own: of all that waits for one, what has the least rank is done next.

    So chunks that are encoded beside each other are finished one after the other, and written meanwhile.
    """

    def __init__(self, threads: ThreadPoolExecutor, workers: int) -> None:
        self._threads, self._workers, self._working = threads, workers, 0
        self._waiting: list[tuple[int, int, _Batch, int]] = []
        self._numbers, self._lock = itertools.count(), threading.Lock()

    def of(self, rank: int) -> Map:
        """``map`` for work of this rank."""
        return partial(self._map, rank)

    def _map(self, rank: int, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        batch = _Batch(work, list(items))
        with self._lock:
            for place in range(len(batch.results)):
                heapq.heappush(self._waiting, (rank, next(self._numbers), batch, place))
            more = min(self._workers - self._working, len(batch.results))
            self._working += more
        try:
            for _ in range(more):
                self._threads.submit(self._work)
            return batch.wait()
        except BaseException as error:
            batch.error = batch.error or error
            raise

    def _work(self) -> None:
        """What waits, until nothing does: a thread that asked anew for each item would wake others for it."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._working -= 1
                    return
                _, _, batch, place = heapq.heappop(self._waiting)
            batch.do(place)


class _Batch:
    """Items of one call. The caller wakes once, not for each; an error drops the rest."""

    def __init__(self, work: Callable[[Any], Any], items: list[Any]) -> None:
        self.results: list[Any] = items
        self.error: BaseException | None = None
        self._work, self._left = work, len(items)
        self._lock, self._latch = threading.Lock(), threading.Lock()
        if items:
            self._latch.acquire()

    def do(self, place: int) -> None:
        """The work of one item, whose place its result takes."""
        try:
            if self.error is None:
                self.results[place] = self._work(self.results[place])
        except BaseException as error:
            self.error = error
        with self._lock:
            self._left -= 1
            if not self._left:
                self._latch.release()

    def wait(self) -> list[Any]:
        """All results, or the error of one."""
        self._latch.acquire()
        if self.error is not None:
            raise self.error
        return self.results


@contextmanager
def lent(purpose: str, threads: int) -> Iterator[ThreadPoolExecutor]:
    """So many threads for oneself; they are kept for the next who asks, unless the block fails.

    Then nothing submitted still runs, or will, once it is left; else the block has waited for its own.
    """
    with _lock:
        idle = _idle.setdefault((purpose, threads), [])
        pool = idle.pop() if idle else ThreadPoolExecutor(threads, thread_name_prefix=purpose)
    try:
        yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    with _lock:
        idle.append(pool)


@contextmanager
def submitting(purpose: str, threads: int) -> Iterator[Submit]:
    """``submit`` to so many threads; nothing submitted still runs, or will, once the block is left.

    What runs there may wait for :func:`parallel`, which has threads of its own, not for its own purpose.
    """
    pool, made = _pool(purpose, threads), deque[Future[Any]]()

    def submit(work: Callable[..., Any], *args: Any) -> Future[Any]:
        while made and made[0].done():
            made.popleft()
        made.append(pool.submit(work, *args))
        return made[-1]

    try:
        yield submit
    finally:
        for future in made:
            future.cancel()
        wait(made)


def copy(to: NDArray, given: NDArray) -> None:
    """Copy with several threads, same shape and dtype; one thread cannot keep the memory busy."""
    if to.shape != given.shape:
        raise ValueError(f"shapes {given.shape} and {to.shape} differ")
    threads = min(_COPIERS, worker_count(None), len(to))
    if to.nbytes < _LARGE or threads < 2:
        np.copyto(to, given, casting="no")
        return
    ends = [len(to) * part // threads for part in range(threads + 1)]
    with submitting("photon-copy", threads) as submit:
        parts = [submit(np.copyto, to[i:j], given[i:j], "no") for i, j in pairwise(ends)]
        for part in parts:
            part.result()


def _pool(purpose: str, threads: int) -> ThreadPoolExecutor:
    with _lock:
        if (purpose, threads) not in _pools:
            _pools[purpose, threads] = ThreadPoolExecutor(threads, thread_name_prefix=purpose)
        return _pools[purpose, threads]


def _forget() -> None:
    """A forked child has its parent's pools but not their threads."""
    global _lock
    _pools.clear()
    _idle.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
