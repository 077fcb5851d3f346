"""Size of this machine's physical memory."""

from __future__ import annotations

import os


def memory_bytes() -> int:
    """Return the physical memory of this machine, in bytes."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # pragma: no cover - not every platform has it
        return 1 << 62
