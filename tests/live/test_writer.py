"""LiveWriter: what goes in comes out, for every layout, dtype, durability and way to append."""

from __future__ import annotations

import time
from functools import partial
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.errors import (
    InvalidInputError,
    QueueFullError,
    RecordingError,
    StoreNotFoundError,
    UnsupportedTypeError,
)
from photon_gpu.live.state.filling_chunks import Chunk
from photon_gpu.live.state.ledger import Ledger
from tests.support.concurrent_calls import at_once
from tests.support.cuda import cupy_standin as standin
from tests.support.waiting import wait_until

CAMERA = pg.NoiseModel(gain=2.0, offset=100.0, variance=4.0)


def camera(frames=25, shape=(9, 11), dtype="int16", seed=0):
    rng = np.random.default_rng(seed)
    light = rng.poisson(20.0, (frames, *shape))
    return np.rint(100 + 2.0 * light + rng.normal(0, 2, light.shape)).astype(dtype)


def begin(url, movie, **options):
    options = {"noise": CAMERA, "chunk_frames": 8, "workers": 2, "publish_seconds": 0.0, **options}
    return pg.LiveWriter(url, frame_shape=movie.shape[1:], dtype=movie.dtype, **options)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_a_recording_is_what_encode_makes_of_the_same_frames(tmp_path, dtype, layout):
    movie = camera(dtype=dtype)
    with begin(tmp_path / "live.zarr", movie, layout=layout) as live:
        live.append(movie[:3])
        for frame in movie[3:]:
            live.append(frame)
    pg.encode(movie, tmp_path / "encoded.zarr", noise=CAMERA, layout=layout, preset="fast", chunk_frames=8)
    ours, theirs = pg.open(tmp_path / "live.zarr"), pg.open(tmp_path / "encoded.zarr")
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    assert np.array_equal(ours.counts[...], theirs.counts[...])
    assert np.array_equal(ours[...], theirs[...])
    assert pg.verify(tmp_path / "live.zarr", deep=True).ok
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoded.zarr", "live.zarr"]


@pytest.mark.parametrize("durability", ["frame", "chunk"])
@pytest.mark.parametrize("frames", [1, 7, 8, 9, 16])
def test_a_recording_of_any_length_is_acknowledged_and_read(tmp_path, durability, frames):
    movie = camera(frames)
    with begin(tmp_path / "m.zarr", movie, durability=durability, layout="lossless") as live:
        count = live.append(movie)
    assert count == (frames if durability == "frame" else count)
    assert live.acknowledged == frames
    result = pg.open(tmp_path / "m.zarr")
    assert result.chunks[0] == min(8, frames)
    assert np.array_equal(result.counts[...], movie)
    assert np.array_equal(zarr.open(tmp_path / "m.zarr", mode="r")[...], movie)


def test_frames_may_have_more_axes(tmp_path):
    movie = camera(shape=(3, 5, 7))
    with begin(tmp_path / "m.zarr", movie, layout="lossless") as live:
        live.append(movie)
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


def test_append_tells_what_is_acknowledged(tmp_path):
    movie = camera(24)
    with begin(tmp_path / "m.zarr", movie, durability="frame") as live:
        for t, frame in enumerate(movie[:8]):
            assert live.append(frame) == t + 1
        assert live.append(movie[8:], wait=False) >= 8
        wait_until(lambda: live.acknowledged == 24)
    with begin(tmp_path / "n.zarr", movie) as live:
        assert live.append(movie[:7]) == 0
        live.append(movie[7:17])
        wait_until(lambda: live.acknowledged == 16)
        assert live.append(movie[17]) == 16


def test_the_callers_buffer_may_be_used_again_at_once(tmp_path):
    movie = camera(200)
    buffer = np.empty_like(movie[0])
    with begin(tmp_path / "m.zarr", movie, layout="lossless") as live:
        for frame in movie:
            buffer[...] = frame
            live.append(buffer)
            buffer[...] = 0
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


def test_threads_append_whole_frames_in_the_order_of_their_calls(tmp_path):
    movie = np.stack([np.full((9, 11), n, "int16") for n in range(400)])
    with begin(tmp_path / "m.zarr", movie, layout="lossless", durability="frame") as live:

        def add(first):
            for n in range(first, 400, 4):
                live.append(movie[n], timestamp=n)

        at_once(partial(add, first) for first in range(4))
    result = pg.open(tmp_path / "m.zarr")
    counts, times = result.counts[...], result.timestamps
    assert (counts == counts[:, :1, :1]).all() and np.array_equal(counts[:, 0, 0], times)
    assert sorted(times) == list(range(400))
    for first in range(4):
        mine = [t for t in times if t % 4 == first]
        assert mine == sorted(mine)


