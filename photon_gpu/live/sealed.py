"""Small facts that a recovery cannot do without: JSON with its own checksum, twice on the disk."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from photon_gpu import durable
from photon_gpu.errors import CorruptDataError

_CRC = "crc32"
_COPY = ".copy"


def write(path: Path, facts: dict[str, Any]) -> None:
    """Write facts; the copy first, so that where the file is there, both are."""
    data = json.dumps({**facts, _CRC: _crc(facts)}, indent=1, allow_nan=False).encode()
    for where in (f"{path}{_COPY}", str(path)):
        durable.write_file(where, data)


def read(path: Path) -> dict[str, Any]:
    """Facts as they were written, from the copy where the file was altered.

    Raises
    ------
    FileNotFoundError
        The file is not there.
    CorruptDataError
        Both were altered.
    """
    first = path.read_bytes()
    copy = Path(f"{path}{_COPY}")
    for data in (first, copy.read_bytes() if copy.is_file() else b""):
        try:
            facts = json.loads(data)
            if isinstance(facts, dict) and facts.pop(_CRC, None) == _crc(facts):
                return facts
        except (ValueError, RecursionError):
            continue
    raise CorruptDataError(f"{path} was altered, and so was its copy, {copy.name}")


def remove(path: Path) -> None:
    """Remove the file, then its copy."""
    durable.remove(str(path))
    durable.remove(f"{path}{_COPY}")


def _crc(facts: dict[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"
