"""Recordings into OME-Zarr movies: shards are written once they are full, and nothing is lost by a kill."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.store.ome_zarr import shards
from photon_gpu.store.ome_zarr.zarr2_view import OmeZarrStorage
from tests.support.noise.one_camera_movies import CAMERA, camera_movie
from tests.support.waiting import wait_until

VALUES = camera_movie(75, 17, 23)
OPTIONS = {"noise": CAMERA, "chunk_frames": 10, "publish_seconds": 0.0}
SHAPE = {"frame_shape": (17, 23), "dtype": "uint16"}


@pytest.fixture(autouse=True)
def three_chunks_in_a_shard(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 3 * 10 * 17 * 23 * 2)


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_a_recording_is_the_encoded_movie_in_the_same_shards(layout, tmp_path):
    url, folder = str(tmp_path / "m.ome.zarr"), str(tmp_path / "m.zarr")
    with pg.LiveWriter(url, layout=layout, **SHAPE, **OPTIONS) as live:
        live.append(VALUES[:40], timestamp=list(range(40)))
        wait_until(lambda: live.status().frames_stored == 40)
        growing = pg.open(url, follow=True)
        wait_until(lambda: Path(url, "0/c/0/0/0").exists() and not Path(url, "0/0.0.0").exists())
        assert len(growing) == 40
        counts = growing.counts[:40]
        assert Path(url, "0/3.0.0").exists()
        assert not Path(url, "zarr.json").exists()
        assert {problem.kind for problem in pg.verify(url, deep=True).problems} == {"unfinished"}
        live.append(VALUES[40:], timestamp=list(range(40, 75)))
    with pg.LiveWriter(folder, layout=layout, **SHAPE, **OPTIONS) as live:
        live.append(VALUES, timestamp=list(range(75)))
    movie, expected = pg.open(url), pg.open(folder)
    assert growing.refresh() == 75
    np.testing.assert_array_equal(growing.counts[:40], counts)
    np.testing.assert_array_equal(growing.counts[...], expected.counts[...])
    np.testing.assert_array_equal(movie[...], expected[...])
    assert movie.timestamps[74] == 74
    check = pg.verify(url, deep=True)
    assert check.ok, str(check)
    array = zarr.open_group(url, mode="r")["0"]
    assert (array.shape, array.shards) == ((75, 17, 23), (30, 17, 23))
    np.testing.assert_array_equal(array[...], movie[...] if layout == "plain" else movie.counts[...])
    assert not [path for path in Path(url, "0").iterdir() if path.name.endswith(".0.0")]
    assert pg.recover(url).recovered == 0


def test_a_short_recording_and_one_without_frames(tmp_path):
    with pg.LiveWriter(tmp_path / "m.ome.zarr", **SHAPE, **OPTIONS) as live:
        live.append(VALUES[:7])
    assert pg.verify(tmp_path / "m.ome.zarr", deep=True).ok
    assert zarr.open_group(str(tmp_path / "m.ome.zarr"), mode="r")["0"].shape == (7, 17, 23)
    pg.LiveWriter(tmp_path / "none.ome.zarr", **SHAPE, **OPTIONS).close()
    assert [path.name for path in tmp_path.iterdir()] == ["m.ome.zarr"]


def test_levels_are_those_of_the_encoded_movie(tmp_path):
    with pg.LiveWriter(tmp_path / "live.ome.zarr", pyramid=2, **SHAPE, **OPTIONS) as live:
        live.append(VALUES)
    pg.encode(VALUES, tmp_path / "m.ome.zarr", noise=CAMERA, layout="compact", chunk_frames=10, pyramid=2)
    recorded, encoded = (
        zarr.open_group(str(tmp_path / name), mode="r") for name in ("live.ome.zarr", "m.ome.zarr")
    )
    assert (
        recorded.attrs["ome"]["multiscales"][0]["datasets"]
        == (encoded.attrs["ome"]["multiscales"][0]["datasets"])
    )
    for level in ("0", "1", "2"):
        np.testing.assert_array_equal(recorded[level][...], encoded[level][...])
    assert pg.verify(tmp_path / "live.ome.zarr", deep=True).ok


def test_a_damaged_chunk_costs_the_levels_and_not_the_recording(tmp_path):
    with (
        pytest.warns(pg.PhotonWarning, match="no pyramid levels were added, since a chunk is damaged"),
        pg.LiveWriter(tmp_path / "m.ome.zarr", pyramid=1, **SHAPE, **OPTIONS) as live,
    ):
        live.append(VALUES[:30])
        wait_until(lambda: live.status().frames_stored == 30)
        shard = tmp_path / "m.ome.zarr/0/c/0/0/0"
        wait_until(shard.exists)
        shard.write_bytes(bytes(50) + shard.read_bytes()[50:])
        live.append(VALUES[30:])
    assert sorted(path.name for path in (tmp_path / "m.ome.zarr").iterdir()) == ["0", "zarr.json"]
    assert len(pg.open(tmp_path / "m.ome.zarr")) == 75


@pytest.mark.parametrize("where", ["join", "delete", "publish", "level", "group"])
@pytest.mark.parametrize("durability", ["frame", "chunk"])
def test_a_kill_loses_no_acknowledged_frame(where, durability, tmp_path):
    url, told = str(tmp_path / "m.ome.zarr"), tmp_path / "told"
    if (child := os.fork()) == 0:
        signal.alarm(60)
        die_at(where, OmeZarrStorage)
        try:
            live = pg.LiveWriter(url, durability=durability, pyramid=1, **SHAPE, **OPTIONS)
            for first in range(0, 75, 5):
                live.append(VALUES[first : first + 5])
                with told.open("a") as file:
                    file.write(f"{live.acknowledged}\n")
            live.close()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    acknowledged = int(told.read_text().split("\n")[-2])
    report = pg.recover(url)
    assert acknowledged <= report.frames <= 75
    assert report.frames > 0
    check = pg.verify(url, deep=True)
    assert check.ok, str(check)
    movie = pg.open(url)
    with pg.LiveWriter(tmp_path / "other.zarr", **SHAPE, **OPTIONS) as live:
        live.append(VALUES[: len(movie)])
    np.testing.assert_array_equal(movie.counts[...], pg.open(tmp_path / "other.zarr").counts[...])
    group = zarr.open_group(url, mode="r")
    assert group["0"].shape[0] == group["1"].shape[0] == len(movie)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.ome.zarr", "other.zarr", "told"]


def die_at(where, storage):
    """Kill this process before a shard is written, after it, in a level, or before a ``zarr.json``."""
    write_shard, write, array = storage.write_shard, storage.write, storage._write_array_json
    container = storage.write_container
    count = []

    def in_shard(self, *arguments):
        count.append(1)
        if where == "join" and len(count) == 2:
            os._exit(9)
        write_shard(self, *arguments)
        if where == "delete" and len(count) == 2:
            os._exit(9)

    def in_array(self, *arguments):
        if where == "publish" and count:
            os._exit(9)
        array(self, *arguments)

    def in_group(self, name, *arguments, **options):
        if where == "group" and name == "/zarr.json":
            os._exit(9)
        write(self, name, *arguments, **options)

    def in_level(self, name, *arguments):
        if where == "level" and name == "1/c/1/0/0":
            os._exit(9)
        container(self, name, *arguments)

    storage.write_shard, storage._write_array_json, storage.write = in_shard, in_array, in_group
    storage.write_container = in_level


def test_axes_that_ome_does_not_allow_are_refused(tmp_path):
    url = tmp_path / "m.ome.zarr"
    with pytest.raises(InvalidInputError, match="in this order"):
        pg.LiveWriter(url, frame_shape=(2, 1, 17, 23), dtype="uint16", noise=CAMERA, axes="tzcyx")
    assert not url.exists()


def test_a_store_without_folders_is_recorded_to():
    url = "memory://recorded.ome.zarr"
    with pg.LiveWriter(url, **SHAPE, **OPTIONS) as live:
        live.append(VALUES)
    assert pg.verify(url, deep=True).ok
    assert not [name for name in pg.Storage.at(url).names() if name.endswith(".0.0")]
    pg.Storage.at(url).delete_folder()
