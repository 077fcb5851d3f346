"""Assign the pages of a TIFF file to frames, and find their bytes.

tifffile knows the dialects (OME, ImageJ, ScanImage, shaped) and gives the order in which pages form the axes.
This module compares that with the pages of the file. A page that is missing, left over or of another form is
an error, never a frame of zeros or a dropped frame.
"""

from __future__ import annotations

import math
import re
import warnings
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
import tifffile
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.sources.check import SingleImageError
from photon_gpu.sources.missing import ERROR
from photon_gpu.sources.tiff.chain import Page, read_chain
from photon_gpu.sources.tiff.promised_frames import more_pages
from photon_gpu.sources.tiff.rawfile import RawFile

_AS_PAGES = "pass as_pages=True to take every page as a frame, in file order"
_ZERO = "missing='zero' reads zeros in place of missing pages and records their frames as lost"
_JPEG = {6, 7, 34892, 33007}


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
    file_of : ndarray of int
        Index into ``files``, per page.
    offsets, counts : ndarray of int, (page, segment)
        Offset and length in bytes of each segment; 0 if the file has none.
    decode : callable
        ``decode(data, segment)``: the segment's pixels and their place in the page.
    """

    keyframe: Any
    pages: NDArray[Any]
    files: list[RawFile]
    file_of: NDArray[Any]
    offsets: NDArray[Any]
    counts: NDArray[Any]
    decode: Callable[..., Any]


_Listed = tuple[str, Page] | None
"""File and page; None for a page that is missing."""


def plan_movie(path: str, *, series: int | None, as_pages: bool, missing: str = ERROR) -> SegmentMap:
    """Read the pages of a file, and compare them with the order that tifffile gives.

    Parameters
    ----------
    missing : {"error", "zero"}
        Whether pages that the metadata promise may be missing.

    Raises
    ------
    CorruptDataError
        If the file, or its metadata, is damaged or truncated.
    InvalidInputError
        If the file is not a single movie.
    """
    planner = _Planner(path, missing)
    try:
        return planner.plan(series, as_pages)
    except BaseException:
        planner.close()
        raise


class _Planner:
    def __init__(self, path: str, missing: str) -> None:
        self.path, self.missing = path, missing
        self.files: dict[str, RawFile] = {}
        self.chains: dict[str, list[Page]] = {}

    def close(self) -> None:
        for file in self.files.values():
            file.close()

    def chain(self, path: str) -> list[Page]:
        if path not in self.files:
            self.files[path] = RawFile(path)
            self.chains[path] = read_chain(self.files[path])
        return self.chains[path]

    def plan(self, series: int | None, as_pages: bool) -> SegmentMap:
        chain = self.chain(self.path)
        if as_pages and series is not None:
            raise InvalidInputError(f"{self.path}: series and as_pages exclude each other; give one of them")
        try:
            with tifffile.TiffFile(self.path) as tif:
                if as_pages:
                    self.refuse_hidden_pages(tif)
                    return self.in_file_order(tif, (len(chain),))
                if tif.is_scanimage and not tif.is_shaped:
                    return self.scanimage(tif)
                return self.series(tif, series)
        except (InvalidInputError, CorruptDataError):
            raise
        except Exception as error:
            # tifffile reports damage by many types: ValueError, struct.error, KeyError, ...
            raise CorruptDataError(
                f"{self.path}: the TIFF's metadata cannot be understood ({type(error).__name__}: "
                f"{str(error)[:100]}){self.if_sound()}"
            ) from error

    def refuse_hidden_pages(self, tif: Any) -> None:
        scanimage = tif.is_scanimage and not tif.is_shaped
        if more := more_pages(self.path, None if scanimage else lambda: tif.series):
            raise InvalidInputError(
                f"{self.path}: as_pages takes each directory as a frame, and would lose frames: "
                f"{more}. Leave it out"
            )
        if scanimage and (channels := _channels(tif)) > 1:
            warnings.warn(
                f"{self.path}: ScanImage saved {channels} channels, which as_pages takes for frames in turn",
                PhotonWarning,
                stacklevel=6,
            )

    def if_sound(self) -> str:
        """Advice to take pages as frames, if that loses none."""
        if more_pages(self.path):
            return "; read it with the program that wrote it, and pass the array"
        return f"; if the pages themselves are sound, {_AS_PAGES}"

    def in_file_order(self, tif: Any, lead: tuple[int, ...]) -> SegmentMap:
        pages: list[_Listed] = [(self.path, page) for page in self.chain(self.path)]
        pages += [None] * (math.prod(lead) - len(pages))
        return self.build(tif.pages.first, pages, np.arange(len(pages)).reshape(lead))

    def scanimage(self, tif: Any) -> SegmentMap:
        """ScanImage: pages in the order of acquisition, channels innermost.

        Its frame and slice counts are those requested, not those acquired, so only the number of channels is
        taken from the metadata.
        """
        number = len(self.chain(self.path))
        channels = _channels(tif)
        if number % channels and self.missing == ERROR:
            raise CorruptDataError(
                f"{self.path}: ScanImage saved {channels} channels, and {number} pages do not divide by "
                f"that; the last frame is incomplete. {_ZERO}"
            )
        if number == 1 and channels == 1:
            self.one_page(tif.pages.first)
        return self.in_file_order(tif, (-(-number // channels), channels) if channels > 1 else (number,))

    def series(self, tif: Any, wanted: int | None) -> SegmentMap:
        found = tif.series
        if wanted is not None:
            if not 0 <= wanted < len(found):
                raise InvalidInputError(
                    f"{self.path}: series {wanted} was asked for; there are {len(found)}: {_listed(found)}"
                )
            return self.one_series(found[wanted], every_page=False)
        if len(found) == 1:
            return self.one_series(found[0], every_page=True)
        if len(found) == len(self.chain(self.path)) and all(
            math.prod(one.shape) == one.keyframe.size and one.keyframe.hash == found[0].keyframe.hash
            for one in found
        ):
            # Frames written one by one by tifffile: each calls itself a series.
            return self.in_file_order(tif, (len(found),))
        advice = "" if more_pages(self.path) else f", or {_AS_PAGES}"
        raise InvalidInputError(
            f"{self.path}: the TIFF holds {len(found)} series: {_listed(found)}; choose one by "
            f"series={advice}"
        )

    def one_series(self, series: Any, *, every_page: bool) -> SegmentMap:
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
                self.one_page(keyframe)
            self.mismatch(f"{axes} {series.shape} does not split into {number} pages {keyframe.shape}")
        order = np.arange(number).reshape(series.shape[:lead])
        return self.build(keyframe, pages, np.moveaxis(order, frame_axis(axes[:lead]), 0))

    def back_to_back(self, series: Any, number: int) -> list[_Listed]:
        """Pages that are contiguous; only some writers give each page its own directory."""
        chain = self.chain(self.path)
        nbytes = series.keyframe.nbytes
        form = chain[series.keyframe.index].form
        places = range(series.dataoffset, series.dataoffset + number * nbytes, nbytes)
        described = [page for page in chain if page.offsets and page.offsets[0] in places]
        if 1 < len(described) < number:
            self.mismatch(f"{number} pages are promised, {len(described)} are there")
        if len(described) == number:
            by_place = {page.offsets[0]: page for page in described}
            return [(self.path, by_place[place]) for place in places]
        return [(self.path, Page(form, array("Q", (place,)), array("Q", (nbytes,)))) for place in places]

    def listed_pages(self, series: Any, number: int) -> list[_Listed]:
        pages: list[_Listed] = []
        for page in series:
            path = self.path_of(page) if page is not None else ""
            pages.append(None if page is None else (path, self.chain(path)[page.index]))
        missing = pages.count(None)
        if missing and self.missing == ERROR:
            raise CorruptDataError(
                f"{self.path}: {missing} of {len(pages)} pages that the metadata promises are "
                f"missing; the file is truncated, or other files of a multi-file OME movie are not "
                f"beside it. {_ZERO}"
            )
        if len(pages) < number and self.missing != ERROR:
            pages += [None] * (number - len(pages))  # pages are in order: the last ones were not written
        if len(pages) != number:
            self.mismatch(f"{number} pages are promised, {len(pages)} are there", lacking=len(pages) < number)
        return pages

    def path_of(self, page: Any) -> str:
        own = page.parent is page.parent.root
        return self.path if own else str(page.parent.filehandle.path)

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

    def build(self, keyframe: Any, pages: list[_Listed], order: NDArray[Any]) -> SegmentMap:
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
                    f"{_difference(form, page.form)}; the frames of a movie are all alike"
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
        names = list(self.files)
        none = (0,) * strips
        return SegmentMap(
            keyframe=keyframe,
            pages=order,
            files=list(self.files.values()),
            file_of=np.array([names.index(listed[0]) if listed else 0 for listed in pages]),
            offsets=np.array([listed[1].offsets if listed else none for listed in pages], dtype=np.uint64),
            counts=np.array(
                [(listed[1].counts or (keyframe.nbytes,)) if listed else none for listed in pages],
                dtype=np.uint64,
            ),
            decode=_decoder(keyframe),
        )

    def one_page(self, keyframe: Any) -> NoReturn:
        if more := more_pages(self.path):
            raise CorruptDataError(f"{self.path}: the TIFF holds one page by its directories, but {more}")
        raise SingleImageError(
            f"{self.path}: the TIFF holds one page, an image of shape {keyframe.shape}; a movie has axes "
            "(T, ..., H, W), so add the time axis: pass as_pages=True for a movie of one frame, "
            "or give the array as image[np.newaxis]"
        )

    def mismatch(self, what: str, *, lacking: bool = False) -> NoReturn:
        raise CorruptDataError(
            f"{self.path}: the TIFF's metadata does not match its pages: {what}"
            + (f". {_ZERO}" if lacking else self.if_sound())
        )


def _decoder(keyframe: Any) -> Callable[..., Any]:
    # Called while the file is open, since tags may still be read from it.
    if keyframe.compression in _JPEG:
        return partial(keyframe.decode, jpegtables=keyframe.jpegtables, jpegheader=keyframe.jpegheader)
    decode: Callable[..., Any] = keyframe.decode
    return decode


def frame_axis(axes: str) -> int:
    """Index of the axis, among those that run over pages, that is taken as time.

    It is T if there is one, else the first axis that is not channels or samples (Z, or I and Q of unnamed
    pages), else the first axis.

    Examples
    --------
    >>> frame_axis("ZTC"), frame_axis("CZ"), frame_axis("I"), frame_axis("C")
    (1, 1, 0, 0)
    """
    if "T" in axes:
        return axes.index("T")
    return next((number for number, axis in enumerate(axes) if axis not in "CS"), 0)


def scanimage_channels(text: str) -> int:
    r"""Number of channels that ScanImage saved, from its header; 1 if it does not say.

    Examples
    --------
    >>> scanimage_channels("SI.hChannels.channelSave = [1;2]")
    2
    >>> scanimage_channels("state.acq.savingChannel1=1\rstate.acq.savingChannel2=0")
    1
    """
    listed = re.search(r"(?:hChannels\.channelSave|channelsSave)\s*=\s*(\[[^\]]*\]|\d+)", text)
    if listed:
        return max(len(re.findall(r"\d+", listed[1])), 1)
    return max(len(re.findall(r"state\.acq\.savingChannel\d+\s*=\s*1\b", text)), 1)


def _channels(tif: Any) -> int:
    saved = (tif.scanimage_metadata or {}).get("FrameData", {}).get("SI.hChannels.channelSave")
    if saved is not None:
        return max(np.size(saved), 1)
    return scanimage_channels(f"{tif.pages.first.software}\n{tif.pages.first.description}")


def _difference(ours: Any, theirs: Any) -> str:
    first, other = dict(ours), dict(theirs)
    changed = sorted(code for code in first.keys() | other.keys() if first.get(code) != other.get(code))
    names = {0: "byte order", **{code: tifffile.TIFF.TAGS.get(code, code) for code in changed if code}}
    return ", ".join(f"{names[code]} ({first.get(code, '-')} and {other.get(code, '-')})" for code in changed)


def _listed(found: Any) -> str:
    shown = [f"{number}: {one.axes} {one.shape} {one.dtype}" for number, one in enumerate(found[:8])]
    return "; ".join(shown) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")
