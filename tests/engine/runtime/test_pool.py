"""Threads for compute: kept, bounded, never left running, new in a forked child, and not needed."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from photon_gpu.engine.runtime import pool as module
from photon_gpu.engine.runtime.pool import Calls, Pool, copy_array, parallel, worker_count
from photon_gpu.errors import InvalidInputError


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


@pytest.fixture
def no_thread_starts(monkeypatch):
    """No thread can be started, and none is idle: as in an exit handler from Python 3.12 on."""

    def refuse(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(module, "_idle", {})
    monkeypatch.setattr(module, "_shared", {})
    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("workers", [0, -1, 1025, 1.5, "2", True])
def test_bad_numbers_of_workers_are_refused(workers):
    with pytest.raises(InvalidInputError, match="workers"):
        worker_count(workers)


def test_the_default_is_the_cores_this_process_may_use():
    assert worker_count(None) == len(os.sched_getaffinity(0)) and worker_count(7) == 7


def test_one_worker_is_plain_map():
    assert parallel(1) is map


def test_results_come_in_order_and_from_several_threads():
    meeting = threading.Barrier(3, timeout=30)

    def work(i):
        if i < 3:
            meeting.wait()  # passes only if three threads are here at once
        return i * i

    assert list(parallel(3)(work, range(50))) == [i * i for i in range(50)]


def test_callers_of_parallel_share_their_threads():
    """Three callers, each a thread of its own, and two more that they share."""
    work = Watched()
    callers = [threading.Thread(target=lambda: parallel(2)(work, range(20))) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert work.most <= 3 + 2


def test_an_error_reaches_the_caller():
    def fail(i):
        raise KeyError(i)

    with pytest.raises(KeyError):
        list(parallel(2)(fail, range(3)))


def _in_child(n):
    return sum(parallel(2)(abs, range(n)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own():
    assert sum(parallel(2)(abs, range(10))) == 45
    with multiprocessing.get_context("fork").Pool(1) as processes:
        assert processes.apply_async(_in_child, (100,)).get(timeout=60) == 4950


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_locks_held_while_forking_do_not_hang_the_child():
    _in_child(5)  # makes the pool that is shared
    with module._lock, module._shared[2]._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if _in_child(5) == 10 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_caller_makes_the_calls_that_no_thread_has_begun():
    """Every thread of the pool is kept busy: the caller makes all calls, in order."""
    all_busy, free = threading.Barrier(3, timeout=30), threading.Event()

    def hold():
        all_busy.wait()
        free.wait(30)

    with Pool("test", 2) as pool:
        for _ in range(2):
            pool.submit(hold)
        all_busy.wait()
        name = threading.current_thread().name
        assert pool.map(lambda i: (i, threading.current_thread().name), range(5)) == [
            (i, name) for i in range(5)
        ]
        assert pool.map(hold, []) == []
        assert pool.submit(lambda: threading.current_thread().name).result() == name
        free.set()


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


def test_an_interrupt_of_the_caller_stops_its_map():
    """The caller is interrupted in the call that it makes itself: the others end before it goes on."""
    running, begun, caller = [], threading.Event(), threading.current_thread()

    def work(i):
        if threading.current_thread() is caller:
            begun.wait(30)
            raise KeyboardInterrupt
        running.append(i)
        begun.set()
        time.sleep(0.05)
        running.remove(i)

    with Pool("test", 2) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.map(work, range(100))
        assert not running
        assert pool.map(abs, [-1, -2]) == [1, 2]


def test_nothing_submitted_still_runs_once_the_block_is_left():
    begun, done, go = threading.Barrier(3, timeout=30), [], threading.Event()

    def work(i):
        begun.wait()
        go.wait(30)
        done.append(i)

    with Pool("test", 2) as pool:
        calls = [pool.submit(work, i) for i in range(2)]
        begun.wait()
        threading.Timer(0.05, go.set).start()
    assert sorted(done) == [0, 1] and [call.result() for call in calls] == [None, None]
    with pytest.raises(RuntimeError, match="is closed"):
        pool.submit(done.append, 3)
    with pytest.raises(RuntimeError, match="is closed"):
        pool.map(done.append, [3, 4])
    assert len(done) == 2


def test_an_error_in_the_block_cancels_what_has_not_begun_and_waits_for_the_rest():
    begun, done, go = threading.Event(), [], threading.Event()

    def work(i):
        begun.set()
        go.wait(30)
        done.append(i)

    with pytest.raises(KeyError), Pool("test", 1) as pool:
        calls = [pool.submit(work, i) for i in range(5)]
        begun.wait(30)
        threading.Timer(0.05, go.set).start()
        raise KeyError("stop")
    assert done == [0]
    with pytest.raises(RuntimeError, match="cancelled"):
        calls[1].result()


def test_threads_are_kept_by_name_and_may_use_others():
    def work(i):
        return threading.current_thread().name, sum(parallel(2)(abs, range(i)))

    results = []
    for _ in range(2):
        with Pool("test-kept", 1) as pool:
            call = pool.submit(work, 10)
            call.wait()
            results.append(call.result())
        time.sleep(0.02)  # for the thread to become idle
    assert results[0] == results[1] and results[0][0].startswith("test-kept") and results[0][1] == 45


def test_two_pools_of_one_name_have_no_thread_in_common():
    meeting = threading.Barrier(2, timeout=30)
    with Pool("test", 1) as one, Pool("test", 1) as other:
        calls = [one.submit(meeting.wait), other.submit(meeting.wait)]
        for call in calls:
            call.wait()
            call.result()


def test_an_idle_thread_keeps_nothing_of_its_last_call():
    class Large:
        pass

    with Pool("test", 1) as pool:
        large = Large()
        gone = weakref.ref(large)
        call = pool.submit(lambda large: None, large)
        call.wait()
        del large, call
    del pool
    until = time.monotonic() + 10
    while gone() is not None and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None


def test_work_that_no_thread_takes_is_done_by_the_caller(no_thread_starts):
    me = threading.current_thread()
    with Pool("test", 3) as pool:
        call = pool.submit(threading.current_thread)
        call.wait()  # was made when it was submitted
        assert call.result() is me
        assert pool.map(abs, [-1, 2, -3]) == [1, 2, 3]
        assert pool.submit(lambda: 1 / 0).error.__class__ is ZeroDivisionError
        assert not pool._waiting
    assert parallel(3)(abs, [-1, 2, -3]) == [1, 2, 3]


def test_one_thread_of_several_is_enough(monkeypatch):
    """The second cannot be started: the first does what waits, and the caller does not wait in vain."""
    start, started = threading.Thread.start, []

    def once(self):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(module, "_idle", {})
    monkeypatch.setattr(threading.Thread, "start", once)
    with Pool("test-one-of-three", 3) as pool:
        calls = [pool.submit(threading.current_thread) for _ in range(20)]
        for call in calls:
            call.wait()
        names = [call.result() for call in calls]
    assert set(names) == set(started)


@pytest.mark.parametrize("taken", [False, True])
def test_interrupted_while_it_is_submitted_a_call_is_over_once_the_block_is_left(monkeypatch, taken):
    """Whether a thread has it already by then: leaving does not hang, and nothing runs behind its back."""
    done, free, begun, late = [], threading.Event(), threading.Event(), []

    def interrupted(name, worker):
        if taken:
            threading.Thread(target=worker.make_next).start()
        else:
            late.append(worker)
        threading.Timer(0.05, free.set).start()
        raise KeyboardInterrupt

    def work():
        begun.set()
        free.wait(30)
        done.append(1)

    monkeypatch.setattr(module, "_hand_over", interrupted)
    with pytest.raises(KeyboardInterrupt), Pool("test", 1) as pool:
        try:
            pool.submit(work)
        finally:
            assert begun.wait(30) or not taken
    assert done == ([1] if taken else [])
    for worker in late:
        worker.make_next()  # a thread that gets round to it after all
    assert done == ([1] if taken else [])


def test_waiting_may_be_interrupted_and_gone_on_with():
    """Between taking the latch and giving it back: others must still get through."""
    free = threading.Event()
    with Pool("test", 1) as pool:
        call = pool.submit(free.wait, 30)
        latch = call._latch

        class Interrupted:
            def acquire(self, timeout):
                taken = latch.acquire(timeout=timeout)
                if taken:
                    raise KeyboardInterrupt
                return taken

            release = staticmethod(latch.release)

        call._latch = Interrupted()
        threading.Timer(0.02, free.set).start()
        with pytest.raises(KeyboardInterrupt):
            call.wait()
        call.wait()


def test_everybody_who_waits_goes_on_once_it_is_done():
    free, through = threading.Event(), []
    with Pool("test", 1) as pool:
        call = pool.submit(free.wait, 30)
        waiting = [threading.Thread(target=lambda: (call.wait(), through.append(1))) for _ in range(5)]
        for thread in waiting:
            thread.start()
        time.sleep(0.02)
        assert not through
        free.set()
        for thread in waiting:
            thread.join(30)
    assert len(through) == 5


def test_many_threads_make_each_call_once():
    made, lock = [], threading.Lock()

    def work(item):
        with lock:
            made.append(item)
        return -item

    calls = Calls(work, list(range(2000)))
    threads = [threading.Thread(target=calls.results) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(made) == list(range(2000)) and calls.results() == [-i for i in range(2000)]


def test_what_came_first_begins_first():
    """The one thread is held while calls come in."""
    begun, free, done = threading.Event(), threading.Event(), []

    def hold():
        begun.set()
        free.wait(30)

    with Pool("test-order", 1) as pool:
        pool.submit(hold)
        begun.wait(30)
        calls = [pool.submit(done.append, i) for i in range(20)]
        free.set()
        for call in calls:
            call.wait()
    assert done == list(range(20))


@pytest.mark.parametrize("workers", [1, 2])
def test_maps_of_many_callers_come_back_in_order(workers):
    results = {}
    with Pool("test-many", workers) as pool:
        for _ in range(2):  # threads that found nothing to do are called again
            callers = [
                threading.Thread(
                    target=lambda n=n: results.update({n: pool.map(lambda item: 2 * item, range(10))})
                )
                for n in range(4)
            ]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(30)
            assert results == {n: list(range(0, 20, 2)) for n in range(4)}
            results.clear()
        assert pool.map(abs, []) == []


def test_after_an_error_the_rest_is_left_out_and_nothing_runs_any_more():
    """One item fails while another is at work: the error comes once that is done; a third never begins."""
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

    with Pool("test-error", 1) as pool:
        with pytest.raises(KeyError, match="bad"):
            pool.map(work, ["bad", "long", "third"])
        assert done == ["long"]
        assert pool.map(str, [1, 2]) == ["1", "2"]


def test_a_copy_in_parts_is_whole_and_keeps_its_dtype(monkeypatch):
    monkeypatch.setattr(module, "worker_count", lambda workers: 3)
    rng = np.random.default_rng(0)
    for shape in ((7, 800_000), (1, 5_000_000), (0, 9), (5_000_000,), (3, 4)):
        source = rng.integers(0, 200, shape).astype("uint8")
        target = np.zeros((*shape[:-1], shape[-1] + 3), "uint8")[..., :-3]  # frames that lie apart
        copy_array(target, source)
        np.testing.assert_array_equal(target, source)
    for wrong in (np.zeros((7, 800_000), "uint16"), np.zeros((1, 800_000), "uint8")):
        with pytest.raises((TypeError, ValueError)):
            copy_array(np.zeros((7, 800_000), "uint8"), wrong)


_AT_EXIT = """
import atexit, sys, threading
import numpy as np
import photon_gpu as pg
from photon_gpu.reader.export import export
from photon_gpu.engine.runtime import pool
from photon_gpu.store import durable

