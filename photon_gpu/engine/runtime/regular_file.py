"""Open regular files only, since reading a pipe or a device could block or never end."""

from __future__ import annotations

import errno
import io
import os
import stat

from photon_gpu.errors import CorruptDataError

_FLAGS = os.O_RDONLY
for _name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):
    _FLAGS |= getattr(os, _name, 0)

_NO_FILE = (errno.ELOOP, errno.ENXIO)  # a link to itself; a socket, or a device that is gone


def open_regular(path: str | os.PathLike[str], *, most: int | None = None) -> io.FileIO:
    """Open a regular file for reading, unbuffered.

    Raises
    ------
    CorruptDataError
        It is a folder, a pipe, a device, a socket or a link to itself, or it has more than ``most`` bytes.

    Examples
    --------
    >>> open_regular("/dev/null")
    Traceback (most recent call last):
        ...
    photon_gpu.errors.CorruptDataError: /dev/null is not a regular file (a folder, pipe, device or socket)
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise CorruptDataError(f"{os.fspath(path)} is not a regular file ({error.strerror})") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CorruptDataError(
                f"{os.fspath(path)} is not a regular file (a folder, pipe, device or socket)"
            )
        if most is not None and status.st_size > most:
            raise CorruptDataError(
                f"{os.fspath(path)} has {status.st_size:,} bytes; at most {most:,} are read"
            )
        return io.FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
