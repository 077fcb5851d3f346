"""Time several contenders in turns, so that a busy machine slows all of them; medians and spread."""

from __future__ import annotations

import os
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
    """Time every action once per round, so that a busy moment affects all; skip the first round."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


class Others:
    """Share of all cores that other programs used between two moments, per cent (Linux; else unknown).

    >>> others = Others()
    >>> share = others.percent()
    >>> share is None or -100 <= share <= 100
    True
    """

    def __init__(self) -> None:
        self._begin = self._now()

    def percent(self) -> float | None:
        """Share since this object was made, without this process and its finished children."""
        if self._begin is None:
            return None
        busy, idle, own = (b - a for a, b in zip(self._begin, self._now() or self._begin, strict=True))
        return 100 * (busy - own) / max(busy + idle, 1e-9)

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        try:
            with open("/proc/stat", encoding="utf-8") as file:  # noqa: PTH123
                user, nice, system, idle, waiting, *rest = map(int, file.readline().split()[1:9])
        except OSError:
            return None
        ticks = os.sysconf("SC_CLK_TCK")
        own = sum(os.times()[:4])
        return (user + nice + system + sum(rest)) / ticks, (idle + waiting) / ticks, own


def machine() -> str:
    """Describe the hardware."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            model = next(
                (line.split(":")[1].strip() for line in file if line.startswith("model name")), model
            )
    except OSError:
        pass
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"
