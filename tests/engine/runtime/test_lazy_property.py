"""Properties that are computed once, and hold no lock that a fork could copy."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

import photon_gpu
from photon_gpu.engine.runtime.lazy_property import lazy_property


class Measured:
    def __init__(self, value, go=None):
        self.value, self.go, self.begun, self.times = value, go, threading.Event(), 0

    @lazy_property
    def doubled(self):
        """Twice the value."""
        self.begun.set()
        if self.go is not None:
            self.go.wait(30)
        self.times += 1
        return 2 * self.value


def test_it_is_computed_once_per_instance():
    one, other = Measured(1), Measured(2)
    assert [one.doubled, one.doubled, other.doubled] == [2, 2, 4] and one.times == other.times == 1
    assert Measured.doubled.__doc__ == "Twice the value."


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_a_thread_computes_does_not_hang():
    slow = Measured(1, threading.Event())
    thread = threading.Thread(target=lambda: slow.doubled)
    thread.start()
    slow.begun.wait(30)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        os._exit(0 if Measured(4).doubled == 8 else 1)
    slow.go.set()
    thread.join(30)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and slow.doubled == 2


def test_no_module_uses_the_property_with_a_lock():
    modules = Path(photon_gpu.__file__).parent.rglob("*.py")
    assert not [str(path) for path in modules if "import cached_property" in path.read_text()]
