"""Show an OME-Zarr movie as the folder that it would be in Zarr v2, and write that folder in shards.

Callers read and write ``.zarray``, ``.zattrs`` and chunks by their names in a folder (FORMAT.md, "A movie is
a folder"). FORMAT.md, "A movie as OME-Zarr", says where their bytes lie.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.engine.runtime.regular_file import open_regular
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError
from photon_gpu.store import durable, frame_records, manifest
from photon_gpu.store.chunk_grid import chunk_number
from photon_gpu.store.in_progress_marker import MARKER, read_marker
from photon_gpu.store.manifest import Manifest
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES
from photon_gpu.store.ome_zarr.metadata import array_json, folder_files, load
from photon_gpu.store.ome_zarr.pyramid_levels import (
    PYRAMID,
    Pyramid,
    is_level_file,
    levels_in,
    levels_of_group,
    levels_of_marker,
)
from photon_gpu.store.ome_zarr.read_shard_grid import (
    grid_of,
    grid_of_manifest,
    grid_of_marker,
    marker_facts,
    shards_of_manifest,
)
from photon_gpu.store.ome_zarr.shards import INDEX_ENTRY_BYTES, ShardGrid, pack_index, places, unpack_index
from photon_gpu.store.storage import LARGEST_FILE, Storage, store_errors

SUFFIX = ".ome.zarr"
CONTAINERS = ("folder", "ome-zarr")

_MANY_CHUNKS = 1024

LEVEL = "0"
"""Folder of the array, below the group."""

GROUP_JSON, ARRAY_JSON = "zarr.json", f"{LEVEL}/zarr.json"


class OmeZarrStorage(Storage):
    """Files of one movie in the container ``ome-zarr``, by their names in a folder.

    A name that begins with ``/`` is that of a file below the root which is not part of the movie. A shard is
    written once all its chunks are there; until then their compressed bytes are in memory. Chunks that are
    in a stored shard already are kept if :meth:`begin` or :meth:`holds` was told of them.
    """

    container = "ome-zarr"

    def __init__(
        self, fs: Any, root: str, *, write_options: dict[str, Any] | None = None, store: str = ""
    ) -> None:
        super().__init__(fs, root, write_options=write_options, store=store)
        self._lock = threading.Lock()
        self._grid: ShardGrid | None = None
        self._group = b""
        self._pending: dict[int, dict[int, bytes]] = {}
        self._kept: dict[int, list[Any]] = {}
        self._complete: set[int] = set()
        self._read_back: set[int] = set()
        self._indexes: dict[int, list[tuple[int, int] | None]] = {}
        self._trusts_manifest = False
        self._apart = False
        self._texts: dict[str, bytes] = {}
        self.written: dict[str, list[Any]] = {}
        """Size and checksum of the shards and metadata that were written, by their names below the root."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.fs, self.root, self.write_options, self.store, self._grid)

    def begin(
        self,
        grid: ShardGrid,
        group: bytes,
        files: Mapping[str, Sequence[Any]] | None = None,
        pyramid: int = 0,
    ) -> dict[str, Any]:
        """Set what a writer must know before its first chunk.

        Parameters
        ----------
        grid : ShardGrid
            Shards of a new movie. An encode that is resumed keeps the shards it began with.
        group : bytes
            ``zarr.json`` of the group.
        files : dict, optional
            Manifest entries of chunks that are stored already and are kept.
        pyramid : int
            Number of further levels. Those of an earlier encode are deleted.

        Returns
        -------
        dict
            What the marker of the writer must say.
        """
        for name in self.level_names(self.names()):
            self.delete(name)
        begun = self._grid
        if begun is None or (begun.shape, begun.chunks) != (grid.shape, grid.chunks):
            self._grid = grid
        self._group = group
        for name, listed in (files or {}).items():
            if (number := chunk_number(name)) is not None:
                self._kept[number] = list(listed)
        return {**marker_facts(self.grid), **({PYRAMID: pyramid} if pyramid else {})}

    def keep_chunks_apart(self) -> None:
        """Write chunks as files of their own from now on, as a recording does; :meth:`join` ends that."""
        self._apart = True

    def join(self, shard: int, files: Mapping[str, Sequence[Any]]) -> list[Any]:
        """Write a shard from the files of its chunks, delete these, and return its manifest entry.

        A file that is gone leaves zeros of its size in ``files``, which :func:`photon_gpu.verify` reports.
        """
        names = [self.grid.chunk_name(number) for number in self.grid.numbers(shard)]
        apart = [name for name in names if super(OmeZarrStorage, self).exists(f"/{LEVEL}/{name}")]
        if not apart:  # it was joined before
            with suppress(CorruptDataError, FileNotFoundError):
                return self.shard_entry(shard, files)
        pieces = []
        for name in names:
            try:
                pieces.append(self.read(name))
            except FileNotFoundError:
                pieces.append(bytes(files[name][0]))
        self.write_shard(shard, pieces)
        for name in apart:
            super().delete(f"/{LEVEL}/{name}")
        return self.written[self.shard_path(shard)]

    def path(self, name: str) -> str:
        """Return the path of the file that holds this one."""
        if name.startswith("/"):
            return self.root + name
        if (number := chunk_number(name)) is not None:
            name = self.grid.shard_name(number)
        return f"{self.root}/{GROUP_JSON if name == ARRAY else f'{LEVEL}/{_below(name)}'}"

    def stored_name(self, name: str) -> str:
        """Return the name below the root of the file that holds this one, or of the one that lacks it."""
        if name != ARRAY:
            return self.path(name).removeprefix(f"{self.root}/")
        try:
            load(super().read(ARRAY), self.url)
        except (PhotonError, FileNotFoundError):
            return GROUP_JSON
        return ARRAY_JSON

    @property
    def grid(self) -> ShardGrid:
        """The division into shards."""
        grid = self._grid or self._find_grid()
        if grid is None:
            raise CorruptDataError(f"{self.url}: {ARRAY_JSON} is missing or damaged (it states the shards)")
        return grid

    def read(self, name: str) -> bytes:
        """Return the content of a file, as it would be in a folder."""
        if (number := chunk_number(name)) is not None:
            grid = self._grid or self._find_grid()
            if grid is None or number >= grid.chunk_count:
                return self.read_stored(f"{LEVEL}/{name}")
            return self._read_chunk(number)
        if name not in (ARRAY, ATTRIBUTES):
            return super().read(name)
        if name == ARRAY:
            self._check_group()
        return self._texts_in(super().read(ATTRIBUTES))[name]

    def texts_of(self, group: bytes, array: bytes) -> dict[str, bytes]:
        """Return ``.zarray`` and ``.zattrs`` from the bytes of both ``zarr.json``."""
        load(group, self.url)
        return self._texts_in(array)

    def _texts_in(self, array: bytes) -> dict[str, bytes]:
        texts = dict(zip((ARRAY, ATTRIBUTES), folder_files(array, self.url), strict=True))
        writing = self._group or self._trusts_manifest
        if not writing and (grid := grid_of(array, self.url)) != self._grid:
            self._grid, self._indexes = grid, {}
        return texts

    def read_stored(self, name: str) -> bytes:
        """Return the bytes of a file by its name below the root."""
        return super().read(f"/{name}")

    def holds(self, name: str, data: bytes) -> bool:
        """Whether a file holds these bytes; a chunk in memory is compared when its shard is written."""
        number = chunk_number(name)
        if number is None:
            return super().holds(name, data)
        shard = number // self.grid.per_shard
        with self._lock:
            if number in self._pending.get(shard, {}):
                self._read_back.add(number)
                return _same(self._pending[shard][number], data)
        if not _same(self._read_chunk(number), data):
            return False
        with self._lock:
            self._kept[number] = manifest.entry(data)
        self._write_complete(shard)
        return True

    def write(self, name: str, data: bytes, *, listed: bool = True) -> None:
        """Write a file; the last missing chunk of a shard writes the shard."""
        number = chunk_number(name)
        if number is None:
            if name in (ARRAY, ATTRIBUTES):
                self._write_array_json(name, data)
            else:
                super().write(name, data, listed=listed)
            return
        if self._apart:
            super().write(f"/{LEVEL}/{name}", data, listed=listed)
            return
        shard = number // self.grid.per_shard
        with self._lock:
            self._pending.setdefault(shard, {})[number] = bytes(data)  # the caller uses its memory again
        self._write_complete(shard)

    def write_in_order(
        self, files: Sequence[tuple[str, bytes]], others: Callable[[], object] | None = None
    ) -> None:
        """Write the manifest, which lists the shards, then both ``zarr.json``, the group's last."""
        if others is not None:
            others()
        if self._pending:
            raise PhotonError(f"{self.url}: {len(self._pending)} shards lack chunks; nothing was published")
        content = dict(files)
        array = array_json(content[ARRAY], content[ATTRIBUTES], self.grid)
        stored = {GROUP_JSON: self._group, ARRAY_JSON: array}
        self.written |= {name: manifest.entry(data) for name, data in stored.items()}
        index = manifest.read(content[manifest.NAME], self.url)
        texts = {name: content[name] for name in (ATTRIBUTES, ARRAY)}
        for shard in range(self.grid.shard_count):
            if (name := self.shard_path(shard)) not in self.written:
                self.written[name] = self.shard_entry(shard, index.files)
        entries = {name: entry for name, entry in index.files.items() if name not in texts}
        content[manifest.NAME] = manifest.pack(entries, texts, container=self.written, group=self._group)
        for name, data in content.items():
            if name not in texts:
                self.write(name, data)
        super().write(ATTRIBUTES, array)
        super().write(ARRAY, self._group)

    def names(self) -> list[str]:
        """Return the names that the files would have in a folder; chunks as their shards should hold them."""
        stored = super().names()
        if self._grid is None and stored:
            self._find_grid()
        recorded = f"{LEVEL}/{MARKER}" in stored
        names = {name for one in stored for name in self._shown(one, recorded)}
        if recorded and ARRAY not in names and ATTRIBUTES in names and self._is_recording():
            names.add(ARRAY)
        return sorted(names)

    def delete(self, name: str) -> None:
        """Delete a file, or the whole shard of a chunk, and the folders that this leaves empty.

        Of a chunk that is recorded only its own file is deleted.
        """
        if chunk_number(name) is not None:
            super().delete(f"/{LEVEL}/{name}")
            if self._apart or self._grid is None:
                return
        super().delete(name)
        if not self.local:
            return
        for folder in Path(self.path(name)).parents:
            if folder == Path(self.root) or not folder.is_relative_to(self.root):
                return
            try:
                folder.rmdir()
            except OSError:
                return

    def raw_name(self, name: str) -> str:
        """Return the name of the file that holds this one: ``/`` and its path below the root."""
        return self.path(name)[len(self.root) :]

    def raw_names(self) -> list[str]:
        """Return the names under which all files are stored."""
        return [f"/{name}" for name in super().names()]

    def level_names(self, names: Collection[str]) -> set[str]:
        """Return those of these names that are files of the movie's further levels."""
        levels = {name for name in names if name[0] == "/" and is_level_file(name[1:])}
        pyramid = self.pyramid if levels else None
        return {name for name in levels if pyramid is not None and pyramid.holds(name[1:])}

    @property
    def pyramid(self) -> Pyramid | None:
        """Further levels that the group, the marker of a writer, or the manifest names; None without any."""
        sources: dict[str, Callable[[bytes, str], int]] = {
            ARRAY: levels_of_group,
            MARKER: levels_of_marker,
            manifest.NAME: lambda data, url: levels_in(manifest.read(data, url).container),
        }
        count = 0
        for name, levels_of in sources.items():
            with suppress(PhotonError, FileNotFoundError):
                count = max(count, levels_of(super().read(name), self.url))
        grid = self._grid or self._find_grid()
        return Pyramid(grid, count) if count and grid is not None else None

    def index(self, shard: int) -> list[tuple[int, int] | None]:
        """Return offset and size of each chunk of a shard; they are read once."""
        if shard not in self._indexes:
            self._indexes[shard] = self._stored_index(shard)
        return self._indexes[shard]

    def _entry(self, number: int) -> tuple[int, int] | None:
        entries = self.index(number // self.grid.per_shard)
        at = number % self.grid.per_shard
        return entries[at] if at < len(entries) else None

    def trust(self, index: Manifest | None) -> None:
        """Find chunks by their sizes in a manifest, not by the indexes of shards; None ends that."""
        self._indexes, self._trusts_manifest = {}, index is not None
        if index is None:
            return
        grid = shards_of_manifest(index) or self._find_grid()
        if grid is None:
            return
        self._grid = grid
        for shard in self.grid.shards_with(index.files):
            if sizes := self.grid.sizes(shard, index.files):
                self._indexes[shard] = places(sizes)

    def shard_entry(self, shard: int, files: Mapping[str, Sequence[Any]]) -> list[Any]:
        """Return the manifest entry of a stored shard, all of whose bytes are compared with ``files``.

        Raises
        ------
        CorruptDataError
        """
        size, crc = 0, 0
        for number in self.grid.numbers(shard):
            name = self.grid.chunk_name(number)
            data = self._read_chunk(number)
            manifest.check(name, data, {name: list(files[name])} if name in files else {}, self.url)
            size, crc = size + len(data), crc32(data, crc)
        index = pack_index(self.grid.sizes(shard, files), self.grid.per_shard)
        if problem := self.shard_problem(self.shard_path(shard), size + len(index), files):
            raise CorruptDataError(f"{self.url}: {self.shard_path(shard)}: {problem}")
        return [size + len(index), f"{crc32(index, crc):08x}"]

    def _stored_index(self, shard: int) -> list[tuple[int, int] | None]:
        name = self.shard_path(shard)
        data = self._range(name, -self.grid.index_bytes, None)
        return unpack_index(data, self.grid, f"{self.url}/{name}")

    def shard_problem(self, name: str, size: int, files: Mapping[str, Sequence[Any]]) -> str:
        """Compare the index of a shard with the manifest's entries of its chunks; return what differs.

        The bytes of the shard are those of its chunks and of this index, and no others.
        """
        shard = self.grid.shard_of(name.removeprefix(f"{LEVEL}/"))
        if shard is None:
            return "the manifest lists a shard that the movie does not have"
        sizes = self.grid.sizes(shard, files)
        if not sizes or sum(sizes) + self.grid.index_bytes != size:
            return f"it has {size:,} bytes; its chunks and its index have others"
        try:
            stored = self._stored_index(shard)
        except PhotonError as error:
            return str(error)
        expected = unpack_index(pack_index(sizes, self.grid.per_shard), self.grid, name)
        return "" if stored == expected else "its index does not list its chunks back to back"

    def _find_grid(self) -> ShardGrid | None:
        """Return the shards that the metadata state, or the marker of a writer, or the manifest proves."""
        sources: dict[str, Callable[[bytes, str], ShardGrid | None]] = {
            ATTRIBUTES: grid_of,
            MARKER: grid_of_marker,
            manifest.NAME: grid_of_manifest,
        }
        for name, grid_in in sources.items():
            with suppress(PhotonError, FileNotFoundError):
                if (grid := grid_in(super().read(name), self.url)) is not None:
                    self._grid = grid
                    return grid
        return None

    def stored_piece(self, number: int) -> bytes:
        """Return what there is of a chunk in its shard, perhaps too little or nothing."""
        try:
            entry = self._entry(number)
            if entry is None:
                return b""
            return self._range(self.shard_path(number // self.grid.per_shard), entry[0], sum(entry))
        except (PhotonError, FileNotFoundError):
            return b""

    def _read_chunk(self, number: int) -> bytes:
        try:
            return self._from_shard(number)
        except FileNotFoundError:
            with suppress(FileNotFoundError):
                return self.read_stored(f"{LEVEL}/{self.grid.chunk_name(number)}")
            return self._from_shard(number)  # a recording may have joined its shard just now

    def _from_shard(self, number: int) -> bytes:
        grid = self.grid
        if not 0 <= number < grid.chunk_count:
            raise FileNotFoundError(f"{self.url}: no chunk {number}")
        entry, name = self._entry(number), self.shard_path(number // grid.per_shard)
        if entry is None:
            raise FileNotFoundError(f"{self.url}/{name} does not hold chunk {number}")
        offset, size = entry
        if size > LARGEST_FILE or offset >= 1 << 62:
            raise CorruptDataError(
                f"{self.url}/{name}: its index is damaged: it states {size:,} bytes from byte {offset:,} on"
            )
        data = self._range(name, offset, offset + size)
        if len(data) != size:
            raise CorruptDataError(
                f"{self.url}/{name}: the shard is cut off: of {size:,} "
                f"bytes from byte {offset:,} on, {len(data):,} are there"
            )
        return data

    def _check_group(self) -> None:
        """Check that the movie is finished, or a recording that grows."""
        try:
            load(super().read(ARRAY), self.url)
        except FileNotFoundError:
            if not self._is_recording():
                raise

    def _is_recording(self) -> bool:
        with suppress(FileNotFoundError):
            return "recording" in read_marker(self)
        return False

    def _write_array_json(self, name: str, data: bytes) -> None:
        """Write ``zarr.json`` of the array of a recording, once both of its parts are known."""
        if not self._texts:
            with suppress(FileNotFoundError):
                stored = super().read(ATTRIBUTES)
                self._texts = dict(zip((ARRAY, ATTRIBUTES), folder_files(stored, self.url), strict=True))
        self._texts[name] = data
        if len(self._texts) < 2:
            return
        array, attributes = json.loads(self._texts[ARRAY]), json.loads(self._texts[ATTRIBUTES])
        shape, chunks = tuple(array["shape"]), tuple(array["chunks"])
        grid = ShardGrid.recorded(shape, chunks, np.dtype(attributes["original_dtype"]).itemsize)
        before = self._grid or self._find_grid()
        if before is not None and before.chunks == chunks:
            grid = replace(before, shape=shape)
        super().write(ATTRIBUTES, array_json(self._texts[ARRAY], self._texts[ATTRIBUTES], grid))
        self._grid = grid

    def _shown(self, stored: str, recorded: bool) -> list[str]:
        """Names in a folder of what a stored file holds."""
        if stored == GROUP_JSON:
            return [ARRAY]
        folder, slash, name = stored.partition("/")
        if not slash or folder != LEVEL:
            return [f"/{stored}"]
        if stored == ARRAY_JSON:
            return [ATTRIBUTES]
        if self._grid is not None and (shard := self._grid.shard_of(name)) is not None:
            numbers = self._grid.numbers(shard)
            if len(numbers) > _MANY_CHUNKS:  # as many as its index can list, not what metadata state
                numbers = numbers[: self._size(stored) // INDEX_ENTRY_BYTES]
            return [self._grid.chunk_name(number) for number in numbers]
        records = frame_records.chunk_of(name) is not None
        own = records or (recorded if chunk_number(name) is not None else "/" not in name)
        return [name if own else f"/{stored}"]

    def _size(self, name: str) -> int:
        """Size of a file by its name below the root; 0 if it is gone."""
        try:
            with store_errors(lambda: f"looking for {self.url}/{name}", self.store):
                return int(self.fs.size(f"{self.root}/{name}") or 0)
        except FileNotFoundError:
            return 0

    def shard_path(self, shard: int) -> str:
        """Return the name of a shard below the root."""
        return f"{LEVEL}/{self.grid.shard_name(shard * self.grid.per_shard)}"

    def _range(self, name: str, start: int, end: int | None) -> bytes:
        """Return a range of the bytes of a file, of which a negative start counts from the end."""
        path = f"{self.root}/{name}"
        if not self.local:
            return self._remote_range(name, start, end)
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            first = max(0, size + start) if start < 0 else start
            last = size if end is None else min(end, size)
            file.seek(first)
            parts = []
            while first < last and (part := file.read(last - first)):
                parts.append(part)
                first += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _remote_range(self, name: str, start: int, end: int | None) -> bytes:
        with store_errors(lambda: f"reading {self.url}/{name}", self.store):
            return bytes(self.fs.cat_file(f"{self.root}/{name}", start=start, end=end))

    def _write_complete(self, shard: int) -> None:
        """Write a shard if chunks of it are in memory, and all others are in the stored shard."""
        with self._lock:
            pieces, numbers = self._pending.get(shard, {}), self.grid.numbers(shard)
            if not pieces or shard in self._complete or any(n not in pieces | self._kept for n in numbers):
                return
            self._complete.add(shard)
        whole = [pieces[n] if n in pieces else self._kept_chunk(n) for n in numbers]
        self.write_shard(shard, whole)
        with self._lock:
            compare = self._read_back & pieces.keys()
        for number in sorted(compare):
            if self._read_chunk(number) != pieces[number]:
                raise CorruptDataError(
                    f"{self.url}: {self.shard_path(shard)} reads back other bytes of chunk {number} than "
                    "were written; the disk or the store altered them: nothing was kept"
                )
        with self._lock:
            self._pending.pop(shard, None)
            self._read_back -= compare
            self._complete.discard(shard)

    def _kept_chunk(self, number: int) -> bytes:
        data, name = self._read_chunk(number), self.grid.chunk_name(number)
        manifest.check(name, data, {name: self._kept[number]}, self.url)
        return data

    def write_shard(self, shard: int, pieces: Sequence[bytes]) -> None:
        """Write or replace a shard that consists of these chunks."""
        self.write_container(
            self.shard_path(shard), *pieces, pack_index([len(piece) for piece in pieces], self.grid.per_shard)
        )
        with self._lock:
            self._indexes.pop(shard, None)

    def write_container(self, name: str, *parts: bytes) -> None:
        """Write or replace a file by its path below the group, and note its manifest entry."""
        crc = 0
        for part in parts:
            crc = crc32(part, crc)
        path = f"{self.root}/{name}"
        if self.local:
            durable.write_file(path, *parts)
        else:
            with store_errors(lambda: f"writing {self.url}/{name}", self.store):
                options = {} if name.endswith("zarr.json") else self.write_options
                self.fs.pipe_file(path, b"".join(parts), **options)
        with self._lock:
            self.written[name] = [sum(map(len, parts)), f"{crc:08x}"]


def movie_storage(
    url: str | os.PathLike[str] | Storage, storage_options: dict[str, Any] | None = None
) -> Storage:
    """Return the files of a stored movie in either container.

    A name that ends in ``.ome.zarr`` is that of the container ``ome-zarr``, unless a folder is there. So is
    the name of its array, ``movie.ome.zarr/0``, which other tools take.
    """
    return movie_storage_and_texts(url, storage_options)[0]


def movie_storage_and_texts(
    url: str | os.PathLike[str] | Storage, storage_options: dict[str, Any] | None = None
) -> tuple[Storage, dict[str, bytes]]:
    """Return what :func:`movie_storage` does, and ``.zarray`` and ``.zattrs`` if finding it read them.

    Of an object store they are read, since to ask whether they exist takes as many requests.
    """
    storage = Storage.at(url, storage_options)
    if isinstance(url, Storage):
        return url, {}
    array = f"/{LEVEL}"
    if storage.root.endswith(SUFFIX + array) and not storage.exists(ARRAY):
        storage = storage.at_root(storage.root.removesuffix(array))
        return _again(storage.fs, storage.root, storage.write_options, storage.store), {}
    image = _again(storage.fs, storage.root, storage.write_options, storage.store)
    if storage.local:
        whole = all(Path(storage.root, name).is_file() for name in (GROUP_JSON, ARRAY_JSON))
        if whole or (storage.root.endswith(SUFFIX) and not storage.exists(ARRAY)):
            return image, {}
        return storage, {}
    if not storage.root.endswith(SUFFIX):
        return storage, {}
    with suppress(PhotonError, FileNotFoundError):  # whoever reads it reports what is wrong
        return image, image.texts_of(storage.read(GROUP_JSON), storage.read(ARRAY_JSON))
    return (storage if storage.exists(ARRAY) else image), {}


def in_container(storage: Storage, container: str | None) -> Storage:
    """Return a destination in a container; None takes the one that its name implies.

    Raises
    ------
    InvalidInputError
        There is no such container, or the name does not end in ``.ome.zarr``.
    """
    if container is not None and not (isinstance(container, str) and container in CONTAINERS):
        raise InvalidInputError(f"container is {container!r}; 'folder' and 'ome-zarr' are possible")
    if container == "ome-zarr" and not storage.root.endswith(SUFFIX):
        raise InvalidInputError(
            f"{storage.url}: the name of an OME-Zarr movie ends in {SUFFIX}; give such a name"
        )
    if container == "folder" or not storage.root.endswith(SUFFIX):
        return storage
    return _again(storage.fs, storage.root, storage.write_options, storage.store)


def recorded(storage: Storage) -> Storage:
    """Return the files of a movie that is recorded: chunks lie apart until their shard is full."""
    if isinstance(storage, OmeZarrStorage):
        storage.keep_chunks_apart()
    return storage


def _same(one: bytes, other: bytes | memoryview) -> bool:
    """Compare bytes as arrays, which is much faster than comparing them with a memoryview."""
    return np.array_equal(np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8))


def _below(name: str) -> str:
    return "zarr.json" if name == ATTRIBUTES else name


def _again(
    fs: Any, root: str, write_options: dict[str, Any], store: str, grid: ShardGrid | None = None
) -> OmeZarrStorage:
    storage = OmeZarrStorage(fs, root, write_options=write_options, store=store)
    storage._grid = grid
    return storage
