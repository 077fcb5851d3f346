"""Boundaries that pairs of doubles give, against those of Python's integers."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from photon_gpu.engine.model.boundaries import Boundaries
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.noise import NoiseModel


def any_boundaries(chance):
    noise = NoiseModel(
        gain=chance.choice([1, 2.5, 3, 0.1, 100, 10 ** chance.uniform(-6, 4)]),
        offset=chance.choice([0, 92, -3.5, chance.uniform(-1e5, 1e5)]),
        variance=chance.choice([0, 1, 2.5, 9, 1e-300, 10 ** chance.uniform(-6, 6)]),
    )
    step = chance.choice([0.5, 1, 0.01, 2, chance.uniform(0.01, 16)])
    return Boundaries(noise, step, chance.choice([1, 16]))


@pytest.mark.parametrize("seed", range(30))
def test_least_values_of_codes_equal_those_of_exact_arithmetic(seed):
    chance = random.Random(seed)
    boundaries = any_boundaries(chance)
    phase = chance.randrange(boundaries.phases)
    wide = [chance.randint(-(10**size), 10**size) for size in range(13) for _ in range(6)]
    codes = np.array([*range(-20, 40), *wide])
    floats, integers = boundaries.least_floats(codes, phase), boundaries.least_integers(codes, phase)
    for code, real, whole in zip(codes.tolist(), floats.tolist(), integers.tolist(), strict=True):
        assert real == boundaries._least_float(code, phase)
        assert whole == float(min(max(boundaries._least_integer(code, phase), -(2**54)), 2**54))


@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("noise", [NoiseModel(variance=1), NoiseModel(gain=2.37, offset=3.1, variance=7.7)])
def test_a_table_of_a_million_codes_takes_no_minute(dtype, noise):
    table = CodeTable(noise, step=0.5, dtype=dtype)
    start = time.process_time()
    table.thresholds(-(1 << 19), 1 << 19)
    assert time.process_time() - start < 5  # 0.1 s, where each code in exact arithmetic took 1 to 20 s
