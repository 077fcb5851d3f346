"""One folder on any fsspec filesystem: read, write, create, list and delete its files."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from photon_gpu.encode_settings import location, options_of
from photon_gpu.engine.runtime.regular_file import open_regular
from photon_gpu.errors import (
    ArchivedError,
    CorruptDataError,
    InvalidInputError,
    PhotonError,
    StoreUnavailableError,
)
from photon_gpu.redact_credentials import remember, without_credentials
from photon_gpu.store import durable

# How s3fs reports a refused exclusive create: 412 is EINVAL, 409 (two at once) is EBUSY.
_TAKEN = (errno.EINVAL, errno.EBUSY, errno.EEXIST)
_PROTOCOLS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}

LARGEST_FILE = 1 << 31
"""Bytes; a chunk is one Blosc frame, which is less, and no other file of a movie is larger."""

_PIECE_BYTES = 1 << 18  # a piece that stays in the cache of a core while it is compared


Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_Method = Callable[Concatenate["Storage", Parameters], Result]


@contextmanager
def store_errors(action: Callable[[], str], store: str = "") -> Iterator[None]:
    """Convert errors of a store's client into an error that names the failed action and the store.

    Errors for a missing or existing file pass unchanged: they are answers of the store.
    """
    try:
        yield
    except (PhotonError, Warning, FileNotFoundError, FileExistsError, NotADirectoryError):
        raise
    except Exception as error:
        name = f"store {store!r}: " if store else ""
        failed = StoreUnavailableError(f"{name}{action()} failed ({type(error).__name__}: {error})")
        failed.errno = getattr(error, "errno", None)
        raise failed from error


def _named(action: str) -> Callable[[_Method[Parameters, Result]], _Method[Parameters, Result]]:
    """Decorate a method of a storage that is not a local disk: its errors name the action and the URL."""

    def decorate(method: _Method[Parameters, Result]) -> _Method[Parameters, Result]:
        @wraps(method)
        def run(self: Storage, /, *args: Parameters.args, **options: Parameters.kwargs) -> Result:
            if self.local and not self.store:
                return method(self, *args, **options)
            name = f"/{args[0]}" if args and isinstance(args[0], str) else ""
            with store_errors(lambda: f"{action} {self.url}{name}", self.store):
                return method(self, *args, **options)

        return run

    return decorate


class Storage:
    """Files of a movie or a store, below one root of an fsspec filesystem.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
    root : str
        Path within ``fs``.
    write_options : dict, optional
        Options for writing each data file (for instance S3's ``StorageClass``); metadata files,
        whose names begin with a dot, and ``zarr.json`` are written without them.
    store : str, optional
        Name of the store in errors.

    Examples
    --------
    >>> store = Storage.at("memory://example.zarr")
    >>> store.write("0.0.0", b"data")
    >>> store.read("0.0.0"), store.names()
    (b'data', ['0.0.0'])
    """

    container = "folder"
    """The outer form of the movie: ``folder`` or ``ome-zarr``."""

    def __init__(
        self, fs: Any, root: str, *, write_options: dict[str, Any] | None = None, store: str = ""
    ) -> None:
        self.fs = fs
        self.root = root.rstrip("/")
        self.write_options = write_options or {}
        self.store = store

    @classmethod
    def at(
        cls, url: str | os.PathLike[str] | Storage, storage_options: dict[str, Any] | None = None
    ) -> Storage:
        """Return the folder at a path or URL (``file``, ``memory``, ``s3``, ``gs``, any fsspec protocol)."""
        if isinstance(url, Storage):
            return url
        text, options = location("url", url), options_of("storage_options", storage_options)
        remember(text, options)
        try:
            fs, root = _reach(text, options)
        except ImportError as error:
            scheme = _PROTOCOLS.get(text.split("://")[0], text.split("://")[0])
            raise InvalidInputError(
                f"{text.split('://')[0]}:// needs a package that is not installed ({error}); "
                f"try: pip install 'photon-gpu[{scheme}]'"
            ) from error
        except (ValueError, TypeError) as error:
            raise InvalidInputError(f"photon_gpu cannot reach {text!r}: {error}") from error
        if not root.strip("/"):
            raise InvalidInputError(f"{text!r} names no folder; give a name such as movie.zarr")
        return cls(fs, root)

    @property
    def url(self) -> str:
        """URL for messages, without credentials."""
        return self.root if self.local else without_credentials(str(self.fs.unstrip_protocol(self.root)))

    @property
    def local(self) -> bool:
        """Whether the files lie on this machine's own disks."""
        protocol = self.fs.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def sibling(self, tag: str) -> Storage:
        """Return a folder beside this one, with a new unique name."""
        return self.at_root(f"{self.root}.{tag}-{uuid.uuid4().hex[:12]}")

    def at_root(self, root: str) -> Storage:
        """Return another folder of the same filesystem, in the same container."""
        return type(self)(self.fs, root, write_options=self.write_options, store=self.store)

    def path(self, name: str) -> str:
        """Return the full path of a file."""
        return f"{self.root}/{name}"

    def stored_name(self, name: str) -> str:
        """Return the name below the root of the file that holds this one."""
        return name

    @_named("reading")
    def read(self, name: str) -> bytes:
        """Return a file's content; FileNotFoundError only if the store itself says it does not exist."""
        if self.local:
            with open_regular(self.path(name), most=LARGEST_FILE) as file:
                return file.read()
        try:
            # s3fs would request the size first, to fetch parts in parallel: one more request per file.
            options = {"max_concurrency": 1} if "s3" in self.fs.protocol else {}
            return bytes(self.fs.cat_file(self.path(name), **options))
        except PermissionError as error:
            if _archived(error):
                raise ArchivedError(self._restore(name)) from error
            raise

    def holds(self, name: str, data: bytes) -> bool:
        """Return whether a file holds exactly these bytes; raise FileNotFoundError if it does not exist."""
        if not self.local:
            return self.read(name) == data
        import numpy as np  # here, so that the command line can show its help without importing NumPy

        expected, piece = np.frombuffer(data, np.uint8), np.empty(_PIECE_BYTES, np.uint8)
        with open_regular(self.path(name)) as stream:
            start = 0
            while count := stream.readinto(piece.data):
                if not np.array_equal(piece[:count], expected[start : start + count]):
                    return False
                start += count
        return start == expected.size

    def _restore(self, name: str) -> str:
        bucket, _, key = self.path(name).partition("/")
        return (
            f"{self.url}/{name} lies in an archive storage class (GLACIER or DEEP_ARCHIVE) and cannot be "
            "read until it is restored, which takes minutes to hours. Ask for it with: aws s3api "
            f"restore-object --bucket {bucket} --key '{key}' --restore-request Days=7; the other chunks of "
            "the movie likewise"
        )

    @_named("writing")
    def write(self, name: str, data: bytes, *, listed: bool = True) -> None:
        """Write or replace a whole file; on a local disk it survives a power cut.

        If not ``listed``, a power cut may remove the file until :meth:`write_in_order` returns.
        """
        if self.local:
            (durable.write_file if listed else durable.write_unlisted)(self.path(name), data)
            return
        options = {} if _is_metadata(name) else self.write_options
        self.fs.pipe_file(self.path(name), bytes(data), **options)  # bytes, as it may keep the object

    @_named("writing the metadata of")
    def write_in_order(
        self, files: Sequence[tuple[str, bytes]], others: Callable[[], object] | None = None
    ) -> None:
        """Write files in order; the last appears only after the others and all earlier writes.

        ``others`` is called before the first of these files appears; it may raise an error.
        """
        if self.local:
            durable.write_files([(self.path(name), data) for name, data in files], others)
            return
        if others is not None:
            others()
        for name, data in files:
            self.write(name, data)

    @_named("creating")
    def create(self, name: str, data: bytes, *, synced: bool = True) -> None:
        """Create a file; raise FileExistsError if another writer was first.

        ``data`` must differ from every other writer's: after a lost answer, it shows whose file it is.
        If not ``synced``, a power cut may empty or remove the file.
        """
        if self.local:
            durable.create_file(self.path(name), data, synced=synced)
            return
        try:
            self.fs.pipe_file(self.path(name), data, mode="create")
        except OSError as error:
            if not isinstance(error, FileExistsError) and error.errno not in _TAKEN:
                raise
            with suppress(FileNotFoundError):
                if self.read(name) == data:
                    return
            raise FileExistsError(errno.EEXIST, "another writer was first", self.path(name)) from error

    @_named("listing")
    def names(self) -> list[str]:
        """Return the names of all files below the root, sorted; never from a cache.

        Files that a killed process never finished writing (:func:`photon_gpu.store.durable.is_partial`) are
        part of no movie and are left out.
        """
        if self.local:
            names = sorted(_names_below(self.root))
        else:
            self.fs.invalidate_cache(self.root)
            try:
                entries = self.fs.find(self.root)
            except FileNotFoundError:
                return []
            prefix = self.fs._strip_protocol(self.root).rstrip("/") + "/"
            names = sorted(path[len(prefix) :] for path in entries if path.startswith(prefix))
        return [name for name in names if not durable.is_partial(name.split("/")[-1])]

    def delete_partial(self) -> None:
        """Remove files that a killed process left unfinished; call it only while no process writes."""
        if self.local:
            for path in Path(self.root).rglob(f"{durable.PARTIAL}*"):
                if durable.is_partial(path.name):
                    durable.remove(str(path))

    @_named("listing")
    def sizes(self) -> dict[str, int]:
        """Return the size of each file below the root by name, from one listing; never from a cache."""
        self.fs.invalidate_cache(self.root)
        try:
            entries = self.fs.find(self.root, detail=True)
        except FileNotFoundError:
            return {}
        prefix = self.fs._strip_protocol(self.root).rstrip("/") + "/"
        listed = {path: file["size"] for path, file in entries.items() if path.startswith(prefix)}
        # The listing of an HTTP server has no sizes.
        return {
            path[len(prefix) :]: self.fs.size(path) or 0 if size is None else size
            for path, size in listed.items()
        }

    @_named("looking for")
    def exists(self, name: str) -> bool:
        """Whether a file exists according to the store itself, not a cache."""
        self.fs.invalidate_cache(self.root)
        return bool(self.fs.exists(self.path(name)))

    @_named("deleting")
    def delete(self, name: str) -> None:
        """Delete one file if it exists."""
        if self.local:
            durable.remove(self.path(name))
            return
        try:
            self.fs.rm_file(self.path(name))
        except FileNotFoundError:
            return

    def raw_name(self, name: str) -> str:
        """Return the name under which a file is stored: another one only in ``ome-zarr``."""
        return name

    def raw_names(self) -> list[str]:
        """Return the names under which all files are stored."""
        return self.names()

    def level_names(self, names: Collection[str]) -> set[str]:
        """Return those of these names that are files of pyramid levels; only ``ome-zarr`` has any."""
        return set()

    def delete_for_certain(self, name: str) -> None:
        """Delete one file and check that it is gone: a missing bucket looks like a missing file."""
        self.delete(name)
        if self.exists(name):
            raise OSError(
                errno.EBUSY,
                "the store reported the delete as successful, but the object still exists",
                self.path(name),
            )

    def delete_folder(self) -> None:
        """Delete everything below the root, ``.zarray`` first, so that a half-deleted movie does not open."""
        names = self.names()
        for name in sorted(names, key=lambda name: name != ".zarray"):
            self.delete(name)
        if self.local and Path(self.root).is_dir():
            self.fs.rm(self.root, recursive=True)


def _reach(text: str, storage_options: dict[str, Any]) -> tuple[Any, str]:
    """Return what ``fsspec.core.url_to_fs`` returns, but faster for a plain path."""
    if not storage_options and "://" not in text and "::" not in text:
        return _disk(), _disk()._strip_protocol(text)
    from fsspec.core import url_to_fs

    fs, root = url_to_fs(text, **storage_options)
    return fs, root


def _is_metadata(name: str) -> bool:
    parts = name.split("/")
    return parts[-1] == "zarr.json" or any(part.startswith(".") for part in parts)


@cache
def _disk() -> Any:
    from fsspec import filesystem

    return filesystem("file")


def _names_below(root: str) -> Iterator[str]:
    """Yield the names of all files below a folder, without following links or a ``stat`` per file."""
    for folder, folders, files in os.walk(root):
        below = Path(folder).relative_to(root).as_posix() + "/" if folder != root else ""
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (below + name for name in [*files, *links])


def _archived(error: BaseException | None) -> bool:
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict) and response.get("Error", {}).get("Code") == "InvalidObjectState":
            return True
        error = error.__cause__
    return False


def read_required(storage: Storage, name: str, content: str) -> bytes:
    """Read a file; if it is missing, raise a CorruptDataError that names its content."""
    try:
        return storage.read(name)
    except FileNotFoundError as error:
        raise CorruptDataError(f"{storage.url}: {name} is missing ({content})") from error
