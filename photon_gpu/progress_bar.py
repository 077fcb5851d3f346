"""Progress bar on stderr: the task, its progress, the elapsed time and the time left."""

from __future__ import annotations

import atexit
import contextlib
import threading
import weakref
from collections.abc import Callable
from typing import Any

Progress = Callable[[int, int], None]
"""``progress(done, in_all)``, of frames, chunks or files; called from the thread that called the function."""

_PREPARING = "preparing (the first use compiles)"


class ProgressBar:
    """A bar that is called as ``bar(done, in_all)``; the first call shows it, and :meth:`close` removes it.

    Parameters
    ----------
    what : str
        Name of the task.
    unit_nbytes : int, optional
        Bytes of one counted item. None: show counts instead of bytes.
    console : rich.console.Console, optional
        Default: stderr.
    """

    def __init__(self, what: str, unit_nbytes: int | None = None, console: Any = None) -> None:
        self._what, self._unit, self._console = what, unit_nbytes, console
        self._bar: Any = None
        self._task: Any = None
        self._lock = threading.Lock()

    def __call__(self, done: int, in_all: int) -> None:
        """Show that ``done`` of ``in_all`` items are done."""
        unit = self._unit or 1
        with self._lock:
            bar = self._begun()
            if bar.tasks[0].total is None:
                # Measure time from here on, since the preparation does not predict the rest.
                bar.reset(self._task, description=self._what, total=in_all * unit)
            bar.update(self._task, completed=done * unit)
        if done >= in_all:
            self.close()

    def stage(self, task: str) -> None:
        """Show a task without a count, such as estimating the noise."""
        with self._lock:
            bar = self._begun()
            if bar.tasks[0].total is None:
                bar.update(self._task, description=task)

    def close(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = self._task = None

    def __enter__(self) -> ProgressBar:
        self.stage(_PREPARING)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _begun(self) -> Any:
        if self._bar is not None:
            return self._bar
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
            TransferSpeedColumn,
        )
        from rich.text import Text

        class Left(ProgressColumn):
            """Time left, once it is known."""

            max_refresh = 0.5

            def render(self, task: Task) -> Text:
                seconds = None if task.total is None else task.time_remaining
                return Text("" if seconds is None else f"left {_clock(seconds)}", style="progress.remaining")

        bytes_shown = [DownloadColumn(), TransferSpeedColumn()]
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *([MofNCompleteColumn()] if self._unit is None else bytes_shown),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            Left(),
            console=self._console or Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(_PREPARING, total=None)
        self._bar.start()
        _open.add(self)
        return self._bar


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


_open: weakref.WeakSet[ProgressBar] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Show the cursor of the terminal again, whatever stopped the work."""
    for bar in list(_open):
        bar.close()
