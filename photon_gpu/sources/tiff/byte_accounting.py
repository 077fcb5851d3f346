"""Map of the bytes of a TIFF file: header, directories, values of tags, image data, or unclaimed.

It does not use the reader (:mod:`photon_gpu.sources.tiff.page_chain` and tifffile), so a mistake of the
reader appears as bytes that nothing claims.

Source: TIFF 6.0 (Adobe, 1992), section 2; BigTIFF (Aware Systems, 2007).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from photon_gpu.errors import CorruptDataError
from photon_gpu.sources.tiff.rawfile import RawFile

_NBYTES = dict(zip(range(1, 14), (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), strict=True))
_NBYTES |= {16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_SEGMENTS = {273: 279, 324: 325}  # tags of offsets, and the tags of their lengths
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _SAMPLES, _DEPTH = 256, 257, 258, 259, 277, 32997


@dataclass(frozen=True, slots=True)
class Tag:
    """Entry of a directory; ``start`` is None if the entry itself holds the value."""

    code: int
    type_code: int
    count: int
    nbytes: int
    inline: bytes
    start: int | None


@dataclass(frozen=True, slots=True)
class Directory:
    """Image file directory of the main chain.

    Attributes
    ----------
    number : int
    tags : dict of int to Tag
    pixels : int
        Number of samples of its image, from the tags for its size.
    page_nbytes : int or None
        Bytes of its image if it is not compressed, else None.
    end : int
        End of its last strip or tile.
    """

    number: int
    tags: dict[int, Tag]
    pixels: int
    page_nbytes: int | None
    end: int


@dataclass(slots=True)
class _Claims:
    starts: array[int] = field(default_factory=lambda: array("q"))
    stops: array[int] = field(default_factory=lambda: array("q"))

    def add(self, start: int, nbytes: int) -> None:
        self.starts.append(start)
        self.stops.append(start + nbytes)


class TiffBytes:
    """Map of a file. Iterate over :meth:`directories` first, then call :meth:`unclaimed`.

    Parameters
    ----------
    file : RawFile
        File that is open for reading.

    Raises
    ------
    CorruptDataError
        If a directory points outside the file.
    """

    def __init__(self, file: RawFile) -> None:
        self.file = file
        header = bytes(file.read(0, min(16, file.size)))
        self.order = "<" if header[:2] == b"II" else ">"
        self._big = header[2:4] in (b"\x2b\0", b"\0\x2b")
        self._offset = "Q" if self._big else "I"
        self._claims = _Claims()
        self._claims.add(0, 16 if self._big else 8)
        self._first = self._number(self._offset, header, 8 if self._big else 4)

    def directories(self) -> Iterator[Directory]:
        """Iterate over the directories of the main chain, and record the bytes that they claim."""
        offset, number, seen = self._first, 0, set()
        while offset and offset not in seen:
            seen.add(offset)
            directory, offset = self._directory(offset, number)
            yield directory
            number += 1

    def value(self, tag: Tag, most: int = 1 << 16) -> bytes:
        """Read the value of a tag, at most ``most`` bytes."""
        nbytes = min(tag.nbytes, most)
        return tag.inline[:nbytes] if tag.start is None else bytes(self.file.read(tag.start, nbytes))

    def integers(self, tag: Tag) -> tuple[int, ...]:
        """Values of a tag of whole numbers; empty for other types."""
        form = _INTEGERS.get(tag.type_code)
        if form is None:
            return ()
        return struct.unpack(f"{self.order}{tag.count}{form}", self.value(tag, tag.nbytes))

    def unclaimed(self) -> list[tuple[int, int]]:
        """Ranges ``(start, stop)`` of the file that nothing points to."""
        starts = np.frombuffer(self._claims.starts, np.int64)
        order = np.argsort(starts, kind="stable")
        starts = starts[order]
        reached = np.maximum.accumulate(np.frombuffer(self._claims.stops, np.int64)[order])
        begins, ends = np.append(0, reached), np.append(starts, self.file.size)
        gaps = np.flatnonzero(ends > begins)
        return [(int(begins[gap]), int(ends[gap])) for gap in gaps]

    def _directory(self, offset: int, number: int) -> tuple[Directory, int]:
        count_form, entry_nbytes, inline = ("Q", 20, 8) if self._big else ("H", 12, 4)
        count_nbytes = struct.calcsize(count_form)
        count = self._number(count_form, bytes(self.file.read(offset, count_nbytes)))
        nbytes = count_nbytes + count * entry_nbytes + inline
        self._claims.add(offset, nbytes)
        block = bytes(self.file.read(offset, nbytes))
        tags = {}
        for position in range(count_nbytes, nbytes - inline, entry_nbytes):
            code, type_code = struct.unpack_from(f"{self.order}HH", block, position)
            values = self._number(self._offset, block, position + 4)
            own = block[position + entry_nbytes - inline : position + entry_nbytes]
            size = _NBYTES.get(type_code, 0) * values
            start = None if size <= inline else self._number(self._offset, own)
            if start is not None:
                if start + size > self.file.size:
                    raise CorruptDataError(f"{self.file.name}: tag {code} lies beyond the end of the file")
                self._claims.add(start, size)
            tags[code] = Tag(code, type_code, values, size, own, start)
        following = self._number(self._offset, block, nbytes - inline)
        return self._described(number, tags), following

    def _described(self, number: int, tags: dict[int, Tag]) -> Directory:
        end = 0
        for offsets, lengths in _SEGMENTS.items():
            if offsets in tags and lengths in tags:
                for start, nbytes in zip(
                    self.integers(tags[offsets]), self.integers(tags[lengths]), strict=False
                ):
                    self._claims.add(start, nbytes)
                    end = max(end, start + nbytes)
        one = {code: self.integers(tags[code]) for code in (_WIDTH, _LENGTH, _BITS, _SAMPLES) if code in tags}
        others = {code: self.integers(tags[code]) for code in (_COMPRESSION, _DEPTH) if code in tags}
        first: dict[int, int] = {code: values[0] for code, values in (one | others).items() if values}
        pixels = first.get(_WIDTH, 0) * first.get(_LENGTH, 0) * first.get(_SAMPLES, 1) * first.get(_DEPTH, 1)
        plain = first.get(_COMPRESSION, 1) == 1 and first.get(_BITS, 1) % 8 == 0
        return Directory(number, tags, pixels, pixels * first.get(_BITS, 1) // 8 if plain else None, end)

    def _number(self, form: str, data: bytes, position: int = 0) -> int:
        return int(struct.unpack_from(self.order + form, data, position)[0])


def hidden_pages(page: Directory, unclaimed: list[tuple[int, int]]) -> int:
    """Number of whole pages without a directory that could follow the file's only page.

    Parameters
    ----------
    page : Directory
    unclaimed : list of (int, int)
        Result of :meth:`TiffBytes.unclaimed`.
    """
    behind: Any = next((stop - start for start, stop in unclaimed if start == page.end), 0)
    return behind // page.page_nbytes if page.page_nbytes else 0
