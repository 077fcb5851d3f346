"""Read the chain of pages of a TIFF file strictly.

Other readers rescue what they can: if the chain of image file directories breaks off, they log a line and
return fewer frames, or zeros. A movie must not shrink silently, so this module reads the chain first, and
every directory, tag and link must be inside the file.

Source: TIFF 6.0 (Adobe, 1992), sections 2 and 8; BigTIFF (Aware Systems, 2007).
"""

from __future__ import annotations

import itertools
import struct
from array import array
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from photon_gpu.errors import CorruptDataError
from photon_gpu.sources.tiff.rawfile import RawFile

NBYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a value by TIFF type."""

NBYTES |= {16: 8, 17: 8, 18: 8}
_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS = 273, 279, 324, 325
_SEGMENT_TAGS = {_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS}
_WIDTH, _LENGTH, _JPEG_TABLES = 256, 257, 347
_BYTE_ORDER = 0  # not a tag, but part of the form

# Tags that determine how the bytes of a page become pixels, with their defaults.
_FORM_DEFAULTS: dict[int, tuple[int, ...] | None] = {
    _WIDTH: None,
    _LENGTH: None,
    258: (1,),  # BitsPerSample
    259: (1,),  # Compression
    266: (1,),  # FillOrder
    277: (1,),  # SamplesPerPixel
    278: None,  # RowsPerStrip
    284: (1,),  # PlanarConfiguration
    317: (1,),  # Predictor
    322: None,  # TileWidth
    323: None,  # TileLength
    339: (1,),  # SampleFormat
    _JPEG_TABLES: None,
    530: None,  # YCbCrSubSampling
    32997: (1,),  # ImageDepth
    32998: (1,),  # TileDepth
}
_SIZE_AND_ENCODING = (256, 257, 258, 259, 262, 266, 277, 284, 317, 338, 339, 347, 530, 531, 532, 32997)
_STRIPS_AND_TILES = (273, 278, 279, 322, 323, 324, 325, 32998)
FORM = frozenset([*_SIZE_AND_ENCODING, *_STRIPS_AND_TILES])
"""Tags that only say how image data become an array."""

_MOST_TAGS = 4096
_FIRST_READ = 512
_NONE = array("Q")

Form = tuple[tuple[int, tuple[int, ...] | bytes], ...]
_Stored = tuple[int, int, int, bytes]  # code, type, count and value of a tag


@dataclass(frozen=True, slots=True)
class Page:
    """Image file directory: where its pixels are, and how their bytes become an array.

    Attributes
    ----------
    form : tuple
        Tags that determine how bytes become pixels. Pages of equal form are decoded alike.
    offsets, counts : array of int
        Offset and length, in bytes, of each strip or tile.
    """

    form: Form
    offsets: array[int]
    counts: array[int]


class Entry(NamedTuple):
    """Entry of a directory: type and number of values, and the bytes that are the value or its offset."""

    type: int
    number: int
    own: bytes


@dataclass(slots=True)
class Directories:
    """Tags of the directories of a file that do not describe the form of the pages.

    Attributes
    ----------
    order : {"<", ">"}
        Byte order of the file.
    starts : array of int
        Offset of the first strip or tile of each directory; 0 if it has none.
    entries : dict of int to dict
        Entries by tag, then by directory. An entry is listed if it differs from that of the previous
        directory; None if the tag is missing.
    """

    order: str = "<"
    starts: array[int] = field(default_factory=lambda: array("Q"))
    entries: dict[int, dict[int, Entry | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """Position at which the chain of pages of a file is cut off.

    Attributes
    ----------
    what : str
        What lies beyond the end of the file.
    next_page : int
        Offset of the directory that could not be read.
    """

    what: str
    next_page: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Pages of a file, the other tags of their directories, and the cut of a file that is cut off."""

    pages: list[Page]
    directories: Directories
    cut: Cut | None = None


