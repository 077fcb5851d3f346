"""Find the movies that the databases of a server refer to.

Rows are read as text, not through column types. Every column of every table that
can hold a path is searched: JSON, text, arrays, domains, composites and short binary
values. So a row copied to another schema, a column whose codec is not installed
here, or a null store name cannot hide a reference. A column that cannot be read
ends the search with an error.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from photon_gpu.errors import PhotonError

#: Every path of a movie contains this.
NEEDLE = ".zarr"

_SHORT_BINARY = 65536
# PostgreSQL: every column except types that cannot hold a path, arrays of these, and enums.
_COLUMNS = {
    "postgresql": """
        SELECT n.nspname, c.relname, a.attname, t.typname
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
        WHERE a.attnum > 0 AND NOT a.attisdropped
          AND c.relkind IN ('r', 'm', 'f')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
          AND coalesce(e.typtype, t.typtype) <> 'e'
          AND NOT (coalesce(e.typnamespace, t.typnamespace) = 'pg_catalog'::regnamespace
            AND coalesce(e.typname, t.typname) IN (
              'bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'money', 'oid', 'date', 'time',
              'timetz', 'timestamp', 'timestamptz', 'interval', 'uuid', 'inet', 'cidr', 'macaddr', 'macaddr8',
              'bit', 'varbit', 'point', 'line', 'lseg', 'box', 'path', 'polygon', 'circle', 'xid', 'xid8',
              'cid', 'tid', 'pg_lsn'))
        ORDER BY 1, 2, 3""",
    # MariaDB stores JSON as longtext. MySQL would read a longer blob completely to test its length.
    "mysql": """
        SELECT c.table_schema, c.table_name, c.column_name, c.data_type
        FROM information_schema.columns c
        JOIN information_schema.tables t
          ON t.table_schema = c.table_schema AND t.table_name = c.table_name
        WHERE c.data_type IN ('json', 'char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext',
            'binary', 'varbinary', 'tinyblob', 'blob')
          AND t.table_type NOT IN ('VIEW', 'SYSTEM VIEW', 'SEQUENCE')
          AND c.table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')
        ORDER BY 1, 2, 3""",
}

# Uncommitted rows lock their table; transactions that only read do not.
_WRITERS = {
    "postgresql": """
        SELECT DISTINCT n.nspname, c.relname, l.virtualtransaction
        FROM pg_catalog.pg_locks l
        JOIN pg_catalog.pg_class c ON c.oid = l.relation
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
          AND l.mode IN
            ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')""",
    "mysql": """
        SELECT 'transaction', trx_mysql_thread_id, trx_id FROM information_schema.innodb_trx
        WHERE trx_mysql_thread_id <> connection_id() AND trx_rows_modified > 0""",
}

# PostgreSQL: types without bytes. A domain, an array or a composite of any other name may hold a bytea.
_TEXT_TYPES = {"json", "jsonb", "text", "varchar", "bpchar", "_json", "_jsonb", "_text", "_varchar"}

# Characters of a path from the schema's folder on; photon_gpu.dj.address percent-encodes all others.
_PATH = re.compile(r"[\w.~%=/-]+", re.ASCII)
_END = re.compile(r"\.zarr(?![A-Za-z0-9_%~=])")


class ReferencesUnknownError(PhotonError, RuntimeError):
    """The databases could not be read completely, so no movie counts as unreferenced."""


class References:
    r"""The paths that texts mention.

    A movie counts as referenced if any text contains its path from the schema folder on, whatever
    store name or prefix precedes it, and however the text is quoted or escaped.

    Examples
    --------
    >>> references = References([r'{"path": "_schema\/lab\/recording\/i=1\/movie.zarr"}'])
    >>> "lab/recording/i=1/movie.zarr" in references, "lab/recording/i=2/movie.zarr" in references
    (True, False)
    """

    def __init__(self, texts: Iterable[str | bytes] = ()) -> None:
        self._ends: set[str] = set()
        self.add(texts)

    def add(self, texts: Iterable[str | bytes]) -> None:
        """Add the paths in more texts; bytes are searched as binary values."""
        for text in texts:
            binary = isinstance(text, bytes)
            for spelling in _spellings(text.decode("latin-1") if isinstance(text, bytes) else text):
                for run in _PATH.finditer(spelling):
                    self._add_run(run[0], binary)

    def _add_run(self, run: str, binary: bool) -> None:
        for end in re.finditer(r"\.zarr", run) if binary else _END.finditer(run):
            parts = run[: end.end()].split("/")
            for start in range(len(parts)):
                # In a binary value, the bytes before a path may look like part of it.
                for skipped in range(len(parts[start]) if binary else 1):
                    self._ends.add("/".join([parts[start][skipped:], *parts[start + 1 :]]))

    def __contains__(self, path: object) -> bool:
        return path in self._ends


