"""Wait for what other threads do."""

from __future__ import annotations

import time
from collections.abc import Callable

# On a busy machine, the first chunk of a layout took 60 s to compile its kernels and be stored.
SECONDS = 180.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fail the test if it does not within ``SECONDS``."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"the condition did not hold within {SECONDS:.0f} s"
        time.sleep(0.005)
