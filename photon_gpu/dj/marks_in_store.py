"""Mark a store location with the databases that store movies there.

A mark is a small file, ``.photon-database-*``, beside the folders of the schemas.
Each database writes one before its first movie. A collection refuses to delete if a
database of another server has a mark, since it cannot read that database's
references, or if movies may be older than the marks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from photon_gpu.dj.server_databases import Identity, identify
from photon_gpu.dj.stores import storage_at
from photon_gpu.store.storage import Storage, store_errors

#: Prefix of a mark's name.
MARK = ".photon-database-"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The mark of one database.

    Attributes
    ----------
    identity : Identity
    first : bool
        Whether the location was empty when this mark was made. Then every database that ever stored
        movies here has a mark.
    """

    identity: Identity
    first: bool


def mark_location(backend: Any, store: str, connection: Any) -> None:
    """Write the mark of a database to a location, unless the mark exists."""
    identity = identify(connection)
    root = _root(backend, store)
    if root.exists(_name(identity)):
        return
    names, folders = _list(backend, store, root)
    first = not folders and not any(name.startswith(MARK) for name in names)
    # Another process with the same database may have been faster.
    with suppress(FileExistsError):
        root.create(_name(identity), _pack(identity, first))


def mark_insert(backend: Any, store: str) -> None:
    """Write the mark of the database whose table receives an insert.

    Without a table, as when a codec is called directly, nothing is marked, and a collection refuses.
    """
    import inspect

    from datajoint.table import Table

    # DataJoint passes a codec the config, not the connection, and several connections may share a config.
    frame = inspect.currentframe()
    while frame is not None:
        table = frame.f_locals.get("self")
        if isinstance(table, Table):
            mark_location(backend, store, table.connection)
            return
        frame = frame.f_back


def refusal(backend: Any, store: str, identity: Identity, ignored: Collection[str]) -> str:
    """Reason why a database may delete nothing in a location; empty if it may delete."""
    root = _root(backend, store)
    names, folders = _list(backend, store, root)
    marks = [_unpack(root.read(name)) for name in names if name.startswith(MARK)]
    where = f"store {store!r}, {root.url}"
    for mark in marks:
        if mark is None:
            return (
                f"{where}: a {MARK}* file cannot be read, so it is unknown which databases store movies here"
            )
        other = mark.identity
        if other.server != identity.server:
            return (
                f"{where}: {_describe(other)} stores movies here too, and its references cannot be read "
                "from this server. If it is gone or was moved here, confirm it with only_this_database=True"
            )
        if other.database in ignored:
            return f"{where}: database {other.database!r} is in ignore_databases, and stores movies here"
    if folders and not any(mark.first for mark in marks if mark):
        return (
            f"{where}: movies here may be of another database, since they may be older than the marks "
            f"photon_gpu "
            "leaves. If only databases of this server store movies here, confirm it with "
            "only_this_database=True"
        )
    return ""


def take_over(backend: Any, store: str, identity: Identity) -> None:
    """Mark a location as used by databases of this server only."""
    root = _root(backend, store)
    root.write(_name(identity), _pack(identity, True))
    for name in _list(backend, store, root)[0]:
        if name.startswith(MARK) and name != _name(identity):
            mark = _unpack(root.read(name))
            if mark is None or mark.identity.server != identity.server:
                root.delete(name)


def _root(backend: Any, store: str) -> Storage:
    return storage_at(backend, str(backend.spec.get("schema_prefix") or "").strip("/"), store)


def _list(backend: Any, store: str, root: Storage) -> tuple[list[str], list[str]]:
    """Names of the files at the root, and of the folders that may hold movies."""
    with store_errors(lambda: f"listing {root.url}", store):
        root.fs.invalidate_cache()
        try:
            entries = root.fs.ls(root.root, detail=True)
        except FileNotFoundError:
            return [], []
    others = {
        str(backend.spec.get(key) or "").strip("/").split("/")[0]
        for key in ("hash_prefix", "filepath_prefix")
    }
    files, folders = [], []
    for entry in entries:
        name = entry["name"].rstrip("/").rsplit("/", 1)[-1]
        if entry["type"] != "directory":
            files.append(name)
        elif name not in {*others, "lost+found"}:
            folders.append(name)
    return files, folders


def _name(identity: Identity) -> str:
    return MARK + hashlib.sha256(f"{identity.server}\n{identity.database}".encode()).hexdigest()[:16]


def _pack(identity: Identity, first: bool) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return json.dumps({**asdict(identity), "first": first, "since": now}, indent=4).encode()


def _unpack(data: bytes) -> Mark | None:
    try:
        content = json.loads(data)
        identity = Identity(**{name: str(content[name]) for name in ("server", "database", "address")})
        return Mark(identity=identity, first=content["first"] is True)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _describe(identity: Identity) -> str:
    name = f"database {identity.database!r}" if identity.database else "a database"
    return f"{name} of another server ({identity.address}, {identity.server})"
