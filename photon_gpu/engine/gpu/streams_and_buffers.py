"""CUDA streams and buffers that chunks use in turn: lanes and slots.

A lane is a device with three streams, for copies up, kernels, and copies down. A slot is the memory for one
chunk: pinned buffers at both ends, device buffers, and an event that each stage records at its end and the
next stage waits for. A lane has three slots, so that one chunk is copied up while another is computed and a
third is copied down. A slot has a stream of its own for kernels of few threads, which run beside others.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.gpu.devices import load_cupy
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import BackendUnavailableError
from photon_gpu.logger import logger

SLOTS = 3
"""Chunks in flight per device."""

PIECE_BYTES = 1 << 30
"""Most raw bytes of a chunk in a slot at once; halved if the device's memory is full."""

_T = TypeVar("_T")


class DeviceFull(Exception):
    """A buffer did not fit the device's memory; the caller retries with smaller pieces."""


class Lane:
    """A device with its streams, kernels and slots."""

    def __init__(self, number: int, why: str) -> None:
        import photon_gpu.kernels.cuda as kernels
        import photon_gpu.kernels.zstd_huffman.cuda as huffman

        self.number, self.cupy, self.huffman = number, load_cupy(), huffman
        self.backend = Backend("cupy", kernels, why, upload=self.put)
        self.piece_bytes = PIECE_BYTES
        self.changed = threading.Condition()
        self._one, self.waiting = threading.Lock(), 0
        with self.cupy.cuda.Device(number):
            self.up, self.compute, self.down = (self.cupy.cuda.Stream(non_blocking=True) for _ in range(3))
            self.slots = [Slot(self) for _ in range(SLOTS)]

    def put(self, host: NDArray) -> Any:
        """Copy a small host array (a table) to the device; kernels queued from now on may read it."""
        array = self.cupy.empty(host.shape, host.dtype)
        array.set(np.ascontiguousarray(host), stream=self.compute)
        return array

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Device array that is zero for the kernels queued on the current stream from now on."""
        array = self.cupy.empty(shape, dtype)
        array.data.memset_async(0, array.nbytes, self.cupy.cuda.get_current_stream())
        return array

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this device and its compute stream current; turn its errors into BackendUnavailableError."""
        try:
            with self.cupy.cuda.Device(self.number), self.compute:
                yield
        except self.cupy.cuda.runtime.CUDARuntimeError as error:
            raise BackendUnavailableError(
                f"GPU {self.number} failed ({error}); this chunk was not stored. backend='numba' works "
                f"without a GPU"
            ) from error

    def shrinking(self, slot: Slot, whole: int, smallest: int, work: Callable[[int], _T]) -> _T:
        """Run ``work(piece_bytes)``, and again with half of it while the device is full.

        The smallest piece is tried once more when no other slot has memory.
        """
        piece = min(self.piece_bytes, whole)
        while True:
            # After the except clause the error is gone, and with it the stack frames whose variables hold
            # device memory.
            with suppress(*_full(self.cupy)):
                return work(piece)
            slot.release()
            with self.changed:
                self._empty_idle_slots()
            if piece <= smallest:
                return self._alone(slot, smallest, work)
            full, piece = piece, max(smallest, piece // 2)
            self.piece_bytes = piece
            logger.warning(
                "GPU %d has no memory for a piece of %d bytes: pieces of %d are tried",
                self.number,
                full,
                piece,
            )

    def _alone(self, slot: Slot, smallest: int, work: Callable[[int], _T]) -> _T:
        """Run ``work`` once every other slot of the device is idle and empty, or waits here too."""
        logger.warning(
            "GPU %d has no memory for a piece of %d bytes: it is tried again when other chunks are done",
            self.number,
            smallest,
        )
        with self.changed:
            self.waiting += 1
            self.changed.notify_all()
        try:
            with self._one:
                with self.changed:
                    self.changed.wait_for(lambda: sum(s.taken for s in self.slots) <= self.waiting)
                    self._empty_idle_slots()
                return work(smallest)
        except _full(self.cupy) as again:
            slot.release()
            free, total = self.cupy.cuda.Device(self.number).mem_info
            raise BackendUnavailableError(
                f"GPU {self.number} is out of memory even for pieces of {smallest:,} bytes "
                f"({free:,} of {total:,} bytes are free): free some, take smaller chunk_frames, "
                "or use backend='numba'"
            ) from again
        finally:
            with self.changed:
                self.waiting -= 1
                self.changed.notify_all()

    def _empty_idle_slots(self) -> None:
        for slot in self.slots:
            if not slot.taken:
                slot.release()


def _full(cupy: Any) -> tuple[type[BaseException], ...]:
    return DeviceFull, cupy.cuda.memory.OutOfMemoryError


class Slot:
    """Memory of a device for one chunk. Buffers grow as needed and are reused."""

    def __init__(self, lane: Lane) -> None:
        self.lane, self.taken = lane, False
        self.event = lane.cupy.cuda.Event(disable_timing=True)
        self._own_stream = lane.cupy.cuda.Stream(non_blocking=True)
        self._pinned: dict[str, NDArray[np.uint8]] = {}
        self._device: dict[str, Any] = {}
        self._timeline: Timeline | None = None

    @contextmanager
    def timed(self, stages: Stages) -> Iterator[None]:
        """Add the time that the block spends on the device to ``stages``."""
        self._timeline = timeline = Timeline(self.lane, stages)
        try:
            yield
        finally:
            self._timeline = None
            timeline.close()

    def pinned(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
        """Page-locked host memory for copies without the CPU; it keeps its former content."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self._pinned or self._pinned[name].size < nbytes:
            self._pinned.pop(name, None)
            memory = self.lane.cupy.cuda.alloc_pinned_memory(max(nbytes, 1))
            self._pinned[name] = np.frombuffer(memory, np.uint8, max(nbytes, 1))
        return self._pinned[name][:nbytes].view(dtype).reshape(shape)

    def device(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Device memory; it keeps its former content."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self._device or self._device[name].size < nbytes:
            self._device.pop(name, None)
            try:
                self._device[name] = self.lane.cupy.empty(max(nbytes, 1), np.uint8)
            except self.lane.cupy.cuda.memory.OutOfMemoryError as error:
                raise DeviceFull(str(error)) from error
        return self._device[name][:nbytes].view(dtype).reshape(shape)

    def resume(self) -> None:
        """Resume timing kernels, after the host has used a result."""
        if self._timeline:
            self._timeline.begin_kernels()

    def release(self) -> None:
        """Free all memory, after the queued work."""
        self.lane.compute.synchronize()
        self.event.synchronize()
        self._device.clear()
        self._pinned.clear()
        if self._timeline:
            self._timeline.forget()
        self.lane.cupy.get_default_memory_pool().free_all_blocks()

    def upload(self, name: str, host: NDArray) -> Any:
        """Copy a pinned array to the device; kernels queued from now on see it."""
        array = self.device(name, host.shape, host.dtype)
        with self._span("upload", self.lane.up):
            array.set(host, stream=self.lane.up)
        self.event.record(self.lane.up)
        self.lane.compute.wait_event(self.event)
        if self._timeline:
            self._timeline.begin_kernels()
        return array

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Queue the block's kernels beside those of other chunks, after the upload and before later ones."""
        self._own_stream.wait_event(self.event)
        with self._own_stream:
            yield
        self.event.record(self._own_stream)
        self.lane.compute.wait_event(self.event)

    def fetch(self, **arrays: Any) -> list[NDArray]:
        """Copy device arrays to pinned memory, after the kernels queued so far."""
        if self._timeline:
            self._timeline.end_kernels()
        self.event.record(self.lane.compute)
        self.lane.down.wait_event(self.event)
        fetched = []
        with self._span("download", self.lane.down):
            for name, array in arrays.items():
                host = self.pinned(f"{name} fetched", array.shape, array.dtype)
                array.get(stream=self.lane.down, out=host, blocking=False)
                fetched.append(host)
        self.event.record(self.lane.down)
        self.event.synchronize()
        if self._timeline:
            self._timeline.settle()
        return fetched

    def _span(self, stage: str, stream: Any) -> AbstractContextManager[None]:
        return self._timeline.span(stage, stream) if self._timeline else nullcontext()


class Slots:
    """Slots of all lanes; a chunk gets the one that has been idle longest."""

    def __init__(self, lanes: list[Lane]) -> None:
        self._free = [slot for slots in zip(*(lane.slots for lane in lanes), strict=True) for slot in slots]
        self._changed = threading.Condition()
        for lane in lanes:
            lane.changed = self._changed

    @contextmanager
    def taken(self, device: int | None = None) -> Iterator[Slot]:
        """Reserve a slot of a device (None: of any device), and make the device current."""
        with self._changed:
            self._changed.wait_for(lambda: self._first(device) is not None)
            slot = self._first(device)
            assert slot is not None
            self._free.remove(slot)
            slot.taken = True
        try:
            with slot.lane.entered():
                yield slot
        finally:
            with self._changed:
                slot.taken = False
                self._free.append(slot)
                self._changed.notify_all()

    def _first(self, device: int | None) -> Slot | None:
        # A device that is out of memory accepts no chunk until the chunks that wait for memory are done.
        free = (slot for slot in self._free if not slot.lane.waiting)
        return next((slot for slot in free if device in (None, slot.lane.number)), None)


class Timeline:
    """Time of a slot's copies and kernels, measured between events on the device's streams.

    It is added to the stages ``upload``, ``kernel`` and ``download``. ``kernel`` runs from the last copy up,
    or from :meth:`Slot.resume`, to the end of the queued kernels, on a stream that all slots of a device
    share. The remaining time in which a chunk has the slot is the stage ``gpu``: copies, launches and fits by
    the host. Seconds are counted per slot; other stages count them per thread.
    """

    def __init__(self, lane: Lane, stages: Stages) -> None:
        self._lane, self._stages = lane, stages
        self._spans: list[tuple[str, Any, Any]] = []
        self._started, self._counted = time.perf_counter(), 0.0
        self.begin_kernels()

    @contextmanager
    def span(self, stage: str, stream: Any) -> Iterator[None]:
        """Time the work that the block queues on a stream."""
        begin = self._mark(stream)
        yield
        self._spans.append((stage, begin, self._mark(stream)))

    def begin_kernels(self) -> None:
        """Begin to time kernels."""
        self._begin = self._mark(self._lane.compute)

    def end_kernels(self) -> None:
        """Stop timing kernels."""
        self._spans.append(("kernel", self._begin, self._mark(self._lane.compute)))

    def settle(self) -> None:
        """Add the times of the queued work; call it once the work is done."""
        for stage, begin, end in self._spans:
            seconds = self._lane.cupy.cuda.get_elapsed_time(begin, end) / 1e3
            self._stages.add(stage, seconds)
            self._counted += seconds
        self.forget()

    def forget(self) -> None:
        """Discard the times of queued work."""
        self._spans.clear()
        self.begin_kernels()

    def close(self) -> None:
        """Add the remaining time to the stage ``gpu``."""
        self._stages.add("gpu", max(time.perf_counter() - self._started - self._counted, 0.0))

    def _mark(self, stream: Any) -> Any:
        event = self._lane.cupy.cuda.Event()
        event.record(stream)
        return event
