"""The backend cupy, host code and kernels, on a strict stand-in for CuPy. No GPU code is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import photon_gpu as pg
from tests.cuda_host import standin

NOISE = pg.NoiseModel(gain=2.3, offset=20.0, variance=4.0)


def movie(dtype: str, shape: tuple[int, ...] = (13, 20, 31)) -> np.ndarray:
    """Photons on a gradient, in the units of NOISE."""
    rng = np.random.default_rng(5)
    light = np.linspace(0.5, 60, shape[-1]) * np.ones(shape)
    values = 20 + 2.3 * rng.poisson(light) + rng.normal(0, 2, shape)
    if dtype in ("int8", "uint8"):
        values = values / 2
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    return (np.clip(np.rint(values), max(info.min, -5), info.max) if info else values).astype(dtype)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def both(tmp_path: Path, source: Any, host: np.ndarray, **options: Any) -> tuple[Path, pg.EncodeReport]:
    """Encode by numba and by cupy; the stores must be the same, byte for byte."""
    options = {"noise": NOISE, "chunk_frames": 5, **options}
    pg.encode(host, tmp_path / "numba", backend="numba", **options)
    report = pg.encode(source, tmp_path / "cupy", backend=options.pop("backend", "cupy"), **options)
    assert files(tmp_path / "cupy") == files(tmp_path / "numba")
    return tmp_path / "cupy", report


@pytest.fixture(params=[0, 1])
def machine(request: pytest.FixtureRequest) -> Iterator[standin.Machine]:
    with standin.installed(request.param) as machine:
        yield machine


@pytest.mark.parametrize("layout", ["plain", "compact"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_stores_are_those_of_numba(machine: standin.Machine, tmp_path: Path, dtype: str, layout: str) -> None:
    values = movie(dtype)
    store, report = both(tmp_path, values, values, layout=layout, preset="fast")
    assert report.backend == "cupy" and machine.launched, standin.NOTICE
    cpu, gpu = pg.open(store, backend="numba"), pg.open(store, backend="cupy")
    for key in (slice(None), slice(3, 9), 12, [11, 0, 4]):
        np.testing.assert_array_equal(gpu[key], cpu[key])
        np.testing.assert_array_equal(gpu.counts[key], cpu.counts[key])
