"""The manifest (``.manifest.json``): size and CRC-32 of every file, and copies of the metadata.

The last member is a CRC-32 of all bytes before it, so damage to the manifest itself is
never mistaken for damage to the files that it lists. FORMAT.md, ".manifest.json".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.errors import CorruptDataError, UnsupportedVersionError

if TYPE_CHECKING:
    from photon_gpu.store.storage import Storage

NAME = ".manifest.json"
VERSION = 1

_TAIL = re.compile(rb',"crc":"([0-9a-f]{8})"}\Z')
_REMEDY = "the movie's files may be whole: see 'photon-gpu verify', then 'photon-gpu repair'"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a manifest.

    Attributes
    ----------
    files : dict
        ``[size, crc]`` by file name.
    copies : dict
        Text of the metadata files, so that they can be restored.
    frames : dict
        CRC of each chunk's raw frames, by file name; only while an encode runs.
    container : dict
        ``[size, crc]`` of the shards and the metadata of an OME-Zarr movie, by path below the group.
    signed : bool
        Whether the manifest has its own checksum; the earliest ones had none.
    """

    files: dict[str, list[Any]] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    frames: dict[str, str] = field(default_factory=dict)
    container: dict[str, list[Any]] = field(default_factory=dict)
    signed: bool = True


def entry(data: bytes, crc: int | None = None) -> list[Any]:
    """Return a file's entry ``[size, crc]``, the CRC as eight hexadecimal digits; it is computed if None."""
    return [len(data), f"{crc32(data) if crc is None else crc:08x}"]


def pack(
    files: dict[str, list[Any]],
    metadata: dict[str, bytes] | None = None,
    frames: dict[str, str] | None = None,
    container: dict[str, list[Any]] | None = None,
    group: bytes = b"",
) -> bytes:
    """Return the bytes of a manifest.

    Parameters
    ----------
    files : dict
        Entries of all files except those in ``metadata``.
    metadata : dict, optional
        Contents of the metadata files, which the manifest lists and copies.
    frames : dict, optional
        CRC of each chunk's raw frames, for an encode that resumes.
    container : dict, optional
        Entries of the shards and the metadata of an OME-Zarr movie.
    group : bytes
        ``zarr.json`` of the group of an OME-Zarr movie, which the manifest copies.
    """
    copied = metadata or {}
    listed = {**files, **{name: entry(data) for name, data in copied.items()}}
    body: dict[str, Any] = {
        "manifest_version": VERSION,
        "files": dict(sorted(listed.items())),
        "copies": {name: data.decode() for name, data in sorted(copied.items())},
    }
    if frames:
        body["frames"] = dict(sorted(frames.items()))
    if container:
        body["container"] = dict(sorted(container.items()))
    if group:
        body["copies"]["zarr.json"] = group.decode()
    text = json.dumps(body, separators=(",", ":")).encode()[:-1]
    return text + f',"crc":"{crc32(text):08x}"}}'.encode()


def read(data: bytes, url: str) -> Manifest:
    """Check the manifest's own checksum and return its content."""
    tail = _TAIL.search(data)
    failed = f"{url}: {NAME} fails its own checksum; {_REMEDY}"
    if tail and f"{crc32(data[: tail.start()]):08x}".encode() != tail[1]:
        raise CorruptDataError(failed)
    try:
        content = json.loads(data)
        version = content["manifest_version"]
        if tail is None and ("copies" in content or "crc" in content):
            raise CorruptDataError(failed)
        if version == VERSION:
            files, copies, frames = content["files"], content.get("copies", {}), content.get("frames", {})
            container = content.get("container", {})
            texts = [*copies.values(), *frames.values()]
            if _entries(files) and _entries(container) and all(isinstance(text, str) for text in texts):
                return Manifest(
                    files=dict(files),
                    copies=dict(copies),
                    frames=dict(frames),
                    container=dict(container),
                    signed=tail is not None,
                )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptDataError(f"{url}: {NAME} is not a manifest ({error}); {_REMEDY}") from error
    if version == VERSION:
        raise CorruptDataError(f"{url}: {NAME} is not a manifest; {_REMEDY}")
    raise UnsupportedVersionError(
        f"{url} has manifest version {version!r}; this release reads {VERSION}, a newer one may read it"
    )


def _entries(files: dict[str, Any]) -> bool:
    return all(
        isinstance(e, list) and len(e) == 2 and isinstance(e[0], int) and isinstance(e[1], str)
        for e in files.values()
    )


def unpack(data: bytes, url: str) -> dict[str, list[Any]]:
    """Return a manifest's entries by file name."""
    return read(data, url).files


def check(name: str, data: bytes, files: dict[str, list[Any]], url: str) -> None:
    """Raise CorruptDataError if a file differs from its entry."""
    listed = files.get(name)
    if listed is None:
        raise CorruptDataError(f"{url}: {name} is not in the manifest")
    actual = entry(data)
    if actual != listed:
        raise CorruptDataError(
            f"{url}: {name} was altered: {actual[0]} bytes with CRC {actual[1]}, "
            f"written as {listed[0]} with {listed[1]}"
        )


def check_opened(name: str, data: bytes, files: dict[str, list[Any]], storage: Storage) -> None:
    """Raise CorruptDataError if the metadata that a movie was opened with differ from their entry.

    A recording rewrites ``.zarray`` and lists it only at its end. Bytes of an earlier, shorter version
    are not damage if the file now agrees with its entry.
    """
    if name in files and entry(data) != files[name]:
        check(name, storage.read(name), files, storage.url)
