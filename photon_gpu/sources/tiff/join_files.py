"""Assign the pages of many TIFF files to the frames of one movie."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import tifffile

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.progress_bar import Progress
from photon_gpu.sources.check import SingleImageError
from photon_gpu.sources.missing_frames import ZERO
from photon_gpu.sources.multifile.numbering import FileOrder, listed_names, order_files
from photon_gpu.sources.tiff.page_chain import Directories, Page, read_whole_pages
from photon_gpu.sources.tiff.page_plan import SegmentMap, difference, plan_movie
from photon_gpu.sources.tiff.promised_frames import more_pages
from photon_gpu.sources.tiff.rawfile import RawFile
from photon_gpu.sources.tiff.reader import TiffSource
from photon_gpu.sources.tiff.scanimage_interleaving import ScanImageHeader, first_frame_number
from photon_gpu.sources.truncated_file import ERROR, KEEP, being_written

_PROGRESS_FILES = 64


def open_tiffs(
    paths: Sequence[str],
    where: str,
    *,
    ordered: bool = False,
    as_listed: bool = False,
    missing: str = ERROR,
    truncated: str = ERROR,
    progress: Progress | None = None,
    **options: Any,
) -> TiffSource:
    """Open many TIFF files as one movie.

    If the metadata of the first file describe a movie in several files (OME, Micro-Manager), they tell which
    frame is where; a part of its files is then a part of that movie. Otherwise the numbers in the names give
    the order.

    Parameters
    ----------
    paths : sequence of str
    where : str
        Folder, glob or list, in messages.
    ordered : bool
        Whether the order of ``paths`` counts where names have no numbers.
    as_listed : bool
        Whether only the order of ``paths`` counts, and neither names nor metadata.
    truncated : {"error", "keep"}
        See :class:`TiffSource`. Only the last file may be truncated.
    missing : {"error", "zero", "skip"}
        See :class:`TiffSource`; ``"skip"`` joins the files on both sides of a gap in their numbers.
    progress : callable, optional
        ``progress(files_opened, files_in_all)``.
    **options
        ``series``, ``as_pages``, ``flyback``, ``volumes``; see :class:`TiffSource`.

    Raises
    ------
    InvalidInputError
        The files belong to several movies, a number is missing, or the frames of a file have another
        shape or dtype.
    CorruptDataError
        A file is truncated or damaged.
    """
    options = {"series": None, "as_pages": False, **options}
    plan = None if as_listed or options["as_pages"] else _described(paths, where, options)
    if plan is None:
        order = FileOrder((tuple(paths),))
        if not as_listed:
            order = order_files(paths, where, missing=missing, ordered=ordered)
        plan = plan_files(order, options, truncated=truncated, progress=progress)
    return TiffSource(where, missing=ZERO if missing == ZERO else ERROR, truncated=truncated, plan=plan)


def plan_files(
    order: FileOrder,
    options: Mapping[str, Any],
    *,
    truncated: str = ERROR,
    progress: Progress | None = None,
) -> SegmentMap:
    """Join the pages of files in their order over time, with an axis for planes and one for channels."""
    files = [path for path in itertools.chain(*order.columns) if path is not None]
    joiner = _Joiner(files, options, truncated, progress)
    try:
        tables = [joiner.column(column) for column in order.columns]
        if len({len(table) for table in tables}) > 1:
            lengths = [f"{name}: {len(table)}" for name, table in zip(order.channels, tables, strict=False)]
            raise InvalidInputError(
                f"{files[0]}: the files of its channels or planes have different numbers of frames: "
                f"{', '.join(lengths) or [len(table) for table in tables]}. "
                "Complete the files, or encode each channel or plane by itself"
            )
        pages = np.stack(tables, axis=1)
        sizes = {"z": order.planes, "c": max(len(order.channels), 1)}
        own = [size for size in sizes.values() if size > 1]
        letters = "".join(letter for letter, size in sizes.items() if size > 1)
        return joiner.plan(pages.reshape(len(pages), *own, *pages.shape[2:]), letters, order.channels)
    except BaseException:
        joiner.close()
        raise


class _Joiner:
    """Pages of the files so far."""

    def __init__(
        self, files: list[str], options: Mapping[str, Any], truncated: str, progress: Progress | None
    ) -> None:
        self.paths, self.options, self.truncated, self.progress = files, options, truncated, progress
        self.read = self.pages = 0
        self.frames = 0  # of the column, so far
        self.files: list[RawFile] = []
        self.directories: list[Directories] = []
        self.file_of: list[Any] = []
        self.offsets: list[Any] = []
        self.counts: list[Any] = []
        self.lacking = self.cut = ""
        self.first: SegmentMap | None = None
        self.one_page: Page | None = None  # the page of the first file, if it has only one

    def close(self) -> None:
        for file in self.files:
            file.close()

    def column(self, paths: Sequence[str | None]) -> Any:
        """Page numbers, ``(T, ...)``, of consecutive files; pages of a missing file get new numbers."""
        tables: list[Any] = []
        self.frames = 0
        for group in _acquisitions(paths):
            if group == [None]:
                tables.append(None)
            else:
                tables.append(self.file(group, last=group[-1] is paths[-1]))
                self.frames += len(tables[-1])
        there = [table for table in tables if table is not None]
        absent = len(tables) - len(there)
        if absent and len({table.shape for table in there}) > 1:
            raise InvalidInputError(
                f"{self.paths[0]}: {absent} files of the series are missing, and the others differ in their "
                "numbers of frames: how many frames are missing is not known"
            )
        filled = [self.absent(there[0].shape) if table is None else table for table in tables]
        return np.concatenate(filled)

    def absent(self, shape: tuple[int, ...]) -> Any:
        assert self.first is not None
        number = int(np.prod(shape))
        self.lacking = "files of the series are missing"
        none = np.zeros((number, self.first.offsets.shape[1]), np.uint64)
        return self.added(np.zeros(number, int), none, none).reshape(shape)

    def added(self, file_of: Any, offsets: Any, counts: Any) -> Any:
        self.file_of.append(file_of)
        self.offsets.append(offsets)
        self.counts.append(counts)
        self.pages += len(file_of)
        return np.arange(self.pages - len(file_of), self.pages)

    def file(self, paths: list[str], *, last: bool) -> Any:
        """Page numbers of a file, or of a ScanImage acquisition in several files."""
        path = paths[0]
        before, self.read = self.read, self.read + len(paths)
        if self.progress is not None and before // _PROGRESS_FILES != self.read // _PROGRESS_FILES:
            self.progress(self.read, len(self.paths))
        try:
            if self.one_page is not None and (page := self.same_page(path)) is not None:
                counts = page.counts or self.one_page.counts
                here = np.array([len(self.files) - 1])
                return self.added(here, np.array([page.offsets], np.uint64), np.array([counts], np.uint64))
            plan = plan_movie(path, single=True, following=paths[1:], **self.options)
        except CorruptDataError as error:
            return self.cut_off(path, str(error), last)
        self.files += plan.files
        self.directories += plan.directories
        if plan.cut and not last:
            raise CorruptDataError(
                f"{path}: the file is truncated ({plan.cut}), and files follow it. Copy it again, or leave "
                "it out of the list"
            )
        self.cut, self.lacking = plan.cut, self.lacking or (plan.lacking and f"{path}: {plan.lacking}")
        self.compare(path, plan)
        numbers = self.added(plan.file_of + len(self.files) - len(plan.files), plan.offsets, plan.counts)
        return numbers[plan.pages]

    def cut_off(self, path: str, why: str, last: bool) -> Any:
        """Leave out the last file if it is too short for a frame and this is allowed; else raise an error."""
        frames = self.frames
        if not last or self.first is None or Path(path).stat().st_size >= self.first.files[0].size:
            raise CorruptDataError(why)
        if self.truncated != KEEP:
            raise CorruptDataError(
                f"{why}. Before it are {frames} whole frames: truncated='keep' stores these {frames}"
            )
        if writing := being_written(path):
            raise CorruptDataError(f"{why}; {writing}: wait until it is complete")
        self.cut = f"{PurePath(path).name} has no whole frame"
        self.files.append(RawFile(path))
        self.directories.append(Directories())
        return np.zeros((0, *self.first.pages.shape[1:]), int)

    def same_page(self, path: str) -> Page | None:
        """The only page of a file like the first one; None if the file needs a closer look."""
        assert self.one_page is not None
        file = RawFile(path)
        try:
            chain = read_whole_pages(file)
        except CorruptDataError:
            file.close()
            raise
        page = chain.pages[0] if chain.cut is None and len(chain.pages) == 1 else None
        if page is not None and page.form == self.one_page.form:
            same = len(page.offsets) == len(self.one_page.offsets)
            if same and more_pages(file) is None:
                self.files.append(file)
                self.directories.append(chain.directories)
                return page
        file.close()
        return None

    def compare(self, path: str, plan: SegmentMap) -> None:
        form = plan.first_pages[0].form
        if self.first is None:
            self.first, self.form = plan, form
            pages = len(plan.first_pages)
            if len(plan.files) == pages == 1 == plan.pages.size and self.options["series"] is None:
                self.one_page = plan.first_pages[0]
            return
        if form != self.form:
            raise InvalidInputError(
                f"{path}: its frames differ from those of {PurePath(self.paths[0]).name} in "
                f"{difference(self.form, form)}; all frames of a movie must be alike"
            )
        if plan.pages.shape[1:] != self.first.pages.shape[1:] or (
            plan.offsets.shape[1] != self.first.offsets.shape[1]
        ):
            raise InvalidInputError(
                f"{path}: a frame has pages {plan.pages.shape[1:]}, and {self.first.pages.shape[1:]} in "
                f"{PurePath(self.paths[0]).name}; all frames of a movie must be alike"
            )

    def plan(self, pages: Any, letters: str, channels: tuple[str, ...]) -> SegmentMap:
        """Return the plan of all files; ``letters`` are the axes that the file names show."""
        assert self.first is not None
        axes = self.first.axes
        recording = self.first.recording
        return replace(
            self.first,
            pages=pages,
            files=self.files,
            directories=self.directories,
            file_of=np.concatenate(self.file_of),
            offsets=np.concatenate(self.offsets),
            counts=np.concatenate(self.counts),
            axes=axes and axes[0] + letters + axes[1:],
            recording=recording.replace(channel_names=channels) if channels else recording,
            lacking=self.lacking,
            cut=self.cut,
        )


def _acquisitions(paths: Sequence[str | None]) -> list[list[Any]]:
    """Group consecutive files of one ScanImage acquisition; any other file is a group of its own."""
    groups: list[list[Any]] = []
    numbers: list[int | None] = [None]
    channels: list[int] = [0]
    for path in paths:
        first = None if path is None or (numbers[-1] is None and groups) else _first_frame(path)
        number, own = first or (None, 0)
        before = numbers[-1]
        if number is not None and before is not None and before < number and own == channels[-1]:
            groups[-1].append(path)
        else:
            groups.append([path])
        numbers.append(number)
        channels.append(own)
    return groups


def _first_frame(path: str) -> tuple[int, int] | None:
    """Number of the first frame of a ScanImage file, and its channels; None for other files."""
    try:
        with tifffile.TiffFile(path) as tif:
            if not tif.is_scanimage or tif.is_shaped:
                return None
            number = first_frame_number(tif)
            return None if number is None else (number, ScanImageHeader.of(tif).channels()[0])
    except Exception:  # tifffile reports damage by many exception types; the planner reports it
        return None


def _described(paths: Sequence[str], where: str, options: Mapping[str, Any]) -> SegmentMap | None:
    """The movie that the metadata of the first file describe in these files, or None."""
    try:
        plan = plan_movie(paths[0], **options)
    except SingleImageError:
        return None
    try:
        if len(plan.files) == 1:
            plan.close()
            return None
        listed = {Path(path).resolve(): path for path in paths}
        there = {Path(file.name).resolve() for file in plan.files}
        if rest := [path for real, path in listed.items() if real not in there]:
            raise InvalidInputError(
                f"{where}: the metadata of {PurePath(paths[0]).name} describe a movie of {len(there)} files, "
                f"and {len(rest)} more are listed: {listed_names(rest)}. Give the files of one movie"
            )
        if there <= listed.keys():
            return plan
        return _part(
            plan, {n for n, file in enumerate(plan.files) if Path(file.name).resolve() in listed}, where
        )
    except BaseException:
        plan.close()
        raise


def _part(plan: SegmentMap, files: set[int], where: str) -> SegmentMap:
    """Return the part of a movie in some of its files: a channel, a plane or a range of frames."""
    wanted = np.isin(plan.file_of, sorted(files)) | (plan.offsets == 0).any(axis=1)
    table = wanted[plan.pages]
    every = range(table.ndim)
    chosen = [
        np.flatnonzero(table.any(axis=tuple(other for other in every if other != axis))) for axis in every
    ]
    block = table[np.ix_(*chosen)]
    if not block.all() or not block.size or (np.diff(chosen[0]) != 1).any():
        raise InvalidInputError(
            f"{where}: {len(files)} of the {len(plan.files)} files of a movie are listed, and they are not "
            "one channel, plane or range of frames of it. Give all files, or those of one channel"
        )
    pages = plan.pages[np.ix_(*chosen)]
    gone = tuple(n for n in every if n and len(chosen[n]) == 1 and plan.pages.shape[n] > 1)
    axes = plan.axes and "".join(letter for n, letter in enumerate(plan.axes) if n not in gone)
    return replace(plan, pages=pages.squeeze(gone), axes=axes)