def read_whole_pages(file: RawFile) -> Chain:
    """Read all pages of a TIFF or BigTIFF file in file order, or those before the place where it is cut off.

    Raises
    ------
    CorruptDataError
        If the file is not TIFF, if the value of a tag is damaged, or if the chain is circular: pages may lie
        behind the damage. The message says how many whole pages precede it.
    """
    walk = _Walk(file)
    try:
        return Chain(walk.pages(), walk.directories)
    except CorruptDataError:
        if walk.cut is None:
            raise
        return Chain(walk.whole_pages, walk.directories, walk.cut)


class _Walk:
    """One pass over a file, with the number formats of its header.

    Nearly all entries of a directory equal those of the previous one. Only the others are parsed.
    """

    def __init__(self, file: RawFile) -> None:
        self.file = file
        self.whole_pages: list[Page] = []
        self.cut: Cut | None = None
        self.next_page = 0
        self.table = b""  # entries of the last directory
        # Parts of the table that were equal in all directories since the tags last changed.
        self.same: list[slice] = []
        self.same_bytes: list[bytes] = []
        self.differing: list[int] = []  # positions of the other entries
        self.segments: dict[int, array[int]] = {}
        self.stored: dict[int, _Stored] = {}  # tags of the form
        self.form: Form = ()
        self.forms: dict[tuple[_Stored, ...], Form] = {}
        if file.size < 8:
            self.broken(f"a TIFF header has 8 bytes, the file {file.size}")
        header = bytes(file.read(0, min(16, file.size)))
        order = {b"II": "<", b"MM": ">"}.get(header[:2])
        version = struct.unpack(f"{order}H", header[2:4])[0] if order else 0
        if order is None or version not in (42, 43):
            raise CorruptDataError(
                f"{file.name}: this is not a TIFF file, it begins with {header[:4]!r}; "
                "TIFF begins with b'II*\\x00' or b'MM\\x00*', BigTIFF with '+' for '*'"
            )
        big = version == 43
        self.count = struct.Struct(order + ("Q" if big else "H"))
        self.entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
        self.link = struct.Struct(order + ("Q" if big else "I"))
        self.order = order
        self.directories = Directories(order)
        if big and len(header) < 16:
            self.broken(f"a BigTIFF header has 16 bytes, the file {file.size}")
        self.first = self.link.unpack_from(header, 8 if big else 4)[0]

    def pages(self) -> list[Page]:
        seen: set[int] = set()
        offset = self.first
        if offset == 0:
            self.broken("the header links to no page; the writer never finished")
        while offset:
            if offset in seen:
                self.broken(f"the chain of pages runs in a circle at byte {offset}")
            seen.add(offset)
            self.next_page = offset
            offset = self.page(offset)
        return self.whole_pages

    def page(self, offset: int) -> int:
        """Read the directory at ``offset``; return the offset of the next one."""
        size = self.file.size
        if offset + self.count.size > size:
            self.broken(f"the next page begins at byte {offset}, the file has {size}", cut=True)
        block = self.file.read(offset, min(_FIRST_READ, size - offset))
        tags = self.count.unpack_from(block)[0]
        if not 0 < tags <= _MOST_TAGS:
            self.broken(f"the page at byte {offset} claims {tags} tags; 1 to {_MOST_TAGS} are plausible")
        end = self.count.size + tags * self.entry.size
        if offset + end + self.link.size > size:
            self.broken(
                f"the tags of the page at byte {offset} run past the end of the file at byte {size}", cut=True
            )
        if end + self.link.size > len(block):
            block = self.file.read(offset, end + self.link.size)
        self.parse(offset, bytes(block[self.count.size : end]))
        return int(self.link.unpack_from(block, end)[0])

    def parse(self, offset: int, table: bytes) -> None:
        """Parse the entries of a directory that differ from those of the previous one."""
        if len(table) == len(self.table) and [table[part] for part in self.same] == self.same_bytes:
            positions = self.differing
        else:
            positions = self.compare(table)
        self.table = table
        form_changed = False
        for position in positions:
            code, type_code, count, inline = self.entry.unpack_from(table, position)
            # Inline values cannot be cut off; all others must lie in the file.
            nbytes = NBYTES.get(type_code, 0) * count
            at = None if nbytes <= len(inline) else self.link.unpack(inline)[0]
            if at is not None and at + nbytes > self.file.size:
                self.broken(
                    f"tag {code} of the page at byte {offset} lies at bytes {at} to {at + nbytes}, "
                    f"the file has {self.file.size}",
                    cut=True,
                )
            if code in _SEGMENT_TAGS or code in _FORM_DEFAULTS:
                raw = inline[:nbytes] if at is None else bytes(self.file.read(at, nbytes))
                if code in _SEGMENT_TAGS:
                    self.segments[code] = array("Q", self.numbers(offset, code, type_code, count, raw))
                else:
                    self.stored[code] = code, type_code, count, raw
                    form_changed = True
            if code not in FORM:
                self.directories.entries.setdefault(code, {})[len(self.whole_pages)] = Entry(
                    type_code, count, inline
                )
        if form_changed or not self.whole_pages:
            key = tuple(self.stored.values())
            # Thousands of pages have the same form, so it is computed once.
            if key not in self.forms:
                self.forms[key] = self.form_of(offset, key)
            self.form = self.forms[key]
        tiled = _TILE_OFFSETS in self.segments
        offsets = self.segments.get(_TILE_OFFSETS if tiled else _STRIP_OFFSETS, _NONE)
        counts = self.segments.get(_TILE_COUNTS if tiled else _STRIP_COUNTS, _NONE)
        self.directories.starts.append(offsets[0] if offsets else 0)
        self.whole_pages.append(Page(self.form, offsets, counts))

    def compare(self, table: bytes) -> list[int]:
        """Return the positions of the entries of a directory that differ from those of the previous one."""
        size = self.entry.size
        places = range(0, len(table), size)
        # The same tags of the same types; an entry that differed once is parsed from then on.
        if len(table) == len(self.table) and all(
            table[at : at + 4] == self.table[at : at + 4] for at in places
        ):
            before = set(self.differing)
            changed = [
                at for at in places if at in before or table[at : at + size] != self.table[at : at + size]
            ]
            self.differing = changed
        else:
            self.forget_last(table)
            changed, self.differing = list(places), []
        edges = [-size, *self.differing, len(table)]
        self.same = [slice(at + size, end) for at, end in itertools.pairwise(edges) if at + size < end]
        self.same_bytes = [table[part] for part in self.same]
        return changed

    def forget_last(self, table: bytes) -> None:
        """Forget the previous directory, since the tags change; store None for each tag that is gone."""
        self.segments, self.stored = {}, {}
        codes = {code for code, *_ in self.entry.iter_unpack(table)}
        for code, entries in self.directories.entries.items():
            if code not in codes and next(reversed(entries.values())) is not None:
                entries[len(self.whole_pages)] = None

    def form_of(self, offset: int, stored: tuple[_Stored, ...]) -> Form:
        form: list[tuple[int, tuple[int, ...] | bytes]] = [(_BYTE_ORDER, self.order.encode())]
        for code, type_code, count, raw in stored:
            if code == _JPEG_TABLES:
                form.append((code, raw))
                continue
            numbers = self.numbers(offset, code, type_code, count, raw)
            if len(set(numbers)) == 1:
                numbers = numbers[:1]  # BitsPerSample (16, 16, 16) means the same as (16,)
            if numbers != _FORM_DEFAULTS[code]:
                form.append((code, numbers))
        return tuple(form)

    def numbers(self, offset: int, code: int, type_code: int, count: int, raw: bytes) -> tuple[int, ...]:
        if type_code not in _NUMBERS or count == 0:
            self.broken(
                f"tag {code} of the page at byte {offset} has {count} values of type {type_code}; "
                "it needs numbers"
            )
        return struct.unpack(f"{self.order}{count}{_NUMBERS[type_code]}", raw)

    def broken(self, what: str, *, cut: bool = False) -> NoReturn:
        self.cut = Cut(what, self.next_page) if cut else None
        raise CorruptDataError(
            f"{self.file.name}: the TIFF file is truncated or damaged after {len(self.whole_pages)} "
            f"whole page(s): {what}. Copy it again, or write the whole pages to a new file"
        )
