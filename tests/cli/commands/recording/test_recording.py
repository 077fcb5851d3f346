"""``record``, ``watch`` and ``recover``, as a shell runs them."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.live import WatchFeed, record
from photon_gpu.live.feeds import GrowingFile, RawFeed
from photon_gpu.live.spool.spool import pending
from tests.support.sources.source_files import make_movie, write_scanimage, write_two_files


@pytest.fixture
def movie():
    return np.random.default_rng(0).poisson(20, (50, 16, 12)).astype("uint16")


def shell(*words, **options):
    command = [sys.executable, "-m", "photon_gpu", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def piped(movie, *options):
    """Record raw frames of 16 x 12 pixels that are piped in."""
    return shell("record", "-", movie, "--shape", "16,12", *options, stdin=subprocess.PIPE)


def test_a_pipe_of_raw_frames(tmp_path, movie):
    ran = piped(tmp_path / "m.zarr", "--layout", "lossless", "--json")
    data = movie.tobytes()
    for start in range(0, len(data), 1000):  # no piece is a whole number of frames
        ran.stdin.write(data[start : start + 1000])
    out, err = ran.communicate()
    assert ran.returncode == 0, err
    result = pg.open(tmp_path / "m.zarr")
    assert np.array_equal(result.counts[...], movie) and np.all(np.diff(result.timestamps) >= 0)
    assert b'"frames": 50' in out


def test_a_pipe_that_ends_within_a_frame_is_told(cli, tmp_path, movie):
    ran = piped(tmp_path / "m.zarr")
    out, _ = ran.communicate(movie.tobytes()[:-1])
    assert ran.returncode == 1 and b"ended within frame 49, after 383 of its 384 bytes" in out
    assert len(pg.open(tmp_path / "m.zarr")) == 49


def test_a_socket_of_big_endian_frames(cli, tmp_path, movie):
    server = socket.create_server(("127.0.0.1", 0))

    def send():
        connection, _ = server.accept()
        with connection:
            connection.sendall(movie.astype(">u2").tobytes())

    threading.Thread(target=send).start()
    port = server.getsockname()[1]
    ran = cli(
        "record",
        f"tcp://127.0.0.1:{port}",
        "m.zarr",
        "--shape",
        "16x12",
        "--dtype",
        ">u2",
        "--layout",
        "lossless",
    )
    server.close()
    assert ran.code == 0, ran.err
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


def test_a_file_that_grows(tmp_path, movie):
    path = tmp_path / "scan.raw"
    path.write_bytes(b"")

    def grow():
        with path.open("ab", buffering=0) as file:
            for frame in movie:
                data = frame.tobytes()
                file.write(data[:100])
                time.sleep(0.002)
                file.write(data[100:])

    writer = threading.Thread(target=grow)
    writer.start()
    feed = RawFeed(GrowingFile(path, idle_seconds=1.0), (16, 12), "uint16")
    got = np.concatenate([batch.frames.copy() for batch in feed])
    writer.join()
    assert np.array_equal(got, movie) and not feed.unread


def test_a_file_that_shrinks_is_an_error(cli, tmp_path, movie):
    path = tmp_path / "scan.raw"
    path.write_bytes(movie.tobytes())

    def shrink():
        while not (tmp_path / "m.zarr").exists():
            time.sleep(0.01)
        time.sleep(1.0)
        path.write_bytes(b"")

    threading.Thread(target=shrink).start()
    ran = cli("record", "scan.raw", "m.zarr", "--shape", "16,12", "--idle-seconds", "5")
    assert ran.code == 1 and "was truncated or replaced" in ran.err


def test_simulate_at_a_rate(cli, tmp_path):
    ran = cli(
        "record",
        "simulate",
        "m.zarr",
        "--gain",
        100,
        "--offset",
        90,
        "--variance",
        900,
        "--shape",
        "32,32",
        "--rate",
        "200",
        "--frames",
        "100",
        "--json",
    )
    assert ran.code == 0, ran.err
    assert ran.json["frames"] == 100 and ran.json["seconds"] >= 0.49
    times = pg.open(tmp_path / "m.zarr").timestamps
    assert times[-1] - times[0] >= 0.49  # 99 periods of 5 ms


def _write(path, frames):
    tifffile.imwrite(path, frames, photometric="minisblack")


def test_a_folder_that_fills_with_tiffs(tmp_path, movie):
    folder = tmp_path / "in"
    folder.mkdir()
    _write(folder / "x2.tif", movie[:10])
    ran = shell(
        "watch",
        folder,
        tmp_path / "m.zarr",
        "--layout",
        "lossless",
        "--settle-seconds",
        "0.3",
        "--idle-seconds",
        "2",
        "--json",
    )
    time.sleep(0.5)
    whole = tmp_path / "x10.tif"
    _write(whole, movie[10:30])
    data = whole.read_bytes()
    (folder / "x10.tif").write_bytes(data[: len(data) // 2])  # still being written
    _write(folder / "x11.tif", movie[30])
    time.sleep(0.7)
    (folder / "x10.tif").write_bytes(data)
    _write(folder / "x12.tif", movie[31:])
    out, err = ran.communicate(timeout=60)
    assert ran.returncode == 0, (out, err)
    result = pg.open(tmp_path / "m.zarr")
    assert np.array_equal(result.counts[...], movie)
    assert result.frame_metadata(12) == {"file": "x10.tif", "page": 2}
    assert result.frame_metadata(30) == {"file": "x11.tif", "page": 0}


def test_files_that_cannot_be_taken_are_named(cli, tmp_path, movie):
    folder = tmp_path / "in"
    folder.mkdir()
    _write(folder / "a1.tif", movie[:5])
    _write(folder / "a2.tif", movie[:5, :8])
    (folder / "a3.tif").write_bytes(b"II*\0 no TIFF")
    ran = cli("watch", folder, "m.zarr", "--settle-seconds", "0.1", "--idle-seconds", "1")
    assert ran.code == 1
    assert "a2.tif holds frames (8, 12)" in ran.out and "a3.tif never became complete" in ran.out
    assert len(pg.open(tmp_path / "m.zarr")) == 5


STACKS = {
    "one directory": {"truncate": True, "photometric": "minisblack"},
    "ImageJ, one directory": {"truncate": True, "imagej": True},
    "a directory each": {"photometric": "minisblack", "metadata": None},
}


@pytest.mark.parametrize("stack", STACKS)
def test_watch_and_record_read_files_as_encode_does(cli, tmp_path, movie, stack):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2):
        tifffile.imwrite(folder / f"x{number}.tif", movie, **STACKS[stack])
    tifffile.imwrite(folder / "x3.tif", movie[0], photometric="minisblack")  # one image is one frame
    ran = cli(
        "watch", "in", "m.zarr", "--layout", "lossless", "--settle-seconds", "0.1", "--idle-seconds", "0.5"
    )
    assert ran.code == 0, ran.out + ran.err
    stored = pg.open(tmp_path / "m.zarr").counts[...]
    np.testing.assert_array_equal(stored, np.concatenate([movie, movie, movie[:1]]))
    ran = cli("record", "in/x1.tif", "r.zarr", "--layout", "lossless")
    assert ran.code == 0, ran.out + ran.err
    np.testing.assert_array_equal(pg.open(tmp_path / "r.zarr").counts[...], movie)


def test_channels_stay_apart_where_files_are_recorded(cli, tmp_path, movie):
    folder = tmp_path / "in"
    folder.mkdir()
    write_scanimage(folder / "run_00001.tif", movie, channels=2)
    whole = movie.reshape(25, 2, 16, 12)
    ran = cli(
        "watch", "in", "m.zarr", "--layout", "lossless", "--settle-seconds", "0.1", "--idle-seconds", "0.5"
    )
    assert ran.code == 0, ran.out + ran.err
    assert cli("record", "in/run_00001.tif", "r.zarr", "--layout", "lossless").code == 0
    for name in ("m.zarr", "r.zarr"):
        np.testing.assert_array_equal(pg.open(tmp_path / name).counts[...], whole)
    write_scanimage(folder / "run_00002.tif", movie[:49], channels=2)
    ran = cli(
        "watch", "in", "n.zarr", "--layout", "lossless", "--settle-seconds", "0.1", "--idle-seconds", "0.5"
    )
    assert ran.code == 1 and "run_00002.tif never became complete: " in ran.out and "2 channels" in ran.out
    np.testing.assert_array_equal(pg.open(tmp_path / "n.zarr").counts[...], whole)


def test_files_of_one_ome_movie_are_taken_once(cli, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    movie = make_movie((7, 12, 10))
    write_two_files(folder, movie)
    ran = cli(
        "watch", "in", "m.zarr", "--layout", "lossless", "--settle-seconds", "0.1", "--idle-seconds", "0.5"
    )
    assert ran.code == 0, ran.out + ran.err
    np.testing.assert_array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


def test_files_behind_one_that_never_became_complete_are_named(cli, tmp_path, movie):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 3, 4):
        _write(folder / f"a{number}.tif", movie[:5])
    (folder / "a2.tif").write_bytes(b"II*\0 no TIFF")
    ran = cli("watch", folder, "m.zarr", "--settle-seconds", "0.1", "--idle-seconds", "1")
    assert ran.code == 1
    assert "a2.tif never became complete" in ran.out
    assert all(f"a{number}.tif waited for files before it" in ran.out for number in (3, 4))


def test_a_file_that_grows_after_it_was_taken_is_named(tmp_path, movie):
    folder = tmp_path / "in"
    folder.mkdir()
    _write(folder / "a1.tif", movie[:5])
    _write(folder / "a2.tif", movie[:5])
    feed = WatchFeed(folder, settle_seconds=0.05, idle_seconds=0.3)
    for number, _ in enumerate(feed):
        if number == 1:
            _write(folder / "a1.tif", movie[:9])
    assert feed.unread == ["a1.tif changed after it was recorded: the later changes are not in the movie"]


def test_an_interrupt_names_the_file_that_was_being_read(tmp_path, movie, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2, 3):
        _write(folder / f"a{number}.tif", movie)
    monkeypatch.setattr("photon_gpu.live.feeds._FILE_BATCH_BYTES", movie[:20].nbytes)
    right = pg.LiveWriter.append

    def append(self, frames, **options):
        if options["metadata"][0] == {"file": "a2.tif", "page": 20}:
            raise KeyboardInterrupt
        return right(self, frames, **options)

    monkeypatch.setattr(pg.LiveWriter, "append", append)
    feed = WatchFeed(folder, settle_seconds=0.05, idle_seconds=0.3)
    report = record(feed, tmp_path / "m.zarr", layout="lossless")
    assert report.stopped and report.exit_code == 1
    assert report.unread == (
        "a2.tif was being read when the recording ended",
        "a3.tif waited for files before it",
    )


def test_a_file_of_another_kind_is_not_recorded_as_raw_frames(cli, tmp_path, movie):
    np.save(tmp_path / "m.npy", movie)
    _write(tmp_path / "m.tif", movie)
    (tmp_path / "m.npy").rename(tmp_path / "a.raw")
    (tmp_path / "m.tif").rename(tmp_path / "b.raw")
    for name, file_type in (("a.raw", "NumPy"), ("b.raw", "TIFF")):
        ran = cli("record", name, "m.zarr", "--shape", "16,12", "--idle-seconds", "0.1")
        assert ran.code == 2 and f"is a {file_type} file, not raw frames" in ran.err
    (tmp_path / "a.raw").rename(tmp_path / "m.npy")
    ran = cli("record", "m.npy", "m.zarr", "--shape", "16,12")
    assert ran.code == 2 and "--shape is for raw frames" in ran.err
    assert not (tmp_path / "m.zarr").exists()


def test_a_file_that_becomes_a_tiff_is_not_recorded_as_raw_frames(tmp_path, movie):
    path = tmp_path / "scan.raw"
    path.write_bytes(b"")
    growing = GrowingFile(path, idle_seconds=0.1)
    _write(path, movie)
    with pytest.raises(InvalidInputError, match="is a TIFF file, not raw frames"):
        next(iter(RawFeed(growing, (16, 12), "uint16")))
    growing.close()


def test_a_movie_of_several_files_waits_until_each_is_complete(tmp_path, monkeypatch):
    movie = make_movie((7, 12, 10))
    write_two_files(tmp_path, movie)
    whole = (tmp_path / "b.ome.tif").read_bytes()
    data = whole.replace(movie[6].tobytes(), bytes(movie[6].nbytes))  # made, and not filled yet
    assert data != whole
    (tmp_path / "b.ome.tif").write_bytes(data)
    os.utime(tmp_path / "a.ome.tif", (1, 1))

    def fill():
        time.sleep(0.3)
        (tmp_path / "b.ome.tif").write_bytes(whole)

    writing = threading.Thread(target=fill)
    writing.start()
    feed = WatchFeed(tmp_path, settle_seconds=0.6, idle_seconds=1)
    frames = np.concatenate([batch.frames for batch in feed])
    writing.join()
    np.testing.assert_array_equal(frames, movie)
    assert feed.unread == []


def test_watching_without_any_file_is_an_error_and_makes_no_movie(cli, tmp_path):
    assert cli("watch", "nowhere", "m.zarr").code == 2
    (tmp_path / "in").mkdir()
    ran = cli("watch", "in", "m.zarr", "--idle-seconds", "0.2")
    assert ran.code == 2 and "no readable file *.tif* arrived" in ran.err
    assert not (tmp_path / "m.zarr").exists()


def test_an_interrupt_ends_a_recording_in_good_order(tmp_path, movie):
    ran = piped(tmp_path / "m.zarr", "--layout", "lossless", "--json")
    ran.stdin.write(movie.tobytes())
    ran.stdin.flush()
    until = time.monotonic() + 60
    while not (tmp_path / "m.zarr").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.5)
    ran.send_signal(signal.SIGINT)
    out, err = ran.communicate(timeout=30)
    assert ran.returncode == 0 and b'"stopped": true' in out, (out, err)
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


def test_recover_after_a_kill(cli, tmp_path, movie):
    spool = tmp_path / "fast"
    ran = piped(tmp_path / "m.zarr", "--durability", "frame", "--spool", spool)
    ran.stdin.write(movie.tobytes())
    ran.stdin.flush()
    until = time.monotonic() + 60
    while not list(spool.glob("*/journal-*")):
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.5)
    ran.kill()
    ran.wait()
    os.close(ran.stdin.fileno())
    done = cli("recover", spool, "--json")
    assert done.code == 0 and done.json["frames"] == 50, done.err
    assert len(pg.open(tmp_path / "m.zarr")) == 50 and not pending(spool)
    assert cli("recover", "m.zarr").code == 0
    assert cli("recover", "nothing.zarr").code == 2


def test_one_line_on_a_terminal_tells_how_it_goes(tmp_path):
    """On a real terminal, in one line that is drawn again; nothing of it where stderr is none."""
    import pty

    words = [
        "record",
        "simulate",
        str(tmp_path / "m.zarr"),
        "--gain",
        "100",
        "--offset",
        "90",
        "--variance",
        "900",
        "--shape",
        "32,32",
        "--rate",
        "100",
        "--frames",
        "250",
    ]
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    ran = subprocess.Popen(
        [sys.executable, "-m", "photon_gpu", *words], stdout=subprocess.DEVNULL, stderr=theirs, env=env
    )
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # the terminal is gone with the process
        while piece := os.read(ours, 65536):
            seen += piece
    os.close(ours)
    assert ran.wait() == 0
    lines = [line for line in seen.decode().replace("\r", "\n").splitlines() if " in | " in line]
    for name in ("safe |", "stored |", "MB/s |", "ratio ", "queue ", "worst append ", "s of buffer"):
        assert any(name in line for line in lines), (name, lines)
    assert len(lines) >= 2
    out, err = shell(*words[:2], tmp_path / "n.zarr", *words[3:5], "--frames", "900").communicate()
    assert b" in | " not in out + err


def test_noise_from_an_estimate_and_from_an_earlier_movie(cli, tmp_path):
    movie = pg.simulate(
        frames=120,
        height=64,
        width=64,
        photons=20,
        gain=20,
        offset=100,
        read_noise_adu=5,
        seed=1,
        dtype="uint16",
    ).read(0, 120)
    (tmp_path / "scan.raw").write_bytes(movie.tobytes())
    options = ("--shape", "64,64", "--idle-seconds", "0.1", "--chunk-frames", "50")
    assert cli("record", "scan.raw", "1.zarr", *options, "--noise-from", "estimate").code == 0
    result = pg.open(tmp_path / "1.zarr").noise
    assert result.gain == pytest.approx(20, rel=0.3)
    assert cli("record", "scan.raw", "2.zarr", *options, "--noise-from", "1.zarr").code == 0
    assert pg.open(tmp_path / "2.zarr").noise == result and len(pg.open(tmp_path / "2.zarr")) == 120


def test_the_systems_request_to_end_ends_a_recording_in_good_order(tmp_path, movie):
    """SIGTERM, as of a service manager or a shutdown."""
    words = ("record", "-", tmp_path / "m.zarr", "--shape", "16,12", "--layout", "lossless")
    ran = shell(*words, stdin=subprocess.PIPE)
    ran.stdin.write(movie.tobytes())
    ran.stdin.flush()
    until = time.monotonic() + 60
    while not (tmp_path / "m.zarr").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.5)
    ran.send_signal(signal.SIGTERM)
    ran.communicate(timeout=30)
    assert ran.returncode == 0
    assert np.array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


def test_bad_options_of_a_recording_are_refused_with_code_2(cli):
    assert cli("record", "-", "m.zarr", "--shape", "a,b").code == 2
    assert cli("record", "-", "m.zarr", "--dtype", "colour").code == 2
    assert cli("record", "tcp://nowhere", "m.zarr").code == 2
    assert cli("record", "missing.raw", "m.zarr").code == 2
    assert cli("record", "simulate", "m.zarr", "--gain", "2", "--noise-from", "estimate").code == 2


def test_raw_feed_of_a_pipe_that_does_not_wait():
    class Pipe(io.BytesIO):
        waits = 3

        def readinto(self, view):
            self.waits -= 1
            return None if self.waits >= 0 else super().readinto(view)

    assert sum(len(batch.frames) for batch in RawFeed(Pipe(bytes(40)), (2, 2), "uint8")) == 10
