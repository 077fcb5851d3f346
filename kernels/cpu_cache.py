"""Compile kernels with Numba and cache the machine code under a hash of all files in kernels/.

Numba checks only the file that holds a kernel to see whether its cached code is stale. Kernels inline
helpers from other files, so a change in a helper would go unnoticed. The cache folder is therefore named
after a hash of every file in kernels/, and code of another version is never loaded.
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
    """Compile a kernel without Python's lock and without fastmath; cache it in :func:`cache_folder`."""
    _fork_between_compilations()
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(cache_folder())  # read once, when the kernel's cache is made
    try:
        return numba.njit(nogil=True, cache=True, fastmath=False, error_model="numpy")(function)
    finally:
        _config.CACHE_DIR = before


@functools.cache
def _fork_between_compilations() -> None:
    """Let a fork wait for Numba's compiler, whose lock a child could never take otherwise."""
    from numba.core.compiler_lock import global_compiler_lock as lock

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


@functools.cache
def cache_folder() -> Path:
    """Folder of the compiled kernels.

    It lies in ``NUMBA_CACHE_DIR`` if that is set, else beside the sources, else in the user's cache folder.
    Where none of these is writable (containers, clusters), it is a temporary folder of this process.
    """
    user = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    parents: list[str | Path] = [_config.CACHE_DIR] if _config.CACHE_DIR else [_HERE / "__pycache__", user]
    for parent in parents:
        try:
            folder = Path(parent).expanduser() / f"photon_gpu-kernels-{source_hash()}"
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except (OSError, RuntimeError):  # RuntimeError: a user without a home
            continue
        return folder
    folder = Path(tempfile.mkdtemp(prefix="photon_gpu-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def source_hash() -> str:
    """Hash of every file below kernels/ that Numba compiles, 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.rglob("*.py")):
        digest.update(path.relative_to(_HERE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
