"""The table with clipping levels against the one without, which has an oracle of its own."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.engine.model.clipping_levels import ClippingLevels
from photon_gpu.engine.model.clipping_levels_code_table import MARKS, ClippedCodeTable
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.noise import NoiseModel

PMT = NoiseModel(gain=100.0, offset=92.0)
DIM = NoiseModel(gain=4.0, offset=0.0, variance=4.0)
CASES = [
    (PMT, ClippingLevels(low=0, high=16383)),
    (PMT, ClippingLevels(high=2000)),
    (DIM, ClippingLevels(low=0, high=1023)),
    (DIM, ClippingLevels(low=3)),
    (NoiseModel(gain=4000.0, variance=1e8), ClippingLevels(low=10, high=30)),  # both in one bin
]


def tables(noise, levels, dtype, phases):
    clipped = ClippedCodeTable(noise, step=0.5, dtype=dtype, phases=phases, clipping=levels)
    return clipped, CodeTable(noise, step=0.5, dtype=dtype, phases=phases)


@pytest.mark.parametrize("phases", [1, 16])
@pytest.mark.parametrize(("noise", "levels"), CASES)
def test_levels_decode_exactly_and_no_other_value_decodes_to_them(noise, levels, phases):
    values = np.arange(0, 17_000)
    clipped, plain = tables(noise, levels, "uint16", phases)
    for phase in range(phases):
        codes, whole = (table.luts()[phase, values] for table in (clipped, plain))
        assert (np.diff(codes) >= 0).all()
        decoded = clipped.decode_tables(int(codes[0]), int(codes[-1]), "uint16")
        for row in decoded[phase : phase + 1] if phases > 1 else decoded:
            back = row[codes - codes[0]]
            for level in levels.to_dict().values():
                np.testing.assert_array_equal(back == level, values == level)
            # What a code decodes to has the same code again, so it is no farther than its bin.
            np.testing.assert_array_equal(clipped.luts()[phase, back], codes)
            assert (plain.luts()[phase, back] == whole).all()


@pytest.mark.parametrize("phases", [1, 16])
@pytest.mark.parametrize(("noise", "levels"), CASES)
def test_thresholds_and_codes_of_wide_integers_are_those_of_the_lookup_table(noise, levels, phases):
    values = np.arange(0, 17_000)
    lut, _ = tables(noise, levels, "uint16", phases)
    wide, _ = tables(noise, levels, "int32", phases)
    for phase in range(phases):
        codes = lut.luts()[phase, values]
        edges = wide.thresholds(int(codes[0]), int(codes[-1]), phase)
        np.testing.assert_array_equal(np.searchsorted(edges, values, side="right") - 1 + codes[0], codes)
        for value in (0, 1, 2, 3, 4, 1023, 1999, 2000, 2001, 16382, 16383, 16384):
            assert wide.code(value, phase) == lut.code(value, phase) == codes[value]


def test_codes_between_the_levels_and_representatives_of_whole_bins_stay():
    clipped, plain = tables(PMT, ClippingLevels(low=300, high=9000), "uint16", 1)
    low, high = plain.code(300) + 1, plain.code(9000)
    between = np.arange(plain.thresholds(low, low)[0], 9000).astype(int)
    np.testing.assert_array_equal(clipped.luts()[0, between], plain.luts()[0, between])
    np.testing.assert_array_equal(
        clipped.representatives(low, high - 1), plain.representatives(low, high - 1)
    )


@pytest.mark.parametrize(("noise", "levels"), CASES[:4])
def test_labels_lie_within_half_a_step_and_tell_levels_apart(noise, levels):
    values = np.arange(0, 17_000)
    clipped, plain = tables(noise, levels, "uint16", 1)
    labels = clipped.label_luts()[0, values]
    np.testing.assert_allclose(labels, plain.label_luts()[0, values], atol=0.5 / MARKS)
    codes, strange = clipped.codes_of_marked(np.rint(labels / (0.5 / MARKS)).astype(np.int32))
    assert not strange
    decoded = clipped.decode_tables(int(codes.min()), int(codes.max()), "uint16")[0, codes - codes.min()]
    for level in levels.to_dict().values():
        np.testing.assert_array_equal(decoded == level, values == level)
    assert clipped.codes_of_marked(np.array([4 * 9 + 2], np.int32))[1] == 1


def test_a_level_that_is_alone_in_its_bin_needs_no_code():
    counts = ClippedCodeTable(
        NoiseModel(), step=0.5, dtype="uint16", phases=1, clipping=ClippingLevels(low=0)
    )
    assert not counts.needed
    assert tables(PMT, ClippingLevels(low=0), "uint16", 1)[0].needed
