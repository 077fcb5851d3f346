"""Measure seconds of thread time per stage of a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Type of functions such as ``map`` that run independent calls."""


class _Timed:
    """Context manager that times a block, at half the cost of a generator; every band uses two."""

    __slots__ = ("_stage", "_stages", "_start")

    def __init__(self, stages: Stages, stage: str) -> None:
        self._stages, self._stage = stages, stage

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._stages.add(self._stage, time.perf_counter() - self._start)


class Stages:
    """Sums of seconds by stage, added from any thread.

    Examples
    --------
    >>> stages = Stages()
    >>> with stages.timed("read"):
    ...     pass
    >>> list(stages.seconds)
    ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, stage: str, seconds: float) -> None:
        """Add ``seconds`` to ``stage``."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def timed(self, stage: str) -> _Timed:
        """Time a ``with`` block."""
        return _Timed(self, stage)

    def over(self, stage: str, run: Map) -> Map:
        """Return ``run`` with the time of each of its calls added to ``stage``."""

        def timed(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterable[Any]:
            def one(item: Any) -> Any:
                with self.timed(stage):
                    return function(item)

            return run(one, items)

        return timed
