"""What readers saw of a recording that ended early is what it is finished with; the rest is discarded, and counted."""

from __future__ import annotations

import time

import pytest

import photon_gpu as pg
from photon_gpu import metadata
from photon_gpu.errors import StoreExistsError
from photon_gpu.live.published import discard_unpublished
from photon_gpu.storage import Storage
from tests.faults.filesystem import FaultyFileSystem
from tests.faults.recordings import CHUNK, check_prefix, frames, settings


def killed(folder, spool, *, publish_seconds=3600.0, chunks=5, away=None):
    """Chunks are in the store; but for the first, readers do not see them, and nothing else has them."""
    fs = FaultyFileSystem(folder)
    fs.faults = lambda operation, path: (
        "503" if away and path.endswith(away) and operation == "write" else None
    )
    live = pg.LiveWriter(fs.storage(), spool=spool, **settings(publish_seconds=publish_seconds))
    for t in range(0, chunks * CHUNK, CHUNK):
        live.append(frames(t, t + CHUNK), timestamp=list(range(t, t + CHUNK)))
        until(lambda name=f"{t // CHUNK}.0.0": name in fs.storage().names())
        until(lambda: away or live.acknowledged)
    live._pipeline._delivery.patience.stopping.set()
    live._pipeline._publisher.stop()
    if live._spool:
        live._spool.release()
    return live, FaultyFileSystem(folder).storage()


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("with_spool", [True, False])
def test_chunks_that_readers_never_saw_are_discarded_and_counted(tmp_path, with_spool):
    live, storage = killed(tmp_path / "store", tmp_path / "spool" if with_spool else None)
    assert live.acknowledged == CHUNK and "4.0.0" in storage.names()
    storage.write("notes.txt", b"of the experimenter")
    report = pg.recover(live.spool or storage, url=storage)
    assert report.frames == CHUNK and report.discarded == [f"{n}.0.0" for n in range(1, 5)]
    assert "4 chunks discarded" in str(report)
    check_prefix(pg.open(storage), CHUNK, CHUNK)
    assert storage.read("notes.txt") == b"of the experimenter"
    storage.delete("notes.txt")
    assert pg.verify(storage).ok


def test_where_nothing_was_published_the_place_is_given_back(tmp_path):
    live, storage = killed(tmp_path / "store", None, away=".zarray", chunks=1)
    assert live.acknowledged == 0
    assert pg.recover(storage).frames == 0 and not storage.names()
    pg.encode(frames(0, 3), storage, noise=pg.NoiseModel())
    with pytest.raises(StoreExistsError):
        pg.encode(frames(0, 3), storage)


def test_only_files_of_chunks_and_unseen_metadata_go():
    storage = Storage.at("memory://discard.zarr")
    names = [
        "0.0.0",
        "1.0.0",
        "10.0",
        "x.0",
        "README",
        ".frames/0.json",
        ".frames/1.json",
        ".frames/x.json",
        "0.0.0.txt",
    ]
    for name in [*names, metadata.ATTRIBUTES]:
        storage.write(name, b"?")
    assert discard_unpublished(storage, {"0.0.0", ".frames/0.json"}) == ["1.0.0", "10.0"]
    assert storage.names() == sorted(set(names) - {"1.0.0", "10.0", ".frames/1.json"})
