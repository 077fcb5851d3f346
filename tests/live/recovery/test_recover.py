"""recover: from the spool or the movie, once, and never over somebody else's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.codec import blosc
from photon_gpu.errors import (
    CorruptDataError,
    InvalidInputError,
    StoreExistsError,
    StoreNotFoundError,
    UnsupportedVersionError,
)
from photon_gpu.live import LiveConfig, pending
from photon_gpu.live.spool import checked_json
from photon_gpu.live.spool.spool import RECORDING, Spool
from photon_gpu.recording import Document, Recording
from photon_gpu.store import durable, manifest
from photon_gpu.store.claim import MARKER
from photon_gpu.store.storage import Storage
from tests.support.faults.killed_recordings import COUNTER, MOVIE, killed
from tests.support.waiting import wait_until


def exact(url, frames=11):
    movie = pg.open(url)
    return np.array_equal(movie.counts[...], MOVIE[:frames]) and movie.timestamps.tolist() == list(
        range(frames)
    )


@pytest.mark.parametrize("source", ["spool", "folder", "movie"])
def test_from_the_spool_its_folder_or_the_movie(tmp_path, source):
    live = killed(tmp_path / "m.zarr", tmp_path / "fast")
    where = {"spool": tmp_path / "fast", "folder": live.spool, "movie": tmp_path / "m.zarr"}[source]
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

    def content(path):
        data = path.read_bytes()
        if path.suffix == ".json" or path.name == ".zarray":
            return data
        payload = blosc.decompress(data, blosc.frame_sizes(data)[0])
        payload[80:84], payload[92:96] = 0, 0  # the movie's identity, and the CRC of the header
        return payload.tobytes()

    for path in sorted((tmp_path / "whole.zarr").rglob("*")):
        if path.is_file() and path.name not in (
            ".zattrs",
            ".manifest.json",
        ):  # they hold the recording's token
            assert content(path) == content(tmp_path / "m.zarr" / path.relative_to(tmp_path / "whole.zarr"))


def test_a_decoder_that_was_stored_stays(tmp_path):
    killed(tmp_path / "m.zarr", tmp_path / "fast", with_decoder=True)
    assert pg.recover(tmp_path / "fast").frames == 11
    assert pg.verify(tmp_path / "m.zarr").ok and (tmp_path / "m.zarr" / "photon_decode.py").exists()


def test_while_it_runs_it_is_left_alone(tmp_path):
    with pg.LiveWriter(
        tmp_path / "m.zarr",
        frame_shape=(6, 7),
        dtype="uint16",
        durability="frame",
        spool=tmp_path / "fast",
        noise=pg.NoiseModel(),
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
    pg.encode(MOVIE, tmp_path / "m.zarr", noise=pg.NoiseModel())
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
    facts = checked_json.read(path)
    copy = Path(f"{path}.copy").read_bytes()
    for damaged in (path, Path(f"{path}.copy")):
        damaged.write_text("{")
    with pytest.raises(CorruptDataError, match=r"recording\.json was altered, and so was its copy"):
        pg.recover(live.spool)
    checked_json.write(path, {**facts, "spool_version": 99})
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
    with pytest.raises(StoreExistsError, match="by another process"):
        pg.recover(tmp_path / "fast")
    assert pending(tmp_path / "fast")


def test_parameters_survive_json():
    config = LiveConfig(frame_shape=(6, 7), dtype="int16", durability="frame", dither=5, chunk_frames=9)
    assert LiveConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(InvalidInputError, match="settings: 'colour' is not one of"):
        LiveConfig.from_dict({**config.to_dict(), "colour": 1})


WIDE = np.full((11, 6, 7), 100, "int32")
WIDE[6, 2, 2] = -2_000_000


def lax(monkeypatch, url, spool, stop_before=0, **options):
    """A killed recording of a release whose check took any value; chunks from that one on are not encoded."""
    from photon_gpu.live.frame_check import FrameCheck

    monkeypatch.setattr(FrameCheck, "admit", lambda self, block, first_frame: None)
    options = {"chunk_frames": 4, "publish_seconds": 0.0, "workers": 1, "durability": "frame", **options}
    live = pg.LiveWriter(
        url, frame_shape=(6, 7), dtype="int32", spool=spool, noise=pg.NoiseModel(variance=1.0), **options
    )
    submit = live._pipeline.submit
    live._pipeline.submit = lambda chunk: submit(chunk) if chunk.number < stop_before else None
    for t, frame in enumerate(WIDE):
        live.append(frame, timestamp=t)
    wait_until(lambda: live.status().frames_stored >= 4 * stop_before)
    live._journaling.stop()
    live._pipeline.stop()
    live._spool.release()
    monkeypatch.undo()


@pytest.mark.parametrize("layout", ["compact", "plain"])
def test_frames_no_layout_was_chosen_for_and_none_can_quantize_are_stored_lossless(
    tmp_path, monkeypatch, layout
):
    lax(monkeypatch, tmp_path / "m.zarr", tmp_path / "fast", layout=layout)
    report = pg.recover(tmp_path / "fast")
    movie = pg.open(tmp_path / "m.zarr")
    assert report.frames == 11 and movie.layout == "lossless" and np.array_equal(movie.counts[...], WIDE)
    assert "every bit is kept, layout lossless" in str(report)


def test_frames_that_a_chosen_layout_cannot_quantize_are_stored_as_they_are(tmp_path, monkeypatch):
    lax(monkeypatch, tmp_path / "m.zarr", tmp_path / "fast", stop_before=1)
    report = pg.recover(tmp_path / "fast")
    movie = pg.open(tmp_path / "m.zarr")
    assert movie.layout == "compact" and np.array_equal(movie.counts[4:8], WIDE[4:8])
    assert len(movie) == 11 and pg.verify(tmp_path / "m.zarr", deep=True).ok
    assert "frames 4 to 7 could not be quantized and are stored as they are" in str(report)


def test_frames_that_plain_cannot_quantize_are_kept_beside_the_spool(tmp_path, monkeypatch):
    lax(monkeypatch, tmp_path / "m.zarr", tmp_path / "fast", stop_before=1, layout="plain")
    with pytest.raises(InvalidInputError, match="nothing was changed"):
        pg.recover(tmp_path / "fast")
    assert len(pending(tmp_path / "fast")) == 1
    report = pg.recover(tmp_path / "fast", salvage=True)
    assert report.lost == [(4, 8)] and "could not be quantized: they are in" in str(report)
    (path,) = (tmp_path / "fast").glob("*-frames-4-7.npy")
    assert np.array_equal(np.load(path), WIDE[4:8])
    movie = pg.open(tmp_path / "m.zarr")
    assert len(movie) == 11 and movie.timestamps.tolist() == list(range(11))
    assert pg.verify(tmp_path / "m.zarr").lost == ((4, 7),)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"layout": "galvo"}, "own key"),
        ({"predictor": "me"}, "own key"),
        ({"recording_id": "x"}, "own key"),
        ({"lost_frames": [[0, 3]]}, "own key"),
        ({"noise_estimate": {}}, "own key"),
        ({"a": object()}, "can only hold JSON values"),
        ({"a": float("nan")}, "can only hold JSON values"),
        ({("a", 1): 2}, "can only hold JSON values"),
        ({1: "a", "1": "b"}, "two keys become '1'"),
        ([1], "a dictionary is needed"),
        ({"a": "x" * (64 << 20)}, "bytes as JSON"),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("durability", ["frame", "chunk"])
def test_attributes_that_could_not_be_read_back_begin_nothing(tmp_path, attributes, words, durability):
    with pytest.raises(InvalidInputError, match=words):
        pg.LiveWriter(
            tmp_path / "m.zarr",
            frame_shape=(6, 7),
            dtype="uint16",
            durability=durability,
            attributes=attributes,
            noise=pg.NoiseModel(),
        )
    assert not list(tmp_path.iterdir())


def test_attributes_with_keys_that_are_numbers_come_back_as_strings(tmp_path):
    planes = {2: 0.0, 10: 5.0, 1: (1, 2)}
    killed(tmp_path / "m.zarr", tmp_path / "fast", attributes={"planes": planes})
    assert pg.recover(tmp_path / "fast").frames == 11 and exact(tmp_path / "m.zarr")
    assert pg.open(tmp_path / "m.zarr").attrs["planes"] == {"2": 0.0, "10": 5.0, "1": [1, 2]}


def test_a_recovery_goes_on_without_attributes_that_no_movie_can_have(tmp_path):
    """As an earlier release took them."""
    live = killed(tmp_path / "m.zarr", tmp_path / "fast", frames=3)
    path = Path(live.spool) / RECORDING
    checked_json.write(path, {**checked_json.read(path), "attributes": {"layout": "galvo", "mouse": 7}})
    report = pg.recover(tmp_path / "fast")
    assert report.frames == 3 and exact(tmp_path / "m.zarr", 3)
    assert pg.open(tmp_path / "m.zarr").attrs["mouse"] == 7
    assert "attributes left out, as these keys are photon_gpu's own: layout" in str(report)


@pytest.mark.parametrize("frames", [8, 11])
def test_attributes_that_change_in_a_recovery_agree_with_the_manifest_at_any_moment(
    tmp_path, monkeypatch, frames
):
    """As an earlier release published them: without the names of axes."""
    killed(tmp_path / "m.zarr", tmp_path / "fast", frames=frames, stored=8)
    storage = Storage.at(str(tmp_path / "m.zarr"))
    files = manifest.unpack(storage.read(manifest.NAME), "m")
    old = json.loads(storage.read(".zattrs"))
    del old["_ARRAY_DIMENSIONS"], old["photon_format"]
    storage.write(".zattrs", json.dumps(old, indent=4).encode())
    del files[".zattrs"]
    storage.write(manifest.NAME, manifest.pack(files, {".zattrs": storage.read(".zattrs")}))
    write, moments = Storage.write, []

    def write_and_look(self, name, data):
        write(self, name, data)
        listed = manifest.unpack(storage.read(manifest.NAME), "m").get(".zattrs")
        moments.append(listed in (None, manifest.entry(storage.read(".zattrs"))))

    monkeypatch.setattr(Storage, "write", write_and_look)
    assert pg.recover(tmp_path / "fast").frames == frames and exact(tmp_path / "m.zarr", frames)
    assert moments and all(moments)
    assert pg.open(tmp_path / "m.zarr").attrs["_ARRAY_DIMENSIONS"] == ["t", "y", "x"]


def test_a_recording_that_ended_before_its_estimate_is_estimated_by_its_recovery(tmp_path):
    killed(tmp_path / "m.zarr", tmp_path / "fast", frames=3, noise="estimate", layout="compact")
    report = pg.recover(tmp_path / "fast")
    assert report.frames == 3 and exact(tmp_path / "m.zarr", 3)


def test_a_forked_child_does_not_hold_its_parents_recording(tmp_path):
    """The child of a recording that was killed lives on."""
    code = f"""
