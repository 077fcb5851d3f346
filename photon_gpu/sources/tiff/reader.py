"""Source of a movie in a TIFF or BigTIFF file: ScanImage, OME, ImageJ or plain."""

from __future__ import annotations

import copy
import itertools
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from photon_gpu.engine.runtime.lazy_property import lazy_property
from photon_gpu.engine.runtime.pool import Pool
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import Recording
from photon_gpu.sources.base import PageSelection, Source
from photon_gpu.sources.check import check_movie
from photon_gpu.sources.missing_frames import ERROR, check_missing, settle, spans
from photon_gpu.sources.tiff.find_ome_xml import COMPANION, first_file
from photon_gpu.sources.tiff.metadata_tags import choose_pages
from photon_gpu.sources.tiff.page_plan import SegmentMap, plan_movie
from photon_gpu.sources.tiff.recording import read_recording
from photon_gpu.sources.truncated_file import KEEP, check_truncated, keep_whole_frames

_DECODERS = min(8, os.cpu_count() or 1)


class TiffSource(Source):
    """A movie in a TIFF file.

    Axes over pages come first. The first of them is time: T if the file names it, else the first
    axis that is not channels (z of a z-stack, or unnamed pages in file order). Samples of a pixel (RGB) come
    before H and W. ScanImage files are ``(T, [Z,] [C,] H, W)``. ``recording.axes`` has their names.

    Parameters
    ----------
    path : path-like
        Local ``.tif``, ``.tiff`` or ``.btf`` file; for an OME movie in several files, any of them.
    series : int, optional
        Number of the image series, if the file has several.
    as_pages : bool
        Whether to ignore the axes of the metadata and take every page as a frame, in file order. It is an
        error if the metadata promise more pages than the file has directories.
    missing : {"error", "zero"}
        What to do if pages that the metadata promise are missing, or strips were never written (offset or
        length 0): raise an error, or read zeros and list the frames in ``lost``.
    flyback : {"keep", "drop"}, optional
        Whether the flyback frames of ScanImage volumes are their last planes (default), or are left out.
    volumes : bool
        Whether the planes of ScanImage volumes form an axis, or are frames in turn.
    truncated : {"error", "keep"}
        What to do if the file ends too early: raise an error, or take the whole frames and say in
        ``truncation`` what is missing. It is an error if another process may still write the file.
    plan : SegmentMap, optional
        Plan of the pages of many files; ``path`` is then only the name of the movie.

    Raises
    ------
    CorruptDataError
        If the file is truncated or damaged. Opening checks that every link, tag and strip is inside the
        file.
    InvalidInputError
        If the file is not a single movie: it has one page, pages of different form, or several series
        without a choice.
    UnsupportedTypeError
        If the dtype is not that of a movie.

    Notes
    -----
    Memory: the requested frames, and one page per decoding thread if pages are compressed, tiled or packed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "movie.tif"
    >>> tifffile.imwrite(path, np.arange(30, dtype="int16").reshape(5, 2, 3), photometric="minisblack")
    >>> with TiffSource(path) as movie:
    ...     movie.shape, movie.read(1, 2).tolist()
    ((5, 2, 3), [[[6, 7, 8], [9, 10, 11]]])
    """

    def __init__(
        self,
        path: Any,
        *,
        series: int | None = None,
        as_pages: bool = False,
        missing: str = ERROR,
        flyback: str | None = None,
        volumes: bool = True,
        truncated: str = ERROR,
        plan: SegmentMap | None = None,
    ) -> None:
        self.name = os.fspath(path)
        self._missing, self._truncated = check_missing(missing), check_truncated(truncated)
        if plan is None:
            first = first_file(self.name) if Path(self.name).suffix == COMPANION else self.name
            plan = plan_movie(first, series=series, as_pages=as_pages, flyback=flyback, volumes=volumes)
        self._plan = plan
        self._closed = False
        try:
            self._prepare(self._plan)
        except BaseException:
            self.close()
            raise

    def _prepare(self, plan: SegmentMap) -> None:
        keyframe = plan.keyframe
        planes, depth, height, width, samples = keyframe.shaped
        # Shape of a page in the result: samples first, however they are stored.
        self._page_shape = (planes * samples, depth, height, width)
        extra = tuple(length for length in (planes * samples, depth) if length > 1)
        self._described = plan.recording.replace(axes=_axes(plan.axes, planes * samples, depth))
        self.dtype = check_movie((*plan.pages.shape, *extra, height, width), keyframe.dtype, self.name)
        self._page_nbytes = keyframe.size * self.dtype.itemsize
        self._swapped = keyframe.parent.byteorder != {"little": "<", "big": ">"}[sys.byteorder]
        self._absent = np.asarray(((plan.offsets == 0) | (plan.counts == 0)).any(axis=1))
        self._raw = self._is_raw(plan)
        if not self._raw and keyframe.compression not in (1, *tifffile.TIFF.DECOMPRESSORS):
            raise InvalidInputError(
                f"{self.name}: tifffile cannot decode TIFF compression {keyframe.compression!r} here; "
                "convert the file, or read it with the program that wrote it and pass the array"
            )
        self._plan = self._settle_missing(plan, self._beyond_the_end(plan))
        self.shape = (*self._plan.pages.shape, *extra, height, width)

    def _settle_missing(self, plan: SegmentMap, beyond: NDArray[Any]) -> SegmentMap:
        """Remove frames that were cut off from the plan; other missing pages are read as zeros.

        ``truncated`` must allow the first, ``missing`` the second.
        """
        incomplete = self._frames_with(self._absent | beyond)
        whole = int(incomplete.argmax()) if incomplete.any() else len(incomplete)
        cut = plan.cut
        if beyond.any():
            first = int(np.flatnonzero(beyond)[0])
            path = plan.files[plan.file_of[first]].name
            cut = (
                f"page {first} lies beyond the end of the file, which is truncated "
                f"({int(beyond.sum())} of {len(beyond)} pages do)"
            )
        else:
            path = plan.files[-1].name
        problem = (
            cut or plan.lacking or f"{int(self._absent.sum())} of {len(beyond)} pages were never written"
        )
        other = "" if cut else "missing='zero' reads zeros for the rest"
        at_the_end = bool(cut) or (whole < len(incomplete) and bool(incomplete[whole:].all()))
        if beyond.any() and not incomplete[whole:].all():
            raise CorruptDataError(f"{path}: {problem}, and frames behind it are whole: the file is damaged")
        if at_the_end and (cut or self._truncated == KEEP or self._missing == ERROR):
            promised = len(incomplete) if whole < len(incomplete) and not plan.cut else None
            self.truncation = keep_whole_frames(path, problem, whole, promised, self._truncated, other=other)
            return replace(plan, pages=plan.pages[:whole])
        self.lost = settle(self.name, problem, incomplete, self._missing)
        if self.lost:
            plan.offsets[self._absent] = plan.counts[self._absent] = 0
        return plan

    def _frames_with(self, pages: NDArray[Any]) -> NDArray[Any]:
        """Whether each frame has one of the marked pages."""
        marked: NDArray[Any] = pages[self._plan.pages].reshape(len(self._plan.pages), -1).any(axis=1)
        return marked

    def _is_raw(self, plan: SegmentMap) -> bool:
        """Whether the pixels of every page are contiguous and uncompressed."""
        keyframe = plan.keyframe
        if not keyframe.is_final or keyframe.bitspersample != self.dtype.itemsize * 8:
            return False
        gaps = plan.offsets[:, 1:] - (plan.offsets[:, :-1] + plan.counts[:, :-1])
        return not gaps.any()

    def _beyond_the_end(self, plan: SegmentMap) -> NDArray[Any]:
        """Whether each page runs over the end of its file."""
        offsets, counts = plan.offsets, plan.counts
        if self._raw:
            short = (counts.sum(axis=1) < self._page_nbytes) & ~self._absent
            if short.any():
                first = int(np.flatnonzero(short)[0])
                raise CorruptDataError(
                    f"{plan.files[plan.file_of[first]].name}: page {first} holds fewer bytes than its pixels "
                    f"need ({int(short.sum())} of {len(short)} pages do)"
                )
            offsets, counts = offsets[:, :1], np.full_like(counts[:, :1], self._page_nbytes)
        sizes = np.array([file.size for file in plan.files], dtype=np.uint64)[plan.file_of][:, np.newaxis]
        # Compared without a sum, which would wrap for a damaged offset near 2**64.
        return np.asarray((counts > sizes - np.minimum(offsets, sizes)).any(axis=1) & ~self._absent)

    @lazy_property
    def recording(self) -> Recording:
        """Metadata of the file."""
        return read_recording(self._plan, self.shape, self._described)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames ``start:stop``; contiguous pages are read together."""
        self._check_frames(start, stop)
        if self._closed:
            raise InvalidInputError(f"{self.name}: the source is closed; open it again")
        numbers = self._plan.pages[start:stop].reshape(-1)
        out = np.empty((len(numbers), *self._page_shape), self.dtype)
        absent = self._absent[numbers]
        if absent.any():
            for first, end in spans(~absent):
                self._fill(numbers[first:end], out[first:end])
            out[absent] = 0
        else:
            self._fill(numbers, out)
        return out.reshape((stop - start, *self.shape[1:]))

    def _fill(self, numbers: NDArray[Any], out: NDArray[Any]) -> None:
        if not self._raw:
            with Pool("photon-tiff", _DECODERS - 1) as pool:
                pool.map(lambda page: self._decode_page(*page), zip(numbers, out, strict=True))
        elif self._plan.keyframe.shaped[-1] > 1:
            for number, page in zip(numbers, out, strict=True):
                self._read_interleaved(number, page)
        else:
            self._read_runs(numbers, out)

    def _read_runs(self, numbers: NDArray[Any], out: NDArray[Any]) -> None:
        plan = self._plan
        offsets = plan.offsets[numbers, 0].astype(np.int64)
        files = plan.file_of[numbers]
        breaks = (np.diff(offsets) != self._page_nbytes) | (np.diff(files) != 0)
        edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(numbers)]
        data = out.reshape(-1).view(np.uint8).data
        for first, last in itertools.pairwise(edges):
            run = data[first * self._page_nbytes : last * self._page_nbytes]
            plan.files[files[first]].read_into(int(offsets[first]), run)
        if self._swapped:
            out.byteswap(inplace=True)

    def _read_interleaved(self, number: int, page: NDArray[Any]) -> None:
        plan = self._plan
        data = plan.files[plan.file_of[number]].read(int(plan.offsets[number, 0]), self._page_nbytes)
        stored = np.frombuffer(data, self.dtype.newbyteorder(plan.keyframe.parent.byteorder))
        page[...] = np.moveaxis(stored.reshape(plan.keyframe.shaped[1:]), -1, 0)

    def _decode_page(self, number: int, page: NDArray[Any]) -> None:
        plan = self._plan
        file = plan.files[plan.file_of[number]]
        _, depth, height, width = self._page_shape
        for index in range(plan.offsets.shape[1]):
            data = file.read(int(plan.offsets[number, index]), int(plan.counts[number, index]))
            try:
                segment, (plane, d, h, w, _), shape = plan.decode(bytes(data), index)
                block = segment[: depth - d, : height - h, : width - w]
                samples = slice(None) if segment.shape[3] > 1 else slice(plane, plane + 1)
                page[samples, d : d + shape[0], h : h + shape[1], w : w + shape[2]] = np.moveaxis(
                    block, -1, 0
                )
            except Exception as error:
                # imagecodecs has its own exception type for each codec.
                raise CorruptDataError(
                    f"{file.name}: strip or tile {index} of page {number} does not decode: {error}"
                ) from error

    def origins(self, start: int, stop: int) -> list[tuple[str, int]]:
        """File of each frame of ``start:stop``, and the frame's number in that file."""
        first_pages = self._plan.pages.reshape(len(self._plan.pages), -1)[:, 0]
        files = self._plan.file_of[first_pages]
        before = np.searchsorted(files, files[start:stop]) if (np.diff(files) >= 0).all() else None
        return [
            (self._plan.files[file].name, frame - int(before[frame - start]) if before is not None else frame)
            for frame, file in enumerate(files[start:stop], start)
        ]

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that frames are read from."""
        return tuple(file.name for file in self._plan.files)

    def describe_pages(self, recording: Recording, pages: PageSelection) -> Recording:
        """See the base class."""
        return choose_pages(recording, pages)

    def arranged(self, order: tuple[int, ...]) -> TiffSource:
        """See the base class; axes over pages may be in any order, the axes of a page may not."""
        pages = self._plan.pages
        inner = tuple(range(pages.ndim, len(self.shape)))
        if order[pages.ndim :] != inner:
            return cast("TiffSource", super().arranged(order))
        other = copy.copy(self)
        other._plan = replace(self._plan, pages=pages.transpose(order[: pages.ndim]))
        other.shape = tuple(self.shape[number] for number in order)
        other.lost = spans(other._frames_with(self._absent)) if self.lost else ()
        return other

    def note(self, chunk_frames: int) -> str | None:
        """Remark on flyback frames; None if there are none."""
        return self._plan.note

    def close(self) -> None:
        """Close the file, or files."""
        self._closed = True
        self._plan.close()


def _axes(lead: str | None, samples: int, depth: int) -> str | None:
    """Letters of the axes over pages and within a page; None if one has no name, or two share a name."""
    inner = "c" * (samples > 1) + "z" * (depth > 1) + "yx"
    axes = None if lead is None else lead + inner
    return axes if axes and len(set(axes)) == len(axes) else None
