"""On a real CUDA device: ``pytest -m gpu``. The same vectors and whole movies as the host runs have.

Deselected where there is none: nothing here is run in the ordinary test run.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.kernels import reference
from photon_gpu.kernels.zstd_huffman import cpu
from tests.support.cuda.gpu_movies import (
    ALIGNED_BANDS,
    NOISE,
    SORTED,
    THREE_BANDS,
    both,
    movie,
    read_in_parts,
    refuse_bad_input,
)
from tests.support.cuda.gpu_movies import DTYPES as MOVIE_DTYPES
from tests.support.cuda.kernel_vectors import (
    DTYPES,
    each_frame,
    every_value,
    full_range,
    mixes,
    packed,
    residuals_to_pack,
    sorted_by_level,
    thresholds_for,
    weights_of,
)
from tests.support.stores.huffman_bytes import BYTES, LENGTHS, LONG, altered, in_blosc, made

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cupy() -> Any:
    """The real CuPy, with a device; else the tests are skipped with the reason."""
    module = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        module.cuda.runtime.getDeviceCount()
        module.zeros(1)
    except Exception as error:  # CUDARuntimeError, or whatever a broken installation raises
        pytest.skip(f"no CUDA device can be used: {error}")
    return module


@pytest.fixture(scope="module")
def kernels(cupy: Any) -> Any:
    """The kernels on the current device."""
    import photon_gpu.kernels.cuda

    return photon_gpu.kernels.cuda


def equal(result: Any, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(result.get(), expected)


@pytest.mark.parametrize("name", BYTES)
def test_frames_of_huffman_codes(cupy: Any, name: str) -> None:
    from photon_gpu.kernels.zstd_huffman import cuda

    for size in (*LENGTHS[1:], *LONG, 3_000_000):
        data = made(name, size)
        for length, block in ((1 << 18, 1 << 15), (3000, 700)):
            out = cupy.zeros(cuda.most_blosc_bytes(size, length, block), np.uint8)
            frame = out[: cuda.encode_blosc(cupy.asarray(data), length, block, out)]
            expected = in_blosc(cpu, data, length, block)
            equal(frame, expected)
            cuda.crc32(frame, crc := cupy.zeros(1, np.uint32))
            assert int(crc.get()[0]) == zlib.crc32(expected)
            opened = cupy.zeros(size, np.uint8)
            if not expected[2] & 2:  # not stored as it is
                assert cuda.decode_blosc(frame, opened) == size
                equal(opened, data)


def test_damaged_frames_of_huffman_codes(cupy: Any) -> None:
    from photon_gpu.kernels.zstd_huffman import cuda

    rng = np.random.default_rng(6)
    whole = [in_blosc(cpu, made(name, 200_000), 60_000, 1 << 13) for name in ("half bytes", "deepest")]
    for trial in range(500):
        bad, expected = altered(whole[trial % 2], rng), np.empty(200_000, np.uint8)
        opened = cupy.zeros(200_000, np.uint8)
        refused = cpu.decode_blosc(bad, expected) < 0
        assert (cuda.decode_blosc(cupy.asarray(bad), opened) < 0) == refused
        if not refused:
            equal(opened, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_extent_and_thresholds(cupy: Any, kernels: Any, dtype: str) -> None:
    for count in (1, 257, 1_000_003):
        values = full_range(dtype, count)
        out, expected = cupy.zeros(3, dtype), np.zeros(3, dtype)
        kernels.extent(cupy.asarray(values), out)
        reference.extent(values, expected)
        equal(out, expected)
    for phased in (False, True):
        thresholds, model, inputs = thresholds_for(dtype, phased)
        code = "uint8" if thresholds.shape[-1] <= 256 else "uint16"
        extra = (3, 5, 1 << 20) if phased else (0,)
        out, expected = cupy.empty(inputs.shape, code), np.empty(inputs.shape, code)
        name = "quantize_thresholds" + "_phased" * phased
        device = [cupy.asarray(array) for array in (inputs, thresholds, model)]
        getattr(kernels, name)(*device, *extra, out)
        getattr(reference, name)(inputs, thresholds, model, *extra, expected)
        equal(out, expected)


@pytest.mark.parametrize("out", ["uint8", "uint16", "uint32", "float64"])
@pytest.mark.parametrize("skew", [0, 1, 8])
def test_lookups_of_every_input(cupy: Any, kernels: Any, out: str, skew: int) -> None:
    rng = np.random.default_rng(1)
    for dtype in ("uint8", "uint16"):
        patterns = np.append(np.zeros(skew, dtype), every_value(dtype))
        luts = rng.integers(0, 256, (16, every_value(dtype).size)).astype(out)
        unaligned = cupy.asarray(patterns)[skew:].reshape(1, -1)
        result = cupy.empty(patterns.size, out)[skew:].reshape(1, -1)
        kernels.quantize_lut(unaligned, cupy.asarray(luts[0]), result)
        equal(result, luts[0][patterns[skew:]].reshape(1, -1))
        kernels.quantize_lut_phased(unaligned, cupy.asarray(luts), 9, 77, 1000, result)
        expected = np.empty(result.shape, out)
        reference.quantize_lut_phased(patterns[skew:].reshape(1, -1), luts, 9, 77, 1000, expected)
        equal(result, expected)


def test_labels_and_checksum(cupy: Any, kernels: Any) -> None:
    labels = np.append(np.arange(-300_000, 300_000) * 0.1, [0.33, np.nan, np.inf, -0.0])
    out, expected = cupy.empty(labels.shape, np.int32), np.empty(labels.shape, np.int32)
    strange = reference.codes_from_labels(labels, 0.1, expected)
    assert kernels.codes_from_labels(cupy.asarray(labels), 0.1, out) == strange
    equal(out, expected)
    for dtype in ("uint8", "uint16", "uint32"):
        codes = full_range(dtype, 700_000).reshape(7, 100_000)
        assert kernels.checksum(cupy.asarray(codes), 5, 123_456) == reference.checksum(codes, 5, 123_456)


@pytest.mark.parametrize("codes", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(5, 6, 21), (1, 3, 4), (4, 1, 7), (4, 9, 1), (20, 33, 65)])
def test_predictors(cupy: Any, kernels: Any, codes: str, shape: tuple[int, int, int]) -> None:
    frames, rows, columns = shape
    for read, pairs, rates in mixes(codes, shape):
        state = np.empty((3, rows + 2, columns + 2), np.int32)
        for name in ("past", "full"):
            weights = weights_of(name, pairs, frames)
            parameters = [cupy.asarray(array) for array in (weights, rates, state)]
            residuals, result = np.empty(shape, codes), cupy.empty(shape, codes)
            getattr(reference, f"predict_{name}")(read, weights, rates, state, residuals)
            getattr(kernels, f"predict_{name}")(cupy.asarray(read), *parameters, result)
            equal(result, residuals)
            restored = cupy.empty(shape, codes)
            getattr(kernels, f"restore_{name}")(result, *parameters, restored)
            equal(restored, read)
        flat = read.reshape(frames, -1)
        residuals, result = np.empty(flat.shape, codes), cupy.empty(flat.shape, codes)
        reference.predict_mean(flat, rates, 7, state.reshape(-1), residuals)
        kernels.predict_mean(cupy.asarray(flat), parameters[1], 7, parameters[2], result)
        equal(result, residuals)
        kernels.restore_mean(
            result, parameters[1], 7, parameters[2], restored := cupy.empty(flat.shape, codes)
        )
        equal(restored, flat)


@pytest.mark.parametrize("codes", ["uint8", "uint16"])
@pytest.mark.parametrize("skew", [0, 1])
def test_packed_residuals(cupy: Any, kernels: Any, codes: str, skew: int) -> None:
    for residuals, segment in residuals_to_pack(codes):
        unaligned, size = cupy.asarray(np.append(np.zeros(skew, codes), residuals))[skew:], residuals.size
        nibbles, escapes, starts = packed(residuals, segment)
        rows, counts = cupy.zeros((starts.size - 1, segment), codes), cupy.zeros(starts.size - 1, np.int64)
        result = cupy.zeros(nibbles.size + skew, np.uint8)[skew:]
        kernels.pack(unaligned, segment, result, rows, counts)
        equal(result, nibbles)
        equal(counts, np.diff(starts))
        joined, out = cupy.zeros(escapes.size, codes), cupy.zeros(size + skew, codes)[skew:]
        kernels.join_escapes(rows, cupy.asarray(starts), joined)
        equal(joined, escapes)
        assert kernels.unpack(result, joined, cupy.asarray(starts), segment, out) == 0
        equal(out, residuals)
        altered, expected = np.full_like(nibbles, 255), np.empty(size, codes)
        strange = kernels.unpack(cupy.asarray(altered), joined, cupy.asarray(starts), segment, out)
        assert strange == reference.unpack(altered, escapes, starts, segment, expected)


@pytest.mark.parametrize("codes", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 6, 21), (7, 33, 300)])
def test_sorted_residuals(cupy: Any, kernels: Any, codes: str, shape: tuple[int, int, int]) -> None:
    for read, pairs, rates in mixes(codes, shape):
        weights = each_frame(pairs, shape[0])
        for levels in (2, 64, 255):
            ordered, places = sorted_by_level(read, weights, rates, levels)
            parameters = [
                cupy.asarray(array) for array in (weights, rates, np.zeros((2, *shape[1:]), np.int32))
            ]
            residuals, counts = cupy.zeros(shape, codes), cupy.zeros(levels, np.int64)
            kernels.predict_full(cupy.asarray(read), *parameters, residuals)
            kernels.count_levels(cupy.asarray(read), residuals, counts)
            equal(counts, places[1] - places[0])
            moved, result = cupy.asarray(places[0]), cupy.zeros(read.size, codes)
            kernels.sort_levels(cupy.asarray(read), residuals, moved, result)
            equal(result, ordered)
            equal(moved, places[1])


@pytest.mark.parametrize("layout", ["plain", "compact"])
@pytest.mark.parametrize("dtype", MOVIE_DTYPES)
@pytest.mark.parametrize("on_gpu", [False, True])
def test_stores_are_those_of_numba(cupy: Any, tmp_path: Path, dtype: str, layout: str, on_gpu: bool) -> None:
    values = movie(dtype, (130, 70, 93))
    both(tmp_path, cupy.asarray(values) if on_gpu else values, values, layout=layout, chunk_frames=20)
    cpu, gpu = pg.open(tmp_path / "cupy", backend="numba"), pg.open(tmp_path / "cupy", device="gpu")
    np.testing.assert_array_equal(gpu[...].get(), cpu[...])
    np.testing.assert_array_equal(gpu.counts[7:99:3].get(), cpu.counts[7:99:3])


@pytest.mark.parametrize("predictor", ["none", "mean", "past", "full", "spatial", "moving", *SORTED])
@pytest.mark.parametrize("step", [0.5, 0.02])
def test_every_predictor_over_several_bands(
    cupy: Any, tmp_path: Path, predictor: str | pg.Predictor, step: float
) -> None:
    for shape in (THREE_BANDS, ALIGNED_BANDS):
        values = movie("float32", shape)
        both(tmp_path, values, values, layout="compact", predictor=predictor, step=step)
        cpu, gpu = (pg.open(tmp_path / "cupy", backend=name) for name in ("numba", "cupy"))
        np.testing.assert_array_equal(gpu[...], cpu[...])


def test_many_chunks_through_few_slots(cupy: Any, tmp_path: Path) -> None:
    """Slots are used again and again while copies overlap: no chunk may see another's bytes."""
    values = np.random.default_rng(3).poisson(40, (600, 128, 128)).astype(np.uint16)
    both(tmp_path, values, values, layout="compact", chunk_frames=8)
    read = pg.open(tmp_path / "cupy", backend="cupy").counts[...]
    np.testing.assert_array_equal(read, pg.open(tmp_path / "numba", backend="numba").counts[...])