import os, sys, time
import numpy as np, photon_gpu as pg
live = pg.LiveWriter({str(tmp_path / "m.zarr")!r}, frame_shape=(6, 7), dtype="uint16", durability="frame",
                     spool={str(tmp_path / "fast")!r}, noise=pg.NoiseModel())
live.append(np.ones((3, 6, 7), "uint16"))
if os.fork() == 0:
    print(os.getpid(), flush=True)
    os.close(1)
    time.sleep(60)
    os._exit(0)
sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = int(process.stdout.readline())
    try:
        with pytest.raises(InvalidInputError, match="still runs"):
            pg.recover(tmp_path / "fast")
        process.kill()
        process.wait()
        assert pg.recover(tmp_path / "fast").frames == 3
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        process.kill()


def test_a_process_that_has_the_number_of_the_writer_does_not_keep_recovery_away(tmp_path):
    killed(tmp_path / "m.zarr", tmp_path / "fast", stored=8)
    shutil.rmtree(tmp_path / "fast")
    path = tmp_path / "m.zarr" / MARKER
    marker = json.loads(path.read_text())
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        path.write_text(json.dumps({**marker, "pid": other.pid, **_started(other.pid)}))
        with pytest.raises(StoreExistsError, match="still runs"):
            pg.recover(tmp_path / "m.zarr", discard_spool=True)
        path.write_text(json.dumps({**marker, "pid": other.pid}))
        assert pg.recover(tmp_path / "m.zarr", discard_spool=True).frames == 8
    finally:
        other.kill()
        other.wait()


