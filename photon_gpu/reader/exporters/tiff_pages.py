"""Write a TIFF file page by page, with the tags and the header of the movie's source.

tifffile writes its own metadata. This module writes every tag as it was, except those for the form of pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from photon_gpu.sources.tiff.metadata_tags import ASCII, Tags
from photon_gpu.sources.tiff.page_chain import NBYTES

_FORMATS = {"u": 1, "i": 2, "f": 3}
_SHORT, _LONG, _LONG8 = 3, 4, 16
_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


@dataclass(frozen=True, kw_only=True)
class PageForm:
    """Mapping of the values of a page to pixels.

    Attributes
    ----------
    samples : int
        Values of a pixel.
    planar : bool
        Whether the samples are stored one plane after another.
    extra_samples : tuple of int
        What the samples beyond the colours are.
    photometric : int
        The colours that values stand for.
    """

    samples: int = 1
    planar: bool = False
    extra_samples: tuple[int, ...] = ()
    photometric: int = 1


def write_pages(
    file: IO[bytes],
    pages: Iterable[NDArray],
    count: int,
    tags: Tags,
    *,
    header: bytes,
    big: bool,
    form: PageForm | None = None,
    contiguous: bool = False,
) -> None:
    """Write pages as an uncompressed TIFF file, in the byte order of the tags.

    Parameters
    ----------
    file : binary file
        Empty file, open for writing; it need not be seekable.
    pages : iterable of ndarray
        ``(H, W)``, or ``(samples, H, W)``, all alike.
    count : int
        Number of pages.
    tags : Tags
        Tags of the pages.
    header : bytes
        Bytes to write after the header of a BigTIFF file.
    big : bool
        Whether to write BigTIFF.
    form : PageForm, optional
        How values of a page are pixels. Default: one sample, of which 0 is black.
    contiguous : bool
        Whether all pixels come before all directories, as in files of ImageJ.
    """
    layout = _Layout(tags.order, big, form or PageForm())
    values = _Values(tags)
    stored = (
        np.ascontiguousarray(layout.as_stored(page), page.dtype.newbyteorder(tags.order))  # type: ignore[arg-type]  # "<" or ">"
        for page in pages
    )
    end = layout.header_nbytes + len(header)
    if contiguous:
        _write_contiguous(file, stored, count, layout, values, header)
        return
    for number, page in enumerate(stored):
        start = _aligned(end)
        if number == 0:
            file.write(layout.header(_aligned(start + page.nbytes)))
            file.write(header)
        file.write(bytes(start - end))
        file.write(page.data)
        directory = _aligned(start + page.nbytes)
        file.write(bytes(directory - start - page.nbytes))
        entries = {**values.at(number), **layout.form(page, start)}
        end = directory + layout.directory_nbytes(entries)
        following = _aligned(_aligned(end) + page.nbytes) if number + 1 < count else 0
        file.write(layout.directory(entries, directory, following))


def _write_contiguous(
    file: IO[bytes], pages: Iterator[NDArray], count: int, layout: _Layout, values: _Values, header: bytes
) -> None:
    """Write the pixels of all pages, then all directories."""
    end = layout.header_nbytes + len(header)
    start = _aligned(end)
    for number, page in enumerate(pages):
        if number == 0:
            directory = _aligned(start + count * page.nbytes)
            file.write(layout.header(directory) + header + bytes(start - end))
        file.write(page.data)
    file.write(bytes(directory - start - count * page.nbytes))
    for number in range(count):
        entries = {**values.at(number), **layout.form(page, start + number * page.nbytes)}
        following = directory + layout.directory_nbytes(entries)
        file.write(layout.directory(entries, directory, following if number + 1 < count else 0))
        directory = following


TagEntries = dict[int, tuple[int, bytes]]
"""Type and value of each tag."""


class _Layout:
    """Sizes and formats of a classic TIFF or a BigTIFF file."""

    def __init__(self, order: str, big: bool, form: PageForm) -> None:
        self._order, self._big, self._form = order, big, form
        forms = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
        self._count, self._entry, self._link = (order + form for form in forms)
        self._inline = 8 if big else 4
        self._entry_nbytes = struct.calcsize(self._entry) + self._inline
        self.header_nbytes = 16 if big else 8

    def header(self, first: int) -> bytes:
        mark = b"II" if self._order == "<" else b"MM"
        if self._big:
            return struct.pack(f"{self._order}2sHHHQ", mark, 43, 8, 0, first)
        return struct.pack(f"{self._order}2sHI", mark, 42, first)

    def directory_nbytes(self, entries: TagEntries) -> int:
        outside = sum(_aligned(len(value)) for _, value in entries.values() if len(value) > self._inline)
        return _aligned(self._table_nbytes(entries)) + outside

    def _table_nbytes(self, entries: TagEntries) -> int:
        return struct.calcsize(self._count) + len(entries) * self._entry_nbytes + self._inline

    def directory(self, entries: TagEntries, start: int, following: int) -> bytes:
        table, outside = [struct.pack(self._count, len(entries))], b""
        behind = start + _aligned(self._table_nbytes(entries))
        for code, (type_code, value) in sorted(entries.items()):
            table.append(struct.pack(self._entry, code, type_code, len(value) // NBYTES[type_code]))
            if len(value) <= self._inline:
                table.append(value.ljust(self._inline, b"\0"))
            else:
                table.append(struct.pack(self._link, behind + len(outside)))
                outside += value.ljust(_aligned(len(value)), b"\0")
        table.append(struct.pack(self._link, following))
        joined = b"".join(table)
        return joined.ljust(_aligned(len(joined)), b"\0") + outside

    def as_stored(self, page: NDArray) -> NDArray:
        """A page with its samples where they are stored."""
        return np.moveaxis(page, 0, -1) if self._form.samples > 1 and not self._form.planar else page

    def form(self, page: NDArray, start: int) -> TagEntries:
        """Tags that describe the form of a page."""
        form = self._form
        strips = form.samples if form.planar else 1
        height, width = page.shape[-2:] if form.planar or form.samples == 1 else page.shape[:2]
        nbytes = page.nbytes // strips
        long = _LONG8 if self._big else _LONG
        numbers: dict[int, tuple[int, list[int]]] = {
            256: (_LONG, [width]),
            257: (_LONG, [height]),
            258: (_SHORT, [page.dtype.itemsize * 8] * form.samples),
            259: (_SHORT, [1]),  # not compressed
            262: (_SHORT, [form.photometric]),
            273: (long, [start + strip * nbytes for strip in range(strips)]),
            277: (_SHORT, [form.samples]),
            278: (_LONG, [height]),
            279: (long, [nbytes] * strips),
            339: (_SHORT, [_FORMATS[page.dtype.kind]] * form.samples),
        }
        if form.samples > 1:
            numbers[284] = _SHORT, [2 if form.planar else 1]
        if form.extra_samples:
            numbers[338] = _SHORT, list(form.extra_samples)
        return {
            code: (type_code, struct.pack(f"{self._order}{len(values)}{_CODES[type_code]}", *values))
            for code, (type_code, values) in numbers.items()
        }


class _Values:
    """Values of the source's tags, page by page."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._current: TagEntries = {}

    def at(self, page: int) -> TagEntries:
        """Tags of a page; call this for each page in order."""
        for code, values in self._tags.values.items():
            if page not in values:
                continue
            value, type_code = values[page], self._tags.types[code]
            if value is None:
                self._current.pop(code, None)
            else:
                self._current[code] = type_code, value + b"\0" if type_code == ASCII else value
        return self._current


