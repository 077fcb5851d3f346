import numpy as np
import pytest

from benchmarks.gil_time import LockSampler


def python_loop():
    return sum(i for i in range(10_000))


def without_lock():
    return np.sort(VALUES)


VALUES = np.random.default_rng(0).random(1_000_000)


@pytest.mark.parametrize(("work", "low", "high"), [(python_loop, 0.8, 1.01), (without_lock, -0.01, 0.2)])
def test_the_share_of_the_lock_is_high_in_a_loop_of_python_and_low_in_a_loop_of_c(work, low, high):
    sampler = LockSampler(0.5)
    while sampler.going_on(1):
        work()
    assert low < sampler.share < high
    assert sampler.raw_bytes >= 1
