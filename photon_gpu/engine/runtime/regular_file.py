"""Open regular files only, since reading a pipe or a device could block or never end."""

from __future__ import annotations

import io
import os
import stat

from photon_gpu.errors import CorruptDataError

_FLAGS = os.O_RDONLY
for _name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):
    _FLAGS |= getattr(os, _name, 0)


def open_regular(path: str | os.PathLike[str], *, most: int | None = None) -> io.FileIO:
    """Open a regular file for reading, unbuffered.

    Raises
    ------
    CorruptDataError
        It is a pipe, a device or a socket, or it has more than ``most`` bytes.

    Examples
    --------
    >>> open_regular("/dev/null")
    Traceback (most recent call last):
        ...
    photon_gpu.errors.CorruptDataError: /dev/null is not a regular file (a pipe, a device or a socket)
    """
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(f"{os.fspath(path)} is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise CorruptDataError(f"{os.fspath(path)} is not a regular file (a pipe, a device or a socket)")
        if most is not None and status.st_size > most:
            raise CorruptDataError(
                f"{os.fspath(path)} has {status.st_size:,} bytes; at most {most:,} are read"
            )
        return io.FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
