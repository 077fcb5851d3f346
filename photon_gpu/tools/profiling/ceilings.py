"""Measure the ceilings of a machine: memory copies, disk writes, copies to a GPU and back."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from photon_gpu.engine.runtime.pool import Pool
from photon_gpu.errors import BackendUnavailableError
from photon_gpu.store import durable

_MIB = 1 << 20
_COPIED = 32 * _MIB
_WRITTEN = 32 * _MIB


def ceilings(folder: str | os.PathLike[str], *, cores: int, seconds: float = 0.5) -> dict[str, float]:
    """Measure the ceilings of this machine, MB/s (1e6 bytes): the best of all runs within ``seconds`` each.

    ``memcpy, 1 core`` and ``memcpy, all cores`` count copied bytes once. ``disk write`` writes one file of 32
    MiB per core at once, flushed to disk like chunks. ``device up`` and ``device down`` need a GPU.

    Examples
    --------
    >>> import tempfile
    >>> speeds = ceilings(tempfile.gettempdir(), cores=1, seconds=0.01)
    >>> speeds["memcpy, 1 core"] > 0 and speeds["disk write"] > 0
    True
    """
    source = np.random.default_rng(0).integers(0, 255, _COPIED, np.uint8)
    target = np.empty_like(source)
    pieces = [slice(n * _COPIED // cores, (n + 1) * _COPIED // cores) for n in range(cores)]

    def copy(piece: slice) -> None:
        np.copyto(target[piece], source[piece])

    rates = {"memcpy, 1 core": _best(lambda: copy(slice(None)), _COPIED, seconds)}
    data = source[:_WRITTEN].tobytes()
    places = [Path(folder) / f"photon-profile-{uuid.uuid4().hex}" for _ in range(cores)]
    with Pool("photon-profile", cores - 1) as pool:
        if cores > 1:
            rates["memcpy, all cores"] = _best(lambda: pool.map(copy, pieces), _COPIED, seconds)
        try:
            rates["disk write"] = _best(
                lambda: pool.map(lambda path: durable.write_file(str(path), data), places),
                cores * _WRITTEN,
                seconds,
            )
        finally:
            for path in places:
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
    return {**rates, **_device(source, seconds)}


def has_gpu() -> bool:
    """Whether CuPy is installed and finds a working device."""
    try:
        import cupy

        return bool(cupy.cuda.runtime.getDeviceCount() > 0)
    except Exception:  # No CuPy, no driver, or a driver that is too old.
        return False


def _device(source: np.ndarray, seconds: float) -> dict[str, float]:
    if not has_gpu():
        return {}
    import cupy

    try:
        pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(_COPIED), np.uint8, _COPIED)
        pinned[...] = source
        there = cupy.empty(_COPIED, cupy.uint8)

        def up() -> None:
            there.set(pinned)
            cupy.cuda.get_current_stream().synchronize()

        def down() -> None:
            there.get(out=pinned)
            cupy.cuda.get_current_stream().synchronize()

        return {"device up": _best(up, _COPIED, seconds), "device down": _best(down, _COPIED, seconds)}
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendUnavailableError(f"the GPU does not answer: {error}") from error


def _best(action: Callable[[], object], nbytes: int, seconds: float) -> float:
    best, until = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() >= until:
            return nbytes / 1e6 / best
