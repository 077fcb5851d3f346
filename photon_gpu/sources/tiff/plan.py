"""Assign the pages of a TIFF file to frames, and find their bytes.

tifffile knows the dialects (OME, ImageJ, ScanImage, shaped) and gives the order in which pages form the axes.
This module compares that with the pages of the file. A page that is missing, left over or of another form is
an error, never a frame of zeros or a dropped frame.
"""

from __future__ import annotations

import math
import warnings
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn

import numpy as np
import tifffile
from numpy.typing import NDArray

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.recording import NOTHING, Recording
from photon_gpu.sources.check import SingleImageError
from photon_gpu.sources.missing import ERROR
from photon_gpu.sources.select.axes import frame_axis
from photon_gpu.sources.tiff.chain import Page, read_chain
from photon_gpu.sources.tiff.promised_frames import more_pages
from photon_gpu.sources.tiff.rawfile import RawFile
from photon_gpu.sources.tiff.scanimage import DROP, KEEP, Header, interleaving

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
    axes : str or None
        Letters of the axes of ``pages``, as of :class:`photon_gpu.recording.Recording`; None if unknown.
    recording : Recording
        What the order of the pages tells of the recording.
    note : str or None
        Remark for reports.
    """

    keyframe: Any
    pages: NDArray[Any]
    files: list[RawFile]
    file_of: NDArray[Any]
    offsets: NDArray[Any]
    counts: NDArray[Any]
    decode: Callable[..., Any]
    axes: str | None = None
    recording: Recording = NOTHING
    note: str | None = None


_Listed = tuple[str, Page] | None
"""File and page; None for a page that is missing."""


def plan_movie(
    path: str,
    *,
    series: int | None,
    as_pages: bool,
    missing: str = ERROR,
    flyback: str | None = None,
    volumes: bool = True,
) -> SegmentMap:
    """Read the pages of a file, and compare them with the order that tifffile gives.

    Parameters
    ----------
    missing : {"error", "zero"}
        Whether pages that the metadata promise may be missing.
    flyback : {"keep", "drop"}, optional
        Whether the flyback frames of ScanImage volumes are planes of the movie (default), or left out.
    volumes : bool
        Whether the planes of ScanImage volumes form an axis, or are frames in turn.

    Raises
    ------
    CorruptDataError
        If the file, or its metadata, is damaged or truncated.
    InvalidInputError
        If the file is not a single movie.
    """
    if flyback not in (None, KEEP, DROP):
        raise InvalidInputError(f"flyback is {flyback!r}; allowed are {KEEP!r} and {DROP!r}")
    planner = _Planner(path, missing, flyback == DROP, volumes)
    try:
        return planner.plan(series, as_pages)
    except BaseException:
        planner.close()
        raise


class _Planner:
    def __init__(self, path: str, missing: str, drop_flyback: bool, volumes: bool) -> None:
        self.path, self.missing = path, missing
        self.drop_flyback, self.volumes = drop_flyback, volumes
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
                    return self.in_file_order(tif, (len(chain),), "t")
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
        if scanimage and (channels := Header.of(tif).channels()[0]) > 1:
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

    def in_file_order(self, tif: Any, lead: tuple[int, ...], axes: str) -> SegmentMap:
        pages: list[_Listed] = [(self.path, page) for page in self.chain(self.path)]
        pages += [None] * (math.prod(lead) - len(pages))
        return self.build(tif.pages.first, pages, np.arange(len(pages)).reshape(lead), axes)

    def scanimage(self, tif: Any) -> SegmentMap:
        """ScanImage: pages in the order of acquisition, volumes of planes of channels."""
        number = len(self.chain(self.path))
        order = interleaving(tif, number)
        if not self.volumes:
            order = replace(order, planes=1, flyback=0, repeats=1)
        if number == 1 and order.per_volume == 1:
            self.one_page(tif.pages.first)
        if number % order.per_volume and self.missing == ERROR:
            self.incomplete(order, number)
        volumes = -(-number // order.per_volume)
        stored = (volumes, order.planes, order.repeats, order.channels)
        plan = self.in_file_order(tif, stored, "t")
        # (volume, plane, repeat, channel): repeats of a plane follow each other in time.
        pages = plan.pages.swapaxes(1, 2).reshape(-1, order.planes, order.channels)
        note, names = None, order.channel_names
        not_kept: tuple[str, ...] = ()
        if order.flyback and self.drop_flyback:
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
        said = Recording(channel_names=names, not_kept=not_kept, rois=Header.of(tif).rois(height))
        return replace(
            plan,
            pages=pages.reshape([sizes[axis] for axis in keep]),
            axes="".join(letters[axis] for axis in keep),
            recording=said,
            note=note,
        )

    def incomplete(self, order: Any, number: int) -> NoReturn:
        if number % order.channels:
            raise CorruptDataError(
                f"{self.path}: ScanImage saved {order.channels} channels, and {number} pages do not "
                f"divide by "
                f"that; the last frame is incomplete. {_ZERO}"
            )
        raise CorruptDataError(
            f"{self.path[-60:]}: ScanImage saved volumes of {order.per_volume} pages ({order.planes} planes, "
            f"{order.channels} channels), and {number} pages do not divide by that. volumes=False takes "
            f"planes "
            "for frames in turn; missing='zero' completes the last volume with zeros"
        )

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
            return self.in_file_order(tif, (len(found),), "t")
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
        names = lead_axes(axes[:lead])
        first = frame_axis(names) if names else _time_axis(axes[:lead])
        moved = None if names is None else names[first] + names[:first] + names[first + 1 :]
        return self.build(keyframe, pages, np.moveaxis(order, first, 0), moved)

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
            axes=axes,
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


def lead_axes(axes: str) -> str | None:
    """Letters of a recording's axes for those of tifffile that run over pages; None if one is unknown.

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
    """Index of the axis that is taken as time where one has a name that is not known."""
    if "T" in axes:
        return axes.index("T")
    return next((number for number, axis in enumerate(axes) if axis not in "CS"), 0)


def _difference(ours: Any, theirs: Any) -> str:
    first, other = dict(ours), dict(theirs)
    changed = sorted(code for code in first.keys() | other.keys() if first.get(code) != other.get(code))
    names = {0: "byte order", **{code: tifffile.TIFF.TAGS.get(code, code) for code in changed if code}}
    return ", ".join(f"{names[code]} ({first.get(code, '-')} and {other.get(code, '-')})" for code in changed)


def _listed(found: Any) -> str:
    shown = [f"{number}: {one.axes} {one.shape} {one.dtype}" for number, one in enumerate(found[:8])]
    return "; ".join(shown) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")
