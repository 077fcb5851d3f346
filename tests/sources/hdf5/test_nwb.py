"""NWB files as pynwb writes them."""

from __future__ import annotations

import json

import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile

from photon_gpu.errors import InvalidInputError, StoreNotFoundError
from photon_gpu.sources.hdf5.recording import CONTENT
from photon_gpu.sources.open import open_source
from tests.support.sources.microscope_files import write_nwb
from tests.support.sources.source_files import make_movie


def test_a_single_series_is_the_movie(tmp_path, movie):
    with open_source(write_nwb(tmp_path / "x.nwb", series=movie)) as source:
        np.testing.assert_array_equal(source.read(3, 8), movie[3:8])
        assert source.name.endswith("x.nwb::/acquisition/series/data")


def test_what_the_file_says_is_kept(tmp_path, movie):
    path = write_nwb(tmp_path / "x.nwb", series=movie)
    with h5py.File(path, "r+") as file:
        file["large"] = np.zeros(10_001)
        unreadable = file.create_dataset(
            "unreadable", data=np.zeros((4, 4)), chunks=(4, 4), **hdf5plugin.Zstd()
        )
        offset = unreadable.id.get_chunk_info(0).byte_offset
    with path.open("r+b") as raw:
        raw.seek(offset)
        raw.write(b"damage!!")
    with open_source(path) as source:
        recording = source.recording
    assert recording.frame_rate == 30.0
    content = json.loads(recording.document(CONTENT).text)
    assert content["/"]["attributes"]["neurodata_type"] == "NWBFile"
    assert content["/acquisition/series"]["attributes"]["neurodata_type"] == "TwoPhotonSeries"
    assert content["/general/optophysiology/plane/indicator"]["value"] == "GCaMP"
    assert "value" not in content["/acquisition/series/data"]
    (left,) = recording.not_kept
    assert "/large" in left and "/unreadable" in left


def test_planes_are_moved_in_front_of_rows(tmp_path):
    movie = make_movie((8, 5, 6, 3))
    with open_source(write_nwb(tmp_path / "x.nwb", series=movie)) as source:
        assert source.recording.axes == "tzyx"
        np.testing.assert_array_equal(source.read(2, 7), movie[2:7].transpose(0, 3, 1, 2))


def test_several_series_are_listed_in_a_table(tmp_path, movie):
    path = write_nwb(tmp_path / "x.nwb", green=movie, red=movie + 1, blue=["a.tif"])
    with pytest.raises(InvalidInputError) as caught:
        open_source(path)
    assert str(caught.value).endswith("3 series could be the movie; choose one by dataset=NAME")
    lines = caught.value.__notes__
    assert "  /acquisition/green  TwoPhotonSeries, int16 20 x 12 x 16, 30 Hz" in lines
    assert "  /acquisition/blue   ImageSeries, in a.tif, 30 Hz" in lines


@pytest.mark.parametrize("name", ["red", "/acquisition/red", "acquisition/red/data"])
def test_a_series_is_chosen_by_name_or_path(tmp_path, movie, name):
    path = write_nwb(tmp_path / "x.nwb", green=movie, red=movie + 1)
    for location, options in ((path, {"dataset": name}), (f"{path}::{name}", {})):
        with open_source(location, **options) as source:
            np.testing.assert_array_equal(source.read(0, 20), movie + 1)


def test_many_series_are_cut_with_a_count(tmp_path):
    path = write_nwb(tmp_path / "x.nwb", **{f"s{n:02}": make_movie((2, 3, 3)) for n in range(13)})
    with pytest.raises(InvalidInputError, match="13 series could be the movie") as caught:
        open_source(path)
    assert len(caught.value.__notes__) == 11 and caught.value.__notes__[-1] == "  and 3 more"


def test_frames_in_several_files_are_joined(tmp_path, movie):
    path = write_nwb(tmp_path / "x.nwb", series=["movie_1.tif", "movie_2.tif"])
    tifffile.imwrite(tmp_path / "movie_1.tif", movie[:12], photometric="minisblack")
    tifffile.imwrite(tmp_path / "movie_2.tif", movie[12:], photometric="minisblack")
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read(0, 20), movie)


def test_frames_in_another_file_are_read_from_there(tmp_path, movie):
    path = write_nwb(tmp_path / "x.nwb", series=["movie.tif"])
    with pytest.raises(StoreNotFoundError, match=r"movie\.tif is not there; copy them beside the NWB file"):
        open_source(path)
    tifffile.imwrite(tmp_path / "movie.tif", movie, photometric="minisblack")
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read(0, 20), movie)
        assert source.recording.frame_rate == 30.0
