"""Repair a damaged movie from its own manifest and from its source.

Only files that verification found damaged are written. A restored file is either byte for byte as the
manifest says, or its source was compared with all undamaged chunks. In the second case the damaged content is
kept beside the movie. Nothing is deleted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.integrity.ome_zarr_shard_repair import (
    LevelRepair,
    ShardRepair,
    container_entries,
    stored_metadata,
)
from photon_gpu.check.integrity.result import Problem, Verification
from photon_gpu.check.integrity.verify import Check, verify
from photon_gpu.encode_settings import progress_call
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonError
from photon_gpu.progress_bar import Progress
from photon_gpu.sources.base import Source
from photon_gpu.sources.open import open_source
from photon_gpu.sources.select.open_options import SourceOptions
from photon_gpu.store import frame_records, manifest, source_metadata
from photon_gpu.store.check_without_manifest import decode_whole, proves_itself
from photon_gpu.store.chunk_grid import chunk_number
from photon_gpu.store.manifest import Manifest
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES, Description
from photon_gpu.store.ome_zarr.zarr2_view import ARRAY_JSON, GROUP_JSON, OmeZarrStorage, movie_storage
from photon_gpu.store.owned_files import DECODER, decoder_program
from photon_gpu.store.storage import Storage

_WITNESSES = 8
MOST_DAMAGED = 1_000_000
"""Chunks of one gap that are named one by one."""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Result of :func:`photon_gpu.repair`.

    Attributes
    ----------
    before, after : Verification
    restored : tuple of (str, str)
        File, and how it was restored.
    left : tuple of (str, str)
        File, and why it was left as it is.
    kept : str or None
        Folder of the damaged content of files that were not restored byte for byte.
    """

    before: Verification
    after: Verification
    restored: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...]
    kept: str | None

    @property
    def ok(self) -> bool:
        """Whether the movie is whole after the repair."""
        return self.after.ok

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values, which ``--json`` prints."""
        return {
            "ok": self.ok,
            "restored": [{"name": name, "how": how} for name, how in self.restored],
            "left": [{"name": name, "why": why} for name, why in self.left],
            "kept": self.kept,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }

    def __str__(self) -> str:
        lines = [f"restored    {name}: {how}" for name, how in self.restored]
        lines += [f"left as is  {name}: {why}" for name, why in self.left]
        if self.kept:
            lines.append(f"kept        the damaged files, at {self.kept}")
        return "\n".join([*(lines or ["nothing to restore"]), "", str(self.after)])


def repair(
    url: str | os.PathLike[str] | Storage,
    source: Any = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    storage_options: dict[str, Any] | None = None,
    **source_options: Unpack[SourceOptions],
) -> Repair:
    """Repair a movie from the manifest's copies and its source; leave and name the rest.

    Parameters
    ----------
    url : str, path or Storage
        Folder of the damaged movie.
    source : array, path, URL or Source, optional
        Source that the movie was encoded from. Without it only metadata can be restored, and a lost manifest
        only for chunks with checksums and numbers of their own (since formats 1.3, 2.4 and 3.2).
    workers : int, optional
        Threads for the verification before and after.
    progress : callable, optional
        ``progress(chunks_done, chunks_in_all)`` for the chunks encoded again or compared.
    storage_options : dict, optional
        For fsspec.
    **source_options
        Options of :func:`photon_gpu.open_source` that the movie was encoded with.

    Returns
    -------
    Repair

    Raises
    ------
    InvalidInputError
        The source has another shape or dtype than the movie.
    StoreNotFoundError
        There is no movie, and no remains of one.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> counts = np.random.default_rng(0).poisson(9.0, (30, 16, 16)).astype("uint16")
    >>> options = {"noise": pg.NoiseModel(), "chunk_frames": 10, "overwrite": True}
    >>> report = pg.encode(counts, "memory://repaired.zarr", **options)
    >>> pg.Storage.at("memory://repaired.zarr").write("1.0.0", b"damaged")
    >>> fixed = pg.repair("memory://repaired.zarr", counts)
    >>> fixed.ok, fixed.restored
    (True, (('1.0.0', 'encoded again, byte for byte as the manifest says'),))
    """
    progress = progress_call(progress)
    storage = movie_storage(url, storage_options)
    before = verify(storage, workers=workers)
    movie = None if source is None else open_source(source, **source_options)
    try:
        work = _Work(storage, before, movie, progress)
        if not before.ok:
            work.run()
        if isinstance(storage, OmeZarrStorage):
            storage.trust(None)
        after = verify(storage, workers=workers) if work.restored else before
    finally:
        if movie is not None and movie is not source:
            movie.close()
    return Repair(
        before=before,
        after=after,
        restored=tuple(work.restored),
        left=tuple(work.left),
        kept=work.damaged_copies.url if work.kept else None,
    )


class _Work:
    def __init__(
        self, storage: Storage, before: Verification, movie: Source | None, progress: Progress | None
    ) -> None:
        self.storage, self.before, self.movie, self.progress = storage, before, movie, progress
        self.restored: list[tuple[str, str]] = []
        self.left: list[tuple[str, str]] = []
        damaged_root = storage.sibling("damaged").root
        self.damaged_copies = Storage(  # a folder, whatever the container is
            storage.fs, damaged_root, write_options=storage.write_options, store=storage.store
        )
        self.problems: tuple[Problem, ...] = before.problems
        self.shards: ShardRepair | None = None
        self.kept = False
        self.index: Manifest | None = None
        self.done = 0
        self.compared = False
        self.refused = (
            "nothing proves that its chunks are whole and in their places: give the source of the movie"
        )

    def run(self) -> None:
        check = Check(self.storage)
        check.read_metadata()
        self.index, description = check.index, check.description
        if isinstance(self.storage, OmeZarrStorage):
            self.shards = ShardRepair(self.storage, self.index)
            if self.index is not None:  # Chunks may be whole although the index of their shard is not.
                self.storage.trust(self.index)
                self.problems = verify(self.storage).problems
        bad = {problem.name for problem in self.problems}
        texts = self._metadata(bad)
        damaged: set[int] = set()
        why = "the metadata that describe the movie cannot be restored: encode the source again"
        if description is not None:
            self._fits(description)
            damaged = self._damaged(description)
            why = "only the source it was encoded from can restore it, and none was given"
            new: dict[str, list[Any]] = {}
            # Without a manifest a chunk that decodes may still be altered, so every chunk is compared.
            if self.movie is not None and (damaged or self.index is None):
                new = self._chunks(description, damaged)
            if self.shards is not None:
                for name in self.shards.write(bad):
                    self.restored.append((name, "written again with its chunks and its index"))
            self._source_metadata(bad)
            self._decoder(bad)
            for name in texts:  # .zattrs before .zarray: a movie that opens is complete.
                self._write(name, texts[name], "from its copy in the manifest")
            self._manifest(bad, new, damaged, description)
        self._account(description, damaged, why)

    def _account(self, description: Description | None, damaged: set[int], why: str) -> None:
        """Record every problem that was not repaired, and why."""
        listed = {name for name, _ in [*self.restored, *self.left]}
        if listed & {ARRAY_JSON, GROUP_JSON}:  # These hold both files.
            listed |= {ARRAY, ATTRIBUTES}
        for number in sorted(damaged):
            if description is not None and (name := description.chunk_name(number)) not in listed:
                self.left.append((name, why))
        for problem in self.problems:
            if problem.kind in ("extra", "unfinished"):
                self.left.append((problem.name, f"{problem.detail}; delete it by hand if nobody needs it"))
            elif problem.kind in ("lost", "failing"):
                self.left.append(
                    (problem.name, f"{problem.detail}: nothing is damaged, encode the source again")
                )
            elif problem.name not in listed and not (problem.frames and damaged):
                self.left.append((problem.name, why))

    def _metadata(self, bad: set[str]) -> dict[str, bytes]:
        """Return the metadata files that a copy in the manifest can restore."""
        texts = {}
        if isinstance(self.storage, OmeZarrStorage):
            texts = stored_metadata(self.storage, self.index) if self.index is not None else {}
            if bad & {ARRAY_JSON, GROUP_JSON, ARRAY, ATTRIBUTES} and not texts:
                self.left.append((GROUP_JSON, "no manifest holds a copy of it: encode the source again"))
            return texts
        for name in (ATTRIBUTES, ARRAY):
            copy = self.index.copies.get(name) if self.index else None
            if name not in bad:
                continue
            if (
                copy is None
                or self.index is None
                or manifest.entry(copy.encode()) != self.index.files.get(name)
            ):
                self.left.append((name, "no manifest holds a copy of it: encode the source again"))
            else:
                texts[name] = copy.encode()
        return texts

    def _damaged(self, description: Description) -> set[int]:
        """Return the numbers of the damaged chunks."""
        numbers: set[int] = set()
        for problem in self.problems:
            if problem.frames and not problem.every_frame and problem.kind != "lost":
                first, last = problem.frames
                if (last - first) // description.chunks[0] > MOST_DAMAGED:
                    raise CorruptDataError(
                        f"{self.storage.url}: chunks of frames {first:,} to {last:,} are missing; a movie "
                        f"that lacks more than {MOST_DAMAGED:,} chunks is not repaired: encode it again"
                    )
                numbers |= set(range(first // description.chunks[0], last // description.chunks[0] + 1))
        return numbers

    def _fits(self, description: Description) -> None:
        if self.movie is None:
            return
        if self.movie.shape != description.shape or self.movie.dtype.name != description.encoding.dtype:
            raise InvalidInputError(
                f"{self.movie.name} is {self.movie.dtype.name} of shape {self.movie.shape}; the movie was "
                f"{description.encoding.dtype} of shape {description.shape}. Give the recording that it was "
                f"encoded from; nothing was written"
            )

    def _chunks(self, description: Description, damaged: set[int]) -> dict[str, list[Any]]:
        """Encode damaged chunks again and return their new manifest entries."""
        pending: dict[int, bytes] = {}
        whole = [n for n in range(description.chunk_count) if n not in damaged]
        witnesses = whole if self.index is None else whole[:: max(1, len(whole) // _WITNESSES)]
        total = len(damaged) + len(witnesses)
        for number in sorted(damaged):
            data = self._encode(number, description)
            name = description.chunk_name(number)
            if self.index is not None and manifest.entry(data) == self.index.files.get(name):
                self._write(name, data, "encoded again, byte for byte as the manifest says")
            else:
                pending[number] = data
            self._tick(total)
        if not pending and self.index is not None:
            return {}
        compared = {n: self._differs(n, description, total) for n in witnesses}
        differing = {n: data for n, data in compared.items() if data is not None}
        agreeing = len(witnesses) - len(differing)
        if agreeing == 0 or 2 * len(differing) > len(witnesses) or (self.index is not None and differing):
            why = (
                f"of {len(witnesses)} whole chunks {len(differing)} differ from this source"
                if witnesses
                else "no chunk is whole that could prove that this source is the movie"
            )
            self.refused = why
            for number in sorted(pending):
                self.left.append((description.chunk_name(number), f"{why}; nothing was written for it"))
            return {}
        self.compared = True
        proof = f"encoded again; {agreeing} whole chunks agree with this source"
        for number, data in sorted({**pending, **differing}.items()):
            self._write(description.chunk_name(number), data, proof, keep=True)
        return {description.chunk_name(n): manifest.entry(data) for n, data in pending.items()}

    def _encode(self, number: int, description: Description) -> bytes:
        assert self.movie is not None
        frames = description.frames_of(number)
        values = self.movie.read(frames.start, frames.stop)
        layout = layout_for(description.encoding, get_backend())
        return layout.encode(values, description.chunks, Resources(), frames.start)

    def _differs(self, number: int, description: Description, total: int) -> bytes | None:
        """Return the chunk encoded from the source if the stored one decodes to other values, else None."""
        data = self._encode(number, description)
        stored = self.storage.read(description.chunk_name(number))
        self._tick(total)
        if stored == data:
            return None
        try:
            values = decode_whole(stored, number, description)
        except PhotonError:
            return data
        return None if _equal(values, decode_whole(data, number, description)) else data

    def _manifest(
        self, bad: set[str], new: dict[str, list[Any]], damaged: set[int], description: Description
    ) -> None:
        """Write damaged levels, and the manifest if it is damaged, or if chunks or levels got other bytes."""
        if self.index is not None:
            levels_changed = self._levels(bad, {**self.index.files, **new}, description)
        if manifest.NAME not in bad:
            if self.index is not None and (new or levels_changed):
                what = "chunks encoded again" if new else "levels averaged again"
                self._index({**self.index.files, **new}, f"with the {what}")
            return
        restored = {name for name, _ in self.restored}
        if any(description.chunk_name(n) not in restored for n in damaged):
            self.left.append(
                (manifest.NAME, "chunks are damaged, and a manifest must only list whole chunks")
            )
            return
        entries: dict[str, list[Any]] = {}
        for number in range(description.chunk_count):
            name = description.chunk_name(number)
            data = self.storage.read(name)
            if not self.compared and not proves_itself(data, number, description):
                self.left.append((manifest.NAME, self.refused))
                return
            entries[name] = manifest.entry(data)
        proof = "equals the source" if self.compared else "shows by itself that it is whole and in its place"
        entries.update(self._records(description))
        self._levels(bad, None, description)
        self._index(entries, f"made anew from the files: every chunk {proof}")

    def _levels(self, bad: set[str], files: dict[str, list[Any]] | None, description: Description) -> bool:
        """Average damaged levels again; return whether a file got other bytes than the manifest lists."""
        if not isinstance(self.storage, OmeZarrStorage):
            return False
        container = {} if self.index is None else self.index.container
        levels = LevelRepair(self.storage, description, files, container)
        restored, left = levels.write(bad)
        self.restored += restored
        self.left += left
        return levels.changed

    def _source_metadata(self, bad: set[str]) -> None:
        """Restore the source's metadata from the source, where that gives the bytes that were written."""
        name = source_metadata.NAME
        if name not in bad or self.movie is None or self.index is None:
            return
        data = source_metadata.pack(source_metadata.of_source(self.movie))
        if data is not None and manifest.entry(data) == self.index.files.get(name):
            self._write(name, data, "read again, byte for byte as the manifest says")
        else:
            self.left.append((name, "the metadata of this source are not those that were stored"))

    def _decoder(self, bad: set[str]) -> None:
        """Restore the decoder that was stored with the movie, where this release has the same."""
        if DECODER not in bad or self.index is None:
            return
        data = decoder_program()
        if manifest.entry(data) == self.index.files.get(DECODER):
            self._write(DECODER, data, "the decoder of this release, byte for byte as the manifest says")
        else:
            self.left.append((DECODER, "another release stored a different decoder; no frame needs it"))

    def _records(self, description: Description) -> dict[str, list[Any]]:
        """Return the entries of this movie's frame records; files of other movies are left out."""
        there, entries = set(self.storage.names()), {}
        if source_metadata.NAME in there:
            data = self.storage.read(source_metadata.NAME)
            try:
                source_metadata.unpack(data, self.storage.url)
                entries[source_metadata.NAME] = manifest.entry(data)
            except PhotonError as error:
                self.left.append((source_metadata.NAME, f"not listed: {error}"))
        if DECODER in there and (data := self.storage.read(DECODER)) == decoder_program():
            entries[DECODER] = manifest.entry(data)
        for number in range(description.chunk_count):
            name = frame_records.file_name(number)
            if name not in there:
                continue
            data = self.storage.read(name)
            try:
                frame_records.unpack(data, description.frames_of(number), self.storage.url)
            except PhotonError as error:
                self.left.append((name, f"not listed: {error}"))
                continue
            entries[name] = manifest.entry(data)
        return entries

    def _index(self, files: dict[str, list[Any]], how: str) -> None:
        copies = {name: self.storage.read(name) for name in (ATTRIBUTES, ARRAY)}
        chunks = {name: entry for name, entry in files.items() if name not in copies}
        group, container = b"", {}
        if isinstance(self.storage, OmeZarrStorage):
            self.storage.trust(None)
            group, container = self.storage.read_stored(GROUP_JSON), container_entries(self.storage, files)
        data = manifest.pack(chunks, copies, container=container, group=group)
        self._write(manifest.NAME, data, how, keep=True)

    def _write(self, name: str, data: bytes, how: str, *, keep: bool = False) -> None:
        if keep and self.storage.exists(name):
            old = self._stored(name)
            if old != data:
                self.damaged_copies.write(name, old)
                self.kept = True
        if self.shards is not None and chunk_number(name) is not None:
            self.shards.add(name, data)
        else:
            self.storage.write(f"/{name}" if name in (ARRAY_JSON, GROUP_JSON) else name, data)
        self.restored.append((name, how))

    def _stored(self, name: str) -> bytes:
        number = chunk_number(name)
        if isinstance(self.storage, OmeZarrStorage) and number is not None:
            return self.storage.stored_piece(number)
        return self.storage.read(name)

    def _tick(self, total: int) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, total)


def _equal(one: NDArray, two: NDArray) -> bool:
    return bool(np.array_equal(one, two, equal_nan=one.dtype.kind == "f"))


__all__ = ["Repair", "repair"]
