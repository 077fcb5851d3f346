"""A recording keeps what its source says besides pixels: of one file, of many, and through a recovery."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.live.feeds import SourceFeed
from photon_gpu.live.record_feed import record
from photon_gpu.live.spool.spool import Spool
from photon_gpu.live.watch import WatchFeed
from photon_gpu.recording import Document, Recording
from photon_gpu.source_metadata_zip import unpack
from photon_gpu.store.in_progress_marker import MARKER
from tests.support.sources.source_files import make_movie, write_scanimage

MOVIE = make_movie((24, 8, 10), dtype="uint16")
SETTINGS = {"layout": "lossless", "noise": pg.NoiseModel(), "check": False}
WORDS = Recording(
    axes="tyx", documents=(Document(name="tiff/Software", media_type="text/plain", data=b"rig 3"),)
)


def scanimage(path, first=0):
    return write_scanimage(
        path, MOVIE, frame_text=lambda n: f"frameTimestamps_sec = {(first + n) / 30:.6f}\n"
    )


def test_a_complete_file_gives_its_words_and_the_time_of_each_frame(tmp_path):
    with pg.open_source(scanimage(tmp_path / "run.tif")) as source:
        record(SourceFeed(source), tmp_path / "run.zarr", attributes={"mouse": 7}, **SETTINGS)
        wanted = source.recording
    movie = pg.open(tmp_path / "run.zarr")
    np.testing.assert_allclose(movie.timestamps, np.arange(24) / 30, atol=1e-6)
    assert (movie.axes, movie.attrs["mouse"]) == ("tyx", 7)
    assert tuple(movie.source_metadata.values()) == wanted.documents
    assert pg.verify(tmp_path / "run.zarr").ok


def test_every_file_of_a_folder_gives_its_words(tmp_path):
    folder = tmp_path / "watched"
    folder.mkdir()
    for number in range(2):
        scanimage(folder / f"run_{number}.tif", first=24 * number)
    feed = WatchFeed(folder, settle_seconds=0.05, idle_seconds=0.3)
    record(feed, tmp_path / "run.zarr", **SETTINGS)
    movie = pg.open(tmp_path / "run.zarr")
    np.testing.assert_allclose(movie.timestamps, np.arange(48) / 30, atol=1e-6)
    first, second = (
        movie.source_metadata[name].data
        for name in ("tiff/ImageDescription", "run_1.tif/tiff/ImageDescription")
    )
    assert first.startswith(b"frameTimestamps_sec = 0.000") and second.startswith(
        b"frameTimestamps_sec = 0.8"
    )
    assert pg.verify(tmp_path / "run.zarr").ok


def test_words_survive_a_recording_that_was_killed(tmp_path):
    store = tmp_path / "killed.zarr"
    live = pg.LiveWriter(
        store, frame_shape=(8, 10), dtype="uint16", chunk_frames=10, recording=WORDS, **SETTINGS
    )
    live.append(MOVIE[:12])
    live.close()
    whole = pg.open(store)
    assert whole.source_metadata["tiff/Software"].text == "rig 3" and whole.axes == "tyx"
    # As a kill before the last metadata leaves it.
    (store / MARKER).write_bytes(b'{"token": "%s", "recording": true}' % whole.attrs["recording_id"].encode())
    report = pg.recover(store)
    assert report.frames == 12
    result = pg.open(store)
    assert result.source_metadata["tiff/Software"].text == "rig 3" and pg.verify(store).ok


def test_a_recording_without_frames_leaves_nothing(tmp_path):
    store = tmp_path / "empty.zarr"
    with pg.LiveWriter(store, frame_shape=(8, 10), dtype="uint16", recording=WORDS, **SETTINGS):
        assert (store / ".source_metadata.zip").exists()
    assert not store.exists()


def test_a_tiff_that_is_recorded_is_decoded_with_its_words(tmp_path):
    from photon_gpu.reader.export import export

    source = tmp_path / "run.ome.tif"
    tifffile.imwrite(source, MOVIE, metadata={"axes": "TYX", "PhysicalSizeX": 0.5})
    with pg.open_source(source) as opened:
        record(SourceFeed(opened), tmp_path / "run.zarr", **SETTINGS)
    export(pg.open(tmp_path / "run.zarr"), tmp_path / "back.tif")
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(tmp_path / "back.tif") as after:
        assert after.ome_metadata == before.ome_metadata and after.series[0].axes == "TYX"


def test_a_movie_that_is_followed_reads_words_that_changed_at_the_end(tmp_path):
    store = tmp_path / "run.zarr"
    options = {"frame_shape": (8, 10), "dtype": "uint16", "chunk_frames": 4, **SETTINGS}
    with pg.LiveWriter(store, recording=WORDS, **options) as live:
        live.append(MOVIE[:8])
        while not (store / ".zarray").exists():
            time.sleep(0.01)
        movie = pg.open(store, follow=True)
        assert list(movie.source_metadata) == ["tiff/Software"]
        more = Document(name="b.tif/tiff/Software", media_type="text/plain", data=b"rig 4")
        live.describe(WORDS.replace(documents=(*WORDS.documents, more)))
    movie._words = None
    assert movie.source_metadata["b.tif/tiff/Software"].text == "rig 4"
    assert pg.open(store).source_metadata == movie.source_metadata and pg.verify(store).ok


def test_words_of_files_that_came_before_a_kill_are_kept(tmp_path):
    store, killed = tmp_path / "run.zarr", tmp_path / "killed.zarr"
    more = Document(name="b.tif/tiff/Software", media_type="text/plain", data=b"rig 4")
    options = {"frame_shape": (8, 10), "dtype": "uint16", "chunk_frames": 4, **SETTINGS}
    with pg.LiveWriter(store, recording=WORDS, publish_seconds=0.0, **options) as live:
        live.append(MOVIE[:8])
        live.describe(WORDS.replace(documents=(*WORDS.documents, more)))
        live.append(MOVIE[8:16])
        while not (store / ".zarray").exists() or len(pg.open(store)) < 16:
            time.sleep(0.01)
        shutil.copytree(store, killed)  # what a kill leaves
    assert pg.recover(killed).frames == 16
    result = pg.open(killed)
    assert result.source_metadata["b.tif/tiff/Software"].text == "rig 4" and pg.verify(killed).ok


KILLED = """
import os, signal, sys, threading, time
import photon_gpu as pg
from photon_gpu.live.record_feed import record
from photon_gpu.live.watch import WatchFeed
from photon_gpu.store import source_metadata

