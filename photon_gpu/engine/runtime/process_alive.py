"""Find out whether a process of this machine runs, and when it started."""

from __future__ import annotations

import sys
from pathlib import Path


def runs(pid: int, started: str | None) -> bool:
    """Whether a process with this number runs, and with this start time, if that is known.

    Examples
    --------
    >>> import os
    >>> runs(os.getpid(), start_of(os.getpid()))
    True
    >>> runs(os.getpid(), "some other time")
    False
    """
    actual = start_of(pid)
    return actual is not None and started in (None, actual)


def start_of(pid: int) -> str | None:
    """Start time of a process, as text that distinguishes it from a later process with the same number.

    None if there is no such process, or it has ended and waits for its parent.
    """
    if sys.platform == "linux":
        # The start time counts from the boot, whose id is part of the text, so clock changes do not alter it.
        # Source: proc(5).
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"
        except FileNotFoundError:
            return None
        except (OSError, IndexError):
            pass
    import psutil

    # Do not send signal 0, which ends a process on Windows.
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return f"{psutil.boot_time():.0f}/{process.create_time():.2f}"
    except (psutil.NoSuchProcess, OverflowError, ValueError):
        return None
    except psutil.Error:
        return "unknown"
