"""Write a stored movie as TIFF, with the metadata of its source."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import PhotonError
from photon_gpu.reader.exporters import tiff_descriptions as descriptions
from photon_gpu.reader.exporters.frames_to_export import ExportJob
from photon_gpu.reader.exporters.ome_xml_subset import ome_of_part
from photon_gpu.reader.exporters.tiff_pages import PageForm, page_runs, tags_of_pages, write_pages
from photon_gpu.recording import NOTHING, Recording
from photon_gpu.sources.tiff.metadata_blocks import FRAME_DATA, ROI_GROUPS, scanimage_header
from photon_gpu.sources.tiff.metadata_tags import DESCRIPTION, SOFTWARE, Tags, from_documents
from photon_gpu.sources.tiff.reader import TiffSource
from photon_gpu.sources.tiff.scanimage_interleaving import with_channels

_COUNTING = re.compile(r"ImageJ=|shape=|\{|<\?xml|<(\w+:)?OME\b")
"""Beginnings of descriptions that state the number of pages, so that they fit only the whole file."""

_IMAGEJ_COUNTS, _IMAGEJ_DATA = 50838, 50839


def write_tiff(job: ExportJob, file: IO[bytes], *, big: bool) -> None:
    """Write a movie as TIFF, with the tags of its source if these fit, else with its axes and units."""
    recording = job.movie.recording
    documents = {document.name: document for document in recording.documents}
    tags = from_documents(documents)
    positions = None if tags is None else _positions(job, tags, recording)
    if tags is None or positions is None:
        job.not_written([*documents, *(["regions"] if recording.rois else [])], ".h5 and .zarr hold it")
        _write_described(job, file, recording, big=big)
        return
    written = {name for name in documents if name.startswith("tiff/")} | {FRAME_DATA, ROI_GROUPS}
    numbers = positions.reshape(-1)
    # ScanImage's pages have channels fastest. A header that lists others than there are would be misread.
    kept = cache(lambda channels: np.unique(positions % max(channels, 1)).tolist())
    if FRAME_DATA in documents:
        frame_data = documents[FRAME_DATA]
        documents[FRAME_DATA] = replace(frame_data, data=_with_channels(frame_data.data, kept))
    header = scanimage_header(documents)
    big = big or bool(header)
    anew = _COUNTING.match(tags.text(DESCRIPTION)) is not None and not _is_whole_file(job, tags, numbers)
    form = _page_form(job, tags)
    if anew and form.samples > 1:
        job.not_written(list(documents), ".h5 and .zarr hold it")
        _write_described(job, file, recording, big=big)
        return
    job.not_written([name for name in documents if name not in written], ".h5 and .zarr hold it")
    if not anew:
        numbers = np.sort(numbers)
    if tags.pages <= int(numbers.max()):  # one directory for all pages, or for those of each file
        if len(tags.details.get("files", ())) > 1:
            job.notes.append("not written back: tags of other pages than the first")
        numbers = np.where(np.arange(numbers.size) == 0, 0, tags.pages)
    wanted = tags_of_pages(tags, numbers.tolist())
    for code in {SOFTWARE, DESCRIPTION} & wanted.values.keys():
        for page, value in wanted.values[code].items():
            wanted.values[code][page] = None if value is None else _with_channels(value, kept)
    if anew:
        _describe_anew(job, wanted, positions.reshape(-1).tolist(), recording, big=big)
    pages = _in_order(job, form) if anew else _pages(job, positions, form)
    contiguous = tags.text(DESCRIPTION).startswith("ImageJ=")
    write_pages(file, pages, positions.size, wanted, header=header, big=big, form=form, contiguous=contiguous)


def _with_channels(text: bytes, kept: Callable[[int], list[int]]) -> bytes:
    """Text of a tag; if it is a header of ScanImage, the channels that it lists as saved are those kept."""
    return with_channels(text.decode("latin-1"), kept).encode("latin-1")


def fields_not_read(job: ExportJob, path: str) -> list[str]:
    """Read a file that was written, and return the fields of the recording that it does not state.

    If the file cannot be opened, nothing is known of it, and all fields are returned.
    """
    known = job.movie.recording
    try:
        with TiffSource(path) as source:
            read = source.recording
    except PhotonError:
        read = NOTHING
    times = None if known.timestamps is None else known.timestamps[job.first : job.end]
    kept = {
        "axes": known.axes in (None, read.axes),
        "channels": known.channel_names in ((), read.channel_names),
        "pixel size": all(_same_size(known, read, axis) for axis in known.pixel_size),
        "frame rate": known.frame_rate is None
        or (read.frame_rate is not None and math.isclose(known.frame_rate, read.frame_rate, rel_tol=1e-3)),
        "times": times is None or _same_times(times, read.timestamps),
    }
    return [name for name, is_kept in kept.items() if not is_kept]


def _same_times(times: NDArray[np.float64], read: NDArray[np.float64] | None) -> bool:
    if read is None or len(read) != len(times):
        return False
    return np.allclose(times, read, rtol=1e-9, atol=1e-6, equal_nan=True)


def _same_size(known: Recording, read: Recording, axis: str) -> bool:
    """Whether the size of a pixel along an axis is the same, up to the rounding of a TIFF's resolution."""
    (size, unit), (other, other_unit) = known.pixel_size[axis], read.pixel_size.get(axis, (0.0, ""))
    return math.isclose(size, other, rel_tol=1e-3) and unit == other_unit


