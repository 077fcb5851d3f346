"""The backend cupy, host code and kernels, on a strict stand-in for CuPy. No GPU code is run.

What is compared is whole stores: those of ``cupy`` must be those of ``numba``, byte for byte.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine import backend_choice as backends
from photon_gpu.engine.codec.requested_part import ChunkPart
from photon_gpu.errors import (
    BackendUnavailableError,
    CorruptDataError,
    InvalidInputError,
)
from tests.support.cuda import cupy_standin as standin
from tests.support.cuda.gpu_movies import (
    _AROUND,
    ALIGNED_BANDS,
    DTYPES,
    NOISE,
    SORTED,
    THREE_BANDS,
    both,
    movie,
    read_in_parts,
    refuse_bad_input,
)


@pytest.fixture(params=[0, 1])
def machine(request: pytest.FixtureRequest) -> Iterator[standin.Machine]:
    with standin.installed(request.param) as machine:
        yield machine
        assert machine.launched, standin.NOTICE


@pytest.mark.parametrize("layout", ["plain", "compact"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(machine: standin.Machine, tmp_path: Path, dtype: str, layout: str) -> None:
    values = movie(dtype)
    report = both(tmp_path, values, values, layout=layout)
    assert report.backend == "cupy" and report.why == "requested by name"
    assert {"upload", "kernel", "download", "gpu"} <= set(report.stages)
    cpu, gpu = (pg.open(tmp_path / "cupy", backend=name) for name in ("numba", "cupy"))
    for key in (slice(None), slice(3, 9), 12, [11, 0, 4]):
        np.testing.assert_array_equal(gpu[key], cpu[key])
        np.testing.assert_array_equal(gpu.counts[key], cpu.counts[key])


@pytest.mark.parametrize("predictor", ["none", "mean", "past", "full", "spatial", "moving"])
@pytest.mark.parametrize("step, width", [(0.5, 1), (0.02, 2)])
def test_every_predictor_over_several_bands(
    machine: standin.Machine, tmp_path: Path, predictor: str, step: float, width: int
) -> None:
    values = movie("float32", THREE_BANDS)  # of which no exact values are stored
    report = both(
        tmp_path,
        values,
        values,
        layout="compact",
        predictor=predictor,
        step=step,
        compressor="zstd-1-noshuffle",
    )
    assert report.encoding.predictor.name == predictor
    cpu, gpu = (pg.open(tmp_path / "cupy", backend=name) for name in ("numba", "cupy"))
    np.testing.assert_array_equal(gpu[...], cpu[...])
    letters = {f"u{8 * width}"} if predictor != "none" else set()
    assert {name.rpartition("_")[2] for _, name in machine.launched if name.startswith("restore")} == letters


CODED = [
    pg.Predictor(name="full", levels=64, coded=True),
    pg.Predictor(name="spatial", levels=7, weights=_AROUND, coded=True),
    pg.Predictor(name="moving", levels=2, coded=True),
]


@pytest.mark.parametrize(
    "predictor", SORTED + CODED, ids=lambda fitted: f"{fitted.name}, {'coded' if fitted.coded else 'sorted'}"
)
@pytest.mark.parametrize("step, width", [(0.5, 1), (0.02, 2)])
def test_sorted_residuals_over_several_bands(
    machine: standin.Machine, tmp_path: Path, predictor: pg.Predictor, step: float, width: int
) -> None:
    values = movie("float32", THREE_BANDS)
    report = both(tmp_path, values, values, layout="compact", predictor=predictor, step=step)
    assert report.encoding.predictor.levels == predictor.levels
    assert f"sort_levels_u{8 * width}" in {name for _, name in machine.launched}
    cpu, gpu = (pg.open(tmp_path / "cupy", backend=name) for name in ("numba", "cupy"))
    np.testing.assert_array_equal(gpu[...], cpu[...])
    np.testing.assert_array_equal(gpu.counts[1:], cpu.counts[1:])


def test_bands_that_are_whole_segments_are_packed_at_once(machine: standin.Machine, tmp_path: Path) -> None:
    options = {"layout": "compact", "predictor": "mean", "chunk_frames": 8, "preset": "fast"}
    for shape, launches in ((ALIGNED_BANDS, 1), (THREE_BANDS, 3)):
        values = movie("float32", shape)
        both(tmp_path, values, values, **options)
        machine.launched.clear()  # those of warming up among them
        pg.encode(
            values, tmp_path / "again", backend="cupy", noise=NOISE, overwrite=True, check=False, **options
        )
        names = [name for _, name in machine.launched]
        assert sum(name.startswith("pack") for name in names) == launches
        assert sum(name.startswith("predict_mean") for name in names) == 2
        machine.launched.clear()
        counts = pg.open(tmp_path / "cupy", backend="cupy").counts[...]
        np.testing.assert_array_equal(counts, pg.open(tmp_path / "cupy", backend="numba").counts[...])
        assert sum(name.startswith("unpack") for _, name in machine.launched) == launches


def test_a_chunk_that_is_longer_packed_is_not_packed(machine: standin.Machine, tmp_path: Path) -> None:
    """Codes at random: every residual escapes, and none are packed."""
    values = np.random.default_rng(2).integers(0, 30_000, (6, 40, 530)).astype(np.uint16)
    for predictor in ("none", *SORTED, *CODED):
        both(
            tmp_path, values, values, layout="compact", predictor=predictor, step=0.02, noise=pg.NoiseModel()
        )
        for backend in ("numba", "cupy"):
            np.testing.assert_array_equal(
                pg.open(tmp_path / "cupy", backend=backend)[...], pg.open(tmp_path / "numba")[...]
            )
    assert not any(name.startswith("unpack") for _, name in machine.launched)


@pytest.mark.parametrize("predictor", ["past", *SORTED])
def test_half_of_the_bytes_come_down_and_go_up(
    machine: standin.Machine, tmp_path: Path, predictor: str | pg.Predictor
) -> None:
    """Residuals cross the bus two to a byte, and those of sorted ones go up as codes, restored on the CPU."""
    values = movie("uint16", (20, 70, 520))
    machine.copied.clear()
    both(
        tmp_path,
        values,
        values,
        layout="compact",
        predictor=predictor,
        chunk_frames=20,
        compressor="zstd-1-noshuffle",
    )
    down = sum(copy.size * copy.dtype.itemsize for copy in machine.copied if copy.way == "down")
    fitted = getattr(predictor, "name", "") == "moving"  # to all codes of the chunk, which come down for it
    assert (fitted + 0.5) * values.size <= down < (fitted + 0.6) * values.size
    machine.copied.clear()
    pg.open(tmp_path / "cupy", device="gpu").counts[...]
    up = sum(copy.size * copy.dtype.itemsize for copy in machine.copied if copy.way == "up")
    expected = 0.5 if predictor == "past" else 1.0
    assert expected * values.size <= up < (expected + 0.1) * values.size


@pytest.mark.parametrize(
    "options, change",
    [
        ({"dither": 7}, 1),
        ({"layout": "compact", "dither": 2**32 - 1}, 1),
        ({"layout": "compact", "step": 0.01}, 1_500),
        ({"layout": "plain", "step": 0.01}, 1_500),
        ({"layout": "compact", "noise": pg.NoiseModel(gain=500.0), "preset": "balanced"}, 1),
        ({"layout": "compact", "noise": pg.NoiseModel(), "preset": "small", "step": 0.1}, 1),
    ],
    ids=["dither", "dither compact", "32-bit codes", "32-bit labels", "few codes", "exact"],
)
def test_every_kind_of_code(
    machine: standin.Machine, tmp_path: Path, options: dict[str, Any], change: int
) -> None:
    values = movie("int32").clip(0) * change
    report = both(tmp_path, values, values, **options)
    if options.get("step") == 0.1:
        assert report.encoding.exact
    cpu, gpu = (pg.open(tmp_path / "cupy", backend=name) for name in ("numba", "cupy"))
    np.testing.assert_array_equal(gpu[...], cpu[...])
    np.testing.assert_array_equal(gpu.counts[...], cpu.counts[...])


@pytest.mark.parametrize("shape", [(1, 9, 7), (11, 1, 1), (6, 2, 3, 5, 8), (5, 33, 1)])
@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_every_shape(machine: standin.Machine, tmp_path: Path, shape: tuple[int, ...], layout: str) -> None:
    values = movie("uint16", shape)
    both(tmp_path, values, values, layout=layout, predictor="past" if layout == "compact" else None)


class Interface:
    """What PyTorch or Numba arrays look like: an address, shape, strides and type."""

    def __init__(self, array: Any) -> None:
        self._array, self.__cuda_array_interface__ = array, array.__cuda_array_interface__


class DLPack:
    """What JAX arrays look like."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self) -> Any:
        return self._array

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


