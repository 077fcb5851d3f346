"""Run calls on reusable threads.

A :class:`Pool` is a ``with`` block that may use a number of threads. Threads outlive the block and serve the
next pool of the same name, since starting a thread costs about ten times as much as waking one. A pool does
not depend on them: if no thread can be started, as in an exit handler of newer Pythons, the calling thread
makes the calls.

``concurrent.futures`` is not used for two reasons. Its executors refuse work once the interpreter exits. A
keyboard interrupt can leave the lock of one of its futures held, and the thread that needs that lock hangs.
This module acquires locks by ``with`` on a plain lock, which an interrupt cannot split, or in a loop that
polls.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any

from photon_gpu.engine.runtime.service_thread import ServiceThread
from photon_gpu.engine.runtime.stopwatch import Map, Stages
from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEPT = 256  # most idle threads per pool name
_POLL = 0.1  # seconds
_COPY_THREADS, _LARGE_BYTES = 4, 1 << 22

_idle: dict[str, list[SimpleQueue[Calls]]] = {}  # inboxes of the idle threads, by pool name
_shared: dict[int, Pool] = {}  # for parallel(), by number of workers
_lock = threading.Lock()
_serving = threading.local()
_thread_numbers = itertools.count(1)


def worker_count(workers: int | None) -> int:
    """Return the number of threads to use: ``workers``, or one per core this process may run on."""
    if workers is None:
        if sys.platform == "linux":
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if isinstance(workers, bool) or not isinstance(workers, int) or not 1 <= workers <= 1024:
        raise InvalidInputError(f"workers is {workers!r}; a whole number from 1 to 1024 is needed")
    return workers


class Calls:
    """Calls of one function, one per item, that several threads share.

    Calls begin in order, each once. After an error no further call begins.

    Parameters
    ----------
    function : callable
    items : list
        Arguments. Each is replaced by the result of its call.

    Attributes
    ----------
    error : BaseException or None
        Error of one of the calls.
    """

    def __init__(self, function: Callable[[Any], Any], items: list[Any]) -> None:
        self.error: BaseException | None = None
        self._function, self._items = function, items
        self._begun = self._running = 0
        self._lock, self._latch = threading.Lock(), threading.Lock()
        self._finished = not items
        if items:
            self._latch.acquire()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def all_begun(self) -> bool:
        """Whether no call is left to begin."""
        return self._begun == len(self._items)

    def make_next(self) -> bool:
        """Make the next call in this thread; return False if no call is left."""
        index = None
        try:
            with self._lock:
                if self.all_begun:
                    return False
                index = self._begun
                self._begun += 1
                self._running += 1
            self._items[index] = self._function(self._items[index])
        except BaseException as error:
            self.error = error
        finally:
            with self._lock:
                if index is not None:
                    self._running -= 1
                if self.error is not None:
                    self._begun = len(self._items)
                self._check_finished()
        return True

    def cancel(self) -> bool:
        """Begin no further call; return whether calls were left out."""
        with self._lock:
            left_out = not self.all_begun
            if left_out:
                self._begun = len(self._items)
                self.error = self.error or RuntimeError("the call was cancelled before it began")
            self._check_finished()
        return left_out

    def wait(self) -> None:
        """Wait until every call has ended or was left out. Any thread may wait, and more than once."""
        # An interrupt between these two lines may leave the latch locked; other threads see the flag.
        while not self._finished:
            if self._latch.acquire(timeout=_POLL):
                self._latch.release()

    def results(self) -> list[Any]:
        """Make the calls that no thread has begun, wait for the others, and return all results.

        Raises
        ------
        BaseException
            The error of one of the calls.
        """
        while self.error is None and self.make_next():
            pass
        self.wait()
        if self.error is not None:
            raise self.error
        return self._items

    def result(self) -> Any:
        """Return the result of the only call; see :meth:`results`."""
        return self.results()[0]

    def _check_finished(self) -> None:
        if not self._running and self.all_begun and not self._finished:
            self._finished = True
            self._latch.release()


class Pool:
    """Up to ``threads`` threads for one ``with`` block.

    After the block, no submitted call still runs: calls that have not begun are cancelled,
    and the others are waited for. A call must not wait for another call of the same pool, except through
    :meth:`map` and :meth:`Calls.results`, where the waiting thread helps.

    Parameters
    ----------
    name : str
        Purpose of the threads. Idle threads are kept by name, together with their scratch memory.
    threads : int

    Examples
    --------
    >>> with Pool("photon-example", 2) as pool:
    ...     power = pool.submit(pow, 2, 10)
    ...     pool.map(abs, [-1, -2, -3]), power.result()
    ([1, 2, 3], 1024)
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name, self._threads = name, threads
        self._waiting: deque[Calls] = deque()
        self._workers: dict[object, Calls] = {}
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            workers = list(self._workers.values())
        for calls in waiting:
            calls.cancel()
        for worker in workers:
            worker.cancel()
            worker.wait()

    def submit(self, function: Callable[..., Any], *args: Any) -> Calls:
        """Have a thread call ``function(*args)``; the call's :meth:`~Calls.result` waits for it."""
        calls = Calls(lambda args: function(*args), [args])
        self._add(calls, 1)
        return calls

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Return ``function`` of each item, in order; the calling thread makes calls, too."""
        calls = Calls(function, list(items))
        try:
            self._add(calls, len(calls) - 1)
            return calls.results()
        except BaseException:
            # The caller may free what the calls work on.
            calls.cancel()
            calls.wait()
            raise

    def split(self, number: int, count: int, at_once: int) -> Split:
        """Return how the threads of this pool share a chunk; see :func:`split_chunk`."""
        return split_chunk(number, count, at_once, self._threads, self.map)

    def _add(self, calls: Calls, threads: int) -> None:
        """Queue calls for up to ``threads`` threads."""
        if threads < 1:
            return
        with self._lock:
            if self._closed:
                raise RuntimeError(f"the pool {self._name} is closed, and accepts no more calls")
            self._waiting.append(calls)
            for _ in range(min(threads, self._threads - len(self._workers))):
                if not self._add_worker():
                    break
            alone = not self._workers
        if alone:
            self._work(None)

    def _add_worker(self) -> bool:
        """Let one more thread make calls; return False if none can be started. The caller holds the lock."""
        key = object()
        worker = Calls(self._work, [key])
        try:
            self._workers[key] = worker
            _hand_over(self._name, worker)
        except BaseException as error:
            # After an interrupt, a thread may have received the calls already; it then makes them.
            if worker.cancel():
                self._workers.pop(key, None)
            if isinstance(error, RuntimeError):
                return False
            raise
        return True

    def _work(self, key: object) -> None:
        """Make calls in a thread of the pool until none waits."""
        while True:
            with self._lock:
                while self._waiting and self._waiting[0].all_begun:
                    self._waiting.popleft()
                if not self._waiting:
                    self._workers.pop(key, None)
                    return
                calls = self._waiting[0]
            calls.make_next()


@dataclass(frozen=True)
class Split:
    """Number of parts that a chunk is split into, and the ``map`` that runs them.

    Whole chunks are best: then one thread works on each with its own memory. Parts keep threads busy if
    there are fewer chunks than threads.

    Examples
    --------
    >>> Split(3).ranges(8)
    [(0, 2), (2, 5), (5, 8)]
    """

    parts: int = 1
    run: Map = map

    def ranges(self, count: int) -> list[tuple[int, int]]:
        """Split ``count`` items into parts of about the same size, none of them empty."""
        parts = max(1, min(self.parts, count))
        ends = [count * part // parts for part in range(parts + 1)]
        return list(itertools.pairwise(ends))

    def timed(self, stages: Stages, stage: str) -> Split:
        """Return a copy that adds the time of each part to ``stage``."""
        return Split(self.parts, stages.over(stage, self.run))


WHOLE = Split()


def split_chunk(number: int, count: int, at_once: int, threads: int, run: Map) -> Split:
    """Return how ``threads`` threads share chunk ``number`` of ``count``; ``at_once`` are in progress.

    A chunk is not split while every thread has one. The last chunks are split if there are fewer than
    threads, so that all threads finish together.

    Examples
    --------
    >>> [split_chunk(number, 5, 4, 2, map).parts for number in range(5)]
    [1, 1, 1, 1, 2]
    """
    every_thread_has_one = at_once >= threads and number < count - count % threads
    return WHOLE if every_thread_has_one else Split(threads, run)


def parallel(workers: int) -> Map:
    """Return a ``map`` over ``workers`` threads, which the whole process shares, and the calling thread.

    One worker is the plain ``map``.
    """
    return map if workers == 1 else partial(_shared_map, workers)


def _shared_map(workers: int, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    with _lock:
        if workers not in _shared:
            _shared[workers] = Pool("photon", workers)
        pool = _shared[workers]
    return pool.map(function, items)


def copy_array(target: NDArray, source: NDArray) -> None:
    """Copy an array to another of the same shape and dtype; several threads copy a large one.

    One thread alone does not use all of the memory's bandwidth.
    """
    import numpy as np  # here, so that the command line can show its help without importing NumPy

    if target.shape != source.shape:
        raise ValueError(f"shapes {source.shape} and {target.shape} differ")
    threads = min(_COPY_THREADS, worker_count(None), len(target))
    if target.nbytes < _LARGE_BYTES or threads < 2:
        np.copyto(target, source, casting="no")
        return
    ends = [len(target) * part // threads for part in range(threads + 1)]
    with Pool("photon-copy", threads - 1) as pool:
        pool.map(lambda part: np.copyto(target[part], source[part], "no"), map(slice, ends, ends[1:]))


def _hand_over(name: str, calls: Calls) -> None:
    """Pass calls to an idle thread of this name, or to a new one; raise RuntimeError if none can start."""
    with _lock:
        idle = _idle.get(name)
        inbox = idle.pop() if idle else None
    if inbox is None:
        inbox = SimpleQueue()
        # A daemon: an idle thread must not keep the process alive, and it serves exit handlers, too.
        ServiceThread(f"{name}-{next(_thread_numbers)}", partial(_serve, name, inbox))
    inbox.put(calls)


def scratch_until_idle() -> dict[str, Any] | None:
    """Return the memory of a pool's thread, which is dropped when it is idle; None in other threads."""
    return getattr(_serving, "scratch", None)


def _serve(name: str, inbox: SimpleQueue[Calls]) -> None:
    """Make calls as they arrive; this function is the body of a thread."""
    while True:
        calls = inbox.get()
        _serving.scratch = {}
        calls.make_next()
        _serving.scratch = None
        del calls  # release its arguments while the thread is idle
        with _lock:
            idle = _idle.setdefault(name, [])
            if len(idle) >= _KEPT:
                return
            idle.append(inbox)


def _forget_threads() -> None:
    """Reset the state in a forked child, which has no threads and may have inherited a locked lock."""
    global _lock
    _idle.clear()
    _shared.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
