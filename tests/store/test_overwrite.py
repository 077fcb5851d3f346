"""Overwriting: only movies go, whole and at once; what is no movie's stays; what a kill leaves is found."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.cluster.encode_many import encode_many
from photon_gpu.engine.codec import blosc
from photon_gpu.errors import PhotonError, PhotonWarning, StoreExistsError, StoreNotFoundError
from photon_gpu.reader.export import export
from photon_gpu.store import durable, manifest, overwrite
from photon_gpu.store.claim import ARRAY, MARKER, Claim
from photon_gpu.store.metadata import ATTRIBUTES
from photon_gpu.store.owned_files import own_names, remove_own
from photon_gpu.store.storage import Storage

MOVIE = np.random.default_rng(0).poisson(9, (6, 8, 8)).astype("uint16")
SETTINGS = {"layout": "lossless", "chunk_frames": 2}


@pytest.fixture(params=["exchange", "renames", "memory"])
def store(request, tmp_path, monkeypatch):
    """A disk that exchanges names, one that cannot, and a store that has no renames at all."""
    if request.param == "renames":
        monkeypatch.setattr(durable, "_exchange_call", lambda: None)
    storage = Storage.at(
        f"memory://{tmp_path.name}/m.zarr" if request.param == "memory" else tmp_path / "m.zarr"
    )
    yield storage
    storage.fs.rm(storage.root.rpartition("/")[0], recursive=True)


def beside(store):
    parent = store.root.rpartition("/")[0]
    store.fs.invalidate_cache()
    return sorted(path.rstrip("/").split("/")[-1] for path in store.fs.ls(parent, detail=False))


def counts(store):
    return pg.open(store).counts[...]


def encode_while(store, action):
    """Overwrite a movie, and do something between the first chunk and the swap."""

    def progress(done, total):
        if done == total:
            action()

    return pg.encode(MOVIE + 1, store, **SETTINGS, overwrite=True, progress=progress)


@pytest.mark.parametrize(
    "names",
    [
        ["1.2.840.113619.2.55.3.0", "1.2.840.113619.2.55.3.1"],
        ["1", "2", "3"],
        ["0.0.0", "1.0.0"],
        [".partial-notes"],
        [".photonotes", ".photon-holiday.jpg"],
        [".frames/0.json"],
        [".zattrs", "0.0"],
        [MARKER, "0.0.0"],
        [".manifest.json", "0.0.0"],
    ],
    ids=repr,
)
def test_a_folder_that_is_no_movie_by_its_metadata_is_not_replaced(store, names):
    for name in names:
        store.write(name, b"precious " + name.encode())
    for write in (
        lambda: pg.encode(MOVIE, store, overwrite=True, noise=pg.NoiseModel()),
        lambda: encode_many([MOVIE], [store], overwrite=True),
    ):
        with pytest.raises(PhotonError, match="only movies are replaced"):
            write()
    assert {name: store.read(name) for name in store.names()} == {n: b"precious " + n.encode() for n in names}
    assert beside(store) == ["m.zarr"]


def test_an_array_of_others_is_not_replaced(store):
    files = {".zarray": json.dumps({"zarr_format": 2, "shape": [6, 8, 8], "chunks": [2, 8, 8]}).encode()}
    files |= {".zattrs": b"{}", "0.0.0": b"x"}
    for name, data in files.items():
        store.write(name, data)
    with pytest.raises(StoreExistsError, match="only movies are replaced"):
        pg.encode(MOVIE, store, overwrite=True, noise=pg.NoiseModel())
    assert {name: store.read(name) for name in store.names()} == files


def test_a_chunk_that_the_movie_does_not_have_is_foreign(store):
    pg.encode(MOVIE, store, **SETTINGS)
    for name in ("3.0.0", "0.0", ".frames/7.json"):
        store.write(name, b"precious")
        with pytest.raises(StoreExistsError, match=f"'{name}'"):
            pg.encode(MOVIE + 1, store, overwrite=True, noise=pg.NoiseModel())
        store.delete(name)
    pg.encode(MOVIE + 1, store, **SETTINGS, overwrite=True)
    assert (counts(store) == MOVIE + 1).all()


def test_a_chunk_that_a_whole_manifest_does_not_list_is_foreign(store):
    pg.encode(MOVIE, store, **SETTINGS)
    files = manifest.unpack(store.read(manifest.NAME), "")
    texts = {name: store.read(name) for name in (ARRAY, ATTRIBUTES)}
    listed = {name: entry for name, entry in files.items() if name not in {*texts, "1.0.0"}}
    store.write(manifest.NAME, manifest.pack(listed, texts))
    assert {*store.names()} - own_names(store, store.names()) == {"1.0.0"}
    store.delete(manifest.NAME)  # without one the shape tells
    assert own_names(store, store.names()) == {*store.names()}


def test_an_unlisted_file_of_an_unfinished_movie_is_a_chunk_if_it_is_whole(store):
    chunk = blosc.compress(np.arange(100.0), blosc.Compressor())
    files = {MARKER: b'{"token": "0"}', "0.0.0": chunk, "1.0.0": chunk[:-1], "2.0.0": b"", "notes.0": chunk}
    for name, data in files.items():
        store.write(name, data)
    assert own_names(store, store.names()) == {MARKER, "0.0.0"}
    store.write(manifest.NAME, manifest.pack({"1.0.0": manifest.entry(chunk)}))
    assert own_names(store, store.names()) == {MARKER, manifest.NAME, "0.0.0", "1.0.0"}
    assert own_names(store, store.names(), ours=True) == {*store.names()} - {"notes.0"}


def test_a_deletion_that_is_interrupted_leaves_what_says_which_files_are_left(store, monkeypatch):
    chunk = blosc.compress(np.arange(100.0), blosc.Compressor())
    for name, data in {MARKER: b'{"token": "0"}', "0.0.0": chunk, "1.0.0": chunk}.items():
        store.write(name, data)
    deleted = []
    monkeypatch.setattr(Storage, "delete", lambda self, name: deleted.append(name))
    remove_own(store)
    assert deleted == ["0.0.0", "1.0.0", MARKER]


def test_a_damaged_movie_is_replaced(store):
    pg.encode(MOVIE, store, **SETTINGS)
    store.write(ARRAY, b"{")
    store.write("0.0.0", b"damaged")
    pg.encode(MOVIE + 1, store, **SETTINGS, overwrite=True)
    assert (counts(store) == MOVIE + 1).all() and beside(store) == ["m.zarr"]


@pytest.mark.parametrize("name", ["notes.txt", "raw/day1/scan.tif", "1.2.840.1"])
def test_a_file_that_came_during_the_encode_is_kept_and_named(store, name):
    pg.encode(MOVIE, store, **SETTINGS)
    with pytest.warns(PhotonWarning, match=f"'{name.split('/')[0]}.*they were kept in ") as caught:
        encode_while(store, lambda: store.write(name, b"precious"))
    kept = Storage.at(store.root if not store.local else str(caught[-1].message).split("kept in ")[1])
    kept = Storage(store.fs, kept.root)
    assert kept.read(name) == b"precious" and (counts(store) == MOVIE + 1).all()
    assert not store.local or kept.names() == [name]
    assert pg.verify(store).ok is store.local  # where nothing can be moved, the file is named as no part


def test_a_recording_of_a_living_process_is_not_replaced(store):
    live = pg.LiveWriter(
        store, frame_shape=(8, 8), dtype="uint16", chunk_frames=2, publish_seconds=0.0, noise=pg.NoiseModel()
    )
    live.append(MOVIE)
    for write in (
        lambda: pg.encode(MOVIE, store, overwrite=True, noise=pg.NoiseModel()),
        lambda: encode_many([MOVIE], [store], overwrite=True),
    ):
        with pytest.raises(PhotonError, match="which still runs"):
            write()
    live.close()
    assert pg.open(store).shape == (6, 8, 8) and beside(store) == ["m.zarr"]
    pg.encode(MOVIE + 1, store, **SETTINGS, overwrite=True)
    assert (counts(store) == MOVIE + 1).all()


@pytest.mark.parametrize(
    ("facts", "replaced"),
    [
        ({"host": "another", "pid": 1}, False),
        ({"host": socket.gethostname(), "pid": 1}, False),
        ({"host": socket.gethostname(), "pid": 2**22 + 7}, True),
    ],
    ids=["another machine", "it runs", "it ended"],
)
def test_an_unfinished_recording_is_replaced_only_where_its_process_is_known_to_have_ended(
    tmp_path, facts, replaced
):
    store = Storage.at(tmp_path / "m.zarr")
    pg.encode(MOVIE, store, **SETTINGS)
    store.write(MARKER, json.dumps({"token": "0123", "recording": True, **facts}).encode())
    if replaced:
        pg.encode(MOVIE + 1, store, **SETTINGS, overwrite=True)
    else:
        with pytest.raises(StoreExistsError, match="still"):
            pg.encode(MOVIE + 1, store, **SETTINGS, overwrite=True)
    assert (counts(store) == MOVIE + replaced).all()


def test_a_writer_of_this_process_is_not_replaced(store):
    with Claim(store, overwrite=False) as claim:
        claim.target.write("0.0.0", b"chunk")
        with pytest.raises(StoreExistsError, match="still runs"):
            pg.encode(MOVIE, store, overwrite=True, noise=pg.NoiseModel())
    pg.encode(MOVIE, store, **SETTINGS)
    assert (counts(store) == MOVIE).all()


def test_a_recording_that_began_during_the_encode_stays(store):
    pg.encode(MOVIE, store, **SETTINGS)
    recording = json.dumps({"token": "0123", "recording": True, "host": "another", "pid": 1}).encode()
    with pytest.raises(StoreExistsError, match="may still be going on"):
        encode_while(store, lambda: store.write(MARKER, recording))
    store.delete(MARKER)
    assert (counts(store) == MOVIE).all() and beside(store) == ["m.zarr"]


def test_of_two_overwrites_the_first_stays_and_the_loser_leaves_nothing(store):
    pg.encode(MOVIE, store, **SETTINGS)
    with pytest.raises(StoreExistsError, match="somebody else replaced it"):
        encode_while(store, lambda: pg.encode(MOVIE + 2, store, **SETTINGS, overwrite=True))
    assert (counts(store) == MOVIE + 2).all() and beside(store) == ["m.zarr"]
    assert pg.verify(store, deep=True).ok


def test_an_overwrite_that_comes_between_check_and_exchange_is_seen(tmp_path, monkeypatch):
    store = Storage.at(tmp_path / "m.zarr")
    pg.encode(MOVIE, store, **SETTINGS)
    check = overwrite.Replaceable.check_unchanged

    def late(self):
        check(self)
        monkeypatch.undo()
        pg.encode(MOVIE + 2, store, **SETTINGS, overwrite=True)

    monkeypatch.setattr(overwrite.Replaceable, "check_unchanged", late)
    with pytest.raises(StoreExistsError, match="somebody else replaced it just now"):
        pg.encode(MOVIE + 1, store, **SETTINGS, overwrite=True)
    assert (counts(store) == MOVIE + 2).all() and beside(store) == ["m.zarr"]


def test_a_movie_that_was_removed_during_the_encode_is_no_obstacle(store):
    pg.encode(MOVIE, store, **SETTINGS)
    encode_while(store, lambda: remove_own(store))
    assert (counts(store) == MOVIE + 1).all() and beside(store) == ["m.zarr"]


def test_an_export_replaces_an_export_and_nothing_else(store):
    source = Storage(store.fs, store.root + "2")
    pg.encode(MOVIE, source, **SETTINGS)
    movie = pg.open(source)
    url = store.root if store.local else f"memory:/{store.root}"
    export(movie, url)
    export(movie, url, frames=(0, 2), overwrite=True)
    assert json.loads(store.read(ARRAY))["shape"] == [2, 8, 8] and "2.0.0" not in store.names()
    assert set(manifest.unpack(store.read(manifest.NAME), "")) == {ARRAY, ATTRIBUTES, "0.0.0"}
    store.write("notes.txt", b"precious")
    with pytest.raises(StoreExistsError, match=r"notes\.txt"):
        export(movie, url, overwrite=True)
    assert store.read("notes.txt") == b"precious"


def test_a_failed_encode_removes_its_own_files_alone(store):
    def fail():
        store.write("notes.txt", b"precious")
        raise ValueError("stopped")

    def progress(done, total):
        if done == total:
            fail()

    with pytest.raises(ValueError, match="stopped") as caught:
        pg.encode(MOVIE, store, **SETTINGS, progress=progress)
    assert store.names() == ["notes.txt"] and "'notes.txt'" in caught.value.__notes__[0]


def test_a_swap_that_fails_leaves_the_new_movie_whole_and_says_where(store, monkeypatch):
    pg.encode(MOVIE, store, **SETTINGS)

    def refuse(*_):
        raise PermissionError("in use")

    monkeypatch.setattr(overwrite, "_rename" if store.local else "_finish_copy", refuse)
    monkeypatch.setattr(durable, "exchange", refuse if durable._exchange_call() else lambda *_: False)
    with pytest.raises(PhotonError, match=r"is whole at .*m\.zarr\.new-.*\(in use\)"):
        pg.encode(MOVIE + 1, store, **SETTINGS, overwrite=True)
    monkeypatch.undo()
    assert (counts(store) == MOVIE).all()
    (new,) = overwrite.left_behind(store)
    assert (counts(new) == MOVIE + 1).all()


def test_a_replaced_movie_that_cannot_be_removed_is_named(tmp_path, monkeypatch):
    store = Storage.at(tmp_path / "m.zarr")
    pg.encode(MOVIE, store, **SETTINGS)

    def refuse(*_):
        raise PermissionError("in use")

    monkeypatch.setattr(overwrite, "remove_own", refuse)
    with pytest.warns(PhotonWarning, match=r"delete .*m\.zarr\.old-"):
        pg.encode(MOVIE + 1, store, **SETTINGS, overwrite=True)
    assert (counts(store) == MOVIE + 1).all()


KILLED = """
import os, sys
import numpy as np, photon_gpu as pg
from photon_gpu.store import durable, overwrite
from photon_gpu.store.storage import Storage
url, at, exchange = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "exchange"
if not exchange:
    durable._exchange_call = lambda: None
