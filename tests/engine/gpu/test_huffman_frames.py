"""Blosc frames that a GPU finishes or opens, on a strict stand-in for CuPy. No GPU code is run.

Stores are compared, byte for byte, with those of the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec import blosc
from photon_gpu.engine.codec.blosc import huffman
from photon_gpu.engine.codec.blosc.frame import join_frames
from photon_gpu.engine.codec.requested_part import ChunkPart
from photon_gpu.engine.runtime.buffers import bytes_of
from photon_gpu.errors import CorruptDataError
from photon_gpu.kernels.zstd_huffman import cpu
from tests.support.cuda import cupy_standin as standin
from tests.support.cuda.gpu_movies import NOISE, SORTED, THREE_BANDS, both, movie

HUFFMAN = "zstd-1-noshuffle-65536"


@pytest.fixture
def machine() -> Iterator[standin.Machine]:
    with standin.installed(1) as machine:
        yield machine
        assert machine.launched, standin.NOTICE


def kernels_of(machine: standin.Machine) -> set[str]:
    return {name for _, name in machine.launched}


def noisy(brightest: float = 0, shape: tuple[int, ...] = THREE_BANDS) -> np.ndarray:
    """Photons of even light, whose residuals hardly repeat."""
    rng = np.random.default_rng(5)
    values = 20 + 2.3 * rng.poisson(30, shape) + rng.normal(0, 2, shape)
    values[0, 0, 0] = max(brightest, values[0, 0, 0])
    return values.astype(np.float32)


@pytest.mark.parametrize(
    "predictor, step, brightest, kernel",
    [
        ("none", 0.5, 0, "pack_u8"),
        ("mean", 0.2, 60_000, "join_escapes_u16"),
        (SORTED[1], 0.5, 0, "sort_levels_u8"),
    ],
)
def test_finished_frames_come_down(
    machine: standin.Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    predictor: str | pg.Predictor,
    step: float,
    brightest: float,
    kernel: str,
) -> None:
    """Codes of one byte, of two with escapes, and sorted ones; over whole bands and a partial one."""
    monkeypatch.setattr(cpu, "has_repeats", lambda _: False)  # as in movies that are larger
    values = noisy(brightest)
    options = {"layout": "compact", "predictor": predictor, "step": step, "compressor": HUFFMAN}
    both(tmp_path, values, values, **options)
    assert {kernel, "count_quarters", "plan_frames", "write_frames", "crc32"} <= kernels_of(machine)
    down = [copy.size for copy in machine.copied if copy.way == "down"]
    stored = (tmp_path / "cupy" / "0.0.0").stat().st_size
    assert down[-1] == stored + 4 and max(down) <= max(stored + 4, 1 << 16)  # the CRC is among them
    np.testing.assert_array_equal(pg.open(tmp_path / "cupy")[...], pg.open(tmp_path / "numba")[...])


def test_the_cpu_compresses_what_repeats_and_what_another_compressor_shall(
    machine: standin.Machine, tmp_path: Path
) -> None:
    for source, predictor, compressor in (
        (movie("float32", THREE_BANDS), "none", HUFFMAN),
        (movie("float32", THREE_BANDS), SORTED[0], HUFFMAN),
        (noisy(), "none", "zstd-1-bitshuffle-65536"),
        (noisy(), "none", "lz4-5-noshuffle"),
    ):
        machine.launched.clear()
        both(tmp_path, source, source, layout="compact", predictor=predictor, compressor=compressor)
        assert not {"plan_frames", "write_frames"} & kernels_of(machine)


def test_a_chunk_in_pieces_is_compressed_by_the_cpu(tmp_path: Path) -> None:
    values = np.tile(noisy(), (2, 1, 1))
    with standin.installed(2, memory=900_000) as machine:
        both(tmp_path, values, values, layout="compact", predictor="mean", compressor=HUFFMAN)
        assert "write_frames" not in kernels_of(machine)
        assert machine.peak[0] <= 900_000


FOUR_BLOCKS = (9, 70, 520)
"""Frames whose payload takes four Blosc blocks or more, in bands that end within segments of residuals."""


@pytest.mark.parametrize(
    "predictor, step, brightest, unpacked",
    [
        ("mean", 0.5, 0, "unpack_u8"),
        ("past", 0.2, 60_000, "unpack_u16"),
        ("moving", 0.5, 0, "unpack_u8"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_frames_are_opened_on_the_device(
    machine: standin.Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    predictor: str,
    step: float,
    brightest: float,
    unpacked: str,
    device: str,
) -> None:
    """Nothing but frames and tables goes up; several chunks, the last of which is short."""
    monkeypatch.setattr(cpu, "has_repeats", lambda _: False)
    values = noisy(brightest, (14, *FOUR_BLOCKS[1:]))
    options = {"layout": "compact", "predictor": predictor, "step": step, "compressor": HUFFMAN}
    pg.encode(values, tmp_path / "m", backend="numba", noise=NOISE, chunk_frames=9, check=False, **options)
    ours = pg.open(tmp_path / "m", backend="cupy", device=device)
    host = (lambda array: array.get()) if device == "gpu" else np.asarray
    expected = pg.open(tmp_path / "m", backend="numba")
    machine.launched.clear()
    machine.copied.clear()
    np.testing.assert_array_equal(host(ours.counts[:9]), expected.counts[:9])
    assert {"decode_blosc", unpacked} <= kernels_of(machine)
    up = [copy.size * copy.dtype.itemsize for copy in machine.copied if copy.way == "up"]
    stored = (tmp_path / "m" / "0.0.0").stat().st_size
    assert stored in up and sum(up) - stored < (1 << 18) + 4096  # the table of all samples is among them
    np.testing.assert_array_equal(host(ours[...]), expected[...])
    np.testing.assert_array_equal(host(ours.counts[3:12]), expected.counts[3:12])


@pytest.mark.parametrize(
    "predictor, compressor",
    [
        (SORTED[0], HUFFMAN),
        ("mean", "zstd-1-bitshuffle-65536"),
        ("mean", "lz4-5-noshuffle"),
        ("mean", "zstd-1-noshuffle-262144"),  # a frame of one block
    ],
)
def test_the_cpu_opens_what_a_device_cannot(
    machine: standin.Machine, tmp_path: Path, predictor: str | pg.Predictor, compressor: str
) -> None:
    values = noisy(0, FOUR_BLOCKS)
    both(
        tmp_path, values, values, layout="compact", predictor=predictor, compressor=compressor, chunk_frames=9
    )
    gpu = pg.open(tmp_path / "cupy", device="gpu").counts[...].get()
    np.testing.assert_array_equal(gpu, pg.open(tmp_path / "numba").counts[...])
    assert "decode_blosc" not in kernels_of(machine)


def test_a_frame_that_the_device_refuses_is_opened_by_the_cpu(
    machine: standin.Machine, tmp_path: Path
) -> None:
    """The first blocks hold Huffman codes only, and the others have matches; or bytes are damaged."""
    values = noisy(0, FOUR_BLOCKS)
    options = {"layout": "compact", "predictor": "mean", "compressor": HUFFMAN, "chunk_frames": 9}
    encoding = both(tmp_path, values, values, **options).encoding
    data = (tmp_path / "cupy" / "0.0.0").read_bytes()
    nbytes, size = blosc.frame_sizes(data)
    payload = blosc.decompress(data, nbytes)
    nothing = huffman.HuffmanTrial(np.empty(0, np.int64), np.empty(0, np.uint8))
    ours, whole = (
        huffman.huffman_frame(part, size, nothing).copy() for part in (payload[: 2 * size], payload)
    )
    others = np.frombuffer(blosc.compress(payload[2 * size :], encoding.compressor), np.uint8)
    mixed = bytes_of(join_frames([ours, others], nbytes))
    movie, gpu, part = (
        pg.open(tmp_path / "cupy", device="gpu"),
        get_backend("cupy").gpu,
        ChunkPart(FOUR_BLOCKS),
    )
    assert gpu is not None
    expected = pg.open(tmp_path / "numba").counts[...]
    for frame, refused in ((mixed, True), (whole.tobytes(), False)):
        machine.launched.clear()
        assert (gpu.decode_frame(frame, part, encoding, what="float32") is None) == refused
        assert "decode_blosc" in kernels_of(machine)
        np.testing.assert_array_equal(movie._layout.decode_on_gpu(frame, part, "float32").get(), expected)
    for at in range(0, whole.size, 2999):
        for flip in (1, 16, 128):
            damaged = whole.copy()
            damaged[at] ^= flip
            with pytest.raises(CorruptDataError):
                movie._layout.decode_on_gpu(damaged.tobytes(), part, "float32")


def test_a_chunk_in_pieces_is_opened_by_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "has_repeats", lambda _: False)
    values = noisy(0, FOUR_BLOCKS)
    options = {"layout": "compact", "predictor": "mean", "compressor": HUFFMAN, "chunk_frames": 9}
    pg.encode(values, tmp_path / "m", noise=NOISE, check=False, **options)
    expected = pg.open(tmp_path / "m").counts[...]
    with standin.installed(2, memory=1_500_000) as machine:
        np.testing.assert_array_equal(pg.open(tmp_path / "m", backend="cupy").counts[...], expected)
        assert machine.peak[0] <= 1_500_000
