"""Find the files of a movie that is given as a list, a glob or a folder."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photon_gpu.errors import InvalidInputError, StoreNotFoundError
from photon_gpu.sources.multifile.numbering import natural_key

_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class MovieFiles:
    """Files that are one movie together.

    Attributes
    ----------
    paths : tuple of str
        Natural order of their names; a list of names without numbers keeps its order.
    where : str
        Folder, glob or list, for messages and as the name of the movie.
    ordered : bool
        Whether the caller gave the order.
    """

    paths: tuple[str, ...]
    where: str
    ordered: bool = False


def is_list_of_paths(obj: Any) -> bool:
    """Whether an object is a list or tuple of paths.

    Examples
    --------
    >>> is_list_of_paths(["a.tif", Path("b.tif")]), is_list_of_paths([[1, 2]]), is_list_of_paths([])
    (True, False, False)
    """
    return (
        isinstance(obj, list | tuple) and bool(obj) and all(isinstance(one, str | os.PathLike) for one in obj)
    )


def find_files(obj: Any, suffixes: Callable[[str], object]) -> MovieFiles | None:
    """Find the files of a list of paths, a glob or a folder; None if ``obj`` is the path of one file.

    Parameters
    ----------
    obj : str, path-like, or list of them
    suffixes : callable
        ``suffixes(path)`` returns the type of a file, or None for a file that holds no movie.

    Raises
    ------
    StoreNotFoundError
        A file of a list does not exist, or nothing matches a glob.
    InvalidInputError
        A folder holds no movie, or files of several types.
    """
    if is_list_of_paths(obj):
        return _listed([os.fspath(one) for one in obj])
    text = os.fspath(obj)
    if "://" in text or os.path.exists(text):  # noqa: PTH110 - a path of any form
        return _in_folder(text, suffixes) if os.path.isdir(text) else None  # noqa: PTH112
    if _GLOB & set(text):
        return _matching(text)
    return None


def _listed(paths: list[str]) -> MovieFiles | None:
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise InvalidInputError(f"{twice} is listed twice; give each file of a movie once")
    if len(paths) == 1:
        return MovieFiles(tuple(paths), paths[0], ordered=True)
    ordered = sorted(paths, key=lambda path: natural_key(os.path.basename(path)))  # noqa: PTH119
    where = f"{ordered[0]} and {len(paths) - 1} more files"
    return MovieFiles(tuple(paths), where, ordered=True)


def _matching(pattern: str) -> MovieFiles:
    outer, split, inner = pattern.rpartition("::")
    paths = sorted(glob.glob(outer if split else pattern), key=natural_key)  # noqa: PTH207 - a full path
    if not paths:
        raise StoreNotFoundError(f"{pattern}: no file matches this pattern")
    return MovieFiles(tuple(f"{path}::{inner}" if split else path for path in paths), pattern)


def _in_folder(folder: str, suffixes: Callable[[str], object]) -> MovieFiles | None:
    types: dict[object, list[str]] = {}
    for path in Path(folder).iterdir():
        if not path.name.startswith(".") and path.suffix != ".ome" and path.is_file():
            types.setdefault(suffixes(path.name), []).append(str(path))
    types.pop(None, None)
    if not types:
        return None
    if len(types) > 1:
        counts = ", ".join(f"{len(paths)} {suffix}" for suffix, paths in types.items())
        raise InvalidInputError(
            f"{folder}: the folder holds files of several types ({counts}). Give those of one movie: a glob "
            f"such as '{folder}/*.tif', or a list"
        )
    paths = sorted(next(iter(types.values())), key=natural_key)
    return MovieFiles(tuple(paths), folder)
