"""Whatever goes wrong with an insert: every row's movie decodes, and no row points at a broken one."""

from __future__ import annotations

import subprocess
import textwrap

import numpy as np
import psutil
import pytest

import photon_gpu as pg
from photon_gpu.dj import collect, stores
from tests.support import servers
from tests.support.dj.movies import RECORDING, check_rows, decoded, files, poisson
from tests.support.dj.programs import run, table_code
from tests.support.dj.tables import declare
from tests.support.servers import s3_spec

SERVICES = ["file", "seaweed", "gcs"]
A, B = poisson(1), poisson(2)
DENOISED = "-> Source\n---\nmovie : <photon@imaging>\npid : int64"


def row(table, i):
    path = table.connection.query(
        f"SELECT movie->>'path' FROM {table.full_table_name} WHERE recording_id = {i}"
    ).fetchone()
    return path[0]


@pytest.mark.parametrize("service", SERVICES)
def test_a_duplicate_key_leaves_the_first_movie(dj, schema, store, service):
    store(service)
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    before = row(table, 1)
    with pytest.raises(dj.errors.DuplicateError):
        table.insert1({"recording_id": 1, "movie": B})
    check_rows(table, {1: A})
    assert row(table, 1) == before
    assert before.endswith("/recording_id=1/movie.zarr")


@pytest.mark.parametrize("service", SERVICES)
def test_skipped_duplicates_leave_the_first_movie(schema, store, service):
    store(service)
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    table.insert([{"recording_id": 1, "movie": B}, {"recording_id": 2, "movie": B}], skip_duplicates=True)
    check_rows(table, {1: A, 2: B})


@pytest.mark.parametrize("service", SERVICES)
def test_a_rollback_leaves_the_movies_of_before(dj, schema, store, service):
    store(service)
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    with pytest.raises(RuntimeError, match="changed my mind"), dj.conn().transaction:
        table.delete_quick()
        table.insert1({"recording_id": 1, "movie": B})
        table.insert1({"recording_id": 2, "movie": B})
        raise RuntimeError("changed my mind")
    check_rows(table, {1: A})
    table.insert1({"recording_id": 2, "movie": A})
    check_rows(table, {1: A, 2: A})


@pytest.mark.parametrize("service", SERVICES)
def test_update1_replaces_the_movie_of_one_row(schema, store, service):
    store(service)
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    table.insert1({"recording_id": 2, "movie": A})
    table.update1({"recording_id": 1, "movie": B})
    check_rows(table, {1: B, 2: A})
    table.update1({"recording_id": 2, "movie": B})
    check_rows(table, {1: B, 2: B})


@pytest.mark.parametrize("service", SERVICES)
def test_delete_and_insert_again(schema, store, service):
    backend = store(service)
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    table.delete()
    table.insert1({"recording_id": 1, "movie": B})
    check_rows(table, {1: B})
    assert collect(schema.database, dry_run=False, grace_hours=0).count("deleted") == 1
    check_rows(table, {1: B})
    table.delete()
    assert collect(schema.database, dry_run=False, grace_hours=0).count("deleted") == 1
    assert files(backend) == []
    table.insert1({"recording_id": 1, "movie": A})
    assert row(table, 1).endswith("/recording_id=1/movie.zarr")
    check_rows(table, {1: A})


@pytest.mark.parametrize("service", ["file", "moto"])
@pytest.mark.parametrize("at", range(8))
def test_delete_and_insert_again_while_a_collection_runs(schema, store, monkeypatch, service, at):
    """The key is inserted again before each of the collection's deletions in turn."""
    backend = store(service)
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    table.delete()
    remove, count = type(backend.fs).rm_file, [0]

    def rm_file(fs, path):
        count[0] += 1
        if count[0] == at + 1:
            monkeypatch.undo()
            table.insert1({"recording_id": 1, "movie": B})
            monkeypatch.setattr(type(backend.fs), "rm_file", rm_file)
        return remove(fs, path)

    monkeypatch.setattr(type(backend.fs), "rm_file", rm_file)
    assert collect(schema.database, dry_run=False, grace_hours=0).count("deleted") == 1
    monkeypatch.undo()
    if at >= count[0]:
        table.insert1({"recording_id": 1, "movie": B})
    check_rows(table, {1: B})
    collect(schema.database, dry_run=False, grace_hours=0)
    check_rows(table, {1: B})