def test_status_counts_and_one_line(tmp_path):
    movie = camera(24)
    live = begin(tmp_path / "m.zarr", movie, queue_bytes=8 * 8 * 9 * 11 * 2)
    live.append(movie[:20])
    wait_until(lambda: live.status().frames_stored == 16)
    status = live.status()
    assert (status.frames_in, status.frames_acknowledged, status.frames_stored) == (20, 16, 16)
    assert 0 < status.queue_bytes <= status.queue_limit_bytes == 8 * 8 * 9 * 11 * 2
    assert status.megabytes_per_second > 0 and status.ratio > 0.1 and status.worst_append_seconds > 0
    assert status.buffer_seconds > 0 and status.trouble is None and status.retries == 0
    line = str(status)
    assert "20 in | 16 safe | 16 stored" in line and "\n" not in line and "s of buffer" in line
    assert live.append_seconds(0.5) <= live.append_seconds(1.0) == status.worst_append_seconds
    assert set(status.to_dict()) >= {"frames_in", "ratio", "seconds"}
    live.close()
    live.close()


def test_times_and_metadata_of_each_frame_are_kept(tmp_path):
    movie = camera(20)
    with begin(tmp_path / "m.zarr", movie) as live:
        live.append(movie[0], timestamp=0.5, metadata={"stage": [1, 2.5], "name": "µ"})
        live.append(movie[1:9], timestamp=np.arange(1, 9) / 30)
        live.append(movie[9:])
    result = pg.open(tmp_path / "m.zarr")
    times = result.timestamps
    assert times[0] == 0.5 and times[8] == 8 / 30 and np.isnan(times[9:]).all()
    assert result.frame_metadata(0) == {"stage": [1, 2.5], "name": "µ"} and result.frame_metadata(-1) is None
    with begin(tmp_path / "n.zarr", movie) as live:
        live.append(movie)
    assert pg.open(tmp_path / "n.zarr").timestamps is None
    with begin(tmp_path / "o.zarr", movie) as live:  # nanoseconds since 1970 do not fit a float
        live.append(movie, timestamp=[1_700_000_000_000_000_000 + n for n in range(20)])
    assert pg.open(tmp_path / "o.zarr").timestamps[19] == 1_700_000_000_000_000_019


@pytest.mark.parametrize("backend", ["auto", "cupy", "numba"])
@pytest.mark.parametrize("layout", ["compact", "plain", "lossless"])
def test_frames_of_cupy_one_or_a_batch_between_those_of_numpy(tmp_path, layout, backend):
    """No GPU code is run: kernels compiled by g++, CuPy replaced by a strict stand-in."""
    movie = camera(40, (24, 32))
    with standin.installed(3) as machine:
        import cupy

        frames = cupy.asarray(movie)
        with begin(tmp_path / "m.zarr", movie, layout=layout, backend=backend, durability="frame") as live:
            assert live.append(frames[0]) == 1
            assert live.append(frames[1:20]) == 20
            assert live.append(movie[20:]) == 40
            with pytest.raises(InvalidInputError, match=r"takes \(24, 32\)"):
                live.append(frames[:, :8])
        assert bool(machine.launched) == (backend == "cupy"), standin.NOTICE
    pg.encode(movie, tmp_path / "e.zarr", noise=CAMERA, layout=layout, preset="fast", chunk_frames=8)
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], pg.open(tmp_path / "e.zarr").counts[...])


def test_frames_on_a_device_that_cannot_be_fetched_are_refused(tmp_path):
    class Torch:
        __cuda_array_interface__ = property(lambda self: {})

    movie = camera(1)
    with begin(tmp_path / "m.zarr", movie) as live:
        with pytest.raises(UnsupportedTypeError, match="Torch lies on a CUDA device"):
            live.append(Torch())
        live.append(movie)
    assert len(pg.open(tmp_path / "m.zarr")) == 1


