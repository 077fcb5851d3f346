"""From codes to output: tables, values beyond them, and what altered codes do."""

from __future__ import annotations

import time

import numpy as np
import pytest

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.dequantize import pairs, render
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.requested_part import STABILIZED
from photon_gpu.engine.model.code_table import MAX_CODES
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import CorruptDataError
from photon_gpu.kernels.reference import phase

NUMBA = get_backend("numba")
CAMERA = NoiseModel(gain=2.0, offset=100.0, variance=4.0)


def drawn(encoding, base, codes, what, top=None, first=0, stride=0):
    out = np.empty(codes.shape, np.float64 if what == STABILIZED else what)
    render(encoding, base, int(codes.max()) if top is None else top, what, NUMBA)(codes, first, stride, out)
    return out


@pytest.mark.parametrize("width", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("dither", [None, 3])
@pytest.mark.parametrize(
    "what", [STABILIZED, np.dtype("uint16"), np.dtype("float32"), np.dtype("float64")], ids=str
)
def test_samples_are_those_of_the_tables(what, dither, width):
    encoding = Encoding(layout="compact", noise=CAMERA, dtype="uint16", dither=dither)
    table = encoding.table()
    codes = np.random.default_rng(0).integers(0, 200, (3, 50)).astype(width)
    got = drawn(encoding, 20, codes, what, first=5, stride=1000)
    rows = None if what == STABILIZED else table.decode_tables(20, 219, what)
    for t, i in np.ndindex(codes.shape):
        row, k = int(phase(np.uint32(5 + 1000 * t + i), dither or 0)), int(codes[t, i])
        if what == STABILIZED:
            assert got[t, i] == (20 + k + (table.shift(row) if dither is not None else 0.0)) * 0.5
        else:
            assert got[t, i] == rows[row if len(rows) > 1 else 0, k]


def test_the_rounding_of_integers_varies_from_pixel_to_pixel_but_not_from_reading_to_reading():
    encoding = Encoding(layout="compact", noise=CAMERA, dtype="uint16")
    codes = np.full((1, 4000), 60, "uint8")
    got = drawn(encoding, 0, codes, np.dtype("uint16"))
    assert set(np.diff(np.unique(got))) == {1}
    np.testing.assert_array_equal(
        got[:, 1000:], drawn(encoding, 0, codes[:, 1000:], np.dtype("uint16"), first=1000)
    )


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
@pytest.mark.parametrize("columns", [400, 401])
@pytest.mark.parametrize("begin, between", [(0, 0), (2, 6), (1, 0), (1, 1), (0, 3)])
def test_many_samples_of_two_bytes_are_those_of_few(dtype, columns, begin, between):
    """They are looked up two at a time where codes and samples lie so; where not, one by one."""
    encoding = Encoding(
        layout="compact", noise=NoiseModel(gain=100.0, offset=2000.0, variance=1e5), step=0.14, dtype=dtype
    )
    codes = np.random.default_rng(0).integers(0, 256, (200, columns)).astype("uint8")
    draw = render(encoding, 0, 255, np.dtype(dtype), NUMBA)
    wide = np.full((200, begin + columns + between), 77, dtype)
    before = pairs.cache_info()
    draw(codes, 3, columns, wide[:, begin : begin + columns])
    assert (pairs.cache_info() != before) == (columns == 400 and begin % 2 == 0 and between % 2 == 0)
    expected = np.empty_like(codes, dtype)
    for t in range(200):
        draw(codes[t : t + 1], 3 + t * columns, columns, expected[t : t + 1])
    np.testing.assert_array_equal(wide[:, begin : begin + columns], expected)
    assert len(np.unique(expected)) > 250
    assert (wide[:, :begin] == 77).all() and (wide[:, begin + columns :] == 77).all()


def test_altered_codes_among_many_decode_to_zero():
    encoding = Encoding(layout="compact", noise=NoiseModel(gain=100.0, variance=1e4), dtype="int16")
    codes = np.full((200, 400), 9, "uint8")
    codes[100, 101] = 200
    got = drawn(encoding, 3, codes, np.dtype("int16"), top=9)
    assert got[100, 101] == 0 and (np.delete(got.ravel(), 100 * 400 + 101) == got[0, 0]).all() and got[0, 0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64"])
@pytest.mark.parametrize("top", [3, 255, 70_000, 2**31])
def test_exact_values_come_back_at_any_distance_and_cost_no_table(top, dtype):
    encoding = Encoding(layout="compact", noise=NoiseModel(gain=50.0, variance=10.0), dtype=dtype, exact=True)
    info = np.iinfo(dtype)
    base = max(info.min, -5)
    if base + top > info.max:
        with pytest.raises(CorruptDataError, match="cannot hold"):
            drawn(encoding, base, np.zeros((1, 1), "uint32"), np.dtype(dtype), top=top)
        return
    codes = np.array([[0, 1, top // 2, top]], "uint32" if top > 65535 else "uint16" if top > 255 else "uint8")
    values = codes.astype(np.int64) + base
    np.testing.assert_array_equal(drawn(encoding, base, codes, np.dtype(dtype)), values)
    labels = [[encoding.table().code(int(v)) * 0.5 for v in values[0]]]
    assert drawn(encoding, base, codes, STABILIZED).tolist() == labels


def test_codes_beyond_the_greatest_never_read_past_a_table():
    for exact in (False, True):
        encoding = Encoding(layout="compact", noise=CAMERA, dtype="uint16", exact=exact)
        for width in ("uint8", "uint16"):
            codes = np.array([[0, 5, np.iinfo(width).max]], width)
            assert drawn(encoding, 30, codes, np.dtype("uint16"), top=5)[0, 2] == 0
    wide = Encoding(layout="compact", noise=CAMERA, dtype="uint32", exact=True)
    for encoding, top in ((wide, 70_000), (Encoding(layout="compact", noise=CAMERA, dtype="uint32"), 70_000)):
        with pytest.raises(CorruptDataError, match="beyond the greatest"):
            drawn(encoding, 30, np.array([[70_001]], "uint32"), np.dtype("uint32"), top=top)


@pytest.mark.parametrize("what", [STABILIZED, np.dtype("uint32")], ids=str)
@pytest.mark.parametrize("dither", [None, 1])
def test_a_header_that_claims_a_span_nobody_writes_takes_no_memory(what, dither):
    encoding = Encoding(layout="compact", noise=CAMERA, dtype="uint32", dither=dither)
    with pytest.raises(CorruptDataError, match="no release writes"):
        render(encoding, 0, 2**32 - 1, what, NUMBA)


@pytest.mark.parametrize("what", [STABILIZED, np.dtype("int32"), np.dtype("float64")])
@pytest.mark.parametrize("dither", [None, 5])
def test_a_wide_span_costs_what_its_codes_cost(what, dither):
    """Three codes of a span of two million: computed alone, to the values of the whole table."""
    encoding = Encoding(layout="compact", dtype="int32", noise=NoiseModel(gain=2.5), step=0.5, dither=dither)
    top = MAX_CODES - 2
    codes = np.array([[0, 70_000, 70_001, 2_000_000]], np.uint32).repeat(40, 0)
    out = np.empty(codes.shape, np.float64 if what == STABILIZED else what)
    start = time.perf_counter()
    render(encoding, 10, top, what, NUMBA)(codes, 0, 4, out)
    assert time.perf_counter() - start < 2
    narrow = np.empty_like(out[:, 1:3].copy())
    low = int(codes[0, 1])
    for column in (1, 2):  # by the table of a narrow span, at the same places
        shifted = np.full((40, 1), codes[0, column] - low, np.uint8)
        render(encoding, 10 + low, 1, what, NUMBA)(shifted, column, 4, narrow[:, column - 1 : column])
    np.testing.assert_array_equal(out[:, 1:3], narrow)
