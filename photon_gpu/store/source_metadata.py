"""Metadata of a movie's source: the file ``.source_metadata.zip`` and a key of ``.zattrs``.

The file holds the source's metadata, verbatim, and the times of its frames. FORMAT.md, "Source metadata".
"""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError, UnsupportedVersionError
from photon_gpu.recording import NOTHING, Document, Recording
from photon_gpu.store import manifest
from photon_gpu.store.storage import Storage

NAME = ".source_metadata.zip"
KEY = "photon_recording"
"""Key of ``.zattrs``: metadata of the recording, :meth:`photon_gpu.recording.Recording.to_dict`."""

LARGEST = 1 << 30
"""Maximum size of all documents together, in bytes, uncompressed."""

_VERSION = b"photon_gpu source metadata 1"
_TIMES = "timestamps.npy"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time in a ZIP: the same metadata give the same bytes


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


def pack(recording: Recording) -> bytes | None:
    """Return the content of the file; None if there is neither a document nor a timestamp.

    Examples
    --------
    >>> data = pack(Recording(documents=(Document(name="a", media_type="text/plain", data=b"1"),)))
    >>> unpack(data, "movie").documents[0].data
    b'1'
    """
    documents = list(recording.documents)
    if recording.timestamps is not None:
        file = io.BytesIO()
        np.save(file, recording.timestamps.astype("<f8"))
        documents.append(Document(name=_TIMES, media_type="application/x-npy", data=file.getvalue()))
    if not documents:
        return None
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = _VERSION
        for document in documents:
            entry = zipfile.ZipInfo(document.name, _EPOCH)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            entry.external_attr = 0o644 << 16
            entry.comment = document.media_type.encode()
            archive.writestr(entry, document.data)
    return out.getvalue()


def unpack(data: bytes, where: str) -> Recording:
    """Return the documents and timestamps of a file.

    Raises
    ------
    CorruptDataError
        It is damaged, or claims more than can be kept.
    UnsupportedVersionError
        A later release wrote it.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.comment != _VERSION:
                raise UnsupportedVersionError(
                    f"{where}: {NAME} is {archive.comment[:60]!r}; this release reads {_VERSION.decode()!r}: "
                    "a newer photon_gpu may read it"
                )
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > 2 * LARGEST:
                raise CorruptDataError(f"{where}: {NAME} claims more than {2 * LARGEST:,} bytes")
            files = {entry.filename: (entry.comment.decode(), archive.read(entry)) for entry in entries}
        times = files.pop(_TIMES, None)
        return Recording(
            timestamps=None if times is None else _times(times[1]),
            documents=tuple(
                Document(name=name, media_type=media, data=content)
                for name, (media, content) in files.items()
            ),
        )
    except (CorruptDataError, UnsupportedVersionError):
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CorruptDataError(f"{where}: {NAME} is damaged: {error}") from error


def listed(storage: Storage) -> dict[str, list[Any]]:
    """Return the manifest entry of the file; empty if a folder has none."""
    try:
        return {NAME: manifest.entry(storage.read(NAME))}
    except FileNotFoundError:
        return {}


def _times(data: bytes) -> NDArray[np.float64]:
    times: NDArray[np.float64] = np.load(io.BytesIO(data), allow_pickle=False)
    return times
