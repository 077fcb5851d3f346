"""Repair the shards of an OME-Zarr movie and its two ``zarr.json``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from photon_gpu.errors import PhotonError
from photon_gpu.store import manifest
from photon_gpu.store.chunk_grid import chunk_number
from photon_gpu.store.manifest import Manifest
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES, Description
from photon_gpu.store.ome_zarr.averages import Averages
from photon_gpu.store.ome_zarr.metadata import array_json
from photon_gpu.store.ome_zarr.pyramid_levels import shards_with
from photon_gpu.store.ome_zarr.zarr2_view import ARRAY_JSON, GROUP_JSON, LEVEL, OmeZarrStorage


def stored_metadata(storage: OmeZarrStorage, index: Manifest) -> dict[str, bytes]:
    """Return those ``zarr.json`` that differ from the manifest, byte for byte as it says.

    What no copy in the manifest proves is left out.
    """
    expected: dict[str, bytes] = {}
    copies = {name: text.encode() for name, text in index.copies.items()}
    if GROUP_JSON in copies:
        expected[GROUP_JSON] = copies[GROUP_JSON]
    with suppress(PhotonError, KeyError, ValueError, TypeError):  # copies of a store in another container
        expected[ARRAY_JSON] = array_json(copies[ARRAY], copies[ATTRIBUTES], storage.grid)
    return {
        name: data
        for name, data in sorted(expected.items())
        if manifest.entry(data) == index.container.get(name) and not _holds(storage, name, data)
    }


class ShardRepair:
    """Collects restored chunks of an OME-Zarr movie, and writes their shards.

    Parameters
    ----------
    storage : OmeZarrStorage
    index : Manifest or None
    """

    def __init__(self, storage: OmeZarrStorage, index: Manifest | None) -> None:
        self.storage, self.index = storage, index
        self._chunks: dict[int, bytes] = {}

    def add(self, name: str, data: bytes) -> None:
        """Keep the content of a restored chunk."""
        self._chunks[chunk_number(name) or 0] = data

    def write(self, damaged: set[str]) -> list[str]:
        """Write the shards of the restored chunks and those named ``damaged``; return their names.

        A chunk that nobody restored keeps its bytes. Where they are gone, zeros fill its place, so that the
        other chunks lie where the manifest says. A shard without any whole chunk is left as it is.
        """
        grid, written = self.storage.grid, []
        listed = self.index.files if self.index is not None else {}
        named = (grid.shard_of(name.removeprefix(f"{LEVEL}/")) for name in damaged)
        restored = {number // grid.per_shard for number in self._chunks}
        for shard in sorted(restored.union(shard for shard in named if shard is not None)):
            numbers, name = grid.numbers(shard), self.storage.shard_path(shard)
            pieces, whole = [], 0
            for number in numbers:
                piece, entry = self._chunks.get(number), listed.get(grid.chunk_name(number))
                whole += piece is not None
                if piece is None:
                    piece = self.storage.stored_piece(number)
                    whole += manifest.entry(piece) == entry
                    piece += bytes(max(0, entry[0] - len(piece)) if entry else 0)
                pieces.append(piece)
            if whole:
                self.storage.write_shard(shard, pieces)
                written.append(name)
        self._chunks.clear()
        return written


class LevelRepair:
    """Averages damaged files of pyramid levels again.

    Parameters
    ----------
    storage : OmeZarrStorage
        Its chunks are repaired already.
    description : Description
    files : dict or None
        Manifest entries of the chunks; None if no manifest is left.
    container : dict
        Manifest entries of the levels.
    """

    def __init__(
        self,
        storage: OmeZarrStorage,
        description: Description,
        files: Mapping[str, Any] | None,
        container: Mapping[str, Any],
    ) -> None:
        self.storage, self._container, self._every = storage, container, files is None
        self._pyramid = storage.pyramid
        self._averages = (
            None if self._pyramid is None else Averages(storage, description, self._pyramid, files)
        )
        self.changed = False
        """Whether a file got other bytes than the manifest lists."""

    def write(self, damaged: set[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Write those of these files that belong to levels; return what was restored, and what was left.

        Without a manifest every level is compared with the chunks.
        """
        restored: list[tuple[str, str]] = []
        left: list[tuple[str, str]] = []
        if self._averages is None or self._pyramid is None:
            return restored, left
        every = self._every
        shards = range(self._pyramid.base.shard_count) if every else shards_with(self._pyramid, damaged)
        texts = self._averages.metadata()
        parts = [texts] if every or texts.keys() & damaged else []
        for made in itertools.chain(parts, map(self._shard, shards)):
            for name, data in made.items():
                if not (every or name in damaged) or _holds(self.storage, name, data):
                    continue
                if not data:
                    left.append((name, "the frames that it is averaged from are damaged"))
                    continue
                same = manifest.entry(data) == self._container.get(name)
                self.changed |= not same
                self.storage.write_container(name, data)
                restored.append(
                    (name, f"averaged again{', byte for byte as the manifest says' if same else ''}")
                )
        return restored, left

    def _shard(self, number: int) -> dict[str, bytes]:
        """Return the shards of this number by name; empty ones if a chunk of theirs is damaged."""
        assert self._averages is not None and self._pyramid is not None
        try:
            return self._averages.shard(number)
        except (PhotonError, FileNotFoundError):
            return dict.fromkeys(self._pyramid.files_of(number), b"")


def container_entries(storage: OmeZarrStorage, files: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the entries of shards and ``zarr.json`` for a manifest that lists these chunks."""
    shards = {
        storage.shard_path(shard): storage.shard_entry(shard, files)
        for shard in range(storage.grid.shard_count)
    }
    levels = sorted(name[1:] for name in storage.level_names(storage.names()))
    texts = {name: manifest.entry(storage.read_stored(name)) for name in (ARRAY_JSON, GROUP_JSON, *levels)}
    return {**shards, **texts}


def _holds(storage: OmeZarrStorage, name: str, data: bytes) -> bool:
    try:
        return storage.read_stored(name) == data
    except FileNotFoundError:
        return False
