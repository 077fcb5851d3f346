"""Schedule the chunks of one encode: read, compress and write at once, within a memory budget.

The way of a chunk:

1. The thread that called :func:`photon_gpu.encode` reads the raw frames, one chunk after another. It waits
   while ``in_flight`` chunks, which is what the memory budget allows, are being encoded.
2. An encoder thread encodes the chunk from the first pixel to the last byte. If fewer chunks are left than
   threads, a chunk is split into parts, and encoder threads that have no chunk take parts.
3. A writer thread writes the chunk file, and checks it if a check was requested. A chunk leaves the
   budget once it is written. Without a check, one chunk at a time leaves it earlier, when it is encoded, and
   is written outside the budget, so the next chunk need not wait for the store.
4. The writer thread reports the chunk to the reading thread, which counts progress and sometimes writes a
   manifest of the chunks written so far. A resumed encode trusts the chunks in that manifest.

No chunk file is written before the plan of the encode is saved: else a resumed encode could not trust any
chunk. The reading thread saves the plan once it would have to wait anyway, or a writer thread does if it
needs it earlier.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from numpy.typing import NDArray

from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.runtime.buffers import Buffers
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.pool import Pool, Split
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.progress_bar import Progress
from photon_gpu.sources.base import Source
from photon_gpu.store import manifest
from photon_gpu.store.chunk_grid import ChunkGrid
from photon_gpu.store.storage import Storage
from photon_gpu.writer.resume import StoredChunks, frames_crc

# Longest time between two manifests while an encode runs; it is shorter if manifests are written quickly.
_LIST_SECONDS = 2.0
# Greatest share of the time for writing these manifests.
_LIST_SHARE = 0.02
# Chunks encoded earlier than this get no CRC of their raw frames. A resumed encode encodes them again and
# compares.
_CRC_SECONDS = 0.25


class ChunkScheduler:
    """Read, encode and write the chunks of one movie at once, within a memory budget.

    Parameters
    ----------
    movie : Source
        The raw frames.
    target : Storage
        Folder for the chunk files.
    layout : Layout
        Encodes a chunk.
    frames : int
        Frames per chunk.
    threads : int
        Threads that compute.
    budget_bytes : int
        Memory for the chunks that are being encoded.
    stages : Stages
        Collects the seconds of each stage.
    progress : callable, optional
        Called as ``progress(frames_written, frames_in_all)``.

    Attributes
    ----------
    chunk : tuple of int
        Shape of a chunk.
    files : dict
        Manifest entries of the chunks encoded so far, by file name.
    in_flight : int
        Most chunks that are encoded at once.
    check : callable or None
        Called as ``check(name, first_frame, data, raw_frames)`` once a chunk is written. An error stops the
        encode.
    kept, replaced : int
        Chunks of an earlier encode that were kept, and that were overwritten.
    """

    def __init__(
        self,
        movie: Source,
        target: Storage,
        layout: Layout,
        frames: int,
        threads: int,
        budget_bytes: int,
        stages: Stages,
        progress: Progress | None,
    ) -> None:
        self.chunk = (frames, *movie.shape[1:])
        self.files: dict[str, list[Any]] = {}
        self._movie, self._target, self._layout, self._threads = movie, target, layout, threads
        self._grid = ChunkGrid(movie.shape, self.chunk)
        self._stages, self._progress = stages, progress
        raw = math.prod(self.chunk) * movie.dtype.itemsize
        # Raw values, codes and compressed bytes of a chunk stay below three times its raw size.
        devices = layout.backend.gpu.chunks_in_flight if layout.backend.gpu else 0
        self.in_flight = max(1, min(threads + 2 + devices, budget_bytes // (3 * raw)))
        self.check: Callable[[str, int, bytes, NDArray], None] | None = None
        self._save_plan: Callable[[], object] | None = None  # None once the plan is saved
        self._plan_error: BaseException | None = None
        self._plan_lock = threading.Lock()
        self._lock = threading.Lock()
        self._write_outside_budget = threading.Semaphore()
        # From the other threads: (number, 0) frees the budget, (number, frames) says the chunk is written.
        self._events: SimpleQueue[tuple[int, int] | BaseException] = SimpleQueue()
        self._in_budget: set[int] = set()  # numbers of the chunks that use the budget
        self._frames = Buffers()  # for the bytes of chunks until they are written
        self._unwritten: set[int] = set()  # numbers of the chunks that are encoded and not written yet
        self.kept = self.replaced = 0
        self._frames_crcs: dict[str, str] = {}
        self._present: frozenset[str] = frozenset()
        self._frames_done = self._stored_bytes = 0
        self._started = self._listed = time.monotonic()
        # Seconds that the last manifest took. With this first guess, the first comes after half a second.
        self._list_seconds = 0.01

    def keep_stored(self, stored: StoredChunks) -> None:
        """Take over the chunks that an earlier encode stored; call it before :meth:`encode_chunks`."""
        self.files.update(stored.files)
        self._frames_crcs.update(stored.frames)
        self._present, self.kept = stored.present, len(stored.files)

    def encode_chunks(self, encoders: Pool, writers: Pool, save_plan: Callable[[], object]) -> int:
        """Encode all chunks and write all but the last ones; return the number of bytes stored.

        :meth:`wait_until_written` waits for the last ones.

        Parameters
        ----------
        encoders : Pool
            As many threads as compute.
        writers : Pool
            At least ``in_flight + 1`` threads: one chunk is written outside the budget.
        save_plan : callable
            Called once, from any thread. No chunk is written before it returned.
        """
        self._save_plan = save_plan
        missing = [n for n in range(self._grid.chunk_count) if self._grid.chunk_name(n) not in self.files]
        for number in set(range(self._grid.chunk_count)) - set(missing):
            self._frames_done += len(self._grid.frames_of(number))
            self._stored_bytes += self.files[self._grid.chunk_name(number)][0]
        for done, number in enumerate(missing):
            frames = self._grid.frames_of(number)
            # A single chunk that is not checked takes less than twice its raw size: read the next meanwhile.
            if self.in_flight > 1 or self.check is not None:
                self._wait_for_room(self.in_flight)
            with self._stages.timed("read"):
                # A list, so that the encoder thread can free the frames while the pool holds its arguments.
                raw = [self._movie.read(frames.start, frames.stop)]
            self._wait_for_room(self.in_flight)
            self._in_budget.add(number)
            split = encoders.split(done, len(missing), self.in_flight)
            encoders.submit(self._encode_chunk, writers, split, number, raw)
            del raw
            if len(self._in_budget) == self.in_flight:
                self._ensure_plan_saved()
        self._ensure_plan_saved()
        self._wait_for_room(1)
        return self._stored_bytes

    def wait_until_written(self) -> None:
        """Wait until the last chunks are written; the caller can prepare the manifest meanwhile."""
        while self._frames_done < self._movie.shape[0]:
            self._handle_event()

    def _ensure_plan_saved(self) -> None:
        """Save the plan if no thread has saved it; raise the error of the thread that failed to save it."""
        with self._plan_lock:
            if self._plan_error is not None:
                raise self._plan_error
            try:
                if self._save_plan is not None:
                    self._save_plan()
                    self._save_plan = None
            except BaseException as error:
                self._plan_error = error
                raise

    def _wait_for_room(self, limit: int) -> None:
        """Wait until fewer than ``limit`` chunks use the budget."""
        while len(self._in_budget) >= limit:
            self._handle_event()
            if time.monotonic() - self._listed > min(_LIST_SECONDS, self._list_seconds / _LIST_SHARE):
                self._write_listing()

    def _handle_event(self) -> None:
        """Wait for the next chunk that leaves the budget or is written; raise the error of one."""
        event = self._events.get()
        if isinstance(event, BaseException):
            raise event
        number, frames = event
        self._in_budget.discard(number)
        self._frames_done += frames
        if self._progress is not None and frames:
            self._progress(self._frames_done, self._movie.shape[0])

    def _write_listing(self) -> None:
        """Write a manifest of the chunks that are written; a resumed encode trusts them."""
        began = time.monotonic()
        with self._lock:
            unwritten = {self._grid.chunk_name(number) for number in self._unwritten}
            listed = {name: self.files[name] for name in self.files.keys() - unwritten}
            crcs = {name: crc for name, crc in self._frames_crcs.items() if name in listed}
        index = manifest.pack(listed, frames=crcs)
        self._target.write(manifest.NAME, index)
        self._listed = time.monotonic()
        self._list_seconds = self._listed - began

    def _encode_chunk(self, writers: Pool, split: Split, number: int, raw: list[NDArray]) -> None:
        """Encode one chunk in an encoder thread, and hand it to a writer thread."""
        try:
            values, start = raw[0], self._grid.frames_of(number).start
            resources = Resources(self._stages, split, self._frames)
            data = self._layout.encode(values, self.chunk, resources, start)
            name, entry = self._grid.chunk_name(number), manifest.entry(data, *resources.crc)
            crc = self._frames_crc(values)
            with self._lock:
                self.files[name] = entry
                if crc is not None:
                    self._frames_crcs[name] = crc
                self._unwritten.add(number)
                self._stored_bytes += len(data)
            if self.check is None:
                raw.clear()
            writers.submit(self._write_chunk, number, data, raw)
        except BaseException as error:
            self._events.put(error)

    def _write_chunk(self, number: int, data: bytes, raw: list[NDArray]) -> None:
        """Write and check one chunk in a writer thread, and report it to the reading thread."""
        outside_budget, frames = False, self._grid.frames_of(number)
        name = self._grid.chunk_name(number)
        try:
            if self.check is None:
                outside_budget = self._write_outside_budget.acquire(blocking=self.in_flight == 1)
                # No chunks follow the last ones, so these free the budget once they are encoded.
                if outside_budget or number >= self._grid.chunk_count - self.in_flight:
                    self._events.put((number, 0))
            self._ensure_plan_saved()
            with self._stages.timed("write"):
                if name in self._present and self._target.holds(name, data):
                    with self._lock:
                        self.kept += 1
                else:
                    self._target.write(name, data, listed=False)
                    with self._lock:
                        self.replaced += name in self._present
            if self.check is not None:
                with self._stages.timed("check"):
                    self.check(name, frames.start, data, raw[0])
            with self._lock:
                self._unwritten.discard(number)
            if isinstance(data, memoryview):
                self._frames.give(data.obj)
            self._events.put((number, len(frames)))
        except BaseException as error:
            self._events.put(error)
        finally:
            if outside_budget:
                self._write_outside_budget.release()

    def _frames_crc(self, values: NDArray) -> str | None:
        """CRC of a chunk's raw frames; None for a short encode and for frames on a GPU."""
        if self._movie.device is not None or time.monotonic() - self._started < min(
            _CRC_SECONDS, _LIST_SECONDS
        ):
            return None
        return frames_crc(values)
