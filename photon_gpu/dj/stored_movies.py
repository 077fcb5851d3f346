"""List the movies in a schema's folder of a store, and find the files that belong to them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from photon_gpu.dj.path_from_key import folder_name
from photon_gpu.dj.pending_row import ENCODING, PENDING_ROW
from photon_gpu.dj.row import LOCK
from photon_gpu.dj.stores import storage_at, store_backend
from photon_gpu.errors import InvalidInputError, PhotonError
from photon_gpu.store import manifest
from photon_gpu.store.durable import is_partial
from photon_gpu.store.in_progress_marker import MARKER
from photon_gpu.store.metadata import ARRAY
from photon_gpu.store.owned_files import own_names
from photon_gpu.store.storage import Storage, store_errors


class SchemaFolder:
    """One schema's folder in one store.

    Attributes
    ----------
    store : str
        Name of the store.
    prefix : str
        Part of a movie's path before the schema.
    root : str
        Path of the folder on the filesystem.
    """

    def __init__(self, connection: Any, store: str, schema: str) -> None:
        self.store = store
        self.backend = store_backend(store, connection._config)
        if self.backend.spec.get("partition_pattern"):
            raise InvalidInputError(
                f"store {store!r} has a partition_pattern, which spreads a schema over many folders; "
                "collecting such a store is not supported. Name the other stores with stores="
            )
        self.schema = folder_name(schema)
        self.prefix = str(self.backend.spec.get("schema_prefix") or "").strip("/")
        # In an archive store locks go to STANDARD, as do all files with a leading dot.
        self.storage = storage_at(self.backend, self.path(self.schema), store)
        self.fs, self.root = self.storage.fs, self.storage.root
        self.location = (type(self.fs).__name__, str(self.backend.spec.get("endpoint")), self.root)

    def path(self, below: str) -> str:
        """Prepend the prefix that paths in the rows of this store have."""
        return f"{self.prefix}/{below}" if self.prefix else below

    def find(self, folder: str) -> dict[str, dict[str, Any]]:
        """List the files under a folder by relative path, never from a cache."""
        with store_errors(lambda: f"listing {self.storage.url}{folder.removeprefix(self.root)}", self.store):
            self.fs.invalidate_cache()
            listed = self.fs.find(folder, detail=True)
        return {path[len(folder) :].lstrip("/"): entry for path, entry in listed.items()}

    def movies(self) -> list[StoredMovie]:
        """List all folders named ``*.zarr``."""
        folders: dict[str, dict[str, dict[str, Any]]] = {}
        for path, entry in self.find(self.root).items():
            if inside := re.match(r"((?:[^/]+/)*?[^/]+\.zarr)/(.+)", path):
                folders.setdefault(inside[1], {})[inside[2]] = entry
        return [StoredMovie(self, folder, files) for folder, files in sorted(folders.items())]


class StoredMovie:
    """One listed ``.zarr`` folder.

    Attributes
    ----------
    path : str
        Path from the schema's folder on.
    files : dict
        Entry of each file in the listing, by name.
    own : list of str
        Names of the files that photon_gpu wrote, once :meth:`examine` was called.
    """

    def __init__(self, section: SchemaFolder, folder: str, files: dict[str, dict[str, Any]]) -> None:
        self.section = section
        self.folder = folder
        self.files = files
        self.path = f"{section.schema}/{folder}"
        self.root = f"{section.root}/{folder}"
        self.storage = storage_at(section.backend, section.path(self.path), section.store)
        self.own: list[str] = []

    def changed(self) -> datetime:
        """Time at which the newest file of the movie was written."""
        own = [entry for name, entry in self.files.items() if not name.startswith(LOCK)]
        return max(map(modified, own or self.files.values()))

    def doubt(self, tables: set[str], grace: timedelta, dropped_tables: bool) -> str:
        """Reason why the movie must be kept; empty if it may be deleted."""
        if PENDING_ROW in self.files:
            return "an unfinished recording; photon_gpu.dj.recover finishes or removes it"
        table = self.folder.split("/", 1)[0]
        if table not in tables and not dropped_tables:
            return f"the schema has no table {table}; dropped_tables=True collects these too"
        if datetime.now(UTC) - self.changed() < grace:
            return "changed within the grace period"
        try:
            return self.examine()
        except FileNotFoundError:
            return "its files changed meanwhile"

    def examine(self) -> str:
        """Find the files that may be deleted; return the reason if there are none."""
        self.own, why = own_files(self.storage, self.files)
        return why

    def strays(self) -> list[str]:
        """Files in the folder that are not part of the movie."""
        return sorted(name for name in self.files.keys() - set(self.own) if not name.startswith(LOCK))


def own_files(storage: Storage, names: Iterable[str]) -> tuple[list[str], str]:
    """Return the files of a folder that a collection may delete, by the rule that overwriting uses too.

    No user names the folders that a collection deletes, so it keeps a movie whose manifest is missing or
    damaged.

    Parameters
    ----------
    storage : Storage
    names : iterable of str
        Names of all files in the folder.

    Returns
    -------
    tuple of list and str
        Names of these files, without locks of collections, and the reason if there are none.
    """
    names = set(names)
    if manifest.NAME in names:
        try:
            manifest.unpack(storage.read(manifest.NAME), storage.url)
        except PhotonError as error:
            return [], f"its manifest, which says which files are its own, cannot be read: {error}"
    locks = {name for name in names if name.startswith(LOCK)}
    if names == locks:  # a collection died after it deleted the movie, and before it deleted its lock
        return [], ""
    half_deleted = bool(locks)
    partial = {name for name in names if is_partial(name)}
    own = own_names(storage, names - partial, unfinished=half_deleted)
    if not own:
        return [], "not written by photon_gpu"
    if ARRAY in own and manifest.NAME not in own and MARKER not in own and not half_deleted:
        return [], "no manifest says which files are its own"
    return sorted(own | partial | (names & {PENDING_ROW, ENCODING})), ""


def modified(entry: dict[str, Any]) -> datetime:
    """Time at which a listed file was written; stores use different names for this field."""
    for name in ("LastModified", "updated", "mtime", "last_modified"):
        value = entry.get(name)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            return datetime.fromisoformat(value)
    raise PhotonError(f"the store does not say when {entry.get('name')} was written, so its age is unknown")
