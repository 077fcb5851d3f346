"""Locks as earlier releases left them, and a store that tells what is asked of it."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from fsspec.implementations.local import LocalFileSystem

CHANGES = ("rm_file", "rmdir", "rm", "mv", "pipe_file", "touch", "makedirs", "put_file")


def watched(disk):
    """All that changes a local store: through photon_gpu's own writing, and through fsspec."""
    stack = ExitStack()
    stack.enter_context(disk.installed())
    for name in CHANGES:
        real = getattr(LocalFileSystem, name)

        def seen(*args, name=name, real=real, **options):
            with disk.lock:
                disk.calls += 1
            return disk.changed(name, lambda *passed: real(*passed, **options), args)

        stack.enter_context(mock.patch.object(LocalFileSystem, name, seen))
    return stack


def old_locks(location):
    """As if an hour had gone by: the owner of a lock of now might still be at it."""
    for path in Path(location).rglob("*.collecting*"):
        os.utime(path, (time.time() - 7200,) * 2)
