"""Movies and checks that the stand-in and a real GPU share."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import (
    InvalidInputError,
    UnsupportedTypeError,
)

NOISE = pg.NoiseModel(gain=2.3, offset=20.0, variance=4.0)


DTYPES = ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]


THREE_BANDS = (3, 70, 520)
"""Two whole bands of 32 rows and a partial band."""


def movie(dtype: str, shape: tuple[int, ...] = (13, 20, 31)) -> np.ndarray:
    """Make photons on a gradient, in the units of NOISE."""
    rng = np.random.default_rng(5)
    light = np.linspace(0.5, 60, shape[-1]) * np.ones(shape)
    values = 20 + 2.3 * rng.poisson(light) + rng.normal(0, 2, shape)
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    info = np.iinfo(dtype)
    return np.clip(np.rint(values), max(info.min, -5), info.max).astype(dtype)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def both(
    tmp_path: Path, source: Any, host: np.ndarray, backend: str = "cupy", **options: Any
) -> pg.EncodeReport:
    """Check that numba and cupy encode the same store, byte for byte."""
    # Bytes are compared; the check would refuse values that no camera gives.
    unchecked = {"check": False, "trust_noise": True}
    options = {"noise": NOISE, "chunk_frames": 5, "preset": "fast", **unchecked, **options}
    pg.encode(host, tmp_path / "numba", backend="numba", overwrite=True, **options)
    report = pg.encode(source, tmp_path / "cupy", backend=backend, overwrite=True, **options)
    assert files(tmp_path / "cupy") == files(tmp_path / "numba")
    return report


_AROUND = ((0,) * 6 + (105, 100, -45, 92, 90), (256,) + (0,) * 10)


ALIGNED_BANDS = (8, 70, 512)
"""The same, with bands that are whole segments of packed residuals."""


SORTED = [
    pg.Predictor(name="full", levels=64),
    pg.Predictor(name="spatial", levels=7, weights=_AROUND),
    pg.Predictor(name="moving", levels=64),
]


def read_in_parts(cupy: Any, tmp_path: Path, layout: str, fetched: Callable[[Any], np.ndarray]) -> None:
    """Check that the GPU decodes any part of a movie as the CPU does; ``fetched`` copies it to the host."""
    values = movie("uint16")
    for dither in (None, 5):
        pg.encode(
            values, tmp_path / "m", layout=layout, noise=NOISE, chunk_frames=5, dither=dither, overwrite=True
        )
        cpu, gpu = pg.open(tmp_path / "m"), pg.open(tmp_path / "m", device="gpu")
        points = ([11, 0, 11], slice(None), [3, 1, 2]), (5, slice(None), [0, 2]), (slice(3), 2, None, [4, 4])
        for key in (
            slice(None),
            slice(3, 9),
            12,
            [11, 0, 4],
            (slice(2, 8), 3, slice(4, 9)),
            slice(0, 0),
            *points,
        ):
            for decoded, expected in (
                (gpu[key], cpu[key]),
                (gpu.counts[key], cpu.counts[key]),
                (gpu.counts.astype("float32")[key], cpu.counts.astype("float32")[key]),
            ):
                assert isinstance(decoded, cupy.ndarray) and decoded.dtype == expected.dtype
                np.testing.assert_array_equal(fetched(decoded), expected)


def refuse_bad_input(cupy: Any, tmp_path: Path) -> None:
    """Check that movies which a GPU cannot encode are refused with a reason, on a real device too."""
    host = movie("uint16")
    array = cupy.asarray(host)
    encode = {"noise": NOISE, "overwrite": True}
    with pytest.raises(InvalidInputError, match=r"GPU 3 is out of range, this machine has 0 to 0"):
        pg.encode(host, tmp_path / "m", backend="cupy:3", **encode)
    with pytest.raises(InvalidInputError, match="write the numbers of GPUs as in 'cupy:0'"):
        pg.encode(host, tmp_path / "m", backend="cupy:first", **encode)
    with pytest.raises(InvalidInputError, match="allowed are auto, numba, cupy, numpy"):
        pg.encode(host, tmp_path / "m", backend="cuda", **encode)
    with pytest.raises(InvalidInputError, match=r"frames\.get\(\)"):
        pg.encode(array, tmp_path / "m", backend="numba", **encode)
    with pytest.raises(InvalidInputError, match="layout 'lossless' stores raw frames"):
        pg.encode(array, tmp_path / "m", layout="lossless", **encode)
    with pytest.raises(InvalidInputError, match="check=.full. compares every pixel"):
        pg.encode(array, tmp_path / "m", check="full", **encode)
    for wrong in (array[:, ::2], array[:, :, ::3], array[:, :, :30], array[::-1]):
        with pytest.raises(InvalidInputError, match=r"pass cupy\.ascontiguousarray\(frames\)"):
            pg.encode(wrong, tmp_path / "m", **encode)
    with pytest.raises(UnsupportedTypeError, match="complex64"):
        pg.encode(cupy.asarray(np.zeros((3, 4, 5), np.complex64)), tmp_path / "m", **encode)
    elsewhere = types.SimpleNamespace(
        __cuda_array_interface__={**array.__cuda_array_interface__, "data": (64, False)}, __dlpack__=None
    )
    with pytest.raises(UnsupportedTypeError, match="CuPy cannot share its memory"):
        pg.encode(elsewhere, tmp_path / "m", **encode)
    pg.encode(host, tmp_path / "m", backend="numba", **encode)
    with pytest.raises(InvalidInputError, match="device is 'tpu'; allowed are cpu, gpu"):
        pg.open(tmp_path / "m", device="tpu")
    with pytest.raises(InvalidInputError, match="backend 'numba' works on frames in host memory"):
        pg.open(tmp_path / "m", backend="numba", device="gpu")
    assert pg.open(tmp_path / "m", device="gpu")[0].shape == (20, 31)
