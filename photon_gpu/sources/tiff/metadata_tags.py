"""Convert the metadata tags of a TIFF file to verbatim documents, and back."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from photon_gpu.errors import CorruptDataError
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.base import PageSelection
from photon_gpu.sources.tiff.page_chain import NBYTES, Directories
from photon_gpu.sources.tiff.rawfile import RawFile

POINTERS = {330: "SubIFDs", 34665: "ExifTag", 34853: "GPSTag", 40965: "InteroperabilityTag"}
"""Tags that only point to other places in the file."""

DESCRIPTION, SOFTWARE, ARTIST = 270, 305, 315
ASCII = 2
TAGS = "tiff/tags.json"
"""Document that lists the tags, the byte order of their values and the number of pages."""

_AT_ONCE = 256  # values that are read at a time
_MOST_BYTES = 1 << 30  # of all values: many directories may point to the same bytes
_INLINE_BYTES = 64  # longest value, other than text, that is stored in the list of tags itself

TagValues = dict[int, bytes | None]
"""Value of a tag by page; None if the page lacks the tag. Pages without an entry repeat the last one."""


@dataclass
class Tags:
    """Values of the tags of all pages.

    Attributes
    ----------
    order : {"<", ">"}
        Byte order of values that are not text.
    pages : int
        Number of directories.
    types : dict of int to int
        TIFF type of each tag.
    values : dict of int to dict
        Values by tag, then by page. Text has no NUL at its end.
    unread : set of int
        Tags whose values have several types, or that only point to something else.
    starts : dict of (int, int) to int
        Number of the directory whose image data begin at a byte of a file, by the number of the file and that
        byte.
    details : dict
        Further entries of :data:`TAGS`, for rewriting a file.
    """

    order: str = "<"
    pages: int = 0
    types: dict[int, int] = field(default_factory=dict)
    values: dict[int, TagValues] = field(default_factory=dict)
    unread: set[int] = field(default_factory=set)
    starts: dict[tuple[int, int], int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def at(self, code: int, page: int) -> bytes | None:
        """Value of a tag of one page; None if the page lacks the tag."""
        values = self.values.get(code, {})
        if page in values:
            return values[page]
        before = [number for number in values if number < page]
        return values[max(before)] if before else None

    def by_page(self, code: int) -> Iterator[bytes | None]:
        """Yield the value of a tag for each page."""
        values, value = self.values.get(code, {}), None
        for page in range(self.pages):
            value = values.get(page, value)
            yield value

    def text(self, code: int, page: int = 0) -> str:
        """Text of a tag of one page; empty if there is none."""
        return (self.at(code, page) or b"").decode("utf-8", "surrogateescape")


def read_tags(files: Sequence[RawFile], directories: Sequence[Directories]) -> Tags:
    """Read the values of the tags of files, one file after another."""
    tags = Tags(order=directories[0].order)
    last: dict[int, bytes | None] = {}
    nbytes = 0
    for number, (file, own) in enumerate(zip(files, directories, strict=True)):
        for code in sorted((own.entries.keys() | last.keys()) - tags.unread):
            for page, value in _values(file, code, own, tags):
                if value != last.get(code):
                    last[code] = tags.values.setdefault(code, {})[tags.pages + page] = value
                    nbytes += len(value or b"")
                if nbytes > _MOST_BYTES:
                    tags.unread.add(code)
                    break
        tags.starts |= {(number, start): tags.pages + page for page, start in enumerate(own.starts)}
        tags.pages += len(own.starts)
    for code in tags.unread:
        tags.values.pop(code, None)
    return tags


def _values(file: RawFile, code: int, own: Directories, tags: Tags) -> Iterator[tuple[int, bytes | None]]:
    """Yield the directories of a file where a tag may change, and its value from there on."""
    if code in POINTERS:
        tags.unread.add(code)
        return
    entries = [(page, entry) for page, entry in own.entries.get(code, {}).items() if page < len(own.starts)]
    if not entries or entries[0][0] > 0:
        yield 0, None
    order: Any = "little" if own.order == "<" else "big"
    for first in range(0, len(entries), _AT_ONCE):
        some = entries[first : first + _AT_ONCE]
        sizes = [0 if entry is None else NBYTES.get(entry.type, 0) * entry.number for _, entry in some]
        outside = [
            (int.from_bytes(entry.own, order), size)
            for size, (_, entry) in zip(sizes, some, strict=True)
            if entry is not None and size > len(entry.own)
        ]
        read = iter(file.read_many(outside))
        for size, (page, entry) in zip(sizes, some, strict=True):
            if entry is None:
                yield page, None
                continue
            if size == 0 or tags.types.setdefault(code, entry.type) != entry.type:
                tags.unread.add(code)
                return
            value = next(read) if size > len(entry.own) else entry.own[:size]
            if entry.type == ASCII:
                value = value.rstrip(b"\0")
            elif own.order != tags.order:
                value = swapped(value, entry.type)
            yield page, value


def swapped(value: bytes, type_code: int) -> bytes:
    """Bytes of a value in the other byte order."""
    size = 4 if type_code in (5, 10) else NBYTES[type_code]
    return b"".join(value[at : at + size][::-1] for at in range(0, len(value), size))


def says_nothing(code: int, value: bytes, order: str) -> bool:
    """Whether a tag has a default value without information."""
    numbers = {2: "H", 4: "I"}.get(len(value))
    number = struct.unpack(order + numbers, value)[0] if numbers else None
    if code == 254:  # NewSubfileType: a full image, perhaps of a multi-page file
        return number in (0, 2)
    if code in (274, 296):  # Orientation: as it lies; ResolutionUnit: none
        return number == 1
    if code in (282, 283) and len(value) == 8:  # XResolution, YResolution
        return value[:4] == value[4:]
    if code == SOFTWARE:
        return value.rstrip(b"\0") in (b"tifffile.py", b"")
    return code == DESCRIPTION and _only_a_shape(value)


def _only_a_shape(value: bytes) -> bool:
    """Whether a description is one of tifffile that only holds the shape, which the store has too."""
    text = value.rstrip(b"\0 ")
    try:
        description = json.loads(text) if text else {}
    except ValueError:
        return False
    return isinstance(description, dict) and description.keys() <= {"shape", "truncated"}


def to_documents(tags: Tags, *, always: bool = False) -> Recording:
    """Convert tags to documents; unless ``always``, there are none if no tag holds information."""
    import tifffile

    listed: list[dict[str, Any]] = []
    documents: list[Document] = []
    for code, values in sorted(tags.values.items()):
        type_code, text = tags.types[code], tags.types[code] == ASCII
        name = tifffile.TIFF.TAGS.get(code, f"tag-{code}").split("/")[0]
        if any(entry["name"] == name for entry in listed):
            name = f"{name}-{code}"  # tifffile has one name for several codes
        entry: dict[str, Any] = {"code": code, "name": name, "type": type_code}
        listed.append(entry)
        value, changes = values.get(0), {page: value for page, value in values.items() if page}
        if changes == {1: None}:
            entry["only"], changes = "first page", {}
        if value is not None and not text and len(value) <= _INLINE_BYTES:
            entry["value"] = _plain(value, text)
        elif value is not None:
            media = "text/plain" if text else "application/octet-stream"
            documents.append(Document(name=f"tiff/{name}", media_type=media, data=value))
        if changes:
            content = json.dumps({page: _plain(value, text) for page, value in changes.items()})
            documents.append(
                Document(name=_pages_name(name), media_type="application/json", data=content.encode())
            )
    unread = [
        POINTERS.get(code) or tifffile.TIFF.TAGS.get(code, f"tag {code}") for code in sorted(tags.unread)
    ]
    not_kept = tuple(f"what {name} says" for name in unread)
    if not (always or any(_says_something(tags, code) for code in tags.values)):
        return Recording(not_kept=not_kept)
    whole = {"byte_order": tags.order, "pages": tags.pages, "tags": listed, **tags.details}
    summary = Document(
        name=TAGS, media_type="application/json", data=json.dumps(whole, separators=(",", ":")).encode()
    )
    return Recording(documents=(summary, *documents), not_kept=not_kept)


def _says_something(tags: Tags, code: int) -> bool:
    values = tags.values[code].values()
    return any(value is not None and not says_nothing(code, value, tags.order) for value in values)


def from_documents(documents: dict[str, Document]) -> Tags | None:
    """Inverse of :func:`to_documents`; None if there are no such documents.

    Raises
    ------
    CorruptDataError
        The documents do not fit each other.
    """
    if TAGS not in documents:
        return None
    try:
        content = json.loads(documents[TAGS].data)
        tags = Tags(order=content.pop("byte_order"), pages=content.pop("pages"))
        for entry in content.pop("tags"):
            code, name, text = entry["code"], entry["name"], entry["type"] == ASCII
            tags.types[code], values = entry["type"], tags.values.setdefault(code, {})
            if "value" in entry:
                values[0] = _binary(entry["value"], text)
            elif f"tiff/{name}" in documents:
                values[0] = documents[f"tiff/{name}"].data
            if entry.get("only"):
                values[1] = None
            if _pages_name(name) in documents:
                changes = json.loads(documents[_pages_name(name)].data)
                values.update((int(page), _binary(value, text)) for page, value in changes.items())
        tags.details = content
        return tags
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptDataError(f"{TAGS} does not describe tags: {type(error).__name__}: {error}") from error


def choose_pages(recording: Recording, pages: PageSelection) -> Recording:
    """Note which pages of a file were chosen, so that a writer finds their tags."""
    documents = {document.name: document for document in recording.documents}
    content = json.loads(documents[TAGS].data) if TAGS in documents else {}
    if "shape" not in content:
        return recording
    form = content.get("page", {})
    lead = len(pages.shape) - 2 - len(form.keys() & {"samples", "depth"})
    count = math.prod(content["shape"])
    order = np.array(content.get("order", range(count)), np.int64)
    stored = order[: math.prod(pages.shape[:lead])].reshape(pages.shape[:lead])
    chosen = stored.transpose(pages.order[:lead])[pages.index[:lead]]
    content |= {"shape": list(chosen.shape), "axes": pages.axes, "order": chosen.reshape(-1).tolist()}
    content.setdefault("source_pages", count)
    if "samples" in form and isinstance(pages.index[lead], int):
        del form["samples"]
    data = json.dumps(content, separators=(",", ":")).encode()
    documents[TAGS] = replace(documents[TAGS], data=data)
    return recording.replace(documents=tuple(documents.values()))


def _pages_name(name: str) -> str:
    return f"tiff/{name}.pages.json"


def _plain(value: bytes | None, text: bool) -> str | None:
    if value is None:
        return None
    return value.decode("utf-8", "surrogateescape") if text else base64.b64encode(value).decode()


def _binary(value: str | None, text: bool) -> bytes | None:
    if value is None:
        return None
    return value.encode("utf-8", "surrogateescape") if text else base64.b64decode(value)
