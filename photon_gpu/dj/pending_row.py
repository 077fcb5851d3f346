"""The row of a recording, in a file beside the chunks until it is inserted."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from typing import Any

from datajoint.blob import pack, unpack

from photon_gpu.dj.movie_column import Column
from photon_gpu.dj.row import Recorded, make_row
from photon_gpu.errors import InvalidInputError
from photon_gpu.store.storage import Storage

PENDING_ROW = ".photon-recording"
"""Name of the file."""

ENCODING = ".photon-encoding"
"""A second file, which only photon_gpu 0.1.0 wrote: metadata of the movie that is being recorded."""

_VERSION = 2


@dataclass(frozen=True)
class PendingRow:
    """A row whose movie is being recorded, or was recorded and has no row yet.

    Attributes
    ----------
    column : Column
        The column of the movie.
    row : dict
        The row without the movie.
    path : str
        Path of the movie within the store.
    version : int
        1: begun by photon_gpu 0.1.0, whose recorder was no :class:`~photon_gpu.LiveWriter`.
        2: begun by a later release.
    """

    column: Column
    row: dict[str, Any]
    path: str
    version: int = _VERSION

    @property
    def key(self) -> dict[str, Any]:
        """Primary key of the row."""
        return self.column.key_of(self.row)

    @property
    def storage(self) -> Storage:
        """The folder of the movie."""
        return self.column.storage(self.path)

    def to_json(self) -> bytes:
        """Content of the file.

        Values that JSON returns unchanged are kept as JSON. All others, such as dates, UUIDs, bytes and
        arrays, are kept as one DataJoint blob.

        Raises
        ------
        InvalidInputError
            A value cannot be kept either way.
        """
        plain, others = {}, {}
        for name, value in self.row.items():
            value = os.fspath(value) if isinstance(value, os.PathLike) else value
            if _is_json(value):
                plain[name] = value
            else:
                _check_blob(name, value)
                others[name] = value
        content = {
            "version": self.version,
            "row": plain,
            "blob": base64.b64encode(pack(others)).decode() if others else None,
            "field": self.column.field,
            "store": self.column.store,
            "path": self.path,
        }
        return json.dumps(content, indent=4).encode()

    @classmethod
    def read(cls, table: Any, storage: Storage) -> PendingRow:
        """Read the file in a movie's folder; those of photon_gpu 0.1.0 have neither version nor blob."""
        content = json.loads(storage.read(PENDING_ROW))
        row = content["row"]
        if content.get("blob"):
            row |= unpack(base64.b64decode(content["blob"]))
        return cls(Column.of(table, content["field"]), row, content["path"], content.get("version", 1))

    def insert(self) -> None:
        """Insert the row of the finished movie, then delete the file."""
        recorded = Recorded(make_row(self.storage, path=self.path, store=self.column.store))
        self.column.table.insert1({**self.row, self.column.field: recorded}, allow_direct_insert=True)
        self.delete()

    def delete(self) -> None:
        """Delete the file, once the row is inserted."""
        self.storage.delete(ENCODING)
        self.storage.delete(PENDING_ROW)


def _is_json(value: Any) -> bool:
    """Whether JSON returns the value unchanged."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _check_blob(name: str, value: Any) -> None:
    """Raise InvalidInputError unless a DataJoint blob returns the value unchanged."""
    try:
        returned = unpack(pack(value))
        # Arrays have no single truth value, and NaN equals nothing.
        same = type(returned) is type(value) and (repr(returned) == repr(value) or bool(returned == value))
    except Exception as error:
        same, returned = False, f"{type(error).__name__}: {error}"
    if not same:
        raise InvalidInputError(
            f"the row cannot be kept as JSON until it is inserted: {name} is a {type(value).__name__}, which "
            f"DataJoint would return as {str(returned)[:100]}; leave it out and set it afterwards "
            "with update1"
        )
