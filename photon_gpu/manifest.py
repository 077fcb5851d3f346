"""What every file of a movie should be (``.manifest.json``): size, CRC-32, copies of the metadata.

The last member is a CRC-32 of all bytes before it, so that damage to the manifest is
never taken for damage to what it lists. FORMAT.md, "Manifest".
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass, field
from typing import Any

from photon_gpu.errors import CorruptDataError, UnsupportedVersionError

NAME = ".manifest.json"
VERSION = 1

_TAIL = re.compile(rb',"crc":"([0-9a-f]{8})"}\Z')
_REMEDY = "the movie's files may be whole: see 'photon-gpu verify', then 'photon-gpu repair'"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the manifest says.

    Attributes
    ----------
    files : dict
        ``[size, crc]`` by file name.
    copies : dict
        Text of the metadata files, so that they can be restored.
    """

    files: dict[str, list[Any]] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)


def entry(data: bytes) -> list[Any]:
    """``[size, crc]`` of a file, the CRC as eight hexadecimal digits."""
    return [len(data), f"{zlib.crc32(data):08x}"]


def pack(files: dict[str, list[Any]], metadata: dict[str, bytes] | None = None) -> bytes:
    """The manifest's bytes.

    Parameters
    ----------
    files : dict
        Entries of all files but those in ``metadata``.
    metadata : dict, optional
        Contents of the metadata files: listed, and kept as copies.
    """
    copied = metadata or {}
    listed = {**files, **{name: entry(data) for name, data in copied.items()}}
    body = {
        "manifest_version": VERSION,
        "files": dict(sorted(listed.items())),
        "copies": {name: data.decode() for name, data in sorted(copied.items())},
    }
    text = json.dumps(body, separators=(",", ":")).encode()[:-1]
    return text + f',"crc":"{zlib.crc32(text):08x}"}}'.encode()


def read(data: bytes, url: str) -> Manifest:
    """Everything a manifest says, once it has passed its own checksum."""
    tail = _TAIL.search(data)
    if tail is None or f"{zlib.crc32(data[: tail.start()]):08x}".encode() != tail[1]:
        raise CorruptDataError(f"{url}: {NAME} fails its own checksum; {_REMEDY}")
    try:
        found = json.loads(data)
        version = found["manifest_version"]
        if version != VERSION:
            raise UnsupportedVersionError(
                f"{url}: manifest version {version!r}; this release reads {VERSION}, a newer one may read it"
            )
        files, copies = found["files"], found["copies"]
        well_formed = (
            isinstance(files, dict)
            and isinstance(copies, dict)
            and all(isinstance(text, str) for text in copies.values())
            and all(
                isinstance(e, list) and len(e) == 2 and isinstance(e[0], int) and isinstance(e[1], str)
                for e in files.values()
            )
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, UnsupportedVersionError):
            raise
        raise CorruptDataError(f"{url}: {NAME} is not a manifest ({error}); {_REMEDY}") from error
    if not well_formed:
        raise CorruptDataError(f"{url}: {NAME} is not a manifest; {_REMEDY}")
    return Manifest(files=dict(files), copies=dict(copies))


def unpack(data: bytes, url: str) -> dict[str, list[Any]]:
    """Entries by file name."""
    return read(data, url).files


def check(name: str, data: bytes, files: dict[str, list[Any]], url: str) -> None:
    """Compare a file with its entry; a difference is an error that names the file."""
    known = files.get(name)
    if known is None:
        raise CorruptDataError(f"{url}: {name} is not in the manifest")
    found = entry(data)
    if found != known:
        raise CorruptDataError(
            f"{url}: {name} was altered: {found[0]} bytes with CRC {found[1]}, "
            f"written as {known[0]} with {known[1]}"
        )
