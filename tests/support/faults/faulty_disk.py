"""Stand-ins for ``os`` that count the calls that change a disk, kill, fail, or cut the power."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path
from unittest import mock

from photon_gpu.live.spool import journal
from photon_gpu.store import durable

CHANGES = (
    "open",
    "write",
    "pwrite",
    "fsync",
    "fdatasync",
    "replace",
    "link",
    "unlink",
    "mkdir",
    "posix_fallocate",
)


class Disk:
    """A stand-in for ``os`` that sees every call that changes a disk."""

    def __init__(self):
        self.calls = 0
        self.lock = threading.RLock()

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in CHANGES:
            return real

        def seen(*args):
            if name == "open" and not args[1] & os.O_CREAT:
                return self.passed(name, real, args)
            with self.lock:
                self.calls += 1
            return self.changed(name, real, args)

        return seen

    def passed(self, name, real, args):
        return real(*args)

    def changed(self, name, real, args):
        return real(*args)

    def installed(self):
        """Patch the modules that write to disks."""
        stack = mock.patch.multiple(durable, os=self), mock.patch.multiple(journal, os=self)
        return _Both(*stack)


class _Both:
    def __init__(self, *patches):
        self.patches = patches

    def __enter__(self):
        for patch in self.patches:
            patch.__enter__()

    def __exit__(self, *_):
        for patch in self.patches:
            patch.__exit__(None, None, None)


class Killing(Disk):
    """Kill the process at the n-th call; a write stores its first half before."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def changed(self, name, real, args):
        if self.calls == self.at:
            if name in ("write", "pwrite"):
                real(args[0], args[1][: len(args[1]) // 2], *args[2:])
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)


class Failing(Disk):
    """Raise an error at the calls that ``fails(number, name)`` picks; a write stores half before."""

    def __init__(self, fails):
        super().__init__()
        self.fails = fails
        self.failed = 0

    def changed(self, name, real, args):
        code = self.fails(self.calls, name)
        if code:
            self.failed += 1
            if name in ("write", "pwrite") and len(args[1]) > 1:
                real(args[0], args[1][: len(args[1]) // 2], *args[2:])
            raise OSError(code, os.strerror(code))
        return real(*args)


class _File:
    def __init__(self):
        self.synced = b""
        self.pending = []  # (offset, bytes) since the last sync


class Powered(Disk):
    """Remember what was synced; :meth:`after_power_cut` writes the disk that a power cut leaves.

    The model is harsher than most file systems: of the writes to a file since its last sync any may
    be missing, whole or in part, in any order; of the changes to a folder since its last sync only
    the first few may have happened.
    """

    def __init__(self, root):
        super().__init__()
        self.root = str(root)
        self.files = {}  # path -> _File, as the running program sees it
        self.open_files = {}  # descriptor -> (_File, or the folder's path)
        self.positions = {}
        self.lasting = {}  # path -> _File, as the disk has it
        self.pending = {}  # folder -> [(path, _File or None)] since its last sync
        self.events = []

    def passed(self, name, real, args):
        with self.lock:
            descriptor = real(*args)
            path = os.fspath(args[0])
            self.open_files[descriptor] = self.files.get(path, path)
            self.positions[descriptor] = 0
            return descriptor

    def changed(self, name, real, args):
        with self.lock:
            result = real(*args)
            getattr(self, f"_{name}")(result, *args)
            return result

    def _name(self, path, file):
        if file is None:
            self.files.pop(path, None)
        else:
            self.files[path] = file
        self.pending.setdefault(os.path.dirname(path), []).append((path, file))

    def forget(self, descriptor):
        """Imitate a failed sync on Linux: pages that were not written count as clean and are lost."""
        target = self.open_files.get(descriptor)
        if isinstance(target, _File):
            target.pending = []

    def _open(self, descriptor, path, flags, mode=0o777):
        path = os.fspath(path)
        if path not in self.files:
            self._name(path, _File())
        self.open_files[descriptor] = self.files[path]
        self.positions[descriptor] = 0

    def _write(self, count, descriptor, data):
        self._pwrite(count, descriptor, data, self.positions[descriptor])
        self.positions[descriptor] += count

    def _pwrite(self, count, descriptor, data, offset):
        self.open_files[descriptor].pending.append((offset, bytes(data[:count])))

    def _posix_fallocate(self, _, descriptor, offset, length):
        file = self.open_files[descriptor]
        file.pending.append((offset, b"\0" * length))

    def _fsync(self, _, descriptor):
        target = self.open_files[descriptor]
        if isinstance(target, _File):
            target.synced = _applied(target.synced, target.pending)
            target.pending = []
            return
        for path, file in self.pending.pop(target, []):
            self._apply(self.lasting, path, file)

    _fdatasync = _fsync

    def _replace(self, _, path, to):
        file = self.files.pop(path)
        self.files[to] = file
        # The folder changes once: both names or neither.
        self.pending.setdefault(os.path.dirname(to), []).append(((path, to), file))

    def _link(self, _, path, to):
        self._name(to, self.files[path])

    def _unlink(self, _, path):
        self._name(os.fspath(path), None)

    def _mkdir(self, _, path, mode=0o777):
        return

    @staticmethod
    def _apply(names, path, file):
        if isinstance(path, tuple):
            names.pop(path[0], None)
            names[path[1]] = file
        elif file is None:
            names.pop(path, None)
        else:
            names[path] = file

    def after_power_cut(self, folder, seed):
        """Write the disk that a power cut at this moment would leave to ``folder``."""
        chance = random.Random(seed)
        with self.lock:
            names = dict(self.lasting)
            for changes in self.pending.values():
                for path, file in changes[: chance.randint(0, len(changes))]:
                    self._apply(names, path, file)
            for path, file in names.items():
                survived = []
                for offset, data in file.pending:
                    fate = chance.random()
                    if fate < 0.4:
                        survived.append((offset, data))
                    elif fate < 0.7 and data:
                        survived.append((offset, data[: chance.randrange(len(data))]))
                restored = Path(folder) / os.path.relpath(path, self.root)
                restored.parent.mkdir(parents=True, exist_ok=True)
                restored.write_bytes(_applied(file.synced, survived))


def _applied(content, writes):
    out = bytearray(content)
    for offset, data in writes:
        if len(out) < offset + len(data):
            out += b"\0" * (offset + len(data) - len(out))
        out[offset : offset + len(data)] = data
    return bytes(out)
