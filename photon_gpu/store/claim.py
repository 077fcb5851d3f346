"""Claim a folder to write a movie: one writer, no overwriting unless requested, no partial movies."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from photon_gpu.errors import PhotonError, StoreExistsError
from photon_gpu.store import source_metadata
from photon_gpu.store.destination import linked, missing_folders, remove_empty
from photon_gpu.store.durable import sync_folder
from photon_gpu.store.in_progress_marker import (
    MARKER,
    OWN_TOKENS,
    SUCCESSOR,
    alive,
    known_dead,
    read_marker,
    started,
)
from photon_gpu.store.metadata import ARRAY
from photon_gpu.store.overwrite import NEW, Replaceable, check_replaceable
from photon_gpu.store.owned_files import decoder_of, own_names, remove_own, some
from photon_gpu.store.storage import Storage


class Claim:
    """Hold a folder while a movie is written into it.

    Parameters
    ----------
    storage : Storage
    overwrite : bool
        Write beside the movie that exists, and replace it at the end.
    resume : bool
        Take over the folder of a killed writer. After a failure keep what was written, so that the
        folder can be taken over again.
    facts : dict, optional
        JSON values that the marker holds from the start. A ``token`` in them becomes the token of the claim.
    notes_first : bool
        The writer calls :meth:`note` before it writes anything else. Until then a power cut may delete the
        marker, and the folders made for it.

    Attributes
    ----------
    target : Storage
        The folder to write to: the movie's own, or a new one beside it that replaces it at the end.
    earlier : dict
        The marker of the killed writer; empty if nothing was taken over.
    note_of_link : str or None
        Sentence on where the movie is written, if the folder is a symbolic link; the link is kept.

    Notes
    -----
    An exclusive create makes the marker, so one of two writers gets an error. The marker holds a token: if
    the answer to the create is lost, the token shows that this writer made it. The marker is deleted just
    after ``.zarray`` is written.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        overwrite: bool,
        resume: bool = False,
        facts: dict[str, Any] | None = None,
        notes_first: bool = False,
    ) -> None:
        self._storage = linked(storage)
        self.note_of_link = (
            None
            if self._storage is storage
            else f"{storage.url} is a symbolic link: the movie was written to {self._storage.url}"
        )
        self._replaceable: Replaceable | None = None
        self._overwrite = overwrite
        self._resume = resume
        self._notes_first = notes_first
        self._published = self._complete = False
        self._mark = b""
        self._made: list[Path] = []
        self.target = self._storage
        self.token: str | None = None
        self._facts = facts or {}
        self.earlier: dict[str, Any] = {}

    def __enter__(self) -> Claim:
        self._made = missing_folders(self._storage)
        try:
            self._take()
        except BaseException as error:
            self._let_go()
            if self._mark and not isinstance(error, StoreExistsError):
                self._give_back()
            remove_empty(self._made)
            raise
        return self

    def withdraw(self) -> None:
        """Delete the marker, the source metadata, and the folders made for it; no chunk was written yet."""
        for name in {source_metadata.NAME, *decoder_of(self.target, self.target.names())}:
            self.target.delete(name)
        self.target.delete(MARKER)
        remove_empty(
            [*self._made, *([Path(self.target.root)] if self.target.local and not self.note_of_link else [])]
        )

    def _give_back(self) -> None:
        """Delete the marker after taking the folder failed, if the marker is this writer's."""
        with suppress(Exception):
            if self._mark.startswith(self.target.read(MARKER)):  # it may be half written
                self.target.delete(MARKER)

    def _take(self) -> None:
        names = self._storage.names()
        if MARKER in names and self._resume:
            self._take_over()
            return
        if names and not self._overwrite:
            raise StoreExistsError(_taken(self._storage, names))
        if names:
            self._replaceable = check_replaceable(self._storage, names)
            self.target = self._storage.sibling(NEW)
            self._made = missing_folders(self.target)
        self.token = self._facts.get("token") or uuid.uuid4().hex
        self._mark = json.dumps({**self._facts, **self._who()}).encode()
        try:
            self.target.create(MARKER, self._mark, synced=not self._notes_first)
        except FileExistsError as error:
            raise StoreExistsError(
                f"{self._storage.url}: somebody else began to write here just now; nothing was written"
            ) from error
        except Exception:  # S3's own errors are no OSError
            if not self._surely_holds():  # else the create succeeded, and only its answer was lost
                raise
        if self.target is self._storage and [name for name in self._storage.names() if name != MARKER]:
            self._storage.delete(MARKER)
            raise StoreExistsError(
                f"{self._storage.url}: somebody else wrote here just now; nothing was overwritten"
            )
        OWN_TOKENS.add(self.token)

    def _take_over(self) -> None:
        self.earlier = read_marker(self._storage)
        _refuse_living(self._storage, self.earlier)
        if "recording" in self.earlier:
            raise StoreExistsError(f"{self._storage.url} is a recording; photon_gpu.recover finishes it")
        if known_dead(self.earlier):
            self._storage.delete_partial()
        self.token = uuid.uuid4().hex
        OWN_TOKENS.add(self.token)
        self.note(**{key: value for key, value in self.earlier.items() if key not in self._who()})

    def note(self, **facts: Any) -> None:
        """Save facts in the marker, for a writer that resumes."""
        self.target.write(MARKER, json.dumps({**self._who(), **facts}).encode())
        if self._notes_first and self.target.local:
            for folder in {Path(self.target.root), *self._made}:
                sync_folder(str(folder.parent))

    def holds(self) -> bool:
        """Whether this writer still owns the marker; another may have taken over while it was suspended."""
        try:
            return bool(read_marker(self.target).get("token") == self.token)
        except FileNotFoundError:
            return False

    def publish(self, files: Sequence[tuple[str, bytes]], others: Callable[[], object] | None = None) -> None:
        """Write the last files, then move the movie to its final name if it replaces another.

        ``others`` is called before the first of these files appears; it may raise an error.
        """

        def ready() -> None:
            self._refuse_taken()
            if others is not None:
                others()

        self.target.write_in_order(files, ready)
        self.target.delete(MARKER)
        if self._replaceable is not None:
            self._replaceable.check_unchanged()
            try:
                self._replaceable.replace_with(self.target, self._who())
            except StoreExistsError:
                raise
            except BaseException as error:
                self._published = True  # the movie is whole, and the error says where it is
                if isinstance(error, KeyboardInterrupt):
                    error.add_note(
                        f"the new movie is complete; verify of {self._storage.url} names what the "
                        "interrupted overwrite left"
                    )
                raise
        self._published = self._complete = True
        self._let_go()

    def _let_go(self) -> None:
        OWN_TOKENS.discard(self.token or "")

    def _refuse_taken(self) -> None:
        if self.token is not None and not self.holds():
            self._published = True  # the other writer's files must stay
            raise StoreExistsError(
                f"{self._storage.url}: another writer took over this folder while the movie was written"
            )

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()
        if self._published:
            if self._complete and isinstance(error, KeyboardInterrupt):
                error.add_note(f"{self._storage.url} is complete, and only its report is missing")
            return
        if self._resume:
            if error is not None:
                error.add_note(
                    f"what was written is kept at {self.target.url}; resume=True continues from there"
                )
            return
        try:
            left = remove_own(self.target, ours=True)
            remove_empty(self._made)
            if left and error is not None:
                error.add_note(f"{some(left)} in {self.target.url} is not part of a movie and was kept")
        except Exception as problem:
            note = (
                f"the unfinished files at {self.target.url} could not be removed ({problem}); "
                f"delete that folder"
            )
            if error is None:
                raise PhotonError(note) from problem
            error.add_note(note)

    def _surely_holds(self) -> bool:
        # If even reading fails, report the first error.
        with suppress(Exception):
            return self.holds()
        return False

    def _who(self) -> dict[str, Any]:
        began = int(time.time())
        writer = {"host": socket.gethostname(), "pid": os.getpid(), "began": began, "token": self.token}
        return writer | started()


