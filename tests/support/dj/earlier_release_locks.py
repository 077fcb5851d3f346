"""Locks as earlier releases left them, and a count of the changes of a store."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from fsspec.implementations.local import LocalFileSystem

CHANGES = ("rm_file", "rmdir", "rm", "mv", "pipe_file", "touch", "makedirs", "put_file")


def watched(disk):
    """Count every change of a local store, made by photon_gpu's own writing or by fsspec."""
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
    """Make all locks two hours old, because the owner of a new lock may still be working."""
    for path in Path(location).rglob("*.collecting*"):
        os.utime(path, (time.time() - 7200,) * 2)