calls = 0
def counted(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), 9)
        return function(*arguments, **options)
    return call
replace = overwrite.Replaceable.replace_with
def begin(self, *arguments):
    overwrite._rename, durable.exchange = counted(overwrite._rename), counted(durable.exchange)
    Storage.delete, Storage.names = counted(Storage.delete), counted(Storage.names)
    return replace(self, *arguments)
overwrite.Replaceable.replace_with = begin
pg.encode(np.full((6, 8, 8), 7, "uint16"), url, layout="lossless", chunk_frames=2, overwrite=True)
"""


@pytest.mark.parametrize("how", ["exchange", "renames"])
def test_a_kill_at_any_step_of_a_swap_leaves_a_movie_at_the_name_or_says_where_it_is(how, tmp_path):
    """With an exchange of names there always is a movie; with two renames recover puts one back."""
    for at in range(1, 30):
        url = tmp_path / str(at) / "m.zarr"
        pg.encode(MOVIE, url, **SETTINGS)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(KILLED), str(url), str(at), how], check=False
        )
        gone = not url.exists()
        if gone:
            assert how == "renames"
            for look in (pg.open, pg.verify):
                with pytest.raises(StoreNotFoundError, match=r"m\.zarr\.new-.*recover"):
                    look(url)
            report = pg.recover(url)
            assert report.put_back.startswith("m.zarr.new-") and report.put_back in str(report)
        movie = pg.open(url).counts[...]
        assert (movie == MOVIE).all() or (movie == 7).all()
        assert pg.verify(url, deep=True).ok
        left = [path.name for path in url.parent.iterdir() if path != url]
        assert len(left) <= 1
        for name in left:  # named, and nothing is done to it
            assert any(name in note for note in pg.verify(url).notes)
            assert [os.path.basename(path) for path in pg.recover(url).beside] == [name]
        if done.returncode == 0:
            break
    assert at > 6 and (movie == 7).all() and not left


def test_an_interrupted_copy_to_a_store_without_renames_is_finished_by_recover(tmp_path):
    store = Storage.at(f"memory://{tmp_path.name}/m.zarr")
    calls = 0

    class Killed(BaseException):
        pass

    class Stops(Storage):
        def write(self, name, data, **options):
            self._count(lambda: Storage.write(self, name, data, **options))

        def delete(self, name):
            self._count(lambda: Storage.delete(self, name))

        def _count(self, call):
            nonlocal calls
            calls -= 1
            if calls == 0:
                raise Killed
            call()

    for at in range(1, 20):
        store = Storage.at(f"memory://{tmp_path.name}/{at}/m.zarr")
        pg.encode(MOVIE, store, **SETTINGS)
        store.write("notes.txt", b"precious") if at % 2 else None
        new = store.sibling("new")
        pg.encode(MOVIE[:3] + 1, new, **SETTINGS)
        target, calls = Stops(store.fs, store.root), at
        facts = {"host": socket.gethostname(), "pid": 2**22 + 7, "token": "0123"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PhotonWarning)
            try:
                overwrite.Replaceable(target, None).replace_with(new, facts)
                break
            except Killed:
                report = pg.recover(store)
        assert report.put_back == new.root.split("/")[-1] and not overwrite.left_behind(store)
        assert (counts(store) == MOVIE[:3] + 1).all() and MARKER not in store.names()
        assert at % 2 == 0 or store.read("notes.txt") == b"precious"
        assert [name for name in store.names() if name not in own_names(store, store.names())] == (
            ["notes.txt"] if at % 2 else []
        )
    assert at > 6


def test_what_is_left_behind_is_found_by_its_name_alone(store):
    names = ["m.zarr.new-0123456789ab", "m.zarr.old-ffffffffffff"]
    for name in [*names, "m.zarr.new-notes", "m2zarr.new-0123456789ab", "m.zarr.damaged-0123456789ab"]:
        Storage(store.fs, store.root.replace("m.zarr", name)).write("file", b"x")
    assert [storage.root.split("/")[-1] for storage in overwrite.left_behind(store)] == names
    with pytest.raises(StoreNotFoundError, match="not whole"):
        pg.open(store)
    with pytest.raises(StoreNotFoundError):
        pg.recover(store)


def test_recover_puts_an_old_movie_back_where_no_new_one_is_whole(store):
    old = store.sibling("old")
    pg.encode(MOVIE, old, **SETTINGS)
    store.sibling("new").write("0.0.0", b"half")
    report = pg.recover(store)
    assert report.frames == 6 and report.put_back == old.root.split("/")[-1]
    assert (counts(store) == MOVIE).all() and len(report.beside) == 1


def test_recover_does_not_choose_between_two_movies(store):
    for number in range(2):
        pg.encode(MOVIE + number, store.sibling("new"), **SETTINGS)
    with pytest.raises(PhotonError, match="rename the one you want"):
        pg.recover(store)
    assert store.names() == []
