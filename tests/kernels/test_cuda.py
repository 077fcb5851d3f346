"""The CUDA kernels, executed by g++ behind a shim, against the reference, bit for bit.

No GPU code is run here (tests/engine/gpu/test_on_gpu.py does, where there is one): the same source, compiled
for the host, every thread of every block in several orders, launched by the very ``kernels/cuda.py``.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photon_gpu.kernels import reference
from tests.support.cuda import cupy_standin as standin
from tests.support.cuda.call_kernels import Device, equal
from tests.support.cuda.kernel_vectors import DTYPES, full_range, mixes, thresholds_for, weights_of
from tests.support.cuda.on_cpu import HostLaunchError, HostModule, host_module

KERNELS = Path(reference.__file__).parent


def test_twins_have_the_same_functions_in_the_same_order() -> None:
    names = {}
    for twin in ("reference", "cpu", "cuda"):
        tree = ast.parse((KERNELS / f"{twin}.py").read_text())
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        names[twin] = [name for name in functions if hasattr(reference, name) and not name.startswith("_")]
    names["reference"].remove("phase")  # a definition that the phased kernels of the twins hold
    assert names["cpu"] == names["reference"] == [*names["cuda"], "restore_full_sorted"]
    assert len(names["cuda"]) == 20


@pytest.mark.parametrize("dtype", DTYPES)
def test_extent(device: Device, dtype: str) -> None:
    for values in (full_range(dtype, 3001), full_range(dtype, 1), full_range(dtype, 257)):
        for skew in (0, 1):
            result, expected = np.full((2, 3), 7, dtype)
            out = device.put(result)
            device.kernels.extent(device.put(values, skew=skew), out)
            reference.extent(values, expected)
            equal(out.get(), expected)
    if np.dtype(dtype).kind == "f":
        strange = np.array([np.nan, np.inf, -np.inf, np.nan], dtype)
        for values, least in ((np.append(strange, [3, -2]).astype(dtype), -2), (strange, 7)):
            out, expected = device.put(np.full(3, 7, dtype)), np.full(3, 7, dtype)
            device.kernels.extent(device.put(values), out)
            reference.extent(values, expected)
            equal(out.get(), expected)
            assert out.get()[0] == least and out.get()[2] == 4


def test_extent_at_every_position(device: Device) -> None:
    for position in [*range(70), 255, 256, 2047, 2048, 4999]:
        values = np.full(5000, 500, np.int32)
        values[position], values[(position + 777) % 5000] = -9, 60001
        out = device.put(np.zeros(3, np.int32))
        device.kernels.extent(device.put(values), out)
        assert out.get().tolist() == [-9, 60001, 0]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("out", ["uint8", "uint16", "uint32", "float64"])
def test_quantize_lut_of_every_input(device: Device, bits: int, out: str) -> None:
    rng = np.random.default_rng(bits)
    patterns = np.arange(1 << bits).astype(f"uint{bits}").reshape(1, -1)
    lut = rng.integers(0, 256, 1 << bits).astype(out)
    result, expected = device.empty(patterns.shape, out), np.empty(patterns.shape, out)
    device.kernels.quantize_lut(device.put(patterns), device.put(lut), result)
    reference.quantize_lut(patterns, lut, expected)
    equal(result.get(), expected)
    luts = rng.integers(0, 256, (16, 1 << bits)).astype(out)
    result = device.empty(patterns.shape, out)
    device.kernels.quantize_lut_phased(device.put(patterns), device.put(luts), 5, 11, patterns.size, result)
    reference.quantize_lut_phased(patterns, luts, 5, 11, patterns.size, expected)
    equal(result.get(), expected)


@pytest.mark.parametrize("pixels", [1, 15, 16, 17, 31, 255, 4097])
@pytest.mark.parametrize("skew, apart", [(0, 0), (1, 0), (0, 16), (8, 3), (3, 5)])
def test_quantize_lut_keeps_to_its_samples(device: Device, pixels: int, skew: int, apart: int) -> None:
    """Odd sizes, unaligned starts, frames apart: every sample right, and nothing beside them touched."""
    rng = np.random.default_rng(pixels)
    patterns = rng.integers(0, 65536, (3, pixels)).astype(np.uint16)
    lut = rng.integers(0, 256, 65536).astype(np.uint8)
    around = device.cupy.asarray(np.full(skew + 3 * (pixels + apart) + 40, 77, np.uint8))
    out = around[skew : skew + 3 * (pixels + apart)].reshape(3, pixels + apart)[:, :pixels]
    device.kernels.quantize_lut(device.put(patterns, skew=skew, apart=apart), device.put(lut), out)
    everything = around.get()
    rows = everything[skew : skew + 3 * (pixels + apart)].reshape(3, -1)
    equal(rows[:, :pixels], lut[patterns])
    assert (
        (rows[:, pixels:] == 77).all() and (everything[:skew] == 77).all() and (everything[-40:] == 77).all()
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_subtract(device: Device, dtype: str) -> None:
    info = np.iinfo(dtype)
    base = max(info.min, -(2**53))
    for out, span in (("uint8", 255), ("uint16", 65535), ("uint32", 2**32 - 1)):
        top = min(info.max, base + span)
        steps = np.linspace(0, top - base, 997).astype(np.uint64)
        values = (steps.astype(np.int64) + base).astype(dtype).reshape(1, -1)
        result, expected = device.empty(values.shape, out), np.empty(values.shape, out)
        device.kernels.subtract(device.put(values, skew=1), base, result)
        reference.subtract(values, base, expected)
        equal(result.get(), expected)
        assert int(expected.max()) == top - base


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("phased", [False, True])
def test_quantize_thresholds(device: Device, dtype: str, phased: bool) -> None:
    thresholds, model, values = thresholds_for(dtype, phased)
    for out in ("uint16", "uint32") if thresholds.shape[-1] > 256 else ("uint8", "uint16", "uint32"):
        result, expected = device.empty(values.shape, out), np.empty(values.shape, out)
        tables, numbers = device.put(thresholds), device.put(model)
        if phased:
            arguments = (9, 1 << 31, values.shape[1] + 3)
            device.kernels.quantize_thresholds_phased(device.put(values), tables, numbers, *arguments, result)
            reference.quantize_thresholds_phased(values, thresholds, model, *arguments, expected)
        else:
            device.kernels.quantize_thresholds(device.put(values, skew=1), tables, numbers, 0, result)
            reference.quantize_thresholds(values, thresholds, model, 0, expected)
        equal(result.get(), expected)


def test_thresholds_decide_and_the_guess_does_not(device: Device) -> None:
    """A model that is wrong by anything, even NaN, gives the same codes."""
    thresholds, model, values = thresholds_for("float64", False)
    expected = np.empty(values.shape, np.uint16)
    reference.quantize_thresholds(values, thresholds, model, 0, expected)
    for wrong in (model * 1.7, model * 0, model * np.nan, model * 1e300, np.full_like(model, -1)):
        result = device.empty(values.shape, np.uint16)
        device.kernels.quantize_thresholds(
            device.put(values), device.put(thresholds), device.put(wrong), 0, result
        )
        equal(result.get(), expected)


def test_subnormal_float32_is_not_flushed(device: Device) -> None:
    tiny = np.array([1, 2, 3, 5, 0x7FFFFF, 0x800000], np.uint32).view(np.float32)
    values = np.concatenate([-tiny[::-1], [-0.0, 0.0], tiny]).astype(np.float32).reshape(1, -1)
    thresholds = np.sort(values[0].astype(np.float64))
    expected, result = np.empty(values.shape, np.uint8), device.empty(values.shape, np.uint8)
    model = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    reference.quantize_thresholds(values, thresholds, model, 0, expected)
    device.kernels.quantize_thresholds(
        device.put(values), device.put(thresholds), device.put(model), 0, result
    )
    equal(result.get(), expected)


@pytest.mark.parametrize("codes", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dequantize(device: Device, codes: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    size = 200 if codes == "uint8" else 5000
    read = rng.integers(0, size, (3, 341)).astype(codes)
    tables = full_range(dtype, 16 * size).reshape(16, size)
    result, expected = device.empty(read.shape, dtype, apart=2), np.empty(read.shape, dtype)
    device.kernels.dequantize(device.put(read, apart=4), device.put(tables[3]), result)
    reference.dequantize(read, tables[3], expected)
    equal(device.get(result), expected)
    result = device.empty(read.shape, dtype, apart=1)
    device.kernels.dequantize_phased(device.put(read), device.put(tables), 77, 2**32 - 50, 1000, result)
    reference.dequantize_phased(read, tables, 77, 2**32 - 50, 1000, expected)
    equal(device.get(result), expected)


@pytest.mark.parametrize("pixels", [300, 303])
def test_dequantize_of_a_damaged_code_stays_within_the_table(device: Device, pixels: int) -> None:
    """In the pixels taken several at a time, and in the rest of a row."""
    codes, table = np.full((2, pixels), 255, np.uint8), np.arange(10, dtype=np.float64)
    result = device.empty(codes.shape, np.float64)
    device.kernels.dequantize(device.put(codes), device.put(table), result)
    assert (result.get() == 9).all()
    result = device.empty(codes.shape, np.float64)
    device.kernels.dequantize_phased(
        device.put(codes), device.put(np.stack([table] * 16)), 3, 0, pixels, result
    )
    assert (result.get() == 9).all()


@pytest.mark.parametrize("step", [0.5, 0.1, 1 / 3, 7.0])
def test_codes_from_labels(device: Device, step: float) -> None:
    k = np.concatenate([np.arange(-3000, 3000), [2**31 - 1, 1 - 2**31, 2**31, -(2**31), 2**40]]).astype(
        np.float64
    )
    labels = np.concatenate(
        [k * step, np.nextafter(k * step, np.inf)[::7], [np.nan, np.inf, -np.inf, -0.0, 1e300]]
    )
    result, expected = device.empty(labels.shape, np.int32), np.empty(labels.shape, np.int32)
    strange = device.kernels.codes_from_labels(device.put(labels, skew=1), step, result)
    assert strange == reference.codes_from_labels(labels, step, expected) > 0
    equal(result.get(), expected)


@pytest.mark.parametrize("codes", ["uint8", "uint16", "uint32"])
def test_checksum(device: Device, codes: str) -> None:
    read = full_range(codes, 3 * 1234).reshape(3, 1234)
    for first, stride, apart in ((0, 1234, 0), (17, 5000, 3), (2**32 - 5, 1234, 0), (2**33 + 1, 9, 0)):
        expected = reference.checksum(read, first, stride)
        assert device.kernels.checksum(device.put(read, apart=apart), first, stride) == expected
    for position in (0, 31, 32, 255, 256, 3701):
        changed = read.copy()
        changed.reshape(-1)[position] ^= 1
        assert device.kernels.checksum(device.put(changed), 0, 1234) != reference.checksum(read, 0, 1234)


@pytest.mark.parametrize("codes", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(7, 1003), (1, 1), (2, 255), (5, 257)])
def test_mean(device: Device, codes: str, shape: tuple[int, int]) -> None:
    rates = np.maximum(128 // np.arange(1, shape[0] + 1), 16).astype(np.int32)
    for read, first in (
        (full_range(codes, shape[0] * shape[1]).reshape(shape), 3),
        (np.zeros(shape, codes), 0),
        (np.zeros(shape, codes), 2 * (np.iinfo(codes).max + 1) - 1),  # as far away as weights allow
        # As far out as a predictor's constant may be: the mean moves by more than 32 bits hold.
        (full_range(codes, shape[0] * shape[1]).reshape(shape), -2 * (np.iinfo(codes).max + 1)),
    ):
        state = np.empty(shape[1], np.int32)
        residuals, result = np.empty(shape, codes), device.empty(shape, codes, apart=1)
        reference.predict_mean(read, rates, first, state, residuals)
        numbers = device.put(rates)
        device.kernels.predict_mean(device.put(read, apart=2), numbers, first, device.put(state), result)
        equal(device.get(result), residuals)
        restored = device.empty(shape, codes)
        device.kernels.restore_mean(device.put(residuals), numbers, first, device.put(state), restored)
        equal(restored.get(), read)


@pytest.mark.parametrize("codes", ["uint8", "uint16"])
@pytest.mark.parametrize(
    "shape",
    [
        (5, 6, 21),
        (1, 3, 4),
        (3, 1, 1),
        (4, 1, 7),
        (4, 9, 1),
        (9, 3, 5),
        (2, 18, 33),
        (10, 70, 20),
        (70, 9, 3),
    ],
)
@pytest.mark.parametrize("name", ["past", "full"])
def test_mixes(device: Device, codes: str, shape: tuple[int, int, int], name: str) -> None:
    _, rows, columns = shape
    for read, pairs, rates in mixes(codes, shape):
        weights = weights_of(name, pairs, shape[0])
        state = np.empty((3, rows + 2, columns + 2), np.int32)
        residuals, result = np.empty(shape, codes), device.empty(shape, codes)
        getattr(reference, f"predict_{name}")(read, weights, rates, state, residuals)
        parameters = (device.put(weights), device.put(rates), device.put(state))
        getattr(device.kernels, f"predict_{name}")(device.put(read), *parameters, result)
        equal(result.get(), residuals)
        restored = device.empty(shape, codes)
        getattr(device.kernels, f"restore_{name}")(device.put(residuals), *parameters, restored)
        equal(restored.get(), read)


def in_bands(device: Device, host: np.ndarray, bands: int, *, apart: int) -> tuple[Any, np.ndarray]:
    """Device frames ``(T, n)`` as views ``(bands, T, n / bands)`` of separate rows; and their twins here."""
    frames, pixels = host.shape
    there = device.put(host, apart=apart).reshape(frames, bands, pixels // bands).transpose(1, 0, 2)
    return there, host.reshape(frames, bands, -1).transpose(1, 0, 2)


@pytest.mark.parametrize("apart", [0, 7])
@pytest.mark.parametrize("shape, bands", [((1, 12), 3), ((4, 36), 3), ((3, 2080), 2), ((5, 34), 1)])
def test_several_bands_in_one_launch_are_as_one_by_one(
    device: Device, shape: tuple[int, int], bands: int, apart: int
) -> None:
    """To and from memory that is band after band; samples are numbered as in whole frames."""
    rng = np.random.default_rng(bands)
    frames, pixels = shape
    first, stride, per = 11, pixels + 3, pixels // bands
    values = rng.integers(0, 65536, shape).astype(np.uint16)
    there, here = in_bands(device, values, bands, apart=apart)
    luts = rng.integers(0, 256, (16, 65536)).astype(np.uint8)
    tables, model, _ = thresholds_for("uint16", True)

    def same(name: str, to: str, *arguments: Any, numbered: bool = False) -> np.ndarray:
        put = [device.put(a) if isinstance(a, np.ndarray) else a for a in arguments]
        result = device.empty((bands, frames * per), to).reshape(bands, frames, per)
        getattr(device.kernels, name)(there, *put, *((9, first, stride) if numbered else ()), result)
        expected = np.empty((bands, frames, per), to)
        for b in range(bands):
            numbers = (9, first + b * per, stride) if numbered else ()
            getattr(reference, name)(np.ascontiguousarray(here[b]), *arguments, *numbers, expected[b])
        equal(result.get(), expected)
        return expected

    codes = same("quantize_lut", "uint8", luts[0])
    same("quantize_lut_phased", "uint8", luts, numbered=True)
    same("subtract", "uint32", 5)
    same("quantize_thresholds", "uint16", tables[0], model, 0)
    same("quantize_thresholds_phased", "uint16", tables, model, numbered=True)
    banded = device.put(codes.reshape(bands, -1)).reshape(bands, frames, per)
    total = sum(reference.checksum(codes[b], first + b * per, stride) for b in range(bands))
    assert device.kernels.checksum(banded, first, stride) == total % (1 << 64)
    # Back into frames, of which other bands are a part.
    back = device.empty(shape, "uint16", apart=apart)
    view = back.reshape(frames, bands, per).transpose(1, 0, 2)
    table = np.arange(256, dtype=np.uint16) * 3
    device.kernels.dequantize(banded, device.put(table), view)
    equal(device.get(back), table[codes.transpose(1, 0, 2).reshape(shape)])
    rates, state = np.full(frames, 40, np.int32), np.empty(3 * (per + 2) * 3, np.int32)
    residuals, result = np.empty_like(codes), device.empty(codes.shape, "uint8")
    for b in range(bands):
        reference.predict_mean(codes[b], rates, 7, state, residuals[b])
    device.kernels.predict_mean(banded, device.put(rates), 7, device.put(state), result)
    equal(result.get(), residuals)
    restored = device.empty(codes.shape, "uint8")
    device.kernels.restore_mean(result, device.put(rates), 7, device.put(state), restored)
    equal(restored.get(), codes)


@pytest.mark.parametrize("name", ["past", "full"])
@pytest.mark.parametrize("band", [1, 2, 5, 7, 20])
def test_bands_are_what_the_twins_take_one_at_a_time(device: Device, name: str, band: int) -> None:
    shape = _, rows, columns = (4, 7, 9)
    for read, pairs, rates in list(mixes("uint8", shape))[:2]:
        weights = weights_of(name, pairs, shape[0])
        pieces = [read[:, first : first + band] for first in range(0, rows, band)]
        expected = []
        for piece in pieces:
            residuals = np.empty(piece.shape, np.uint8)
            state = np.empty((3, piece.shape[1] + 2, columns + 2), np.int32)
            getattr(reference, f"predict_{name}")(
                np.ascontiguousarray(piece), weights, rates, state, residuals
            )
            expected.append(residuals.reshape(-1))
        banded = np.concatenate([np.ascontiguousarray(piece).reshape(-1) for piece in pieces]).reshape(shape)
        parameters = (device.put(weights), device.put(rates), device.empty((2, rows, columns), np.int32))
        result, restored = device.empty(shape, np.uint8), device.empty(shape, np.uint8)
        getattr(device.kernels, f"predict_{name}")(device.put(banded), *parameters, result, band_rows=band)
        equal(result.get().reshape(-1), np.concatenate(expected))
        getattr(device.kernels, f"restore_{name}")(result, *parameters, restored, band_rows=band)
        equal(restored.get(), banded)


def test_what_cannot_be_launched_is_refused(device: Device) -> None:
    kernels, put = device.kernels, device.put
    codes = put(np.zeros((4, 6), np.uint8))
    with pytest.raises(TypeError, match=r"codes is a numpy\.ndarray; a cupy\.ndarray is needed"):
        kernels.checksum(np.zeros((2, 3), np.uint8), 0, 3)
    with pytest.raises(TypeError, match="codes is float64; allowed are uint8, uint16, uint32"):
        kernels.checksum(put(np.zeros((2, 3))), 0, 3)
    with pytest.raises(ValueError, match="frames must be contiguous"):
        kernels.checksum(codes[:, ::2], 0, 3)
    with pytest.raises(ValueError, match="frames must follow each other"):
        kernels.checksum(codes[::-1], 0, 6)
    with pytest.raises(ValueError, match="differ"):
        kernels.dequantize(codes, put(np.zeros(256)), device.empty((4, 5), np.float64))
    with pytest.raises(TypeError, match="out is float32; allowed are float64"):
        kernels.dequantize(codes, put(np.zeros(256)), device.empty((4, 6), np.float32))
    with pytest.raises(ValueError, match="do not fit codes"):
        kernels.predict_past(
            put(np.zeros((4, 2, 3), np.uint8)),
            put(np.zeros((2, 11), np.int32)),
            put(np.zeros(3, np.int32)),
            put(np.zeros(12, np.int32)),
            device.empty((4, 2, 3), np.uint8),
        )
    kernels.checksum(codes, 0, 6)


def test_an_array_of_another_device_is_refused() -> None:
    with standin.installed(0, devices=2):
        import cupy

        from photon_gpu.kernels import cuda

        codes = cupy.asarray(np.zeros((4, 6), np.uint8))
        with (
            cupy.cuda.Device(1),
            pytest.raises(ValueError, match="codes lies on GPU 0, and GPU 1 is the current"),
        ):
            cuda.checksum(codes, 0, 6)


BROKEN = """
#define THREADS 256
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)
KERNEL half_a_barrier(int* out) { if (threadIdx.x < 100) __syncthreads(); out[0] = 1; }
KERNEL two_barriers(int* out) { if (threadIdx.x < 100) __syncthreads(); else
    __syncthreads(); }