def _spellings(text: str) -> Iterator[str]:
    """Yield the unescaped forms of a text; a backslash may be an escape or a path separator."""
    text = re.sub(r"\\+u00([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text)
    yield re.sub(r"[\\/]+", "/", text)
    if re.search(r"\\[bfnrt]", text):
        yield re.sub(r"[\\/]+", "/", re.sub(r"\\+[bfnrt]", " ", text))


def find_references(*connections: Any, needle: str = NEEDLE) -> References:
    """Read the references in one snapshot of each database.

    Parameters
    ----------
    *connections : datajoint.Connection
        One per database, outside any transaction.
    needle : str
        Only rows that contain all its words are read. A path limits the search to one movie.

    Raises
    ------
    ReferencesUnknownError
        If any column that may hold a path cannot be read, or a connection is in a state that hides rows.
    """
    for connection in connections:
        if connection.in_transaction:
            raise ReferencesUnknownError(
                "the connection is inside a transaction, whose deletions may yet be rolled back; "
                "collect after it has ended"
            )
        if getattr(connection, "_query_cache", None):
            raise ReferencesUnknownError(
                "the connection answers from a query cache; switch it off to collect"
            )
    database = None
    try:
        with ExitStack() as snapshots:
            # Take all snapshots before reading, so that a row that moves between databases is in one of them.
            for connection in connections:
                database = _name(connection)
                snapshots.enter_context(_snapshot(connection))
            references = References()
            for connection in connections:
                database = _name(connection)
                references.add(_texts(connection, needle))
            return references
    except Exception as error:
        raise ReferencesUnknownError(
            f"the rows of {database} that may refer to movies could not all be read "
            f"({_first_line(error)}). Nothing more is deleted. Collect as a database user who may read every "
            "table (PostgreSQL: GRANT pg_read_all_data)"
        ) from error


def wait_for_writers(*connections: Any, seconds: float) -> list[str]:
    """Wait for the transactions that write now, not for those that begin later.

    A later transaction can only copy committed rows, which the references contain.

    Returns
    -------
    list of str
        Tables that these transactions still write to after the wait.
    """
    deadline = time.monotonic() + seconds
    writing = _writers(connections)
    while writing and time.monotonic() <= deadline:
        time.sleep(0.2)
        writing &= _writers(connections)
    return _tables(writing)


def schema_tables(connection: Any, schema: str) -> set[str]:
    """List all tables of a schema; raise an error if there is no such schema."""
    if schema not in {row[0] for row in connection.query(connection.adapter.list_schemas_sql())}:
        raise ReferencesUnknownError(
            f"there is no schema {schema!r} in this database, so all its movies would look unreferenced. "
            "Check the name and which server dj.config points to"
        )
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    return {row[0] for row in connection.query(query, args=(schema,))}


def recorded_movies(connection: Any, schema: str) -> list[tuple[str | None, str]]:
    """List store and path of every movie in the rows of one schema."""
    movies = []
    for text in _texts(
        connection, '"codec_name": "photon"', schema=schema, types=("json", "jsonb", "longtext")
    ):
        try:
            row = json.loads(text)
        except ValueError:
            continue
        if isinstance(row, dict) and row.get("codec_name") == "photon" and isinstance(row.get("path"), str):
            movies.append((row.get("store"), row["path"]))
    return movies


def _writers(connections: tuple[Any, ...]) -> set[tuple[Any, ...]]:
    """Database, schema, table and transaction of each uncommitted write."""
    writers: set[tuple[Any, ...]] = set()
    try:
        for number, connection in enumerate(connections):
            backend = connection.adapter.backend
            locked = {tuple(map(str, row)) for row in connection.query(_WRITERS[backend])}
            if locked and backend == "postgresql":
                tables = {tuple(row[:2]) for row in connection.query(_COLUMNS[backend])}
                locked = {row for row in locked if row[:2] in tables}
            writers |= {(number, *row) for row in locked}
    except Exception as error:
        raise ReferencesUnknownError(
            f"transactions of other sessions could not be seen ({_first_line(error)}). "
            "Nothing more is deleted. On MySQL, collect as a user with the PROCESS privilege"
        ) from error
    return writers


def _tables(writers: set[tuple[Any, ...]]) -> list[str]:
    return sorted({f"{schema}.{table}" for _, schema, table, _ in writers})


@contextmanager
def _snapshot(connection: Any) -> Iterator[None]:
    connection.start_transaction()
    try:
        if connection.adapter.backend == "postgresql":
            connection.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # Row-level security would hide rows silently; switched off, the query raises an error instead.
            connection.query("SET LOCAL row_security = off")
            # Bytes in arrays, domains and composites are then readable text, not hexadecimal digits.
            connection.query("SET LOCAL bytea_output = 'escape'")
            connection.query("SELECT 1")  # the first query takes the snapshot
        yield
    finally:
        connection.cancel_transaction()


def _texts(
    connection: Any, needle: str, *, schema: str | None = None, types: tuple[str, ...] = ()
) -> Iterator[str | bytes]:
    """Yield the values of all columns that may hold a path and contain all words of ``needle``."""
    quote = connection.adapter.quote_identifier
    postgresql = connection.adapter.backend == "postgresql"
    # Match only words, since the characters between them may be escaped.
    words = re.findall(r"[A-Za-z0-9_]+", needle)
    tables: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for owner, table, column, type_name in connection.query(_COLUMNS[connection.adapter.backend]).fetchall():
        if schema in (None, owner) and (not types or type_name in types):
            value = _as_text(quote(column), type_name) if postgresql else quote(column)
            tables.setdefault((owner, table), []).append((value, type_name))
    for (owner, table), columns in tables.items():
        values = [value for value, _ in columns]
        contains = "strpos({0}, '{1}')" if postgresql else "LOCATE('{1}', {0})"
        any_of = " OR ".join(
            "(" + " AND ".join(f"{contains.format(value, word)} > 0" for word in words) + ")"
            for value in values
        )
        query = f"SELECT {', '.join(values)} FROM {quote(owner)}.{quote(table)} WHERE {any_of}"
        for row in connection.query(query.replace("%", "%%")):
            for value, (_, type_name) in zip(row, columns, strict=True):
                if value is not None:
                    yield value.encode() if postgresql and type_name not in _TEXT_TYPES else value


def _as_text(column: str, type_name: str) -> str:
    if type_name == "bytea":
        return f"CASE WHEN octet_length({column}) <= {_SHORT_BINARY} THEN encode({column}, 'escape') END"
    return f"{column}::text"


def _name(connection: Any) -> str:
    database = connection.conn_info.get("database_name")
    return f"database {database!r}" if database else "the database"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
