"""Axes, channels, planes and frames on the command line: the same options for every command that reads."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.cli.commands.recording import record as record_command
from photon_gpu.cli.options.source import FeedOptions, ReadOptions
from photon_gpu.errors import InvalidInputError
from photon_gpu.live.record_feed import record
from photon_gpu.live.watch import WatchFeed
from tests.support.sources.source_files import write_tiff

PAGES = np.random.default_rng(0).poisson(20.0, (60, 24, 24)).astype("uint16")
LOSSLESS = ("--layout", "lossless")


@pytest.fixture
def pages(tmp_path):
    return write_tiff(tmp_path, PAGES, metadata=None)


@pytest.mark.parametrize(
    "typed, expected",
    [
        (["--channels", "2"], PAGES.reshape(30, 2, 24, 24)),
        (["--channels", "2", "--planes", "3", "--plane", "2"], PAGES.reshape(10, 3, 2, 24, 24)[:, 2]),
        (["--channels", "2", "--channel", "1", "--frames", "5:20"], PAGES[11:40:2]),
        (["--source-option", "frames=0:7"], PAGES[:7]),
    ],
)
def test_encode_takes_the_part_that_was_asked_for(cli, pages, tmp_path, typed, expected):
    assert cli("encode", pages, tmp_path / "out.zarr", *LOSSLESS, *typed).code == 0
    np.testing.assert_array_equal(pg.open(tmp_path / "out.zarr").counts[...], expected)
    assert cli("report", pages, tmp_path / "out.zarr", *typed).code == 0
    stored = tmp_path / "out.zarr" / ("0" + ".0" * (expected.ndim - 1))
    stored.write_bytes(b"damaged")
    cli("repair", tmp_path / "out.zarr", pages, *typed)
    np.testing.assert_array_equal(pg.open(tmp_path / "out.zarr").counts[...], expected)


def test_advice_is_given_in_options(cli, pages, tmp_path):
    shown = cli("encode", pages, tmp_path / "out.zarr", "--channels", "7")
    assert "--frames 0:8 takes the whole ones" in " ".join(shown.err.split())
    shown = cli("encode", pages, tmp_path / "out.zarr", "--plane", "1")
    assert "--planes N says that frames alternate, --axes names" in " ".join(shown.err.split())


def test_what_is_said_twice_is_refused():
    with pytest.raises(InvalidInputError, match="set the same option"):
        ReadOptions(frames="0:3", source_option=["frames=0:4"]).of("a.tif")


def test_watch_and_record_take_channels(cli, pages, tmp_path):
    folder = pages.parent
    feed = WatchFeed(folder, settle_seconds=0.0, idle_seconds=0.2, channels=2, channel=1)
    assert (feed.frame_shape, feed.axes) == ((24, 24), "tyx")
    record(feed, tmp_path / "watched.zarr", layout="lossless")
    np.testing.assert_array_equal(pg.open(tmp_path / "watched.zarr").counts[...], PAGES[1::2])
    ran = cli("record", pages, tmp_path / "recorded.zarr", *LOSSLESS, "--channels", "2", "--frames", "3:9")
    assert ran.code == 0, ran.err
    np.testing.assert_array_equal(
        pg.open(tmp_path / "recorded.zarr").counts[...], PAGES[6:18].reshape(6, 2, 24, 24)
    )


def test_channels_of_raw_frames_alternate(tmp_path):
    reads = FeedOptions(channels=2, planes=3)
    assert record_command._interleaved((24, 24), reads, "pipe") == ((3, 2, 24, 24), "tzcyx")
    with pytest.raises(InvalidInputError, match="files that are complete"):
        record_command._interleaved((24, 24), FeedOptions(channel="1"), "pipe")
    with pytest.raises(InvalidInputError, match="t comes first"):
        record_command._interleaved((24, 24), FeedOptions(axes="ytx"), "pipe")


def test_python_takes_the_same_keywords_everywhere(pages, tmp_path):
    part = {"channels": 2, "channel": 0, "frames": "0:20"}
    url = tmp_path / "part.zarr"
    pg.encode(pages, url, layout="lossless", **part)
    assert pg.fidelity(pages, url, **part).ok
    assert pg.estimate_noise(pages, **part).diagnostics.frames_sampled == 20
    many = pg.encode_many(
        [pages, pages], [tmp_path / "a.zarr", tmp_path / "b.zarr"], layout="lossless", **part
    )
    assert [one.shape for one in many.reports] == [(20, 24, 24)] * 2
    assert pg.repair(url, pages, **part).ok
    with pg.movie(pages, **part).open() as movie:
        assert movie.shape == (20, 24, 24)


def two_detectors(path):
    random = np.random.default_rng(1)
    light = random.uniform(2.0, 40.0, (2, 40, 40))
    counts = [
        gain * random.poisson(one, (90, 40, 40)) + 100 for gain, one in zip((40, 8), light, strict=True)
    ]
    np.save(path, np.stack(counts, 1).reshape(-1, 40, 40).astype("int16"))
    return path


def test_channels_have_models_of_their_own_on_the_command_line(cli, tmp_path):
    two_detectors(tmp_path / "two.npy")
    ran = cli("estimate", "two.npy", "--channels", "2", "--json", "--plot", "curve.png")
    assert ran.code == 0, ran.err
    assert [round(channel["model"]["gain"] / 8) for channel in ran.json["channels"]] == [5, 1]
    assert (tmp_path / "curve_0.png").exists() and (tmp_path / "curve_1.png").exists()
    assert "DST --channels 2 --gain " in cli("estimate", "two.npy", "--channels", "2", width=400).out
    assert "use --channels 2" in cli("estimate", "two.npy", width=400).out
    ran = cli(
        "encode",
        "two.npy",
        "two.zarr",
        "--channels",
        "2",
        "--gain",
        "40,8",
        "--offset",
        "100",
        "--variance",
        "144,6",
    )
    assert ran.code == 0, ran.err
    movie = pg.open("two.zarr")
    assert [model.gain for model in movie.channel_noise] == [40, 8] and movie.axes == "tcyx"
    told = cli("info", "two.zarr", "--json").json
    assert [one["gain"] for one in told["channel_noise"]] == [40, 8]
    assert "noise, channel 1" in cli("info", "two.zarr").out
    ran = cli("report", "two.npy", "two.zarr", "--channels", "2", "-o", "report.html")
    assert ran.code == 0, ran.err
    assert "channel 1: gain 8 ADU/photon" in (tmp_path / "report.html").read_text()
    ran = cli("encode", "two.npy", "b.zarr", "--channels", "2", "--gain", "40,8", "--offset", "1,2,3")
    assert ran.code == 2 and "one for each" in ran.err
    assert cli("profile", "two.npy", "--channels", "2", "--seconds", "0.1", "--layout", "compact").code == 0


def test_xarray_has_the_names_of_axes_and_channels(tmp_path):
    pytest.importorskip("xarray", reason="pip install 'photon-gpu[dask]'")
    source = pg.open_source(np.load(two_detectors(tmp_path / "two.npy")), channels=2)
    source.recording = source.recording.replace(channel_names=("green", "red"))
    pg.encode(source, tmp_path / "two.zarr", layout="compact")
    movie = pg.open(tmp_path / "two.zarr")
    lazy = movie.to_xarray()
    assert lazy.dims == ("t", "c", "y", "x") and lazy.c.values.tolist() == ["green", "red"]
    np.testing.assert_array_equal(lazy.sel(c="red", t=7), movie.counts[7, 1])
    red = movie.channel(1)
    assert red.to_xarray().dims == ("t", "y", "x") and red.channel_names == ("red",) and red.axes == "tyx"
    np.testing.assert_array_equal(red.to_dask()[5:9], movie.counts[5:9, 1])
    pg.encode(movie.counts, tmp_path / "copy.zarr", noise=movie.channel_noise, layout="compact")
    copy = pg.open(tmp_path / "copy.zarr")
    assert copy.channel_names == ("green", "red")
    np.testing.assert_array_equal(copy.counts[...], movie.counts[...])
