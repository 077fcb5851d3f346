"""Size and CRC-32 of every file of a movie, beside the chunks (``.manifest.json``)."""

from __future__ import annotations

import json
import zlib
from typing import Any

from photon_gpu.errors import CorruptDataError, UnsupportedVersionError

NAME = ".manifest.json"
VERSION = 1


def entry(data: bytes) -> list[Any]:
    """``[size, crc]`` of a file, the CRC as eight hexadecimal digits."""
    return [len(data), f"{zlib.crc32(data):08x}"]


def pack(files: dict[str, list[Any]]) -> bytes:
    """The manifest's bytes."""
    ordered = dict(sorted(files.items()))
    return json.dumps({"manifest_version": VERSION, "files": ordered}, separators=(",", ":")).encode()


def unpack(data: bytes, url: str) -> dict[str, list[Any]]:
    """Entries by file name."""
    try:
        found = json.loads(data)
        version, files = found["manifest_version"], found["files"]
        well_formed = isinstance(files, dict) and all(
            isinstance(e, list) and len(e) == 2 and isinstance(e[0], int) and isinstance(e[1], str)
            for e in files.values()
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataError(f"{url}: {NAME} is not a manifest ({error})") from error
    if version != VERSION:
        raise UnsupportedVersionError(f"{url}: manifest version {version!r}; this release reads {VERSION}")
    if not well_formed:
        raise CorruptDataError(f"{url}: {NAME} is not a manifest")
    return dict(files)


def check(name: str, data: bytes, files: dict[str, list[Any]], url: str) -> None:
    """Compare a file with its entry; a difference is an error that names the file."""
    known = files.get(name)
    if known is None:
        raise CorruptDataError(f"{url}: {name} is not in the manifest")
    found = entry(data)
    if found != known:
        raise CorruptDataError(
            f"{url}: {name} was altered: {found[0]} bytes with CRC {found[1]}, written as {known[0]} with {known[1]}"
        )
