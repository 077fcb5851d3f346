import time

import pytest

from benchmarks.serial import LockSampler


@pytest.mark.parametrize(("busy", "low", "high"), [(True, 0.7, 1.01), (False, -0.01, 0.3)])
def test_the_share_of_the_lock_is_high_in_a_loop_of_python_and_low_while_asleep(busy, low, high):
    sampler = LockSampler(1)
    while sampler.going_on(1):
        began = time.perf_counter()
        if not busy:
            time.sleep(0.05)
        while busy and time.perf_counter() < began + 0.05:
            pass
    try:
        share = sampler.share()
    except SystemExit as error:
        pytest.skip(str(error))
    assert low < share < high
    assert sampler.raw_bytes >= 10
