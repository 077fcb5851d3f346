"""A recording that ended early is finished with what readers saw; the rest is discarded and counted."""

from __future__ import annotations

import json
import threading
from unittest import mock

import pytest

import photon_gpu as pg
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.errors import StoreExistsError
from photon_gpu.live.recovery.published_part import discard_unpublished
from photon_gpu.store import metadata
from photon_gpu.store.claim import MARKER, Claim
from photon_gpu.store.storage import Storage
from tests.support.faults.faulty_object_store import FaultyFileSystem, Script
from tests.support.faults.interrupted_recordings import CHUNK, check_prefix, frames, settings
from tests.support.waiting import wait_until


def killed(folder, spool, *, chunks=5, away=None, layout="compact"):
    """Chunks are in the store; but for the first, readers do not see them, and nothing else has them."""
    fs = FaultyFileSystem(folder)
    fs.faults = lambda operation, path: (
        "503" if away and path.endswith(away) and operation == "write" else None
    )
    live = pg.LiveWriter(fs.storage(), spool=spool, **settings(publish_seconds=3600.0, layout=layout))
    for t in range(0, chunks * CHUNK, CHUNK):
        live.append(frames(t, t + CHUNK), timestamp=list(range(t, t + CHUNK)))
        wait_until(lambda name=f"{t // CHUNK}.0.0": name in fs.storage().names())
        wait_until(lambda: away or live.acknowledged)
    live._pipeline._chunk_writer.patience.stopping.set()
    live._pipeline._publisher.stop()
    if live._spool:
        live._spool.release()
    return live, FaultyFileSystem(folder).storage()


@pytest.mark.parametrize("with_spool", [True, False])
def test_whole_chunks_that_readers_never_saw_are_kept(tmp_path, with_spool):
    live, storage = killed(tmp_path / "store", tmp_path / "spool" if with_spool else None)
    assert live.acknowledged == CHUNK == len(pg.open(storage)) and "4.0.0" in storage.names()
    report = pg.recover(live.spool or storage, url=storage)
    assert report.frames == 5 * CHUNK and report.recovered == 4 * CHUNK and not report.discarded
    check_prefix(pg.open(storage), 5 * CHUNK, 5 * CHUNK)
    assert pg.verify(storage, deep=True).ok


