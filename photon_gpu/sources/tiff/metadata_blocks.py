"""Metadata that ScanImage and MicroManager keep in a TIFF file outside of its tags."""

from __future__ import annotations

import struct

from photon_gpu.errors import CorruptDataError
from photon_gpu.recording import Document
from photon_gpu.sources.tiff.rawfile import RawFile

FRAME_DATA, ROI_GROUPS = "scanimage/FrameData.txt", "scanimage/RoiGroups.json"
_SCANIMAGE_MAGIC = 117637889
_SCANIMAGE_AT = 16
_MICROMANAGER_INDEX, _MICROMANAGER_SUMMARY = 54773648, 2355492
_INDEX_MAP = "IndexMap.bin"
_MICROMANAGER = {
    _INDEX_MAP: (8, _MICROMANAGER_INDEX, 3453623),
    "DisplaySettings.json": (16, 483765892, 347834724),
    "Comments.json": (24, 99384722, 84720485),
}
"""Byte in the header that points to a block, its signature there, and the signature of the block."""
_INDEX_ENTRY_NBYTES = 20  # channel, slice, frame, position, and where the page begins: u32 each
_LARGEST = 1 << 28


def read_blocks(file: RawFile) -> list[Document]:
    """Read the metadata outside the tags of a file, verbatim."""
    return [*_scanimage(file), *_micromanager(file)]


def scanimage_header(documents: dict[str, Document]) -> bytes:
    """Rebuild the block that ScanImage writes at byte 16 of a BigTIFF file; empty if there is none."""
    if FRAME_DATA not in documents:
        return b""
    version = int(documents[FRAME_DATA].media_type.partition("version=")[2] or 4)
    parts = [documents[name].data if name in documents else b"" for name in (FRAME_DATA, ROI_GROUPS)]
    return struct.pack("<IIII", _SCANIMAGE_MAGIC, version, len(parts[0]), len(parts[1])) + b"".join(parts)


def _scanimage(file: RawFile) -> list[Document]:
    if file.size < 32 or bytes(file.read(0, 4)) != b"II+\0":
        return []
    magic, version, frame_nbytes, roi_nbytes = struct.unpack("<IIII", file.read(_SCANIMAGE_AT, 16))
    if magic != _SCANIMAGE_MAGIC or frame_nbytes + roi_nbytes > file.size - 32:
        return []
    frame_data = bytes(file.read(32, frame_nbytes))
    documents = [Document(name=FRAME_DATA, media_type=f"text/plain; version={version}", data=frame_data)]
    if roi_nbytes:
        data = bytes(file.read(32 + frame_nbytes, roi_nbytes))
        documents.append(Document(name=ROI_GROUPS, media_type="application/json", data=data))
    return documents


def _micromanager(file: RawFile) -> list[Document]:
    if file.size < 40:
        return []
    header = bytes(file.read(0, 40))
    order = "<" if header[:2] == b"II" else ">"
    index, summary, nbytes = (struct.unpack_from(order + "I", header, at)[0] for at in (8, 32, 36))
    if (index, summary) != (_MICROMANAGER_INDEX, _MICROMANAGER_SUMMARY):
        return []
    documents = []
    blocks = {"Summary.json": (40, nbytes)}
    for name, (at, names, begins) in _MICROMANAGER.items():
        number, offset = struct.unpack_from(order + "II", header, at)
        if number == names and 0 < offset <= file.size - 8:
            first, count = struct.unpack(order + "II", file.read(offset, 8))
            if first == begins:
                blocks[name] = offset + 8, count * (_INDEX_ENTRY_NBYTES if name == _INDEX_MAP else 1)
    for name, (offset, count) in blocks.items():
        if 0 < count <= _LARGEST:
            try:
                data = bytes(file.read(offset, count))
            except CorruptDataError:
                continue  # in files of MicroManager the last blocks are often cut off
            media_type = "application/octet-stream" if name == _INDEX_MAP else "application/json"
            documents.append(Document(name=f"micromanager/{name}", media_type=media_type, data=data))
    return documents
