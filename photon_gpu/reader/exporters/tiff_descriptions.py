"""Make the description of a TIFF file's first page, in the form of ImageJ, OME or tifffile."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np

from photon_gpu.reader.exporters.frames_to_export import ExportJob
from photon_gpu.recording import Recording

_IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
_OME_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_COUNTS = ("images", "channels", "slices", "frames", "hyperstack")


def fits_imagej(job: ExportJob, axes: str, *, big: bool) -> bool:
    """Whether ImageJ can read a movie: its dtype, its order of axes, and no BigTIFF."""
    in_order = axes == "".join(axis for axis in "tzcyx" if axis in axes)
    return not big and job.dtype.name in _IMAGEJ_DTYPES and in_order


def imagej_like(text: str, shape: tuple[int, ...], axes: str) -> str:
    r"""Change the description of an ImageJ stack to another number of pages.

    Examples
    --------
    >>> imagej_like("ImageJ=1.54\nimages=9\nframes=9\nunit=um\n", (4, 2, 8, 8), "tcyx")
    'ImageJ=1.54\nimages=8\nchannels=2\nframes=4\nhyperstack=true\nunit=um\n'
    """
    first, *lines = text.splitlines()
    sizes = {axis: size for axis, size in zip(axes, shape, strict=True) if axis in "tzc" and size > 1}
    counts = [f"images={math.prod(sizes.values())}"]
    counts += [
        f"{name}={sizes[axis]}" for name, axis in zip(_COUNTS[1:4], "czt", strict=True) if axis in sizes
    ]
    if len(sizes) > 1:
        counts.append("hyperstack=true")
    others = [line for line in lines if line.partition("=")[0] not in _COUNTS]
    return "\n".join([first, *counts, *others]) + "\n"


def imagej_tags(data: bytes | None, counts: bytes | None, pages: list[int], order: Any) -> dict[int, bytes]:
    """Values of ImageJ's own tags, with the labels of some pages only; none if they cannot be read."""
    import tifffile

    if data is None or counts is None:
        return {}
    imagej: Any = tifffile.tifffile
    try:
        imagej_metadata = imagej.imagej_metadata(
            data, struct.unpack(f"{order}{len(counts) // 4}I", counts), order
        )
        if isinstance(labels := imagej_metadata.get("Labels"), list):
            imagej_metadata["Labels"] = [labels[page] for page in pages]
        return {code: value for code, _, _, value, _ in imagej.imagej_metadata_tag(imagej_metadata, order)}
    except (ValueError, IndexError, KeyError, TypeError, struct.error):
        return {}


def shaped_like(text: str, shape: tuple[int, ...], axes: str) -> str | None:
    """Change a description of tifffile to another shape; None if it is not one."""
    try:
        description = json.loads(text)
    except ValueError:
        return None
    if not isinstance(description, dict):
        return None
    return json.dumps(
        {**description, "shape": list(shape), **({"axes": axes.upper()} if "axes" in description else {})}
    )


def can_be_ome(job: ExportJob, recording: Recording, axes: str | None) -> bool:
    """Whether there are metadata that OME can hold."""
    metadata = recording.pixel_size or recording.frame_rate or recording.channel_names or len(axes or "") > 3
    times = recording.timestamps is not None
    return job.dtype.name in _OME_DTYPES and axes is not None and (times or bool(metadata))


def ome_metadata(job: ExportJob, recording: Recording, axes: str) -> dict[str, Any]:
    """Return the metadata of a movie in the form that tifffile's OME writer expects."""
    metadata: dict[str, Any] = {"axes": axes.upper()}
    for axis, (size, unit) in recording.pixel_size.items():
        if axis in "xyz":
            metadata |= {f"PhysicalSize{axis.upper()}": size, f"PhysicalSize{axis.upper()}Unit": unit}
    if recording.frame_rate and "t" in axes:
        metadata |= {"TimeIncrement": 1.0 / recording.frame_rate, "TimeIncrementUnit": "s"}
    channels = job.shape[axes.index("c")] if "c" in axes else 1
    if len(recording.channel_names) == channels:
        metadata["Channel"] = {"Name": list(recording.channel_names)}
    times = None if recording.timestamps is None else recording.timestamps[job.first : job.end]
    if times is not None and axes[0] == "t" and np.isfinite(times).all():
        planes = np.repeat(times, math.prod(job.shape[1:-2])).tolist()
        metadata["Plane"] = {"DeltaT": planes, "DeltaTUnit": ["s"] * len(planes)}
    return metadata


def ome_xml(job: ExportJob, recording: Recording, axes: str) -> str:
    """OME-XML of a movie whose pages lie in the order of its axes."""
    import tifffile

    xml = tifffile.OmeXml()
    stored = (math.prod(job.shape[:-2]), 1, 1, job.shape[-2], job.shape[-1], 1)
    xml.addimage(job.dtype, job.shape, stored, **ome_metadata(job, recording, axes))
    return str(xml.tostring(declaration=True))
