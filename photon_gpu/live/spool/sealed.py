"""JSON files with a checksum and a copy, for facts that a recovery needs."""

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
    facts = json.loads(
        json.dumps(facts, allow_nan=False)
    )  # keys that are no strings sort differently as strings
    data = json.dumps({**facts, _CRC: _crc(facts)}, indent=1, allow_nan=False).encode()
    for where in (f"{path}{_COPY}", str(path)):
        durable.write_file(where, data)


def read(path: Path) -> dict[str, Any]:
    """Read facts, from the copy if the file is altered or missing.

    Raises
    ------
    FileNotFoundError
        Neither is there.
    CorruptDataError
        What is there was altered.
    """
    copy = Path(f"{path}{_COPY}")
    there = [each for each in (path, copy) if each.is_file()]
    if not there:
        raise FileNotFoundError(f"neither {path} nor its copy is there")
    for each in there:
        try:
            facts = json.loads(each.read_bytes())
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
        return [_by_number(each) for each in value]
    if not isinstance(value, dict):
        return value
    try:
        keys = sorted(value, key=float)
    except ValueError:
        keys = sorted(value)
    return {key: _by_number(value[key]) for key in keys}
