"""The file ``.source_metadata.zip``: the source's metadata, verbatim, and the times of its frames."""

from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, UnsupportedVersionError
from photon_gpu.recording import Document, Recording

NAME = ".source_metadata.zip"

LARGEST = 1 << 30
"""Maximum size of all documents together, in bytes, uncompressed."""

_VERSION = b"photon_gpu source metadata 1"
_TIMES = "timestamps.npy"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time in a ZIP: the same metadata give the same bytes


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


def _times(data: bytes) -> NDArray[np.float64]:
    times: NDArray[np.float64] = np.load(io.BytesIO(data), allow_pickle=False)
    return times
