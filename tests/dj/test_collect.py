"""What no row refers to goes; everything else stays, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from photon_gpu.dj import collect
from photon_gpu.dj.marks_in_store import mark_location
from photon_gpu.dj.references import ReferencesUnknownError
from photon_gpu.dj.stored_movies import StoredMovie
from photon_gpu.engine.codec import blosc
from photon_gpu.errors import InvalidInputError, StoreExistsError, StoreUnavailableError
from photon_gpu.store import manifest
from photon_gpu.store.claim import Claim
from photon_gpu.store.storage import Storage
from tests.support.concurrent_calls import at_once
from tests.support.dj.tables import declare

MODULE = sys.modules["photon_gpu.dj.collect"]  # the package's `collect` is the function
CHUNK = blosc.compress(np.arange(100.0), blosc.Compressor.parse("zstd-1-shuffle"))
CONTENT = {
    "0.0.0": CHUNK,
    "1.0.0": CHUNK,
    ".zattrs": json.dumps({"codec_version": "1.0", "codec_name": "photon"}, indent=4).encode(),
    ".zarray": b'{"zarr_format": 2}',
}
FILES = {
    **CONTENT,
    ".manifest.json": manifest.pack({name: manifest.entry(data) for name, data in CONTENT.items()}),
}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture
def lab(schema, store):
    """A table whose rows are written by hand, and movies placed by hand: each state can be made."""
    return Lab(schema, store)


class Lab:
    def __init__(self, schema, store):
        self.schema = schema
        self.make_store = store
        self.backend = None
        self.table = declare(schema, "i : int32\n---\nmovie : json")

    def use(self, service="file", **more):
        self.backend = self.make_store(service, **more)
        mark_location(self.backend, "imaging", self.table.connection)
        return self

    def path(self, i, table="recording"):
        return f"{self.schema.database}/{table}/i={i}/movie.zarr"

    def put(self, i, files=FILES, age_hours=100.0, table="recording"):
        for name, content in files.items():
            full = self.backend._full_path(f"{self.path(i, table)}/{name}")
            self.backend.fs.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
            self.backend.fs.pipe_file(full, content)
            if self.backend.protocol == "file":
                then = time.time() - age_hours * 3600
                os.utime(full, (then, then))
        return self.path(i, table)

    def row(self, i, **more):
        self.table.insert1({"i": i, "movie": {"path": self.path(i), "store": "imaging", **more}})

    def left(self):
        root = self.backend._full_path(self.schema.database)
        paths = self.backend.fs.find(root) if self.backend.fs.exists(root) else []
        return {path[len(root) + 1 :] for path in paths}

    def collect(self, **options):
        return collect(self.schema.database, **{"dry_run": False, "wait_seconds": 0.5, **options})

    def age(self, i):
        """Let what lies at a path seem old again."""
        for path in Path(self.backend._full_path(self.path(i))).iterdir():
            os.utime(path, (0, 0))


def only(result):
    (movie,) = result.unreferenced
    return movie


def test_a_dry_run_is_the_default_and_deletes_nothing(lab):
    lab.use().put(1)
    lab.put(2)
    lab.row(1)
    before = lab.left()
    report = collect(lab.schema.database)
    assert report.dry_run
    assert report.referenced == 1
    movie = only(report)
    assert (movie.path, movie.status, movie.bytes, movie.files) == (lab.path(2), "orphan", SIZE, 5)
    assert "1 in use, 1 to delete" in report.text()
    assert "Nothing was deleted" in report.text()
    assert json.loads(json.dumps(report.to_dict()))["referenced"] == 1
    assert lab.left() == before


@pytest.mark.parametrize("service", ["file", "seaweed", "moto", "gcs"])
def test_only_what_no_row_refers_to_goes(lab, service):
    lab.use(service)
    for i in (1, 2, "a%2Fb"):
        lab.put(i)
    lab.row(1)
    report = lab.collect(grace_hours=0)
    assert report.count("deleted") == 2
    assert report.bytes("deleted") == 2 * SIZE
    assert lab.left() == {f"recording/i=1/movie.zarr/{name}" for name in FILES}
    again = lab.collect(grace_hours=0)
    assert (again.referenced, again.unreferenced) == (1, ())


def test_empty_folders_go_too_but_not_the_table(lab):
    lab.use().put(1)
    lab.collect()
    root = Path(lab.backend._full_path(lab.schema.database))
    assert list(root.rglob("*")) == [root / "recording"]


@pytest.mark.parametrize("service", ["file", "seaweed", "moto", "gcs"])
def test_young_movies_stay(lab, service):
    lab.use(service).put(1, age_hours=0)
    movie = only(lab.collect())
    assert (movie.status, movie.why) == ("kept", "changed within the grace period")
    assert len(lab.left()) == len(FILES)


def test_one_young_file_keeps_the_whole_movie(lab):
    lab.use().put(1)
    lab.put(1, {"2.0.0": b"z"}, age_hours=23.9)
    assert only(lab.collect()).status == "kept"
    assert only(lab.collect(grace_hours=23.8)).status == "deleted"


def test_a_clock_that_is_ahead_does_not_make_young_movies_old(lab, monkeypatch):
    lab.use().put(1, age_hours=1)
    monkeypatch.setattr(StoredMovie, "doubt", lambda movie, *_: movie.examine())
    assert only(lab.collect()).why == "changed within the grace period"
    assert len(lab.left()) == len(FILES)


@pytest.mark.parametrize(
    "row",
    [
        {"store": None},
        {"store": "gone"},
        {"store": "imaging", "path": None},
    ],
)
def test_any_row_that_names_the_path_protects_it(lab, row):
    lab.use().put(1)
    if "path" in row:
        row = {"path": "elsewhere", "also": [{"here": "s3://bucket/" + lab.path(1)}]}
    lab.row(1, **row)
    assert lab.collect().referenced == 1
    assert len(lab.left()) == len(FILES)


def test_a_row_copied_to_another_schema_protects_it(lab, dj):
    lab.use().put(1)
    lab.row(1)
    archive = dj.Schema("archive_of_" + lab.schema.database)
    try:
        copy = declare(archive, "i : int32\n---\nmovie : json")
        copy.insert(lab.table)
        lab.table.delete()
        assert lab.collect().referenced == 1
        assert len(lab.left()) == len(FILES)
        copy.delete()
        assert only(lab.collect()).status == "deleted"
    finally:
        archive.drop(prompt=False)


def test_a_row_of_a_codec_that_is_not_installed_protects_it(lab, dj):
    lab.use().put(1)
    lab.row(1)
    column = f"{lab.table.full_table_name}.movie"
    dj.conn().query(f"COMMENT ON COLUMN {column} IS ':<unheard_of@imaging>:'")
    assert lab.collect().referenced == 1
    assert len(lab.left()) == len(FILES)


def test_a_query_that_fails_ends_it(lab, dj, monkeypatch):
    lab.use().put(1)
    query = dj.conn().query

    def failing(text, *args, **kwargs):
        if "strpos" in text:
            raise dj.errors.AccessError("no")
        return query(text, *args, **kwargs)

    monkeypatch.setattr(dj.conn(), "query", failing)
    with pytest.raises(ReferencesUnknownError, match="AccessError"):
        lab.collect()
    assert len(lab.left()) == len(FILES)


def test_a_query_that_fails_at_the_second_look_ends_it(lab, monkeypatch):
    lab.use().put(1)
    find = MODULE.find_references

    asked = []

    def failing(*connections):
        asked.append(1)
        if len(asked) > 1:
            raise ReferencesUnknownError("the server went away")
        return find(*connections)

    monkeypatch.setattr(MODULE, "find_references", failing)
    with pytest.raises(ReferencesUnknownError, match="went away"):
        lab.collect()
    assert {path.rsplit("/", 1)[1] for path in lab.left()} == set(FILES)


def test_a_store_that_cannot_be_listed_ends_it(lab, monkeypatch):
    lab.use("seaweed").put(1)
    monkeypatch.setattr(type(lab.backend.fs), "find", lambda *_, **__: 1 / 0)
    with pytest.raises(StoreUnavailableError, match="store 'imaging': listing s3://"):
        lab.collect(grace_hours=0)
    monkeypatch.undo()
    assert len(lab.left()) == len(FILES)


def test_an_insert_not_yet_committed_elsewhere_protects_it(lab, another):
    lab.use().put(1)
    other = another.FreeTable(lab.table.full_table_name)
    with another.connection.transaction:
        other.insert1({"i": 1, "movie": {"path": lab.path(1)}})
        movie = only(lab.collect())
        assert movie.status == "kept"
        assert f"uncommitted writes of other sessions may refer to it: {lab.schema.database}" in movie.why
    assert lab.collect().referenced == 1
    assert len(lab.left()) == len(FILES)


def test_it_waits_for_a_writer_to_finish(lab, another):
    lab.use().put(1)
    other = another.FreeTable(lab.table.full_table_name)
    another.connection.start_transaction()
    other.insert1({"i": 1, "movie": {"path": lab.path(1)}})
    commit = threading.Timer(0.5, another.connection.commit_transaction)
    commit.start()
    assert only(lab.collect(wait_seconds=20)).why == "a row refers to it again"
    commit.join()
    assert len(lab.left()) == len(FILES)


def test_a_row_inserted_after_the_scan_is_seen(lab, monkeypatch):
    lab.use().put(1)
    lock = MODULE._lock

    def insert_then_lock(*args):
        lab.row(1)
        return lock(*args)

    monkeypatch.setattr(MODULE, "_lock", insert_then_lock)
    assert only(lab.collect()).why == "a row refers to it again"
    assert {path.rsplit("/", 1)[1] for path in lab.left()} == set(FILES)


def test_inside_a_transaction_it_refuses(lab, dj):
    lab.use().put(1)
    lab.row(1)
    with dj.conn().transaction:
        lab.table.delete_quick()
        with pytest.raises(ReferencesUnknownError, match="inside a transaction"):
            lab.collect()
        lab.row(1)
    assert len(lab.left()) == len(FILES)


def test_the_last_to_go_is_zarray(lab, monkeypatch):
    lab.use().put(1)
    order = []
    remove = lab.backend.fs.rm_file
    monkeypatch.setattr(
        type(lab.backend.fs), "rm_file", lambda _, path: (order.append(path.rsplit("/", 1)[1]), remove(path))
    )
    lab.collect()
    assert order == ["0.0.0", "1.0.0", ".zattrs", ".manifest.json", ".zarray", ".collecting-1"]


@pytest.mark.parametrize("stop", range(6))
def test_the_path_cannot_be_taken_before_it_is_empty(lab, monkeypatch, stop):
    """A re-insert at any moment of the deletion finds the path taken, and goes beside."""
    lab.use().put(1)
    remove = type(lab.backend.fs).rm_file
    storage = Storage(lab.backend.fs, lab.backend._full_path(lab.path(1)))
    count = [0]

    def rm_file(fs, path):
        if count[0] == stop:
            with pytest.raises(StoreExistsError):
                Claim(storage, overwrite=False).__enter__()
        count[0] += 1
        remove(fs, path)

    monkeypatch.setattr(type(lab.backend.fs), "rm_file", rm_file)
    assert only(lab.collect()).status == "deleted"
    assert count[0] == 6
    monkeypatch.undo()
    Claim(storage, overwrite=False).__enter__()


def test_a_collection_that_lagged_behind_leaves_the_new_movie_alone(lab, monkeypatch):
    """It listed the old movie; since then another deleted it and the key was inserted again."""
    lab.use().put(1)
    lock = MODULE._lock

    def meanwhile(movie, grace):
        monkeypatch.undo()
        assert only(lab.collect()).status == "deleted"
        lab.put(1, age_hours=0)
        return lock(movie, grace)

    monkeypatch.setattr(MODULE, "_lock", meanwhile)
    assert only(lab.collect()).status == "kept"
    assert {path.rsplit("/", 1)[1] for path in lab.left()} == set(FILES)


def test_a_movie_that_grew_since_it_was_listed_stays(lab, monkeypatch):
    lab.use().put(1)
    lock = MODULE._lock

    def grow(movie, grace):
        lab.put(1, {"2.0.0": b"more"})
        return lock(movie, grace)

    monkeypatch.setattr(MODULE, "_lock", grow)
    assert only(lab.collect(grace_hours=0)).why == "its files changed meanwhile"
    assert len(lab.left()) == len(FILES) + 1


def test_an_unfinished_recording_stays(lab):
    lab.use().put(1, {".photon-recording": b"{}", ".photon-writing": b"{}", "0.0.0": b"frames"})
    assert "photon_gpu.dj.recover finishes or removes it" in only(lab.collect()).why
    assert len(lab.left()) == 3


@pytest.mark.parametrize("stop", range(5))
def test_a_deletion_that_died_is_finished_by_the_next(lab, monkeypatch, stop):
    lab.use().put(1)
    remove = type(lab.backend.fs).rm_file
    count = [0]

    def rm_file(fs, path):
        if count[0] == stop:
            raise OSError(5, "the store went away")
        count[0] += 1
        remove(fs, path)

    monkeypatch.setattr(type(lab.backend.fs), "rm_file", rm_file)
    movie = only(lab.collect())
    assert movie.status == "failed"
    assert "the store went away" in movie.why
    monkeypatch.undo()
    assert any(path.endswith(".zarray") for path in lab.left())
    assert only(lab.collect()).why == "another collection is working on it"
    lab.age(1)
    assert only(lab.collect()).status == "deleted"
    assert lab.left() == set()


def test_two_collections_at_once_delete_each_movie_once(lab, dj, another):
    lab.use("moto")
    for i in range(6):
        lab.put(i)
    lab.row(0)
    another.config.stores = dict(dj.config.stores)
    results = []

    def run(connection):
        results.append(lab.collect(grace_hours=0, connection=connection))

    at_once(partial(run, c) for c in (dj.conn(), another.connection))
    deleted = [m.path for result in results for m in result.unreferenced if m.status == "deleted"]
    assert len(results) == 2
    assert sorted(deleted) == [lab.path(i) for i in range(1, 6)]
    assert [m.why for result in results for m in result.unreferenced if m.status == "failed"] == []
    assert lab.left() == {f"recording/i=0/movie.zarr/{name}" for name in FILES}


def test_a_dropped_table_is_reported_and_stays_until_asked(lab):
    lab.use().put(1, table="gone")
    assert "no table gone; dropped_tables=True" in only(lab.collect()).why
    assert len(lab.left()) == len(FILES)
    assert only(lab.collect(dropped_tables=True)).status == "deleted"


def test_what_others_wrote_stays(lab):
    lab.use().put(1, {".zarray": b'{"zarr_format": 2}', "0.0": b"theirs"})
    assert only(lab.collect()).why == "not written by photon_gpu"
    assert len(lab.left()) == 2


@pytest.mark.parametrize(
    "files",
    [
        {".photon-writing": b'{"token": "0"}', "0.0.0": CHUNK},
        {".photon-writing": b"{}"},
        {".photon-writing": b"{}", ".partial-0123456789ab": b"half"},
    ],
)
def test_remains_of_a_killed_insert_go(lab, files):
    lab.use().put(1, files)
    assert only(lab.collect()).status == "deleted"
    assert lab.left() == set()


@pytest.mark.parametrize("metadata", [{".zattrs": FILES[".zattrs"]}, {".photon-writing": b"{}"}])
def test_chunks_that_neither_a_manifest_nor_a_writer_names_stay(lab, metadata):
    lab.use().put(1, {**metadata, "0.0.0": CHUNK})
    assert only(lab.collect()).why == "not written by photon_gpu"
    assert len(lab.left()) == 2


def test_other_schemas_and_other_files_are_never_touched(lab):
    lab.use()
    for path in ("other/recording/i=1/movie.zarr/.zarray", f"{lab.schema.database}/recording/notes.txt"):
        full = Path(lab.backend._full_path(path))
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(FILES[".zarray"])
        os.utime(full, (0, 0))
    assert lab.collect().unreferenced == ()
    assert Path(lab.backend._full_path("other/recording/i=1/movie.zarr/.zarray")).exists()


def test_two_names_of_one_place_are_one_store(lab, dj):
    from photon_gpu.dj import stores

    lab.use().put(1)
    stores({"again": dict(dj.config.stores["imaging"])})
    assert len(lab.collect(dry_run=True).unreferenced) == 1


def test_a_store_of_datajoints_own_keeps_its_prefix(lab, dj, tmp_path):
    lab.use()
    (tmp_path / "own").mkdir()
    dj.config.stores["own"] = {"protocol": "file", "location": str(tmp_path / "own")}
    folder = tmp_path / "own" / "_schema" / lab.path(5)
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, (0, 0))
    assert only(lab.collect(stores=["own"], only_this_database=True)).status == "deleted"


def test_what_was_asked_wrongly(lab, dj):
    lab.use()
    with pytest.raises(InvalidInputError, match="unknown store: 'x'; configured: 'imaging'"):
        lab.collect(stores=["x"])
    with pytest.raises(ReferencesUnknownError, match="no schema 'nowhere'"):
        collect("nowhere")
    with pytest.raises(InvalidInputError, match="grace_hours is -1; a number from 0"):
        lab.collect(grace_hours=-1)
    dj.config.stores["imaging"]["partition_pattern"] = "{i}"
    with pytest.raises(InvalidInputError, match="partition_pattern"):
        lab.collect()
