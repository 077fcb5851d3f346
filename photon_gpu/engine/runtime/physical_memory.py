"""Size of this machine's physical memory."""

from __future__ import annotations

from functools import cache

import psutil


@cache
def memory_bytes() -> int:
    """Return the physical memory of this machine, in bytes."""
    return int(psutil.virtual_memory().total)
