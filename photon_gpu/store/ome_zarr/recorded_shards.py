"""Record an OME-Zarr movie: chunks lie as files of their own until their shard is full."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from photon_gpu.engine.runtime.pool import Pool, worker_count
from photon_gpu.errors import CorruptDataError, PhotonWarning
from photon_gpu.store import manifest, source_metadata
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES, describe
from photon_gpu.store.ome_zarr.averages import Averages
from photon_gpu.store.ome_zarr.metadata import array_json, group_json, ome_axes
from photon_gpu.store.ome_zarr.zarr2_view import ARRAY_JSON, GROUP_JSON, SUFFIX, OmeZarrStorage
from photon_gpu.store.storage import Storage

Entries = Mapping[str, Sequence[Any]]


class RecordedShards:
    """Moves the chunks of a recording into shards, and writes what only a finished movie has.

    A movie in a folder has no shards: then nothing but the manifest is made.

    Parameters
    ----------
    storage : Storage
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._joined: dict[str, list[Any]] = {}
        self._levels: dict[str, list[Any]] = {}
        self._level_count = 0
        self._lock = threading.Lock()

    def join(self, files: Entries, *, last: bool = False) -> None:
        """Write the shards that are full, or the ``last`` one too, and delete the files of their chunks.

        Parameters
        ----------
        files : dict
            Manifest entries of the published chunks.
        """
        storage = self._storage
        if not isinstance(storage, OmeZarrStorage):
            return
        with self._lock:  # the thread that publishes may still join while the movie is finished
            grid = storage.grid
            for shard in range(len(self._joined), grid.shard_count):
                if not last and grid.chunk_count < (shard + 1) * grid.per_shard:
                    return
                self._joined[storage.shard_path(shard)] = storage.join(shard, files)

    def add_levels(self, files: Entries, texts: Mapping[str, bytes]) -> None:
        """Average the chunks for the levels that the marker of the recording states, and write these.

        A movie with a damaged chunk gets no levels, and a PhotonWarning says so.
        """
        storage = self._storage
        if not isinstance(storage, OmeZarrStorage) or (pyramid := storage.pyramid) is None:
            return
        description = describe(texts[ARRAY], texts[ATTRIBUTES], storage.url)
        averages, written = Averages(storage, description, pyramid, files), list[str]()
        try:
            with Pool("photon-average", worker_count(None)) as pool:
                for shard in range(storage.grid.shard_count):
                    for name, data in averages.shard(shard, pool.map).items():
                        storage.write_container(name, data)
                        written.append(name)
        except (CorruptDataError, FileNotFoundError) as error:
            for name in storage.level_names(storage.names()):
                storage.delete(name)
            message = f"{storage.url}: no pyramid levels were added, since a chunk is damaged: {error}"
            warnings.warn(message, PhotonWarning, stacklevel=2)
            return
        for name, data in averages.metadata().items():
            storage.write_container(name, data)
            written.append(name)
        self._levels = {name: storage.written[name] for name in written}
        self._level_count = pyramid.count

    def manifest(self, files: dict[str, list[Any]], texts: dict[str, bytes]) -> bytes:
        """Return the manifest of the finished movie, whose shards are joined."""
        storage = self._storage
        if not isinstance(storage, OmeZarrStorage):
            return manifest.pack(files, texts)
        group = self._group(texts)
        array = array_json(texts[ARRAY], texts[ATTRIBUTES], storage.grid)
        stored = {ARRAY_JSON: manifest.entry(array), GROUP_JSON: manifest.entry(group)}
        container = {**self._joined, **self._levels, **stored}
        return manifest.pack(files, texts, container=container, group=group)

    def finish(self, texts: dict[str, bytes]) -> None:
        """Write ``zarr.json`` of the group, the last file of the movie."""
        if isinstance(self._storage, OmeZarrStorage):
            self._storage.write(f"/{GROUP_JSON}", self._group(texts))

    def _group(self, texts: dict[str, bytes]) -> bytes:
        recording = source_metadata.described(json.loads(texts[ATTRIBUTES]))
        axes = ome_axes(recording, len(json.loads(texts[ARRAY])["shape"]))
        name = self._storage.root.split("/")[-1].removesuffix(SUFFIX)
        return group_json(name, axes, recording, pyramid=self._level_count)
