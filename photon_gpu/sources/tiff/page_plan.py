"""Assign the pages of a TIFF file to frames, and find their bytes.

tifffile reads the dialects (OME, ImageJ, ScanImage, shaped) and gives the order in which pages form the axes.
This module compares that with the pages of the file. A page that is missing, left over or of another form is
an error, never a frame of zeros or a dropped frame.
"""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import tifffile
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.recording import NOTHING, Recording
from photon_gpu.sources.check import SingleImageError
from photon_gpu.sources.select.axes import frame_axis
from photon_gpu.sources.tiff.find_ome_xml import COMPANION, OmePlanes, metadata_file, planes_in_files
from photon_gpu.sources.tiff.page_chain import Chain, Cut, Directories, Page, read_whole_pages
from photon_gpu.sources.tiff.promised_frames import more_pages, named_outside
from photon_gpu.sources.tiff.rawfile import RawFile
from photon_gpu.sources.tiff.scanimage_interleaving import DROP, KEEP, ScanImageHeader, interleaving
from photon_gpu.sources.truncated_file import refuse

_AS_PAGES = "pass as_pages=True to take every page as a frame, in file order"
_DIALECTS = {"ome", "imagej", "scanimage", "micromanager", "lsm", "stk", "fluoview", "nih", "ndtiff"}
_JPEG = {6, 7, 34892, 33007}
_MOST_MISSING = 1_000_000  # pages that one file may promise without having them, or
_MOST_PROMISED = 1000  # so many times those that it has room for: more means damaged numbers


@dataclass(frozen=True)
class SegmentMap:
    """Places of the segments (strips, tiles, or whole pages) of each frame.

    Attributes
    ----------
    keyframe : tifffile.TiffPage
        Page whose form all others share.
    pages : ndarray of int
        Page numbers, ``(T, ...)``: indices of the next three.
    files : list of RawFile
        Open files; OME movies may span several.
    directories : list of Directories
        What the directories of each file say besides.
    first_pages : list of Page
        Pages of the first file, the first two at most.
    file_of : ndarray of int
        Index into ``files``, per page.
    offsets, counts : ndarray of int, (page, segment)
        Offset and length in bytes of each segment; 0 if the file has none.
    decode : callable
        ``decode(data, segment)``: the segment's pixels and their place in the page.
    axes : str or None
        Letters of the axes of ``pages``; see :class:`photon_gpu.recording.Recording`. None if unknown.
    recording : Recording
        Metadata of the recording that follow from the order of the pages.
    note : str or None
        Remark for reports.
    lacking : str
        Why pages that the metadata promise are missing; empty if none are missing.
    cut : str
        Where the chain of pages of the last file ends too early; empty if it is whole.
    series : int
        Number of the series in the file.
    """

    keyframe: Any
    pages: NDArray[Any]
    files: list[RawFile]
    directories: list[Directories]
    first_pages: list[Page]
    file_of: NDArray[Any]
    offsets: NDArray[Any]
    counts: NDArray[Any]
    decode: Callable[..., Any]
    axes: str | None = None
    recording: Recording = NOTHING
    note: str | None = None
    lacking: str = ""
    cut: str = ""
    series: int = 0

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()


_Listed = tuple[str, Page] | None
"""File and page; None for a missing page."""


def plan_movie(
    path: str,
    *,
    series: int | None,
    as_pages: bool,
    flyback: str | None = None,
    volumes: bool = True,
    single: bool = False,
    following: Sequence[str] = (),
) -> SegmentMap:
    """Read the pages of a file, and compare them with the order that tifffile gives.

    Missing pages that the metadata promise have offset and length 0.

    Parameters
    ----------
    flyback : {"keep", "drop"}, optional
        Whether the flyback frames of ScanImage volumes are planes of the movie (default), or left out.
    volumes : bool
        Whether the planes of ScanImage volumes form an axis, or are frames in turn.
    single : bool
        Whether one image is a movie of one frame.
    following : sequence of str
        Further files of the same ScanImage acquisition; a volume may begin in one and end in the next.

    Raises
    ------
    CorruptDataError
        If the file, or its metadata, is damaged or truncated.
    InvalidInputError
        If the file is not a single movie.
    """
    if flyback not in (None, KEEP, DROP):
        raise InvalidInputError(f"flyback is {flyback!r}; allowed are {KEEP!r} and {DROP!r}")
    planner = _Planner((path, *following), flyback, volumes, single)
    try:
        return planner.plan(series, as_pages)
    except BaseException:
        planner.close()
        raise


