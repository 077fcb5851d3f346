"""Delete movies that no row refers to.

A collection lists the movies, then reads the references in all databases of the
server. For each movie without a reference it takes a lock, looks the references up
again, and deletes the files that are known to be the movie's, ``.zarray`` last.
Every movie that is recent, unknown or in doubt is kept, and the report says why.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Collection as Names
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from photon_gpu.dj.marks_in_store import refusal, take_over
from photon_gpu.dj.path_from_key import folder_name
from photon_gpu.dj.references import (
    References,
    ReferencesUnknownError,
    find_references,
    recorded_movies,
    schema_tables,
    wait_for_writers,
)
from photon_gpu.dj.row import LOCK
from photon_gpu.dj.server_databases import every_database, identify
from photon_gpu.dj.stored_movies import SchemaFolder, StoredMovie, modified
from photon_gpu.encode_settings import bounded_number
from photon_gpu.errors import InvalidInputError, StoreUnavailableError
from photon_gpu.recording import some
from photon_gpu.store import durable, frame_records
from photon_gpu.store.manifest import NAME as MANIFEST
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES

_LONGEST_GRACE = 1e6  # hours; more exceed the range of dates

#: Movies that are locked together before their references are looked up again.
_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class Unreferenced:
    """A movie that no row refers to, and the outcome of the collection.

    Attributes
    ----------
    files, bytes : int
        Number and size of the movie's own files, without other files in its folder.
    status : str
        ``orphan`` (would be deleted), ``deleted``, ``kept`` or ``failed``.
    why : str
        Reason for the status, and names of other files in the folder, which are kept.
    """

    store: str
    path: str
    files: int
    bytes: int
    changed: str
    status: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Report of one :func:`collect`.

    Attributes
    ----------
    referenced : int
        Movies in the stores that a row refers to.
    missing : int
        Rows whose movie is not in the folders of these stores that were searched.
    refusals : tuple of str
        Why ``dry_run=False`` would delete nothing: one for each store whose references may not all be known.
    """

    schema: str
    stores: tuple[str, ...]
    dry_run: bool
    referenced: int
    unreferenced: tuple[Unreferenced, ...]
    missing: int = 0
    refusals: tuple[str, ...] = ()

    def count(self, status: str) -> int:
        """Count the movies with a status."""
        return sum(movie.status == status for movie in self.unreferenced)

    def bytes(self, status: str) -> int:
        """Sum the bytes of the movies with a status."""
        return sum(movie.bytes for movie in self.unreferenced if movie.status == status)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain JSON values."""
        return asdict(self)

    def text(self) -> str:
        """Format one line per movie and a summary."""
        lines = [
            f"{movie.status:<8}{movie.bytes / 2**20:>10.2f} MiB  {movie.store}:{movie.path}"
            + (f"  ({movie.why})" if movie.why else "")
            for movie in self.unreferenced
        ]
        done = "orphan" if self.dry_run else "deleted"
        lines.append(
            f"schema {self.schema}, store{'s' * (len(self.stores) != 1)} {', '.join(self.stores)}: "
            f"{self.referenced} in use, {self.count(done)} {'to delete' if self.dry_run else 'deleted'} "
            f"({self.bytes(done) / 2**20:.2f} MiB), {self.count('kept')} kept, {self.count('failed')} failed"
        )
        if self.missing:
            lines.append(f"{self.missing} rows have no movie there: it lies elsewhere, or is lost")
        lines += [f"Refused until solved: {text}" for text in self.refusals]
        if self.dry_run and self.count("orphan"):
            lines.append("Nothing was deleted: this was a dry run (dry_run=False or --delete deletes)")
        return "\n".join(lines)


def collect(
    schema_name: str,
    *,
    stores: Iterable[str] | None = None,
    dry_run: bool = True,
    grace_hours: float = 24,
    dropped_tables: bool = False,
    wait_seconds: float = 10,
    only_this_database: bool = False,
    ignore_databases: Iterable[str] = (),
    connection: Any = None,
) -> Collection:
    """Find movies of a schema that no row of any database refers to, and delete them if asked.

    Parameters
    ----------
    schema_name : str
        Only folders of this schema are searched for movies. References are searched in all schemas of all
        databases of the server.
    stores : iterable of str, optional
        Store names. Default: every configured store.
    dry_run : bool
        Report only (the default).
    grace_hours : float
        Keep a movie if any of its files changed within this time, since it may still be in
        insertion. Times come from the store's own clock.
    dropped_tables : bool
        Also collect movies of tables that the schema no longer has. Otherwise they are kept and reported.
    wait_seconds : float
        How long to wait for other sessions' uncommitted writes, which may refer to a movie. After this time
        the movie is kept.
    only_this_database : bool
        Confirm that no database of another server stores movies in these stores. Needed once for locations
        with movies from before locations were marked, and after a database moved to another server.
    ignore_databases : iterable of str
        Databases of a PostgreSQL server that cannot be read, and whose rows refer to no movie.
    connection : datajoint.Connection, optional
        Default: ``dj.conn()``.

    Returns
    -------
    Collection
        The movies without a reference, and the outcome for each.

    Raises
    ------
    ReferencesUnknownError
        A database cannot be read completely, or databases of other servers may store movies in the same
        place. Then nothing was deleted. A dry run reports the second case in ``refusals``.
    InvalidInputError
        A store is unknown, or the schema's rows refer to movies and the stores hold none of them.
    StoreUnavailableError
        The database is not configured, or does not answer.
    """
    grace_hours = bounded_number("grace_hours", grace_hours, 0, _LONGEST_GRACE)
    if connection is None:
        connection = _connect()
    ignored = {ignore_databases} if isinstance(ignore_databases, str) else set(ignore_databases)
    tables = {folder_name(table) for table in schema_tables(connection, schema_name)}
    sections = [SchemaFolder(connection, name, schema_name) for name in _store_names(connection, stores)]
    unique = list({section.location: section for section in sections}.values())
    # List movies before reading marks and rows, so that movies inserted later are not candidates.
    movies = [movie for section in unique for movie in section.movies()]
    refusals = _refusals(unique, connection, ignored, only_this_database)
    if refusals and not dry_run:
        raise ReferencesUnknownError(f"{refusals[0]}. Nothing was deleted")
    with every_database(connection, ignored) as databases:
        references = find_references(*databases)
        rest = [movie for movie in movies if movie.path not in references]
        named_stores = None if stores is None else {section.store for section in sections}
        missing = _missing(recorded_movies(connection, schema_name), movies, named_stores)
        if missing and len(movies) == len(rest):
            raise InvalidInputError(_no_movie_message(unique, schema_name, missing))
        if only_this_database and not dry_run:
            for section in unique:
                take_over(section.backend, section.store, identify(connection))
        grace = timedelta(hours=grace_hours)
        doubts = [movie.doubt(tables, grace, dropped_tables) for movie in rest]
        ends = {
            movie: ("kept", why) if why else ("orphan", "") for movie, why in zip(rest, doubts, strict=True)
        }
        orphans = [movie for movie, why in zip(rest, doubts, strict=True) if not why]
        for start in range(0, 0 if dry_run else len(orphans), _AT_ONCE):
            ends.update(_delete(orphans[start : start + _AT_ONCE], grace, wait_seconds, databases))
    return Collection(
        schema=schema_name,
        stores=tuple(section.store for section in unique),
        dry_run=dry_run,
        referenced=len(movies) - len(rest),
        unreferenced=tuple(_report(movie, *ends[movie]) for movie in rest),
        missing=len(missing),
        refusals=tuple(refusals),
    )


def _connect() -> Any:
    """Connect to the configured database; any error of its driver says what to configure."""
    import datajoint

    try:
        return datajoint.conn()
    except Exception as error:
        raise StoreUnavailableError(
            f"the database cannot be reached: {error}; datajoint.json or DJ_HOST, DJ_USER and DJ_PASS say "
            "where it is"
        ) from error


def _refusals(
    sections: list[SchemaFolder], connection: Any, ignored: Names[str], only_this_database: bool
) -> list[str]:
    if only_this_database:
        return []
    identity = identify(connection)
    reasons = (refusal(section.backend, section.store, identity, ignored) for section in sections)
    return [reason for reason in reasons if reason]


def _missing(
    rows: list[tuple[str | None, str]], movies: list[StoredMovie], named_stores: Names[str] | None
) -> list[tuple[str | None, str]]:
    """Return rows whose movie was not listed; if the caller named stores, only rows of these stores."""
    listed = {movie.section.path(movie.path) for movie in movies}
    wanted = [row for row in rows if named_stores is None or row[0] is None or row[0] in named_stores]
    return [row for row in wanted if row[1].strip("/") not in listed]


def _no_movie_message(
    sections: list[SchemaFolder], schema: str, missing: list[tuple[str | None, str]]
) -> str:
    looked = "; ".join(f"store {section.store!r}: {section.storage.url}" for section in sections)
    store, path = missing[0]
    return (
        f"{len(missing)} rows of {schema!r} have movies, and none lies where it was looked for "
        f"({looked}). A row says "
        f"{store}:{path}. Set the store's location and schema_prefix as at the insert: schema_prefix '' for "
        "photon_gpu.dj.stores (in datajoint.json, or by --stores-file)"
    )


def _report(movie: StoredMovie, status: str, why: str) -> Unreferenced:
    names = movie.own or list(movie.files)
    strays = movie.strays() if movie.own else []
    if strays:
        more = f" and {len(strays) - 3} more" if len(strays) > 3 else ""
        stay = f"not the movie's own, stays: {', '.join(strays[:3])}{more}"
        why = f"{why}; {stay}" if why else stay
    return Unreferenced(
        store=movie.section.store,
        path=movie.path,
        files=len(names),
        bytes=sum(int(movie.files[name]["size"] or 0) for name in names),
        changed=movie.changed().isoformat(timespec="seconds"),
        status=status,
        why=why,
    )


def _delete(
    movies: list[StoredMovie], grace: timedelta, wait_seconds: float, databases: tuple[Any, ...]
) -> Iterator[tuple[StoredMovie, tuple[str, str]]]:
    """Delete movies under their locks; yield status and reason of each."""
    locks: dict[StoredMovie, str] = {}
    try:
        for movie in movies:
            try:
                lock = _lock(movie, grace)
            except Exception as error:
                yield movie, _failed(error)
                continue
            if lock is None:
                yield movie, ("kept", "another collection is working on it")
            else:
                locks[movie] = lock
        writing = wait_for_writers(*databases, seconds=wait_seconds) if locks else []
        references = find_references(*databases) if locks else References()
    except BaseException:
        for movie, lock in locks.items():
            with suppress(Exception):
                movie.storage.delete(lock)
        raise
    for movie, lock in locks.items():
        try:
            why = _recheck(movie, lock, grace)
            if not why and writing:
                why = f"uncommitted writes of other sessions may refer to it: {', '.join(writing)}"
            if not why and movie.path in references:
                why = "a row refers to it again"
            yield movie, _delete_one(movie, lock, why)
        except Exception as error:
            yield movie, _failed(error)


def _failed(error: Exception) -> tuple[str, str]:
    return "failed", f"{type(error).__name__}: {error}; another collection continues from here"


def _delete_one(movie: StoredMovie, lock: str, why: str) -> tuple[str, str]:
    fs, root = movie.section.fs, movie.root
    if why:
        fs.rm_file(f"{root}/{lock}")
        return "kept", why
    locks = {name for name in movie.section.find(root) if name.startswith(LOCK)}
    # A later lock belongs to another collection, which judged this one dead.
    dead = {name for name in locks if _number(name) <= _number(lock)}
    # The manifest lists the movie's files, so delete it late: after a crash it is still there.
    late = [name for name in (ATTRIBUTES, MANIFEST, ARRAY) if name in movie.own]
    # Inserts need an empty folder, and other collections a folder without a lock, so none can interfere.
    for name in [*sorted(set(movie.own) - set(late)), *late, *sorted(dead)]:
        fs.rm_file(f"{root}/{name}")
    _prune(movie)
    return "deleted", ""


def _lock(movie: StoredMovie, grace: timedelta) -> str | None:
    """Take the movie's lock; None if another collection has it. Locks past the grace period are dead."""
    locks = {name: entry for name, entry in movie.section.find(movie.root).items() if name.startswith(LOCK)}
    last = max(map(_number, locks), default=0)
    if locks and datetime.now(UTC) - max(map(modified, locks.values())) < max(grace, timedelta(hours=1)):
        return None
    # Locks are numbered: of two collections that see the same dead lock, only one gets the next.
    name = f"{LOCK}{last + 1}"
    try:
        movie.storage.create(name, json.dumps({"pid": os.getpid(), "token": uuid.uuid4().hex}).encode())
    except FileExistsError:
        return None
    return name


