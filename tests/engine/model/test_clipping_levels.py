"""Levels at which values pile up, found in values that NumPy made."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.engine.model.clipping_levels import NO_CLIPPING, ClippingLevels, clipping_levels
from photon_gpu.errors import InvalidInputError


def light(dtype="uint16", mean=900.0, sigma=100.0, count=20_000):
    return np.random.default_rng(1).normal(mean, sigma, count).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "uint64"])
def test_a_level_that_holds_many_values_is_found_at_either_end(dtype):
    values = light(dtype)
    assert clipping_levels([values]) == NO_CLIPPING
    cut = np.clip(values, 850, 1000)
    assert clipping_levels([cut[:9], cut[9:]]) == ClippingLevels(low=850, high=1000)


def test_the_end_of_a_digitizer_needs_two_values_only():
    values = light(sigma=20.0)
    values[5:7] = 16383
    assert clipping_levels([values]).high == 16383
    values[5:7] = 16000
    assert clipping_levels([values]) == NO_CLIPPING


def test_photon_counts_and_few_levels_do_not_pile_up():
    random = np.random.default_rng(2)
    for photons in (3.0, 30.0):
        assert clipping_levels([random.poisson(photons, 50_000).astype("uint16")]) == NO_CLIPPING
    assert clipping_levels([np.full(999, 255, "uint8"), np.zeros(999, "uint8")]) == NO_CLIPPING


def test_levels_of_a_store_are_not_trusted():
    for data in ({"high": "x"}, {"high": 1.5}, {"low": 5, "high": 5}, {"middle": 1}, {}, [1], {"low": True}):
        with pytest.raises(InvalidInputError, match="clipping level"):
            ClippingLevels.from_dict(data)
    assert ClippingLevels.from_dict({"low": 0}) == ClippingLevels(low=0)
