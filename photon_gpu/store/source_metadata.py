"""Metadata of a movie's source: the file ``.source_metadata.zip`` and a key of ``.zattrs``.

The file holds the source's metadata, verbatim, and the times of its frames. FORMAT.md, "Source metadata".
"""

from __future__ import annotations

from typing import Any, Protocol

from photon_gpu.errors import InvalidInputError
from photon_gpu.recording import NOTHING, Recording
from photon_gpu.source_metadata_zip import LARGEST, NAME, pack, unpack
from photon_gpu.store import manifest
from photon_gpu.store.storage import Storage

KEY = "photon_recording"
"""Key of ``.zattrs``: metadata of the recording, :meth:`photon_gpu.recording.Recording.to_dict`."""


__all__ = ["KEY", "NAME", "described", "fitting", "listed", "of_source", "pack", "unpack", "with_recording"]


class HasRecording(Protocol):
    """A source of a movie that has a recording."""

    shape: tuple[int, ...]
    recording: Recording


def of_source(source: HasRecording) -> Recording:
    """Return the metadata of a source, as far as they fit the movie and can be stored."""
    return fitting(source.recording.fitted(source.shape))


def fitting(recording: Recording) -> Recording:
    """Leave out the largest documents until the rest can be stored, and name them in ``not_kept``."""
    documents = sorted(recording.documents, key=lambda document: len(document.data))
    left_out = []
    while sum(len(document.data) for document in documents) > LARGEST:
        left_out.append(documents.pop())
    if not left_out:
        return recording
    names = {document.name for document in documents}
    return recording.replace(
        documents=tuple(document for document in recording.documents if document.name in names),
        not_kept=(*recording.not_kept, *(f"{one.name} ({len(one.data):,} bytes)" for one in left_out)),
    )


def with_recording(attributes: dict[str, Any] | None, recording: Recording) -> dict[str, Any]:
    """Add the metadata of a recording, if there are any, to a movie's attributes.

    Raises
    ------
    InvalidInputError
        The attributes have this key already.
    """
    attributes = attributes or {}
    if KEY in attributes:
        raise InvalidInputError(f"attributes: {KEY!r} is photon_gpu's own key; give it another name")
    metadata = recording.to_dict()
    return {**attributes, KEY: metadata} if metadata else attributes


def described(attributes: dict[str, Any]) -> Recording:
    """Return the metadata of the recording in ``.zattrs``; empty if they cannot be read."""
    try:
        return Recording.from_dict(attributes.get(KEY, {}))
    except InvalidInputError:
        return NOTHING


def listed(storage: Storage) -> dict[str, list[Any]]:
    """Return the manifest entry of the file; empty if a folder has none."""
    try:
        return {NAME: manifest.entry(storage.read(NAME))}
    except FileNotFoundError:
        return {}
