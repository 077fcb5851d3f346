"""What the database keeps of a movie: enough to open it with no request at all."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

from photon_gpu.dj.stores import StoreStorage
from photon_gpu.errors import CorruptDataError
from photon_gpu.reader.movie import Movie
from photon_gpu.store import manifest, metadata
from photon_gpu.store.storage import Storage

#: Files a collection leaves in a folder for moments, which belong to no movie.
LOCK = ".collecting-"


@dataclass(frozen=True)
class Recorded:
    """A movie that lies in its place already; inserting it writes only the row."""

    row: dict[str, Any]


def make_row(storage: Storage, *, path: str, store: str) -> dict[str, Any]:
    """Row of a movie just written, once every file of it has been seen in the store.

    Raises
    ------
    CorruptDataError
        If a file is not there, or not of the size it was written with.
    """
    array, attributes = storage.read(metadata.ARRAY), storage.read(metadata.ATTRIBUTES)
    index = storage.read(manifest.NAME)
    files = manifest.unpack(index, storage.url)
    manifest.check(metadata.ARRAY, array, files, storage.url)
    manifest.check(metadata.ATTRIBUTES, attributes, files, storage.url)
    sizes = storage.sizes()
    wanted = {name: entry[0] for name, entry in files.items()} | {manifest.NAME: len(index)}
    if wrong := sorted(name for name, size in wanted.items() if sizes.get(name) != size):
        raise CorruptDataError(
            f"{storage.url}: {len(wrong)} files, {wrong[0]} for one, are not as they were written; something "
            "removed or replaced them meanwhile. The row was not inserted: insert it again"
        )
    found = metadata.describe(array, attributes, storage.url)
    encoding = found.encoding
    return {
        "path": path,
        "store": store,
        "codec_name": "photon",
        "codec_version": found.attributes["codec_version"],
        "layout": encoding.layout,
        "shape": list(found.shape),
        "chunks": list(found.chunks),
        "dtype": encoding.dtype,
        "noise": encoding.noise.to_dict() if encoding.noise else None,
        "step": encoding.step,
        "raw_bytes": _raw_bytes(found),
        "stored_bytes": sum(wanted.values()),
        "manifest_crc32": _crc(index),
        "zarray": array.decode(),
        "zattrs": attributes.decode(),
    }


def open_row(row: dict[str, Any], storage: StoreStorage) -> Movie:
    """The movie of a row, with no request: bytes are fetched as it is indexed."""
    try:
        array, attributes, crc = row["zarray"].encode(), row["zattrs"].encode(), row["manifest_crc32"]
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptDataError(f"{storage.url}: the row is not one photon_gpu wrote ({error!r})") from error
    description = metadata.describe(array, attributes, storage.url)
    return Movie(_RowStorage(storage, crc), description)


class _RowStorage(StoreStorage):
    """Storage whose movie must be the one its row was inserted with."""

    def __init__(self, storage: StoreStorage, manifest_crc32: str) -> None:
        super().__init__(storage.fs, storage.root, store=storage.store, write_options=storage.write_options)
        self._crc = manifest_crc32

    def read(self, name: str) -> bytes:
        if name != manifest.NAME:
            return super().read(name)
        # The manifest holds a checksum of every file, so this one number stands for the whole movie.
        try:
            index = super().read(name)
        except FileNotFoundError as error:
            raise CorruptDataError(f"{self.url}: {name} is missing; nothing there can be checked") from error
        if _crc(index) != self._crc:
            raise CorruptDataError(
                f"{self.url}: what lies there is not what this row was inserted with (manifest CRC "
                f"{_crc(index)}, "
                f"the row has {self._crc}). photon_gpu.open() reads what is there now"
            )
        return index


def _raw_bytes(found: metadata.Description) -> int:
    import numpy as np

    return math.prod(found.shape) * np.dtype(found.encoding.dtype).itemsize


def _crc(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"
