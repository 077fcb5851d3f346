"""recover: from the spool or the movie, once, and never over somebody else's."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.claim import MARKER
from photon_gpu.errors import (
    CorruptDataError,
    InvalidInputError,
    StoreExistsError,
    StoreNotFoundError,
    UnsupportedVersionError,
)
from photon_gpu.live import LiveConfig, pending, sealed
from photon_gpu.live.spool import RECORDING

MOVIE = np.random.default_rng(0).integers(0, 8, (30, 6, 7)).astype("uint16")
COUNTER = pg.NoiseModel()


def killed(url, spool, frames=11, stored=0, **options):
    """A recording as a kill leaves it: threads stop, nothing is finished, the lock goes with the process."""
    options = {
        "chunk_frames": 4, "publish_seconds": 0.0, "workers": 1, "layout": "lossless", "durability": "frame",
        "noise": COUNTER, **options,
    }  # fmt: skip
    live = pg.LiveWriter(url, frame_shape=(6, 7), dtype="uint16", spool=spool, **options)
    for t in range(frames):
        live.append(MOVIE[t], timestamp=t)
    until = time.monotonic() + 20
    while live.status().frames_stored < stored:
        assert time.monotonic() < until
        time.sleep(0.005)
    live._journaling.stop()
    live._pipeline.stop()
    live._spool.release()
    return live


def exact(url, frames=11):
    movie = pg.open(url)
    return np.array_equal(movie.counts[...], MOVIE[:frames]) and movie.timestamps.tolist() == list(
        range(frames)
    )


@pytest.mark.parametrize("given", ["spool", "folder", "movie"])
def test_from_the_spool_its_folder_or_the_movie(tmp_path, given):
    live = killed(tmp_path / "m.zarr", tmp_path / "fast")
    where = {"spool": tmp_path / "fast", "folder": live.spool, "movie": tmp_path / "m.zarr"}[given]
    report = pg.recover(where)
    assert report.frames == 11 and 0 < report.recovered <= 11 and exact(tmp_path / "m.zarr")
    assert not (tmp_path / "fast").exists() and "11 frames" in str(report)
    assert pg.verify(tmp_path / "m.zarr", deep=True).ok
    assert pg.recover(tmp_path / "m.zarr").recovered == 0


def test_a_recovered_movie_is_the_one_that_would_have_been(tmp_path):
    with pg.LiveWriter(
        tmp_path / "whole.zarr", frame_shape=(6, 7), dtype="uint16", chunk_frames=4, noise=COUNTER, workers=1
    ) as live:
        live.append(MOVIE[:11], timestamp=range(11))
    killed(tmp_path / "m.zarr", tmp_path / "fast", layout="compact")
    pg.recover(tmp_path / "fast")
    for path in sorted((tmp_path / "whole.zarr").rglob("*")):
        if path.is_file() and path.name not in (
            ".zattrs",
            ".manifest.json",
        ):  # they hold the recording's token
            assert (
                path.read_bytes()
                == (tmp_path / "m.zarr" / path.relative_to(tmp_path / "whole.zarr")).read_bytes()
            )


def test_while_it_runs_it_is_left_alone(tmp_path):
    with pg.LiveWriter(
        tmp_path / "m.zarr", frame_shape=(6, 7), dtype="uint16", durability="frame", spool=tmp_path / "fast"
    ) as live:
        live.append(MOVIE[0])
        for where in (tmp_path / "fast", tmp_path / "m.zarr"):
            with pytest.raises(InvalidInputError, match="still runs"):
                pg.recover(where)


def test_several_recordings_in_a_spool(tmp_path):
    killed(tmp_path / "a.zarr", tmp_path / "fast")
    killed(tmp_path / "b.zarr", tmp_path / "fast")
    with pytest.raises(InvalidInputError, match="holds 2 recordings"):
        pg.recover(tmp_path / "fast")
    for folder in pending(tmp_path / "fast"):
        pg.recover(folder)
    assert exact(tmp_path / "a.zarr") and exact(tmp_path / "b.zarr")


def test_to_another_place_when_nothing_was_published(tmp_path):
    killed(tmp_path / "m.zarr", tmp_path / "fast", frames=3)
    shutil.rmtree(tmp_path / "m.zarr")
    pg.recover(tmp_path / "fast", url=tmp_path / "other.zarr")
    assert exact(tmp_path / "other.zarr", 3)


def test_a_place_that_another_movie_took(tmp_path):
    killed(tmp_path / "m.zarr", tmp_path / "fast", frames=3)
    shutil.rmtree(tmp_path / "m.zarr")
    pg.encode(MOVIE, tmp_path / "m.zarr")
    with pytest.raises(StoreExistsError, match="holds another movie"):
        pg.recover(tmp_path / "fast")
    assert len(pg.open(tmp_path / "m.zarr")) == 30


def test_published_chunks_that_somebody_removed_are_missed(tmp_path):
    killed(tmp_path / "m.zarr", tmp_path / "fast", stored=4)
    shutil.rmtree(tmp_path / "m.zarr")
    with pytest.raises(StoreNotFoundError, match="had been published there are gone"):
        pg.recover(tmp_path / "fast")
    assert pending(tmp_path / "fast")


def test_a_spool_that_is_gone_or_elsewhere(tmp_path):
    live = killed(tmp_path / "m.zarr", tmp_path / "fast", stored=4)
    stored = live.status().frames_stored
    shutil.rmtree(tmp_path / "fast")
    with pytest.raises(StoreNotFoundError, match="discard_spool=True"):
        pg.recover(tmp_path / "m.zarr")
    report = pg.recover(tmp_path / "m.zarr", discard_spool=True)
    assert report.frames == stored and pg.verify(tmp_path / "m.zarr").ok
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], MOVIE[:stored])


def test_before_the_noise_was_estimated(tmp_path):
    killed(
        tmp_path / "m.zarr",
        tmp_path / "fast",
        frames=3,
        noise=lambda frames: COUNTER,
        estimate_frames=8,
        layout="compact",
    )
    with pytest.raises(InvalidInputError, match="before its noise model was estimated"):
        pg.recover(tmp_path / "fast")
    pg.recover(tmp_path / "fast", noise=COUNTER)
    assert exact(tmp_path / "m.zarr", 3)


def test_what_was_encoded_is_no_recording(tmp_path):
    (tmp_path / "m.zarr").mkdir()
    (tmp_path / "m.zarr" / MARKER).write_text(json.dumps({"pid": 0, "token": "x", "plan": {}}))
    with pytest.raises(InvalidInputError, match=r"resume=True\) goes on"):
        pg.recover(tmp_path / "m.zarr")
    with pytest.raises(StoreNotFoundError, match="nothing is there to recover"):
        pg.recover(tmp_path / "nothing.zarr")


def test_damaged_or_newer_spools_are_told(tmp_path):
    live = killed(tmp_path / "m.zarr", tmp_path / "fast")
    path = Path(live.spool) / RECORDING
    facts = sealed.read(path)
    copy = Path(f"{path}.copy").read_bytes()
    for damaged in (path, Path(f"{path}.copy")):
        damaged.write_text("{")
    with pytest.raises(CorruptDataError, match=r"recording\.json was altered, and so was its copy"):
        pg.recover(live.spool)
    sealed.write(path, {**facts, "spool_version": 99})
    with pytest.raises(UnsupportedVersionError, match="spool version 99"):
        pg.recover(live.spool)
    path.write_text("{")
    Path(f"{path}.copy").write_bytes(copy)  # one of the two is enough
    assert pg.recover(live.spool).frames == 11


def test_an_altered_marker_is_known_by_the_movie_beside_it(tmp_path):
    killed(tmp_path / "m.zarr", tmp_path / "fast")
    (tmp_path / "m.zarr" / MARKER).write_bytes(b"{?")
    assert pg.recover(tmp_path / "fast").frames == 11 and exact(tmp_path / "m.zarr")


def test_an_altered_marker_before_anything_was_published(tmp_path):
    killed(tmp_path / "m.zarr", tmp_path / "fast", frames=3)
    (tmp_path / "m.zarr" / MARKER).write_bytes(b"")
    assert pg.recover(tmp_path / "fast").frames == 3 and exact(tmp_path / "m.zarr", 3)


def test_a_marker_of_somebody_else_is_respected(tmp_path):
    killed(tmp_path / "m.zarr", tmp_path / "fast")
    path = tmp_path / "m.zarr" / MARKER
    path.write_text(json.dumps({**json.loads(path.read_text()), "token": "f" * 32}))
    with pytest.raises(StoreExistsError, match="by somebody else"):
        pg.recover(tmp_path / "fast")
    assert pending(tmp_path / "fast")


def test_parameters_survive_json():
    config = LiveConfig(frame_shape=(6, 7), dtype="int16", durability="frame", dither=5, chunk_frames=9)
    assert LiveConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(InvalidInputError, match="unknown parameter 'colour'"):
        LiveConfig.from_dict({**config.to_dict(), "colour": 1})