def test_a_noise_model_estimated_from_the_first_frames(tmp_path):
    movie = camera(40)
    seen = []

    def estimate(frames):
        seen.append(frames.copy())
        return CAMERA

    with begin(tmp_path / "m.zarr", movie, noise=estimate, estimate_frames=12) as live:
        for frame in movie:
            live.append(frame)
    assert len(seen) == 1 and np.array_equal(seen[0], movie[:12])
    assert pg.open(tmp_path / "m.zarr").noise == CAMERA


def test_a_short_recording_is_estimated_from_what_there_is(tmp_path):
    movie = camera(5)
    with begin(tmp_path / "m.zarr", movie, noise=lambda frames: CAMERA, estimate_frames=12) as live:
        live.append(movie)
    assert pg.open(tmp_path / "m.zarr").noise == CAMERA


def test_the_projects_own_estimate(tmp_path):
    truth = pg.NoiseModel(gain=20.0, offset=100.0, variance=25.0)
    movie = pg.simulate(
        frames=60, height=64, width=64, photons=20, gain=20, offset=100, read_noise_adu=5, seed=1
    )
    frames = movie.read(0, 60)
    with pg.LiveWriter(
        tmp_path / "m.zarr",
        frame_shape=(64, 64),
        dtype=frames.dtype,
        noise="estimate",
        chunk_frames=20,
        estimate_frames=40,
    ) as live:
        live.append(frames)
    stored = pg.open(tmp_path / "m.zarr")
    assert stored.noise.gain == pytest.approx(truth.gain, rel=0.3)
    assert stored.attrs["noise_estimate"]["model"] == stored.noise.to_dict()


def test_an_estimate_that_refuses_keeps_every_bit_and_itself(tmp_path):
    raw = pg.simulate(frames=40, height=64, width=65, photons=20, gain=20, motion=0, seed=1).read(0, 40)
    frames = ((raw[:, :, 1:] + raw[:, :, :-1] + np.roll(raw, 1, 1)[:, :, 1:]) // 3).astype(
        "int16"
    )  # smoothed
    with pg.LiveWriter(
        tmp_path / "m.zarr",
        frame_shape=(64, 64),
        dtype="int16",
        noise="auto",
        chunk_frames=20,
        estimate_frames=40,
    ) as live:
        live.append(frames)
    assert "REFUSE correlation y" in live.status().notes[0]
    stored = pg.open(tmp_path / "m.zarr")
    assert stored.layout == "lossless" and np.array_equal(stored.counts[...], frames)
    assert stored.attrs["noise_estimate"]["verdict"] == "REFUSE"
    assert stored.attrs["noise_estimate"]["model"] is not None  # there is a line; it must not be used


@pytest.mark.parametrize("estimate", [lambda frames: None, lambda frames: 1 / 0])
def test_an_estimate_that_fails_keeps_every_bit(tmp_path, estimate):
    movie = camera(20)
    with begin(tmp_path / "m.zarr", movie, noise=estimate, estimate_frames=8) as live:
        live.append(movie)
    assert "every bit is kept" in live.status().notes[0]
    result = pg.open(tmp_path / "m.zarr")
    assert result.layout == "lossless" and np.array_equal(result.counts[...], movie)


def test_a_noise_model_carried_from_an_earlier_run(tmp_path):
    movie = camera(8)
    with begin(tmp_path / "1.zarr", movie) as live:
        live.append(movie)
    for n, carried in enumerate(
        [str(tmp_path / "1.zarr"), tmp_path / "1.zarr", pg.open(tmp_path / "1.zarr")]
    ):
        with begin(tmp_path / f"carried{n}.zarr", movie, noise=carried) as live:
            live.append(movie)
        assert pg.open(live.url).noise == CAMERA


@pytest.mark.parametrize(
    "bad, error, words",
    [
        (np.zeros((9, 12), "int16"), InvalidInputError, r"shape \(9, 12\); this recording takes \(9, 11\)"),
        (np.zeros((0, 9, 11), "int16"), InvalidInputError, "shape"),
        (np.zeros((2, 2, 9, 11), "int16"), InvalidInputError, "shape"),
        (np.zeros((9, 11), "uint16"), UnsupportedTypeError, "casts no frames"),
        (np.zeros((9, 11)), UnsupportedTypeError, "float64"),
        ([["a"]], UnsupportedTypeError, "this recording takes int16"),
    ],
)
def test_frames_that_do_not_fit_are_refused_and_nothing_is_taken(tmp_path, bad, error, words):
    movie = camera(8)
    with begin(tmp_path / "m.zarr", movie, layout="lossless") as live:
        live.append(movie[:4])
        with pytest.raises(error, match=words):
            live.append(bad)
        live.append(movie[4:])
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


