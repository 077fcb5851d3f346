"""``xarray.open_dataset(..., engine="photon_gpu")``, as xarray itself finds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray

import photon_gpu as pg
from photon_gpu.errors import StoreNotFoundError


@pytest.fixture
def url(tmp_path):
    frames = np.random.default_rng(2).poisson(25, (23, 2, 9, 11)).astype("uint16")
    times = np.arange(23) / 30
    pg.encode(
        frames,
        tmp_path / "m.zarr",
        noise=pg.NoiseModel(),
        chunk_frames=5,
        timestamps=times,
        axes="tcyx",
        check=False,
    )
    return str(tmp_path / "m.zarr")


def test_opens_lazily_with_names_times_and_units(url, monkeypatch):
    chunks = []
    read = pg.Movie.chunk_bytes
    monkeypatch.setattr(
        pg.Movie, "chunk_bytes", lambda self, number: chunks.append(number) or read(self, number)
    )
    with xarray.open_dataset(url, engine="photon_gpu") as dataset:
        assert dataset.counts.dims == ("t", "c", "y", "x") and dataset.counts.dtype == "uint16"
        assert dataset.counts.attrs["units"] == "ADU" and dataset.stabilized.attrs["units"] == "sigma"
        np.testing.assert_allclose(dataset.time, np.arange(23) / 30)
        assert chunks == []
        frame = dataset.counts.sel(t=7).values
        assert chunks == [1]
    np.testing.assert_array_equal(frame, pg.open(url).counts[7])


def test_states_pixel_size_and_rate(tmp_path):
    frames = np.random.default_rng(3).poisson(25, (6, 9, 11)).astype("uint16")
    source = pg.open_source(frames, axes="tyx")
    sizes = {"y": (0.5, "µm"), "x": (0.25, "µm")}
    source.recording = source.recording.replace(pixel_size=sizes, frame_rate=30.0)
    pg.encode(source, tmp_path / "m.zarr", noise=pg.NoiseModel(), check=False)
    opened = xarray.open_dataset(tmp_path / "m.zarr", engine="photon_gpu")
    for attrs in (opened.counts.attrs, opened.stabilized.attrs):
        assert (attrs["pixel_size_y"], attrs["pixel_size_x"]) == (0.5, 0.25)
        assert attrs["pixel_size_x_units"] == "µm" and attrs["frame_rate"] == 30.0


def test_a_movie_with_a_model_for_each_channel_has_stabilized_values(tmp_path):
    frames = np.random.default_rng(3).poisson(25, (6, 2, 9, 11)).astype("uint16")
    models = [pg.NoiseModel(), pg.NoiseModel(variance=2.0)]
    pg.encode(frames, tmp_path / "m.zarr", noise=models, axes="tcyx", check=False)
    opened = xarray.open_dataset(tmp_path / "m.zarr", engine="photon_gpu")
    np.testing.assert_array_equal(opened.stabilized[2].values, pg.open(tmp_path / "m.zarr")[2])


@pytest.mark.parametrize(
    "key",
    [
        {"t": 3},
        {"t": slice(2, 20, 3), "y": slice(None, None, -2)},
        {"t": [5, 1, 1], "x": [0, 10]},
        {"c": 1, "t": [0, 22]},
        {"t": slice(3, 3)},
    ],
)
def test_every_index_equals_that_of_the_loaded_array(url, key):
    dataset = xarray.open_dataset(url, engine="photon_gpu")
    movie = pg.open(url)
    for what, values in (("counts", movie.counts[...]), ("stabilized", movie[...])):
        loaded = xarray.DataArray(values, dims=("t", "c", "y", "x")).isel(key)
        np.testing.assert_array_equal(dataset[what].isel(key).values, loaded.values)


def test_dask_chunks_are_those_of_the_movie(url):
    dataset = xarray.open_dataset(url, engine="photon_gpu", chunks={})
    assert dataset.counts.chunks[0] == (5, 5, 5, 5, 3)
    assert float(dataset.counts.mean()) == pytest.approx(float(pg.open(url).counts.mean()))


def test_variables_can_be_left_out(url):
    dataset = xarray.open_dataset(url, engine="photon_gpu", drop_variables=["stabilized", "time"])
    assert list(dataset) == ["counts"] and "time" not in dataset.coords


def test_a_missing_movie_is_named(tmp_path):
    with pytest.raises(StoreNotFoundError, match="nothing"):
        xarray.open_dataset(str(tmp_path / "nothing"), engine="photon_gpu")


def test_xarrays_own_zarr_engine_finds_the_names_of_the_axes(url):
    """In a group, as xarray's engine opens groups; by the codec, without a reader of photon_gpu."""
    (Path(url).parent / ".zgroup").write_text('{"zarr_format": 2}')
    dataset = xarray.open_zarr(Path(url).parent, consolidated=False)
    assert dataset["m.zarr"].dims == ("t", "c", "y", "x")
