"""A store that fails, by schedule and by chance: frames wait in the spool, and none is missing after."""

from __future__ import annotations

import re
import threading
import time
import warnings
from unittest import mock

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.layouts.compact import Compact
from photon_gpu.errors import (
    CorruptDataError,
    PhotonError,
    QueueFullError,
    RecordingError,
    StoreExistsError,
    StoreUnavailableError,
)
from photon_gpu.live.spool.spool import pending
from photon_gpu.store import manifest
from tests.support.concurrent_calls import at_once
from tests.support.faults.faulty_disk import Failing
from tests.support.faults.faulty_object_store import ERRORS, FAULTS, Chance, FaultyFileSystem, Script
from tests.support.faults.interrupted_recordings import (
    CHUNK,
    SHAPE,
    check_prefix,
    frames,
    in_child,
    record,
    recovered,
    settings,
)

FAST = [*ERRORS, "lost", "torn"]


@pytest.mark.parametrize("fault", FAST)
@pytest.mark.parametrize("name", ["1.0.0", "0.json", ".zarray", ".zattrs", ".manifest.json"])
def test_every_fault_at_every_kind_of_file_is_survived(memory_disk, fault, name):
    fs = FaultyFileSystem(memory_disk / "store", Script({("write", name, n): fault for n in range(3)}))
    record(fs.storage(), memory_disk / "spool", [5, 5], durability="frame")
    assert fs.injected[fault] == 3  # one file, tried three times in vain
    check_prefix(pg.open(fs.storage()), 10, 10)
    assert not pending(memory_disk / "spool")


@pytest.mark.parametrize("fault", [fault for fault in FAST if fault != "404"])  # which says that it is gone
def test_faults_while_the_last_file_goes(memory_disk, fault):
    fs = FaultyFileSystem(memory_disk / "store", Script({("delete", ".photon-writing", 0): fault}))
    record(fs.storage(), memory_disk / "spool", [5])
    assert fs.injected[fault] == 1
    assert ".photon-writing" not in fs.storage().names()


@pytest.mark.parametrize("seed", range(6))
def test_random_faults_of_every_kind(memory_disk, seed):
    fs = FaultyFileSystem(memory_disk / "store")
    storage = fs.storage()
    with pg.LiveWriter(storage, spool=memory_disk / "spool", **settings(durability="frame")) as live:
        fs.faults = Chance(seed, 0.3)
        for t in range(60):
            assert live.append(frames(t, t + 1), timestamp=t) == t + 1
    fs.faults = Chance(seed, 0)
    assert sum(fs.injected.values()) > 5 and live.status().retries > 3
    check_prefix(pg.open(storage), 60, 60)


