"""Errors of sources stay short however much a file holds: at most 300 characters without its folder."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from photon_gpu.errors import PhotonError
from photon_gpu.sources.open import open_source

MANY = 40


def npz(path, image):
    np.savez(path / "x.npz", **{f"array_with_a_rather_long_name_{n}": image for n in range(MANY)})
    return path / "x.npz"


def hdf5(path, image):
    with h5py.File(path / "x.h5", "w") as file:
        for n in range(MANY):
            file[f"acquisition/two_photon_series/with/a/rather/long/path/{n}/data"] = image
    return path / "x.h5"


def zarr_group(path, image):
    group = zarr.open_group(path / "x.zarr", mode="w")
    for n in range(MANY):
        group.create_array(f"an/array/with/a/rather/long/path/{n}", data=image)
    return path / "x.zarr"


def series(path, image):
    for n in range(MANY):
        options = {"append": n > 0, "photometric": "minisblack", "metadata": {"Name": f"long name {n}"}}
        tifffile.imwrite(path / "x.tif", np.zeros((3, 8 + n, 9), "uint16"), **options)
    return path / "x.tif"


def folder(path, image):
    for n in range(MANY):
        name = f"a rather long name of a recording {chr(97 + n % 26)}_{chr(97 + n // 26)}.tif"
        tifffile.imwrite(path / name, image[0], photometric="minisblack")
    return path


def gaps(path, image):
    for n in (1, 3000):
        tifffile.imwrite(path / f"a rather long name of a recording {n}.tif", image[0])
    return path


@pytest.mark.parametrize("shape", [(5, 8, 8), (8,)])
@pytest.mark.parametrize("make", [npz, hdf5, zarr_group, series, folder, gaps])
def test_an_error_stays_short_and_says_what_to_do(tmp_path, make, shape):
    if len(shape) == 1 and make in (series, folder, gaps):
        pytest.skip("TIFF holds images")
    with pytest.raises(PhotonError) as error:
        open_source(make(tmp_path, np.zeros(shape, "uint16")))
    text = str(error.value).replace(str(tmp_path), "")
    assert len(text) <= 300, text
    assert make in (folder, gaps) or "more" in text


def test_what_is_no_movie_is_refused_in_short(tmp_path):
    (tmp_path / "x.xyz").write_bytes(b"nothing")
    page = tmp_path / f"{'a rather long name ' * 3}.tif"
    tifffile.imwrite(page, np.zeros((1024, 1024), "uint8"), photometric="minisblack")
    for obj in (tmp_path / "x.xyz", None, page, tmp_path):
        with pytest.raises(PhotonError) as error:
            open_source(obj)
        assert len(str(error.value).replace(str(tmp_path), "")) <= 300
