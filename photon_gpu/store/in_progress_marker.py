"""The marker file (``.photon-writing``) of a folder that is being written: writer, start and plan."""

from __future__ import annotations

import json
import os
import socket
from functools import cache
from typing import Any

from photon_gpu.engine.runtime.process_alive import runs, start_of
from photon_gpu.store.storage import Storage

MARKER = ".photon-writing"
SUCCESSOR = "replaced_by"
"""Key of a marker: name of the folder beside this one whose files are being copied to it."""

OWN_TOKENS: set[str] = set()
"""Tokens of the markers whose writers run in this process."""


def read_marker(storage: Storage) -> dict[str, Any]:
    """Return the content of a marker; empty if the writer was killed before it wrote the content."""
    try:
        content = json.loads(storage.read(MARKER))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def alive(marker: dict[str, Any]) -> bool:
    """Whether the writer certainly runs: it is another process of this machine."""
    pid = marker.get("pid")
    if (
        marker.get("host") != socket.gethostname()
        or not isinstance(pid, int)
        or pid < 1
        or pid == os.getpid()
    ):
        return False
    return runs(pid, marker.get("started"))


def started() -> dict[str, str]:
    """Return the start time of this process, which distinguishes it from a later one with its number."""
    start = _own_start()
    return {"started": start} if start else {}


@cache
def _own_start() -> str | None:
    """When this process started. Every encode asks twice, and the system takes long to tell."""
    return start_of(os.getpid())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_own_start.cache_clear)


def known_dead(marker: dict[str, Any]) -> bool:
    """Whether the writer certainly ended: it was another process of this machine."""
    return (
        marker.get("host") == socket.gethostname() and marker.get("pid") != os.getpid() and not alive(marker)
    )
