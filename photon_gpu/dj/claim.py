"""Taking a path: whoever creates ``.zarray`` first has it.

DataJoint encodes a value before it knows whether the row can be inserted, so
the documented path may already hold a live movie. A claim is a ``.zarray``
that does not open as an array; the finished movie's own takes its place last.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: The only key of a ``.zarray`` that is a claim.
CLAIM_KEY = "photon_claim"

# What stores answer to an exclusive create of something that is there, besides FileExistsError:
# s3fs turns a 412 without its cause into EINVAL, and a 409 (two at once) into EBUSY.
_TAKEN = (errno.EINVAL, errno.EBUSY, errno.EEXIST)


def placeholder(purpose: str) -> bytes:
    """Content of a claim: unlike any other, and saying who made it and why."""
    claim = {
        "purpose": purpose,
        "token": secrets.token_hex(16),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    return json.dumps({CLAIM_KEY: claim}, indent=4).encode()


def create(fs: Any, path: str, content: bytes) -> bool:
    """Create a file unless it exists; whether it was this call that created it.

    Atomic on local disks, S3 and GCS. Where a store ignores the condition, a file
    that was there before is still left alone.
    """
    if "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        return _create_local(Path(path), content)
    with contextlib.suppress(FileNotFoundError):
        fs.invalidate_cache()
        fs.info(path)
        return False
    try:
        fs.pipe_file(path, content, mode="create")
    except OSError as error:
        if not isinstance(error, FileExistsError) and error.errno not in _TAKEN:
            raise
        # A retry after a lost answer finds the file that the first attempt wrote.
        with contextlib.suppress(FileNotFoundError):
            return bool(fs.cat_file(path) == content)
        return False
    return True


def _create_local(path: Path, content: bytes) -> bool:
    for attempt in range(100):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            return True
        except FileExistsError:
            return False
        except FileNotFoundError:
            # A collection removed the empty folder between the two calls.
            if attempt == 99:
                raise
    raise AssertionError("unreachable")
