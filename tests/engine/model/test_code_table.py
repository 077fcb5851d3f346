"""Codes, thresholds and representatives against an oracle that knows only the definition.

The oracle compares ``A(z)`` with the boundary ``(k - 1/2 + u)*step`` in decimal arithmetic of 400 digits, in
which every float64 is exact and so is every square root that could make a tie. It shares no line with the
tables.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.code_table import MAX_CODES, PHASES, CodeTable, check_step, supported_dtype
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from tests.support.concurrent_calls import at_once


def reached(z, k: int, noise: NoiseModel, step: float, phase: int = 0, phases: int = 1) -> bool:
    """Whether ``A(z) >= (k - 1/2 + u)*step``, both sides multiplied by what makes them free of division."""
    with localcontext() as context:
        context.prec = 400
        z, g, o, v = Decimal(z), Decimal(noise.gain), Decimal(noise.offset), Decimal(noise.variance)
        c = Decimal("0.375") * g * g + v
        u = Decimal(2 * phase + 1 - phases) / Decimal(2 * phases)
        boundary = (Decimal(k) - Decimal("0.5") + u) * Decimal(step)
        if z >= o:
            return 2 * (g * (z - o) + c).sqrt() >= boundary * g
        return 2 * c + g * (z - o) >= boundary * g * c.sqrt()


def test_the_oracle_knows_a_tie():
    # A(8) = 2*sqrt(8 + 1) = 6 = 1.5*4, and below zero A(-1) = 2 - 1 = 1 = 0.5*2.
    noise = NoiseModel(gain=1.0, variance=0.625)
    assert reached(8, 2, noise, 4.0) and not reached(7, 2, noise, 4.0)
    assert reached(-1, 1, noise, 2.0) and not reached(-2, 1, noise, 2.0)
    for dtype in ("int16", "int32", "float64"):
        assert CodeTable(noise, step=4.0, dtype=dtype).code(8) == 2
        assert CodeTable(noise, step=2.0, dtype=dtype).code(-1) == 1


MODELS = [
    (NoiseModel(), 0.5),
    (NoiseModel(gain=1.0, variance=0.625), 4.0),  # every square is a tie
    (NoiseModel(gain=1.0, variance=0.625), 0.125),
    (NoiseModel(gain=100.0, offset=92.0), 0.5),
    (NoiseModel(gain=2.0, offset=100.0, variance=4.0), 1.0),
    (NoiseModel(gain=0.1, offset=-3.7, variance=2.2), 1 / 3),
    (NoiseModel(gain=1 / 3, offset=1000.1, variance=1e4), 0.01),
    (NoiseModel(gain=317.3, offset=-500.0, variance=1e6), 16.0),
    (NoiseModel(gain=1e-3, offset=1e4, variance=1.0), 0.5),
    (NoiseModel(gain=1e5, offset=0.0), 0.25),
]


@pytest.mark.parametrize("phases", [1, PHASES])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint64", "float32", "float64"])
@pytest.mark.parametrize("noise, step", MODELS)
def test_every_threshold_is_the_least_value_of_its_code(noise, step, dtype, phases):
    table = CodeTable(noise, step=step, dtype=dtype, phases=phases)
    rng = np.random.default_rng(0)
    for phase in (0,) if phases == 1 else (0, 5, 15):
        # Around the bend at offset, where light begins, and far out.
        values = [noise.offset - 50, noise.offset, noise.offset + 3 * noise.gain, 2000.0, 60000.0]
        codes = {
            table.code(value, phase) + int(shift) for value in values for shift in rng.integers(-3, 4, 3)
        }
        for k in sorted(codes):
            threshold = float(table.thresholds(k, k, phase)[0])
            below = math.nextafter(threshold, -math.inf) if dtype.startswith("f") else threshold - 1
            assert reached(threshold, k, noise, step, phase, phases), (k, phase)
            assert not reached(below, k, noise, step, phase, phases), (k, phase)


@pytest.mark.parametrize("phases", [1, PHASES])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("noise, step", MODELS)
def test_the_lookup_table_says_what_the_thresholds_say_for_every_value(noise, step, dtype, phases):
    table = CodeTable(noise, step=step, dtype=dtype, phases=phases)
    info = np.iinfo(dtype)
    values = np.arange(info.min, info.max + 1)
    codes = table.luts()[:, values.astype(dtype).view(f"u{np.dtype(dtype).itemsize}")]
    assert codes.shape == (phases, values.size)
    for phase in range(phases) if np.ptp(codes) < 2000 else (0, phases - 1):
        low, high = int(codes[phase, 0]), int(codes[phase, -1])
        if high - low > 20_000:
            continue  # a threshold for every value and many more: the next test samples those
        edges = table.thresholds(low, high, phase)
        np.testing.assert_array_equal(codes[phase], low + np.searchsorted(edges, values, side="right") - 1)
    np.testing.assert_array_equal(table.label_luts(), table.luts() * table.step)


@given(
    gain=st.floats(1e-3, 1e4),
    offset=st.floats(-1e4, 1e4),
    variance=st.floats(0, 1e6),
    step=st.floats(0.01, 16),
    value=st.integers(-(2**15), 2**15 - 1),
    phase=st.sampled_from([None, 0, 7, 15]),
)
@settings(deadline=None, max_examples=300, derandomize=True)
def test_the_code_of_any_value_is_the_definition(gain, offset, variance, step, value, phase):
    noise, phases = NoiseModel(gain=gain, offset=offset, variance=variance), 1 if phase is None else PHASES
    table = CodeTable(noise, step=step, dtype="int32", phases=phases)
    code = table.code(value, phase or 0)
    assert reached(value, code, noise, step, phase or 0, phases)
    assert not reached(value, code + 1, noise, step, phase or 0, phases)


@given(data=st.data())
@settings(deadline=None, max_examples=60, derandomize=True)
def test_boundaries_of_floats_are_exact_to_the_last_bit(data):
    noise = NoiseModel(
        gain=data.draw(st.floats(1e-3, 1e3)),
        offset=data.draw(st.floats(-1e3, 1e3)),
        variance=data.draw(st.floats(0, 1e3)),
    )
    table = CodeTable(noise, step=0.5, dtype="float64")
    near = data.draw(st.floats(-1e6, 1e9))
    k = table.code(near)
    at = float(table.thresholds(k, k)[0])
    assert table.code(at) == k and table.code(math.nextafter(at, -math.inf)) == k - 1


def occupied(table, low, high, phase=0):
    """Codes that some value of the dtype has."""
    first, last = table.bins(low, high, phase)
    if table.dtype.kind == "f":
        return np.ones(high - low + 1, bool)
    return last >= first


@pytest.mark.parametrize("phases", [1, PHASES])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("noise, step", MODELS)
def test_what_a_code_decodes_to_has_that_code(noise, step, dtype, phases):
    """Clamped into its bin: decoding and encoding again changes nothing, for every output and row."""
    table = CodeTable(noise, step=step, dtype=dtype, phases=phases)
    type_code = np.dtype(dtype).kind
    ends = (0, 30_000) if type_code == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    codes = [table.code(max(end, -40_000) if end < 0 else min(end, 70_000)) for end in ends]
    low = min(max(codes[0], table.code(int(noise.offset) - 500)), codes[1] - 1)
    high = min(codes[1], low + 400)
    for dtype_out in (dtype, "float64"):
        rows = table.decode_tables(low, high, dtype_out)
        assert rows.dtype == dtype_out and rows.shape[1] == high - low + 1
        for row in range(0, len(rows), 5):
            phase = row if phases > 1 else 0
            there = occupied(table, low, high, phase)
            for k, value in zip(np.arange(low, high + 1)[there], rows[row][there], strict=True):
                beyond = k in (low, high) or not ends[0] < value < ends[1]
                if phases > 1 and dtype_out == "float64" and type_code != "f" and beyond:
                    continue  # with dither a mean over phases may lie beyond the end of the dtype
                assert table.code(value.item(), phase) == k, (row, k, value)


def test_low_counts_at_gain_one_are_lossless():
    table = CodeTable(NoiseModel(), step=0.5, dtype="uint16")
    counts = np.arange(8)
    codes = table.luts()[0][counts]
    assert len(set(codes)) == 8
    decoded = table.decode_tables(int(codes[0]), int(codes[-1]), "uint16")
    assert (decoded[:, codes - codes[0]] == counts).all()


def test_representatives_of_wide_bins_are_the_algebraic_inverse_less_the_noise_of_rounding():
    """In wide bins: the inverse of the label, less gain*step^2/48, whose mean is unbiased."""
    from photon_gpu.engine.model.anscombe import inverse_anscombe

    noise = NoiseModel(gain=300.0, offset=50.0)
    for step in (0.25, 0.5, 1.0):
        table = CodeTable(noise, step=step, dtype="float64")
        low = table.code(50 + 300 * 5.0)
        codes = np.arange(low, low + 50)
        expected = inverse_anscombe(codes * step, noise) - noise.gain * step**2 / 48
        np.testing.assert_allclose(table.representatives(low, low + 49), expected, rtol=1e-12)


def test_rows_of_integer_output_average_to_the_representative():
    table = CodeTable(NoiseModel(gain=3.0, offset=20.0, variance=5.0), step=1.0, dtype="int32")
    low, high = table.code(60), table.code(2000)
    rows = table.decode_tables(low, high, "int32").astype(float)
    assert rows.shape[0] == PHASES and np.ptp(rows, 0).max() == 1
    off = rows.mean(0) - table.representatives(low, high)
    assert np.abs(off).max() <= 0.5 / PHASES + 1e-9
    fine = CodeTable(NoiseModel(gain=300.0), step=0.5, dtype="int32")
    assert fine.decode_tables(5, 50, "int32").shape[0] == 1


def test_dithers_phases_shift_the_grid_evenly_about_none():
    table = CodeTable(NoiseModel(), step=0.5, dtype="uint16", phases=PHASES)
    shifts = [table.shift(phase) for phase in range(PHASES)]
    np.testing.assert_allclose(shifts, (np.arange(16) - 7.5) / 16)
    assert CodeTable(NoiseModel(), step=0.5, dtype="uint16").shift(0) == 0
    average = np.mean([(table.luts()[p] + shifts[p]) * 0.5 for p in range(PHASES)], axis=0)
    assert np.abs(average - anscombe(np.arange(65536))).max() <= 0.5 / 32 + 1e-9


@pytest.mark.parametrize(
    "dtype, ends", [("int64", (-(2**53), 2**53)), ("uint64", (0, 2**53)), ("float64", (-1e15, 1e15))]
)
def test_the_widest_values_have_codes(dtype, ends):
    noise = NoiseModel(gain=1e3, offset=-7.0, variance=1e12)
    table = CodeTable(noise, step=16.0, dtype=dtype)
    for value in ends:
        k = table.code(value)
        assert reached(value, k, noise, 16.0) and not reached(value, k + 1, noise, 16.0)
        low, high = table.thresholds(k, k + 1)
        assert low <= value < high


def test_codes_of_numpy_scalars_are_those_of_python_numbers():
    table = CodeTable(NoiseModel(), step=0.5, dtype="float32")
    assert table.code(np.float32(0.1)) == table.code(float(np.float32(0.1)))
    assert table.code(np.uint16(65535)) == table.code(65535)


def test_ranges_far_apart_do_not_fill_the_gap_between_them():
    """A chunk at one end of a wide dtype after one at the other: quick, accepted, same result."""
    for dtype in ("uint32", "float64"):
        table = CodeTable(NoiseModel(), step=0.01, dtype=dtype)
        near, far = table.code(5), table.code(4e9)
        assert far - near > MAX_CODES
        first = table.thresholds(near, near + 10).copy()
        table.thresholds(far, far + 10)
        assert sum(known.size for _, known in table._thresholds.values()) < 1000
        np.testing.assert_array_equal(table.thresholds(near, near + 10), first)
        for low in (near, far, near):
            begin, rows = table.decode_table_at_least(low, low + 10, dtype)
            np.testing.assert_array_equal(
                rows[:, low - begin : low - begin + 11], table.decode_tables(low, low + 10, dtype)
            )
            assert rows.shape[1] < 1000


def test_shared_tables_grow_and_agree_whatever_the_order_and_the_threads():
    whole = CodeTable(NoiseModel(gain=2.0), step=0.5, dtype="int32")
    expected, decoded = whole.thresholds(0, 999), whole.decode_tables(0, 998, "int32")
    shared = CodeTable(NoiseModel(gain=2.0), step=0.5, dtype="int32")
    wrong = []

    def use(seed):
        rng = np.random.default_rng(seed)
        for _ in range(15):
            low, high = sorted(rng.integers(0, 998, 2).tolist())
            begin, rows = shared.decode_table_at_least(low, high, "int32")
            wrong.append(not np.array_equal(shared.thresholds(low, high), expected[low : high + 1]))
            wrong.append(
                not np.array_equal(rows[:, low - begin : high - begin + 1], decoded[:, low : high + 1])
            )

    at_once(partial(use, seed) for seed in range(4))
    assert len(wrong) == 120 and not any(wrong)


def test_shared_arrays_cannot_be_written_to():
    table = CodeTable(NoiseModel(), step=0.5, dtype="uint8")
    for array in (table.luts(), table.label_luts(), table.thresholds(0, 5)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_spans_that_no_detector_has_are_refused_with_what_to_do():
    table = CodeTable(NoiseModel(), step=0.01, dtype="float64")
    with pytest.raises(InvalidInputError, match="lossless"):
        table.code(1e25)
    with pytest.raises(InvalidInputError, match="larger step"):
        table.thresholds(0, MAX_CODES)
    with pytest.raises(InvalidInputError, match="larger step"):
        CodeTable(NoiseModel(gain=1e-6), step=0.01, dtype="int16").luts()


@pytest.mark.parametrize(
    "step", [0, -1, 0.0099, 16.01, float("nan"), float("inf"), "0.5", None, True, [1], 1j], ids=repr
)
def test_steps_out_of_range_are_refused(step):
    with pytest.raises(InvalidInputError, match="step is"):
        check_step(step)


def test_every_other_step_is_a_float():
    assert [check_step(step) for step in (0.01, np.float32(0.5), 1, Fraction(1, 4), 16)] == [
        0.01,
        0.5,
        1.0,
        0.25,
        16.0,
    ]


def test_unsupported_dtypes_and_phases_are_refused():
    assert supported_dtype(">u2") == np.dtype("uint16") and supported_dtype(">u2").isnative
    for dtype in ("bool", "complex64", "float16", "object", "U3", "M8[s]"):
        with pytest.raises(UnsupportedTypeError, match="uint16"):
            supported_dtype(dtype)
    with pytest.raises(InvalidInputError, match="phases"):
        CodeTable(NoiseModel(), step=0.5, dtype="uint8", phases=4)