def _started(pid):
    from photon_gpu.engine.runtime.process_alive import start_of

    return {"started": start_of(pid)}


@pytest.mark.parametrize("noise", [[COUNTER, pg.NoiseModel(variance=2.0)], "auto"])
def test_channels_keep_their_models_in_a_recording_that_was_killed(tmp_path, noise):
    light = np.random.default_rng(3).uniform(3.0, 40.0, (2, 64, 64))
    frames = np.random.default_rng(4).poisson(light, (60, 2, 64, 64)).astype("uint16")
    options = {"axes": "tcyx", "chunk_frames": 20, "layout": "compact", "durability": "frame", "workers": 1}
    live = pg.LiveWriter(
        tmp_path / "m.zarr",
        frame_shape=(2, 64, 64),
        dtype="uint16",
        noise=noise,
        spool=tmp_path / "s",
        **options,
    )
    live.append(frames)
    live._journaling.stop()
    live._pipeline.stop()
    live._spool.release()
    assert pg.recover(tmp_path / "s").frames == 60
    movie = pg.open(tmp_path / "m.zarr")
    assert len(movie.channel_noise) == 2 and movie.axes == "tcyx"
    if noise != "auto":
        assert movie.channel_noise == tuple(noise)
    for number, model in enumerate(movie.channel_noise):
        away = np.abs(movie[:, number] - pg.anscombe(frames[:, number], model))
        assert away.max() <= 0.25 + 1e-9


