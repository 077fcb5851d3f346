"""Recording while frames arrive: :class:`LiveWriter`, :func:`recover`, and what drives them. One idea, one file."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "LiveConfig": "photon_gpu.live.config",
    "LiveStatus": "photon_gpu.live.status",
    "LiveWriter": "photon_gpu.live.writer",
    "RecoverReport": "photon_gpu.live.recovery",
    "pending": "photon_gpu.live.spool",
    "recover": "photon_gpu.live.recovery",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Public names load their module when they are first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'photon_gpu.live' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
