"""How long a chunk's copies and kernels take on a device: between events that its streams pass."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from photon_gpu.engine.runtime.stopwatch import Stages

if TYPE_CHECKING:
    from photon_gpu.engine.gpu.slots import Lane


class Timeline:
    """Counts what one slot does towards the stages ``upload``, ``kernel`` and ``download``.

    ``kernel`` runs from the last copy up, or from where the host goes on after a result, to the end of what was
    queued, on a stream that all slots of a device share: seconds of a slot, as other stages are seconds of a
    thread. The rest of the time in which a chunk has the slot is ``gpu``: the host's copies, launches and fits.
    """

    def __init__(self, lane: Lane, stages: Stages) -> None:
        self._lane, self._stages = lane, stages
        self._spans: list[tuple[str, Any, Any]] = []
        self._started, self._told = time.perf_counter(), 0.0
        self.begin_kernels()

    @contextmanager
    def span(self, stage: str, stream: Any) -> Iterator[None]:
        """What the block queues on a stream."""
        begin = self._mark(stream)
        yield
        self._spans.append((stage, begin, self._mark(stream)))

    def begin_kernels(self) -> None:
        """Kernels queued from now on count."""
        self._begin = self._mark(self._lane.compute)

    def end_kernels(self) -> None:
        """No more of them."""
        self._spans.append(("kernel", self._begin, self._mark(self._lane.compute)))

    def settle(self) -> None:
        """Count what was queued, all of which is done."""
        for stage, begin, end in self._spans:
            seconds = self._lane.cupy.cuda.get_elapsed_time(begin, end) / 1e3
            self._stages.add(stage, seconds)
            self._told += seconds
        self.forget()

    def forget(self) -> None:
        """What was queued was in vain."""
        self._spans.clear()
        self.begin_kernels()

    def close(self) -> None:
        """Count the rest."""
        self._stages.add("gpu", max(time.perf_counter() - self._started - self._told, 0.0))

    def _mark(self, stream: Any) -> Any:
        event = self._lane.cupy.cuda.Event()
        event.record(stream)
        return event