def _torch(host: np.ndarray) -> Any:
    return pytest.importorskip("torch").from_numpy(host).cuda()


def _jax(host: np.ndarray) -> Any:
    jax = pytest.importorskip("jax")
    return jax.device_put(host, jax.devices("gpu")[0])


def _numba(host: np.ndarray) -> Any:
    return pytest.importorskip("numba.cuda").to_device(host)


@pytest.mark.parametrize("put", [_torch, _jax, _numba])
def test_frames_of_other_libraries(cupy: Any, tmp_path: Path, put: Any) -> None:
    """By DLPack or ``__cuda_array_interface__``, from their real owners."""
    host = movie("float32", (12, 20, 33))
    report = both(tmp_path, put(host), host, backend="auto", layout="compact")
    assert report.backend == "cupy" and "on a GPU" in report.why
    assert {"kernel", "download"} <= set(report.stages) and "upload" not in report.stages


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_any_part_is_decoded_onto_the_gpu(cupy: Any, tmp_path: Path, layout: str) -> None:
    read_in_parts(cupy, tmp_path, layout, lambda array: array.get())


@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_every_other_frame(cupy: Any, tmp_path: Path, layout: str) -> None:
    host = movie("uint16", (12, 40, 1100))
    both(tmp_path, cupy.asarray(host)[::2], host[::2], layout=layout)


