"""Coordinates and attributes of xarray objects, and of Zarr groups that xarray wrote."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import xarray

import photon_gpu as pg
from photon_gpu.sources.open import open_source

START = np.datetime64("2026-01-01T00:00:00", "us")
STEPS = np.arange(5) * 100
TIMES = {
    "numbers": ("time", STEPS, {"units": "ms"}),
    "dates": ("time", START + STEPS * np.timedelta64(1, "ms")),
    "durations": ("time", STEPS * np.timedelta64(1, "ms")),
}


def labelled(times, **more) -> xarray.DataArray:
    values = np.random.default_rng(0).poisson(50, (5, 2, 8, 8)).astype("uint16")
    coords = {"time": times, "channel": ["green", "red"], **more}
    return xarray.DataArray(values, dims=("time", "channel", "y", "x"), coords=coords, name="movie")


def stored(array: xarray.DataArray, folder, version: int) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr warns of texts in version 3
        array.to_zarr(folder, zarr_format=version)
    return str(folder)


@pytest.mark.parametrize("time_type", TIMES)
@pytest.mark.parametrize("source", ["object", "zarr 2", "zarr 3", "array of zarr"])
def test_times_rate_and_channel_names_are_read(tmp_path, time_type, source):
    movie = labelled(TIMES[time_type])
    if source != "object":
        movie = stored(movie, tmp_path / "raw.zarr", 2 if source == "zarr 2" else 3)
        movie += "/movie" if source == "array of zarr" else ""
    with open_source(movie) as opened:
        recording = opened.recording
    first = 1767225600.0 if time_type == "dates" else 0.0
    assert recording.timestamps == pytest.approx(first + STEPS / 1000, abs=1e-6)
    assert (recording.frame_rate, recording.channel_names) == (10.0, ("green", "red"))
    assert recording.axes == "tcyx" and recording.not_kept == ()


@pytest.mark.parametrize("source", ["object", "zarr"])
def test_the_report_names_coordinates_that_are_not_read(tmp_path, source):
    movie = labelled(("time", STEPS), depth=("time", STEPS / 7), x=np.arange(8))
    if source == "zarr":
        movie = stored(movie, tmp_path / "raw.zarr", 3)
    report = pg.encode(movie, tmp_path / "a.zarr", noise=pg.NoiseModel(gain=1.0), check=False)
    assert "not kept: coordinate 'time' along time, coordinate 'depth' along time" in report.notes
    recording = pg.open(tmp_path / "a.zarr").recording
    assert recording.timestamps is None and recording.channel_names == ("green", "red")


@pytest.mark.parametrize("source", ["object", "zarr 2", "zarr 3", "array of zarr"])
def test_positions_at_even_steps_from_zero_in_a_unit_give_the_pixel_size(tmp_path, source):
    um, even = {"units": "um"}, 0.1 * np.arange(8)
    movie = labelled(("time", STEPS, {"units": "ms"}), y=("y", 2 * np.arange(8), um), x=("x", even, um))
    if source != "object":
        movie = stored(movie, tmp_path / "raw.zarr", 2 if source == "zarr 2" else 3)
        movie += "/movie" if source == "array of zarr" else ""
    with open_source(movie) as opened:
        assert opened.recording.pixel_size == {"y": (2.0, "µm"), "x": (0.1, "µm")}
        assert opened.recording.not_kept == ()


@pytest.mark.parametrize(
    "positions, attributes",
    [
        (0.5 * np.arange(8), {}),
        (0.5 * np.arange(8) + 3, {"units": "um"}),
        (-0.5 * np.arange(8), {"units": "um"}),
        ([0, 0.5, 1, 1.5, 2, 2.5, 3, 4], {"units": "um"}),
    ],
    ids=["no unit", "elsewhere", "falling", "uneven"],
)
def test_positions_that_are_no_pixel_size_are_named(positions, attributes):
    with open_source(labelled(("time", STEPS, {"units": "ms"}), x=("x", positions, attributes))) as opened:
        assert opened.recording.pixel_size == {}
        assert opened.recording.not_kept == ("coordinate 'x' along x",)


def test_uneven_times_have_no_rate_and_missing_ones_are_nan(tmp_path):
    dates = START + np.array([0, 100, 250, 300, 400]) * np.timedelta64(1, "ms")
    dates[3] = np.datetime64("NaT")
    for movie in (labelled(("time", dates)), stored(labelled(("time", dates)), tmp_path / "raw.zarr", 3)):
        with open_source(movie) as opened:
            assert np.isnan(opened.recording.timestamps).tolist() == [False] * 3 + [True, False]
            assert opened.recording.frame_rate is None


@pytest.mark.parametrize("blocks", [None, {"time": 2}], ids=["array", "dask"])
def test_attributes_are_kept_and_those_that_json_cannot_hold_are_named(tmp_path, blocks):
    movie = labelled(("time", STEPS, {"units": "ms", "clock": "master"}))
    movie.attrs = {
        "laser": np.int64(920),
        "powers": np.array([0.5, np.nan]),
        "mouse": {"name": "µ7", "ages": (1, 2)},
        "begun": START,
        "raw": object(),
        "large": np.zeros(10_001),
    }
    movie = movie if blocks is None else movie.chunk(blocks)
    report = pg.encode(movie, tmp_path / "a.zarr", noise=pg.NoiseModel(gain=1.0), check=False)
    assert "not kept: attribute 'raw' (object), attribute 'large' (ndarray)" in report.notes
    kept = json.loads(pg.open(tmp_path / "a.zarr").source_metadata["xarray/attributes.json"].data)
    assert kept == {
        "attrs": {
            "laser": 920,
            "powers": [0.5, "nan"],
            "mouse": {"name": "µ7", "ages": [1, 2]},
            "begun": "2026-01-01T00:00:00.000000",
        },
        "coords": {"time": {"units": "ms", "clock": "master"}},
    }


def test_an_xarray_object_without_attributes_has_no_document():
    with open_source(labelled(("time", STEPS))) as opened:
        assert opened.recording.documents == ()