@pytest.mark.parametrize("service", ["file", "seaweed"])
def test_an_insert_killed_midway_leaves_no_row_and_can_be_repeated(dj, database, schema, store, service):
    backend = store(service)
    table = declare(schema, RECORDING)
    process = run(
        database,
        dj.config.stores["imaging"],
        textwrap.dedent(table_code(schema))
        + textwrap.dedent("""
        def die(done, total):
            os.kill(os.getpid(), signal.SIGKILL)
        movie = pg.movie(A, chunk_frames=50, progress=die, noise=pg.NoiseModel())
        Recording.insert1({"recording_id": 1, "movie": movie})
    """),
    )
    process.communicate(timeout=100)
    assert process.returncode == -9
    assert len(table()) == 0
    assert any(name.endswith(".0.0") for name in files(backend))
    table.insert1({"recording_id": 1, "movie": B})
    check_rows(table, {1: B})
    report = collect(schema.database, dry_run=False, grace_hours=0)
    assert (report.referenced, report.count("deleted")) == (1, 1)
    check_rows(table, {1: B})


@pytest.mark.parametrize("service", ["file", "seaweed"])
def test_two_processes_inserting_one_key(dj, database, schema, store, tmp_path, service):
    store(service)
    table = declare(schema, RECORDING)
    start = tmp_path / "start"
    code = textwrap.dedent(table_code(schema)) + textwrap.dedent(f"""
        pg.encode(A, "memory://warm.zarr", noise=pg.NoiseModel())
        print("ready", flush=True)
        while not os.path.exists({str(start)!r}):
            time.sleep(0.001)
        movies = [A, np.random.default_rng(2).poisson(20, (250, 8, 12)).astype("uint16")]
        me = int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ["ME"])
        for key in range(5):
            try:
                Recording.insert1({{"recording_id": key, "movie": movies[me]}})
                print("won", key)
            except dj.errors.DuplicateError:
                print("lost", key)
    """)
    processes = [run(database, dj.config.stores["imaging"], code, ME=str(me)) for me in (0, 1)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    start.touch()
    outputs = [process.communicate(timeout=100)[0].split("\n") for process in processes]
    won = {int(line[4:]): me for me, lines in enumerate(outputs) for line in lines if line.startswith("won")}
    assert sorted(won) == list(range(5)), outputs
    check_rows(table, {key: (A, B)[me] for key, me in won.items()})
    collect(schema.database, dry_run=False, grace_hours=0)
    check_rows(table, {key: (A, B)[me] for key, me in won.items()})


@pytest.fixture
def faulty(moto):
    proxy = servers.FaultyS3(moto)
    yield proxy
    proxy.close()


A1, B1 = A[:100], B[:100]  # of one chunk: fewer requests, each of which fails in turn


def requests_of_one_insert(schema, faulty, location):
    stores({"imaging": s3_spec(faulty.endpoint, location)})
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 0, "movie": A1})
    first = faulty.count
    table.insert1({"recording_id": 1, "movie": A1})
    return table, faulty.count - first


@pytest.mark.parametrize("fault", [403, 503, "reset", "lost"])
def test_a_store_that_fails_once_on_the_nth_request(dj, schema, faulty, fault):
    """Each request of an insert in turn; the client may retry, but whatever it reports is true."""
    table, requests = requests_of_one_insert(schema, faulty, f"once{fault}{schema.database}")
    expected = {0: A1, 1: A1}
    # Retries wait a second; of the two faults that are alike, each takes every other request.
    turns = {503: range(1, requests + 1, 2), "reset": range(2, requests + 1, 2)}
    for n in turns.get(fault, range(1, requests + 1)):
        start = faulty.count
        faulty.plan = lambda number, *_, at=start + n: fault if number == at else None
        try:
            table.insert1({"recording_id": n + 1, "movie": B1})
            expected[n + 1] = B1
        except OSError:
            assert fault == 403, "what passes is retried"
        faulty.plan = lambda *_: None
        if n % 5 == 0:
            check_rows(table, expected)
    assert fault == 403 or len(expected) == 2 + len(turns.get(fault, range(requests)))
    collect(schema.database, dry_run=False, grace_hours=0)
    check_rows(table, expected)


