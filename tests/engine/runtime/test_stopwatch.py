"""Seconds by stage, from any thread."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from photon_gpu.engine.runtime.stopwatch import Stages
from tests.support.concurrent_calls import at_once


def test_seconds_add_up_from_many_threads():
    stages = Stages()

    def work():
        for _ in range(2000):
            stages.add("read", 0.5)

    at_once([work] * 8)
    assert stages.seconds == {"read": 8000.0}


def test_calls_of_a_map_are_counted_by_the_threads_that_make_them():
    stages, callers = Stages(), set()

    def work(n):
        callers.add(threading.get_ident())
        time.sleep(0.02)
        return n + 1

    with ThreadPoolExecutor(3) as pool:
        assert list(stages.over("compress", pool.map)(work, range(9))) == list(range(1, 10))
    assert threading.get_ident() not in callers
    assert stages.seconds["compress"] >= 9 * 0.02  # of all threads together, however long it took
    assert list(stages.over("compress", map)(work, [])) == []


def test_a_failed_stage_counts_too():
    stages = Stages()
    with pytest.raises(ValueError, match="no"), stages.timed("write"):
        raise ValueError("no")
    assert stages.seconds["write"] >= 0.0 and list(stages.seconds) == ["write"]
