"""Arithmetic takes the table's place only where it says the same, and says where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.quantize import Extent, Quantizer
from photon_gpu.engine.codec.sqrt_quantize import Root, root_of, runs
from photon_gpu.engine.model.clipping_levels import ClippingLevels
from photon_gpu.engine.model.clipping_levels_code_table import ClippedCodeTable
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.kernels import cpu_encode

NUMBA = get_backend("numba")
DETECTORS = [
    NoiseModel(),
    NoiseModel(gain=100.0, offset=92.0),
    NoiseModel(gain=0.46, offset=100.0, variance=2.2),
    NoiseModel(gain=7.0, offset=475.0),
    NoiseModel(gain=12.99, offset=464.3, variance=326.3),
    NoiseModel(gain=1.12, offset=346.8),
    NoiseModel(gain=35.0, offset=-1200.0, variance=4000.0),
    NoiseModel(gain=0.01, offset=3.0),
    NoiseModel(gain=3e4, offset=0.5, variance=1.0),
]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("step", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("noise", DETECTORS, ids=lambda noise: f"{noise.gain:g}")
def test_every_value_has_the_tables_code_but_those_it_names(noise, step, dtype):
    table = CodeTable(noise, step=step, dtype=dtype)
    root, info = Root(table), np.iinfo(dtype)
    values = np.arange(info.min, info.max + 1).astype(dtype)
    out = np.empty((1, values.size), np.int32)
    root(values[None], 0, out)
    differ = out[0] != table.luts()[0, values.view(f"u{values.itemsize}")]
    np.testing.assert_array_equal(values[differ], root.wrong)
    assert root.exact(info.min, info.max) == (not differ.any())


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize(
    "ends", [{"high": 100}, {"low": 3}, {"low": 3, "high": 100}, {"low": -9, "high": 1 << 40}]
)
def test_clipping_levels_have_the_codes_of_the_table(ends, dtype):
    noise = NoiseModel(gain=12.99, offset=4.0, variance=326.3)
    table = ClippedCodeTable(noise, step=0.5, dtype=dtype, phases=1, clipping=ClippingLevels(**ends))
    low, high = np.searchsorted((root := Root(table)).wrong, [-50, 127])
    assert low == high, "every value of the movie below is to be exact"
    values = np.random.default_rng(1).integers(max(np.iinfo(dtype).min, -50), 127, (5, 40)).astype(dtype)
    values[0, :4] = np.array([3, 100, 2, 101], dtype)
    quantizer = Quantizer(table, Extent(int(values.min()), int(values.max())), NUMBA, 0)
    expected = table.luts()[0, values.view(f"u{values.itemsize}")] - quantizer.base
    out = np.empty(values.shape, quantizer.dtype)
    quantizer(values, 0, 0, out)
    np.testing.assert_array_equal(out, expected)
    flat, how = quantizer.compiled(values.reshape(-1))
    reached = values.min() <= ends.get("low", -99) or values.max() >= ends.get("high", 999)
    assert isinstance(how, cpu_encode.ByCutRoot if reached else cpu_encode.ByRoot)
    together = np.empty(values.size, quantizer.dtype)
    cpu_encode.quantize_bands(flat, cpu_encode.EncodeGrid(5, 4, 10, 4, 0, 4), how, together)
    np.testing.assert_array_equal(together, expected.reshape(-1))


def test_it_is_worth_having():
    """Real detectors have hardly any value so close to a boundary; one has several, all dark."""
    shares = [Root(CodeTable(noise, step=0.5, dtype="uint16")).wrong.size for noise in DETECTORS[:5]]
    assert sum(shares) < 20
    signed = Root(CodeTable(DETECTORS[4], step=0.5, dtype="int16"))
    assert signed.wrong.size and signed.wrong.max() < 0 and signed.exact(0, 32767)


def test_ranges_that_hold_a_wrong_value_are_not_exact():
    root = Root(CodeTable(DETECTORS[5], step=0.5, dtype="int16"))
    for value in root.wrong.tolist():
        assert (
            not root.exact(value, value)
            and not root.exact(value - 1, value)
            and not root.exact(value, value + 1)
        )
    first = int(root.wrong[0])
    assert root.exact(first + 1, int(root.wrong[1]) - 1) and root.exact(first - 50, first - 1)


def test_a_chunk_with_a_wrong_value_is_looked_up():
    table = CodeTable(DETECTORS[4], step=0.5, dtype="int16")
    first = int(root_of(table).wrong[0])
    values = np.arange(first - 20, first + 21, dtype=np.int16)[None]
    quantizer = Quantizer(table, Extent(first - 20, first + 20), NUMBA, 0)
    out = np.empty(values.shape, quantizer.dtype)
    quantizer(values, 0, 0, out)
    assert [int(code) + quantizer.base for code in out[0]] == [table.code(int(value)) for value in values[0]]
    assert quantizer._root is None and Quantizer(table, Extent(0, 500), NUMBA, 0)._root is not None


@pytest.mark.parametrize("dither", [1, 16])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_wide_values_and_dithered_ones_are_not_its_business(dtype, dither):
    assert (
        Quantizer(CodeTable(NoiseModel(), step=0.5, dtype=dtype, phases=dither), Extent(0, 9), NUMBA, 0)._root
        is None
    )
    assert (
        Quantizer(CodeTable(NoiseModel(), step=0.5, dtype="int16", phases=16), Extent(0, 9), NUMBA, 0)._root
        is None
    )


def test_frames_that_are_no_runs_are_looked_up():
    whole = np.random.default_rng(0).integers(0, 3000, (6, 8, 10)).astype(np.uint16)
    table = CodeTable(NoiseModel(gain=4.0), step=0.5, dtype="uint16")
    pieces = {
        "whole": whole.reshape(6, -1),
        "rows": whole[:, 2:5].reshape(6, -1),
        "every other frame": whole[::2].reshape(3, -1),
        "backwards": whole[::-1].reshape(6, -1)[::-1],
        "columns": whole[:, 0, ::2],
        "turned": whole[0].T,
        "one frame": whole[:1].reshape(1, -1),
        "one pixel": whole[:, 3, 4:5],
        "mirrored": whole[:, 0, ::-1],
        "again": np.broadcast_to(whole[0, 0], (4, 10)),
    }
    expected = {"columns": False, "turned": False, "mirrored": False, "again": False}
    for name, piece in pieces.items():
        assert runs(piece) == expected.get(name, True), name
        quantizer = Quantizer(table, Extent(0, 3000), NUMBA, 0)
        out = np.empty(piece.shape, quantizer.dtype)
        quantizer(piece, 0, 0, out)
        np.testing.assert_array_equal(out + quantizer.base, table.luts()[0, piece], err_msg=name)
    assert not runs(whole[:0].reshape(0, 80)) and not runs(np.empty((3, 0), np.uint16))
