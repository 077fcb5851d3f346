"""Read what a TIFF file says about its recording: its metadata verbatim, and the fields of each dialect."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.recording import Document, Recording
from photon_gpu.sources.tiff.metadata_blocks import FRAME_DATA, read_blocks
from photon_gpu.sources.tiff.metadata_tags import DESCRIPTION, SOFTWARE, Tags, read_tags, to_documents
from photon_gpu.sources.tiff.page_plan import SegmentMap

_XRESOLUTION, _YRESOLUTION, _MICROMANAGER = 282, 283, 51123
_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
_NUMBER = r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)"
_FRAME_TIME = re.compile(
    rf"^frame\s?timestamps?(?:_sec|\(s\))\s*=\s*{_NUMBER}".encode(), re.MULTILINE | re.IGNORECASE
)
_BLACK_IS_ZERO = 1
_LARGEST_COMPANION = 1 << 28


@dataclass(frozen=True)
class _PlannedFile:
    """A TIFF file that is planned, and what was read of it."""

    plan: SegmentMap
    tags: Tags
    axes: str | None
    shape: tuple[int, ...]
    documents: dict[str, Document]
    directories: NDArray[Any]

    @property
    def first_pages(self) -> NDArray[Any]:
        """Number of the directory with the first page of each step of the first axis."""
        return self.directories.reshape(len(self.directories), -1)[:, 0]

    def size(self, axis: str) -> int:
        """Length of an axis; 1 if there is none of that name."""
        return self.shape[self.axes.index(axis)] if self.axes and axis in self.axes else 1


def read_recording(plan: SegmentMap, shape: tuple[int, ...], planned: Recording) -> Recording:
    """Read the metadata of a file, beyond those ``planned`` from the order of its pages."""
    tags = read_tags(plan.files, plan.directories)
    blocks = read_blocks(plan.files[0])
    companion = _companion(tags, plan)
    directories = _directories(plan, tags)
    tags.details = _page_order(plan, planned.axes, directories)
    tag_documents = to_documents(tags, always=bool(blocks))
    documents = (*tag_documents.documents, *blocks, *companion)
    file = _PlannedFile(plan, tags, planned.axes, shape, {one.name: one for one in documents}, directories)
    recording = planned.replace(documents=documents, not_kept=(*planned.not_kept, *tag_documents.not_kept))
    try:
        fields = _fields(file)
    except Exception as error:  # words of any kind: they are kept, and stop no encode
        what = f"fields that could not be parsed: {type(error).__name__}: {str(error)[:100]}"
        return recording.replace(not_kept=(*recording.not_kept, what))
    for name, value in fields.items():
        if name == "channel_names" and planned.channel_names:
            continue
        try:
            recording = recording.replace(**{name: value})
        except InvalidInputError as error:  # the words themselves are kept
            recording = recording.replace(not_kept=(*recording.not_kept, str(error)))
    return recording


def _directories(plan: SegmentMap, tags: Tags) -> NDArray[Any]:
    """Number of the directory of each page of the movie; -1 for pages without one of their own."""
    starts = zip(plan.file_of.tolist(), plan.offsets[:, 0].tolist(), strict=True)
    numbers = np.array([tags.starts.get(start, -1) for start in starts])
    directories: NDArray[Any] = numbers[plan.pages]
    return directories


def _page_order(plan: SegmentMap, axes: str | None, directories: NDArray[Any]) -> dict[str, Any]:
    """How the movie's pages lie in the file, for a writer that restores it."""
    details: dict[str, Any] = {"shape": list(plan.pages.shape), "axes": axes}
    if len(plan.files) > 1:
        details["files"] = [Path(file.name).name for file in plan.files]
    if (directories < 0).any():  # one directory for all pages, in the order of the series
        directories = plan.pages
    if not np.array_equal(directories.reshape(-1), np.arange(directories.size)):
        details["order"] = directories.reshape(-1).tolist()
    if page := _page_form(plan.keyframe):
        details["page"] = page
    return details


