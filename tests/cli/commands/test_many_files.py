"""Movies in many files, and files that were cut off, as a shell gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.live.watch import WatchFeed
from tests.support.sources.source_files import write_two_files

MODEL = ("--gain", "20", "--offset", "100")


@pytest.fixture
def movie():
    return (np.random.default_rng(0).poisson(20.0, (40, 24, 24)) * 20 + 100).astype("uint16")


@pytest.fixture
def pages(tmp_path, movie):
    for number, frame in enumerate(movie):
        tifffile.imwrite(tmp_path / f"m_{number}.tif", frame, photometric="minisblack", metadata=None)
    return [str(tmp_path / f"m_{number}.tif") for number in range(len(movie))]


@pytest.fixture
def cut(tmp_path, movie):
    path = tmp_path / "cut.npy"
    np.save(path, movie)
    os.truncate(path, path.stat().st_size - 100)
    os.utime(path, (1e9, 1e9))
    return str(path)


def test_every_command_takes_many_files(cli, tmp_path, movie, pages):
    for number, source in enumerate((pages, [str(tmp_path / "m_*.tif")])):
        assert cli("encode", *source, f"{number}.zarr", *MODEL, "--layout", "lossless").code == 0
        np.testing.assert_array_equal(pg.open(tmp_path / f"{number}.zarr").counts[...], movie)
    assert cli("report", *pages, "0.zarr").code == 0
    assert cli("estimate", *pages, "--json").code in (0, 1)
    assert cli("record", *pages, "r.zarr", *MODEL, "--layout", "lossless").code == 0
    np.testing.assert_array_equal(pg.open(tmp_path / "r.zarr").counts[...], movie)


def test_what_a_truncated_source_lacks_is_shown_everywhere(cli, tmp_path, movie, cut):
    refused = cli("encode", cut, "m.zarr", *MODEL)
    assert refused.code == 1 and "after 39 whole frames" in refused.err and "--truncated keep" in refused.err
    ran = cli("encode", cut, "m.zarr", *MODEL, "--layout", "lossless", "--truncated", "keep")
    assert ran.code == 0 and "the source was truncated: 39 of 40 frames" in ran.out
    stored = pg.open(tmp_path / "m.zarr")
    np.testing.assert_array_equal(stored.counts[...], movie[:39])
    assert stored.attrs["source_truncated"]["file"] == "cut.npy"
    for command in (
        ("info", "m.zarr"),
        ("verify", "m.zarr"),
        ("report", cut, "m.zarr", "--truncated", "keep"),
    ):
        shown = cli(*command)
        assert shown.code == 0 and "39 of 40 frames are whole" in shown.out
    assert cli("record", cut, "r.zarr", *MODEL, "--truncated", "keep").code == 0
    assert pg.open(tmp_path / "r.zarr").attrs["source_truncated"]["frames"] == 39


def test_a_truncated_source_that_grows_meanwhile_is_not_stored(tmp_path, cut):
    def grow(done, total):
        with open(cut, "ab") as file:
            file.write(b"more")

    with pytest.raises(CorruptDataError, match="grown"):
        pg.encode(
            cut,
            tmp_path / "m.zarr",
            noise=pg.NoiseModel(gain=20, offset=100),
            truncated="keep",
            progress=grow,
        )
    assert not (tmp_path / "m.zarr").exists()


def test_frames_that_are_missing_are_not_recorded_as_data(cli, pages, tmp_path):
    os.remove(pages[3])
    ran = cli("record", str(tmp_path), "r.zarr", *MODEL, "--source-option", "missing=zero")
    assert ran.code == 2 and "lacks frames 3" in ran.err


def test_a_library_that_logs_does_not_break_json(tmp_path):
    """tifffile logs a file of an OME movie that it cannot open."""
    write_two_files(tmp_path, np.zeros((7, 12, 10), "uint16"))
    (tmp_path / "b.ome.tif").unlink()
    words = [sys.executable, "-m", "photon_gpu", "estimate", str(tmp_path / "a.ome.tif")]
    ran = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    result = json.loads(ran.stderr)
    assert "are missing" in result["error"] and result["notes"][0].startswith("tifffile: ")
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert [line.partition(":")[0] for line in ran.stderr.splitlines()] == ["warning", "error"]


@pytest.fixture
def old(pages):
    for path in pages:
        os.utime(path, (1e9, 1e9))
    return pages


def test_old_files_are_watched_at_once(cli, tmp_path, movie, old):
    began = time.monotonic()
    feed = WatchFeed(tmp_path, settle_seconds=60, idle_seconds=0)
    batches = list(feed)
    assert time.monotonic() - began < 10, "one second of settling for each file"
    np.testing.assert_array_equal(np.concatenate([batch.frames for batch in batches]), movie)
    assert len(batches) == 1 and batches[0].metadata[11] == {"file": "m_11.tif", "page": 0}
    assert batches[0].timestamps[11] == 1e9 and not feed.unread


def test_a_file_that_changed_lately_is_waited_for(tmp_path, old):
    os.utime(old[20])
    feed = WatchFeed(tmp_path, settle_seconds=60, idle_seconds=0)
    assert sum(len(batch.frames) for batch in feed) == 20
    assert feed.unread[0] == "m_20.tif never became complete: it still changes"


def test_one_old_file_that_differs_does_not_stop_the_others(tmp_path, movie, old):
    tifffile.imwrite(old[7], movie[7, :9], photometric="minisblack", metadata=None)
    with open(old[9], "r+b") as file:
        file.truncate(300)
    for number in (7, 9):
        os.utime(old[number], (1e9, 1e9))
    feed = WatchFeed(tmp_path, settle_seconds=1, idle_seconds=0)
    np.testing.assert_array_equal(np.concatenate([one.frames for one in feed]), np.delete(movie[:9], 7, 0))
    assert feed.unread[0].startswith("m_7.tif holds frames (9, 24)")
    assert feed.unread[1].startswith("m_9.tif never became complete")


def test_channels_of_file_names_are_not_watched_as_time(tmp_path, movie):
    for channel in (1, 2):
        for number in range(3):
            path = tmp_path / f"r_Ch{channel}_{number}.tif"
            tifffile.imwrite(path, movie[number], photometric="minisblack", metadata=None)
            os.utime(path, (1e9, 1e9))
    with pytest.raises(InvalidInputError, match=r"2 channels \(Ch1, Ch2\).*such as '\*Ch1\*"):
        WatchFeed(tmp_path, idle_seconds=0)
    feed = WatchFeed(tmp_path, pattern="*_Ch2_*", idle_seconds=0)
    assert sum(len(batch.frames) for batch in feed) == 3


def test_functions_take_many_files_and_folders(tmp_path, movie, pages):
    report = pg.encode_many([tmp_path, pages], [tmp_path / "a.zarr", tmp_path / "b.zarr"], layout="lossless")
    assert len(report.reports) == 2
    for name in ("a.zarr", "b.zarr"):
        np.testing.assert_array_equal(pg.open(tmp_path / name).counts[...], movie)
    assert pg.fidelity(pages, tmp_path / "a.zarr").ok
    assert pg.estimate_noise(str(tmp_path / "m_*.tif")).source.endswith("m_*.tif")


def test_workers_record_frames_that_their_source_lacks(tmp_path, movie, cut):
    """Workers of a cluster open the source; the process that publishes the movie never sees it."""
    from photon_gpu.cluster.worker_sources import travelling
    from photon_gpu.cluster.worker_tasks import prepare
    from photon_gpu.encode_settings import EncodeSettings
    from photon_gpu.sources.select.open_options import SourceRequest
    from photon_gpu.store.claim import Claim
    from photon_gpu.store.destination import destination

    frames = travelling(SourceRequest(cut, {"truncated": "keep"}))
    target = destination(tmp_path / "m.zarr", None)
    with pytest.raises(KeyboardInterrupt), Claim(target, overwrite=False, resume=False) as claim:
        ready = prepare(frames, claim.target, target, claim.token, EncodeSettings(layout="lossless"), None)
        assert ready.truncation.frames == 39 and ready.lost == ()
        raise KeyboardInterrupt
