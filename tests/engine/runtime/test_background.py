"""Work in a thread that is kept: begun at once, waited for by anybody, done once or not at all."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

from photon_gpu.engine.runtime import background
from photon_gpu.engine.runtime.background import Beside


def test_work_is_done_in_another_thread_and_its_error_is_kept():
    names = []
    work = Beside(lambda: names.append(threading.current_thread().name))
    work.begin()
    work.wait()
    work.wait()
    assert names[0].startswith("photon-beside") and work.error is None
    failing = Beside(lambda: 1 / 0)
    failing.begin()
    failing.wait()
    assert isinstance(failing.error, ZeroDivisionError)


def test_threads_are_kept():
    idents = set()
    for _ in range(20):
        work = Beside(lambda: idents.add(threading.get_ident()))
        work.begin()
        work.wait()
        time.sleep(0.005)  # for the thread to say that it is idle
    assert len(idents) < 10


def test_everybody_who_waits_goes_on_once_it_is_done():
    free, through = threading.Event(), []
    work = Beside(lambda: free.wait(30))
    work.begin()
    waiting = [threading.Thread(target=lambda: (work.wait(), through.append(1))) for _ in range(5)]
    for thread in waiting:
        thread.start()
    time.sleep(0.02)
    assert not through
    free.set()
    for thread in waiting:
        thread.join(30)
    assert len(through) == 5


def test_work_that_was_not_begun_is_not_waited_for():
    Beside(time.sleep).wait()


@pytest.mark.parametrize("given", [False, True])
def test_interrupted_while_it_begins_it_is_done_or_it_never_is(monkeypatch, given):
    """Whether a thread has it already by then: who waits does not hang, and nothing runs behind his back."""
    done, free = [], threading.Event()

    class Interrupted:
        def submit(self, work):
            if given:
                threading.Thread(target=work).start()
                while not begun:
                    time.sleep(0.001)
            else:
                late.append(work)
            raise KeyboardInterrupt

    begun, late = [], []

    def work():
        begun.append(1)
        free.wait(30)
        done.append(1)

    monkeypatch.setattr(background, "_pool", Interrupted)
    one = Beside(work)
    with pytest.raises(KeyboardInterrupt):
        one.begin()
    threading.Timer(0.02, free.set).start()
    one.wait()
    assert done == ([1] if given else [])
    for begin in late:
        begin()  # a thread that gets round to it after all
    assert done == ([1] if given else [])


def test_waiting_may_be_interrupted_and_gone_on_with():
    """Between taking the latch and giving it back: others must still get through."""
    free = threading.Event()
    work = Beside(lambda: free.wait(30))
    work.begin()
    latch = work._latch

    class Interrupted:
        def acquire(self, timeout):
            taken = latch.acquire(timeout=timeout)
            if taken:
                raise KeyboardInterrupt
            return taken

        release = staticmethod(latch.release)

    work._latch = Interrupted()
    threading.Timer(0.02, free.set).start()
    with pytest.raises(KeyboardInterrupt):
        work.wait()
    work.wait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own():
    work = Beside(lambda: None)
    work.begin()
    work.wait()
    queue = multiprocessing.get_context("fork").SimpleQueue()

    def child():
        inner = Beside(lambda: queue.put(os.getpid()))
        inner.begin()
        inner.wait()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0 and queue.get() == process.pid


def test_on_the_way_out_of_the_interpreter_work_is_done_all_the_same(tmp_path):
    """A rig's script may close its recording from an exit handler, where executors take nothing any more."""
    code = f"""
import atexit
from photon_gpu import durable
files = [({str(tmp_path)!r} + "/" + name, name.encode()) for name in ("a", "b", "last")]
atexit.register(durable.write_files, files)
durable.write_files(files[:2])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stderr
    assert [(tmp_path / name).read_text() for name in ("a", "b", "last")] == ["a", "b", "last"]
