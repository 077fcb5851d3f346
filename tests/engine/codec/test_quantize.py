"""From values to codes: ranges, errors that say where, and the right kernel for every dtype."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.quantize import Extent, Quantizer, extent, narrowest, span
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.pool import Split
from photon_gpu.errors import InvalidInputError

NUMBA, NUMPY = get_backend("numba"), get_backend("numpy")
CAMERA = NoiseModel(gain=2.0, offset=100.0, variance=4.0)
DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def values_of(dtype, seed=0, shape=(3, 40)):
    rng = np.random.default_rng(seed)
    out = rng.normal(60, 30, shape) if np.dtype(dtype).kind == "f" else rng.integers(0, 120, shape)
    if np.dtype(dtype).kind in "if":
        out = out - 40
    return out.astype(dtype)


@pytest.mark.parametrize("phases", [1, 16])
@pytest.mark.parametrize("backend", [NUMBA, NUMPY], ids=lambda b: b.name)
@pytest.mark.parametrize("dtype", DTYPES)
def test_codes_are_those_of_the_exact_table(dtype, backend, phases):
    values, table = values_of(dtype), CodeTable(CAMERA, step=0.5, dtype=dtype, phases=phases)
    quantizer = Quantizer(table, extent(values, backend, noise=CAMERA), backend, seed=7)
    out = np.empty(values.shape, quantizer.dtype)
    quantizer(values, 11, 1000, out)
    from photon_gpu.kernels.reference import phase

    for t, i in np.ndindex(values.shape):
        row = int(phase(np.uint32(11 + 1000 * t + i), 7)) if phases > 1 else 0
        assert int(out[t, i]) + quantizer.base == table.code(values[t, i].item(), row)
    if phases == 1:
        assert out.min() == 0 and out.max() == quantizer.top


def test_the_range_is_that_of_the_values():
    for dtype in DTYPES:
        values = values_of(dtype)
        result = extent(values, NUMBA, noise=CAMERA)
        assert (result.low, result.high) == (values.min(), values.max())
        assert type(result.low) in (int, float)
        assert extent(values, NUMBA, noise=CAMERA, split=Split(3)) == result
    strided = values_of("int16", shape=(6, 8, 10))[::2, 1:, ::3]
    assert extent(strided, NUMBA, noise=CAMERA) == Extent(int(strided.min()), int(strided.max()))


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_finite_is_refused_with_its_place(dtype, strange):
    values = np.ones((4, 3, 5), dtype)
    values[2, 1, 4] = values[3, 0, 0] = strange
    with pytest.raises(InvalidInputError, match=r"frame 102, pixel \(1, 4\)"):
        extent(values, NUMBA, first_frame=100)
    with pytest.raises(InvalidInputError, match=r"frame 102, pixel \(1, 4\)"):
        extent(values, NUMBA, first_frame=100, split=Split(4))
    with pytest.raises(InvalidInputError, match=r"frame 2, pixel \(\)"):
        extent(np.array([1, 2, strange], dtype), NUMBA)


def test_integers_floats_cannot_hold_are_refused():
    for dtype, value in (("int64", 2**53 + 1), ("int64", -(2**53) - 1), ("uint64", 2**64 - 1)):
        with pytest.raises(InvalidInputError, match=r"2\*\*53.*lossless"):
            extent(np.array([[0, value]], dtype), NUMBA, noise=CAMERA)
    assert extent(np.array([[2**53]], "uint64"), NUMBA).high == 2**53


def test_negatives_are_refused_by_the_default_model_alone():
    values = np.array([[[5, 7], [0, -1]]], "int16")
    with pytest.raises(InvalidInputError, match=r"-1 at frame 0, pixel \(1, 1\).*variance="):
        extent(values, NUMBA, noise=NoiseModel())
    assert extent(values, NUMBA, noise=NoiseModel(offset=-10.0)).low == -1


def test_the_narrowest_dtype_holds_the_codes():
    assert [narrowest(top).name for top in (0, 255, 256, 65535, 65536, 2**32 - 1)] == [
        "uint8",
        "uint8",
        "uint16",
        "uint16",
        "uint32",
        "uint32",
    ]


@pytest.mark.parametrize("top", [255, 256, 65535, 65536])
def test_codes_at_the_ends_of_a_width_come_out_whole(top):
    table = CodeTable(NoiseModel(), step=0.5, dtype="float64")
    ends = table.thresholds(2, 2 + top)
    values = np.array([[ends[0], ends[-1]]])
    quantizer = Quantizer(table, extent(values, NUMBA), NUMBA, 0)
    out = np.empty((1, 2), quantizer.dtype)
    quantizer(values, 0, 0, out)
    assert out.tolist() == [[0, top]] and quantizer.dtype == narrowest(top)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "float64"])
def test_more_codes_than_a_decoder_tabulates_are_refused_when_they_are_made(dtype):
    """Such chunks were stored (16-bit values go through a lookup table) and could not be read."""
    noise = NoiseModel(gain=1e-5, variance=1e-9)
    table = CodeTable(noise, step=0.02, dtype=dtype)
    with pytest.raises(InvalidInputError, match=r"span 7[\d,]+ codes.*lossless"):
        span(table, Extent(0, 60_000))
    assert span(table, Extent(0, 10))[1] > 1000
