"""``photon_gpu.nwb.series`` streams into a file that pynwb writes."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pynwb
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.recording import Recording


def stored(tmp_path, shape, noise=None, **facts):
    source = pg.open_source(np.random.default_rng(0).poisson(30, shape).astype("uint16"))
    source.recording = Recording(**facts)
    noise = noise or pg.NoiseModel()
    pg.encode(source, tmp_path / "m.zarr", layout="compact", chunk_frames=10, noise=noise, check=False)
    return pg.open(tmp_path / "m.zarr")


def written(tmp_path, *series):
    nwb = pynwb.NWBFile("a session", "1", datetime(2026, 1, 1, tzinfo=UTC))
    for one in series:
        if one.imaging_plane.device.name not in nwb.devices:
            nwb.add_device(one.imaging_plane.device)
        if one.imaging_plane.name not in nwb.imaging_planes:
            nwb.add_imaging_plane(one.imaging_plane)
        nwb.add_acquisition(one)
    with pynwb.NWBHDF5IO(tmp_path / "out.nwb", "w") as io:
        io.write(nwb)
    assert pynwb.validate(path=str(tmp_path / "out.nwb")) == []
    return pynwb.NWBHDF5IO(tmp_path / "out.nwb", "r")


def test_streams_chunk_by_chunk_with_rate_and_plane(tmp_path, monkeypatch):
    sizes = {"y": (0.5, "um"), "x": (0.75, "um")}
    movie = stored(tmp_path, (35, 16, 24), frame_rate=30.0, pixel_size=sizes)
    lengths = []
    read = pg.Movie.read
    monkeypatch.setattr(
        pg.Movie,
        "read",
        lambda self, key, what: lengths.append(key[0].stop - key[0].start) or read(self, key, what),
    )
    one = pg.nwb.series(movie, pmt_gain=60.0)
    assert lengths == []
    with written(tmp_path, one) as io:
        assert max(lengths) == 10 and sum(lengths) == 35
        series = io.read().acquisition["TwoPhotonSeries"]
        np.testing.assert_array_equal(series.data[:], read(movie, ..., np.dtype("uint16")))
        assert (series.rate, series.unit, series.pmt_gain) == (30.0, "ADU", 60.0)
        assert series.imaging_plane.imaging_rate == 30.0
        np.testing.assert_allclose(series.imaging_plane.grid_spacing, [0.75e-6, 0.5e-6])
        assert series.data.compression is not None or series.data._filters


@pytest.mark.parametrize("noise", [None, [pg.NoiseModel(), pg.NoiseModel(variance=1.0)]])
def test_channels_of_volumes_with_times(tmp_path, noise):
    times = np.sort(np.random.default_rng(1).uniform(0, 9, 12))
    movie = stored(
        tmp_path, (12, 2, 3, 8, 9), noise, axes="tczyx", channel_names=("G", "R"), timestamps=times
    )
    with pytest.raises(InvalidInputError, match="2 channels; name one"):
        pg.nwb.series(movie)
    green = pg.nwb.series(movie, channel=0, compressed=False)
    red = pg.nwb.series(movie, channel=1, plane=green.imaging_plane, name="red")
    with written(tmp_path, green, red) as io:
        acquired = io.read().acquisition
        for number, name in enumerate(("TwoPhotonSeriesG", "red")):
            volumes = np.moveaxis(movie.counts[:, number], 1, -1)
            np.testing.assert_array_equal(acquired[name].data[:], volumes)
            np.testing.assert_array_equal(acquired[name].timestamps[:], times)
