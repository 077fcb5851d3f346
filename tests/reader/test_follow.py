"""A movie that is read while it is recorded: a prefix that grows and never changes."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, StoreNotFoundError
from tests.support.waiting import wait_until

MOVIE = np.random.default_rng(0).integers(0, 8, (60, 6, 7)).astype("uint16")


def begin(url, **options):
    options = {"chunk_frames": 5, "publish_seconds": 0.0, "workers": 1, "layout": "lossless", **options}
    options.setdefault("noise", pg.NoiseModel())
    return pg.LiveWriter(url, frame_shape=(6, 7), dtype="uint16", **options)


def test_a_reader_sees_every_frame_once_in_order_and_stops_at_the_end(tmp_path):
    live = begin(tmp_path / "m.zarr")
    live.append(MOVIE[:5], timestamp=range(5))
    wait_until(lambda: live.acknowledged == 5)
    movie = pg.open(tmp_path / "m.zarr", follow=True)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(movie.follow_counts()))
    reader.start()
    for t in range(5, 58):
        live.append(MOVIE[t], timestamp=t)
        time.sleep(0.003)
    live.close()
    reader.join(20)
    assert not reader.is_alive() and not movie.growing
    assert np.array_equal(np.stack(seen), MOVIE[:58])
    assert movie.timestamps.tolist() == list(range(58))


def test_any_reader_at_any_time_sees_a_consistent_prefix(tmp_path):
    """Plain zarr and photon_gpu open the store again and again while it grows."""
    live, failures, lengths = begin(tmp_path / "m.zarr"), [], []
    live.append(MOVIE[:5])
    wait_until(lambda: live.acknowledged == 5)
    done = threading.Event()

    def read():
        while not done.is_set():
            try:
                plain = zarr.open(tmp_path / "m.zarr", mode="r", zarr_format=2)
                assert np.array_equal(plain[...], MOVIE[: plain.shape[0]])
                movie = pg.open(tmp_path / "m.zarr", workers=1)
                assert np.array_equal(movie.counts[...], MOVIE[: len(movie)])
                lengths.append(len(movie))
            except Exception as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for t in range(5, 60):
        live.append(MOVIE[t])
        time.sleep(0.005)
    live.close()
    time.sleep(0.05)
    done.set()
    reader.join()
    assert not failures, failures[0]
    assert lengths == sorted(lengths) and len(set(lengths)) >= 4


def test_the_length_changes_with_refresh_alone(tmp_path):
    live = begin(tmp_path / "m.zarr", publish_seconds=0.0)
    live.append(MOVIE[:5])
    wait_until(lambda: live.acknowledged == 5)
    movie = pg.open(tmp_path / "m.zarr", follow=True)
    live.append(MOVIE[5:20])
    wait_until(lambda: live.acknowledged == 20)
    assert len(movie) == 5 and movie.counts[...].shape[0] == 5
    key = ([-1, 0], slice(None), [1, 2])
    np.testing.assert_array_equal(movie.counts[key], MOVIE[:5][key])
    assert movie.refresh() == 20 and np.array_equal(movie.counts[...], MOVIE[:20])
    live.close()


def test_waiting_ends_by_time_and_with_the_recording(tmp_path):
    live = begin(tmp_path / "m.zarr")
    live.append(MOVIE[:5])
    wait_until(lambda: live.acknowledged == 5)
    movie = pg.open(tmp_path / "m.zarr", follow=True)
    assert movie.wait(5) and not movie.wait(6, timeout=0.05, interval=0.01)
    live.append(MOVIE[5:7])
    live.close()
    assert movie.wait(7) and not movie.wait(8)


def test_another_movie_in_its_place_is_an_error(tmp_path):
    pg.encode(MOVIE[:20], tmp_path / "m.zarr", chunk_frames=5, noise=pg.NoiseModel())
    movie = pg.open(tmp_path / "m.zarr", follow=True)
    pg.encode(MOVIE[:20], tmp_path / "m.zarr", chunk_frames=4, overwrite=True, noise=pg.NoiseModel())
    with pytest.raises(CorruptDataError, match="another movie replaced it"):
        movie.refresh()


def test_before_the_first_chunk_there_is_nothing_to_follow(tmp_path):
    with begin(tmp_path / "m.zarr") as live:
        live.append(MOVIE[:2])
        with pytest.raises(StoreNotFoundError):
            pg.open(tmp_path / "m.zarr", follow=True)
