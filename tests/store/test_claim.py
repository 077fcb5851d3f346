"""The right to write at a place: one writer, nothing overwritten unasked, no trace of a failure."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.runtime.process_alive import start_of
from photon_gpu.errors import StoreExistsError
from photon_gpu.store import durable, manifest
from photon_gpu.store.claim import ARRAY, MARKER, Claim
from photon_gpu.store.in_progress_marker import alive
from photon_gpu.store.ome_zarr.zarr2_view import movie_storage
from photon_gpu.store.storage import Storage


def written(store, overwrite=False, data=b"array"):
    with Claim(store, overwrite=overwrite) as claim:
        claim.target.write("0.0.0", b"chunk " + data)
        claim.publish([(manifest.NAME, index(data)), (ARRAY, data)])


def index(data):
    """A movie is known by its manifest."""
    return manifest.pack({"0.0.0": manifest.entry(b"chunk " + data)}, {ARRAY: data})


def test_a_marker_stands_while_somebody_writes_and_no_array(store):
    with Claim(store, overwrite=False) as claim:
        marker = json.loads(store.read(MARKER))
        assert (
            marker["host"] == socket.gethostname()
            and marker["pid"] == os.getpid()
            and marker["began"] > 1.7e9
        )
        assert claim.target is store and ARRAY not in store.names()
        claim.target.write("0.0.0", b"chunk")
        claim.publish([(ARRAY, b"array")])
    assert store.names() == [ARRAY, "0.0.0"]


def test_a_second_writer_is_refused_while_the_first_one_writes(store):
    with Claim(store, overwrite=False) as claim:
        with pytest.raises(StoreExistsError, match="being written"), Claim(store, overwrite=False):
            pass
        assert MARKER in store.names()
        claim.publish([(ARRAY, b"array")])


def test_what_is_there_is_refused_and_unharmed(store):
    written(store)
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        written(store, data=b"other")
    assert store.read(ARRAY) == b"array" and store.read("0.0.0") == b"chunk array"


@pytest.mark.parametrize("name", ["m.zarr", "m.ome.zarr"])
@pytest.mark.parametrize(
    ("files", "content"),
    [
        ({".zarray": "{}", "0.0.0": "chunk"}, "an array"),
        ({".zgroup": "{}", "0/.zarray": "{}"}, "a group"),
        ({"zarr.json": '{"node_type": "array"}', "c/0": "chunk"}, "an array"),
        ({"zarr.json": '{"node_type": "group"}', "0/zarr.json": '{"node_type": "array"}'}, "a group"),
        ({"zarr.json": '["node_type"]', "notes.txt": ""}, "2 files"),
    ],
)
def test_an_error_names_what_is_there(tmp_path, name, files, content):
    for file, text in files.items():
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with (
        pytest.raises(StoreExistsError, match=f"holds {content}, and no movie; give another name"),
        Claim(movie_storage(tmp_path / name), overwrite=False),
    ):
        pass


def test_an_error_names_a_movie_in_either_container(tmp_path):
    for name in ("m.zarr", "m.ome.zarr"):
        counts = np.ones((2, 4, 4), "uint8")
        pg.encode(counts, tmp_path / name, layout="lossless", check=False)
        with pytest.raises(StoreExistsError, match="holds a movie; .*overwrite=True to replace it"):
            pg.encode(counts, tmp_path / name, layout="lossless", check=False)


def test_overwriting_writes_beside_and_swaps_at_the_end(store):
    written(store)
    with Claim(store, overwrite=True) as claim:
        assert claim.target.root != store.root and claim.target.root.startswith(store.root + ".new-")
        claim.target.write("0.0.0", b"chunk new")
        assert store.read(ARRAY) == b"array"
        claim.publish([(manifest.NAME, index(b"new")), (ARRAY, b"new")])
    assert store.read(ARRAY) == b"new" and store.read("0.0.0") == b"chunk new" and MARKER not in store.names()
    assert claim.target.names() == []


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(28, "full")], ids=repr)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_leaves_what_was_there_before(store, overwrite, error):
    if overwrite:
        written(store)
    before = {name: store.read(name) for name in store.names()}
    with pytest.raises(type(error)), Claim(store, overwrite=overwrite) as claim:
        claim.target.write("0.0.0", b"half")
        raise error
    assert {name: store.read(name) for name in store.names()} == before
    assert claim.target is store or claim.target.names() == []


def test_leaving_without_publishing_is_a_failure_too(store):
    with Claim(store, overwrite=False) as claim:
        claim.target.write("0.0.0", b"half")
    assert store.names() == []


def test_foreign_files_are_never_overwritten(store):
    store.write("thesis.tex", b"years of work")
    with pytest.raises(StoreExistsError, match=r"thesis\.tex"):
        written(store, overwrite=True)
    assert store.read("thesis.tex") == b"years of work"


def test_a_marker_that_will_be_noted_is_synced_with_the_note(tmp_path, monkeypatch):
    """And until then it keeps other writers away as any other does."""
    from photon_gpu.store import durable

    synced = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    store = Storage.at(tmp_path / "m.zarr")
    with Claim(store, overwrite=False, notes_first=True) as claim:
        assert str(tmp_path / "m.zarr") not in synced
        with (
            pytest.raises(StoreExistsError, match="being written"),
            Claim(store, overwrite=False, notes_first=True),
        ):
            pass
        claim.note(plan="this")
        assert synced[-1] == str(tmp_path / "m.zarr")
        claim.publish([(ARRAY, b"array")])
    assert store.names() == [ARRAY]
    with Claim(Storage.at(tmp_path / "n.zarr"), overwrite=False):
        assert synced[-1] == str(tmp_path / "n.zarr")


def test_a_place_that_somebody_took_over_meanwhile_is_left_to_him(store):
    """A writer that slept, and whose movie another one went on with."""
    late = []
    with (
        pytest.raises(StoreExistsError, match="another writer took over"),
        Claim(store, overwrite=False) as claim,
    ):
        store.write(MARKER, json.dumps({"token": "another's"}).encode())
        store.write("0.0.0", b"another's")
        claim.publish([("1.0.0", b"ours"), (ARRAY, b"ours")], lambda: late.append("written"))
    assert store.names() == [MARKER, "0.0.0"] and not late


@pytest.mark.parametrize("made", ["m.zarr", "a/b/m.zarr"])
def test_a_noted_claim_has_synced_every_folder_made_for_it(tmp_path, monkeypatch, made):
    synced, sync = [], durable.sync_folder
    seen = lambda path: (synced.append(os.path.realpath(path)), sync(path))[1]  # noqa: E731
    monkeypatch.setattr(durable, "sync_folder", seen)
    monkeypatch.setattr("photon_gpu.store.claim.sync_folder", seen)
    with Claim(Storage.at(tmp_path / made), overwrite=False, notes_first=True) as claim:
        assert not synced
        claim.note(plan={})
        movie_folder = tmp_path / made
        folders = [movie_folder, *list(movie_folder.parents)[: 1 + made.count("/")]]
        assert set(synced) == {os.path.realpath(folder) for folder in folders}
        claim.publish([(ARRAY, b"array")])


def test_a_writer_is_alive_while_its_own_process_runs_and_no_longer():
    """Another process with its number, and one that ended and that nobody waited for, are not it."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        start = start_of(process.pid)
        marker = {"host": socket.gethostname(), "pid": process.pid, "started": start}
        assert alive(marker)
        assert alive({key: value for key, value in marker.items() if key != "started"})  # an older release's
        assert not alive({**marker, "started": start + "1"})
        assert not alive({**marker, "host": "elsewhere"})
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not alive(marker)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_says_when_it_started_itself():
    code = """
import os, time
from photon_gpu.engine.runtime.process_alive import start_of
from photon_gpu.store.in_progress_marker import started
assert started() == {"started": start_of(os.getpid())}
time.sleep(0.05)
if os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
assert started() == {"started": start_of(os.getpid())}
"""
    subprocess.run([sys.executable, "-c", code], check=True)
