"""Change the OME-XML of a source to that of some of its planes."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {"float32": "float", "float64": "double"}
_LEAD = "ZCT"


def ome_of_part(text: str, shape: tuple[int, ...], dtype: str, axes: str, pages: Sequence[int]) -> str | None:
    """Return the OME-XML of a file with some planes of another, whose rest is kept; None if that is unclear.

    Parameters
    ----------
    text : str
        OME-XML of the source. It is unclear for several images or files, and for pixels of several samples.
    shape : tuple of int
        Shape of what is written.
    dtype : str
    axes : str
        Letters of its axes, such as ``"tcyx"``.
    pages : sequence of int
        Page number in the source of each page, in the order of ``axes``.

    Examples
    --------
    >>> sizes = 'SizeX="4" SizeY="3" SizeZ="1" SizeC="2" SizeT="5"'
    >>> pixels = f'<Pixels DimensionOrder="XYCZT" Type="uint8" {sizes}>'
    >>> channels = '<Channel ID="Channel:0:0" Name="red"/><Channel ID="Channel:0:1" Name="green"/>'
    >>> text = f"<OME><Image>{pixels}{channels}<TiffData/></Pixels></Image></OME>"
    >>> part = ome_of_part(text, (2, 3, 4), "uint8", "tyx", [3, 5])
    >>> 'SizeC="1" SizeT="2"' in part, "red" in part, "green" in part
    (True, False, True)
    """
    try:
        root = ElementTree.fromstring(text.encode("utf-8", "surrogateescape"))
        namespace = root.tag[1:].partition("}")[0] if root.tag.startswith("{") else ""
        (image,) = root.findall("{*}Image")
        (pixels,) = image.findall("{*}Pixels")
        if (int(pixels.attrib["SizeY"]), int(pixels.attrib["SizeX"])) != shape[-2:]:
            return None
        planes = _planes(pixels)
        chosen = _chosen(planes[np.asarray(pages, np.int64)].reshape(*shape[:-2], len(_LEAD)), axes)
    except (ElementTree.ParseError, KeyError, ValueError, IndexError):
        return None
    if chosen is None or not _has_one_namespace(root, namespace):
        return None
    _describe(pixels, chosen, axes, dtype, namespace)
    root.attrib.pop("UUID", None)  # that of the source's file
    if namespace:
        for element in root.iter():
            element.tag = element.tag.removeprefix(f"{{{namespace}}}")
        root.attrib = {"xmlns": namespace, **root.attrib}
    return '<?xml version="1.0" encoding="UTF-8"?>' + ElementTree.tostring(root, encoding="unicode")


def _planes(pixels: ElementTree.Element) -> NDArray[np.int64]:
    """Numbers along Z, C and T of each page of the source."""
    order = pixels.attrib["DimensionOrder"][:1:-1]  # slowest first
    sizes = [int(pixels.attrib[f"Size{axis}"]) for axis in order]
    if sorted(order) != sorted(_LEAD) or _is_in_files(pixels):
        raise ValueError("not a plain OME file")
    count = math.prod(sizes)
    numbers = np.full(count, -1)
    for data in pixels.findall("{*}TiffData"):
        first = [int(data.get(f"First{axis}", "0")) for axis in order]
        start, page = int(np.ravel_multi_index(first, sizes)), int(data.get("IFD", "0"))
        length = int(data.get("PlaneCount", "1" if "IFD" in data.attrib else count - start))
        numbers[page : page + length] = np.arange(start, start + length)
    at = np.stack(np.unravel_index(np.maximum(numbers, 0), sizes), axis=-1)
    at[numbers < 0] = -1
    return at[:, [order.index(axis) for axis in _LEAD]]


def _is_in_files(pixels: ElementTree.Element) -> bool:
    """Whether planes lie in several files, or channels have several samples."""
    files = {uuid.get("FileName") for uuid in pixels.findall("{*}TiffData/{*}UUID")}
    samples = {channel.get("SamplesPerPixel", "1") for channel in pixels.findall("{*}Channel")}
    return len(files) > 1 or bool(samples - {"1"})


def _chosen(planes: NDArray[Any], axes: str) -> dict[str, list[int]] | None:
    """Source numbers along Z, C and T; None if the planes are not all combinations, in order of ``axes``."""
    lead = axes[:-2].upper()
    if planes.ndim != len(lead) + 1 or set(lead) - set(_LEAD) or planes.min() < 0:
        return None
    chosen = {}
    for number, axis in enumerate(_LEAD):
        values = planes[..., number]
        if axis in lead:
            values = np.moveaxis(values, lead.index(axis), 0).reshape(planes.shape[lead.index(axis)], -1)
        else:
            values = values.reshape(1, -1)
        if (values != values[:, :1]).any():
            return None
        chosen[axis] = values[:, 0].tolist()
    return chosen


def _has_one_namespace(root: ElementTree.Element, namespace: str) -> bool:
    """Whether no element without a namespace would get that of the root."""
    return not namespace or all(str(element.tag).startswith("{") for element in root.iter())


def _describe(
    pixels: ElementTree.Element, chosen: dict[str, list[int]], axes: str, dtype: str, namespace: str
) -> None:
    lead = axes[:-2].upper()
    for axis, numbers in chosen.items():
        pixels.set(f"Size{axis}", str(len(numbers)))
    rest = "".join(axis for axis in _LEAD if axis not in lead)
    pixels.set("DimensionOrder", "XY" + lead[::-1] + rest)
    ome_type = _TYPES.get(dtype, dtype)
    if pixels.get("Type") != ome_type:
        pixels.set("Type", ome_type)
        pixels.attrib.pop("SignificantBits", None)
    channels = pixels.findall("{*}Channel")
    wanted = {id(channels[number]) for number in chosen["C"] if number < len(channels)}
    for element in list(pixels):
        name = str(element.tag).rpartition("}")[2]
        if name == "TiffData" or (name == "Channel" and id(element) not in wanted):
            pixels.remove(element)
        elif name == "Plane":
            try:
                for axis, numbers in chosen.items():
                    element.set(f"The{axis}", str(numbers.index(int(element.get(f"The{axis}", "-1")))))
            except ValueError:
                pixels.remove(element)  # of a plane that is not written
    data = ElementTree.Element(
        f"{{{namespace}}}TiffData" if namespace else "TiffData",
        IFD="0",
        PlaneCount=str(math.prod(map(len, chosen.values()))),
    )
    pixels.insert(len(pixels.findall("{*}Channel")), data)
