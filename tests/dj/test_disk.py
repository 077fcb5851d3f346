"""Insert and collect on a disk that fails, or in a process that is killed, at every disk call."""

from __future__ import annotations

import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from photon_gpu.dj import collect
from tests.support.dj.earlier_release_locks import old_locks, watched
from tests.support.dj.movies import RECORDING, check_rows, poisson
from tests.support.dj.programs import run
from tests.support.dj.tables import declare
from tests.support.faults.faulty_disk import Failing

A, B = poisson(1)[:100], poisson(2)[:100]  # of one chunk: fewer calls


def calls_of(action):
    """How many calls it makes when nothing fails."""
    disk = Failing(lambda number, name: 0)
    with watched(disk):
        action()
    return disk.calls


def test_a_disk_that_fails_at_any_call_of_an_insert(schema, store):
    """EIO and ENOSPC by turns: an insert works or tells, and every row's movie decodes."""
    store("file")
    table = declare(schema, RECORDING)
    calls = calls_of(lambda: table.insert1({"recording_id": 0, "movie": A}))
    assert calls > 15
    expected, told = {0: A}, 0
    for at in range(1, calls + 1):
        with watched(Failing(lambda number, name, at=at: (5, 28)[at % 2] if number == at else 0)):
            try:
                table.insert1({"recording_id": at, "movie": B})
                expected[at] = B
            except OSError as error:
                assert error.errno in (5, 28)
                told += 1
    assert told > calls / 2
    check_rows(table, expected)
    collect(schema.database, dry_run=False, grace_hours=0)
    check_rows(table, expected)
    for at in set(range(1, calls + 1)) - set(expected):  # what failed can be done again
        table.insert1({"recording_id": at, "movie": B})
        expected[at] = B
    check_rows(table, expected)


def test_a_disk_that_fails_at_any_call_of_a_collection(dj, schema, store):
    store("file")
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 0, "movie": A})

    def orphan():
        table.insert1({"recording_id": 1, "movie": B})
        (table & "recording_id = 1").delete()

    def collected():
        return collect(schema.database, dry_run=False, grace_hours=0)

    orphan()
    calls = calls_of(collected)
    assert calls > 4
    for at in range(1, calls + 1):
        orphan()
        with watched(Failing(lambda number, name, at=at: 5 if number == at else 0)), suppress(OSError):
            collected()
        check_rows(table, {0: A})
        old_locks(dj.config.stores["imaging"]["location"])
    collected()
    check_rows(table, {0: A})
    assert not collected().unreferenced


# The process connects anew in each of its children, one for each call at which one dies.
DYING = """
    from tests.support.dj.earlier_release_locks import old_locks, watched
    from tests.support.faults.faulty_disk import Killing
    pg.encode(A, "memory://warm.zarr", noise=pg.NoiseModel())
    for at in range(1, 200):
        prepare(at)
        child = os.fork()
        if not child:
            with watched(Killing(at)):
                act(at)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("died" if status == -9 else f"ended {status}", at, flush=True)
        if status != -9:
            break
"""
TABLE = """
    A = np.random.default_rng(1).poisson(20, (100, 8, 12)).astype("uint16")
    def table():
        schema = dj.Schema({schema!r}, connection=dj.conn(reset=True))
        class Recording(dj.Manual):
            definition = {recording!r}
        schema(Recording, context={{}})
        return Recording
"""


def _deaths(database, spec, schema, code):
    root = str(Path(__file__).parents[2])
    head = textwrap.dedent(TABLE).format(schema=schema.database, recording=RECORDING)
    text = head + textwrap.dedent(code) + textwrap.dedent(DYING)
    here = str(Path(__file__).parent)
    process = run(database, spec, f"import sys; sys.path[:0] = [{root!r}, {here!r}]\n" + text)
    message, _ = process.communicate(timeout=200)
    lines = message.strip().splitlines()
    assert lines[-1].startswith("ended 0"), message
    return len(lines) - 1


def test_an_insert_killed_at_every_call(dj, database, schema, store):
    store("file")
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 0, "movie": B})
    deaths = _deaths(
        database,
        dj.config.stores["imaging"],
        schema,
        """
        def prepare(at): pass
        def act(at): table().insert1({"recording_id": at, "movie": A})
        """,
    )
    assert deaths > 15
    assert len(table()) == 2  # the first, and the one whose process was not killed
    check_rows(table, {0: B, deaths + 1: A})
    table.insert1({"recording_id": 1, "movie": A})  # a place that the dead left
    collect(schema.database, dry_run=False, grace_hours=0)
    check_rows(table, {0: B, 1: A, deaths + 1: A})


def test_a_collection_killed_at_every_call(dj, database, schema, store):
    store("file")
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 0, "movie": B})
    for key in range(1, 4):
        table.insert1({"recording_id": key, "movie": A})
        (table & f"recording_id = {key}").delete()
    deaths = _deaths(
        database,
        dj.config.stores["imaging"],
        schema,
        """
        def prepare(at):
            old_locks(dj.config.stores["imaging"]["location"])
        def act(at):
            schema = table().database
            photon_gpu.dj.collect(schema, dry_run=False, grace_hours=0)
        """,
    )
    assert deaths >= 3
    check_rows(table, {0: B})
    old_locks(dj.config.stores["imaging"]["location"])
    assert not collect(schema.database, dry_run=False, grace_hours=0).unreferenced
    check_rows(table, {0: B})


@pytest.fixture(autouse=True)
def _nothing_left_patched():
    yield
    assert LocalFileSystem.rm_file.__name__ == "rm_file"