KERNEL half_a_shuffle(int* out) { if (threadIdx.x % 32 < 16) out[0] = __shfl_down_sync(0xffffffffu, 1, 1); }
KERNEL too_much_shared(int* out) { SHARED(double, a, 7000); a[0] = 1; }
KERNEL fine(int* out, unsigned n) { SHARED(int, a, 256); a[255 - threadIdx.x] = n; __syncthreads();
    out[threadIdx.x] = a[threadIdx.x]; }
"""


def test_the_shim_sees_what_a_gpu_would_not_forgive() -> None:
    broken: HostModule = host_module(BROKEN)
    out = np.zeros(256, np.int32)
    at = out.ctypes.data
    for name, message in (
        ("half_a_barrier", "a barrier that not all threads of a block reach"),
        ("two_barriers", "threads at different barriers"),
        ("half_a_shuffle", "a shuffle that not all lanes of a warp reach"),
        ("too_much_shared", "more than 48 KiB"),
    ):
        with pytest.raises(HostLaunchError, match=message):
            broken.launch(name, (1,), (256,), [at])
    for grid, block, message in (
        ((0,), (256,), "invalid grid"),
        ((1, 70000), (256,), "invalid grid"),
        ((1,), (512,), "512 threads"),
        ((1,), (0,), "0 threads"),
    ):
        with pytest.raises(HostLaunchError, match=message):
            broken.launch("fine", grid, block, [at, np.uint32(3)])
    for arguments, message in (
        ([at], "1 arguments, the kernel takes 2"),
        ([at, np.int32(3)], "is i4, the kernel takes u4"),
        ([at, np.uint64(3)], "is u8"),
        ([np.uint64(at), np.uint32(3)], "is u8, the kernel takes P8"),
        ([at, 3.0], "is a float"),
    ):
        with pytest.raises(HostLaunchError, match=message):
            broken.launch("fine", (1,), (256,), arguments)
    broken.launch("fine", (2,), (256,), [at, np.uint32(3)])
    assert (out == 3).all()
