"""Removing movies no row refers to, and nothing else.

List first, then read the references, then for each movie without one: take
its lock, look again, and delete, ``.zarray`` last. Whatever is young, unknown
or in doubt stays, and the report says why.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from photon_gpu.claim import ARRAY, MARKER
from photon_gpu.dj.address import folder_name
from photon_gpu.dj.record import JOURNAL
from photon_gpu.dj.references import find_references, schema_tables, uncommitted_writes
from photon_gpu.dj.row import LOCK
from photon_gpu.dj.stores import metadata_filesystem
from photon_gpu.errors import InvalidInputError, PhotonError
from photon_gpu.metadata import ATTRIBUTES
from photon_gpu.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Unreferenced:
    """A movie in a store that no row refers to, and what became of it.

    ``status`` is ``orphan`` (would be deleted), ``deleted``, ``kept`` or ``failed``; ``why`` explains these.
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
    """Report of one :func:`collect`."""

    schema: str
    stores: tuple[str, ...]
    dry_run: bool
    referenced: int
    unreferenced: tuple[Unreferenced, ...]

    def count(self, status: str) -> int:
        """How many movies ended as ``status``."""
        return sum(movie.status == status for movie in self.unreferenced)

    def bytes(self, status: str) -> int:
        """How many bytes ended as ``status``."""
        return sum(movie.bytes for movie in self.unreferenced if movie.status == status)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return asdict(self)

    def text(self) -> str:
        """One line a movie, and a summary."""
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
    connection: Any = None,
) -> Collection:
    """Find movies of a schema that no row of the database refers to; delete them if told to.

    Parameters
    ----------
    schema_name : str
        Only folders of this schema are looked at. References are searched in all schemas.
    stores : iterable of str, optional
        Store names; every configured store where left out.
    dry_run : bool
        Report only. The default.
    grace_hours : float
        A movie stays if any of its files changed within this time: it may be one that is being
        inserted. The clock is the store's own.
    dropped_tables : bool
        Also collect movies of tables the schema no longer has. Otherwise they stay and are reported.
    wait_seconds : float
        How long to wait for other sessions' uncommitted writes, which may refer to a movie; then it stays.
    connection : datajoint.Connection, optional
        ``dj.conn()`` where left out.

    Returns
    -------
    Collection
        What was found and what became of it.

    Raises
    ------
    ReferencesUnknownError
        If the database cannot be read whole. Nothing has been deleted then.
    InvalidInputError
        For an unknown store.

    Notes
    -----
    A location in a store must serve one database server: movies that only another
    server refers to look unreferenced here.
    """
    if connection is None:
        import datajoint

        connection = datajoint.conn()
    if not grace_hours >= 0:
        raise InvalidInputError(f"grace_hours={grace_hours}: 0 or more is allowed")
    tables = {folder_name(table) for table in schema_tables(connection, schema_name)}
    sections = [_Section(connection, name, schema_name) for name in _store_names(connection, stores)]
    unique = list({section.place: section for section in sections}.values())
    # Listed before the rows are read: what is inserted from here on is not even considered.
    movies = [movie for section in unique for movie in section.movies()]
    references = find_references(connection)
    rest = [movie for movie in movies if movie.path not in references]
    grace = timedelta(hours=grace_hours)
    found = []
    for movie in rest:
        why = movie.doubt(tables, grace, dropped_tables)
        status = "kept" if why else "orphan"
        if not why and not dry_run:
            status, why = _delete(movie, grace, wait_seconds, connection)
        found.append(movie.report(status, why))
    return Collection(
        schema=schema_name,
        stores=tuple(section.store for section in unique),
        dry_run=dry_run,
        referenced=len(movies) - len(rest),
        unreferenced=tuple(found),
    )


class _Section:
    """One schema's folder in one store."""

    def __init__(self, connection: Any, store: str, schema: str) -> None:
        from datajoint.hash_registry import get_store_backend

        self.store = store
        self.backend = get_store_backend(store, config=connection._config)
        if self.backend.spec.get("partition_pattern"):
            raise InvalidInputError(
                f"store {store!r} has a partition_pattern, which spreads a schema over many folders; "
                "collecting such a store is not supported. Name the other stores with stores="
            )
        prefix = str(self.backend.spec.get("schema_prefix") or "").strip("/")
        self.schema = folder_name(schema)
        self.root = self.backend._full_path(f"{prefix}/{self.schema}" if prefix else self.schema).rstrip("/")
        self.place = (type(self.backend.fs).__name__, str(self.backend.spec.get("endpoint")), self.root)
        # Locks go to STANDARD even in an archive store.
        self.fs = metadata_filesystem(self.backend)

    def find(self, folder: str) -> dict[str, dict[str, Any]]:
        """Files under a folder, by path below it, listed afresh."""
        self.fs.invalidate_cache()
        listed = self.fs.find(folder, detail=True)
        return {path[len(folder) :].lstrip("/"): entry for path, entry in listed.items()}

    def movies(self) -> list[_Movie]:
        folders: dict[str, dict[str, dict[str, Any]]] = {}
        for path, entry in self.find(self.root).items():
            if inside := re.match(r"((?:[^/]+/)*?[^/]+\.zarr)/(.+)", path):
                folders.setdefault(inside[1], {})[inside[2]] = entry
        return [_Movie(self, folder, files) for folder, files in sorted(folders.items())]