def test_values_that_cannot_be_encoded_are_refused_before_they_are_acknowledged(tmp_path):
    for n, (value, words) in enumerate(
        [(np.nan, "nan at frame 4"), (np.inf, "inf"), (3e38, "use layout='lossless'")]
    ):
        movie = camera(8, dtype="float32")
        with begin(tmp_path / f"{n}.zarr", movie) as live:
            live.append(movie[:4])
            bad = movie[4:].copy()
            bad[0, 3, 3] = value
            with pytest.raises(InvalidInputError, match=words):
                live.append(bad)
            live.append(movie[4:])
        assert len(pg.open(tmp_path / f"{n}.zarr")) == 8
    movie = camera(8)
    with begin(tmp_path / "counter.zarr", movie, noise=pg.NoiseModel()) as live:
        live.append(movie[:7])
        with pytest.raises(InvalidInputError, match="-3 at frame 7"):
            live.append(np.full((9, 11), -3, "int16"))


def test_big_endian_frames_are_taken(tmp_path):
    movie = camera(8)
    with begin(tmp_path / "m.zarr", movie, layout="lossless") as live:
        live.append(movie.astype(">i2"))
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


@pytest.mark.parametrize(
    "record, words",
    [
        ({"timestamp": float("nan")}, "finite"),
        ({"timestamp": "noon"}, "finite"),
        ({"timestamp": [1, 2]}, "2 values of timestamp arrived for 1 frames"),
        ({"metadata": {"a": float("inf")}}, "JSON"),
        ({"metadata": {"a": object()}}, "JSON"),
        ({"metadata": [5]}, "dictionary"),
        ({"metadata": {"a": "x" * 70_000}}, "65,536"),
    ],
)
def test_times_and_metadata_that_cannot_be_kept_are_refused(tmp_path, record, words):
    movie = camera(1)
    with begin(tmp_path / "m.zarr", movie) as live:
        with pytest.raises(InvalidInputError, match=words):
            live.append(movie[0], **record)
        live.append(movie[0])
    assert len(pg.open(tmp_path / "m.zarr")) == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ({"durability": "page"}, "durability is 'page'"),
        ({"on_full": "drop"}, "on_full is 'drop'"),
        ({"queue_bytes": 100}, "3 chunks of 8 frames must fit"),
        ({"layout": "tight"}, "layout is 'tight'"),
        ({"noise": 5}, "noise is 5"),
        ({"chunk_frames": 0}, "chunk_frames is 0"),
        ({"step": -1}, "step"),
        ({"preset": "best"}, "preset is 'best'"),
        ({"estimate_frames": 10**8, "noise": lambda frames: CAMERA}, "estimate_frames is 100000000"),
    ],
)
def test_bad_parameters_begin_nothing(tmp_path, options, words):
    with pytest.raises(InvalidInputError, match=words):
        begin(tmp_path / "m.zarr", camera(1), **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(), (5,), (0, 5), (5, -1), "ab", (2.5, 3), 7])
def test_bad_frame_shapes_are_refused(tmp_path, shape):
    with pytest.raises(InvalidInputError, match="frame_shape"):
        pg.LiveWriter(tmp_path / "m.zarr", frame_shape=shape, dtype="uint16", noise=pg.NoiseModel())


def test_frame_durability_needs_a_disk_of_this_machine():
    with pytest.raises(InvalidInputError, match="give a folder as spool"):
        begin("memory://nowhere.zarr", camera(1), durability="frame")


def test_an_error_while_encoding_is_told_by_append_and_by_close(tmp_path, monkeypatch):
    from photon_gpu.engine.layouts.compact import Compact

    movie = camera(200)
    live = begin(tmp_path / "m.zarr", movie, durability="frame")
    live.append(movie[:8])
    wait_until(lambda: live.status().frames_stored == 8)

    def broken(self, values, *args, **kwargs):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Compact, "encode", broken)
    with pytest.raises(RecordingError, match="planted"):
        for frame in movie[8:]:
            live.append(frame)
    taken = live.status().frames_in
    with pytest.raises(RecordingError, match="planted") as caught:
        live.close()
    assert "0 are lost" in caught.value.__notes__[0]
    monkeypatch.undo()
    report = pg.recover(tmp_path / "m.zarr")
    assert report.frames == taken
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...].shape, (taken, 9, 11))


