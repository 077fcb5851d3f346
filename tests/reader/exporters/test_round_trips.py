"""A file that ``decode`` wrote, stored again: the source's own metadata neither grow nor get lost."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import tifffile
import zarr

import photon_gpu as pg
from photon_gpu.reader.export import export

FRAMES = np.random.default_rng(5).poisson(40, (6, 8, 9)).astype("uint16")
SUFFIXES = (".h5", ".nwb", ".zarr", ".ome.zarr")


def metadata(movie):
    recording = movie.recording
    times = None if recording.timestamps is None else recording.timestamps.tolist()
    facts = {**recording.to_dict(), "axes": recording.axes or "tyx"}  # NWB and OME-Zarr name the axes
    return {one.name: one.data for one in recording.documents}, facts, times


def stored(source, url, **settings):
    pg.encode(source, url, layout="lossless", check=False, **settings)
    return pg.open(url)


def bare(folder):
    np.save(folder / "raw.npy", FRAMES)
    return folder / "raw.npy"


def hdf5(folder):
    with h5py.File(folder / "raw.h5", "w") as file:
        file["movie"] = FRAMES
        file["movie"].attrs["mouse"] = 7
    return folder / "raw.h5"


def zarr_array(folder):
    zarr.create_array(folder / "raw.zarr", data=FRAMES).attrs["mouse"] = 7
    return folder / "raw.zarr"


def imagej(folder):
    description = {"axes": "TYX", "finterval": 0.1, "Info": "mouse 7"}
    tifffile.imwrite(folder / "raw.tif", FRAMES, imagej=True, metadata=description)
    return folder / "raw.tif"


def timed(folder):
    np.savetxt(folder / "times.txt", np.arange(6) ** 2)
    return pg.open_source(hdf5(folder), timestamps=folder / "times.txt", axes="tyx")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".tif"])
@pytest.mark.parametrize("source", [bare, hdf5, zarr_array, imagej, timed])
def test_decoding_and_storing_again_gives_the_same_metadata(tmp_path, source, suffix):
    movie = stored(source(tmp_path), tmp_path / "0.zarr")
    if suffix == ".tif" and source is not imagej:  # a TIFF has tags, also where the source had none
        export(movie, tmp_path / "0.tif")
        movie = stored(tmp_path / "0.tif", tmp_path / "tif.zarr")
    first = metadata(movie)
    for number in (1, 2):
        export(movie, tmp_path / f"{number}{suffix}")
        movie = stored(tmp_path / f"{number}{suffix}", tmp_path / f"movie-{number}.zarr")
        assert metadata(movie) == first


@pytest.mark.parametrize("container", [".zarr", ".ome.zarr"])
def test_storing_a_stored_movie_keeps_its_attributes_and_stops_growing(tmp_path, container):
    source, sizes = hdf5(tmp_path), []
    for number in range(5):
        url = tmp_path / f"{number}{container}"
        movie = stored(source, url, **({"attributes": {"cage": 3}} if number == 0 else {}))
        documents = metadata(movie)[0]
        sizes.append(len(documents))
        source = url
    assert json.loads(documents["zarr/attributes.json"])[""]["cage"] == 3
    assert "hdf5/content.json" in documents and sizes[1:] == [2, 2, 2, 2]


def add_to_hdf5(path):
    with h5py.File(path, "r+") as file:
        file["surgery"] = "left"


def add_to_zarr(path):
    group = zarr.open_group(path) if path.suffixes[0] == ".ome" else None
    (zarr.open_array(path) if group is None else group).attrs["surgery"] = "left"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("source", [bare, hdf5, zarr_array])
def test_what_others_add_to_a_decoded_file_is_kept_beside_the_rest(tmp_path, source, suffix):
    movie = stored(source(tmp_path), tmp_path / "0.zarr")
    before = metadata(movie)[0]
    path = tmp_path / f"o{suffix}"
    export(movie, path)
    (add_to_zarr if suffix.endswith(".zarr") else add_to_hdf5)(path)
    after = metadata(stored(path, tmp_path / "1.zarr"))[0]
    assert after.items() >= before.items()
    (added,) = after.keys() - before.keys()
    assert b"surgery" in after[added] and b"left" in after[added]


def test_a_renamed_channel_of_a_decoded_image_is_kept(tmp_path):
    movie = stored(hdf5(tmp_path), tmp_path / "0.zarr")
    export(movie, tmp_path / "o.ome.zarr")
    group = zarr.open_group(tmp_path / "o.ome.zarr")
    image = group.attrs["ome"]
    image["omero"]["channels"][0]["label"] = "renamed"
    group.attrs["ome"] = image
    documents = metadata(stored(tmp_path / "o.ome.zarr", tmp_path / "1.zarr"))[0]
    assert b"renamed" in documents["zarr/image/attributes.json"]
