"""Compile kernels with Numba and cache the machine code, keyed by a hash of all of kernels/.

Numba looks only at the file that holds a kernel to see whether its cached code is stale. Ours inline helpers
from other files, so a change in a helper would go unseen. Here the folder of the cache is named after a hash
of every file in kernels/: code of another version is never found.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_HERE = Path(__file__).parent
_config: Any = numba.config


def jit(function: Callable[..., Any]) -> Any:
    """Compile a kernel: it holds no lock, uses no fastmath, and is cached under :func:`cache_folder`."""
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(cache_folder())  # read once, when the kernel's cache is made
    try:
        return numba.njit(nogil=True, cache=True, fastmath=False, error_model="numpy")(function)
    finally:
        _config.CACHE_DIR = before


@functools.cache
def cache_folder() -> Path:
    """Folder of the compiled kernels of these sources.

    It lies in ``NUMBA_CACHE_DIR`` if that is set, else beside the sources, else among the user's caches.
    Where none of these can be written (containers, clusters), it is a temporary folder of this process.
    """
    user = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path("~/.cache").expanduser()
    places = [_config.CACHE_DIR] if _config.CACHE_DIR else [_HERE / "__pycache__", user]
    for place in places:
        folder = Path(place) / f"photon_gpu-kernels-{source_hash()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return folder
    folder = Path(tempfile.mkdtemp(prefix="photon_gpu-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def source_hash() -> str:
    """Hash of every file in kernels/ that Numba compiles, 16 hex digits."""
    found = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]
