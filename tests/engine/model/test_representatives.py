"""Points of bins of few integers; that they meet the bias bar is shown in test_bias.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

import photon_gpu as pg
from photon_gpu.engine.model import representatives
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.representatives import needed, reach, unbiased

CAMERA = pg.NoiseModel(gain=1.8, offset=100.75, variance=0.81)

EXPECTED = [
    "0x1.9000000000000p+6",
    "0x1.9400000000000p+6",
    "0x1.9800000000000p+6",
    "0x1.992e72746d93dp+6",
    "0x1.a000000000000p+6",
    "0x1.a400000000000p+6",
    "0x1.ac00000000000p+6",
    "0x1.b13b4e0bd5d6dp+6",
    "0x1.b9b121b036d0fp+6",
    "0x1.c64630bf53f5ep+6",
    "0x1.d1b9f59d3b6cep+6",
    "0x1.dbf6dfc14ea0fp+6",
]


def test_basic_operations_give_the_normal_distribution_and_the_exponential():
    for deviation in np.linspace(-9.0, 9.0, 401):
        assert representatives._below(float(deviation)) == pytest.approx(ndtr(deviation), abs=3e-12)
    for x in np.linspace(0.0, 30.0, 301):
        assert representatives._exp(float(x)) == pytest.approx(math.exp(-x), rel=1e-12)


def test_they_are_these_to_the_last_bit():
    """The format: whatever machine, whatever release."""
    table = CodeTable(CAMERA, step=0.5, dtype="uint16")
    low = table.code(100)
    result = [value.hex() for value in table.representatives(low, low + 11).tolist()]
    assert result == EXPECTED


@given(
    gain=st.floats(0.3, 4.99),
    read_noise=st.floats(0.0, 2.5),
    offset=st.floats(-50.0, 300.0),
    step=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "int32"]),
)
@settings(deadline=None, max_examples=25, derandomize=True)
def test_they_lie_within_their_bins_and_single_integers_stay(gain, read_noise, offset, step, dtype):
    noise = pg.NoiseModel(gain=gain, offset=offset, variance=(gain * read_noise) ** 2)
    table = CodeTable(noise, step=step, dtype=dtype)
    info = np.iinfo(dtype)
    low, high = (table.code(min(max(end, info.min), info.max)) for end in reach(noise))
    first, last = table.bins(low, high)
    points = table.representatives(low, high)
    nonempty = last >= first
    assert (points[nonempty] >= first[nonempty]).all() and (points[nonempty] <= last[nonempty]).all()
    single = first == last
    np.testing.assert_array_equal(points[single], first[single])


def test_they_do_not_depend_on_the_range_that_is_asked_for():
    whole = CodeTable(CAMERA, step=0.5, dtype="uint16").representatives(-20, 60)
    for low, high in ((-20, -10), (0, 3), (5, 60), (30, 31), (59, 60)):
        part = CodeTable(CAMERA, step=0.5, dtype="uint16").representatives(low, high)
        np.testing.assert_array_equal(part, whole[low + 20 : high + 21])


def test_only_narrow_bins_of_whole_numbers_need_them():
    assert needed(CAMERA, "uint16") and needed(pg.NoiseModel(), "int32")
    assert not needed(CAMERA, "float32")
    assert not needed(pg.NoiseModel(gain=5.0), "uint16")
    assert not needed(pg.NoiseModel(gain=1.0, variance=25.0), "uint16")
    wide = CodeTable(pg.NoiseModel(gain=100.0, offset=92.0), step=0.5, dtype="int16")
    first, last = wide.bins(20, 30)
    np.testing.assert_allclose(wide.representatives(20, 30), (first + last) / 2 - 100 * 0.25 / 12)


def test_dither_has_no_use_for_them():
    table = CodeTable(CAMERA, step=0.5, dtype="uint16", phases=16)
    codes = np.arange(31)
    centres = table._centres(codes, table._edges(codes, 3), 3)
    np.testing.assert_array_equal(table.representatives(0, 30, 3), centres)


def test_values_below_the_dtype_count_as_its_least():
    """A detector at offset 0 whose dark noise is cut off: the least bin holds all that was cut."""
    noise = pg.NoiseModel(gain=2.0, offset=0.0, variance=2.0)
    cut = unbiased(noise, [0.0, 3.0], [2.0, 6.0], [1.0, 4.5], 0.0)
    free = unbiased(noise, [0.0, 3.0], [2.0, 6.0], [1.0, 4.5], -32768.0)
    assert cut[0] < free[0]


def test_bins_of_one_value_keep_it():
    assert unbiased(CAMERA, [3.0, 4.0], [3.0, 4.0], [3.0, 4.0], 0.0) == [3.0, 4.0]
