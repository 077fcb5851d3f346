"""The right to write at a place: nobody else is, nothing is overwritten unasked, a failure leaves no movie."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from contextlib import suppress
from types import TracebackType

from photon_gpu.errors import PhotonError, StoreExistsError
from photon_gpu.place import missing_folders, refuse_foreign, remove_empty
from photon_gpu.storage import Storage

MARKER = ".photon-writing"
ARRAY = ".zarray"


class Claim:
    """Hold a folder while a movie is written into it.

    Attributes
    ----------
    target : Storage
        Where to write: the folder itself, or a new one beside it that takes its place at the end.

    Notes
    -----
    The marker is made by an exclusive create, so of two writers one gets an error. It goes
    just before ``.zarray`` comes.
    """

    def __init__(self, storage: Storage, *, overwrite: bool) -> None:
        self._storage = storage
        self._overwrite = overwrite
        self._published = False
        self._mark = b""
        self.target = storage

    def __enter__(self) -> Claim:
        self._made = missing_folders(self._storage)
        try:
            self._take()
        except BaseException as error:
            if not isinstance(error, Exception):
                self._withdraw()
            remove_empty(self._made)
            raise
        return self

    def _withdraw(self) -> None:
        """Interrupted while taking the place: the marker goes, if it is this writer's."""
        with suppress(Exception):
            if self._mark.startswith(self.target.read(MARKER)):  # it may be half written
                self.target.delete(MARKER)

    def _take(self) -> None:
        found = self._storage.names()
        if found and not self._overwrite:
            raise StoreExistsError(_taken(self._storage, found))
        if found:
            refuse_foreign(self._storage, found)
            self.target = self._storage.sibling("new")
            self._made = missing_folders(self.target)
        who = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": int(time.time()),
            "token": uuid.uuid4().hex,
        }
        self._mark = json.dumps(who).encode()
        try:
            self.target.create(MARKER, self._mark)
        except FileExistsError as error:
            raise StoreExistsError(
                f"{self._storage.url}: somebody else began to write here just now; nothing was written"
            ) from error
        if self.target is self._storage and [name for name in self._storage.names() if name != MARKER]:
            self._storage.delete(MARKER)
            raise StoreExistsError(
                f"{self._storage.url}: somebody else wrote here just now; nothing was overwritten"
            )

    def publish(self, name: str, data: bytes) -> None:
        """Write the last file, which makes the folder a movie, and put it in its place."""
        self.target.delete(MARKER)
        self.target.write(name, data)
        self._published = True
        if self.target is not self._storage:
            self._storage.replace_with(self.target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._published:
            return
        try:
            self.target.delete_folder()
            remove_empty(self._made)
        except Exception as problem:
            note = f"the unfinished files at {self.target.url} could not be removed ({problem}); delete that folder"
            if error is None:
                raise PhotonError(note) from problem
            error.add_note(note)


def _taken(storage: Storage, found: list[str]) -> str:
    if ARRAY in found:
        return f"{storage.url} exists and holds an array; give another name, or overwrite=True to replace it"
    if MARKER in found:
        return (
            f"{storage.url} is being written, or its writer was killed; if nobody is writing there, delete the folder "
            "or give overwrite=True"
        )
    return f"{storage.url} exists and holds {len(found)} files; give another name, or overwrite=True to replace them"
