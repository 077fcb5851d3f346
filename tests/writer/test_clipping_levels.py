"""Values at which a detector saturates, or that were cut off, come back as they were."""

from __future__ import annotations

import numcodecs
import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.codec.encoding import filter_config
from tests.support.cuda import cupy_standin as standin
from tests.support.cuda.gpu_movies import both, files

PMT = pg.NoiseModel(gain=100.0, offset=92.0, variance=9e4)
QUIET = {"noise": PMT, "check": False, "trust_noise": True, "overwrite": True, "preset": "fast"}


def saturated(dtype: str = "uint16", shape: tuple[int, ...] = (13, 20, 31)) -> np.ndarray:
    """A 14-bit movie with a cell that saturates and a dark edge that is cut off at 0."""
    random = np.random.default_rng(5)
    photons = np.full(shape, 60.0)
    photons[..., :6, :] = 0.0
    photons[..., 10:15, 8:20] = 170.0
    values = 100.0 * random.poisson(photons) + random.normal(92, 300, shape)
    return np.clip(np.rint(values), 0, 16383).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32"])
@pytest.mark.parametrize(("layout", "dither"), [("plain", None), ("compact", None), ("compact", 4)])
def test_saturated_and_cut_off_values_come_back(layout, dither, dtype):
    raw = saturated(dtype)
    for backend in ("numba", "numpy"):
        url = f"memory://clipped-{backend}.zarr"
        pg.encode(raw, url, layout=layout, dither=dither, chunk_frames=5, backend=backend, **QUIET)
        movie = pg.open(url)
        assert movie.attrs["clipping_levels"] == {"low": 0, "high": 16383}
        assert movie.attrs["codec_version"] == {"plain": "1.2", "compact": "2.6"}[layout]
        for level in (0, 16383):
            np.testing.assert_array_equal(movie.counts[...] == level, raw == level)
            np.testing.assert_array_equal(movie.counts[7, 3:18] == level, raw[7, 3:18] == level)
        away = np.abs(movie[...] - pg.anscombe(raw, PMT))
        assert away.max() <= (0.5 if dither is None else 1.0) * 0.5 + 1e-9


@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_a_movie_of_which_nothing_piles_up_is_stored_as_ever(layout):
    raw = saturated()[:, 6:10]
    pg.encode(raw, "memory://unclipped.zarr", layout=layout, **QUIET)
    attributes = pg.open("memory://unclipped.zarr").attrs
    assert "clipping_levels" not in attributes
    assert attributes["codec_version"] == {"plain": "1.0", "compact": "2.4"}[layout]


@pytest.mark.parametrize(("layout", "dither"), [("compact", None), ("compact", 9), ("plain", None)])
def test_a_gpu_writes_the_same_bytes(layout, dither, tmp_path):
    with standin.installed(0):
        import cupy

        raw = saturated()
        for source in (raw, cupy.asarray(raw)):
            both(tmp_path, source, raw, noise=PMT, layout=layout, dither=dither)
        np.testing.assert_array_equal(
            pg.open(tmp_path / "cupy", backend="cupy").counts[...] == 16383, raw == 16383
        )
        assert b"clipping_levels" in files(tmp_path / "cupy")[".zattrs"]


def test_the_filter_of_zarr_knows_the_levels():
    pg.encode(saturated(), "memory://filter.zarr", layout="compact", **QUIET)
    encoding = pg.open("memory://filter.zarr").encoding
    config = filter_config(encoding)
    assert config["clipping_levels"] == {"low": 0, "high": 16383}
    codec = numcodecs.get_codec(config)
    assert codec.get_config() == config
    raw = saturated()
    np.testing.assert_array_equal(codec.decode(codec.encode(raw)) == 16383, raw == 16383)


def test_each_channel_has_levels_of_its_own():
    raw = np.stack([saturated(), saturated()[:, 6:10].repeat(5, axis=1)], axis=1)
    options = {**QUIET, "noise": [PMT, PMT]}
    pg.encode(raw, "memory://channels.zarr", axes="tcyx", layout="compact", **options)
    movie = pg.open("memory://channels.zarr")
    first, second = movie.attrs["channel_models"]["models"]
    assert first["clipping_levels"] == {"low": 0, "high": 16383} and "clipping_levels" not in second
    np.testing.assert_array_equal(movie.counts[...] == 16383, raw == 16383)


def test_a_recording_finds_them_in_its_first_chunk(tmp_path):
    raw = saturated()
    options = {"noise": PMT, "chunk_frames": 5, "check": False, "trust_noise": True}
    where = tmp_path / "live.zarr"
    with pg.LiveWriter(where, frame_shape=raw.shape[1:], dtype=raw.dtype, **options) as live:
        live.append(raw)
    np.testing.assert_array_equal(pg.open(tmp_path / "live.zarr").counts[...] == 16383, raw == 16383)
    assert pg.verify(tmp_path / "live.zarr", deep=True).ok
