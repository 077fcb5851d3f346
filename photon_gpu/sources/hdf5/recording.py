"""Read the metadata that an HDF5 or NWB file holds about a movie."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import h5py
import numpy as np

from photon_gpu.recording import Document, Recording, content_crc32

CONTENT = "hdf5/content.json"
"""Document of all attributes and small datasets of a file."""

MARK = "photon_content_crc32"
"""Attribute of a dataset that ``decode`` wrote: a checksum of the file's attributes and small datasets."""

_MOST_VALUES = 10_000  # values of the largest dataset that is kept as JSON
_MOST_BYTES = 16 << 20  # in all documents together
_METERS = {"meters": 1e6, "meter": 1e6, "m": 1e6, "millimeters": 1e3, "micrometers": 1.0, "um": 1.0}


def read_recording(dataset: Any) -> Recording:
    """Read the metadata of a dataset in an NWB file, in a file that photon_gpu wrote, or in another file."""
    series = dataset.parent
    times, rate = _times(series, len(dataset)), _number(dataset.attrs.get("frame_rate"))
    if (start := series.get("starting_time")) is not None and rate is None:
        rate = _number(start.attrs.get("rate"))
    names = dataset.attrs.get("channel_names")
    documents, not_kept = _documents(dataset)
    rois = series["rois"][()] if _is_scalar_text(series.get("rois")) else dataset.attrs.get("rois")
    return Recording(
        channel_names=() if names is None else tuple(_text(name) for name in np.ravel(names)),
        pixel_size=_own_sizes(dataset) or _grid(series, dataset.ndim) or _element_size(dataset),
        frame_rate=rate,
        timestamps=times,
        rois=_rois(rois),
        documents=documents,
        not_kept=not_kept,
    )


def _times(series: Any, frames: int) -> Any:
    times = series.get("timestamps")
    if not isinstance(times, h5py.Dataset) or times.shape != (frames,) or times.dtype.kind not in "iuf":
        return None
    if str(series.attrs.get("comments", "")).startswith("no rate is known"):
        return None
    values = np.asarray(times[...], np.float64)
    return None if np.isinf(values).any() else values


def _rois(text: Any) -> tuple[dict[str, Any], ...]:
    """Regions as photon_gpu writes them; none where another program stored something of this name."""
    try:
        rois = json.loads(_text(text))
        return tuple(rois) if all(isinstance(one, dict) for one in rois) else ()
    except (ValueError, TypeError):
        return ()


def _own_sizes(dataset: Any) -> dict[str, tuple[float, str]]:
    sizes = {}
    for axis in "zyx":
        size = _number(dataset.attrs.get(f"pixel_size_{axis}"))
        if size is not None:
            sizes[axis] = (size, _text(dataset.attrs.get(f"pixel_size_{axis}_unit", "um")))
    return sizes


def _grid(series: Any, dimensions: int) -> dict[str, tuple[float, str]]:
    """Pixel size of the imaging plane of an NWB series: x, y and, for a volume, z."""
    plane = series.get("imaging_plane")
    spacing = None if plane is None else plane.get("grid_spacing")
    if spacing is None:
        return {}
    factor = _METERS.get(_text(spacing.attrs.get("unit", "meters")))
    values = [_number(value) for value in np.ravel(spacing[...])]
    if factor is None:
        return {}
    axes = "xyz"[: dimensions - 1]
    return {axis: (value * factor, "um") for axis, value in zip(axes, values, strict=False) if value}


def _element_size(dataset: Any) -> dict[str, tuple[float, str]]:
    """Pixel size in the form that ImageJ's HDF5 plugins write: z, y, x in micrometers."""
    values = [_number(value) for value in np.ravel(dataset.attrs.get("element_size_um", ()))]
    if len(values) != 3 or dataset.ndim < 3:
        return {}
    axes = "yx" if dataset.ndim == 3 else "zyx"
    return {axis: (value, "um") for axis, value in zip(axes, values[-len(axes) :], strict=True) if value}


def content_mark(dataset: Any) -> str:
    """Checksum of all attributes and small datasets of a file, for :data:`MARK`."""
    return content_crc32(_content(dataset)[0])


def _documents(dataset: Any) -> tuple[tuple[Document, ...], tuple[str, ...]]:
    """Read documents that photon_gpu wrote, and make one of all attributes and small datasets.

    The latter is left out where it holds only what photon_gpu wrote, which is read as fields. Return the
    documents, and a list of what they leave out.
    """
    content, documents, large = _content(dataset)
    kept = Recording(documents=tuple(documents))
    if MARK in dataset.attrs:
        own = _text(dataset.attrs[MARK]) == content_crc32(content)
    else:
        own = bool(documents) or _text(dataset.file.attrs.get("written_by")) == "photon_gpu"
    more = f" and {len(large) - 10} more" if len(large) > 10 else ""
    not_kept = (f"datasets {', '.join(large[:10])}{more}",) if large else ()
    if own or (len(content) == 1 and not content["/"]["attributes"]):
        return kept.documents, not_kept
    data = json.dumps(content).encode()
    if len(data) > _MOST_BYTES:
        return kept.documents, (f"{len(data):,} bytes of attributes and small datasets", *not_kept)
    document = Document(name=CONTENT, media_type="application/json", data=data)
    return kept.joined(document).documents, not_kept


def _content(dataset: Any) -> tuple[dict[str, Any], list[Document], list[str]]:
    """Attributes and small datasets of a file; documents that photon_gpu wrote; names of large datasets."""
    documents, content, large = {}, {"/": {"attributes": _attributes(dataset.file)}}, []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and "media_type" in node.attrs and node.dtype == np.uint8:
            own = Document(
                name=_text(node.attrs["name"]),
                media_type=_text(node.attrs["media_type"]),
                data=np.asarray(node[...]).tobytes(),
            )
            documents[own.name] = own
            return
        entry: dict[str, Any] = {}
        if attributes := _attributes(node):
            entry["attributes"] = attributes
        if isinstance(node, h5py.Dataset) and node.name != dataset.name and node.shape is not None:
            if math.prod(node.shape) <= _MOST_VALUES:
                try:
                    entry["value"] = _plain(node[()])
                except (OSError, ValueError, TypeError) as error:  # a filter that is not installed, perhaps
                    large.append(f"{node.name} ({error})")
            elif node.name != f"{dataset.parent.name.rstrip('/')}/timestamps":
                large.append(node.name)
        if entry:
            content[f"/{name}"] = entry

    dataset.file.visititems(visit)
    return content, list(documents.values()), large


def _attributes(node: Any) -> dict[str, Any]:
    """Attributes as JSON, without the attributes that HDF5 uses internally."""
    return {
        name: _plain(value)
        for name, value in node.attrs.items()
        if name not in ("DIMENSION_LABELS", "DIMENSION_LIST", "REFERENCE_LIST", "CLASS", MARK)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.void):
        return [_plain(item) for item in value.tolist()] if value.dtype.names else _encoded(value.tobytes())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return _encoded(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, complex):
        return [value.real, value.imag]
    return str(value)


def _encoded(data: bytes) -> str:
    return f"base64:{base64.b64encode(data).decode()}"


def _is_scalar_text(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and node.shape == () and node.dtype.kind == "O"


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _number(value: Any) -> float | None:
    """A positive number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
