"""JSON files with a checksum and a second copy, for the facts that a recovery needs."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from photon_gpu.errors import CorruptDataError
from photon_gpu.store import durable

_CRC = "crc32"
_COPY = ".copy"


def write(path: Path, facts: dict[str, Any]) -> None:
    """Write facts as JSON, the copy first; if the file exists, so does the copy."""
    # Convert keys to strings before sorting, since strings sort differently.
    facts = json.loads(json.dumps(facts, allow_nan=False))
    data = json.dumps({**facts, _CRC: _crc(facts)}, indent=1, allow_nan=False).encode()
    for name in (f"{path}{_COPY}", str(path)):
        durable.write_file(name, data)


def read(path: Path) -> dict[str, Any]:
    """Read facts, from the copy if the file is altered or missing.

    Raises
    ------
    FileNotFoundError
        Neither the file nor its copy exists.
    CorruptDataError
        Both were altered.
    """
    copy = Path(f"{path}{_COPY}")
    files = [file for file in (path, copy) if file.is_file()]
    if not files:
        raise FileNotFoundError(f"neither {path} nor its copy exists")
    for file in files:
        try:
            facts = json.loads(file.read_bytes())
            if isinstance(facts, dict) and facts.pop(_CRC, None) in (_crc(facts), _crc_of_numbers(facts)):
                return facts
        except (ValueError, RecursionError):
            continue
    raise CorruptDataError(f"{path} was altered, and so was its copy, {copy.name}")


def remove(path: Path) -> None:
    """Remove the file and its copy."""
    durable.remove(f"{path}{_COPY}")
    durable.remove(str(path))


def _crc(facts: dict[str, Any]) -> str:
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"


def _crc_of_numbers(facts: dict[str, Any]) -> str:
    """Return the CRC of earlier releases, which sorted numeric keys before they became strings."""
    text = json.dumps(_by_number(facts), separators=(",", ":"), allow_nan=False)
    return f"{zlib.crc32(text.encode()):08x}"


def _by_number(value: Any) -> Any:
    if isinstance(value, list):
        return [_by_number(item) for item in value]
    if not isinstance(value, dict):
        return value
    try:
        keys = sorted(value, key=float)
    except ValueError:
        keys = sorted(value)
    return {key: _by_number(value[key]) for key in keys}
