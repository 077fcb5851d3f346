"""Start a thread that serves one object until that ends, such as the journal of a recording."""

from __future__ import annotations

import threading
from collections.abc import Callable


class ServiceThread:
    """Thread that runs ``work`` until it returns.

    Work that waits for chunks, frames or a store for as long as its owner lives has a thread of its own.
    Calls that end by themselves belong in a :class:`~photon_gpu.engine.runtime.pool.Pool`, which waits for
    all of them: it would wait forever for a request that hangs. No other module starts threads.

    The thread is a daemon: a request that hangs must not keep the process alive.

    Parameters
    ----------
    name : str
    work : callable
        Called without arguments. It handles its own errors.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=work, name=name, daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the work has ended, but at most ``seconds``; return whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()
