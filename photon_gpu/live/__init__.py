"""Recording while frames arrive: :class:`LiveWriter`, :func:`recover`, and what drives them. One idea, one file."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Batch": "photon_gpu.live.feeds",
    "Feed": "photon_gpu.live.feeds",
    "FrameStream": "photon_gpu.live.stream",
    "GrowingFile": "photon_gpu.live.feeds",
    "LiveConfig": "photon_gpu.live.state.config",
    "LiveStatus": "photon_gpu.live.state.status",
    "LiveWriter": "photon_gpu.live.writer",
    "PacedFeed": "photon_gpu.live.feeds",
    "RawFeed": "photon_gpu.live.feeds",
    "RecordReport": "photon_gpu.live.session",
    "RecoverReport": "photon_gpu.live.recovery.recover",
    "SourceFeed": "photon_gpu.live.feeds",
    "WatchFeed": "photon_gpu.live.watch",
    "pending": "photon_gpu.live.spool.spool",
    "record": "photon_gpu.live.session",
    "recover": "photon_gpu.live.recovery.recover",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Public names load their module when they are first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'photon_gpu.live' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