@pytest.mark.parametrize("with_spool", [True, False])
@pytest.mark.parametrize("name", ["2.0.0", ".frames/2.json"])
def test_what_follows_on_a_chunk_that_is_not_whole_is_discarded_and_counted(tmp_path, with_spool, name):
    live, storage = killed(tmp_path / "store", tmp_path / "spool" if with_spool else None)
    content = storage.read(name)
    storage.write(name, content[: len(content) // 2] + b"?" + content[len(content) // 2 + 1 :])
    storage.write("notes.txt", b"of the experimenter")
    report = pg.recover(live.spool or storage, url=storage)
    assert report.frames == 2 * CHUNK and report.discarded == ["2.0.0", "3.0.0", "4.0.0"]
    assert "3 chunks discarded" in str(report)
    check_prefix(pg.open(storage), 2 * CHUNK, 2 * CHUNK)
    assert storage.read("notes.txt") == b"of the experimenter"
    storage.delete("notes.txt")
    assert pg.verify(storage, deep=True).ok


@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_chunks_that_cannot_prove_themselves_are_discarded_and_counted(tmp_path, layout):
    _, storage = killed(tmp_path / "store", None, layout=layout)
    report = pg.recover(storage)
    assert report.frames == CHUNK and report.discarded == [f"{n}.0.0" for n in range(1, 5)]
    check_prefix(pg.open(storage), CHUNK, CHUNK)
    assert pg.verify(storage, deep=True).ok


def test_a_chunk_that_the_journal_has_in_part_is_taken_from_the_store(tmp_path):
    """Its frames were encoded and stored while the journal's disk lagged behind."""
    storage, lagging = FaultyFileSystem(tmp_path / "store").storage(), threading.Event()
    live = pg.LiveWriter(
        storage, spool=tmp_path / "spool", **settings(durability="frame", publish_seconds=3600.0)
    )
    live.append(frames(0, 4), timestamp=list(range(4)))
    wait_until(lambda: live.status().frames_stored == 4)
    live.append(frames(4, 6), timestamp=[4, 5])
    write = live._journal.write
    with mock.patch.object(live._journal, "write", lambda *a: lagging.wait(20) and write(*a)):
        live.append(frames(6, 8), timestamp=[6, 7], wait=False)
        wait_until(lambda: "1.0.0" in storage.names())
        live._pipeline._chunk_writer.patience.stopping.set()
        live._pipeline._publisher.stop()
        assert live.acknowledged == 6
        live._spool.release()
        report = pg.recover(live.spool, url=storage)
        lagging.set()
        live._journaling.stop()
    assert report.frames == 8 and report.recovered == 4 and not report.doubtful
    check_prefix(pg.open(storage), 8, 8)
    assert pg.verify(storage, deep=True).ok


@pytest.mark.parametrize("operation", ["write", "delete"])
def test_a_recovery_that_fails_half_way_leaves_what_readers_can_open_and_is_done_again(tmp_path, operation):
    for at in range(20):
        folder = tmp_path / f"{operation}{at}"
        _, storage = killed(folder, None, chunks=3)
        fs = FaultyFileSystem(folder, Script({(operation, "", at): "503"}))
        try:
            pg.recover(fs.storage())
        except OSError:
            movie = pg.open(storage, workers=1)
            check_prefix(movie, CHUNK, 3 * CHUNK)
            assert pg.recover(storage).frames == 3 * CHUNK
        assert pg.verify(storage, deep=True).ok and len(pg.open(storage)) == 3 * CHUNK
        if not fs.injected["503"]:
            break
    assert at > 0


def test_where_nothing_was_published_the_place_is_given_back(tmp_path):
    live, storage = killed(tmp_path / "store", None, away=".zarray", chunks=1)
    assert live.acknowledged == 0
    assert pg.recover(storage).frames == 0 and not storage.names()
    pg.encode(frames(0, 3), storage, noise=pg.NoiseModel())
    with pytest.raises(StoreExistsError):
        pg.encode(frames(0, 3), storage, noise=pg.NoiseModel())


def test_only_chunks_after_the_published_ones_and_unseen_metadata_go():
    storage = Storage.at("memory://discard.zarr")
    foreign = ["x.0", "README", ".frames/x.json", "0.0.0.txt", "1.2.3"]
    chunks = ["0.0.0", ".frames/0.json", "1.0.0", ".frames/1.json", "10.0.0", ".frames/10.json"]
    for name in [*foreign, *chunks, metadata.ATTRIBUTES]:
        storage.write(name, b"?")
    description = metadata.Description((7, 6, 7), (4, 6, 7), Encoding(layout="compact", dtype="uint16"), {})
    assert discard_unpublished(storage, {".frames/10.json"}, 7, description) == ["10.0.0"]
    assert storage.names() == sorted({*foreign, *chunks, metadata.ATTRIBUTES} - {"10.0.0"})
    assert discard_unpublished(storage, set(), 0, None) == ["0.0.0", "1.0.0"]
    assert storage.names() == sorted(foreign)


def test_a_local_folder_where_nothing_was_published_is_removed(tmp_path):
    Claim(Storage.at(tmp_path / "m.zarr"), overwrite=False, facts={"recording": True}).__enter__()
    marker = tmp_path / "m.zarr" / MARKER
    marker.write_text(json.dumps(json.loads(marker.read_bytes()) | {"pid": 1 << 30, "token": "00" * 16}))
    assert pg.recover(tmp_path / "m.zarr").frames == 0 and not list(tmp_path.iterdir())
