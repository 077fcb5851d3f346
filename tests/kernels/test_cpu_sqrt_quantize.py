"""The root of a value, in single precision, as NumPy would take it."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.kernels.cpu_sqrt_quantize import quantize_sqrt, quantize_sqrt_cut

ONE = np.float32(1)


def expected(values: np.ndarray, model: np.ndarray, base: int) -> np.ndarray:
    """The same in the same precision, one operation after the other."""
    scale, shift, bend, slope, dark = model
    value = values.astype(np.float32)
    under = value * scale + shift
    with np.errstate(invalid="ignore"):
        code = np.where(under >= bend, np.sqrt(under), value * slope + dark)
    return np.floor(code + ONE / 2).astype(np.int64) - base


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("out_dtype", ["uint8", "uint16", "int32"])
@pytest.mark.parametrize(("frames", "samples", "pitch"), [(1, 1, 1), (3, 77, 77), (4, 64, 200), (2, 33, 34)])
def test_root_above_and_line_below(frames, samples, pitch, out_dtype, dtype):
    rng = np.random.default_rng(samples)
    info = np.iinfo(dtype)
    flat = rng.integers(info.min, info.max + 1, (frames - 1) * pitch + samples).astype(dtype)
    model = np.array([0.6, 20.5, 12.25, 0.13, 3.7], np.float32)
    values = np.stack([flat[t * pitch : t * pitch + samples] for t in range(frames)])
    base = int(expected(values, model, 0).min())
    codes = expected(values, model, base)
    codes_that_fit = codes.astype(out_dtype)  # a narrower code wraps, as a table's would
    out = np.full((frames, samples), 7, out_dtype)
    quantize_sqrt(flat, pitch, model, base, out)
    np.testing.assert_array_equal(out, codes_that_fit)


def test_levels_have_codes_of_their_own():
    values = np.array([1, 2, 3, 4, 5, 6, 99, 99], np.int16)
    flat = np.array([0, 0, 1, 0, 10], np.float32)  # code 10 for every value
    out = np.empty((2, 3), np.uint8)
    quantize_sqrt_cut(values, 3, flat, 0, 2, 5, out)
    assert out.tolist() == [[8, 9, 10], [10, 11, 12]]
    out = np.empty((1, 6), np.int32)
    quantize_sqrt_cut(values[:6], 6, flat, 0, -40000, 40000, out)
    assert (out == 10).all()


@pytest.mark.parametrize(("low", "high"), [(-9, 1), (1, 9), (2, 3), (-9, 9)])
def test_only_frames_that_reach_a_level_are_cut(low, high):
    values = np.array([1, 2, 2, 2, 3, 2], np.int16)
    plain, cut = np.empty((2, 3), np.uint8), np.empty((2, 3), np.uint8)
    line = np.array([0, 0, 1, 1, 0], np.float32)
    quantize_sqrt(values, 3, line, -5, plain)
    quantize_sqrt_cut(values, 3, line, -5, low, high, cut)
    beyond = np.where(values >= high, 1, 0) + (values > high) - (values <= low) - (values < low)
    np.testing.assert_array_equal(cut, plain + beyond.reshape(2, 3))


def test_a_code_begins_exactly_half_a_step_below_it():
    """Roots and lines that end in one half, to the bit, and the numbers just below."""
    above = (4096 * np.array([0.5, 1.5, 2.5, 3.5]) ** 2).astype(np.uint16)
    values = np.stack([above, above - 1, above + 1])
    out = np.empty(values.shape, np.uint8)
    quantize_sqrt(values.reshape(-1), 4, np.array([1 / 4096, 0, 0, 0, 0], np.float32), 0, out)
    assert out.tolist() == [[1, 2, 3, 4], [0, 1, 2, 3], [1, 2, 3, 4]]
    out = np.empty((1, 5), np.uint8)
    line = np.array([[1, 2, 3, 4, 5]], np.int16)
    quantize_sqrt(line[0], 5, np.array([0, 0, 1, 0.5, 0], np.float32), 0, out)
    assert out[0].tolist() == [1, 1, 2, 2, 3]