def _page_form(keyframe: Any) -> dict[str, Any]:
    """Form of a page, where it is more than rows and columns of which 0 is black."""
    planes, depth, _, _, samples = keyframe.shaped
    form: dict[str, Any] = {}
    if planes * samples > 1:
        form |= {"samples": planes * samples, "planar": planes > 1}
        form["extra_samples"] = [int(meaning) for meaning in keyframe.extrasamples]
    if depth > 1:
        form["depth"] = depth
    if keyframe.photometric != _BLACK_IS_ZERO:
        form["photometric"] = int(keyframe.photometric)
    return form


def _companion(tags: Tags, plan: SegmentMap) -> list[Document]:
    """The file that has the OME-XML of others that only name it."""
    match = re.search(r'<(?:\w+:)?BinaryOnly\b[^>]*\bMetadataFile\s*=\s*"([^"]+)"', tags.text(DESCRIPTION))
    if not match or Path(match[1]).name != match[1]:
        return []
    path = Path(plan.files[0].name).parent / match[1]
    if (
        not path.is_file()
        or path.suffix.lower() in (".tif", ".tiff")
        or path.stat().st_size > _LARGEST_COMPANION
    ):
        return []
    return [Document(name=f"ome/{match[1]}", media_type="application/xml", data=path.read_bytes())]


def _fields(file: _PlannedFile) -> dict[str, Any]:
    description, software = file.tags.text(DESCRIPTION), file.tags.text(SOFTWARE)
    companion = next((one.text for name, one in file.documents.items() if name.startswith("ome/")), "")
    header = file.documents[FRAME_DATA].text.rstrip("\0") if FRAME_DATA in file.documents else ""
    for text in (header, software, description):
        if re.search(r"^(SI\.|scanimage\.SI)", text, re.MULTILINE):
            return _scanimage(file, text)
    if re.search(r"<(\w+:)?OME\b", companion or description):
        return _ome(file, companion or description)
    if description.startswith("ImageJ="):
        return _imagej(file, description) | _micromanager(file)
    return _micromanager(file)


def _imagej(file: _PlannedFile, description: str) -> dict[str, Any]:
    fields = dict(line.split("=", 1) for line in description.splitlines() if "=" in line)
    sizes: dict[str, tuple[float, str]] = {}
    unit = fields.get("unit", "").encode("latin1", "replace").decode("unicode-escape")
    for axis, code in (("y", _YRESOLUTION), ("x", _XRESOLUTION)):
        value = file.tags.at(code, 0)
        if unit and value and len(value) == 8:
            order = {"<": "little", ">": "big"}[file.tags.order]
            above, below = (int.from_bytes(value[at : at + 4], order) for at in (0, 4))  # type: ignore[arg-type]
            if above and below:
                sizes[axis] = below / above, unit
    if unit and _float(fields.get("spacing")):
        sizes["z"] = _float(fields.get("spacing")) or 1.0, unit
    seconds = _float(fields.get("finterval"))
    seconds = seconds * _SECONDS.get(fields.get("tunit", "s"), 1.0) if seconds else None
    rate = 1.0 / seconds if seconds else _float(fields.get("fps"))
    return {"pixel_size": sizes, "frame_rate": rate or None}


def _ome(file: _PlannedFile, text: str) -> dict[str, Any]:
    try:
        root = ElementTree.fromstring(text.encode("utf-8", "surrogateescape"))
    except ElementTree.ParseError:
        return {}
    images = root.findall("{*}Image")
    pixels = images[min(file.plan.series, len(images) - 1)].find("{*}Pixels") if images else None
    if pixels is None:
        return {}
    sizes = {}
    for axis in "zyx":
        size = _float(pixels.get(f"PhysicalSize{axis.upper()}"))
        if size:
            sizes[axis] = size, pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm")
    names = tuple(channel.get("Name", "") for channel in pixels.findall("{*}Channel"))
    seconds = _seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    return {
        "pixel_size": sizes,
        "channel_names": names if any(names) else (),
        "frame_rate": 1.0 / seconds if seconds and _is_time(file) else None,
        "timestamps": _ome_times(file, pixels),
    }


