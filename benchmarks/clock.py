"""Interleaved timing: every contender once, then all again; medians and spread."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of several runs."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def rate(self, nbytes: int) -> str:
        """MB/s at the median, with the range of all runs."""
        low, high = nbytes / 1e6 / max(self.seconds), nbytes / 1e6 / min(self.seconds)
        return f"{nbytes / 1e6 / self.median:,.0f} ({low:,.0f}-{high:,.0f})"


def interleaved(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """Time every action once per round, so that a busy moment hits all alike; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def machine() -> str:
    """The hardware, in words."""
    import os

    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            model = next(
                (line.split(":")[1].strip() for line in file if line.startswith("model name")), model
            )
    except OSError:
        pass
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"
