"""A movie stays if any database refers to it in any column; if that cannot be known, all stay."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pytest
from datajoint.blob import pack

from photon_gpu.dj import collect, record, stores
from photon_gpu.dj.marks_in_store import MARK
from photon_gpu.dj.references import ReferencesUnknownError, find_references
from photon_gpu.dj.server_databases import every_database, identify
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from tests.support.dj.movies import RECORDING, check_rows, files, poisson
from tests.support.dj.tables import declare

A = poisson(1)[:20]
PATH = "lab/recording/recording_id=42/movie.zarr"


def connect(database, dj, name=None, user="postgres", **config):
    made = dj.config["database.name"]
    dj.config["database.name"] = name
    os.environ["DJ_DATABASE_NAME"] = name or ""
    try:
        instance = dj.Instance(
            host=database["DJ_HOST"],
            user=user,
            password="none",
            port=int(database["DJ_PORT"]),
            use_tls=False,
            backend="postgresql",
            safemode=False,
        )
    finally:
        dj.config["database.name"] = made
        del os.environ["DJ_DATABASE_NAME"]
    instance.config.stores = dict(dj.config.stores)
    return instance


@pytest.fixture
def second(database, dj):
    """Makes another database on the same server; returns its name."""
    made = []

    def make(options=""):
        name = f"lab_{uuid.uuid4().hex[:8]}"
        dj.conn().query(f"CREATE DATABASE {name} {options}")
        made.append(name)
        return name

    yield make
    for name in made:
        dj.conn().query(f"DROP DATABASE {name} WITH (FORCE)")


def recording(instance, schema):
    return declare(instance.Schema(schema.database), RECORDING)


def emptied(schema, **options):
    return collect(schema.database, **{"dry_run": False, "grace_hours": 0, "wait_seconds": 0.3, **options})


def marks(location):
    return sorted(path for path in Path(location).iterdir() if path.name.startswith(MARK))


def test_movies_of_another_database_on_the_server_stay(dj, database, schema, store, second):
    """Both have the schema, the table and the store; each row's movie is safe from the other's collection."""
    backend = store()
    here = declare(schema, RECORDING)
    lab2 = connect(database, dj, second())
    there = recording(lab2, schema)
    there.insert1({"recording_id": 1, "movie": A})
    here.insert1({"recording_id": 2, "movie": A})
    for connection in (dj.conn(), lab2.connection):
        result = emptied(schema, connection=connection)
        assert (result.referenced, result.unreferenced) == (2, ())
    check_rows(there, {1: A})
    check_rows(here, {2: A})
    (there & "recording_id = 1").delete()
    (gone,) = emptied(schema).unreferenced
    assert (gone.status, gone.path) == ("deleted", f"{schema.database}/recording/recording_id=1/movie.zarr")
    assert len(files(backend)) == 4
    assert len(marks(dj.config.stores["imaging"]["location"])) == 2
    lab2.connection.close()


def test_uncommitted_writes_in_another_database_protect(dj, database, schema, store, second):
    store()
    here = declare(schema, RECORDING)
    here.insert1({"recording_id": 1, "movie": A})
    row = (
        here.proj(movie="movie")
        .connection.query(f"SELECT movie::text FROM {here.full_table_name}")
        .fetchone()[0]
    )
    here.delete()
    lab2 = connect(database, dj, second())
    table = recording(lab2, schema).full_table_name
    with lab2.connection.transaction:
        lab2.connection.query(f"INSERT INTO {table} VALUES (1, %s)", (row,))
        (movie,) = emptied(schema).unreferenced
        assert (movie.status, "uncommitted writes" in movie.why) == ("kept", True)
    assert emptied(schema).referenced == 1
    check_rows(recording(lab2, schema), {1: A})
    lab2.connection.close()


def test_a_database_that_accepts_no_connections_ends_it(dj, schema, store, second):
    store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    table.delete()
    name = second("ALLOW_CONNECTIONS false")
    with pytest.raises(
        ReferencesUnknownError, match=f"'{name}' .*cannot be read.*ignore_databases"
    ) as caught:
        emptied(schema)
    assert len(str(caught.value)) <= 320
    assert emptied(schema, ignore_databases=name).count("deleted") == 1


def test_a_table_of_another_database_that_may_not_be_read_ends_it(dj, database, schema, store, second):
    name = second()
    other = connect(database, dj, name)
    other.connection.query("CREATE TABLE public.notes (note text)")
    conn = dj.conn()
    conn.query("CREATE ROLE reader LOGIN")
    conn.query("GRANT pg_read_all_data TO reader")
    try:
        reader = connect(database, dj, user="reader")
        with every_database(reader.connection) as databases:
            assert len(databases) == 2
            find_references(*databases)
        conn.query("REVOKE pg_read_all_data FROM reader")
        with every_database(reader.connection) as databases, pytest.raises(ReferencesUnknownError) as caught:
            find_references(*databases[1:])
        assert f"database '{name}'" in str(caught.value)
        assert "pg_read_all_data" in str(caught.value)
        reader.connection.close()
    finally:
        conn.query("DROP ROLE reader")
        other.connection.close()


def test_an_ignored_database_that_stores_movies_here_ends_it(dj, database, schema, store, second):
    store()
    declare(schema, RECORDING).insert1({"recording_id": 1, "movie": A})
    name = second()
    lab2 = connect(database, dj, name)
    recording(lab2, schema).insert1({"recording_id": 2, "movie": A})
    lab2.connection.close()
    with pytest.raises(
        ReferencesUnknownError, match=f"'{name}' is in ignore_databases, and stores movies here"
    ):
        emptied(schema, ignore_databases=[name])


POSTGRESQL = {
    "jsonb[]": "ARRAY[{row}::jsonb]",
    "json[]": "ARRAY[{row}::json]",
    "jsonb domain": "{row}::jsonb",
    "text": "{row}",
    "text of the path": "{path}",
    "a line with the path": "'kept: ' || {path} || ', for ever'",
    "varchar(200)": "{path}",
    "text[]": "ARRAY[{path}]",
    "text domain": "{path}",
    "composite": "ROW(1, {row}::jsonb)::{schema}.pair",
    "composite[]": "ARRAY[ROW(1, {row}::jsonb)::{schema}.pair]",
    "escaped json": "replace({row}, '/', '\\/')::json",
    "bytea": "convert_to({row}, 'UTF8')",
    "bytea[]": r"ARRAY['\x2d'::bytea || convert_to({path}, 'UTF8')]",
    "bytea domain": "convert_to({row}, 'UTF8')",
    "composite with bytea": "ROW(1, convert_to({row}, 'UTF8'))::{schema}.labelled",
    "capital letters": "upper({path})",
    "hexadecimal": "upper(encode(convert_to({row}, 'UTF8'), 'hex'))",
    "base64": "encode(convert_to({row}, 'UTF8'), 'base64')",
    "compressed blob": "'\\x{blob}'",
}
TYPES = {
    "jsonb domain": "{schema}.stored",
    "text domain": "{schema}.place",
    "text of the path": "text",
    "a line with the path": "text",
    "composite": "{schema}.pair",
    "composite[]": "{schema}.pair[]",
    "bytea domain": "{schema}.packed",
    "composite with bytea": "{schema}.labelled",
    "escaped json": "json",
    "capital letters": "text",
    "hexadecimal": "text",
    "base64": "text",
    "compressed blob": "bytea",
}


def compressed(schema):
    """A blob of DataJoint, as hexadecimal digits, that holds the path of the first movie."""
    return pack({"path": f"{schema.database}/recording/recording_id=1/movie.zarr", "more": "x" * 1000}).hex()


@pytest.mark.parametrize("column", POSTGRESQL)
def test_a_copy_in_any_column_of_postgresql_protects(dj, schema, store, column):
    store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    name, conn = f'"{schema.database}"', dj.conn()
    conn.query(f"CREATE DOMAIN {name}.stored AS jsonb")
    conn.query(f"CREATE DOMAIN {name}.place AS text")
    conn.query(f"CREATE DOMAIN {name}.packed AS bytea")
    conn.query(f"CREATE TYPE {name}.pair AS (number int, movie jsonb)")
    conn.query(f"CREATE TYPE {name}.labelled AS (number int, movie bytea)")
    conn.query(f"CREATE TABLE {name}.copies (copy {TYPES.get(column, column).format(schema=name)})")
    value = POSTGRESQL[column].format(
        row="movie::text", path="(movie->>'path')", schema=name, blob=compressed(schema)
    )
    conn.query(f"INSERT INTO {name}.copies SELECT {value} FROM {table.full_table_name}")
    table.delete()
    assert emptied(schema).referenced == 1
    conn.query(f"DELETE FROM {name}.copies")
    assert emptied(schema).count("deleted") == 1


@pytest.mark.parametrize("made", ["TABLE", "MATERIALIZED VIEW"])
def test_a_view_copied_to_a_table_protects(dj, schema, store, made):
    store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    name, conn = f'"{schema.database}"', dj.conn()
    conn.query(
        f"CREATE VIEW {name}.seen AS SELECT recording_id, movie #>> '{{}}' AS movie FROM "
        f"{table.full_table_name}"
    )
    conn.query(f"CREATE {made} {name}.copied AS SELECT * FROM {name}.seen")
    table.delete()
    assert emptied(schema).referenced == 1


def foreign(location, **changes):
    """A mark as a database of another server would have left it."""
    identity = {
        "server": "mysql 1b2c",
        "database": "",
        "address": "db.elsewhere:3306",
        "first": False,
        **changes,
    }
    (Path(location) / f"{MARK}ffffffffffffffff").write_text(json.dumps(identity))


def test_a_database_of_another_server_ends_it_until_told(dj, schema, store):
    store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    table.delete()
    location = dj.config.stores["imaging"]["location"]
    foreign(location)
    dry = collect(schema.database, grace_hours=0)
    assert dry.count("orphan") == 1
    (refusal,) = dry.refusals
    assert f"Refused until solved: {refusal}" in dry.text()
    for part in ("'imaging'", "db.elsewhere:3306", "only_this_database=True"):
        assert part in refusal
    with pytest.raises(ReferencesUnknownError, match="db.elsewhere:3306"):
        emptied(schema)
    assert collect(schema.database, only_this_database=True).refusals == ()
    assert len(marks(location)) == 2  # a dry run changes nothing
    assert emptied(schema, only_this_database=True).count("deleted") == 1
    assert len(marks(location)) == 1
    assert emptied(schema).unreferenced == ()  # it need not be said again


def test_a_mark_that_cannot_be_read_ends_it(dj, schema, store):
    store()
    declare(schema, RECORDING).insert1({"recording_id": 1, "movie": A})
    (Path(dj.config.stores["imaging"]["location"]) / f"{MARK}0").write_text("{")
    with pytest.raises(ReferencesUnknownError, match="cannot be read, so it is unknown"):
        emptied(schema)


def test_movies_older_than_the_marks_are_not_collected_until_told(dj, schema, store):
    """What an older release wrote may be of any database, also once this release inserted beside it."""
    store()
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    location = dj.config.stores["imaging"]["location"]
    for mark in marks(location):
        mark.unlink()
    for _ in range(2):
        with pytest.raises(ReferencesUnknownError, match="may be older than the marks"):
            emptied(schema)
        table.insert1({"recording_id": len(table()) + 1, "movie": A})
    table.delete()
    assert emptied(schema, only_this_database=True).count("deleted") == 3
    table.insert1({"recording_id": 1, "movie": A})
    table.delete()
    assert emptied(schema).count("deleted") == 1


def test_an_empty_location_needs_no_word(dj, schema, store):
    store()
    declare(schema, RECORDING)
    assert emptied(schema).unreferenced == ()


@pytest.mark.parametrize("service", ["file", "seaweed", "moto", "gcs"])
def test_every_store_is_marked_once_and_before_its_first_movie(dj, schema, store, service):
    backend = store(service)
    table = declare(schema, RECORDING)
    table.insert1({"recording_id": 1, "movie": A})
    table.insert1({"recording_id": 2, "movie": A})
    table.delete()
    backend.fs.invalidate_cache()
    result = [path for path in backend.fs.find(backend._full_path("").rstrip("/")) if MARK in path]
    assert len(result) == 1
    mark = json.loads(backend.fs.cat_file(result[0]))
    assert (mark["server"], mark["database"], mark["first"]) == (
        identify(dj.conn()).server,
        "postgres",
        True,
    )
    assert emptied(schema).count("deleted") == 2


def test_a_recording_marks_its_location(dj, schema, store):
    store()
    table = declare(schema, RECORDING)
    options = {"frame_shape": A.shape[1:], "dtype": A.dtype, "noise": NoiseModel()}
    with record(table, {"recording_id": 1}, "movie", **options) as live:
        live.append(A)
    assert len(marks(dj.config.stores["imaging"]["location"])) == 1


def test_the_mark_is_of_the_connection_that_inserts(dj, database, schema, store, second):
    """Two connections may share one config, which is all that DataJoint tells a codec."""
    store()
    name = second()
    other = dj.Connection(
        database["DJ_HOST"],
        "postgres",
        "none",
        int(database["DJ_PORT"]),
        False,
        database_name=name,
        backend="postgresql",
    )
    assert other._config is dj.conn()._config
    declare(dj.Schema(schema.database, connection=other), RECORDING).insert1({"recording_id": 1, "movie": A})
    (mark,) = marks(dj.config.stores["imaging"]["location"])
    assert json.loads(mark.read_text())["database"] == name
    other.close()


@pytest.fixture
def mysql(dj, mysql_port):
    """An instance on MariaDB or MySQL, and a schema that is dropped afterwards."""
    instance = dj.Instance(
        host="127.0.0.1",
        port=mysql_port,
        user="root",
        password="",
        use_tls=False,
        backend="mysql",
        safemode=False,
    )
    made = instance.Schema("calcium")
    yield instance, made
    made.drop(prompt=False)
    instance.connection.close()


@pytest.mark.filterwarnings("ignore:MariaDB is not officially supported")
class TestMySQL:
    def declared(self, mysql, tmp_path):
        instance, schema = mysql
        (tmp_path / "mysql").mkdir(exist_ok=True)
        stores({"imaging": {"protocol": "file", "location": str(tmp_path / "mysql")}}, config=instance.config)
        return instance.connection, schema, declare(schema, RECORDING)

    def test_only_what_no_row_refers_to_goes(self, mysql, tmp_path):
        connection, schema, table = self.declared(mysql, tmp_path)
        for i in (1, 2):
            table.insert1({"recording_id": i, "movie": A})
        (table & "recording_id = 1").delete()
        result = emptied(schema, connection=connection)
        assert (result.referenced, result.count("deleted")) == (1, 1)
        check_rows(table, {2: A})

    @pytest.mark.parametrize(
        ("column_type", "value"),
        [
            ("json", "movie"),
            ("text", "movie"),
            ("text", "JSON_UNQUOTE(JSON_EXTRACT(movie, '$.path'))"),
            ("varchar(2000)", "JSON_EXTRACT(movie, '$.path')"),
            ("varbinary(2000)", "JSON_EXTRACT(movie, '$.path')"),
            ("blob", "movie"),
            ("mediumblob", "movie"),
            ("longblob", "movie"),
            ("longblob", "x'{blob}'"),
            ("text", "UPPER(JSON_UNQUOTE(JSON_EXTRACT(movie, '$.path')))"),
            ("mediumtext", "HEX(movie)"),
            ("longtext", "TO_BASE64(movie)"),
            ("text CHARACTER SET utf16", "movie"),
        ],
    )
    def test_a_copy_in_any_column_protects(self, mysql, tmp_path, column_type, value):
        connection, schema, table = self.declared(mysql, tmp_path)
        table.insert1({"recording_id": 1, "movie": A})
        value = value.format(blob=compressed(schema))
        connection.query("CREATE DATABASE IF NOT EXISTS analysis")
        connection.query(f"CREATE TABLE analysis.copies (copy {column_type})")
        try:
            connection.query(f"INSERT INTO analysis.copies SELECT {value} FROM {table.full_table_name}")
            table.delete()
            assert emptied(schema, connection=connection).referenced == 1
            connection.query("DELETE FROM analysis.copies")
            assert emptied(schema, connection=connection).count("deleted") == 1
        finally:
            connection.query("DROP DATABASE analysis")

    def test_a_user_who_does_not_see_every_schema_ends_it(self, mysql, tmp_path, mysql_port, dj):
        """MySQL hides what a user may not read, as if it were not there."""
        connection, schema, table = self.declared(mysql, tmp_path)
        table.insert1({"recording_id": 1, "movie": A})
        connection.query("CREATE USER lab@'127.0.0.1' IDENTIFIED BY 'pw'".replace("%", "%%"))
        connection.query("GRANT ALL PRIVILEGES ON calcium.* TO lab@'127.0.0.1'")
        try:
            lab = dj.Instance(
                host="127.0.0.1",
                port=mysql_port,
                user="lab",
                password="pw",
                use_tls=False,
                backend="mysql",
            )
            lab.config.stores = dict(connection._config.stores)
            with pytest.raises(ReferencesUnknownError, match="GRANT SELECT, PROCESS ON"):
                emptied(schema, connection=lab.connection)
            connection.query("GRANT SELECT, PROCESS ON *.* TO lab@'127.0.0.1'")
            assert emptied(schema, connection=lab.connection).referenced == 1
            lab.connection.close()
        finally:
            connection.query("DROP USER lab@'127.0.0.1'")

    def test_a_server_of_another_kind_that_shares_the_store(self, mysql, tmp_path, dj, database):
        """PostgreSQL and MySQL store in one place: neither can ask the other, so neither collects."""
        connection, schema, table = self.declared(mysql, tmp_path)
        stores({"imaging": {"protocol": "file", "location": str(tmp_path / "mysql")}})
        there = dj.Schema("calcium")
        try:
            other = declare(there, RECORDING)
            table.insert1({"recording_id": 1, "movie": A})
            other.insert1({"recording_id": 2, "movie": A})
            for asking in (connection, dj.conn()):
                with pytest.raises(ReferencesUnknownError, match="of another server"):
                    emptied(schema, connection=asking)
            check_rows(table, {1: A})
            check_rows(other, {2: A})
        finally:
            there.drop(prompt=False)
            dj.config.stores.clear()


def test_rows_whose_movies_lie_elsewhere_are_an_error(dj, schema, store, tmp_path):
    """The store's schema_prefix is not that of the insert: nothing would be in use, and nothing be found."""
    store()
    table = declare(schema, RECORDING)
    for i in (1, 2):
        table.insert1({"recording_id": i, "movie": A})
    del dj.config.stores["imaging"]["schema_prefix"]
    for dry_run in (True, False):
        with pytest.raises(InvalidInputError, match="2 rows .* have movies, and none lies where") as caught:
            collect(schema.database, dry_run=dry_run, grace_hours=0, only_this_database=True)
    text = str(caught.value)
    for part in (
        "'imaging'",
        f"/_schema/{schema.database}",
        "schema_prefix ''",
        "--stores-file",
        "recording_id=1",
    ):
        assert part in text
    dj.config.stores["imaging"]["schema_prefix"] = ""
    assert collect(schema.database).referenced == 2
    check_rows(table, {1: A, 2: A})


def test_some_rows_whose_movies_lie_elsewhere_are_counted(dj, schema, store):
    backend = store()
    table = declare(schema, RECORDING)
    for i in (1, 2):
        table.insert1({"recording_id": i, "movie": A})
    backend.fs.rm(backend._full_path(f"{schema.database}/recording/recording_id=2"), recursive=True)
    report = collect(schema.database)
    assert (report.referenced, report.missing) == (1, 1)
    assert "1 rows have no movie there" in report.text()
