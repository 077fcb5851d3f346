"""OME-Zarr images, and the stores of tifffile."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.sources.open import open_source
from tests.support.sources.microscope_files import write_ome_zarr
from tests.support.sources.source_files import make_movie


@pytest.fixture
def channels():
    return make_movie((6, 2, 12, 16))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_level_of_full_resolution_is_the_movie(tmp_path, channels, version):
    root = tmp_path / "image.ome.zarr"
    write_ome_zarr(
        zarr.open_group(str(root), mode="w", zarr_format=2 if version == "0.4" else 3),
        channels,
        version=version,
    )
    group = zarr.open_group(str(root), mode="r")
    for obj, options in ((root, {}), (group, {}), (root, {"path": "/"})):
        with open_source(obj, **options) as source:
            np.testing.assert_array_equal(source.read(1, 5), channels[1:5])
            assert source.recording.axes == "tcyx"
            assert source.recording.channel_names == ("GCaMP", "tdTomato")
            assert source.recording.pixel_size == {"y": (0.5, "µm"), "x": (0.5, "µm")}
            assert source.recording.frame_rate == pytest.approx(50.0)
            assert "multiscales" in source.recording.document("zarr/image/attributes.json").text
    with open_source(root, path="s0") as source:
        assert source.shape == (6, 2, 6, 8)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("level, size", [("s1", 0.5), ("s0", 1.0)])
def test_a_level_that_is_opened_by_its_own_path_has_the_metadata_of_the_image(
    tmp_path, channels, version, level, size
):
    root = tmp_path / "image.ome.zarr"
    zarr_format = 2 if version == "0.4" else 3
    write_ome_zarr(zarr.open_group(str(root), mode="w", zarr_format=zarr_format), channels, version=version)
    for obj in (root / level, f"{root}::{level}", zarr.open_array(str(root / level), mode="r")):
        with open_source(obj) as source:
            assert source.recording.axes == "tcyx"
            assert source.recording.channel_names == ("GCaMP", "tdTomato")
            assert source.recording.pixel_size == {"y": (size, "µm"), "x": (size, "µm")}
            assert source.recording.frame_rate == pytest.approx(50.0)
            assert "multiscales" in source.recording.document("zarr/image/attributes.json").text


def test_a_file_of_images_as_bioformats2raw_makes_them(tmp_path, channels):
    root = tmp_path / "images.zarr"
    group = zarr.open_group(str(root), mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    write_ome_zarr(group.create_group("0"), channels, version="0.4")
    with open_source(root) as source:
        np.testing.assert_array_equal(source.read(0, 6), channels)
    write_ome_zarr(group.create_group("1"), channels + 1, version="0.4")
    with pytest.raises(InvalidInputError, match="2 images could be the movie; choose one by path=NAME: 0, 1"):
        open_source(root)
    with open_source(root, path="1") as source:
        np.testing.assert_array_equal(source.read(0, 6), channels + 1)


def test_metadata_that_name_no_array(tmp_path, channels):
    root = tmp_path / "image.zarr"
    group = zarr.open_group(str(root), mode="w", zarr_format=3)
    write_ome_zarr(group, channels)
    del group["s1"]
    with pytest.raises(CorruptDataError, match="multiscales metadata name no array"):
        open_source(root)


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16), "compression": "zlib"}], ids=str)
def test_stores_of_tifffile_are_read(tmp_path, movie, options):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, movie, photometric="minisblack", **options)
    with tifffile.imread(path, aszarr=True) as store:
        for obj in (store, zarr.open(store, mode="r")):
            with open_source(obj) as source:
                np.testing.assert_array_equal(source.read(0, 20), movie)


def test_a_page_that_a_store_of_tifffile_lacks_is_found(tmp_path, movie):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, movie, photometric="minisblack", tile=(16, 16))
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[7].tags["TileByteCounts"].overwrite([0])
        tif.pages[7].tags["TileOffsets"].overwrite([0])
    with tifffile.imread(path, aszarr=True) as store:
        with pytest.raises(CorruptDataError, match=r"1 of its 20 chunks are missing \(frames 7\)"):
            open_source(store)
        with pytest.warns(PhotonWarning):
            assert open_source(store, missing="zero").lost == ((7, 8),)