def test_a_lost_answer_to_the_claim_is_known_to_be_ours(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store", Script({("create", ".photon-writing", 0): "lost"}))
    record(fs.storage(), None, [5])
    check_prefix(pg.open(fs.storage()), 5, 5)
    fs.faults = Script({("create", ".photon-writing", 0): "lost"})
    pg.encode(frames(0, 5), fs.storage("other"), noise=pg.NoiseModel(), check=False)
    assert fs.injected["lost"] == 2 and len(pg.open(fs.storage("other"))) == 5


def test_a_claim_that_fails_half_way_is_given_back(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store", Script({("list", "m.zarr", 1): "503"}))
    with pytest.raises(OSError, match="reduce your request rate"):
        pg.LiveWriter(fs.storage(), spool=memory_disk / "spool", **settings())
    assert not fs.storage().names() and not pending(memory_disk / "spool")
    record(fs.storage(), memory_disk / "spool", [5])


def test_two_writers_on_one_path(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    with pg.LiveWriter(fs.storage(), **settings()) as live:
        live.append(frames(0, 9), timestamp=list(range(9)))
        with pytest.raises(StoreExistsError, match="is being written"):
            pg.LiveWriter(fs.storage(), **settings())
        with pytest.raises(StoreExistsError):
            pg.encode(frames(0, 5), fs.storage(), noise=pg.NoiseModel(), check=False)
        with pytest.raises(StoreExistsError, match="recover"):
            pg.encode(frames(0, 5), fs.storage(), resume=True, noise=pg.NoiseModel(), check=False)
    check_prefix(pg.open(fs.storage()), 9, 9)
    with pytest.raises(StoreExistsError, match="holds a movie"):
        pg.LiveWriter(fs.storage(), **settings())


def test_two_writers_at_the_same_moment(memory_disk):
    for n in range(10):
        fs, won, lost = FaultyFileSystem(memory_disk / "store"), [], []
        storage, start, once = fs.storage(f"{n}"), threading.Barrier(4), threading.local()

        def together(operation, path, start=start, once=once):
            """All have looked, and found nothing, before any of them writes."""
            if operation != "list" and not hasattr(once, "waited"):
                once.waited = start.wait(20)

        fs.faults = together

        def begin(storage=storage, won=won, lost=lost):
            try:
                won.append(pg.LiveWriter(storage, **settings()))
            except StoreExistsError as error:
                lost.append(error)

        at_once([begin] * 4)
        assert len(won) <= 1 and len(won) + len(lost) == 4
        fs.faults = Chance(0, 0)
        for live in won:
            live.append(frames(0, 3), timestamp=[0, 1, 2])
            live.close()
            check_prefix(pg.open(storage), 3, 3)


def test_a_recording_that_was_taken_over_stops_writing(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    live = pg.LiveWriter(fs.storage(), **settings())
    live.append(frames(0, 4), timestamp=list(range(4)))
    while not live.acknowledged:
        time.sleep(0.005)
    report = pg.recover(fs.storage())  # by the same process, so that it is not seen to live
    assert report.frames == 4
    with pytest.raises(RecordingError, match="took this recording over"):
        for t in range(4, 1000):
            live.append(frames(t, t + 1), timestamp=t)
            time.sleep(0.005)
    with pytest.raises(RecordingError, match="took this recording over"):
        live.close()
    check_prefix(pg.open(fs.storage()), 4, 4)


def test_the_spool_takes_the_frames_while_the_store_is_away(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    queue = 4 * CHUNK * np.prod(SHAPE) * 2
    with pg.LiveWriter(
        fs.storage(), spool=memory_disk / "spool", **settings(durability="chunk", queue_bytes=queue)
    ) as live:
        live.append(frames(0, CHUNK), timestamp=list(range(CHUNK)))
        fs.away = "503"
        for t in range(CHUNK, 400):  # 25 times what the queue holds
            live.append(frames(t, t + 1), timestamp=t)
        deadline = time.monotonic() + 20
        while live.acknowledged < 400 and time.monotonic() < deadline:
            time.sleep(0.01)
        status = live.status()
        assert live.acknowledged == 400 and status.frames_stored <= CHUNK
        assert "reduce your request rate" in status.trouble and "store away" in str(status)
        fs.away = None
    check_prefix(pg.open(fs.storage()), 400, 400)


def test_memory_is_bounded_while_the_store_is_away(memory_disk):
    """Fifteen times the queue goes through into the spool; what waits is counted on disk, not in memory."""
    import psutil

    fs, process = FaultyFileSystem(memory_disk / "store"), psutil.Process()
    frame = np.random.default_rng(0).integers(0, 200, (512, 512)).astype("uint16")
    with pg.LiveWriter(
        fs.storage(),
        spool=memory_disk / "spool",
        **settings(frame_shape=frame.shape, chunk_frames=10, queue_bytes=40 * frame.nbytes),
    ) as live:
        fs.away = "503"
        for n in range(600):
            live.append(frame)
            if n == 100:
                before = most = process.memory_info().rss
            elif n > 100 and n % 20 == 0:
                most = max(most, process.memory_info().rss)
        assert live.status().frames_stored == 0
        fs.away = None
    assert len(pg.open(fs.storage())) == 600
    assert most - before < 60 * frame.nbytes


def _cannot_publish(connection, folder):
    """Chunks are taken by the store, their publication is not."""
    fs = FaultyFileSystem(folder + "/store")
    live = pg.LiveWriter(fs.storage(), spool=folder + "/spool", **settings())
    fs.faults = lambda operation, path: "403" if path.endswith(".zarray") and operation == "write" else None
    until = time.monotonic() + 20
    for n in range(10):
        live.append(frames(4 * n, 4 * n + 4), timestamp=list(range(4 * n, 4 * n + 4)))
        while not (fs.root / f"m.zarr/{n}.0.0").exists() and time.monotonic() < until:
            time.sleep(0.002)
    while live.acknowledged < 40 and time.monotonic() < until:
        time.sleep(0.005)
    connection.send((live.acknowledged, live.status().frames_stored))
    time.sleep(60)


def test_chunks_in_a_store_that_cannot_be_published_are_safe(memory_disk):
    here, child = in_child(_cannot_publish, str(memory_disk))
    assert here.poll(30) and here.recv() == (40, 0)
    child.kill()
    child.join()
    storage = FaultyFileSystem(memory_disk / "store").storage()
    before = {p.name: p.stat().st_ino for p in (memory_disk / "store/m.zarr").glob("*.0.0")}
    (spool,) = pending(memory_disk / "spool")
    stored = [int(path.name.split("-")[1]) for path in spool.glob("stored-??????????")]
    kept = {
        f"{int(path.name.split('-')[1])}.0.0" for path in spool.glob("chunk-*")
    }  # before it was in the store
    n = stored[len(stored) // 2]
    (memory_disk / f"store/m.zarr/{n}.0.0").write_bytes(b"?")
    with pytest.raises(CorruptDataError, match=f"frames {4 * n} to {4 * n + 3} had been acknowledged"):
        pg.recover(memory_disk / "spool", url=storage)
    (memory_disk / f"store/m.zarr/{n}.0.0").unlink()
    with pytest.raises(CorruptDataError, match=f"frames {4 * n} to {4 * n + 3} had been acknowledged"):
        pg.recover(memory_disk / "spool", url=storage)
    report = pg.recover(memory_disk / "spool", url=storage, salvage=True)
    assert report.lost == [(4 * n, 4 * n + 4)] and report.frames == 40
    assert pg.verify(storage).lost == ((4 * n, 4 * n + 3),)
    result, gone = pg.open(storage).counts[...], range(4 * n, 4 * n + 4)
    assert not result[gone].any()
    assert np.array_equal(np.delete(result, gone, 0), np.delete(frames(0, 40), gone, 0))
    # What was noted to be there was not sent again.
    sent = {
        p.name for p in (memory_disk / "store/m.zarr").glob("*.0.0") if before.get(p.name) != p.stat().st_ino
    }
    assert sent <= {f"{n}.0.0", *kept}


@pytest.mark.parametrize("which", ["0.0.0", ".0.0"])
def test_requests_that_hang_hold_up_no_acknowledgement(memory_disk, which):
    """One request, or every one, is never answered; the spool takes them all."""
    fs, answered = FaultyFileSystem(memory_disk / "store"), threading.Event()

    def faults(operation, path):
        if operation == "write" and not answered.is_set():
            if path.endswith(which):
                answered.wait(60)
            return "503"
        return None

    live = pg.LiveWriter(fs.storage(), spool=memory_disk / "spool", **settings())
    fs.faults = faults
    live.append(frames(0, 60), timestamp=list(range(60)))
    until = time.monotonic() + 20
    while live.acknowledged < 60 and time.monotonic() < until:
        time.sleep(0.005)
    assert live.acknowledged == 60
    answered.set()
    live.close()
    check_prefix(pg.open(fs.storage()), 60, 60)


def test_no_chunk_is_kept_before_one_that_is_encoded_still(memory_disk):
    """The store is away and chunk 1 takes its time: a kill now must leave no gap in the spool."""
    fs, slow = FaultyFileSystem(memory_disk / "store"), threading.Event()
    encode = Compact.encode

    def hanging(self, values, chunk, resources, first_frame=0):
        if first_frame == CHUNK:
            slow.wait(30)
        return encode(self, values, chunk, resources, first_frame)

    with mock.patch.object(Compact, "encode", hanging):
        live = pg.LiveWriter(fs.storage(), spool=memory_disk / "spool", **settings(workers=2))
        fs.away = "503"
        live.append(frames(0, 5 * CHUNK), timestamp=list(range(5 * CHUNK)))
        (folder,) = pending(memory_disk / "spool")
        until = time.monotonic() + 20
        while live.status().retries < 8 and time.monotonic() < until:
            time.sleep(0.01)
        kept = sorted(int(path.name.split("-")[1]) for path in folder.glob("chunk-*"))
        assert live.acknowledged == CHUNK and kept == [0]
        slow.set()
        while live.acknowledged < 5 * CHUNK and time.monotonic() < until:
            time.sleep(0.01)
        assert live.acknowledged == 5 * CHUNK
        fs.away = None
        live.close()
    check_prefix(pg.open(fs.storage()), 5 * CHUNK, 5 * CHUNK)


def test_close_tells_what_went_wrong_and_recovery_needs_no_frame_again(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    live = pg.LiveWriter(fs.storage(), spool=memory_disk / "spool", **settings(close_seconds=0.3))
    fs.away = "403"
    live.append(frames(0, 30), timestamp=list(range(30)))
    with pytest.raises(StoreUnavailableError, match="Forbidden") as caught:
        live.close()
    assert "photon_gpu.recover" in caught.value.__notes__[0] and "0 are lost" in caught.value.__notes__[0]
    with pytest.raises(PhotonError, match="closed"):
        live.append(frames(0, 1))
    fs.away = None
    recovered_frames = pg.recover(memory_disk / "spool", url=fs.storage())
    assert recovered_frames.frames == recovered_frames.recovered == 30
    check_prefix(pg.open(fs.storage()), 30, 30)


def test_close_without_a_spool_says_how_many_are_lost(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    live = pg.LiveWriter(fs.storage(), **settings(close_seconds=0.3))
    fs.away = "timeout"
    live.append(frames(0, 6), timestamp=list(range(6)))
    assert live.acknowledged == 0
    with pytest.raises(StoreUnavailableError, match="6 frames of 6 are not in the store") as caught:
        live.close()
    assert "the others are lost" in caught.value.__notes__[0]


def _appended_by_another_thread(live, count):
    told = []

    def append():
        try:
            live.append(frames(0, count))
        except PhotonError as error:
            told.append(error)

    thread = threading.Thread(target=append)
    thread.start()
    return thread, told


def test_close_ends_an_append_that_waits_for_room(memory_disk):
    """The store is away for good, and no spool takes what the queue cannot."""
    fs, queue = FaultyFileSystem(memory_disk / "store"), 3 * CHUNK * np.prod(SHAPE) * 2
    live = pg.LiveWriter(fs.storage(), **settings(queue_bytes=queue, close_seconds=0.5))
    fs.away = "503"
    thread, told = _appended_by_another_thread(live, 200)
    while live.status().queue_bytes < queue:
        time.sleep(0.01)
    with pytest.raises(StoreUnavailableError, match="are not in the store"):
        live.close()
    thread.join(20)
    assert not thread.is_alive() and isinstance(told[0], RecordingError)
    taken = live.status().frames_in
    assert 0 < taken < 200 and f"{taken} frames of this append had been accepted" in str(told[0])


def test_close_ends_an_append_that_waits_for_a_spool_that_is_full(memory_disk):
    fs, disk = FaultyFileSystem(memory_disk / "store"), Failing(lambda number, call: 28)
    live = pg.LiveWriter(
        fs.storage(), spool=memory_disk / "spool", **settings(durability="frame", close_seconds=0.5)
    )
    fs.away = "503"
    with disk.installed(), mock.patch("photon_gpu.live.writer._DRAIN_SECONDS", 0.5):
        thread, told = _appended_by_another_thread(live, 6)
        while not live.status().trouble:
            time.sleep(0.01)
        assert live.acknowledged == 0
        with pytest.raises(StoreUnavailableError, match="6 frames of 6 are not in the store"):
            live.close()
        thread.join(20)
    assert not thread.is_alive() and isinstance(told[0], RecordingError) and "6 are lost" in str(told[0])


def test_a_recording_of_no_frame_leaves_nothing(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    with pg.LiveWriter(fs.storage(), spool=memory_disk / "spool", **settings()):
        fs.faults = Script({("delete", ".photon-writing", n): "503" for n in range(3)})
    assert fs.injected["503"] == 3  # each try of the one delete, and the fourth goes through
    assert not fs.storage().names() and not pending(memory_disk / "spool")


def test_a_marker_that_a_missing_bucket_did_not_delete_is_deleted_again(memory_disk):
    """A 404 may mean that the file was gone, or the whole bucket for a moment (a soak lost its way so)."""
    fs = FaultyFileSystem(memory_disk / "store")
    with pg.LiveWriter(fs.storage(), spool=memory_disk / "spool", **settings()) as live:
        live.append(frames(0, 10))
        fs.faults = Script({("delete", ".photon-writing", n): "404" for n in range(2)})
    assert fs.injected["404"] == 2
    assert ".photon-writing" not in fs.storage().names() and not pending(memory_disk / "spool")
    assert len(pg.open(fs.storage())) == 10 and pg.verify(fs.storage()).ok


def test_an_error_in_the_body_is_not_hidden_by_closing(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    with (
        pytest.raises(ZeroDivisionError) as caught,
        pg.LiveWriter(fs.storage(), **settings(close_seconds=0.1)) as live,
    ):
        live.append(frames(0, 6))
        fs.away = "500"
        _ = 1 / 0
    assert "closing the recording failed too" in caught.value.__notes__[0]


def test_a_full_queue_raises_or_blocks_and_takes_all_or_nothing(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    queue = 3 * CHUNK * np.prod(SHAPE) * 2
    live = pg.LiveWriter(fs.storage(), **settings(queue_bytes=queue, on_full="raise", close_seconds=5))
    fs.away = "503"
    taken, refused = 0, 0
    for _ in range(200):
        try:
            live.append(frames(taken, taken + 3), timestamp=list(range(taken, taken + 3)))
            taken += 3
        except QueueFullError as error:
            refused += 1
            assert "none was accepted" in str(error)
            time.sleep(0.005)
    assert refused > 10 and live.status().frames_in == taken
    fs.away = None
    live.close()
    check_prefix(pg.open(fs.storage()), taken, taken)


def test_blocking_append_goes_on_when_the_store_is_back(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    queue = 3 * CHUNK * np.prod(SHAPE) * 2
    with pg.LiveWriter(fs.storage(), **settings(queue_bytes=queue)) as live:
        fs.away = "reset"
        timer = threading.Timer(0.5, setattr, (fs, "away", None))
        timer.start()
        live.append(frames(0, 150), timestamp=list(range(150)))
        assert live.status().retries > 0
    check_prefix(pg.open(fs.storage()), 150, 150)


@pytest.mark.parametrize("code", [5, 28])  # EIO, ENOSPC
@pytest.mark.parametrize("seed", range(4))
def test_a_spool_whose_disk_fails_now_and_then(memory_disk, code, seed):
    chance = np.random.default_rng(seed)
    began = []
    disk = Failing(lambda number, name: code if began and chance.random() < 0.05 else 0)
    fs = FaultyFileSystem(memory_disk / "store")
    faults = Chance(seed, 0.2)
    with disk.installed():
        record(
            fs.storage(),
            memory_disk / "spool",
            [1, 2, 3, 4] * 8,
            durability="frame",
            between=lambda live: began.append(setattr(fs, "faults", faults)),
        )
    assert disk.failed > 3
    fs.faults = Chance(0, 0)
    check_prefix(pg.open(fs.storage()), 80, 80)


@pytest.mark.parametrize("durability", ["frame", "chunk"])
def test_every_call_to_the_disk_fails_once(memory_disk, durability):
    """EIO, then ENOSPC, and so on, at the n-th change of the disk, for every n: movie and spool are on it."""
    counting, at = Failing(lambda number, name: 0), 0
    with counting.installed():
        record(memory_disk / "0.zarr", memory_disk / "spool", [1, 2, 3, 4], durability=durability)
    failed = refused = 0
    for at in range(1, counting.calls + 1):
        disk = Failing(lambda number, name, at=at: (5, 28)[at % 2] if number == at else 0)
        with disk.installed():
            try:
                record(memory_disk / f"{at}.zarr", memory_disk / "spool", [1, 2, 3, 4], durability=durability)
            except OSError as error:  # before anything was taken: the recording never began
                assert error.errno in (5, 28) and not pending(memory_disk / "spool")
                refused += 1
                continue
            finally:
                failed += disk.failed
        check_prefix(pg.open(memory_disk / f"{at}.zarr", workers=1), 10, 10)
        for left in pending(memory_disk / "spool"):  # the movie is whole, the spool could not be removed
            assert pg.recover(left).recovered == 0
        assert not pending(memory_disk / "spool")
    assert failed > counting.calls * 0.7 and 0 < refused < counting.calls / 2


def test_a_local_disk_that_fails_now_and_then(memory_disk):
    chance = np.random.default_rng(0)
    began = []
    disk = Failing(lambda number, name: 28 if began and chance.random() < 0.05 else 0)
    with disk.installed():
        record(
            memory_disk / "m.zarr",
            memory_disk / "spool",
            [1, 2, 3, 4] * 8,
            durability="frame",
            between=began.append,
        )
    assert disk.failed > 5
    check_prefix(pg.open(memory_disk / "m.zarr"), 80, 80)


@pytest.mark.parametrize("fault", [k for k in FAULTS if k != "slow"])
@pytest.mark.parametrize("name", ["2.0.0", ".zarray", ".zattrs", ".manifest.json"])
def test_encode_into_a_store_that_fails_leaves_no_movie_and_can_be_repeated(memory_disk, fault, name):
    fs = FaultyFileSystem(memory_disk / "store", Script({("write", name, 0): fault}))
    with pytest.raises((OSError, PhotonError)):
        pg.encode(frames(0, 20), fs.storage(), chunk_frames=CHUNK, noise=pg.NoiseModel(), check=False)
    fs.faults = Chance(0, 0)
    assert not fs.storage().names()
    pg.encode(frames(0, 20), fs.storage(), chunk_frames=CHUNK, noise=pg.NoiseModel(), check=False)
    assert np.array_equal(pg.open(fs.storage()).counts[...], frames(0, 20))


def test_encode_resumes_after_a_failure_without_doing_chunks_again(memory_disk, monkeypatch):
    monkeypatch.setattr("photon_gpu.writer.scheduler._LIST_SECONDS", 0.0)
    fs = FaultyFileSystem(memory_disk / "store", Script({("write", "9.0.0", 0): "500"}))
    options = {"chunk_frames": 2, "workers": 1, "resume": True, "noise": pg.NoiseModel(), "check": False}
    with pytest.raises(OSError) as caught:
        pg.encode(frames(0, 40), fs.storage(), **options)
    assert "resume=True continues from there" in caught.value.__notes__[0]
    with pytest.raises(StoreExistsError, match="another movie, or had other settings"):
        pg.encode(frames(1, 41), fs.storage(), **options)
    with pytest.raises(StoreExistsError, match="attributes"):
        pg.encode(frames(0, 40), fs.storage(), step=1.0, **options)
    written = []
    listed = {name for name in manifest.unpack(fs.storage().read(manifest.NAME), "") if name[0] != "."}
    there = {name for name in fs.storage().names() if name[0] != "."}
    fs.faults = lambda operation, path: written.append(path) if operation == "write" else None
    report = pg.encode(frames(0, 40), fs.storage(), **options)
    chunks = {path.split("/")[-1] for path in written if not path.split("/")[-1].startswith(".")}
    assert chunks == {f"{n}.0.0" for n in range(20)} - there  # those, no more and no fewer
    assert (
        there >= listed and len(listed) >= 7 and f"{len(there)} chunks were there already" in report.notes[-1]
    )
    assert np.array_equal(pg.open(fs.storage()).counts[...], frames(0, 40))


def test_resume_does_a_chunk_again_that_was_altered(memory_disk, monkeypatch):
    monkeypatch.setattr("photon_gpu.writer.scheduler._LIST_SECONDS", 0.0)
    fs = FaultyFileSystem(memory_disk / "store", Script({("write", "9.0.0", 0): "500"}))
    options = dict(chunk_frames=2, workers=1, resume=True, noise=pg.NoiseModel(), check=False)
    with pytest.raises(OSError):
        pg.encode(frames(0, 40), fs.storage(), **options)
    path = memory_disk / "store/m.zarr/0.0.0"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    pg.encode(frames(0, 40), fs.storage(), **options)
    assert np.array_equal(pg.open(fs.storage()).counts[...], frames(0, 40))


@pytest.mark.parametrize("layout", ["compact", "plain", "lossless"])
def test_resume_keeps_a_chunk_that_is_not_listed_only_if_it_is_what_the_source_gives(memory_disk, layout):
    """A kill between a chunk and the next listing: such chunks are encoded again, written if changed."""
    fs = FaultyFileSystem(memory_disk / "store", Script({("write", "9.0.0", 0): "500"}))
    options = {
        "chunk_frames": 2,
        "workers": 1,
        "resume": True,
        "layout": layout,
        "noise": pg.NoiseModel(),
        "check": False,
    }
    with pytest.raises(OSError):
        pg.encode(frames(0, 40), fs.storage(), **options)
    folder = memory_disk / "store/m.zarr"
    (folder / ".manifest.json").unlink(missing_ok=True)
    there = {path.name for path in folder.glob("*.0.0")} - {"1.0.0", "2.0.0"}
    middle = len(content := (folder / "1.0.0").read_bytes()) // 2
    (folder / "1.0.0").write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    (folder / "2.0.0").write_bytes(content[:middle])
    written = []
    fs.faults = lambda operation, path: written.append(path) if operation == "write" else None
    report = pg.encode(frames(0, 40), fs.storage(), **options)
    again = {path.split("/")[-1] for path in written}
    assert not again & there and {"1.0.0", "2.0.0"} <= again and len(there) >= 6
    assert f"{len(there)} chunks were there already" in report.notes[-1]
    assert np.array_equal(pg.open(fs.storage()).counts[...], frames(0, 40))


@pytest.mark.parametrize("layout", ["compact", "plain", "lossless"])
@pytest.mark.parametrize("listed", [True, False])
def test_resume_never_mixes_a_source_with_what_it_was_before(memory_disk, monkeypatch, layout, listed):
    """The file was exported again: its first, middle and last frames are the same, others are not."""
    monkeypatch.setattr("photon_gpu.writer.scheduler._LIST_SECONDS", 0.0)
    path = memory_disk / "raw.npy"
    np.save(path, frames(0, 40))
    fs = FaultyFileSystem(memory_disk / "store", Script({("write", "9.0.0", 0): "500"}))
    fixed = {
        "layout": layout,
        "compressor": "zstd-1-shuffle",
        "chunk_frames": 2,
        "noise": pg.NoiseModel(),
        "trust_noise": True,
        "check": False,
    }  # else it is tuned otherwise
    fixed |= {"predictor": "none"} if layout == "compact" else {}
    options = {**fixed, "workers": 1, "resume": True}
    with pytest.raises(OSError):
        pg.encode(path, fs.storage(), **options)
    if not listed:
        (memory_disk / "store/m.zarr/.manifest.json").unlink()
    other = frames(0, 40)
    other[3:6] += 40
    np.save(path, other)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = pg.encode(path, fs.storage(), **options)
    if listed:
        # Whether both changed chunks were in the last list of the killed encode depends on its threads.
        assert re.search(
            r"raw\.npy was changed .*written to since.* of [12] of \d+ stored", str(caught[0].message)
        )
    assert re.search(r"[1-9]\d* chunks were there already", report.notes[-1])
    assert "2 stored chunks differed from the frames of the source, and were replaced" in report.notes
    fresh = pg.encode(other, memory_disk / "fresh.zarr", **fixed)
    assert np.array_equal(pg.open(fs.storage()).counts[...], pg.open(fresh.url).counts[...])
    assert pg.verify(fs.storage(), deep=True).ok and fs.storage().names() == pg.Storage.at(fresh.url).names()


def test_a_short_encode_pays_nothing_for_being_resumed(memory_disk, monkeypatch):
    def never(values):
        raise AssertionError("no listing would need it")

    monkeypatch.setattr("photon_gpu.writer.scheduler._CRC_SECONDS", 60.0)
    monkeypatch.setattr("photon_gpu.writer.scheduler._LIST_SECONDS", 60.0)
    monkeypatch.setattr("photon_gpu.writer.scheduler.frames_crc", never)
    pg.encode(frames(0, 40), memory_disk / "m.zarr", chunk_frames=2, noise=pg.NoiseModel(), check=False)


def test_only_a_real_404_means_that_nothing_is_there(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    record(fs.storage(), None, [9])
    for fault in ERRORS:
        if fault == "404":
            continue
        for name in (".zarray", ".zattrs", "1.0.0", ".manifest.json"):
            fs.faults = Script({("read", name, 0): fault})
            with pytest.raises(OSError) as caught:
                _ = pg.open(fs.storage()).counts[...]
            assert not isinstance(caught.value, pg.errors.StoreNotFoundError), (fault, name)


def test_recovery_over_a_store_that_fails(memory_disk):
    fs = FaultyFileSystem(memory_disk / "store")
    live = pg.LiveWriter(
        fs.storage(), spool=memory_disk / "spool", **settings(close_seconds=0.05, durability="frame")
    )
    live.append(frames(0, 3), timestamp=[0, 1, 2])
    fs.away = "503"
    live.append(frames(3, 33), timestamp=list(range(3, 33)))
    with pytest.raises(StoreUnavailableError):
        live.close()
    fs.away, fs.faults = None, Chance(3, 0.3, operations=("write", "delete"))
    report = pg.recover(memory_disk / "spool", url=fs.storage())
    assert report.frames == 33 and sum(fs.injected.values()) > 3
    fs.faults = Chance(0, 0)
    check_prefix(pg.open(fs.storage()), 33, 33)


def test_recovered_uses_the_store_it_was_given(memory_disk):
    url = str(memory_disk / "m.zarr")
    record(url, None, [5])
    assert recovered(url, None, 5, 5).frames == 5