def test_a_store_that_fails_from_the_nth_request_on(dj, schema, faulty):
    table, requests = requests_of_one_insert(schema, faulty, f"ever{schema.database}")
    for n in range(1, requests + 1):
        start = faulty.count
        faulty.plan = lambda number, *_, at=start + n: 403 if number >= at else None
        with pytest.raises(OSError):
            table.insert1({"recording_id": 2, "movie": B1})
        faulty.plan = lambda *_: None
        assert len(table()) == 2
    check_rows(table, {0: A1, 1: A1})
    table.insert1({"recording_id": 2, "movie": B1})
    check_rows(table, {0: A1, 1: A1, 2: B1})
    assert collect(schema.database, dry_run=False, grace_hours=0).referenced == 3
    check_rows(table, {0: A1, 1: A1, 2: B1})


def test_a_collection_whose_store_fails_on_the_nth_request(dj, schema, faulty):
    table, _ = requests_of_one_insert(schema, faulty, f"gc{schema.database}")
    (table & "recording_id = 1").delete()
    n = 0
    while True:
        n += 1
        start = faulty.count
        faulty.plan = lambda number, *_, at=start + n: 403 if number == at else None
        try:
            report = collect(schema.database, dry_run=False, grace_hours=0)
        except OSError:
            continue
        finally:
            faulty.plan = lambda *_: None
        if not report.unreferenced or faulty.count - start < n:
            break
        # A lock that was left is honoured for an hour; here its owner is known to be gone.
        for path in (
            name for name in files(dj.hash_registry.get_store_backend("imaging")) if ".collecting" in name
        ):
            dj.hash_registry.get_store_backend("imaging").remove(path)
    assert n > 5
    check_rows(table, {0: A1})


def test_a_row_whose_object_is_gone(schema, store):
    backend = store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    table.insert1({"recording_id": 2, "movie": B})
    path = f"{schema.database}/recording/recording_id=1/movie.zarr"
    backend.remove(f"{path}/1.0.0")
    movie = (table & "recording_id = 1").fetch1("movie")
    np.testing.assert_array_equal(movie.counts[:100], decoded(A)[:100])
    with pytest.raises(pg.PhotonError, match=r"frames 100 to 199 cannot be read: 1\.0\.0 is missing"):
        movie[150]
    backend.fs.rm(backend._full_path(path), recursive=True)
    with pytest.raises(pg.PhotonError, match="is missing"):
        (table & "recording_id = 1").fetch1("movie")[0]
    np.testing.assert_array_equal((table & "recording_id = 2").fetch1("movie").counts[...], decoded(B))


def test_a_movie_that_loses_a_file_while_it_is_inserted_gets_no_row(schema, store):
    """What a collection would do to a writer that it took for dead."""
    backend = store()
    table = declare(schema, RECORDING)

    def lose(done, total):
        for name in files(backend):
            if name.endswith("/0.0.0"):
                backend.remove(name)

    with pytest.raises(pg.PhotonError, match="row was not inserted"):
        table.insert1(
            {"recording_id": 1, "movie": pg.movie(A, chunk_frames=50, progress=lose, noise=pg.NoiseModel())}
        )
    assert len(table()) == 0


@pytest.mark.parametrize("service", ["file", "seaweed"])
def test_populate_with_reserved_jobs_in_two_processes(dj, database, schema, store, service):
    store(service)
    source = declare(schema, "recording_id : int32\n---\nseed : int32", "Source", dj.Lookup)
    source.insert([{"recording_id": i, "seed": i} for i in range(6)])
    code = f"""
        schema = dj.Schema({schema.database!r})
        Source = schema(type("Source", (dj.Lookup,), {{"definition": {source.definition!r}}}), context={{}})

        class Denoised(dj.Computed):
            definition = {DENOISED!r}

            def make(self, key):
                time.sleep(0.2)
                movie = np.random.default_rng(key["recording_id"]).poisson(20, (250, 8, 12)).astype("uint16")
                self.insert1({{**key, "movie": movie, "pid": os.getpid()}})

        table = schema(Denoised, context={{"Source": Source}})
        table.populate(reserve_jobs=True, processes=2, display_progress=False)
    """
    # In a process of its own: DataJoint forks, and ends its workers by a signal that now and then reaches
    # one just before it waits for work; the pool then waits for it for ever, with every row made.
    process = run(database, dj.config.stores["imaging"], code)
    try:
        text = process.communicate(timeout=60)[0]
        assert process.returncode == 0, text
    except subprocess.TimeoutExpired:
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
        process.communicate()
    table = declare(schema, DENOISED, "Denoised", dj.Computed)
    check_rows(table, {i: poisson(i) for i in range(6)})
    assert len({row["pid"] for row in table.to_dicts()}) == 2
