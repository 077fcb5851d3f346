"""Verify a stored movie: find every altered or missing file, and name the lost frames.

With a manifest every file is compared with its size and checksum; without one, or with
``deep``, every chunk is decoded. Nothing is changed; see :func:`photon_gpu.repair`.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable
from typing import Any

from photon_gpu.check.integrity.ome_zarr_container import container_problems, named_as_stored
from photon_gpu.check.integrity.result import Problem, Verification, failing, salvaged
from photon_gpu.encode_settings import bounded_number, flag, progress_call
from photon_gpu.engine.codec.encoding import Encoding, filter_config
from photon_gpu.engine.codec.header import MisplacedChunkError
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.runtime.pool import Pool, worker_count
from photon_gpu.errors import PhotonError, StoreNotFoundError
from photon_gpu.progress_bar import Progress
from photon_gpu.sources.truncated_file import truncation_note
from photon_gpu.store import frame_records, manifest, metadata, source_metadata
from photon_gpu.store.check_without_manifest import decode_whole
from photon_gpu.store.chunk_grid import chunk_number
from photon_gpu.store.claim import MARKER
from photon_gpu.store.manifest import Manifest
from photon_gpu.store.metadata import ARRAY, ATTRIBUTES, Description
from photon_gpu.store.ome_zarr.zarr2_view import movie_storage
from photon_gpu.store.overwrite import left_behind_text
from photon_gpu.store.owned_files import DECODER, decoder_of
from photon_gpu.store.storage import Storage

BUDGET_BYTES = 512 << 20
_REMOTE_READS = 16


def verify(
    url: str | os.PathLike[str] | Storage,
    *,
    deep: bool = False,
    workers: int | None = None,
    budget_bytes: int = BUDGET_BYTES,
    progress: Progress | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Verification:
    """Check every file of a movie and name the lost frames.

    Parameters
    ----------
    url : str, path or Storage
        Folder of the movie, any layout, any fsspec URL.
    deep : bool
        Also decode every chunk, even if there is a manifest.
    workers : int, optional
        Files read at once. Default: one per core, or 16 from a remote store.
    budget_bytes : int
        Memory for the files read at once.
    progress : callable, optional
        ``progress(files_done, files_in_all)``.
    storage_options : dict, optional
        For fsspec.

    Returns
    -------
    Verification
        ``ok``, ``problems``, ``lost``.

    Raises
    ------
    StoreNotFoundError
        There is no movie, and no remains of one.

    Notes
    -----
    A CRC-32 detects every change within 32 neighbouring bits, and misses another change with a probability of
    1 in 4e9. Every chunk also has a checksum of its own, its number and the identity of its movie (since
    format 1.3, 2.4 and 3.2), so a lost manifest hides no change. Chunks of earlier movies lack the number,
    and those of layouts ``plain`` and ``lossless`` the checksum, too.

    Examples
    --------
    >>> import numpy as np, photon_gpu as pg
    >>> counts = np.random.default_rng(0).poisson(9.0, (30, 16, 16)).astype("uint16")
    >>> settings = {"noise": pg.NoiseModel(gain=1.0), "chunk_frames": 10}
    >>> report = pg.encode(counts, "memory://verified.zarr", overwrite=True, **settings)
    >>> pg.verify("memory://verified.zarr").ok
    True
    >>> pg.Storage.at("memory://verified.zarr").delete("1.0.0")
    >>> pg.verify("memory://verified.zarr").lost
    ((10, 19),)
    """
    budget_bytes = int(bounded_number("budget_bytes", budget_bytes, 1, 1e18))
    progress = progress_call(progress)
    flag("deep", deep)
    storage = movie_storage(url, storage_options)
    start = time.perf_counter()
    check = Check(storage)
    names = check.read_metadata()
    decode = deep or check.index is None
    threads = check.threads(workers, budget_bytes, decode)
    done = 0
    with Pool("photon-verify", threads) as pool:
        for checked in [pool.submit(check.file, name, decode) for name in names]:
            checked.wait()
            problem, nbytes = checked.result()
            check.nbytes += nbytes
            if problem is not None:
                check.problems.append(problem)
            done += 1
            if progress is not None:
                progress(done, len(names))
    return check.result(len(names), decode, time.perf_counter() - start)


class Check:
    """State of one verification: metadata, files and problems."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.nbytes = 0
        self.names: set[str] = set()
        self.index: Manifest | None = None
        self.description: Description | None = None

    def read_metadata(self) -> list[str]:
        """Read the three metadata files and return the names of the files to check."""
        self.names = set(self.storage.names())
        chunks = {name for name in self.names if chunk_number(name) is not None}
        if not chunks and not self.names & {ARRAY, ATTRIBUTES, manifest.NAME, MARKER}:
            beside = left_behind_text(self.storage)
            raise StoreNotFoundError(
                f"{self.storage.url}: no movie is there ({len(self.names)} "
                f"files){'; ' if beside else ''}{beside}"
            )
        if beside := left_behind_text(self.storage):
            self.notes.append(beside)
        content = {
            name: self._read(name) for name in (manifest.NAME, ATTRIBUTES, ARRAY) if name in self.names
        }
        data = content.get(manifest.NAME)
        if data is not None:
            self.nbytes += len(data)
            try:
                self.index = manifest.read(data, self.storage.url)
            except PhotonError as error:
                self._add("altered", manifest.NAME, str(error))
        self.description = self._describe(content)
        attributes = self.description.attributes if self.description else {}
        if self.description is not None:
            if truncated := truncation_note(attributes):
                self.notes.append(truncated)
            self.problems += [*salvaged(attributes, self.description.shape), *failing(attributes)]
        if manifest.NAME not in self.names:
            if "layout" in attributes:  # Only photon_gpu writes this key, and it always writes a manifest.
                self._add("missing", manifest.NAME, "no such file; chunks were decoded instead")
            else:
                self.notes.append("this store has no manifest: its chunks were decoded instead")
        elif self.index is not None and not self.index.signed:
            self.notes.append("this manifest is of an early release, and has no checksum of its own")
        if self.description is None:
            self.notes.append("without a description of the movie its chunks cannot be decoded")
        self._list(chunks)
        self.problems += container_problems(self.storage, self.index, unfinished=MARKER in self.names)
        records = sorted(
            name
            for name in self.names & self._expected(chunks)
            if frame_records.chunk_of(name) is not None or name in (source_metadata.NAME, DECODER)
        )
        return [
            *sorted(chunks & self._expected(chunks), key=lambda name: (chunk_number(name), name)),
            *records,
        ]

    def _describe(self, content: dict[str, bytes | None]) -> Description | None:
        """Describe the movie from its metadata, or from the manifest's copies of damaged files."""
        whole = True
        texts: dict[str, bytes] = {}
        copies = self.index.copies if self.index else {}
        for name in (ARRAY, ATTRIBUTES):
            data = content.get(name)
            self.nbytes += len(data or b"")
            damage, detail = "missing", "no such file"
            if data is not None:
                damage, detail = self._compare(name, data)
                if damage and name in copies and same_json(data, copies[name]):
                    self._add(damage, name, f"{detail}; it still says the same, so no frame is lost")
                    damage = ""
            if damage and (name not in content or data is not None):  # unreadable ones are reported
                self._add(damage, name, detail, every_frame=True)
            whole &= not damage and data is not None
            good = data if not damage and data is not None else copies.get(name, "").encode() or data
            if good is not None:
                texts[name] = good
        if len(texts) < 2:
            return None
        try:
            description = metadata.describe(texts[ARRAY], texts[ATTRIBUTES], self.storage.url)
        except PhotonError as error:
            if whole:
                self._add("mismatched", ARRAY, str(error), every_frame=True)
            return None
        filters = json.loads(texts[ARRAY]).get("filters")
        if description.encoding.layout == "compact" and not _same_filter(filters, description.encoding):
            self._add("mismatched", ARRAY, f"its filter is not what {ATTRIBUTES} says", every_frame=True)
        return description

    def _compare(self, name: str, data: bytes) -> tuple[str, str]:
        """Compare a file with the manifest; return kind and detail of its damage, both empty if none."""
        if self.index is None:
            return "", ""
        listed = self.index.files.get(name)
        if listed is None and name in (ARRAY, ATTRIBUTES) and MARKER in self.names:
            return "", ""  # In a recording they change until the end.
        if listed is None:
            return "mismatched", "the manifest does not list it"
        entry = manifest.entry(data)
        if entry == listed:
            return "", ""
        other = next((n for n, e in self.index.files.items() if e == entry), None)
        if other is not None:
            return "mismatched", f"it holds what {other} should hold"
        if entry[0] < listed[0]:
            return "truncated", f"{entry[0]:,} bytes of {listed[0]:,}"
        return "altered", f"{entry[0]:,} bytes with CRC {entry[1]}, written as {listed[0]:,} with {listed[1]}"

    def _list(self, chunks: set[str]) -> None:
        """Report missing chunks and files that are not part of the movie."""
        expected = self._expected(chunks)
        stored = {f"/{name}" for name in self.index.container} if self.index else set()
        stored |= self.storage.level_names(self.names)
        for name in sorted(self.names - expected - stored - {manifest.NAME, ARRAY, ATTRIBUTES}):
            if name == MARKER:
                self._add("unfinished", name, "another process is writing here, or was killed while writing")
            else:
                self._add("extra", name, "not part of this movie")
        if self.description is None:
            for name in sorted(expected - self.names - {ARRAY, ATTRIBUTES}):
                self._add("missing", name, "the manifest lists it")
            return
        grid = self.description
        for name in sorted(self._listed() - self.names):
            if name == source_metadata.NAME:
                self._add("missing", name, "the metadata of its source, and the times of frames")
            if name == DECODER:
                self._add("missing", name, "the decoder that was stored with the movie; no frame needs it")
            if (number := frame_records.chunk_of(name)) is not None:
                start = grid.frames_of(number).start
                self._add("missing", name, f"times and metadata of frames from {start}")
        there = sorted(chunk_number(name) or 0 for name in chunks & expected)
        for first, last in gaps(there, grid.chunk_count):
            names = [grid.chunk_name(n) for n in dict.fromkeys((first, last))]
            lost = (grid.frames_of(first)[0], grid.frames_of(last)[-1])
            self.problems.append(
                Problem(kind="missing", name=" to ".join(names), detail="no such file", frames=lost)
            )
        if self.index is not None:
            listed = {n for name in self.index.files if (n := chunk_number(name)) is not None}
            every = len(listed) == grid.chunk_count and max(listed) < grid.chunk_count
            if not every and not self._damaged_metadata():
                detail = f"it lists other chunks than the {grid.shape[0]} frames need"
                self._add("mismatched", manifest.NAME, detail)

    def _damaged_metadata(self) -> bool:
        return any(problem.name in (ARRAY, ATTRIBUTES) for problem in self.problems)

    def _listed(self) -> set[str]:
        return set(self.index.files) if self.index else set()

    def _expected(self, chunks: set[str]) -> set[str]:
        """Return the files that the movie should have: its chunk files and all listed files."""
        listed = self._listed()
        if self.description is None:
            return listed if self.index else chunks | (self.names & {source_metadata.NAME})
        count = self.description.chunk_count
        if self.index is None:  # No manifest lists the frame records.
            listed = {
                n for n in self.names if (number := frame_records.chunk_of(n)) is not None and number < count
            }
            listed |= (self.names & {source_metadata.NAME}) | decoder_of(self.storage, self.names)
        names = {name for name in chunks if (n := chunk_number(name)) is not None and n < count}
        return listed | {
            name for name in names if name == self.description.chunk_name(chunk_number(name) or 0)
        }

    def threads(self, workers: int | None, budget_bytes: int, decode: bool) -> int:
        """Return the number of files to read at once within the memory budget."""
        wanted = worker_count(workers) if workers is not None or self.storage.local else _REMOTE_READS
        largest = max((e[0] for e in self.index.files.values()), default=0) if self.index else 0
        if self.description is not None and (decode or not largest):
            largest += 8 * math.prod(self.description.chunks)
        return max(1, min(wanted, budget_bytes // max(largest, 1)))

    def file(self, name: str, decode: bool) -> tuple[Problem | None, int]:
        """Check one file; return its problem, if any, and its size."""
        number = chunk_number(name)
        lost = None if number is None else self.frames_of(number)
        try:
            data = self.storage.read(name)
        except FileNotFoundError:
            return Problem(kind="missing", name=name, detail="it vanished while reading", frames=lost), 0
        except Exception as error:
            return Problem(kind="unreadable", name=name, detail=_short(error), frames=lost), 0
        damage, detail = self._compare(name, data)
        if not damage and decode and self.description is not None and number is not None:
            try:
                decode_whole(data, number, self.description)
            except MisplacedChunkError as error:
                damage, detail = "mismatched", _short(error)
            except PhotonError as error:
                damage, detail = "altered", f"it does not decode: {_short(error)}"
        if not damage and name == source_metadata.NAME and (decode or self.index is None):
            try:
                source_metadata.unpack(data, self.storage.url)
            except PhotonError as error:
                damage, detail = "altered", _short(error)
        problem = Problem(kind=damage, name=name, detail=detail, frames=lost) if damage else None
        return problem, len(data)

    def frames_of(self, number: int) -> tuple[int, int] | None:
        """Return the first and the last frame of a chunk."""
        if self.description is None:
            return None
        frames = self.description.frames_of(number)
        return frames.start, frames.stop - 1

    def _read(self, name: str) -> bytes | None:
        try:
            return self.storage.read(name)
        except Exception as error:
            self._add("unreadable", name, _short(error), every_frame=name != manifest.NAME)
            return None

    def _add(self, damage: str, name: str, detail: str, *, every_frame: bool = False) -> None:
        self.problems.append(Problem(kind=damage, name=name, detail=detail, every_frame=every_frame))

    def result(self, chunks: int, decode: bool, seconds: float) -> Verification:
        """Return the result."""
        shape = self.description.shape if self.description else None
        problems = tuple(
            Problem(kind=p.kind, name=p.name, detail=p.detail, frames=(0, shape[0] - 1), every_frame=True)
            if p.every_frame and shape
            else p
            for p in self.problems
        )
        problems = named_as_stored(self.storage, problems)
        by = [
            *(["manifest"] if self.index is not None else []),
            *(["decoding"] if decode and self.description is not None else []),
        ]
        if self.index is None and self.description is not None:
            encoding = self.description.encoding
            if encoding.movie_id is None:
                self.notes.append(
                    "without a manifest, chunks in each other's places are not detected before format 2.4"
                    if encoding.layout == "compact"
                    else "without a manifest, a change that still decodes is not detected before format 1.3 "
                    "and 3.2"
                )
        return Verification(
            url=self.storage.url,
            layout=self.description.encoding.layout if self.description else None,
            shape=shape,
            files=len(self.names),
            chunks=chunks,
            nbytes=self.nbytes,
            by=" and ".join(by) or "names alone",
            problems=problems,
            notes=tuple(self.notes),
            seconds=seconds,
        )


def gaps(numbers: list[int], count: int) -> Iterable[tuple[int, int]]:
    """Yield the first and last number of each gap in sorted numbers of ``0..count-1``.

    >>> list(gaps([1, 4], 7))
    [(0, 0), (2, 3), (5, 6)]
    """
    before = -1
    for number in [*numbers, count]:
        if number - before > 1:
            yield before + 1, number - 1
        before = number


def same_json(data: bytes, text: str) -> bool:
    """Whether altered bytes hold the same JSON values as the copy."""
    try:
        return bool(json.loads(data) == json.loads(text))
    except (ValueError, RecursionError):
        return False


def _same_filter(filters: Any, encoding: Encoding) -> bool:
    """Whether ``.zarray`` names the filter of this encoding; format 2.0 writes fewer keys."""

    def complete(values: Any) -> dict[str, Any]:
        return {**values, "predictor": Predictor.from_dict(values["predictor"]).to_dict()}

    try:
        (values,) = filters
        if encoding.channels:
            values = {**values, "channels": [complete(channel) for channel in values["channels"]]}
        else:
            values = complete(values)
    except (PhotonError, ValueError, TypeError, KeyError, AttributeError):
        return False
    return bool(values == filter_config(encoding))


def _short(error: BaseException) -> str:
    return f"{error}"[:300] or type(error).__name__