class _Movie:
    """One ``.zarr`` folder as it was listed."""

    def __init__(self, section: _Section, folder: str, files: dict[str, dict[str, Any]]) -> None:
        self.section = section
        self.folder = folder
        self.files = files
        self.path = f"{section.schema}/{folder}"
        self.root = f"{section.root}/{folder}"
        self.storage = Storage(section.fs, self.root)

    def changed(self) -> datetime:
        """When the newest file of the movie itself was written."""
        own = [entry for name, entry in self.files.items() if not name.startswith(LOCK)]
        return max(map(modified, own or self.files.values()))

    def doubt(self, tables: set[str], grace: timedelta, dropped_tables: bool) -> str:
        """Why the movie must stay; empty if it may go."""
        if JOURNAL in self.files:
            return "an unfinished recording; photon_gpu.dj.recover finishes or removes it"
        table = self.folder.split("/", 1)[0]
        if table not in tables and not dropped_tables:
            return f"the schema has no table {table}; dropped_tables=True collects these too"
        if datetime.now(UTC) - self.changed() < grace:
            return "changed within the grace period"
        try:
            return "" if self._ours() else "not written by photon_gpu"
        except FileNotFoundError:
            return "its files changed meanwhile"

    def report(self, status: str, why: str) -> Unreferenced:
        return Unreferenced(
            store=self.section.store,
            path=self.path,
            files=len(self.files),
            bytes=sum(int(entry["size"] or 0) for entry in self.files.values()),
            changed=self.changed().isoformat(timespec="seconds"),
            status=status,
            why=why,
        )

    def _ours(self) -> bool:
        if MARKER in self.files or any(name.startswith(LOCK) for name in self.files):
            return True
        if ATTRIBUTES not in self.files:
            return False
        text = self.storage.read(ATTRIBUTES).decode(errors="replace")
        return bool(re.search(r'"codec_name"\s*:\s*"photon"', text))


def _delete(movie: _Movie, grace: timedelta, wait_seconds: float, connection: Any) -> tuple[str, str]:
    """Delete one movie under its lock; returns status and reason."""
    fs, root = movie.section.fs, movie.root
    try:
        lock = _lock(movie, grace)
        if lock is None:
            return "kept", "another collection is at it"
        why = _second_look(movie, lock, grace, wait_seconds, connection)
        if why:
            fs.rm_file(f"{root}/{lock}")
            return "kept", why
        names = set(movie.section.find(root))
        locks = {name for name in names if name.startswith(LOCK)}
        # A later lock is another collection's, which took this one for dead.
        dead = {name for name in locks if _number(name) <= _number(lock)}
        # No insert takes a folder that holds anything, and no other collection one that holds a lock.
        for name in [*sorted(names - locks - {ARRAY}), *sorted(names & {ARRAY}), *sorted(dead)]:
            fs.rm_file(f"{root}/{name}")
    except PhotonError:
        raise
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}; collecting again goes on from here"
    _prune(movie)
    return "deleted", ""


def _lock(movie: _Movie, grace: timedelta) -> str | None:
    """Take the movie's lock; a lock older than the grace period is a collection that died."""
    held = {name: entry for name, entry in movie.section.find(movie.root).items() if name.startswith(LOCK)}
    last = max(map(_number, held), default=0)
    if held and datetime.now(UTC) - max(map(modified, held.values())) < max(grace, timedelta(hours=1)):
        return None
    # Numbered, so that of two collections that find the same dead lock only one gets the next.
    name = f"{LOCK}{last + 1}"
    try:
        movie.storage.create(name, json.dumps({"pid": os.getpid(), "token": uuid.uuid4().hex}).encode())
    except FileExistsError:
        return None
    return name


def _number(lock: str) -> int:
    return int(lock.removeprefix(LOCK))


def _second_look(movie: _Movie, lock: str, grace: timedelta, wait_seconds: float, connection: Any) -> str:
    """Why the movie must stay after all, seen with its lock held; empty if it may go."""
    now_files = movie.section.find(movie.root)
    if lock not in now_files:
        return "the store does not list what was just written"
    own = {name: entry for name, entry in now_files.items() if not name.startswith(LOCK)}
    if own.keys() != {name for name in movie.files if not name.startswith(LOCK)}:
        return "its files changed meanwhile"
    # The lock was written just now, so its time is the store's own clock.
    if modified(now_files[lock]) - max(map(modified, own.values()), default=movie.changed()) < grace:
        return "changed within the grace period"
    deadline = time.monotonic() + wait_seconds
    while writing := uncommitted_writes(connection):
        if time.monotonic() > deadline:
            return f"uncommitted writes of other sessions may refer to it: {', '.join(writing)}"
        time.sleep(0.2)
    if movie.path in find_references(connection, needle=movie.path):
        return "a row refers to it again"
    return ""


def _prune(movie: _Movie) -> None:
    """Remove the folders that became empty on a local disk, up to the table's."""
    if movie.section.backend.protocol != "file":
        return
    folder = movie.root
    while folder.count("/") > movie.section.root.count("/") + 1:
        try:
            movie.section.fs.rmdir(folder)
        except OSError:
            return
        folder = folder.rsplit("/", 1)[0]


def modified(entry: dict[str, Any]) -> datetime:
    """When a listed file was written; stores call it by different names."""
    for name in ("LastModified", "updated", "mtime", "last_modified"):
        value = entry.get(name)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            return datetime.fromisoformat(value)
    raise PhotonError(
        f"the store does not say when {entry.get('name')} was written; nothing can be called old"
    )


def _store_names(connection: Any, stores: Iterable[str] | None) -> list[str]:
    configured = connection._config.stores
    known = [name for name, spec in configured.items() if isinstance(spec, dict) and "protocol" in spec]
    if stores is None:
        if not known:
            raise InvalidInputError("no stores are configured; photon_gpu.dj.stores({...}) sets them up")
        return known
    asked = [stores] if isinstance(stores, str) else list(stores)
    if unknown := [name for name in asked if name not in known]:
        raise InvalidInputError(
            f"unknown store: {', '.join(map(repr, unknown))}; configured: {', '.join(map(repr, known))}"
        )
    return asked
