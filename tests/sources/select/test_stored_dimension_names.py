"""Names that HDF5, Zarr and xarray keep for dimensions, read into the order of a movie."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import zarr

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.open import open_source

STORED = np.arange(2 * 3 * 4 * 5, dtype="uint16").reshape(2, 3, 4, 5)


def check(source, words):
    with source:
        order = [words.index(letter) for letter in source.recording.axes]
        np.testing.assert_array_equal(source.read(0, source.shape[0]), STORED.transpose(order))
        np.testing.assert_array_equal(source.read(1, 2), STORED.transpose(order)[1:2])
        return source.recording.axes


@pytest.mark.parametrize("stored, axes", [("tcyx", "tcyx"), ("ctyx", "tcyx"), ("xyct", "tcyx")])
def test_labels_of_hdf5_dimensions_are_honoured(tmp_path, stored, axes):
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        data = file.create_dataset("movie", data=STORED, chunks=(1, 3, 4, 5))
        for dimension, letter in zip(data.dims, stored, strict=True):
            dimension.label = letter
    assert check(open_source(tmp_path / "movie.h5"), stored) == axes


def test_dimension_scales_name_what_has_no_label(tmp_path):
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        data = file.create_dataset("movie", data=STORED)
        for number, name in enumerate(("y", "x", "channel", "time")):
            file.create_dataset(name, data=np.arange(STORED.shape[number])).make_scale(name)
            data.dims[number].attach_scale(file[name])
    assert check(open_source(tmp_path / "movie.h5", dataset="movie"), "yxct") == "tcyx"


def test_a_hole_that_does_not_lie_along_time_is_refused(tmp_path):
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        data = file.create_dataset("movie", (4, 5, 6), "uint16", chunks=(2, 5, 6))
        data[:2] = 1
        for dimension, letter in zip(data.dims, "yxt", strict=True):
            dimension.label = letter
    with pytest.warns(match="lacks"), pytest.raises(InvalidInputError, match="parts of it are missing"):
        open_source(tmp_path / "movie.h5", missing="zero")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("path", ["movie.zarr::0", "movie.zarr/0"])
def test_axes_of_an_ome_zarr_group_are_read(tmp_path, zarr_format, path):
    group = zarr.open_group(str(tmp_path / "movie.zarr"), mode="w", zarr_format=zarr_format)
    axes = [{"name": name, "type": "space"} for name in "ctyx"]
    scales = [{"axes": axes, "datasets": [{"path": "0"}]}]
    group.attrs.update({"multiscales": scales} if zarr_format == 2 else {"ome": {"multiscales": scales}})
    group.create_array("0", shape=STORED.shape, dtype="uint16", fill_value=None)[...] = STORED
    assert check(open_source(f"{tmp_path}/{path}"), "ctyx") == "tcyx"


def test_dimension_names_of_zarr_are_read(tmp_path):
    array = zarr.create_array(
        {}, shape=STORED.shape, dtype="uint16", dimension_names=["y", "x", "time", "channel"], fill_value=None
    )
    array[...] = STORED
    assert check(open_source(array), "yxtc") == "tcyx"
    unnamed = zarr.create_array({}, shape=STORED.shape, dtype="uint16", fill_value=None)
    unnamed[...] = STORED
    assert open_source(unnamed).recording.axes is None


@pytest.mark.parametrize("chunked", [False, True])
def test_dims_of_an_xarray_are_read(chunked):
    xarray = pytest.importorskip("xarray", reason="pip install 'photon-gpu[dask]'")
    array = xarray.DataArray(STORED, dims=("y", "channel", "x", "time"))
    assert check(open_source(array.chunk({"time": 2}) if chunked else array), "ycxt") == "tcyx"