folder, threads = sys.argv[1], sys.argv[2] == "threads"
movie = np.random.default_rng(0).poisson(9.0, (30, 16, 16)).astype("uint16")
files = [(f"{folder}/{name}", name.encode()) for name in ("a", "b", "last")]

def work():
    pg.encode(movie, f"{folder}/m.zarr", noise=pg.NoiseModel(), chunk_frames=4, overwrite=True)
    assert pg.verify(f"{folder}/m.zarr").ok
    assert pg.open(f"{folder}/m.zarr").counts[...].shape == movie.shape
    export(pg.open(f"{folder}/m.zarr"), f"{folder}/m.npy", overwrite=True)
    durable.write_files(files)

def at_exit():
    if not threads:
        pool._idle.clear()

        def refuse(self):
            raise RuntimeError("can't create new thread at interpreter shutdown")
        threading.Thread.start = refuse
    work()
    print("done")

atexit.register(at_exit)
work()
"""


@pytest.mark.parametrize("threads", ["threads", "no threads"])
def test_everything_works_in_an_exit_handler(tmp_path, threads):
    """A rig's script may store its movie from an exit handler, where executors take nothing any more."""
    run = subprocess.run(
        [sys.executable, "-c", _AT_EXIT, str(tmp_path), threads],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")
    assert [(tmp_path / name).read_text() for name in ("a", "b", "last")] == ["a", "b", "last"]


FORK = """
import os, signal, threading, time
from photon_gpu.engine.backend_choice import get_backend
get_backend()
from numba.core.compiler_lock import global_compiler_lock as lock
compiling = threading.Event()
def compiles():
    with lock:
        compiling.set()
        time.sleep(0.3)
threading.Thread(target=compiles).start()
compiling.wait()
if not (child := os.fork()):
    signal.alarm(20)
    with lock:
        os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_process_forked_while_numba_compiles_can_compile():
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)