@pytest.mark.parametrize("predictor", ["past", "full", *SORTED])
def test_little_device_memory_takes_smaller_pieces(
    cupy: Any, tmp_path: Path, predictor: str | pg.Predictor
) -> None:
    """CuPy's pool is held to a few megabytes, which real drivers' refusals of memory come out as."""
    values = movie("uint16", (40, 256, 1100))
    pool = cupy.get_default_memory_pool()
    both(tmp_path, values, values, layout="compact", predictor=predictor)  # tables are there
    try:
        pool.free_all_blocks()
        pool.set_limit(size=pool.used_bytes() + (6 << 20))
        both(tmp_path, values, values, layout="compact", predictor=predictor, chunk_frames=40)
        read = pg.open(tmp_path / "cupy", backend="cupy").counts[...]
        pool.set_limit(size=1 << 20)  # slots that hold more give it back and cannot have it again
        with pytest.raises(pg.errors.BackendUnavailableError, match="out of memory even for"):
            pg.encode(values.astype(float), tmp_path / "none", backend="cupy", noise=NOISE, layout="compact")
    finally:
        pool.set_limit(size=0)
    np.testing.assert_array_equal(read, pg.open(tmp_path / "numba", backend="numba").counts[...])


def test_bad_input_is_refused(cupy: Any, tmp_path: Path) -> None:
    refuse_bad_input(cupy, tmp_path)