@pytest.mark.parametrize("where", ["finish", "release"])
def test_an_interrupt_while_closing_leaves_nothing_unsaid_and_recovery_finishes(tmp_path, where):
    movie = camera(20)
    live = begin(tmp_path / "m.zarr", movie, durability="frame", layout="lossless")
    live.append(movie)
    stopped = Mock(side_effect=KeyboardInterrupt)
    if where == "finish":
        live._pipeline.finish = stopped
    else:  # the lock is free, and nothing is finished yet
        live._appending = MagicMock()
        live._appending.__exit__ = stopped
    with pytest.raises(KeyboardInterrupt) as caught:
        live.close()
    assert "photon_gpu.recover(" in caught.value.__notes__[0] and "0 are lost" in caught.value.__notes__[0]
    assert pg.recover(live.spool).frames == 20
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


def test_a_batch_that_never_fits_the_queue_is_told_so(tmp_path):
    movie = camera(40)
    with begin(
        tmp_path / "m.zarr", movie, queue_bytes=3 * 8 * movie[0].nbytes, on_full="raise", layout="lossless"
    ) as live:
        with pytest.raises(QueueFullError, match="the queue holds 24: append fewer at once"):
            live.append(movie)
        assert live.status().frames_in == 0
        live.append(movie[:24])
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie[:24])


def test_a_recording_of_no_frame_leaves_no_trace(tmp_path):
    with begin(tmp_path / "m.zarr", camera(1), durability="frame"):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreNotFoundError):
        pg.open(tmp_path / "m.zarr")


def test_memory_is_bounded_by_the_queue(tmp_path):
    """Twenty times the queue goes through; memory grows by no more than the queue and open chunks."""
    import psutil

    frame = camera(1, (512, 512))[0]
    process = psutil.Process()
    with begin(
        tmp_path / "m.zarr",
        frame[None],
        chunk_frames=10,
        queue_bytes=40 * frame.nbytes,
        workers=1,
        layout="compact",
    ) as live:
        for _ in range(60):
            live.append(frame)
        before, most = process.memory_info().rss, 0
        for n in range(800):
            live.append(frame)
            if n % 20 == 0:
                most = max(most, process.memory_info().rss)
    assert len(pg.open(tmp_path / "m.zarr")) == 860
    assert most - before < 60 * frame.nbytes


def test_the_first_chunk_is_published_at_once_however_young_the_clock(tmp_path, monkeypatch):
    began = time.monotonic()
    monkeypatch.setattr("photon_gpu.live.pipeline.publisher.monotonic", lambda: time.monotonic() - began)
    movie = camera(16)
    live = begin(tmp_path / "m.zarr", movie, publish_seconds=3000.0)
    live.append(movie[:8])
    wait_until(lambda: live.status().frames_stored == 8)
    live.close()


@pytest.mark.parametrize(("where", "name", "stored"), [(Chunk, "add", 8), (Ledger, "take", 9)])
@pytest.mark.parametrize("durability", ["chunk", "frame"])
def test_an_interrupt_within_an_append_leaves_a_whole_movie(
    tmp_path, monkeypatch, where, name, stored, durability
):
    movie = camera()

    def stopped(*args):
        monkeypatch.undo()
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        begin(tmp_path / "m.zarr", movie, durability=durability, layout="lossless") as live,
    ):
        live.append(movie[:8])
        monkeypatch.setattr(where, name, stopped)
        live.append(movie[8])
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie[:stored])
    assert pg.verify(tmp_path / "m.zarr", deep=True).ok
    assert [path.name for path in tmp_path.iterdir()] == ["m.zarr"]


@pytest.mark.parametrize(
    "function", ["live.writer.Pipeline", "live.spool.spool.Spool._hold", "store.durable.make_folder"]
)
def test_an_interrupt_at_the_start_leaves_nothing(tmp_path, monkeypatch, function):
    def stopped(*args, **options):
        monkeypatch.undo()
        (tmp_path / "spool").mkdir(exist_ok=True)  # as far as it got
        raise KeyboardInterrupt

    monkeypatch.setattr(f"photon_gpu.{function}", stopped)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "m.zarr", camera(), durability="frame", spool=tmp_path / "spool")
    assert not list(tmp_path.rglob("m.zarr*"))
