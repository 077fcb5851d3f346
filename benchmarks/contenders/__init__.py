"""One file per contender; each writes a movie into a folder and reads it back, over its own best API."""

from __future__ import annotations

from benchmarks.contenders.base import Contender


def engine_contenders() -> list[Contender]:
    """Ours, and who stores photon-limited movies in Zarr today."""
    from benchmarks.contenders import anscombe_transform, ours, zarr_blosc

    return [*ours.contenders(), *anscombe_transform.contenders(), *zarr_blosc.contenders()]
