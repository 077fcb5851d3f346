"""Stored movies written as NWB, and read back with pynwb and photon_gpu."""

from __future__ import annotations

import sys

import numpy as np
import pynwb
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.reader.export import export
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.open import open_source

SIZES = {"y": (0.5, "um"), "x": (0.75, "um")}
SCANIMAGE = Document(name="tiff/Software", media_type="text/plain", data=b"scanimage.SI.VERSION = 5\xff")


def store(tmp_path, shape, recording):
    source = ArraySource(np.random.default_rng(0).poisson(30, shape).astype("uint16"))
    source.recording = recording
    pg.encode(source, str(tmp_path / "movie.zarr"), layout="compact", chunk_frames=20, noise=pg.NoiseModel())
    return pg.open(str(tmp_path / "movie.zarr"))


def test_each_channel_of_a_two_photon_movie_is_a_series(tmp_path):
    recording = Recording(
        axes="tcyx", channel_names=("GCaMP", "red"), frame_rate=30, pixel_size=SIZES, documents=(SCANIMAGE,)
    )
    movie = store(tmp_path, (50, 2, 16, 24), recording)
    report = export(movie, tmp_path / "movie.nwb")
    assert report.format == "NWB, Blosc-zstd"
    with pynwb.NWBHDF5IO(tmp_path / "movie.nwb", "r") as io:
        series = io.read().acquisition
        assert list(series) == ["TwoPhotonSeriesGCaMP", "TwoPhotonSeriesred"]
        for channel, one in enumerate(series.values()):
            np.testing.assert_array_equal(one.data[:], movie.counts[...][:, channel])
            assert (one.unit, one.rate, one.starting_time) == ("ADU", 30.0, 0.0)
            assert one.imaging_plane.imaging_rate == 30.0
            np.testing.assert_allclose(one.imaging_plane.grid_spacing, [0.75e-6, 0.5e-6])
    assert pynwb.validate(path=str(tmp_path / "movie.nwb")) == []
    with open_source(tmp_path / "movie.nwb", dataset="TwoPhotonSeriesred") as source:
        np.testing.assert_array_equal(source.read(0, 50), movie.counts[...][:, 1])
        assert source.recording.frame_rate == 30.0
        for axis, (size, unit) in source.recording.pixel_size.items():
            assert (pytest.approx(size), unit) == recording.pixel_size[axis]
        assert source.recording.documents == (SCANIMAGE,)


def test_planes_are_last_and_times_are_kept(tmp_path):
    times = np.sort(np.random.default_rng(1).uniform(0, 9, 30))
    movie = store(tmp_path, (30, 3, 16, 24), Recording(axes="tzyx", timestamps=times))
    export(movie, tmp_path / "movie.nwb", frames=(5, 25))
    with pynwb.NWBHDF5IO(tmp_path / "movie.nwb", "r") as io:
        (series,) = io.read().acquisition.values()
        assert series.neurodata_type == "ImageSeries"
        assert series.data.shape == (20, 16, 24, 3)
        np.testing.assert_array_equal(series.timestamps[:], times[5:25])
    with open_source(tmp_path / "movie.nwb") as source:
        assert source.recording.axes == "tzyx"
        np.testing.assert_array_equal(source.read(0, 20), movie.counts[5:25])
        np.testing.assert_array_equal(source.recording.timestamps, times[5:25])


def test_a_movie_without_a_rate_says_so(tmp_path):
    times = np.arange(30.0)
    times[3] = np.nan
    movie = store(tmp_path, (30, 16, 24), Recording(timestamps=times))
    report = export(movie, tmp_path / "movie.nwb", stabilized=True)
    assert report.notes == ("not written back: times, since some are not known; .h5 and .zarr hold them",)
    with pynwb.NWBHDF5IO(tmp_path / "movie.nwb", "r") as io:
        (series,) = io.read().acquisition.values()
        assert series.unit == "sigma" and "no rate is known" in series.comments
        np.testing.assert_array_equal(series.timestamps[:], np.arange(30))
    with open_source(tmp_path / "movie.nwb") as source:
        assert source.recording.timestamps is None and source.recording.frame_rate is None


def test_facts_that_nwb_has_no_field_for_come_back(tmp_path):
    recording = Recording(
        axes="tyx",
        channel_names=("GCaMP",),
        frame_rate=30,
        timestamps=np.arange(30) / 29,
        pixel_size=SIZES,
        rois=({"name": "roi 1", "rows": [0, 8]},),
    )
    export(store(tmp_path, (30, 16, 24), recording), tmp_path / "movie.nwb")
    assert pynwb.validate(path=str(tmp_path / "movie.nwb")) == []
    with open_source(tmp_path / "movie.nwb") as source:
        assert source.recording.to_dict() == recording.to_dict()
        np.testing.assert_array_equal(source.recording.timestamps, recording.timestamps)


def test_axes_that_nwb_does_not_have_are_refused(tmp_path, monkeypatch):
    movie = store(tmp_path, (30, 2, 16, 24), Recording())
    with pytest.raises(InvalidInputError, match=r"has axes \(30, 2, 16, 24\): decode it to \.h5"):
        export(movie, tmp_path / "movie.nwb")
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(InvalidInputError, match=r'pip install "photon-gpu\[nwb\]"'):
        export(movie, tmp_path / "movie.nwb")
    assert not (tmp_path / "movie.nwb").exists()