folder, store, durability = sys.argv[1:]
recordings, pack, begin = [], source_metadata.pack, pg.LiveWriter.__init__


def packed(recording):
    time.sleep(0.01 * len(recording.documents))  # as for thousands of files
    return pack(recording)


def begun(self, *args, **options):
    begin(self, *args, **options)
    recordings.append(self)


def kill():
    while not recordings or recordings[0].acknowledged < 72:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


source_metadata.pack, pg.LiveWriter.__init__ = packed, begun
threading.Thread(target=kill, daemon=True).start()
options = {"layout": "lossless", "noise": pg.NoiseModel(), "check": False, "chunk_frames": 24}
feed = WatchFeed(folder, settle_seconds=0.05, idle_seconds=60)
record(feed, store, durability=durability, publish_seconds=0.0, **options)
"""


@pytest.mark.skipif(os.name == "nt", reason="kills by a signal")
@pytest.mark.parametrize("durability", ["frame", "chunk"])
def test_a_kill_loses_no_words_of_files_whose_frames_are_acknowledged(tmp_path, durability):
    folder, store = tmp_path / "watched", tmp_path / "run.zarr"
    folder.mkdir()
    for number in range(3):
        scanimage(folder / f"run_{number}.tif", first=24 * number)
    arguments = [str(folder), str(store), durability]
    ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=300, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert pg.recover(store).frames == 72
    kept = set(pg.open(store).source_metadata)
    assert {f"run_{number}.tif/tiff/ImageDescription" for number in (1, 2)} < kept
    assert "tiff/ImageDescription" in kept and pg.verify(store).ok


def test_the_spool_keeps_the_words_of_each_file_once(tmp_path, monkeypatch):
    folder, saved = tmp_path / "watched", []
    folder.mkdir()
    for number in range(3):
        scanimage(folder / f"run_{number}.tif", first=24 * number)
    monkeypatch.setattr(Spool, "add_words", lambda self, data: saved.append(unpack(data, "spool")))
    feed = WatchFeed(folder, settle_seconds=0.05, idle_seconds=0.3)
    record(feed, tmp_path / "run.zarr", durability="frame", **SETTINGS)
    names = [document.name for words in saved for document in words.documents]
    assert len(saved) == 2 and len(names) == len(set(names)) > 2
    assert set(names) == set(pg.open(tmp_path / "run.zarr").source_metadata)
