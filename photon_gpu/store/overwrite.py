"""Overwrite a movie with a new one, and find the folders that an interrupted overwrite left.

FORMAT.md, "Overwriting".
"""

from __future__ import annotations

import json
import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photon_gpu.errors import InvalidInputError, PhotonError, PhotonWarning, StoreExistsError
from photon_gpu.store import durable, manifest
from photon_gpu.store.destination import remove_empty
from photon_gpu.store.in_progress_marker import MARKER, OWN_TOKENS, SUCCESSOR, alive, known_dead, read_marker
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES
from photon_gpu.store.owned_files import own_names, remove_own, some
from photon_gpu.store.storage import Storage

NEW, OLD = "new", "old"
_IN_ORDER = {manifest.NAME: 1, ATTRIBUTES: 2, ARRAY: 3}


@dataclass(frozen=True)
class Replaceable:
    """A folder that an overwrite may replace, and its identity at the start of the overwrite.

    Attributes
    ----------
    storage : Storage
    identity : object
        Value that changes if another process replaces the folder.
    """

    storage: Storage
    identity: object

    def check_unchanged(self) -> None:
        """Raise StoreExistsError if another movie is there now, or another process writes it."""
        names = self.storage.names()
        if not names:
            return  # another process removed the folder, so its name is free
        check_replaceable(self.storage, names, foreign_too=True)
        if _identity(self.storage) != self.identity:
            raise StoreExistsError(
                f"{self.storage.url}: somebody else replaced it at the same time; their movie stays, and "
                "the one that was written here is removed"
            )

    def replace_with(self, new: Storage, facts: dict[str, Any]) -> None:
        """Move the finished movie ``new`` to this name.

        Files that are not part of the old movie are kept, and a PhotonWarning names them.

        Parameters
        ----------
        new : Storage
            A folder beside this one; it no longer exists afterwards.
        facts : dict
            Facts about the writer, for the marker that a store without renames needs meanwhile.

        Raises
        ------
        StoreExistsError
            Another process replaced this folder just now; ``new`` is unchanged.
        PhotonError
            ``new`` is whole, but could not be moved here.
        """
        try:
            if self.storage.local:
                self._exchange(new)
            else:
                _begin_copy(self.storage, new, facts)
                _finish_copy(self.storage, new)
        except StoreExistsError:
            raise
        except OSError as error:
            remedy = "move it there by hand" if self.storage.local else "photon_gpu.recover goes on"
            raise PhotonError(
                f"the new movie is whole at {new.url}, but could not be put in the place of "
                f"{self.storage.url} ({error}); {remedy}, or encode again with overwrite=True"
            ) from error

    def _exchange(self, new: Storage) -> None:
        here, old = self.storage, self.storage.sibling(OLD)
        if not Path(here.root).is_dir():
            _rename(new, here)
            return
        if durable.exchange(new.root, here.root):
            if _identity(new) != self.identity:  # another overwrite came between the check and the exchange
                durable.exchange(new.root, here.root)
                raise StoreExistsError(f"{here.url}: somebody else replaced it just now; theirs stays")
            _rename(new, old)
        else:
            _rename(here, old)
            try:
                _rename(new, here)
            except OSError:
                _rename(old, here)
                raise
        _remove_replaced(old, here.url)


def check_replaceable(storage: Storage, names: list[str], *, foreign_too: bool = False) -> Replaceable:
    """Return the folder as one that an overwrite may replace, or raise an error.

    Parameters
    ----------
    storage : Storage
    names : list of str
        All files of the folder; not empty.
    foreign_too : bool
        Whether files that are not part of the movie may lie in the folder.

    Raises
    ------
    StoreExistsError
        The folder is not a movie, holds other files as well, or is being written.
    """
    if MARKER in names:
        _refuse_written(storage)
    own = own_names(storage, names)
    foreign = [name for name in names if name not in own]
    if not own:
        raise StoreExistsError(
            f"{storage.url} holds {some(names)} and is not a movie: it lacks a .zarray with photon_gpu's "
            ".zattrs or manifest; only movies are replaced. Give another name, or move that folder away"
        )
    if foreign and not foreign_too:
        raise StoreExistsError(
            f"{storage.url} holds {some(foreign)}, no part of the movie there: only movies are replaced. "
            "Give another name, or move these files away"
        )
    return Replaceable(storage, _identity(storage))


def left_behind(storage: Storage) -> list[Storage]:
    """Return the folders that interrupted overwrites left beside a movie, of the new or the old movie."""
    parent, slash, name = storage.root.rpartition("/")
    try:
        if storage.local:
            beside = [path.name for path in Path(parent or "/").iterdir()]
        else:
            storage.fs.invalidate_cache(parent)
            beside = [str(path).rstrip("/").split("/")[-1] for path in storage.fs.ls(parent, detail=False)]
    except (FileNotFoundError, NotADirectoryError, PermissionError, NotImplementedError):
        return []  # or the parent folder may not be listed
    pattern = re.compile(re.escape(name) + rf"\.({NEW}|{OLD})-[0-9a-f]{{12}}")
    return [
        storage.at_root(f"{parent}{slash}{other}")
        for other in sorted(set(beside))
        if pattern.fullmatch(other)
    ]


def left_behind_text(storage: Storage) -> str:
    """Return a sentence on the folders of :func:`left_behind` and the remedy; empty if there are none."""
    folders = left_behind(storage)
    if not folders:
        return ""
    whole = [folder.root.split("/")[-1] for folder in folders if is_whole(folder)]
    if storage.names():
        return (
            f"interrupted overwrites left {some([folder.root.split('/')[-1] for folder in folders])} "
            "beside it: delete them once nobody writes there"
        )
    if whole:
        return f"an interrupted overwrite left {some(whole)}; photon_gpu.recover puts it back"
    return (
        f"an interrupted overwrite left {some([p.root.split('/')[-1] for p in folders])}, which is not whole"
    )


