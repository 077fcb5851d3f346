"""An fsspec filesystem that fails as object stores do, by schedule or by seed."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

from fsspec.spec import AbstractFileSystem

from photon_gpu.store.storage import Storage

ERRORS = {
    "eio": lambda path: OSError(errno.EIO, "Input/output error", path),
    "enospc": lambda path: OSError(errno.ENOSPC, "No space left on device", path),
    "403": lambda path: PermissionError(f"Forbidden: {path}"),
    "404": lambda path: FileNotFoundError(f"The specified bucket does not exist: {path}"),
    "500": lambda path: OSError(errno.EBUSY, "We encountered an internal error. Please try again."),
    "503": lambda path: OSError(errno.EBUSY, "Please reduce your request rate."),
    "reset": lambda path: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    "timeout": lambda path: TimeoutError("Read timeout on endpoint URL"),
}
FAULTS = (*ERRORS, "slow", "lost", "torn")
"""``lost``: the operation succeeds, but its answer is lost. ``torn``: half is done before an error."""


class Chance:
    """Each operation fails with probability ``rate``."""

    def __init__(self, seed, rate, faults=FAULTS, operations=("write", "create", "read", "delete", "list")):
        self._random = random.Random(seed)
        self.rate, self._faults, self._operations = rate, faults, operations
        self._lock = threading.Lock()

    def __call__(self, operation, path):
        with self._lock:
            if operation in self._operations and self._random.random() < self.rate:
                return self._random.choice(self._faults)
        return None


class Script:
    """Fail the n-th operation (from 0) on names with an ending: ``{("write", "1.0.0", 0): "503"}``."""

    def __init__(self, plan):
        self.plan = dict(plan)
        self._seen = Counter()
        self._lock = threading.Lock()

    def __call__(self, operation, path):
        # Every operation counts for every entry, even if another entry makes it fail.
        with self._lock:
            names = {
                suffix for wanted, suffix, _ in self.plan if wanted == operation and path.endswith(suffix)
            }
            turns = [(operation, suffix, self._seen[operation, suffix]) for suffix in sorted(names)]
            self._seen.update((operation, suffix) for suffix in names)
        return next((self.plan[turn] for turn in turns if turn in self.plan), None)


class FaultyFileSystem(AbstractFileSystem):
    """An object store, which reads and writes whole objects, with faults."""

    protocol = "faulty"
    cachable = False

    def __init__(self, root, faults=lambda operation, path: None):
        super().__init__()
        self.root, self.faults = Path(root), faults
        self.away = None  # the error of every operation while the store is away
        self.injected = Counter()
        self.requests = 0
        self._counting = threading.Lock()

    def storage(self, name="m.zarr"):
        return Storage(self, name)

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("faulty://").strip("/")

    def _fault(self, operation, path):
        fault = self.away or self.faults(operation, path)  # "slow" sleeps
        with self._counting:
            self.requests += 1
            if fault:
                self.injected[fault] += 1
        if fault == "slow":
            time.sleep(0.01)
            return None
        if fault in ERRORS:
            raise ERRORS[fault](path)
        return fault

    def pipe_file(self, path, value, mode="overwrite", **options):
        create = mode == "create"
        fault = self._fault("create" if create else "write", path)
        where = str(self.root / path)
        if (
            fault == "torn"
            and not create
            and not path.endswith(("json", ".zarray", ".zattrs", ".photon-writing"))
        ):
            _put(where, value[: len(value) // 2])
            raise ERRORS["reset"](path)
        _put(where, value, create)
        if fault in ("lost", "torn"):
            raise ERRORS["timeout"](path)

    def cat_file(self, path, start=None, end=None, **options):
        if self._fault("read", path):
            raise ERRORS["reset"](path)
        return (self.root / path).read_bytes()[start:end]

    def find(self, path, maxdepth=None, withdirs=False, detail=False, **options):
        if self._fault("list", path):
            raise ERRORS["reset"](path)
        base = self.root / path
        return sorted(str(p.relative_to(self.root)) for p in base.rglob("*") if p.is_file())

    def exists(self, path, **options):
        if self._fault("list", path):
            raise ERRORS["reset"](path)
        return (self.root / path).exists()

    def size(self, path):
        return (self.root / path).stat().st_size

    def rm_file(self, path):
        fault = self._fault("delete", path)
        (self.root / path).unlink()
        if fault in ("lost", "torn"):
            raise ERRORS["timeout"](path)

    def ls(self, path, detail=True, **options):
        assert not detail
        if self._fault("list", path):
            raise ERRORS["reset"](path)
        return sorted(str(p.relative_to(self.root)) for p in (self.root / path).iterdir())

    def invalidate_cache(self, path=None):
        return


def _put(path, value, create=False):
    """Write all or nothing, as object stores do, without the functions that faulty disks replace."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    temporary = f"{path}.{uuid.uuid4().hex}"
    Path(temporary).write_bytes(value)
    if create:
        try:
            os.link(temporary, path)
        finally:
            os.unlink(temporary)
    else:
        os.replace(temporary, path)


__all__ = ["ERRORS", "FAULTS", "Chance", "FaultyFileSystem", "Script"]
