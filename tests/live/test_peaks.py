"""Bins for photon peaks in recordings: as encode makes them, also after a kill, and from every entrance."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.live import WatchFeed, record
from tests.support.noise.detector_models import resolved_photons

MOVIE = resolved_photons(0.3, 0.2, frames=24)
NOISE = pg.NoiseModel(gain=100.0, offset=500.0, variance=400.0)
OPTIONS = {"noise": NOISE, "chunk_frames": 8}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """The movie with five peaks, which is also what "auto" chooses."""
    url = tmp_path_factory.mktemp("encoded") / "m.zarr"
    pg.encode(MOVIE, url, layout="compact", preset="fast", peaks=5, **OPTIONS)
    return pg.open(url)


def same(url, encoded):
    movie = pg.open(url)
    assert movie.encoding.peaks == 5 and movie.attrs["codec_version"] == "2.7"
    assert np.array_equal(movie.counts[...], encoded.counts[...])
    return np.array_equal(movie[...], encoded[...]) and pg.verify(url, deep=True).ok


@pytest.mark.parametrize("peaks", [5, "auto"])
def test_a_recording_is_what_encode_makes_of_the_same_frames(tmp_path, encoded, peaks):
    with pg.LiveWriter(
        tmp_path / "m.zarr", frame_shape=MOVIE.shape[1:], dtype=MOVIE.dtype, peaks=peaks, **OPTIONS
    ) as live:
        for frame in MOVIE:
            live.append(frame)
    assert same(tmp_path / "m.zarr", encoded)


def test_a_watched_folder_is_recorded_with_peaks(tmp_path, encoded):
    (tmp_path / "in").mkdir()
    for number in range(3):
        name = tmp_path / "in" / f"{number}.tif"
        tifffile.imwrite(name, MOVIE[8 * number : 8 * number + 8])
        os.utime(name, (time.time() - 100,) * 2)
    record(
        WatchFeed(tmp_path / "in", pattern="*.tif", idle_seconds=0.1), tmp_path / "m.zarr", peaks=5, **OPTIONS
    )
    assert same(tmp_path / "m.zarr", encoded)


@pytest.mark.parametrize("peaks", ["5", "auto"])
def test_the_command_records_and_says_so(tmp_path, encoded, peaks):
    np.save(tmp_path / "m.npy", MOVIE)
    command = [sys.executable, "-m", "photon_gpu", "record", tmp_path / "m.npy", tmp_path / "m.zarr"]
    command += ["--peaks", peaks, "--gain", "100", "--offset", "500", "--variance", "400"]
    subprocess.run([*map(str, command), "--chunk-frames", "8"], check=True, capture_output=True)
    assert same(tmp_path / "m.zarr", encoded)


KILLED = """
import os, sys, time
import numpy as np, photon_gpu as pg
movie = np.load(sys.argv[1])
live = pg.LiveWriter(sys.argv[2], frame_shape=movie.shape[1:], dtype=movie.dtype, durability="frame",
                     noise=pg.NoiseModel(gain=100.0, offset=500.0, variance=400.0), chunk_frames=8,
                     peaks={"5": 5}.get(sys.argv[3], sys.argv[3]))
live.append(movie[: int(sys.argv[4])])
deadline = time.monotonic() + 30
while sys.argv[4] == "24" and live.status().frames_stored < 8 and time.monotonic() < deadline:
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("peaks", "frames"), [("5", 24), ("auto", 24), ("auto", 5)])
def test_after_a_kill_the_rest_has_the_same_peaks(tmp_path, encoded, peaks, frames):
    np.save(tmp_path / "m.npy", MOVIE)
    words = [tmp_path / "m.npy", tmp_path / "m.zarr", peaks, frames]
    subprocess.run([sys.executable, "-c", KILLED, *map(str, words)], check=False)
    assert pg.recover(tmp_path / "m.zarr").frames == frames
    movie = pg.open(tmp_path / "m.zarr")
    assert movie.encoding.peaks == 5 and pg.verify(tmp_path / "m.zarr", deep=True).ok
    assert np.array_equal(movie.counts[...], encoded.counts[:frames])


def test_an_estimated_gain_too_small_for_peaks_is_stored_without(tmp_path):
    counts = np.random.default_rng(0).poisson(30.0, (24, 32, 32)).astype("uint16")
    with pg.LiveWriter(
        tmp_path / "m.zarr",
        frame_shape=(32, 32),
        dtype="uint16",
        noise=lambda frames: pg.NoiseModel(),
        peaks=5,
    ) as live:
        live.append(counts)
    movie = pg.open(tmp_path / "m.zarr")
    assert movie.layout == "compact" and movie.encoding.peaks == 0
    assert "without peaks" in str(live.status())


@pytest.mark.parametrize(
    "options", [{"peaks": 5, "layout": "plain"}, {"peaks": 9}, {"peaks": "all"}], ids=str
)
def test_what_has_no_peaks_is_refused_before_anything_is_begun(tmp_path, options):
    with pytest.raises(pg.PhotonError, match="peaks"):
        pg.LiveWriter(tmp_path / "m.zarr", frame_shape=(8, 8), dtype="uint16", noise=NOISE, **options)
    assert not list(tmp_path.iterdir())