def _aligned(offset: int) -> int:
    return -(-offset // 16) * 16


def tags_of_pages(tags: Tags, pages: Iterable[int]) -> Tags:
    """Return the tags of some pages, as tags of a file with these pages only."""
    some = Tags(order=tags.order, types=tags.types)
    numbers = list(pages)
    some.pages = len(numbers)
    for code, values in tags.values.items():
        if values.keys() == {0, 1} and values[1] is None:  # of the first page alone, it is of the whole file
            some.values[code] = dict(values)
            continue
        every = list(tags.by_page(code))
        changes = some.values.setdefault(code, {})
        last: bytes | None = None
        for number, page in enumerate(numbers):
            value = every[page] if page < len(every) else None
            if value != last:
                last = changes[number] = value
    return some


def page_runs(positions: NDArray[np.int64]) -> Iterator[tuple[slice, tuple[int, ...]]]:
    """Yield runs of frames, and a page index, whose pages are consecutive in a file.

    Parameters
    ----------
    positions : ndarray of int, (T, ...)
        Number in the file of each page of a movie.

    Examples
    --------
    >>> [(run.start, run.stop, page) for run, page in page_runs(np.array([[0, 3], [1, 4], [2, 5]]))]
    [(0, 3, (0,)), (0, 3, (1,))]
    """
    shape = positions.shape
    order = np.argsort(positions, axis=None)
    frames, others = np.divmod(order, max(int(np.prod(shape[1:])), 1))
    breaks = np.flatnonzero((np.diff(frames) != 1) | (np.diff(others) != 0)) + 1
    for first, end in zip([0, *breaks.tolist()], [*breaks.tolist(), len(order)], strict=True):
        page = tuple(int(n) for n in np.unravel_index(others[first], shape[1:])) if shape[1:] else ()
        yield slice(int(frames[first]), int(frames[end - 1]) + 1), page
