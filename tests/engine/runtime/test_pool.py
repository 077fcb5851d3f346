"""Threads for compute: shared, bounded, and new in a forked child."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from photon_gpu.engine.runtime.pool import Ranked, bounded, lent, parallel, submitting, worker_count
from photon_gpu.errors import InvalidInputError


def test_one_worker_is_plain_map():
    assert parallel(1) is map


class Watched:
    """Work of 2 ms that doubles its item; ``most`` of it was done at once."""

    def __init__(self):
        self.busy = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, item):
        with self._lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
        time.sleep(0.002)
        with self._lock:
            self.busy -= 1
        return 2 * item


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_that_share_a_bound_are_never_more_at_once(workers):
    work = Watched()
    callers = [threading.Thread(target=lambda: list(bounded(workers)(work, range(10)))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert work.most == workers


def test_results_come_in_order_and_from_several_threads():
    meeting = threading.Barrier(3, timeout=30)

    def work(i):
        if i < 3:
            meeting.wait()  # passes only if three threads are here at once
        return i * i

    assert list(parallel(3)(work, range(50))) == [i * i for i in range(50)]


def test_pools_are_shared():
    first, second = bounded(2), bounded(2)
    assert first.__self__ is second.__self__ and first.__self__ is not bounded(3).__self__


def test_an_error_reaches_the_caller():
    def fail(i):
        raise KeyError(i)

    with pytest.raises(KeyError):
        list(parallel(2)(fail, range(3)))


def _in_child(n):
    return sum(parallel(2)(abs, range(n)))


def test_a_forked_child_has_threads_of_its_own():
    assert sum(parallel(2)(abs, range(10))) == 45
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_in_child, (100,)).get(timeout=60) == 4950


def test_a_lock_held_while_forking_does_not_hang_the_child():
    from photon_gpu.engine.runtime import pool

    with pool._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if _in_child(5) == 10 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("workers", [0, -1, 1025, 1.5, "2", True])
def test_bad_numbers_of_workers_are_refused(workers):
    with pytest.raises(InvalidInputError, match="workers"):
        worker_count(workers)


def test_the_default_is_the_cores_this_process_may_use():
    assert worker_count(None) == len(os.sched_getaffinity(0)) and worker_count(7) == 7


def test_what_was_submitted_is_over_when_the_block_is_left():
    done, go = [], threading.Event()

    def work(i):
        go.wait(30)
        done.append(i)

    with submitting("test", 2) as submit:
        for i in range(2):
            submit(work, i)
        threading.Timer(0.05, go.set).start()
    assert sorted(done) == [0, 1]


def test_an_error_in_the_block_cancels_what_has_not_begun_and_waits_for_the_rest():
    begun, done, go = threading.Event(), [], threading.Event()

    def work(i):
        begun.set()
        go.wait(30)
        done.append(i)

    with pytest.raises(KeyError), submitting("test", 1) as submit:
        for i in range(5):
            submit(work, i)
        begun.wait(30)
        threading.Timer(0.05, go.set).start()
        raise KeyError("stop")
    assert done == [0]


def test_threads_are_kept_for_a_purpose_and_may_wait_for_those_of_compute():
    def work(i):
        return threading.current_thread().name, sum(parallel(2)(abs, range(i)))

    found = []
    for _ in range(2):
        with submitting("test-kept", 1) as submit:
            found.append(submit(work, 10).result(timeout=30))
    assert found[0] == found[1] and found[0][0].startswith("test-kept") and found[0][1] == 45


def test_a_copy_in_parts_is_whole_and_keeps_its_dtype(monkeypatch):
    from photon_gpu.engine.runtime import pool

    monkeypatch.setattr(pool, "worker_count", lambda workers: 3)
    rng = np.random.default_rng(0)
    for shape in ((7, 800_000), (1, 5_000_000), (0, 9), (5_000_000,), (3, 4)):
        given = rng.integers(0, 200, shape).astype("uint8")
        to = np.zeros((*shape[:-1], shape[-1] + 3), "uint8")[..., :-3]  # frames that lie apart
        pool.copy(to, given)
        np.testing.assert_array_equal(to, given)
    for wrong in (np.zeros((7, 800_000), "uint16"), np.zeros((1, 800_000), "uint8")):
        with pytest.raises((TypeError, ValueError)):
            pool.copy(np.zeros((7, 800_000), "uint8"), wrong)


def test_the_caller_does_what_no_thread_has_begun():
    """Every thread of the pool is kept waiting by somebody else: all is done by the caller, in order."""
    held, free = threading.Barrier(3, timeout=30), threading.Event()

    def hold(_):
        held.wait()
        return free.wait(30)

    other = threading.Thread(target=lambda: list(bounded(2)(hold, range(2))))
    other.start()
    try:
        held.wait()
        names = list(parallel(2)(lambda i: (i, threading.current_thread().name), range(5)))
        assert names == [(i, threading.current_thread().name) for i in range(5)]
        assert list(parallel(2)(hold, [])) == []
    finally:
        free.set()
        other.join()


@pytest.mark.parametrize("bad", [0, 1, 7])
def test_after_an_error_nothing_still_runs(bad):
    running, begun = [], threading.Event()

    def work(i):
        if i == bad:
            begun.wait(30)
            raise OSError(f"item {i}")
        running.append(i)
        begun.set()
        time.sleep(0.02)
        running.remove(i)

    with pytest.raises(OSError, match=f"item {bad}"):
        list(parallel(3)(work, range(8)))
    assert not running


@pytest.fixture
def one_thread():
    with lent("test-ranked", 1) as threads:
        yield Ranked(threads, 1)


def test_of_what_waits_the_least_rank_is_done_first(one_thread):
    """The one thread is held while work of three ranks comes in, the last rank first."""
    held, free, done = threading.Event(), threading.Event(), []
    ranked = one_thread

    def hold(_):
        held.set()
        free.wait(30)

    def work(item):
        done.append(item)
        return -item

    results = {}
    callers = [threading.Thread(target=lambda: ranked.of(9)(hold, [0]))]
    callers[0].start()
    held.wait(30)
    for rank in (3, 2, 1):
        run = partial(ranked.of(rank), work, [10 * rank, 10 * rank + 1])
        callers.append(threading.Thread(target=lambda rank=rank, run=run: results.update({rank: run()})))
        callers[-1].start()
        while len(ranked._waiting) < 2 * (4 - rank):
            time.sleep(0.001)
    free.set()
    for caller in callers:
        caller.join(30)
    assert done == [10, 11, 20, 21, 30, 31]
    assert results == {rank: [-10 * rank, -10 * rank - 1] for rank in (1, 2, 3)}


@pytest.mark.parametrize("workers", [1, 2])
def test_ranked_work_of_many_is_never_more_at_once_and_comes_back_in_order(workers):
    work, found = Watched(), {}
    with lent("test-ranked", workers) as threads:
        ranked = Ranked(threads, workers)
        for _ in range(2):  # threads that found nothing to do are called again
            callers = [
                threading.Thread(
                    target=lambda rank=rank: found.update({rank: ranked.of(rank)(work, range(10))})
                )
                for rank in range(4)
            ]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(30)
            assert found == {rank: list(range(0, 20, 2)) for rank in range(4)}
            found.clear()
        assert ranked.of(1)(work, []) == []
    assert work.most == workers


def test_after_an_error_the_rest_is_left_out_and_nothing_runs_any_more():
    """One item fails while another runs: the error comes after it, and a third is never begun."""
    both, done = threading.Barrier(2, timeout=30), []

    def work(item):
        if item == "third":
            done.append("third")
            return
        both.wait()
        if item == "bad":
            raise KeyError(item)
        time.sleep(0.05)
        done.append(item)

    with lent("test-ranked", 2) as threads:
        ranked = Ranked(threads, 2)
        with pytest.raises(KeyError, match="bad"):
            ranked.of(0)(work, ["bad", "long", "third"])
        assert done == ["long"]
        assert ranked.of(0)(str, [1, 2]) == ["1", "2"]


def test_ranked_work_does_not_wait_for_that_of_others(one_thread):
    held, free = threading.Event(), threading.Event()

    def hold(_):
        held.set()
        assert free.wait(30)

    other = threading.Thread(target=lambda: list(bounded(1)(hold, [0])))
    other.start()
    held.wait(30)
    assert one_thread.of(0)(abs, [-1, -2]) == [1, 2]
    free.set()
    other.join(30)


def test_ranked_work_that_no_thread_takes_any_more_is_an_error():
    done, threads = [], ThreadPoolExecutor(1)
    threads.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        Ranked(threads, 1).of(0)(done.append, [1])
    assert done == []


def test_threads_that_are_lent_are_kept_and_belong_to_one_at_a_time():
    with lent("test-lent", 2) as first, lent("test-lent", 2) as second:
        assert first is not second
    with lent("test-lent", 2) as again:
        assert again in (first, second)
    with lent("test-lent", 3) as other:
        assert other not in (first, second)


def test_lent_threads_of_a_block_that_fails_are_done_and_never_lent_again():
    begun, free, done = threading.Event(), threading.Event(), []

    def work(item):
        begun.set()
        free.wait(30)
        done.append(item)

    with pytest.raises(KeyError), lent("test-lent-fails", 1) as pool:
        for item in range(3):
            pool.submit(work, item)
        begun.wait(30)
        threading.Timer(0.05, free.set).start()
        raise KeyError
    assert done == [0]
    with lent("test-lent-fails", 1) as other:
        assert other is not pool and other.submit(abs, -3).result(timeout=30) == 3
