"""Seconds by stage, from any thread."""

from __future__ import annotations

import threading

import pytest

from photon_gpu.stages import Stages


def test_seconds_add_up_from_many_threads():
    stages = Stages()

    def work():
        for _ in range(2000):
            stages.add("read", 0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stages.seconds == {"read": 8000.0}


def test_a_failed_stage_counts_too():
    stages = Stages()
    with pytest.raises(ValueError, match="no"), stages.timed("write"):
        raise ValueError("no")
    assert stages.seconds["write"] >= 0.0 and list(stages.seconds) == ["write"]