class _Planner:
    def __init__(self, paths: Sequence[str], flyback: str | None, volumes: bool, single: bool) -> None:
        self.paths, self.path = paths, paths[0]
        self.flyback, self.volumes, self.single = flyback, volumes, single
        self.absolute = os.path.abspath(self.path)  # noqa: PTH100 - as tifffile names it
        self.lacking = ""
        self.cut: dict[str, Cut] = {}
        self.by_start: dict[str, dict[tuple[int, ...], Page]] = {}
        self.files: dict[str, RawFile] = {}
        self.chains: dict[str, Chain] = {}

    def close(self) -> None:
        for file in self.files.values():
            file.close()

    def chain(self, path: str) -> list[Page]:
        if path not in self.files:
            self.files[path] = RawFile(path)
            self.chains[path] = chain = read_whole_pages(self.files[path])
            if chain.cut is not None:
                self.cut[path] = chain.cut
                if not chain.pages:
                    refuse(path, chain.cut.what, 0)
        return self.chains[path].pages

    def plan(self, series: int | None, as_pages: bool) -> SegmentMap:
        chain = self.chain(self.path)
        if as_pages and series is not None:
            raise InvalidInputError(f"{self.path}: series and as_pages exclude each other; give one of them")
        try:
            with tifffile.TiffFile(self.path) as tif:
                number = self.pages_in_a_row(tif) if self.path in self.cut and len(chain) == 1 else 0
                if as_pages and number > 1:
                    raise CorruptDataError(
                        f"{self.path}: {self.cut[self.path].what}; pages follow its only directory, and "
                        "as_pages=True would lose them: leave as_pages out"
                    )
                if as_pages:
                    self.refuse_hidden_pages(tif)
                    return self.in_file_order(tif, (len(chain),), "t")
                if tif.is_scanimage and not tif.is_shaped:
                    return self.scanimage(tif)
                if number > 1:
                    order = np.arange(number)
                    return self.build(tif.pages.first, self.in_a_row(chain[0], number), order, "t")
                other = self.metadata_file(tif)
                if other is None:
                    return self.series(tif, series)
            if other.suffix != COMPANION:
                return self.described_by(str(other), series)
            with tifffile.TiffFile(self.path, omexml=other.read_text("utf-8", "replace")) as tif:
                return self.series(tif, series)
        except CorruptDataError:
            raise
        except InvalidInputError:
            if self.path in self.cut:
                return self.before_the_cut(self.cut[self.path])
            raise
        except Exception as error:
            # tifffile reports damage by many types: ValueError, struct.error, KeyError, ...
            if self.path in self.cut:
                return self.before_the_cut(self.cut[self.path])
            raise CorruptDataError(
                f"{self.path}: the TIFF's metadata cannot be understood ({type(error).__name__}: "
                f"{str(error)[:100]}){self.if_sound()}"
            ) from error

    def metadata_file(self, tif: Any) -> Path | None:
        """Find another file that describes this one; a file that is joined with others needs none."""
        try:
            return metadata_file(self.path, tif.ome_metadata if tif.is_ome else None)
        except SingleImageError:
            if not self.single:
                raise
            return None

    def described_by(self, path: str, series: int | None) -> SegmentMap:
        """Plan the movie of another file, whose metadata describe this file too."""
        return plan_movie(
            path,
            series=series,
            as_pages=False,
            flyback=self.flyback,
            volumes=self.volumes,
            single=self.single,
        )

    def refuse_hidden_pages(self, tif: Any) -> None:
        scanimage = tif.is_scanimage and not tif.is_shaped
        if tif.is_ome and metadata_file(self.path, tif.ome_metadata) is not None:
            raise InvalidInputError(f"{self.path}: the file is a part of an OME movie; leave as_pages out")
        if more := more_pages(self.path, None if scanimage else lambda: tif.series):
            raise InvalidInputError(
                f"{self.path}: as_pages takes each directory as a frame, and would lose frames: "
                f"{more}. Leave it out"
            )
        if scanimage and (channels := ScanImageHeader.of(tif).channels()[0]) > 1:
            warnings.warn(
                f"{self.path}: ScanImage saved {channels} channels, which as_pages takes for frames in turn",
                PhotonWarning,
                stacklevel=6,
            )

    def if_sound(self) -> str:
        """Advice to read pages as frames, if that loses none."""
        if more_pages(self.path):
            return "; read it with the program that wrote it, and pass the array"
        return f"; if the pages themselves are sound, {_AS_PAGES}"

    def in_file_order(self, tif: Any, lead: tuple[int, ...], axes: str) -> SegmentMap:
        pages: list[_Listed] = [(path, page) for path in self.paths for page in self.chain(path)]
        pages += self.none(math.prod(lead) - len(pages))
        return self.build(tif.pages.first, pages, np.arange(len(pages)).reshape(lead), axes)

    def before_the_cut(self, cut: Cut) -> SegmentMap:
        """Plan the pages before a cut, in a file whose metadata say no more than their order."""
        with tifffile.TiffFile(self.path) as tif:
            page = tif.pages.first
            try:
                shape = json.loads(page.description).get("shape", []) if tif.is_shaped else []
            except ValueError as error:
                raise CorruptDataError(f"{self.path}: its description is damaged: {error}") from error
            if page.flags & _DIALECTS or len(shape) > page.ndim + 1:
                refuse(self.path, f"{cut.what}; how many frames are whole is not clear from its metadata", 0)
            return self.in_file_order(tif, (len(self.chain(self.path)),), "t")

    def pages_in_a_row(self, tif: Any) -> int:
        """Number of pages before a cut, if the file has all pixels first and then the other directories.

        tifffile and ImageJ write such files. Only the first directory is left then, and its link says how far
        the pixels went.
        """
        page, first = tif.pages.first, self.chain(self.path)[0]
        shape = json.loads(page.description).get("shape", []) if tif.is_shaped else []
        stacks = re.findall(r"^(?:channels|slices|frames)=", page.description or "", re.MULTILINE)
        if not page.is_final or not first.offsets or len(stacks) > 1 or len(shape) > page.ndim + 1:
            return 0
        number = (self.cut[self.path].next_page - first.offsets[0]) // max(page.nbytes, 1)
        self.refuse_implausible(number, self.room(page.nbytes))
        images = re.search(r"^images=(\d+)", page.description or "", re.MULTILINE)
        promised = shape[0] if len(shape) > page.ndim else int(images[1]) if images else number
        if number > promised:
            # What follows the pixels would be read as pixels.
            raise CorruptDataError(
                f"{self.path}: the next directory lies {number:,} pages further on, and the metadata promise "
                f"{promised:,}; one of these numbers is damaged"
            )
        return number

    def room(self, nbytes: int) -> int:
        """Number of pages of ``nbytes`` that the file is large enough for."""
        return os.stat(self.path).st_size // max(nbytes, 1)  # noqa: PTH116 - as above

    def refuse_implausible(self, promised: int, there: int) -> None:
        """Raise CorruptDataError for a promise that no cut of the file explains, before it is listed."""
        if promised - there > max(_MOST_MISSING, _MOST_PROMISED * there):
            raise CorruptDataError(
                f"{self.path}: its metadata promise {promised:,} pages, and at most {there:,} are there; "
                "the number is damaged"
            )

    def in_a_row(self, first: Page, number: int) -> list[_Listed]:
        """Pages whose pixels follow one another, without directories of their own."""
        nbytes = sum(first.counts)
        places = range(first.offsets[0], first.offsets[0] + number * nbytes, nbytes)
        return [
            (self.path, Page(first.form, array("Q", (offset,)), array("Q", (nbytes,)))) for offset in places
        ]

    def scanimage(self, tif: Any) -> SegmentMap:
        """ScanImage: pages in the order of acquisition, volumes of planes of channels."""
        number = sum(len(self.chain(path)) for path in self.paths)
        order = interleaving(tif, number)
        if not self.volumes:
            order = replace(order, planes=1, flyback=0, repeats=1)
        if number == 1 and order.per_volume == 1:
            return self.one_page(tif, tif.pages.first)
        if number % order.per_volume:
            self.lacking = self.incomplete(order, number)
        volumes = -(-number // order.per_volume)
        stored = (volumes, order.planes, order.repeats, order.channels)
        plan = self.in_file_order(tif, stored, "t")
        # (volume, plane, repeat, channel): repeats of a plane are consecutive in time.
        pages = plan.pages.swapaxes(1, 2).reshape(-1, order.planes, order.channels)
        note, names = None, order.channel_names
        not_kept: tuple[str, ...] = ()
        if order.flyback and self.flyback == DROP:
            pages = pages[:, : -order.flyback]
            not_kept = (f"{order.flyback} flyback frames of each volume",)
        elif order.flyback:
            note = (
                f"the last {order.flyback} of {order.planes} planes are flyback frames; flyback='drop' "
                f"leaves "
                "them out"
            )
        sizes, letters = pages.shape, "tzc"
        keep = [0, *(axis for axis in (1, 2) if sizes[axis] > 1)]
        height = tif.pages.first.shape[0]
        recording = Recording(
            channel_names=names, not_kept=not_kept, rois=ScanImageHeader.of(tif).rois(height)
        )
        return replace(
            plan,
            pages=pages.reshape([sizes[axis] for axis in keep]),
            axes="".join(letters[axis] for axis in keep),
            recording=recording,
            note=note,
        )

    def incomplete(self, order: Any, number: int) -> str:
        if number % order.channels:
            return f"ScanImage saved {order.channels} channels, and {number} pages do not divide by that"
        return (
            f"ScanImage saved volumes of {order.per_volume} pages, and {number} do not divide "
            "(volumes=False: planes are frames)"
        )

    def series(self, tif: Any, wanted: int | None) -> SegmentMap:
        if outside := named_outside(self.path, tif.ome_metadata or ""):
            raise CorruptDataError(
                f"{self.path}: its OME metadata name the file {outside[:80]!r}, which is not in this folder "
                f"or below; nothing was read. {_AS_PAGES}"
            )
        many = planes_in_files(tif.ome_metadata) if tif.is_ome and tif.ome_metadata else None
        if many is not None and wanted is None and (plan := self.in_many_files(tif, many)) is not None:
            return plan
        listed = tif.series
        if wanted is not None:
            if not 0 <= wanted < len(listed):
                raise InvalidInputError(
                    f"{self.path}: series {wanted} was asked for; there are {len(listed)}: {_listed(listed)}"
                )
            return self.one_series(tif, listed[wanted], every_page=False, index=wanted)
        # If tifffile cannot follow the OME-XML, it returns the pages of this file only.
        alone = tif.is_ome and all(one.kind == "generic" for one in listed) and not self.single
        if alone and (more := more_pages(self.path)):
            raise CorruptDataError(f"{self.path}: {more}; other files of the movie are missing or differ")
        if len(listed) == 1:
            return self.one_series(tif, listed[0], every_page=True)
        if len(listed) == len(self.chain(self.path)) and all(
            math.prod(one.shape) == one.keyframe.size and one.keyframe.hash == listed[0].keyframe.hash
            for one in listed
        ):
            # Frames written one by one by tifffile: each calls itself a series.
            return self.in_file_order(tif, (len(listed),), "t")
        advice = "" if more_pages(self.path) else f", or {_AS_PAGES}"
        raise InvalidInputError(
            f"{self.path}: the TIFF holds {len(listed)} series: {_listed(listed)}; choose one by "
            f"series={advice}"
        )

    def one_series(self, tif: Any, series: Any, *, every_page: bool, index: int = 0) -> SegmentMap:
        keyframe = series.keyframe
        if len(keyframe.treeindex) > 1:
            raise InvalidInputError(
                f"{self.path}: this series lies in sub-directories (a thumbnail or a pyramid level), "
                "which are not read as movies"
            )
        if keyframe.size == 0 or math.prod(series.shape) % keyframe.size:
            self.mismatch(f"{series.axes} {series.shape} is not made of pages {keyframe.shape}")
        number = math.prod(series.shape) // keyframe.size
        pages: list[_Listed]
        if series.dataoffset is not None and not series.is_multifile:
            pages = self.back_to_back(series, number)
        else:
            pages = self.listed_pages(series, number)
        if every_page:
            self.check_all_used(series, pages)
        axes = series.axes
        lead = min(axes.index("Y"), axes.index("X"))
        while lead and math.prod(series.shape[:lead]) != number:
            lead -= 1
        if lead == 0:
            if number == 1:
                return self.one_page(tif, keyframe)
            self.mismatch(f"{axes} {series.shape} does not split into {number} pages {keyframe.shape}")
        plan = self.time_first(keyframe, pages, axes[:lead], series.shape[:lead])
        return replace(plan, series=index)

    def time_first(
        self, keyframe: Any, pages: list[_Listed], axes: str, shape: tuple[int, ...]
    ) -> SegmentMap:
        """Reorder pages from tifffile's order of axes, with the axis of time first."""
        order = np.arange(len(pages)).reshape(shape)
        names = lead_axes(axes)
        first = frame_axis(names) if names else _time_axis(axes)
        moved = None if names is None else names[first] + names[:first] + names[first + 1 :]
        return self.build(keyframe, pages, np.moveaxis(order, first, 0), moved)

    def in_many_files(self, tif: Any, many: OmePlanes) -> SegmentMap | None:
        """Plan an OME movie of many files, reading each once; None if tifffile has to read it."""
        names = {plane[0] for plane in many.planes if plane is not None}
        own = Path(self.path).name
        if not many.shape or own not in names:
            return None
        folder = os.path.dirname(self.path)  # noqa: PTH120 - thousands of files
        paths = {name: self.path if name == own else os.path.join(folder, name) for name in names}  # noqa: PTH118
        there = {name for name, path in paths.items() if os.path.isfile(path)}  # noqa: PTH113
        pages: list[_Listed] = []
        for plane in many.planes:
            chain = self.chain(paths[plane[0]]) if plane is not None and plane[0] in there else []
            number = plane[1] if plane is not None else 0
            pages.append((paths[plane[0]], chain[number]) if plane and number < len(chain) else None)
        if missing := pages.count(None):
            self.lacking = (
                f"{missing} of {len(pages)} pages that the metadata promises are missing; the file is "
                "truncated, or other files of the movie are not beside it"
            )
        if left := len(self.chain(self.path)) - sum(
            plane is not None and plane[0] == own for plane in many.planes
        ):
            self.mismatch(f"its OME-XML leaves out {left} of its pages")
        return self.time_first(tif.pages.first, pages, many.axes, many.shape)

    def back_to_back(self, series: Any, number: int) -> list[_Listed]:
        """List contiguous pages; only some writers give each page its own directory."""
        chain = self.chain(self.path)
        nbytes = series.keyframe.nbytes
        self.refuse_implausible(number, self.room(nbytes))
        form = chain[series.keyframe.index].form
        offsets = range(series.dataoffset, series.dataoffset + number * nbytes, nbytes)
        described = [page for page in chain if page.offsets and page.offsets[0] in offsets]
        if 1 < len(described) < number and self.path not in self.cut:
            self.mismatch(f"{number} pages are promised, {len(described)} are there")
        if len(described) == number:
            by_offset = {page.offsets[0]: page for page in described}
            return [(self.path, by_offset[offset]) for offset in offsets]
        return [(self.path, Page(form, array("Q", (offset,)), array("Q", (nbytes,)))) for offset in offsets]

    def listed_pages(self, series: Any, number: int) -> list[_Listed]:
        pages = [self.listed(page) for page in series]
        if missing := pages.count(None):
            self.lacking = (
                f"{missing} of {len(pages)} pages that the metadata promises are missing; the file is "
                "truncated, or other files of the movie are not beside it"
            )
        if len(pages) < number:
            self.refuse_implausible(number, len(pages))
            self.lacking = f"the TIFF's metadata: {number} pages are promised, {len(pages)} are there"
            pages += self.none(number - len(pages))  # pages are in order: the last ones were not written
        if len(pages) != number:
            self.mismatch(f"{number} pages are promised, {len(pages)} are there")
        return pages

    def listed(self, page: Any) -> _Listed:
        """Find the page of the chain for a page of tifffile, by the offset of its pixels; None if missing."""
        if page is None:
            return None
        path = self.path_of(page)
        chain = self.chain(path)
        start = page.dataoffsets[:1]
        # The index of a page is its number in the file, except in Micro-Manager stacks.
        if page.index < len(chain) and tuple(chain[page.index].offsets[:1]) == start:
            return path, chain[page.index]
        if path not in self.by_start:
            self.by_start[path] = {tuple(own.offsets[:1]): own for own in chain if any(own.offsets[:1])}
        own = self.by_start[path].get(start)
        return None if own is None else (path, own)

    def path_of(self, page: Any) -> str:
        path = str(page.parent.filehandle.path)
        return self.path if path == self.absolute else path

    def check_all_used(self, series: Any, pages: list[_Listed]) -> None:
        there = [listed for listed in pages if listed is not None]
        used = {page.offsets[0] for path, page in there if path == self.path and page.offsets}
        for level in series.levels[1:]:
            used |= {page.dataoffsets[0] for page in level if page is not None}
        left = [
            number
            for number, page in enumerate(self.chain(self.path))
            if not page.offsets or page.offsets[0] not in used
        ]
        if left:
            raise InvalidInputError(
                f"{self.path}: the metadata describes {series.kind} data of axes {series.axes} and shape "
                f"{series.shape}, which leaves out {len(left)} of the file's pages (the first is page "
                f"{left[0]}){self.if_sound()}"
            )

    def build(self, keyframe: Any, pages: list[_Listed], order: NDArray[Any], axes: str | None) -> SegmentMap:
        own = keyframe.parent.root is keyframe.parent
        form = (self.chain(self.path)[keyframe.index] if own else next(filter(None, pages))[1]).form
        segments = math.prod(keyframe.chunked)
        strips = 1
        for number, listed in enumerate(pages):
            if listed is None:
                continue
            path, page = listed
            if page.form != form:
                raise InvalidInputError(
                    f"{path}: page {number} differs from the first in "
                    f"{difference(form, page.form)}; all frames of a movie must be alike"
                )
            one_strip = len(page.offsets) == 1 and keyframe.is_contiguous
            if len(page.offsets) != (1 if one_strip else segments) or (
                len(page.counts) != len(page.offsets) and not (one_strip and not page.counts)
            ):
                raise CorruptDataError(
                    f"{path}: page {number} lists {len(page.offsets)} offsets and {len(page.counts)} lengths "
                    f"of strips or tiles; it needs {segments} of each"
                )
            strips = len(page.offsets)
        numbers = {name: number for number, name in enumerate(self.files)}
        none = (0,) * strips
        return SegmentMap(
            keyframe=keyframe,
            pages=order,
            files=list(self.files.values()),
            directories=[self.chains[path].directories for path in self.files],
            first_pages=self.chain(next(iter(self.files)))[:2],
            file_of=np.array([numbers[listed[0]] if listed else 0 for listed in pages]),
            offsets=np.array([listed[1].offsets if listed else none for listed in pages], dtype=np.uint64),
            counts=np.array(
                [(listed[1].counts or (keyframe.nbytes,)) if listed else none for listed in pages],
                dtype=np.uint64,
            ),
            decode=_decoder(keyframe),
            axes=axes,
            lacking=self.lacking,
            cut="; ".join(cut.what for cut in self.cut.values()),
        )

    def one_page(self, tif: Any, keyframe: Any) -> SegmentMap:
        if more := more_pages(self.path):
            raise CorruptDataError(f"{self.path}: the TIFF holds one page by its directories, but {more}")
        if self.single:
            return self.in_file_order(tif, (1,), "t")
        raise SingleImageError(
            f"{self.path}: the TIFF holds one page, an image of shape {keyframe.shape}; a movie has axes "
            "(T, ..., H, W): pass as_pages=True for a movie of one frame, or give image[np.newaxis]. "
            "Of many numbered files give the folder, a glob or a list"
        )

    def none(self, number: int) -> list[_Listed]:
        """List missing pages."""
        return [None] * number

    def mismatch(self, problem: str) -> NoReturn:
        raise CorruptDataError(
            f"{self.path}: the TIFF's metadata does not match its pages: {problem}{self.if_sound()}"
        )


def _decoder(keyframe: Any) -> Callable[..., Any]:
    # Call this while the file is open, since tags may still be read from it.
    if keyframe.compression in _JPEG:
        return partial(keyframe.decode, jpegtables=keyframe.jpegtables, jpegheader=keyframe.jpegheader)
    decode: Callable[..., Any] = keyframe.decode
    return decode


def lead_axes(axes: str) -> str | None:
    """Translate tifffile's axes over pages to letters of a recording; None if one is unknown.

    Pages of one unnamed axis (I, Q) are in the order of time. Samples of a pixel (S) are channels.

    Examples
    --------
    >>> lead_axes("TZC"), lead_axes("I"), lead_axes("PTZC"), lead_axes("TQ")
    ('tzc', 't', 'ptzc', None)
    """
    if axes in ("I", "Q"):
        return "t"
    names = "".join({"S": "c"}.get(axis, axis.lower()) for axis in axes)
    return names if set(names) <= set("tzcp") and len(set(names)) == len(names) else None


def _time_axis(axes: str) -> int:
    """Index of the axis to use as time if an axis has an unknown name."""
    if "T" in axes:
        return axes.index("T")
    return next((number for number, axis in enumerate(axes) if axis not in "CS"), 0)


def difference(ours: Any, theirs: Any) -> str:
    """Describe how the forms of two pages differ, for a message."""
    first, other = dict(ours), dict(theirs)
    changed = sorted(code for code in first.keys() | other.keys() if first.get(code) != other.get(code))
    names = {0: "byte order", **{code: tifffile.TIFF.TAGS.get(code, code) for code in changed if code}}
    return ", ".join(f"{names[code]} ({first.get(code, '-')} and {other.get(code, '-')})" for code in changed)


def _listed(items: Any) -> str:
    shown = [f"{number}: {one.axes} {one.shape} {one.dtype}" for number, one in enumerate(items[:3])]
    return "; ".join(shown) + (f"; and {len(items) - 3} more" if len(items) > 3 else "")
