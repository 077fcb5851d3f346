"""Trying again: until it works, at random times below an exponential bound, or until told to stop."""

from __future__ import annotations

import threading
import time

import pytest

from photon_gpu.errors import RecordingError
from photon_gpu.live.state.retrying import Patience, again


class Recorded(Patience):
    """Notes how long it was to sleep, and does not."""

    def __init__(self, **options):
        super().__init__(**options)
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)


def failing(times, error=None):
    left = [times]

    def action():
        left[0] -= 1
        if left[0] >= 0:
            raise error or OSError("503")
        return "done"

    return action


def test_every_failure_is_told_and_the_result_returned():
    told, patience = [], Recorded()
    assert again(failing(7), patience, told.append) == "done"
    assert len(told) == len(patience.slept) == 7 and {str(error) for error in told} == {"503"}


def test_waits_are_drawn_at_random_below_a_bound_that_doubles_and_ends():
    waits = []
    for _ in range(60):
        patience = Recorded(most_seconds=3.0)
        again(failing(10), patience, lambda error: None)
        waits.append(patience.slept)
    for n, drawn in enumerate(zip(*waits, strict=True)):
        bound = min(3.0, 0.05 * 2**n)
        assert min(drawn) >= 0 and max(drawn) <= bound
        assert max(drawn) - min(drawn) > bound / 3 and len(set(drawn)) > 50  # jitter, over the whole range


def test_what_ends_a_recording_is_not_tried_again():
    told = []
    with pytest.raises(RecordingError):
        again(failing(1, RecordingError("taken over")), Recorded(), told.append)
    with pytest.raises(KeyboardInterrupt):
        again(failing(1, KeyboardInterrupt()), Recorded(), told.append)
    assert not told


def test_told_to_stop_it_raises_the_last_error():
    patience = Patience()
    patience.stopping.set()
    with pytest.raises(OSError, match="503"):
        again(failing(10**9), patience, lambda error: None)


def test_a_long_wait_ends_when_somebody_hurries_or_stops():
    for end in (lambda patience: patience.hurry(), lambda patience: patience.stopping.set()):
        patience = Patience(1e6)
        waiting = threading.Thread(target=patience.sleep, args=(1e6,))
        waiting.start()
        time.sleep(0.02)
        end(patience)
        waiting.join(20)
        assert not waiting.is_alive()
