"""Stored movies as dask and xarray arrays."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, InvalidInputError

da = pytest.importorskip("dask.array", reason="pip install 'photon-gpu[dask]'")
xarray = pytest.importorskip("xarray", reason="pip install 'photon-gpu[dask]'")

COUNTS = np.random.default_rng(0).poisson(30.0, (55, 12, 10)).astype("uint16")


@pytest.fixture(params=["plain", "compact", "lossless"])
def movie(request, tmp_path):
    pg.encode(COUNTS, tmp_path / "m.zarr", layout=request.param, chunk_frames=20, noise=pg.NoiseModel())
    return pg.open(tmp_path / "m.zarr")


def test_blocks_are_chunks_and_values_those_of_the_movie(movie):
    array = movie.to_dask()
    assert array.chunks == ((20, 20, 15), (12,), (10,)) and array.dtype == np.uint16
    np.testing.assert_array_equal(array.compute(), movie.counts[...])
    np.testing.assert_array_equal(array[33:41, 2:5, ::2].compute(), movie.counts[33:41, 2:5, ::2])
    stabilized = movie.to_dask("stabilized")
    assert stabilized.dtype == np.float64
    np.testing.assert_array_equal(stabilized.compute(), movie[...])
    assert array.name != stabilized.name


def test_any_index_that_dask_takes_gives_what_it_gives_of_the_array(tmp_path):
    values = np.random.default_rng(2).poisson(30, (9, 3, 4, 5)).astype("uint16")
    pg.encode(values, tmp_path / "m.zarr", layout="lossless", chunk_frames=2)
    ours = pg.open(tmp_path / "m.zarr").to_dask()
    theirs = da.from_array(values, chunks=ours.chunks)
    keys = [
        (slice(None), [0, 2], slice(None), 3),
        (2, slice(None), [1, 2]),
        ([8, 1, 1], ..., 2),
        (None, 3, ..., [0, 1]),
        (values.max((1, 2, 3)) > 40, slice(None), -1),
        (slice(None, None, -2), [2, 0]),
    ]
    for key in keys:
        np.testing.assert_array_equal(ours[key].compute(), theirs[key].compute())
    np.testing.assert_array_equal(ours[:, [0, 2]][..., 3].compute(), values[:, [0, 2]][..., 3])
    np.testing.assert_array_equal(ours.vindex[[1, 8], :, [0, 2]].compute(), values[[1, 8], :, [0, 2]])


def test_nothing_is_read_before_it_is_computed(movie):
    array = movie.to_dask()[25:35]
    movie.storage.delete("0.0.0")
    np.testing.assert_array_equal(array.compute(), movie.counts[25:35])
    movie.storage.delete("1.0.0")
    with pytest.raises(CorruptDataError, match="frames 20 to 39 cannot be read"):
        movie.to_dask()[25:35].compute()


def test_a_movie_that_takes_the_place_is_another_array(movie, tmp_path):
    name = movie.to_dask().name
    assert pg.open(movie.url).to_dask().name == name
    pg.encode(
        COUNTS[::-1],
        tmp_path / "m.zarr",
        layout=movie.layout,
        chunk_frames=20,
        overwrite=True,
        noise=pg.NoiseModel(),
    )
    assert pg.open(movie.url).to_dask().name != name


def test_what_travels_is_the_address_and_no_frames(tmp_path):
    many = np.random.default_rng(1).poisson(30.0, (200, 40, 40)).astype("uint16")
    pg.encode(many, tmp_path / "m.zarr", noise=pg.NoiseModel())
    array = pg.open(tmp_path / "m.zarr").to_dask()
    sent = pickle.dumps(dict(array.dask))
    assert len(sent) < 20_000 < many.nbytes
    arrived = pickle.loads(sent)
    assert da.Array(arrived, array.name, array.chunks, meta=array._meta)[150].compute().shape == (40, 40)


def test_an_xarray_has_axes_units_and_the_noise_model(movie):
    lazy = movie.to_xarray()
    assert lazy.dims == ("t", "y", "x") and lazy.chunks[0] == (20, 20, 15)
    assert lazy.attrs["units"] == "ADU" and movie.to_xarray("stabilized").attrs["units"] == "sigma"
    assert (lazy.attrs["gain"], lazy.attrs["offset"], lazy.attrs["variance"]) == (1.0, 0.0, 0.0)
    assert ("step" in lazy.attrs) == (movie.layout != "lossless")
    np.testing.assert_array_equal(lazy.sel(t=slice(30, 32)).values, movie.counts[30:33])
    np.testing.assert_array_equal(lazy.mean("t").values, movie.counts[...].mean(0))


@pytest.mark.parametrize(
    "shape, dims",
    [
        ((6, 3, 4, 5), ("t", "z", "y", "x")),
        ((6, 2, 3, 4, 5), ("t", "c", "z", "y", "x")),
        ((6, 2, 2, 3, 4, 5), ("t", "axis1", "c", "z", "y", "x")),
    ],
)
def test_further_axes_have_names(tmp_path, shape, dims):
    pg.encode(np.ones(shape, "uint16"), tmp_path / "m.zarr", noise=pg.NoiseModel())
    assert pg.open(tmp_path / "m.zarr").to_xarray().dims == dims


def test_recorded_times_are_a_coordinate(tmp_path):
    with pg.LiveWriter(
        tmp_path / "m.zarr", frame_shape=(8, 8), dtype="uint16", chunk_frames=10, noise=pg.NoiseModel()
    ) as live:
        live.append(np.ones((25, 8, 8), "uint16"), timestamp=np.arange(25) / 30)
    lazy = pg.open(tmp_path / "m.zarr").to_xarray()
    np.testing.assert_array_equal(lazy.time.values, np.arange(25) / 30)
    assert "units" not in lazy.time.attrs  # the caller's own unit is not known


@pytest.mark.parametrize("engine", [False, True])
def test_times_of_a_file_are_in_seconds_and_are_kept_when_stored_again(tmp_path, engine):
    times = np.array([0.0, 0.1, 0.2, np.nan, 0.45])
    options = {"noise": pg.NoiseModel(), "timestamps": times, "axes": "tyx"}
    pg.encode(np.ones((5, 8, 8), "uint16"), tmp_path / "a.zarr", **options)
    xarray = pytest.importorskip("xarray")
    if engine:
        lazy = xarray.open_dataset(tmp_path / "a.zarr", engine="photon_gpu").counts
    else:
        lazy = pg.open(tmp_path / "a.zarr").to_xarray()
    assert lazy.time.attrs == {"units": "s"}
    decoded = xarray.decode_cf(lazy.to_dataset(name="counts"))  # as when it is read from a netCDF file
    np.testing.assert_array_equal(decoded.time, times)
    pg.encode(lazy, tmp_path / "b.zarr", noise=pg.NoiseModel())
    np.testing.assert_array_equal(pg.open(tmp_path / "b.zarr").timestamps, times)


def test_only_two_kinds_of_values(movie):
    with pytest.raises(InvalidInputError, match="allowed are counts, stabilized"):
        movie.to_dask("raw")


def test_what_has_no_noise_model_is_not_stabilized(tmp_path):
    pg.encode(COUNTS, tmp_path / "m.zarr", layout="lossless")
    with pytest.raises(InvalidInputError, match="pass 'counts'"):
        pg.open(tmp_path / "m.zarr").to_dask("stabilized")


def test_a_movie_changed_by_dask_is_stored_again(movie, tmp_path):
    """A stored movie, changed lazily, is a source again."""
    report = pg.encode(movie.to_xarray() // 2, tmp_path / "half.zarr", layout="lossless", chunk_frames=20)
    (note,) = report.notes
    assert note.startswith("kept besides pixels: axes tyx; source metadata xarray/attributes.json (")
    np.testing.assert_array_equal(pg.open(tmp_path / "half.zarr").counts[...], movie.counts[...] // 2)
