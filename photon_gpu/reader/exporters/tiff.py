"""Write a stored movie as TIFF, with the metadata that its source had."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.reader.exporters.job import Job
from photon_gpu.reader.exporters.tiff_pages import page_runs, tags_of_pages, write_pages
from photon_gpu.recording import Recording
from photon_gpu.sources.tiff.metadata_blocks import scanimage_header
from photon_gpu.sources.tiff.tags import DESCRIPTION, Tags, from_documents

_COUNTING = re.compile(r"ImageJ=|shape=|\{|<\?xml|<(\w+:)?OME\b")
"""Beginnings of descriptions that say how many pages there are, so that they only fit the whole movie."""

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_OME_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")


def write_tiff(job: Job, file: IO[bytes], *, big: bool) -> None:
    """Write a movie as TIFF: with the tags of its source where these fit, else with its axes and units."""
    recording = job.movie.recording
    documents = {document.name: document for document in recording.documents}
    tags = from_documents(documents) if job.counts else None
    positions = None if tags is None else _positions(job, tags, recording)
    if tags is None or positions is None:
        _write_described(job, file, recording, big=big)
        return
    header = scanimage_header(documents)
    pages = _pages(job, positions)
    wanted = tags_of_pages(tags, np.sort(positions, axis=None).tolist())
    write_pages(file, pages, positions.size, wanted, header=header, big=big or bool(header))


def _positions(job: Job, tags: Tags, recording: Recording) -> NDArray[np.int64] | None:
    """Number in the source of each page that is written; None if its tags do not fit these pages."""
    lead = job.movie.shape[:-2]
    count, details = math.prod(lead), tags.details
    counting = _COUNTING.match(tags.text(DESCRIPTION)) is not None
    if details.get("files") or details.get("axes") != recording.axes or details.get("shape") != list(lead):
        return None
    if counting and not (job.whole and tags.pages in (1, count)):
        return None
    positions = np.asarray(details.get("order", range(count)), np.int64).reshape(lead)
    if not counting and int(positions.max()) >= tags.pages:
        return None
    return positions[job.first : job.end]


def _pages(job: Job, positions: NDArray[np.int64]) -> Iterator[NDArray]:
    if bool((np.diff(positions.reshape(-1)) > 0).all()):
        for block in job.aligned():
            yield from block.reshape(-1, *block.shape[-2:])
        return
    for run, page in page_runs(positions):
        yield from job.pages(slice(run.start + job.first, run.stop + job.first), page)


def _write_described(job: Job, file: IO[bytes], recording: Recording, *, big: bool) -> None:
    """Write with tifffile, as ImageJ or OME-TIFF where something is known that these can say."""
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


def _described(job: Job, recording: Recording, *, big: bool) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Options of tifffile's writer, its metadata and the resolution."""
    axes = recording.axes
    plain = {"axes": "T" + "Q" * (len(job.shape) - 3) + "YX"}  # Q: an axis of no special name
    if axes is None or len(axes) != len(job.shape) or not axes.endswith("yx") or "s" in axes:
        return {}, plain, None
    sizes, rate = recording.pixel_size, recording.frame_rate
    description = recording.document("tiff/ImageDescription")
    from_imagej = description is not None and description.data.startswith(b"ImageJ=")
    in_imagej_order = axes == "".join(axis for axis in "tzcyx" if axis in axes)
    if from_imagej and not big and job.dtype.name in _IMAGEJ_DTYPES and in_imagej_order:
        return {"imagej": True}, *_imagej(axes, sizes, rate)
    if job.dtype.name in _OME_DTYPES and (len(axes) > 3 or sizes or rate or recording.channel_names):
        return {"ome": True}, _ome(job, recording, axes), None
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


def _ome(job: Job, recording: Recording, axes: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes.upper()}
    for axis, (size, unit) in recording.pixel_size.items():
        if axis in "xyz":
            metadata |= {f"PhysicalSize{axis.upper()}": size, f"PhysicalSize{axis.upper()}Unit": unit}
    if recording.frame_rate and "t" in axes:
        metadata |= {"TimeIncrement": 1.0 / recording.frame_rate, "TimeIncrementUnit": "s"}
    channels = job.shape[axes.index("c")] if "c" in axes else 1
    if len(recording.channel_names) == channels:
        metadata["Channel"] = {"Name": list(recording.channel_names)}
    return metadata
