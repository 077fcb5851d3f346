"""Stored movies written as HDF5, and read back."""

from __future__ import annotations

import sys

import h5py
import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError, PhotonError
from photon_gpu.reader.export import export
from photon_gpu.reader.exporters.hdf5 import DATASET
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.open import open_source

RECORDING = Recording(
    axes="tcyx",
    channel_names=("GCaMP", "tdTomato"),
    frame_rate=30.0,
    pixel_size={"y": (0.5, "um"), "x": (0.75, "um")},
    timestamps=np.arange(50) / 30.0 + 7,
    rois=({"name": "roi 1", "rows": [0, 8]},),
    documents=(Document(name="tiff/Software", media_type="text/plain", data=b"SI.VERSION = 5\xff"),),
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    counts = np.random.default_rng(0).poisson(30, (50, 2, 16, 24)).astype("int16")
    source = ArraySource(counts)
    source.recording = RECORDING
    url = str(tmp_path_factory.mktemp("movie") / "movie.zarr")
    pg.encode(source, url, layout="compact", chunk_frames=20, noise=pg.NoiseModel())
    return pg.open(url)


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_a_movie_comes_back_with_all_that_is_known_of_it(tmp_path, stored, suffix):
    report = export(stored, tmp_path / f"movie{suffix}")
    assert report.format == "HDF5, Blosc-zstd" and report.dtype == "int16"
    with open_source(tmp_path / f"movie{suffix}") as source:
        np.testing.assert_array_equal(source.read(0, 50), stored.counts[...])
        result = source.recording
    assert result.to_dict() == RECORDING.to_dict()
    np.testing.assert_array_equal(result.timestamps, RECORDING.timestamps)
    assert result.documents == RECORDING.documents


def test_it_is_chunked_by_frames_and_has_units(tmp_path, stored):
    export(stored, tmp_path / "movie.h5", frames=(7, 31), stabilized=True)
    with h5py.File(tmp_path / "movie.h5") as file:
        dataset = file[DATASET]
        assert dataset.shape == (24, 2, 16, 24) and dataset.dtype == np.float64
        assert dataset.chunks == (24, 2, 16, 24)
        assert [dimension.label for dimension in dataset.dims] == list("tcyx")
        assert dataset.attrs["unit"] == "sigma"
        np.testing.assert_array_equal(dataset[...], stored[7:31])
        np.testing.assert_array_equal(file["timestamps"], RECORDING.timestamps[7:31])


def test_without_hdf5plugin_any_reader_opens_it(tmp_path, stored, monkeypatch):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    report = export(stored, tmp_path / "movie.h5")
    assert report.format == "HDF5, gzip; hdf5plugin is not installed"
    with h5py.File(tmp_path / "movie.h5") as file:
        assert file[DATASET].compression == "gzip"
        np.testing.assert_array_equal(file[DATASET][...], stored.counts[...])


def test_a_failure_leaves_nothing_behind(tmp_path, stored, monkeypatch):
    def full(*_):
        raise OSError("Can't write data (file write failed: No space left on device)")

    monkeypatch.setattr(h5py.Dataset, "__setitem__", full)
    with pytest.raises(PhotonError, match=r"could not be written completely.*No space left"):
        export(stored, tmp_path / "movie.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_refused(tmp_path, stored):
    with pytest.raises(InvalidInputError, match="written to local disks only"):
        export(stored, "s3://bucket/movie.h5")


@pytest.mark.parametrize(
    ("options", "export_options", "reason"),
    [
        ({"layout": "plain"}, {}, "this movie is plain"),
        ({"compressor": "lz4-1-shuffle"}, {}, "compressor of this movie is lz4"),
        ({"noise": [pg.NoiseModel(), pg.NoiseModel(variance=1.0)], "axes": "tcyx"}, {}, "all channels"),
        ({}, {"stabilized": True}, "not stabilized"),
        ({}, {"frames": (0, 3)}, "all frames"),
        ({}, {"path": "movie.nwb"}, r"\.h5 and \.hdf5"),
        ({}, {"hdf5_filter": "blosc"}, "allowed are None, photon"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_the_filter_of_libphoton_takes_what_it_decodes_only(tmp_path, options, export_options, reason):
    frames = np.random.default_rng(1).poisson(20, (7, 2, 8, 9)).astype("uint16")
    settings = {"layout": "compact", "noise": pg.NoiseModel(), "check": False, **options}
    pg.encode(frames, tmp_path / "m.zarr", **settings)
    movie = pg.open(tmp_path / "m.zarr")
    movie = movie.channel(1) if movie.encoding.channels else movie
    path = tmp_path / export_options.pop("path", "movie.h5")
    with pytest.raises(InvalidInputError, match=reason):
        export(movie, path, **{"hdf5_filter": "photon", **export_options})
    assert not path.exists()
