"""What a source says besides pixels is kept by every way of storing a file, and said in the report."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.store.source_metadata import NAME
from tests.support.sources.source_files import make_movie

MOVIE = make_movie((20, 8, 10), dtype="uint16")
SETTINGS = {"layout": "lossless", "noise": pg.NoiseModel(), "check": False}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, MOVIE, photometric="minisblack", metadata={"axes": "TYX"}, software="rig 3")
    return path


def test_the_report_says_what_was_kept_and_what_was_not(tmp_path):
    with tifffile.TiffWriter(tmp_path / "movie.tif") as writer:
        for number, frame in enumerate(MOVIE):
            of_two_types = (65000, 3 + number % 2, 1, number, True)
            writer.write(frame, extratags=[of_two_types], software="rig 3", photometric="minisblack")
    report = pg.encode(tmp_path / "movie.tif", tmp_path / "movie.zarr", **SETTINGS)
    assert any(note.startswith("kept besides pixels: axes tyx; ") for note in report.notes)
    assert "not kept: what tag 65000 says" in report.notes
    assert report.stored_bytes == pg.open(tmp_path / "movie.zarr").stored_bytes


def test_a_bare_array_keeps_the_documented_files_and_attributes(tmp_path):
    pg.encode(MOVIE, tmp_path / "movie.zarr", noise=pg.NoiseModel(), check=False, trust_noise=True)
    assert {path.name for path in (tmp_path / "movie.zarr").iterdir()} == {
        ".zarray",
        ".zattrs",
        ".manifest.json",
        "0.0.0",
    }
    assert "photon_recording" not in pg.open(tmp_path / "movie.zarr").attrs


def test_one_machine_many_movies_and_copies_keep_the_same(source, tmp_path):
    pg.encode(source, tmp_path / "one.zarr", **SETTINGS)
    pg.encode_many([source], [tmp_path / "many.zarr"], **SETTINGS)
    pg.encode(pg.open(tmp_path / "one.zarr").counts, tmp_path / "copy.zarr", **SETTINGS)
    files = [
        {file.name: file.read_bytes() for file in tmp_path.glob(f"{one}.zarr/*")} for one in ("one", "many")
    ]
    assert files[0] == files[1]
    one, copy = (pg.open(tmp_path / f"{name}.zarr") for name in ("one", "copy"))
    assert copy.recording.to_dict() == one.recording.to_dict()
    assert copy.source_metadata == one.source_metadata


def test_times_that_the_file_does_not_hold_are_stated(tmp_path):
    times = np.arange(20) / 30
    np.savetxt(tmp_path / "times.txt", times)
    np.save(tmp_path / "times.npy", times)
    for stated in (times, tmp_path / "times.txt", str(tmp_path / "times.npy")):
        pg.encode(MOVIE, tmp_path / "movie.zarr", timestamps=stated, overwrite=True, **SETTINGS)
        np.testing.assert_array_equal(pg.open(tmp_path / "movie.zarr").timestamps, times)
    with pytest.raises(InvalidInputError, match="19 timestamps arrived for 20 frames"):
        pg.encode(MOVIE, tmp_path / "other.zarr", timestamps=times[1:], **SETTINGS)
    with pytest.raises(InvalidInputError, match="one number per line"):
        pg.encode(MOVIE, tmp_path / "other.zarr", timestamps=tmp_path / "gone.txt", **SETTINGS)


def test_an_overwrite_replaces_the_words_and_a_movie_without_words_has_none(source, tmp_path):
    store = tmp_path / "movie.zarr"
    pg.encode(source, store, **SETTINGS)
    pg.encode(MOVIE, store, overwrite=True, **SETTINGS)
    assert not (store / NAME).exists() and pg.open(store).source_metadata == {} and pg.verify(store).ok
    pg.encode(source, store, overwrite=True, **SETTINGS)
    assert pg.open(store).source_metadata["tiff/Software"].text == "rig 3"
