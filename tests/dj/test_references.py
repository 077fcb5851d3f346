"""No row that speaks of a movie is overlooked."""

from __future__ import annotations

import base64
import html
import threading
from urllib.parse import quote

import pytest
from datajoint import blob

from photon_gpu.dj.references import (
    References,
    ReferencesUnknownError,
    find_references,
    schema_tables,
    wait_for_writers,
)
from tests.support.dj.tables import declare

PATH = "lab/recording/recording_id=42/movie.zarr"


@pytest.fixture
def table(schema):
    return declare(schema, "i : int32\n---\nnote : json")


@pytest.mark.parametrize(
    "text",
    [
        PATH,
        f"{PATH}/",
        f"{PATH}/0.0.0",
        f"_schema/{PATH}",
        f"nested/location/{PATH}",
        f"s3://bucket/x/{PATH}",
        f"see {PATH}.",
        f"a,{PATH},b",
        PATH.replace("/", "\\"),
        PATH.replace("/", "\\/"),
        PATH.replace("/", "\\u002f").replace("=", "\\u003D"),
        f"path:\\n{PATH}",
        f"D:\\{PATH}",
        f"b'{PATH}'",
        b"\x2d" + PATH.encode() + b"7\x00",
        f"path={PATH}",
        PATH.upper(),
        f"https://viewer/?movie={quote(PATH, safe='')}",
        html.escape(f"'{PATH}'").replace("/", "&#x2F;"),
        f"0x{PATH.encode().hex().upper()}",
        f"a{PATH.encode().hex()}",
        *(base64.b64encode(b"?" * before + PATH.encode()).decode() for before in range(3)),
        base64.encodebytes(
            b'{"movie": "' + PATH.encode() + b'", "note": "long enough for two lines"}'
        ).decode(),
        base64.b64encode(PATH.upper().encode()),
        f"key={base64.urlsafe_b64encode(PATH.encode()).decode()}",
        blob.pack({"path": PATH, "more": "x" * 1000}),
    ],
)
def test_whatever_stands_before_a_path(text):
    assert PATH in References([text])


@pytest.mark.parametrize("text", [f"{PATH}x", f"x{PATH}", "movie.zarr", "", PATH.replace("42", "4")])
def test_other_strings_are_no_references(text):
    assert PATH not in References([text])


@pytest.mark.parametrize(
    "note",
    [
        {"path": PATH, "store": None},
        {"path": PATH, "store": "a store not configured here"},
        {"anything": [1, {"deep": ["x", PATH]}]},
        PATH,
        f'{{"path": "{PATH}"}}',
    ],
)
def test_a_reference_anywhere_in_a_row(dj, table, note):
    table.insert1({"i": 1, "note": note})
    assert PATH in find_references(dj.conn())
    assert PATH in find_references(dj.conn(), needle=PATH)


def test_other_schemas_count(dj, table, another):
    with_copy = dj.Schema("copies")
    try:
        declare(with_copy, "i : int32\n---\nnote : json").insert1({"i": 1, "note": {"path": PATH}})
        assert PATH in find_references(dj.conn())
    finally:
        with_copy.drop(prompt=False)
    assert PATH not in find_references(dj.conn())


def test_a_column_that_is_plain_json_counts(dj, table):
    plain = f"{table.full_table_name.split('.')[0]}.plain"
    escaped = PATH.replace("/", "\\/")
    dj.conn().query(f"CREATE TABLE {plain} (note json)")
    dj.conn().query(f"INSERT INTO {plain} VALUES (%s)", (f'{{"path": "{escaped}"}}',))
    assert PATH in find_references(dj.conn(), needle=PATH)
    assert PATH in find_references(dj.conn())


def test_a_table_that_may_not_be_read_ends_the_search(dj, database, table):
    conn = dj.conn()
    conn.query("DROP ROLE IF EXISTS reader")
    conn.query("CREATE ROLE reader LOGIN")
    try:
        reader = dj.Instance(
            host=database["DJ_HOST"],
            user="reader",
            password="none",
            port=int(database["DJ_PORT"]),
            use_tls=False,
            backend="postgresql",
        )
        with pytest.raises(ReferencesUnknownError, match="permission denied"):
            find_references(reader.connection)
        assert not reader.connection.in_transaction
        reader.connection.close()
    finally:
        conn.query("DROP ROLE reader")


def test_inside_a_transaction_nothing_is_said(dj, table):
    with dj.conn().transaction, pytest.raises(ReferencesUnknownError, match="inside a transaction"):
        find_references(dj.conn())


def test_a_query_cache_is_not_believed(dj, table):
    dj.conn().set_query_cache("cached")
    try:
        with pytest.raises(ReferencesUnknownError, match="query cache"):
            find_references(dj.conn())
    finally:
        dj.conn().set_query_cache(None)


def test_uncommitted_rows_are_noticed(dj, schema, table, another):
    assert wait_for_writers(dj.conn(), seconds=0) == []
    other = another.FreeTable(table.full_table_name)
    with another.connection.transaction:
        other.insert1({"i": 1, "note": {"path": PATH}})
        assert wait_for_writers(dj.conn(), seconds=0) == [f"{schema.database}.recording"]
        assert PATH not in find_references(dj.conn())
    assert wait_for_writers(dj.conn(), seconds=0) == []
    assert PATH in find_references(dj.conn())


def test_references_of_an_unknown_schema_are_an_error(dj, database):
    with pytest.raises(ReferencesUnknownError, match="no schema 'nowhere'"):
        schema_tables(dj.conn(), "nowhere")


def test_only_transactions_that_write_already_are_waited_for(dj, schema, table, another):
    """On a server that is always written to, somebody always writes; nobody would be collected."""
    name = f"{schema.database}.recording"
    other = another.FreeTable(table.full_table_name)
    another.connection.start_transaction()
    other.insert1({"i": 1, "note": {}})
    assert wait_for_writers(dj.conn(), seconds=0.3) == [name]

    def next_transaction():
        another.connection.commit_transaction()
        another.connection.start_transaction()
        other.insert1({"i": 2, "note": {}})

    timer = threading.Timer(0.5, next_transaction)
    timer.start()
    assert wait_for_writers(dj.conn(), seconds=30) == []
    timer.join()
    assert wait_for_writers(dj.conn(), seconds=0) == [name]
    another.connection.cancel_transaction()
