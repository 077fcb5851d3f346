"""Read exact byte ranges of a local file, from any thread."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from photon_gpu.errors import CorruptDataError, InvalidInputError


class RawFile:
    """A local file that returns all requested bytes or raises an error.

    It reads instead of mapping the file: if the file shrinks or the disk fails, a read raises an error, but a
    memory map would kill the process.

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
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - closed by close()
        self.size = self._file.seek(0, 2)

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
            if self._file.closed:
                raise InvalidInputError(f"{self.name}: the source is closed")
            try:
                self._file.seek(offset)
                while len(out):
                    got = self._file.readinto(out)
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

    def close(self) -> None:
        """Close the file; reading afterwards is an error."""
        with self._lock:
            self._file.close()

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