def _positions(job: ExportJob, tags: Tags, recording: Recording) -> NDArray[np.int64] | None:
    """Page number in the source of each page to write; None if the source's tags do not fit these pages."""
    details, form = tags.details, tags.details.get("page", {})
    lead = job.movie.shape[: -3 if "samples" in form else -2]
    if details.get("axes") != recording.axes or details.get("shape") != list(lead) or "depth" in form:
        return None
    positions = np.asarray(details.get("order", range(math.prod(lead))), np.int64).reshape(lead)
    return positions[job.first : job.end]


def _is_whole_file(job: ExportJob, tags: Tags, numbers: NDArray[np.int64]) -> bool:
    """Whether all pages of one file are written, with the values that they had."""
    count = tags.details.get("source_pages", math.prod(tags.details["shape"]))
    joined = len(tags.details.get("files", ())) > 1
    return job.counts and job.whole and numbers.size == count and tags.pages in (1, count) and not joined


def _page_form(job: ExportJob, tags: Tags) -> PageForm:
    form = {**tags.details.get("page", {})}
    extra = tuple(form.pop("extra_samples", ())) if "samples" in form else ()
    colours = form.get("photometric", 1)
    if "samples" not in form:
        form = {"photometric": colours if job.counts and colours in (0, 1, 3) else 1}
    elif colours not in (1, 2, 5):  # YCbCr was decoded to RGB
        form["photometric"] = 2
    return PageForm(**form, extra_samples=extra)


def _pages(job: ExportJob, positions: NDArray[np.int64], form: PageForm) -> Iterator[NDArray]:
    """Pages in the order of the source's file."""
    if bool((np.diff(positions.reshape(-1)) > 0).all()):
        yield from _in_order(job, form)
        return
    for run, page in page_runs(positions):
        yield from job.pages(slice(run.start + job.first, run.stop + job.first), page)


def _in_order(job: ExportJob, form: PageForm) -> Iterator[NDArray]:
    """Pages in the order of the movie's axes."""
    for block in job.aligned():
        yield from block.reshape(-1, *block.shape[-3 if form.samples > 1 else -2 :])


def _describe_anew(job: ExportJob, tags: Tags, pages: list[int], recording: Recording, *, big: bool) -> None:
    """Put a description of these pages in the place of one of all pages of the source."""
    text, axes = tags.text(DESCRIPTION), recording.axes or ""
    own = {code: tags.values.pop(code, {}).get(0) for code in (_IMAGEJ_COUNTS, _IMAGEJ_DATA)}
    if text.startswith("ImageJ=") and descriptions.fits_imagej(job, axes, big=big):
        text = descriptions.imagej_like(text, job.shape, axes)
        kept = descriptions.imagej_tags(own[_IMAGEJ_DATA], own[_IMAGEJ_COUNTS], pages, tags.order)
        tags.values |= {code: {0: value, 1: None} for code, value in kept.items()}
        lost = any(own.values()) and not kept
    elif part := ome_of_part(text, job.shape, job.dtype.name, axes, pages):
        text, lost = part, False
    else:
        shaped = descriptions.shaped_like(text, job.shape, axes)
        lost = shaped is None
        if shaped is None and descriptions.can_be_ome(job, recording, axes):
            shaped = descriptions.ome_xml(job, recording, axes)
        text = shaped or descriptions.shaped_like("{}", job.shape, axes) or ""
    if lost:
        job.notes.append("made anew: the description, as the source's one is of all its pages")
    tags.values[DESCRIPTION] = {0: text.encode(), 1: None}


def _write_described(job: ExportJob, file: IO[bytes], recording: Recording, *, big: bool) -> None:
    """Write with tifffile, as ImageJ TIFF or OME-TIFF if these can hold the known metadata."""
    import tifffile

    planes = (plane for block in job.aligned() for plane in block.reshape(-1, *job.shape[-2:]))
    tiff_type, metadata, resolution = _described(job, recording, big=big)
    with tifffile.TiffWriter(file, bigtiff=big, **tiff_type) as writer:
        writer.write(
            planes,
            shape=job.shape,
            dtype=job.dtype,
            photometric="minisblack",
            metadata=metadata,
            resolution=resolution,
        )


def _described(
    job: ExportJob, recording: Recording, *, big: bool
) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return options of tifffile's writer, its metadata and the resolution."""
    axes = recording.axes or ("tyx" if len(job.shape) == 3 else None)
    plain = {"axes": "T" + "Q" * (len(job.shape) - 3) + "YX"}  # Q: an axis without a special name
    if axes is None or len(axes) != len(job.shape) or not axes.endswith("yx") or "s" in axes:
        return {}, plain, None
    sizes, rate = recording.pixel_size, recording.frame_rate
    description = recording.document("tiff/ImageDescription")
    from_imagej = description is not None and description.data.startswith(b"ImageJ=")
    if from_imagej and descriptions.fits_imagej(job, axes, big=big):
        return {"imagej": True}, *_imagej(axes, sizes, rate)
    if descriptions.can_be_ome(job, recording, axes):
        return {"ome": True}, descriptions.ome_metadata(job, recording, axes), None
    return {}, {"axes": axes.upper()}, None


def _imagej(axes: str, sizes: dict[str, tuple[float, str]], rate: float | None) -> tuple[dict[str, Any], Any]:
    metadata: dict[str, Any] = {"axes": axes.upper()}
    if rate:
        metadata |= {"fps": rate, "finterval": 1.0 / rate}
    if "z" in sizes:
        metadata["spacing"] = sizes["z"][0]
    if not sizes:
        return metadata, None
    metadata["unit"] = next(iter(sizes.values()))[1].replace("\u00b5", "\\u00B5")
    return metadata, tuple(1.0 / sizes.get(axis, (1.0, ""))[0] for axis in "xy")
