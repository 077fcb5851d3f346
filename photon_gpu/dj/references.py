"""Which movies the database still speaks of.

Rows are read as text, not through column types: every JSON column of every
schema on the server is searched for paths of ``.zarr`` folders. A row copied
to another schema, a column whose codec is not installed here, a store name
that is null: none of them can hide a reference. What cannot be read ends the
search with an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from photon_gpu.errors import PhotonError

#: What every path looked for contains.
NEEDLE = ".zarr"

_COLUMNS = {
    "postgresql": """
        SELECT n.nspname, c.relname, a.attname
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE a.atttypid IN ('json'::regtype, 'jsonb'::regtype) AND NOT a.attisdropped
          AND c.relkind IN ('r', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        ORDER BY 1, 2, 3""",
    # MariaDB keeps JSON as longtext.
    "mysql": """
        SELECT c.table_schema, c.table_name, c.column_name
        FROM information_schema.columns c
        JOIN information_schema.tables t
          ON t.table_schema = c.table_schema AND t.table_name = c.table_name
        WHERE c.data_type IN ('json', 'longtext') AND t.table_type = 'BASE TABLE'
          AND c.table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')
        ORDER BY 1, 2, 3""",
}

# Uncommitted rows hold their table locked; transactions that only read do not.
_WRITERS = {
    "postgresql": """
        SELECT DISTINCT n.nspname, c.relname
        FROM pg_catalog.pg_locks l
        JOIN pg_catalog.pg_class c ON c.oid = l.relation
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
          AND l.mode IN
            ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')""",
    "mysql": """
        SELECT 'transaction', trx_mysql_thread_id FROM information_schema.innodb_trx
        WHERE trx_mysql_thread_id <> connection_id() AND trx_rows_modified > 0""",
}


class ReferencesUnknownError(PhotonError, RuntimeError):
    """The database could not be read whole, so nothing may be called unreferenced."""


class References:
    """The paths a database refers to, at one moment.

    A movie counts as referenced if its path from the schema folder on is the
    end of any string in any JSON column: whichever store name or prefix stands before it.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._ends: set[str] = set()
        for text in strings:
            parts = text.rstrip("/").split("/")
            self._ends.update("/".join(parts[start:]) for start in range(len(parts)))

    def __contains__(self, path: object) -> bool:
        return path in self._ends


def find_references(connection: Any, *, needle: str = NEEDLE) -> References:
    """Read references in one snapshot of the whole database.

    Parameters
    ----------
    connection : datajoint.Connection
        Outside any transaction.
    needle : str
        Only rows that contain it are read: a path, to ask about one movie.

    Raises
    ------
    ReferencesUnknownError
        If any table with a JSON column cannot be read, or the connection is in a state that hides rows.
    """
    if connection.in_transaction:
        raise ReferencesUnknownError(
            "the connection is inside a transaction, whose deletions may yet be rolled back; "
            "collect after it has ended"
        )
    if getattr(connection, "_query_cache", None):
        raise ReferencesUnknownError("the connection answers from a query cache; switch it off to collect")
    try:
        with _snapshot(connection):
            return References(_strings(connection, needle))
    except Exception as error:
        raise ReferencesUnknownError(
            f"the rows that may refer to movies could not all be read ({type(error).__name__}: {error}). "
            "Nothing more is deleted. Collect as a database user who may read every table"
        ) from error


def uncommitted_writes(connection: Any) -> list[str]:
    """Tables with JSON columns that other sessions have written to and not yet committed."""
    try:
        backend = connection.adapter.backend
        held = {tuple(map(str, row)) for row in connection.query(_WRITERS[backend])}
        if backend == "postgresql":
            held &= {tuple(row[:2]) for row in connection.query(_COLUMNS[backend])}
        return sorted(".".join(name) for name in held)
    except Exception as error:
        raise ReferencesUnknownError(
            f"transactions of other sessions could not be seen ({type(error).__name__}: {error}). "
            "Nothing more is deleted. On MySQL, collect as a user with the PROCESS privilege"
        ) from error


def schema_tables(connection: Any, schema: str) -> set[str]:
    """Names of all tables in a schema; raises if there is no such schema."""
    if schema not in {row[0] for row in connection.query(connection.adapter.list_schemas_sql())}:
        raise ReferencesUnknownError(
            f"there is no schema {schema!r} in this database, so all its movies would look unreferenced. "
            "Check the name and which server dj.config points to"
        )
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    return {row[0] for row in connection.query(query, args=(schema,))}


@contextmanager
def _snapshot(connection: Any) -> Iterator[None]:
    connection.start_transaction()
    try:
        if connection.adapter.backend == "postgresql":
            connection.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # Row-level security would leave rows out silently; off, it raises instead.
            connection.query("SET LOCAL row_security = off")
        yield
    finally:
        connection.cancel_transaction()


def _strings(connection: Any, needle: str) -> Iterator[str]:
    quote = connection.adapter.quote_identifier
    postgresql = connection.adapter.backend == "postgresql"
    for schema, table, column in connection.query(_COLUMNS[connection.adapter.backend]).fetchall():
        # Through jsonb, so that no other spelling of the same string hides a path.
        text = f"{quote(column)}::jsonb::text" if postgresql else quote(column)
        found = f"strpos({text}, '{needle}')" if postgresql else f"LOCATE('{needle}', {text})"
        query = f"SELECT {text} FROM {quote(schema)}.{quote(table)} WHERE {found} > 0"
        for (row,) in connection.query(query.replace("%", "%%")):
            yield from _walk(row)


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        yield value
        if value[:1] in ("{", "[", '"'):
            try:
                inner = json.loads(value)
            except ValueError:
                return
            yield from _walk(inner)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)
