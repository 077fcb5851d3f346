"""Read exact byte ranges of a local file, from any thread."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from io import FileIO
from typing import Any

from photon_gpu.engine.runtime.regular_file import open_regular
from photon_gpu.errors import CorruptDataError, InvalidInputError

_MOST_OPEN = 128
_opened: weakref.WeakKeyDictionary[RawFile, None] = weakref.WeakKeyDictionary()
_opened_lock = threading.Lock()


class RawFile:
    """A local file that returns all requested bytes or raises an error.

    It reads instead of mapping the file: if the file shrinks or the disk fails, a read raises an error, but a
    memory map would kill the process. A movie may have tens of thousands of files, so at most 128 are open in
    a process; a closed file is opened again when it is read.

    Parameters
    ----------
    path : path-like
        Path of the file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "bytes"
    >>> _ = path.write_bytes(b"0123456789")
    >>> with RawFile(path) as file:
    ...     file.read(2, 3)
    bytearray(b'234')
    """

    def __init__(self, path: Any) -> None:
        self.name = str(path)
        self._lock = threading.Lock()
        self._closed = False
        self._file: FileIO | None = None
        self._inode = 0
        self.size = 0
        with self._lock:
            self._open()

    def _open(self) -> FileIO:
        """Open the file; the caller holds the lock."""
        file = open_regular(self.name)
        state = os.fstat(file.fileno())
        if self._inode and (state.st_ino != self._inode or state.st_size < self.size):
            file.close()
            raise CorruptDataError(f"{self.name}: the file was replaced or cut while it was being read")
        self._inode, self.size, self._file = state.st_ino, max(self.size, state.st_size), file
        with _opened_lock:
            _opened[self] = None
            oldest = next(iter(_opened)) if len(_opened) > _MOST_OPEN else None
        if oldest is not None and oldest._lock.acquire(blocking=False):
            try:
                oldest._close()
            finally:
                oldest._lock.release()
        return file

    def _close(self) -> None:
        with _opened_lock:
            _opened.pop(self, None)
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self, offset: int, nbytes: int) -> bytearray:
        """Read ``nbytes`` bytes from ``offset``."""
        # The range is checked before allocating: a damaged count may ask for petabytes.
        self._check(offset, nbytes)
        data = bytearray(nbytes)
        self.read_into(offset, memoryview(data))
        return data

    def read_into(self, offset: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes from ``offset``."""
        self._check(offset, len(out))
        with self._lock:
            if self._closed:
                raise InvalidInputError(f"{self.name}: the source is closed; open it again")
            try:
                file = self._file or self._open()
                file.seek(offset)
                while len(out):
                    got = file.readinto(out)
                    if not got:
                        raise CorruptDataError(
                            f"{self.name}: the file ended {len(out)} bytes early while it was being read; "
                            "is another program writing to it?"
                        )
                    out = out[got:]
            except CorruptDataError:
                raise
            except OSError as error:
                raise CorruptDataError(
                    f"{self.name}: reading {len(out)} bytes at {offset} failed: {error}"
                ) from error

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read small ranges ``(offset, nbytes)``, quicker than one by one."""
        for offset, nbytes in ranges:
            self._check(offset, nbytes)
        read = []
        with self._lock:
            if self._closed:
                raise InvalidInputError(f"{self.name}: the source is closed; open it again")
            try:
                file = self._file or self._open()
                for offset, nbytes in ranges:
                    file.seek(offset)
                    read.append(file.read(nbytes))
            except OSError as error:
                raise CorruptDataError(
                    f"{self.name}: reading {len(ranges)} places failed: {error}"
                ) from error
        # A read may return less than it was asked for.
        return [
            data if len(data) == nbytes else bytes(self.read(offset, nbytes))
            for data, (offset, nbytes) in zip(read, ranges, strict=True)
        ]

    def close(self) -> None:
        """Close the file; reading afterwards is an error."""
        with self._lock:
            self._closed = True
            self._close()

    def __enter__(self) -> RawFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, offset: int, nbytes: int) -> None:
        if offset < 0 or offset + nbytes > self.size:
            raise CorruptDataError(
                f"{self.name}: the file is truncated: bytes {offset} to {offset + nbytes} are needed, "
                f"it has {self.size}"
            )