def _ome_times(file: _PlannedFile, pixels: ElementTree.Element) -> NDArray[np.float64] | None:
    """DeltaT of the first plane of each time point."""
    if not _is_time(file):
        return None
    times = np.full(file.shape[0], np.nan)
    for plane in pixels.findall("{*}Plane"):
        seconds = _seconds(plane.get("DeltaT"), plane.get("DeltaTUnit", "s"))
        number = int(plane.get("TheT", "-1"))
        if seconds is not None and 0 <= number < len(times) and np.isnan(times[number]):
            times[number] = seconds
    return None if np.isnan(times).all() else times


def _scanimage(file: _PlannedFile, header: str) -> dict[str, Any]:
    fields = dict(re.findall(r"^(?:SI\.|scanimage\.SI\.)(\S+)\s*=\s*(.*?)\s*$", header, re.MULTILINE))
    volumes = bool(file.axes and "z" in file.axes)
    rate = _float(fields.get("hRoiManager.scanVolumeRate" if volumes else "hRoiManager.scanFrameRate"))
    averaged = _float(fields.get("hScan2D.logAverageFactor")) or 1.0
    saved = [int(number) for number in re.findall(r"\d+", fields.get("hChannels.channelSave", ""))]
    named = re.findall(r"'([^']*)'", fields.get("hChannels.channelName", ""))
    names = tuple(named[number - 1] for number in saved if 0 < number <= len(named))
    corners = [float(number) for number in re.findall(_NUMBER, fields.get("hRoiManager.imagingFovUm", ""))]
    sizes = {}
    if len(corners) == 8 and not file.documents.get("scanimage/strips"):
        for axis, values in (("y", corners[1::2]), ("x", corners[0::2])):
            extent = max(values) - min(values)
            if extent > 0:
                sizes[axis] = extent / file.shape[-2 if axis == "y" else -1], "µm"
    return {
        "pixel_size": sizes,
        "channel_names": names if len(names) == file.size("c") else (),
        "frame_rate": rate / averaged if rate and _is_time(file) else None,
        "timestamps": _times_of_pages(file, DESCRIPTION, _frame_time),
    }


def _frame_time(description: bytes) -> float | None:
    match = _FRAME_TIME.search(description)
    return float(match[1]) if match else None


def _micromanager(file: _PlannedFile) -> dict[str, Any]:
    if _MICROMANAGER not in file.tags.values:
        return {}
    summary = (
        _json(file.documents["micromanager/Summary.json"].data)
        if "micromanager/Summary.json" in file.documents
        else {}
    )
    first = _json(file.tags.at(_MICROMANAGER, 0) or b"")
    size = _float(first.get("PixelSizeUm")) or _float(summary.get("PixelSize_um"))
    sizes = dict.fromkeys("yx", (size, "µm")) if size else {}
    if step := _float(summary.get("z-step_um")):
        sizes["z"] = abs(step), "µm"
    names = summary.get("ChNames")
    seconds = (_float(summary.get("Interval_ms")) or 0.0) / 1e3
    return {
        "pixel_size": sizes,
        "channel_names": tuple(map(str, names))
        if isinstance(names, list) and len(names) == file.size("c")
        else (),
        "frame_rate": 1.0 / seconds if seconds > 0 and _is_time(file) else None,
        "timestamps": _times_of_pages(file, _MICROMANAGER, _elapsed),
    }


def _elapsed(text: bytes) -> float | None:
    milliseconds = _float(_json(text).get("ElapsedTime-ms"))
    return None if milliseconds is None else milliseconds / 1e3


def _times_of_pages(file: _PlannedFile, code: int, time_of: Any) -> NDArray[np.float64] | None:
    """Time of the first page of each frame, from a tag; None if no page says it."""
    if not _is_time(file) or code not in file.tags.values:
        return None
    values = list(file.tags.by_page(code))
    times = np.full(file.shape[0], np.nan)
    for frame, number in enumerate(file.first_pages):
        value = values[number] if 0 <= number < len(values) else None
        seconds = time_of(value) if value else None
        if seconds is not None:
            times[frame] = seconds
    return None if np.isnan(times).all() else times


def _is_time(file: _PlannedFile) -> bool:
    return file.axes is None or file.axes.startswith("t")


def _json(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _seconds(value: str | None, unit: str) -> float | None:
    number = _float(value)
    return number * _SECONDS[unit] if number is not None and unit in _SECONDS else None


def _float(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