@pytest.mark.parametrize("wrap", [lambda a: a, Interface, DLPack], ids=["cupy", "interface", "dlpack"])
@pytest.mark.parametrize("layout", ["plain", "compact"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_frames_on_a_gpu_are_never_sent_down_raw(
    machine: standin.Machine, tmp_path: Path, wrap: Any, layout: str, dtype: str
) -> None:
    import cupy

    host = movie(dtype, (12, 20, 33))
    report = both(tmp_path, wrap(cupy.asarray(host)), host, backend="auto", layout=layout, predictor=None)
    assert report.backend == "cupy" and "on a GPU" in report.why
    down = [copy for copy in machine.copied if copy.way == "down" and copy.size > 3]
    assert {copy.dtype for copy in down} == {np.dtype(np.uint8)} and sum(
        copy.size for copy in down
    ) >= host.size
    up = [copy.size for copy in machine.copied if copy.way == "up" and copy.dtype == host.dtype]
    assert up[0] == host.size and sum(up[1:]) < host.size  # our own asarray; then no frames, only the warm-up


def test_every_other_frame_of_a_gpu_array(machine: standin.Machine, tmp_path: Path) -> None:
    import cupy

    host = movie("uint16", (12, 40, 1100))
    for layout in ("plain", "compact"):
        both(tmp_path, cupy.asarray(host)[::2], host[::2], layout=layout)


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_decoding_onto_the_gpu(machine: standin.Machine, tmp_path: Path, layout: str) -> None:
    import cupy

    # Every stream has come to rest; views may have strides.
    read_in_parts(cupy, tmp_path, layout, lambda array: array._host.copy())


@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_two_gpus_share_the_chunks(tmp_path: Path, layout: str) -> None:
    values = movie("uint16", (40, 12, 13))
    with standin.installed(3, devices=2) as machine:
        both(tmp_path, values, values, layout=layout, chunk_frames=2)
        used = [copy.device for copy in machine.copied if copy.way == "up" and copy.size == 2 * 12 * 13]
        assert used.count(0) >= 4 and used.count(1) >= 4 and len(used) >= 20
        machine.copied.clear()
        both(tmp_path, values, values, backend="cupy:1", layout=layout)
        assert {copy.device for copy in machine.copied} == {1}


@pytest.mark.parametrize(
    "layout, predictor, memory",
    [("plain", None, 500_000), ("compact", None, 1_150_000), ("compact", SORTED[0], 1_400_000)],
)
@pytest.mark.parametrize("workers, dither", [(1, 9), (4, None)])
def test_a_small_gpu_takes_smaller_pieces(
    tmp_path: Path,
    layout: str,
    predictor: pg.Predictor | None,
    memory: int,
    workers: int,
    dither: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    values = movie("uint16", (10, 40, 1100))
    memory += 0 if dither is None else 1 << 20  # for sixteen lookup tables
    with standin.installed(2, memory=memory) as machine:
        options = {"layout": layout, "predictor": predictor, "dither": dither}
        both(tmp_path, values, values, workers=workers, chunk_frames=5, **options)
        assert "GPU 0 has no memory for a piece of" in caplog.text  # in the logger photon_gpu
        sizes = [copy.size for copy in machine.copied if copy.way == "up" and copy.dtype == np.uint16]
        assert any(1000 < size < 5 * 40 * 1100 for size in sizes) and machine.peak[0] <= memory
        movie_on_cpu, on_gpu = pg.open(tmp_path / "cupy"), pg.open(tmp_path / "cupy", backend="cupy")
        np.testing.assert_array_equal(on_gpu[3:5], movie_on_cpu[3:5])
        np.testing.assert_array_equal(on_gpu.counts[...], movie_on_cpu.counts[...])
    with (
        standin.installed(2, memory=100_000),
        pytest.raises(BackendUnavailableError, match="out of memory even for"),
    ):
        pg.encode(values, tmp_path / "none", backend="cupy", layout=layout, noise=NOISE)
    assert "tried again when other chunks are done" in caplog.text
    assert not (tmp_path / "none" / ".zarray").exists()


def test_copies_of_one_chunk_run_among_those_of_another(tmp_path: Path) -> None:
    """Three slots, so that while one chunk comes down others go up."""
    values = movie("uint16", (40, 30, 41))
    overlapped = 0
    for seed in range(4):
        with standin.installed(seed) as machine:
            pg.encode(
                values,
                tmp_path / "m",
                backend="cupy",
                noise=NOISE,
                chunk_frames=4,
                workers=4,
                overwrite=True,
                compressor="zstd-1-shuffle",
            )
            size = 4 * 30 * 41
            ways = [way for way, count in machine.ran if count == size]
            assert all(copy.pinned for copy in machine.copied if copy.size == size)
            assert ways.count("up") == ways.count("down") == 10
            overlapped += "upup" in "".join(ways)
    assert overlapped


def test_copies_and_kernels_are_timed_apart(tmp_path: Path) -> None:
    """By events of the device, whose clock is the stand-in's here: it counts events."""
    from photon_gpu.engine.backend_choice import get_backend
    from photon_gpu.engine.runtime.stopwatch import Stages

    values = movie("uint16", (5, 40, 600))
    with standin.installed(0) as machine:
        import cupy

        report = pg.encode(
            values,
            tmp_path / "movie",
            backend="cupy",
            layout="compact",
            chunk_frames=5,
            noise=pg.NoiseModel(),
            check=False,
        )
        gpu = get_backend("cupy").gpu
        assert gpu is not None
        for frames in (values, cupy.asarray(values)):
            stages = Stages()
            before = machine.clock
            gpu.encode(frames, values.shape, report.encoding, stages=stages)
            device = {name: stages.seconds.pop(name, 0.0) * 1e6 for name in ("upload", "kernel", "download")}
            assert (device["upload"] > 0) == isinstance(frames, np.ndarray)
            assert device["kernel"] > 0 and device["download"] > 0
            assert sum(device.values()) <= machine.clock - before
            assert list(stages.seconds) == ["gpu"] and stages.seconds["gpu"] >= 0


def test_what_cannot_be_encoded_is_told_as_by_numba(machine: standin.Machine, tmp_path: Path) -> None:
    import cupy

    strange, negative = movie("float32", (12, 20, 30)), movie("int16", (12, 20, 30)).clip(0)
    strange[7, 3, 4], strange[7, 3, 5] = np.nan, np.inf
    negative[8, 2, 1], negative[9, 0, 0] = -3, -3
    for values, noise in ((strange, NOISE), (negative, pg.NoiseModel())):
        messages = []
        for source, name in ((values, "numba"), (values, "cupy"), (cupy.asarray(values), "cupy")):
            with pytest.raises(InvalidInputError) as error:
                pg.encode(
                    source,
                    tmp_path / "m",
                    backend=name,
                    noise=noise,
                    chunk_frames=5,
                    workers=1,
                    overwrite=True,
                    compressor="zstd-1-shuffle",
                    check=False,
                    trust_noise=True,
                )
            messages.append(str(error.value))
        assert messages[0] == messages[1] == messages[2]
        assert "frame 7, pixel (3, 4)" in messages[0] or "frame 8, pixel (2, 1)" in messages[0]


@pytest.mark.parametrize("predictor", ["mean", *SORTED])
@pytest.mark.parametrize("step", [0.5, 0.02])
def test_damage_is_found(
    machine: standin.Machine, tmp_path: Path, predictor: str | pg.Predictor, step: float
) -> None:
    from photon_gpu.engine.backend_choice import get_backend
    from photon_gpu.engine.codec import blosc
    from photon_gpu.engine.codec import chunk as coder
    from photon_gpu.engine.codec.header import unpack
    from photon_gpu.engine.runtime.stopwatch import Stages

    values = movie("uint16", (13, 21, 31))  # an odd number of pixels: half of the last byte is not used
    options = {"layout": "compact", "predictor": predictor, "step": step, "compressor": "zstd-1-noshuffle"}
    report = both(tmp_path, values, values, **options)
    store = tmp_path / "cupy"
    data = (store / "1.0.0").read_bytes()
    nbytes, _ = blosc.frame_sizes(data)
    payload = blosc.decompress(data, nbytes, map)
    gpu = get_backend("cupy").gpu
    assert gpu is not None
    chunk = (5, 21, 31)
    np.testing.assert_array_equal(
        gpu.encode(values[5:10], chunk, report.encoding, first_frame=5, stages=Stages()), payload
    )
    expected = coder.decode(payload, ChunkPart(chunk), report.encoding, get_backend("numba"))
    np.testing.assert_array_equal(gpu.decode(payload, ChunkPart(chunk), report.encoding), expected)
    header, body = unpack(payload)
    last = header.nbytes + body.places.band_bytes(0).stop - 1
    for position in (*range(header.nbytes, payload.size, 41), last, payload.size - 1):
        for flip in (1, 16, 128):
            damaged = payload.copy()
            damaged[position] ^= flip
            with pytest.raises(CorruptDataError, match="checksum|its header describes|add up"):
                gpu.decode(damaged, ChunkPart(chunk), report.encoding)


def test_bad_input_of_gpus(machine: standin.Machine, tmp_path: Path) -> None:
    import cupy

    refuse_bad_input(cupy, tmp_path)


def test_an_array_on_a_gpu_that_the_backend_leaves_out(tmp_path: Path) -> None:
    with standin.installed(0, devices=2):
        import cupy

        with cupy.cuda.Device(1):
            array = cupy.asarray(movie("uint16"))
        with pytest.raises(InvalidInputError, match="the frames are on GPU 1, but this backend uses GPU 0"):
            pg.encode(array, tmp_path / "m", backend="cupy:0", noise=NOISE)
        both(tmp_path, array, movie("uint16"), backend="cupy:1")
        both(tmp_path, array, movie("uint16"), backend="auto")


def test_a_gpu_that_computes_wrong_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with standin.installed(0):
        import photon_gpu.kernels.cuda as kernels

        monkeypatch.setattr(kernels, "checksum", lambda *_: 12)
        with pytest.raises(BackendUnavailableError, match="computes a checksum of 0xc where the CPU has"):
            pg.encode(movie("uint16"), tmp_path / "m", backend="cupy", noise=NOISE)


def test_a_gpu_that_fails_on_the_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with standin.installed(0) as machine:
        backends.get_backend("cupy")

        def lost(self: Any, event: Any) -> None:
            raise standin.CUDARuntimeError("cudaErrorECCUncorrectable: uncorrectable ECC error encountered")

        monkeypatch.setattr(standin.Stream, "wait_event", lost)
        with pytest.raises(
            BackendUnavailableError, match=r"GPU 0 failed \(cudaErrorECCUncorrectable.*'numba' works"
        ):
            pg.encode(movie("uint16"), tmp_path / "m", backend="cupy", noise=NOISE)
        assert machine.launched and not (tmp_path / "m" / ".zarray").exists()


def _broken_cupy(**wrong: Any) -> types.ModuleType:
    fake = types.ModuleType("cupy")
    fake.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(**wrong))  # type: ignore[attr-defined]
    return fake


def _raises(message: str) -> Any:
    def call() -> int:
        raise RuntimeError(message)

    return call


@pytest.mark.parametrize(
    "cupy, message",
    [
        (None, r"needs CuPy, which is not installed; pip install 'photon-gpu\[cu12\]'"),
        (
            _broken_cupy(
                getDeviceCount=_raises("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
            ),
            "the CUDA driver is missing, or older than CuPy's CUDA: update it",
        ),
        (
            _broken_cupy(getDeviceCount=_raises("cudaErrorNoDevice: no CUDA-capable device")),
            "is a CUDA device present",
        ),
        (_broken_cupy(getDeviceCount=lambda: 0), "is CUDA_VISIBLE_DEVICES empty"),
    ],
    ids=["no cupy", "old driver", "no device", "hidden"],
)
def test_no_usable_gpu_is_told_with_a_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cupy: Any, message: str
) -> None:
    backends._gpu_backend.cache_clear()
    if cupy is None:
        monkeypatch.setattr(sys, "meta_path", [_Absent(), *sys.meta_path])
        for name in [name for name in sys.modules if name.partition(".")[0] == "cupy"]:
            monkeypatch.delitem(sys.modules, name)
    else:
        monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(BackendUnavailableError, match=message):
        pg.encode(movie("uint16"), tmp_path / "m", backend="cupy", noise=NOISE)
    report = pg.encode(movie("uint16"), tmp_path / "m", noise=NOISE)
    assert report.backend == "numba" and "frames are in host memory" in report.why


class _Absent:
    """An import system without CuPy."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "cupy":
            raise ModuleNotFoundError("No module named 'cupy'", name="cupy")


def test_a_cupy_for_another_cuda_is_told_with_a_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "cupy"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise ImportError('libcudart.so.11.0: cannot open shared object file')"
    )
    backends._gpu_backend.cache_clear()
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "cupy"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(BackendUnavailableError, match=r"libcudart\.so\.11\.0.*must match the machine's CUDA"):
        backends.get_backend("cupy")


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
def test_the_real_cupy_without_a_device_is_told() -> None:
    import cupy

    if cupy.cuda.is_available():
        pytest.skip("there is a CUDA device; tests/engine/gpu/test_on_gpu.py runs on it")
    backends._gpu_backend.cache_clear()
    with pytest.raises(BackendUnavailableError, match="no CUDA device can be used"):
        backends.get_backend("cupy")


def test_the_benchmark_calls_every_kernel_as_it_is_called(
    machine: standin.Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it times cannot be timed here; that it runs can be seen."""
    import cupy

    from benchmarks import gpu
    from photon_gpu.kernels import cuda_launch
    from tests.support.cuda.on_cpu import host_module

    monkeypatch.setattr(gpu, "milliseconds", lambda _, work: (work(), 1.0)[1])
    rows = gpu.kernel_figures(cupy, 3, 40)
    ran, every = (
        {re.sub(r"(_[iuf]\d+)+$", "", name) for name in names}
        for names in ([name for _, name in machine.launched], host_module(cuda_launch.source()).names)
    )
    assert every == ran
    assert len({row["kernel"] for row in rows}) == len(rows) == 23


def test_the_benchmark_refuses_without_a_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import gpu

    monkeypatch.setitem(sys.modules, "cupy", _broken_cupy(getDeviceCount=_raises("cudaErrorNoDevice")))
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu"])
    assert gpu.main() == 2
    out, err = capsys.readouterr()
    assert not out and "gives no figure without one" in err and "cudaErrorNoDevice" in err


@pytest.mark.parametrize("dither", [None, 3])
@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_channels_with_a_model_each(
    machine: standin.Machine, tmp_path: Path, layout: str, dither: int | None
) -> None:
    values = np.stack([movie("int16"), movie("int16") * 3 + 7], 1)
    models = [NOISE, pg.NoiseModel(gain=6.9, offset=67.0, variance=36.0)]
    both(tmp_path, values, values, layout=layout, noise=models, axes="tcyx", dither=dither)
    cpu, gpu = (pg.open(tmp_path / "cupy", backend=name) for name in ("numba", "cupy"))
    for key in (slice(None), slice(3, 9), (slice(2, 7), 1, slice(4, 9))):
        np.testing.assert_array_equal(gpu[key], cpu[key])
        np.testing.assert_array_equal(gpu.counts[key], cpu.counts[key])
    np.testing.assert_array_equal(gpu.channel(1).counts[...], cpu.counts[:, 1])
