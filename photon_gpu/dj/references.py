"""Find the movies that the databases of a server refer to.

Rows are read as text, not through column types. Every column of every table that
can hold a path is searched: JSON, text, arrays, domains, composites and short binary
values. So a row copied to another schema, a column whose codec is not installed
here, or a null store name cannot hide a reference. Neither can capital letters,
escapes, hexadecimal digits, base64, or the compression of DataJoint's blobs. A column
that cannot be read ends the search with an error.
"""

from __future__ import annotations

import base64
import html
import json
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import unquote

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
    # MariaDB stores JSON as longtext.
    "mysql": """
        SELECT c.table_schema, c.table_name, c.column_name, c.data_type
        FROM information_schema.columns c
        JOIN information_schema.tables t
          ON t.table_schema = c.table_schema AND t.table_name = c.table_name
        WHERE c.data_type IN ('json', 'char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext',
            'binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob')
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

# Characters of a path from the schema's folder on; photon_gpu.dj.path_from_key percent-encodes all others.
_PATH = re.compile(r"[\w.~%=/-]+", re.ASCII)
_END = re.compile(r"\.zarr(?![a-z0-9_%~=])")
_SIGN = re.compile(r"[^a-z0-9_]")
_LONGEST_PATH = 2048  # characters; those of photon_gpu.dj.path_from_key are shorter

_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{10,}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}")
_LINE_ENDS = re.compile(r"\s+|\\+[rn]")
_COMPRESSED = b"ZL123\0"  # DataJoint's blobs of more than 1000 bytes; eight bytes of length follow
_LONGEST_BLOB = 1 << 26
_MOST_QUOTED = 90  # characters of an error of the database


class ReferencesUnknownError(PhotonError, RuntimeError):
    """The databases could not be read completely, so no movie counts as unreferenced."""


class References:
    r"""The paths that texts mention.

    A movie counts as referenced if any text contains its path from the schema folder on, whatever
    store name or prefix precedes it, in small or capital letters, and however the text is quoted or
    escaped. A path in hexadecimal digits, in base64 or in a compressed blob of DataJoint counts, too.

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
            raw = _uncompressed(text) if isinstance(text, bytes) else text
            for form, binary in _decoded(raw):
                for spelling in _spellings(form):
                    for run in _PATH.finditer(spelling.lower()):
                        self._add_run(run[0], binary)

    def _add_run(self, run: str, binary: bool) -> None:
        for end in re.finditer(r"\.zarr", run) if binary else _END.finditer(run):
            parts = run[max(0, end.end() - _LONGEST_PATH) : end.end()].split("/")
            for start in range(len(parts)):
                # What stands before a path may look like part of it: any bytes, or "path=" in a text.
                part = parts[start]
                starts = range(len(part)) if binary else (0, *(sign.end() for sign in _SIGN.finditer(part)))
                for skipped in starts:
                    self._ends.add("/".join([part[skipped:], *parts[start + 1 :]]))

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and path.lower() in self._ends


def _uncompressed(blob: bytes) -> bytes:
    """Return the content of a compressed blob of DataJoint; other values as they are."""
    if not blob.startswith(_COMPRESSED):
        return blob
    try:
        return zlib.decompressobj().decompress(blob[len(_COMPRESSED) + 8 :], _LONGEST_BLOB)
    except zlib.error:
        return blob


