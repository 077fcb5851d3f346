"""Blosc frames that a GPU finishes, on a strict stand-in for CuPy. No GPU code is run.

Stores are compared, byte for byte, with those of the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.kernels.zstd_huffman import cpu
from tests.support import cupy_standin as standin
from tests.support.gpu_movies import SORTED, THREE_BANDS, both, movie

HUFFMAN = "zstd-1-noshuffle-65536"


@pytest.fixture
def machine() -> Iterator[standin.Machine]:
    with standin.installed(1) as machine:
        yield machine
        assert machine.launched, standin.NOTICE


def kernels_of(machine: standin.Machine) -> set[str]:
    return {name for _, name in machine.launched}


def noisy(brightest: float = 0) -> np.ndarray:
    """Photons of even light, whose residuals hardly repeat."""
    rng = np.random.default_rng(5)
    values = 20 + 2.3 * rng.poisson(30, THREE_BANDS) + rng.normal(0, 2, THREE_BANDS)
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
    assert {kernel, "count_quarters", "plan_frames", "write_frames"} <= kernels_of(machine)
    down = [copy.size for copy in machine.copied if copy.way == "down"]
    stored = (tmp_path / "cupy" / "0.0.0").stat().st_size
    assert down[-1] == stored and max(down) <= max(stored, 1 << 16)
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