def _refuse_living(storage: Storage, marker: dict[str, Any]) -> None:
    if alive(marker):
        raise StoreExistsError(
            f"{storage.url} is being written by process {marker['pid']} of this machine, which still runs; "
            "resume once it has ended"
        )


def _taken(storage: Storage, names: list[str]) -> str:
    if MARKER in names and SUCCESSOR in read_marker(storage):
        return (
            f"{storage.url} is being overwritten, or that was interrupted; if nobody is writing there, "
            "photon_gpu.recover finishes it, overwrite=True begins anew"
        )
    if MARKER in names:
        return (
            f"{storage.url} is being written, or its writer was killed; if nobody is writing there, "
            "resume=True goes on, photon_gpu.recover finishes a recording, overwrite=True begins anew"
        )
    if own_names(storage, names):
        return f"{storage.url} exists and holds a movie; give another name, or overwrite=True to replace it"
    return f"{storage.url} exists and holds {_foreign(storage)}, and no movie; give another name"


def _foreign(storage: Storage) -> str:
    """Say what a folder without a movie holds: an array, a group, or so many files."""
    folder = Storage(storage.fs, storage.root, store=storage.store)  # files as they lie, in any container
    names = folder.names()
    if ARRAY in names:
        return "an array"
    if ".zgroup" in names:
        return "a group"
    if "zarr.json" in names:
        with suppress(PhotonError, FileNotFoundError, ValueError, LookupError, TypeError, RecursionError):
            return {"array": "an array", "group": "a group"}[
                json.loads(folder.read("zarr.json"))["node_type"]
            ]
    return f"{len(names)} files"


__all__ = ["ARRAY", "MARKER", "Claim", "alive", "read_marker"]
