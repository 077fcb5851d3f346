"""Write local files so that a kill or a power cut leaves either the old or the new content, complete.

A file is written under another name, synced and renamed, and its folder is synced. A reader sees either
the old bytes or the new ones. Source: fsync(2) and rename(2), POSIX.1-2017.

On Windows ``os.fsync`` flushes the file (FlushFileBuffers), folders cannot be synced, and a rename or a
removal is tried again while a scanner or an indexer holds the file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import IO

from photon_gpu.engine.runtime.pool import Pool
from photon_gpu.errors import CorruptDataError
from photon_gpu.logger import logger

WINDOWS = os.name == "nt"

PARTIAL = ".partial-"
"""Prefix of the names of unfinished files."""
_PARTIAL_NAME = re.compile(re.escape(PARTIAL) + r"[0-9a-f]{12}")

_MOST = 1 << 24  # bytes per write call: a signal or a full disk is seen between calls

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Errors of file systems without hard links; no system has all of them.
_NO_LINKS = (OSError, NotImplementedError, AttributeError)


def write_file(path: str, *parts: bytes | memoryview) -> None:
    """Replace a file completely by one that consists of these parts, or leave it unchanged."""
    write_unlisted(path, *parts)
    sync_folder(os.path.dirname(path))


def write_unlisted(path: str, *parts: bytes | memoryview) -> None:
    """Like :func:`write_file`, but the name survives a power cut only after :func:`sync_folder`."""
    partial_path = _partial_path(path)
    try:
        _write_partial(partial_path, *parts)
        rename(partial_path, path)
    except BaseException:
        remove(partial_path)
        raise


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file that replaces ``path`` once it is complete and synced; an error leaves ``path`` unchanged.

    A symbolic link keeps its target, and an existing file keeps its permissions. A path that is not a
    regular file (a pipe, ``/dev/stdout``) cannot be replaced, so it is written to directly.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "report.json"
    >>> with replacing(path) as file:
    ...     _ = file.write(b"{}")
    >>> path.read_text()
    '{}'
    """
    target = os.path.realpath(path)
    old = os.stat(target) if os.path.exists(target) else None
    if old is not None and not stat.S_ISREG(old.st_mode):
        with open(target, "wb") as file:
            yield file
        return
    partial_path = _partial_path(target)
    try:
        with open(partial_path, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if old is not None:
            os.chmod(partial_path, stat.S_IMODE(old.st_mode))
        rename(partial_path, target)
    except OSError as error:
        if error.errno in _NO_ROOM and error.filename is None:
            error.filename = os.fspath(path)
        raise
    finally:
        remove(partial_path)
    sync_folder(os.path.dirname(target))


def write_files(files: Sequence[tuple[str, bytes]], others: Callable[[], object] | None = None) -> None:
    """Replace files of one folder; the last one appears only after all the others.

    One thread per file syncs the bytes, because a disk syncs several files almost as fast as one.
    ``others`` is called before the first file gets its name: if it raises an error, no file changes.
    """
    partial_paths = [_partial_path(path) for path, _ in files]
    *others_first, last = [(partial, data) for partial, (_, data) in zip(partial_paths, files, strict=True)]
    try:
        with Pool("photon-sync", len(files)) as pool:
            syncing = [pool.submit(_write_partial, *one) for one in others_first]
            _write_partial(*last)
            for one in syncing:
                one.result()
        if others is not None:
            others()
        for partial_path, (path, _) in zip(partial_paths, files, strict=True):
            if path == files[-1][0]:
                sync_folder(os.path.dirname(path))
            rename(partial_path, path)
    except BaseException:
        for partial_path in partial_paths:
            remove(partial_path)
        raise
    sync_folder(os.path.dirname(files[-1][0]))


def create_file(path: str, data: bytes, *, synced: bool = True) -> None:
    """Create a file; raise FileExistsError, and change nothing, if it exists.

    If not ``synced``, a power cut may empty or remove the file, and the folders made for it.
    """
    partial_path = _partial_path(path)
    try:
        _write_partial(partial_path, data, synced=synced)
        if not _link(partial_path, path):
            # Exclusive too, but a kill during the write leaves a short file, which its readers accept.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
            try:
                write_all(descriptor, data)
                if synced:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
    finally:
        remove(partial_path)
    if synced:
        sync_folder(os.path.dirname(path))


def _link(path: str, to: str) -> bool:
    """Give a file a second name, which must be new; return False where the file system has no links."""
    try:
        os.link(path, to)
    except FileExistsError:
        raise
    except _NO_LINKS as error:
        logger.info("no second name for a file here (%s): %s is written in place", error, to)
        return False
    return True


def open_file(path: str, *, exclusive: bool = False) -> int:
    """Open a file for writing in place, create it if missing, and return its descriptor.

    If ``exclusive``, raise FileExistsError if it exists.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | (os.O_EXCL if exclusive else 0) | _FLAGS, 0o666)


def reserve(descriptor: int, nbytes: int) -> None:
    """Reserve room for a file on its disk, where the system can do that."""
    if sys.platform == "linux":
        os.posix_fallocate(descriptor, 0, nbytes)
        os.fsync(descriptor)


def sync_data(descriptor: int) -> None:
    """Sync the content of an open file whose length did not change."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def make_folder(path: str, *, synced: bool = True) -> None:
    """Make a folder and its missing parents; sync the entry of each unless ``synced`` is false."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above and above != path:
        make_folder(above, synced=synced)
    with suppress(FileExistsError):
        os.mkdir(path)
    if above and synced:
        with suppress(FileNotFoundError):  # removed again already
            sync_folder(above)


def sync_folder(path: str) -> None:
    """Sync a folder, so that names created, changed or removed in it survive a power cut."""
    if WINDOWS:  # folders cannot be opened there
        return
    descriptor = os.open(path or ".", os.O_RDONLY | _FLAGS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    """Remove a file if it exists."""
    with suppress(FileNotFoundError):
        _patiently(lambda: os.unlink(path))


def rename(path: str, to: str) -> None:
    """Rename a file, replacing one that has the new name."""
    try:
        _patiently(lambda: os.replace(path, to))
    except IsADirectoryError as error:
        raise CorruptDataError(f"{to} is a folder where a file belongs: move it away") from error


def _patiently(action: Callable[[], None]) -> None:
    """On Windows, retry for some seconds, because scanners and indexers briefly lock files."""
    until = time.monotonic() + (_SCANNER_SECONDS if WINDOWS else 0)
    while True:
        try:
            action()
            return
        except PermissionError:
            if time.monotonic() >= until:
                raise
            logger.info("another program holds a file; the rename or removal is tried again")
            time.sleep(0.02)


def is_partial(name: str) -> bool:
    """Whether a file name is one of those that this module uses for unfinished files.

    >>> is_partial(".partial-0123456789ab"), is_partial(".partial-notes")
    (True, False)
    """
    return _PARTIAL_NAME.fullmatch(name) is not None


def exchange(path: str, other: str) -> bool:
    """Exchange the names of two folders in one step.

    Returns
    -------
    bool
        False if the operating system or the file system has no such call; then nothing was changed.
    """
    call = _exchange_call()
    if call is not None and call(os.fsencode(path), os.fsencode(other)) == 0:
        return True
    code = errno.ENOSYS if call is None else ctypes.get_errno()
    if code not in _NO_EXCHANGE:
        raise OSError(code, os.strerror(code), path, None, other)
    logger.info("folders cannot exchange their names here: two renames replace %s", path)
    return False


def remove_folder_if_empty(path: str) -> list[str]:
    """Remove a folder if it is empty; otherwise return the names in it."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return []
    except OSError:
        left = sorted(os.listdir(path))
        if not left:
            raise
        return left
    return []


def write_all(descriptor: int, data: bytes | memoryview, offset: int | None = None) -> int:
    """Write all bytes, at the end or at ``offset``, and return their number."""
    view = memoryview(data).cast("B")
    done = 0
    while done < len(view):
        piece = view[done : done + _MOST]
        if offset is None:
            done += os.write(descriptor, piece)
        elif hasattr(os, "pwrite"):
            done += os.pwrite(descriptor, piece, offset + done)
        else:
            with _seeking:
                os.lseek(descriptor, offset + done, os.SEEK_SET)
                done += os.write(descriptor, piece)
    return done


def _partial_path(path: str) -> str:
    """Name an unfinished file, before it exists: whoever is interrupted knows what to remove."""
    return os.path.join(os.path.dirname(path), f"{PARTIAL}{uuid.uuid4().hex[:12]}")


def _write_partial(partial_path: str, *parts: bytes | memoryview, synced: bool = True) -> None:
    """Create an unfinished file; the caller removes it after any error."""
    folder = os.path.dirname(partial_path)
    for attempts_left in reversed(range(100)):
        make_folder(folder, synced=synced)
        try:
            descriptor = os.open(partial_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666)
            break
        except FileNotFoundError:
            # Another process removed the empty folder between the two calls.
            if not attempts_left:
                raise
            logger.info("another process removed %s: it is made again", folder)
    try:
        for part in parts:
            write_all(descriptor, part)
        if synced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _exchange_call() -> Callable[[bytes, bytes], int] | None:
    """``renameat2(2)`` with RENAME_EXCHANGE on Linux, ``renamex_np(2)`` with RENAME_SWAP on macOS."""
    if not sys.platform.startswith(("linux", "darwin")):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    here, swap = ctypes.c_int(-100), ctypes.c_uint(2)  # AT_FDCWD; both systems number the flag 2
    if (linux := getattr(library, "renameat2", None)) is not None:
        return lambda path, other: int(linux(here, path, here, other, swap))
    if (mac := getattr(library, "renamex_np", None)) is not None:
        return lambda path, other: int(mac(path, other, swap))
    return None


_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_SCANNER_SECONDS = 5.0
_seeking = threading.Lock()
# Without O_BINARY, Windows writes two bytes for each newline byte.
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