def _decoded(value: str | bytes) -> Iterator[tuple[str, bool]]:
    """Yield a value as text, and what its hexadecimal digits and base64 stand for; True for bytes."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    yield text, isinstance(value, bytes)
    for run in _HEXADECIMAL.findall(text):
        for first in (0, 1):
            digits = run[first : first + (len(run) - first) // 2 * 2]
            yield from _movies_in(bytes.fromhex(digits))
    for run in _BASE64.findall(_LINE_ENDS.sub("", text)):
        for first in range(4):
            digits = run[first:].replace("+", "-").replace("/", "_")
            digits = digits[: len(digits) - (len(digits) % 4 == 1)]
            yield from _movies_in(base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4)))


def _movies_in(content: bytes) -> Iterator[tuple[str, bool]]:
    if NEEDLE.encode() in content.lower():
        yield content.decode("latin-1"), True


def _spellings(text: str) -> Iterator[str]:
    """Yield the unescaped forms of a text; a backslash may be an escape or a path separator."""
    text = re.sub(r"\\+u00([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text)
    # Paths contain percent-encoded characters of their own, so the text as it is counts, too.
    for form in dict.fromkeys((text, html.unescape(text), unquote(text, "latin-1"))):
        yield re.sub(r"[\\/]+", "/", form)
        if re.search(r"\\[bfnrt]", form):
            yield re.sub(r"[\\/]+", "/", re.sub(r"\\+[bfnrt]", " ", form))


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
            f"not all rows of {database} that may refer to movies can be read, so nothing more is deleted "
            f"({_first_line(error)}). Collect as a user who may read every table (PostgreSQL: GRANT "
            "pg_read_all_data)"
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
            f"transactions of other sessions cannot be seen, so nothing more is deleted "
            f"({_first_line(error)}). On MySQL, collect as a user with the PROCESS privilege"
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
            tables.setdefault((owner, table), []).append((quote(column), type_name))
    for (owner, table), columns in tables.items():
        values = [_short(column, type_name, postgresql) for column, type_name in columns]
        any_of = " OR ".join(
            _contains(_as_text(value, type_name, postgresql), words, postgresql)
            for value, (_, type_name) in zip(values, columns, strict=True)
        )
        query = f"SELECT {', '.join(values)} FROM {quote(owner)}.{quote(table)} WHERE {any_of}"
        for row in connection.query(query.replace("%", "%%")):
            for value, (_, type_name) in zip(row, columns, strict=True):
                if isinstance(value, memoryview):
                    yield bytes(value)
                elif value is not None:
                    yield value.encode() if postgresql and type_name not in _TEXT_TYPES else value


def _short(column: str, type_name: str, postgresql: bool) -> str:
    """SQL of a column's value as it is fetched, without binary values that are too long."""
    if type_name == "bytea" or type_name.endswith("blob"):
        return f"CASE WHEN octet_length({column}) <= {_SHORT_BINARY} THEN {column} END"
    return f"{column}::text" if postgresql else column


def _as_text(value: str, type_name: str, postgresql: bool) -> str:
    """SQL of a value as text that can be searched, whatever its collation or character set."""
    if not postgresql:
        return f"CONVERT({value} USING latin1)"
    return f"""({f"encode({value}, 'escape')" if type_name == "bytea" else value}) COLLATE "C\""""


def _contains(text: str, words: list[str], postgresql: bool) -> str:
    """SQL for whether a text holds all words, plainly or encoded, or a compressed blob."""
    lowered = f"lower({text})" if postgresql else text  # MySQL compares latin1 without regard to case

    def position(sought: str, inside: str) -> str:
        return f"strpos({inside}, '{sought}')" if postgresql else f"LOCATE('{sought}', {inside})"

    forms = [
        [f"{position(word.lower(), lowered)} > 0" for word in words],
        [f"{position(word.encode().hex(), lowered)} > 0" for word in words],
        [
            "(" + " OR ".join(f"{position(part, text)} > 0" for part in _base64_parts(word)) + ")"
            for word in words
        ],
        [f"{position('ZL123', text)} = 1"],
    ]
    return "(" + " OR ".join("(" + " AND ".join(form) + ")" for form in forms) + ")"


def _base64_parts(word: str) -> list[str]:
    """Characters that base64 of any text with this word holds, for each of the three places of its start.

    Examples
    --------
    >>> _base64_parts("zarr")
    ['emFyc', 'phcn', '6YXJy']
    """
    parts = []
    for before in range(3):
        coded = base64.b64encode(bytes(before) + word.encode() + bytes(2)).decode()
        whole = coded[(before * 8 + 5) // 6 : (before + len(word)) * 8 // 6]
        parts.append(max(re.split(r"[+/]", whole), key=len))  # these two have other letters in URLs
    return parts


def _name(connection: Any) -> str:
    database = connection.conn_info.get("database_name")
    return f"database {database!r}" if database else "the database"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:_MOST_QUOTED]}"