def _number(lock: str) -> int:
    return int(lock.removeprefix(LOCK))


def _recheck(movie: StoredMovie, lock: str, grace: timedelta) -> str:
    """Check again, under the lock, whether the movie must be kept; return the reason, or an empty text."""
    now_files = movie.section.find(movie.root)
    if lock not in now_files:
        return "the store does not list a file that was just written"
    own = {name: entry for name, entry in now_files.items() if not name.startswith(LOCK)}
    if own.keys() != {name for name in movie.files if not name.startswith(LOCK)}:
        return "its files changed meanwhile"
    # The lock was written just now, so its time is the store's own clock.
    if modified(now_files[lock]) - max(map(modified, own.values()), default=movie.changed()) < grace:
        return "changed within the grace period"
    return ""


def _prune(movie: StoredMovie) -> None:
    """Remove folders that became empty on a local disk, up to the table's."""
    if movie.section.backend.protocol != "file":
        return
    durable.remove_folder_if_empty(movie.storage.path(frame_records.FOLDER))
    folder = movie.root
    while folder.count("/") > movie.section.root.count("/") + 1:
        try:
            movie.section.fs.rmdir(folder)
        except OSError:
            return
        folder = folder.rsplit("/", 1)[0]


def _store_names(connection: Any, stores: Iterable[str] | None) -> list[str]:
    configured = connection._config.stores
    valid = [name for name, spec in configured.items() if isinstance(spec, dict) and "protocol" in spec]
    if stores is None:
        if not valid:
            raise InvalidInputError("no stores are configured; photon_gpu.dj.stores({...}) sets them up")
        return valid
    chosen = [stores] if isinstance(stores, str) else list(stores)
    if unknown := [name for name in chosen if name not in valid]:
        raise InvalidInputError(
            f"unknown store: {some([*map(repr, unknown)])}; configured: {some([*map(repr, valid)])}"
        )
    return chosen
