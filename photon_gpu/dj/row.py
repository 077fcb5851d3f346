"""Make the row of a stored movie; open the movie of a row without a request to the store."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

from photon_gpu.engine.codec.encoding import noise_of_channels
from photon_gpu.errors import CorruptDataError
from photon_gpu.reader.movie import Movie
from photon_gpu.store import manifest, metadata
from photon_gpu.store.storage import Storage

#: Prefix of the lock files of collections, which belong to no movie.
LOCK = ".collecting-"


@dataclass(frozen=True)
class Recorded:
    """A movie that is in the store already; inserting it writes only the row."""

    row: dict[str, Any]


def make_row(storage: Storage, *, path: str, store: str) -> dict[str, Any]:
    """Make the row of a movie that was just written, after checking that the store lists every file.

    Raises
    ------
    CorruptDataError
        If a file is missing or has another size than when it was written.
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
            f"{storage.url}: {len(wrong)} files (such as {wrong[0]}) are not as they were written; something "
            "removed or replaced them meanwhile. The row was not inserted: insert it again"
        )
    description = metadata.describe(array, attributes, storage.url)
    encoding = description.encoding
    return {
        "path": path,
        "store": store,
        "codec_name": "photon",
        "codec_version": description.attributes["codec_version"],
        "layout": encoding.layout,
        "shape": list(description.shape),
        "chunks": list(description.chunks),
        "dtype": encoding.dtype,
        "noise": encoding.noise.to_dict() if encoding.noise else None,
        **({"channel_noise": noise_of_channels(encoding)} if encoding.channels else {}),
        "step": encoding.step,
        "raw_bytes": _raw_bytes(description),
        "stored_bytes": sum(wanted.values()),
        "manifest_crc32": _crc(index),
        "zarray": array.decode(),
        "zattrs": attributes.decode(),
    }


def open_row(row: dict[str, Any], storage: Storage) -> Movie:
    """Open the movie of a row without a request to the store; indexing the movie reads it."""
    try:
        array, attributes, crc = row["zarray"].encode(), row["zattrs"].encode(), row["manifest_crc32"]
    except (KeyError, TypeError, AttributeError) as error:
        raise CorruptDataError(f"{storage.url}: the row is not one photon_gpu wrote ({error!r})") from error
    description = metadata.describe(array, attributes, storage.url)
    return Movie(_RowStorage(storage, crc), description)


class _RowStorage(Storage):
    """Storage that refuses every movie except the one that its row was inserted with."""

    def __init__(self, storage: Storage, manifest_crc32: str) -> None:
        super().__init__(storage.fs, storage.root, store=storage.store, write_options=storage.write_options)
        self._crc = manifest_crc32

    def read(self, name: str) -> bytes:
        if name != manifest.NAME:
            return super().read(name)
        # The manifest has a checksum of every file, so its own checksum covers the whole movie.
        try:
            index = super().read(name)
        except FileNotFoundError as error:
            raise CorruptDataError(f"{self.url}: {name} is missing; nothing there can be checked") from error
        if _crc(index) != self._crc:
            raise CorruptDataError(
                f"{self.url}: the movie there is not the one that this row was inserted with (manifest CRC "
                f"{_crc(index)}, "
                f"the row has {self._crc}). photon_gpu.open() reads what is there now"
            )
        return index


def _raw_bytes(description: metadata.Description) -> int:
    import numpy as np

    return math.prod(description.shape) * np.dtype(description.encoding.dtype).itemsize


def _crc(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"