def is_whole(storage: Storage) -> bool:
    """Whether a folder holds a finished movie."""
    names = storage.names()
    return ARRAY in names and MARKER not in names


def put_back(storage: Storage) -> str | None:
    """Finish an interrupted overwrite if no movie is at the name.

    Returns
    -------
    str or None
        Name of the folder that was moved to the movie's name; None if no overwrite was interrupted.

    Raises
    ------
    StoreExistsError
        The overwrite still runs.
    InvalidInputError
        Several folders could be the movie.
    """
    names = storage.names()
    if MARKER in names:
        marker = read_marker(storage)
        successor = marker.get(SUCCESSOR)
        if not isinstance(successor, str):
            return None
        if alive(marker):
            raise StoreExistsError(
                f"{storage.url} is being replaced by process {marker['pid']}, which still runs"
            )
        new = next((folder for folder in left_behind(storage) if folder.root.endswith("/" + successor)), None)
        if new is not None and is_whole(new):
            _finish_copy(storage, new)
            return successor
        return None
    if names:
        return None
    whole = [folder for folder in left_behind(storage) if is_whole(folder)]
    newest = [folder for folder in whole if f".{NEW}-" in folder.root] or whole
    if not newest:
        return None
    if len(newest) > 1:
        raise InvalidInputError(
            f"{storage.url}: nothing is there, and {some([p.root.split('/')[-1] for p in newest])} are whole "
            "movies: rename the one you want"
        )
    if storage.local:
        remove_empty([Path(storage.root)])
        _rename(newest[0], storage)
    else:
        _begin_copy(storage, newest[0], {"token": ""})
        _finish_copy(storage, newest[0])
    return newest[0].root.split("/")[-1]


def _refuse_written(storage: Storage) -> None:
    marker = read_marker(storage)
    if alive(marker) or marker.get("token") in OWN_TOKENS:
        raise StoreExistsError(
            f"{storage.url} is being written by process {marker['pid']} of this machine, which still runs; "
            "nothing was overwritten"
        )
    if "recording" in marker and not known_dead(marker):
        raise StoreExistsError(
            f"{storage.url} is a recording that may still be going on (process {marker.get('pid')} of "
            f"{marker.get('host')}); finish it with photon_gpu.recover, then overwrite it"
        )


def _identity(storage: Storage) -> object:
    if storage.local:
        status = Path(storage.root).stat()
        return status.st_dev, status.st_ino
    content = []
    for name in (MARKER, ARRAY, manifest.NAME):
        with suppress(FileNotFoundError):
            content.append((name, manifest.entry(storage.read(name))))
    return content


def _rename(one: Storage, other: Storage) -> None:
    """Rename a folder so that the new name survives a power cut."""
    durable.rename(one.root, other.root)
    durable.sync_folder(str(Path(other.root).parent))


def _begin_copy(storage: Storage, new: Storage, facts: dict[str, Any]) -> None:
    """Record in the marker which movie will be copied here, so that recovery finds it after a kill."""
    marker = json.dumps({**facts, SUCCESSOR: new.root.split("/")[-1]}).encode()
    if MARKER in storage.names():  # a killed writer left it
        storage.write(MARKER, marker)
        return
    try:
        storage.create(MARKER, marker)
    except FileExistsError as error:
        raise StoreExistsError(f"{storage.url}: somebody else began to write here just now") from error


def _finish_copy(storage: Storage, new: Storage) -> None:
    """Copy a movie over another: delete the old ``.zarray`` first, write the new one last.

    Of an OME-Zarr movie all files go over as they are stored; no array of it opens meanwhile. Its old
    manifest, which says what its files are, stays until the others are replaced.
    """
    storage = storage.at_root(storage.root)  # one that remembers nothing of the old movie
    names, coming = storage.raw_names(), new.raw_names()
    own = {storage.raw_name(name) for name in own_names(storage, storage.names()) - {MARKER}}
    in_order = {storage.raw_name(name): order for name, order in _IN_ORDER.items()}
    storage.delete(ARRAY)
    descriptions = {name for name in own if name.endswith("/zarr.json")}
    for name in sorted((own - set(coming)) | descriptions, key=lambda name: (name not in descriptions, name)):
        storage.delete(name)
    for name in sorted(coming, key=lambda name: (in_order.get(name, 0), name)):
        storage.write(name, new.read(name))
    storage.delete(MARKER)
    remove_own(new)
    marker = storage.raw_name(MARKER)
    foreign = [name for name in names if name not in own and name != marker and name not in coming]
    if foreign:
        _warn_kept(storage.url, foreign)


def _remove_replaced(old: Storage, url: str) -> None:
    try:
        foreign = remove_own(old)
    except OSError as error:
        warnings.warn(
            f"the new movie is at {url}; the one it replaced could not be removed ({error}): delete "
            f"{old.url}",
            PhotonWarning,
            stacklevel=2,
        )
        return
    if foreign:
        _warn_kept(old.url, foreign)


def _warn_kept(url: str, foreign: list[str]) -> None:
    warnings.warn(
        f"{some(foreign)} came into the folder while the movie there was being replaced, and no movie lists "
        f"them: they were kept in {url}",
        PhotonWarning,
        stacklevel=2,
    )


__all__ = ["Replaceable", "check_replaceable", "is_whole", "left_behind", "left_behind_text", "put_back"]
