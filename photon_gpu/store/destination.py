"""Choose the folder that a movie is written to: refuse wrong names, follow links, track new folders."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from copy import copy
from pathlib import Path, PureWindowsPath
from typing import Any

from photon_gpu.encode_settings import flag, location
from photon_gpu.errors import InvalidInputError, StoreExistsError
from photon_gpu.file_types import file_suffixes
from photon_gpu.store import durable
from photon_gpu.store.storage import Storage

DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$) *([.:].*)?", re.IGNORECASE)
"""Names that Windows keeps for devices, with any suffix."""

# Suffixes that everybody reads as the name of a single file.
_FILES = file_suffixes()


def destination(
    url: str | os.PathLike[str] | Storage, storage_options: dict[str, Any] | None = None
) -> Storage:
    """Return the folder that a movie will be written to.

    Raises
    ------
    InvalidInputError
        The name contains ``::``, is that of a file, such as ``x.tif``, or :meth:`Storage.at` refuses it.
    """
    if not isinstance(url, Storage):
        text = location("url", url)
        if "::" in text:
            raise InvalidInputError(
                f"{text}: '::' names something inside a file or behind another URL, and photon_gpu "
                "writes to neither; give a folder or a URL, such as movie.zarr"
            )
        if text.rstrip("/\\" if durable.WINDOWS else "/").lower().endswith(_FILES):
            raise InvalidInputError(
                f"{text} is the name of a file, and a movie is a folder: give a name such as movie.zarr. "
                "The command photon-gpu decode writes stored movies as files"
            )
    storage = Storage.at(url, storage_options)
    if durable.WINDOWS and storage.local:
        _check_windows(storage.root)
    return storage


def _check_windows(root: str) -> None:
    """Refuse a path that Windows takes for another one: of a device, a stream, or without dots at an end."""
    path = PureWindowsPath(root)
    if not path.name:
        raise InvalidInputError(f"{root} is a drive or a share; give a folder such as {path / 'movie.zarr'}")
    for name in path.parts[bool(path.anchor) :]:
        if DEVICES.fullmatch(name):
            meaning = "a device of Windows"
        elif ":" in name:
            meaning = "a stream of another file on Windows"
        elif name.endswith((".", " ")) and name != "..":
            meaning = f"{name.rstrip('. ')!r} to Windows"
        else:
            continue
        raise InvalidInputError(f"{root}: the name {name!r} is {meaning}; give another name")


def check_target(*, overwrite: object, resume: object) -> None:
    """Raise InvalidInputError unless ``overwrite`` and ``resume`` are True or False, and not both True."""
    if all([flag("overwrite", overwrite), flag("resume", resume)]):
        raise InvalidInputError("resume continues an existing movie, overwrite replaces it: give one of them")


def linked(storage: Storage) -> Storage:
    """Return the target of a symbolic link, or the same storage if it is not a link.

    Raises
    ------
    StoreExistsError
        The target of the link does not exist.
    """
    if not storage.local or not Path(storage.root).is_symlink():
        return storage
    real = Path(storage.root).resolve()
    if not real.exists():
        raise StoreExistsError(
            f"{storage.root} is a symbolic link to {real}, which does not exist: is its disk mounted? Make "
            "that folder, or give another name"
        )
    other = copy(storage)
    other.root = str(real)
    return other


def refuse_source(name: str, storage: Storage) -> None:
    """Refuse to write a movie over its own source, which ``overwrite`` would delete.

    Parameters
    ----------
    name : str
        Name of the source; ``path::inside`` names an array in a file or group.

    Raises
    ------
    InvalidInputError
    """
    outer = name.rpartition("::")[0] or name
    if storage.local:
        same = Path(outer).exists() and Path(outer).resolve() == Path(storage.root).resolve()
    else:
        same = outer.rstrip("/") == storage.url
    if same:
        raise InvalidInputError(f"{storage.url} is the movie that is read; give another name to write to")


def missing_folders(storage: Storage) -> list[Path]:
    """Return a local folder and those above it that do not exist yet, the innermost first.

    Raises
    ------
    StoreExistsError
        A file has the name of the folder, or of a folder above it.
    """
    if not storage.local:
        return []
    root, missing = Path(storage.root), []
    for folder in (root, *root.parents):
        if folder.is_dir():
            break
        if folder.exists():
            raise StoreExistsError(f"{folder} is a file; a movie is a folder: give another name than {root}")
        missing.append(folder)
    return missing


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove those of these folders that are empty."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