def test_source_metadata_described_before_a_kill_are_recovered_or_named_as_lost(tmp_path):
    """No chunk was published after them, so the store does not have them."""
    words = Document(name="second.tif/description.txt", media_type="text/plain", data=b"laser 920 nm")
    live = killed(tmp_path / "m.zarr", tmp_path / "spool", frames=3)
    live.describe(Recording(documents=(words,)))
    assert pg.recover(tmp_path / "m.zarr").notes == []
    assert exact(tmp_path / "m.zarr", 3)
    assert pg.open(tmp_path / "m.zarr").source_metadata == {words.name: words}
    assert pg.verify(tmp_path / "m.zarr").ok

    live = killed(tmp_path / "n.zarr", tmp_path / "spool", frames=3)
    (Path(live.spool) / "source_metadata.zip").write_bytes(b"PK, and the rest is gone")
    assert any("source metadata" in note and "lost" in note for note in pg.recover(tmp_path / "n.zarr").notes)


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("asked", ["m.zarr", "m.zarr.spool"])
def test_the_rest_of_a_spool_whose_removal_was_interrupted_is_removed_and_named(tmp_path, monkeypatch, asked):
    """Stop before each step of the removal in turn."""
    for step in range(20):
        spool = killed(tmp_path / "m.zarr", None, frames=5).spool
        with monkeypatch.context() as patched:
            left = [step]

            def counted(action, left=left):
                def run(*args):
                    left[0] -= 1
                    if left[0] < 0:
                        raise Stopped
                    return action(*args)

                return run

            remove = Spool.remove

            def removing(self, patched=patched, counted=counted, remove=remove):
                for name in ("remove", "rename", "sync_folder"):
                    patched.setattr(durable, name, counted(getattr(durable, name)))
                remove(self)

            patched.setattr(Spool, "remove", removing)
            try:
                pg.recover(spool)
                break
            except Stopped:
                pass
        report = pg.recover(tmp_path / asked)
        assert report.frames == 5 and report.url == str(tmp_path / "m.zarr")
        assert step == 0 or spool in report.notes[0]  # at first the whole recording is there
        assert [path.name for path in tmp_path.iterdir()] == ["m.zarr"]
        shutil.rmtree(tmp_path / "m.zarr")
    assert step > 5


def test_frames_without_facts_are_named_and_kept(tmp_path):
    folder = Path(killed(tmp_path / "m.zarr", tmp_path / "spool").spool)
    before = {path.name for path in folder.glob("journal-*")}
    for path in folder.glob(f"{RECORDING}*"):
        path.unlink()
    with pytest.raises(CorruptDataError, match=r"holds frames, and recording\.json.* is gone"):
        pg.recover(tmp_path / "spool")
    assert before and {path.name for path in folder.glob("journal-*")} == before


def test_an_interrupt_that_leaves_only_the_spool_names_it(tmp_path, monkeypatch):
    live = killed(tmp_path / "m.zarr", tmp_path / "fast")

    def interrupted(spool):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as stopped:
        patch.setattr(Spool, "remove", interrupted)
        pg.recover(tmp_path / "m.zarr")
    assert f"photon_gpu.recover({live.spool!r})" in stopped.value.__notes__[0]
    pg.recover(live.spool)
    assert exact(tmp_path / "m.zarr") and not (tmp_path / "fast").exists()
