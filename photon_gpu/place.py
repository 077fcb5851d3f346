"""Where a movie may be written: never over what is not a movie, and no trace where it failed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from photon_gpu.errors import InvalidInputError, StoreExistsError
from photon_gpu.storage import Storage

# Files of one Zarr v2 array, of a photon movie, and of a writer that was killed.
_OURS = re.compile(r"\d+(\.\d+)*|\.z(array|attrs|metadata)|\.manifest\.json|\.photon[^/]*|\.frames/\d+\.json")


def refuse_foreign(storage: Storage, names: Sequence[str]) -> None:
    """Stop ``overwrite`` where the folder holds anything but one movie or Zarr v2 array.

    Raises
    ------
    StoreExistsError
        Naming the file that would have been lost.
    """
    foreign = [name for name in names if not _OURS.fullmatch(name)]
    if foreign:
        raise StoreExistsError(
            f"{storage.url} holds {foreign[0]!r}, which is no part of a movie ({len(foreign)} of {len(names)} files "
            "are none): only movies are replaced. Give another name, or move that folder away"
        )


def refuse_source(name: str, storage: Storage) -> None:
    """Stop a movie from being written over the one it is read from, which ``overwrite`` would delete.

    Parameters
    ----------
    name : str
        Of the source; ``path::inside`` names what is inside of a file or group.

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
    """A local place and the folders above it that are not there yet, the innermost first.

    Raises
    ------
    StoreExistsError
        If a file lies at the place, or where a folder above it should be.
    """
    if not storage.local:
        return []
    root, missing = Path(storage.root), []
    for place in (root, *root.parents):
        if place.is_dir():
            break
        if place.exists():
            raise StoreExistsError(f"{place} is a file; a movie is a folder: give another name than {root}")
        missing.append(place)
    return missing


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders that were made in vain; those that hold anything stay."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
