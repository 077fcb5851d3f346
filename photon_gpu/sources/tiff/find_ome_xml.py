"""Find the OME-XML of a file of a multi-file OME-TIFF: another TIFF file or a companion file holds it."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photon_gpu.errors import CorruptDataError
from photon_gpu.sources.check import SingleImageError

_BINARY_ONLY = re.compile(r'<(?:\w+:)?BinaryOnly\b[^>]*\bMetadataFile\s*=\s*"([^"]+)"')
_FILE_NAME = re.compile(r'\bFileName\s*=\s*"([^"]+)"')
_MANY_FILES = 8
_MOST_PLANES = 1 << 26
COMPANION = ".ome"
"""Last suffix of a companion file, as in ``run.companion.ome``."""


def metadata_file(path: str, text: str | None) -> Path | None:
    """Find the file with the OME-XML of the movie that ``path`` is a part of; None if ``path`` has it.

    Parameters
    ----------
    path : str
        TIFF file.
    text : str or None
        OME-XML of the file.

    Raises
    ------
    SingleImageError
        The file with the OME-XML does not exist beside it.

    Examples
    --------
    >>> metadata_file("run_1.ome.tif", "<OME><Image/></OME>")
    """
    match = _BINARY_ONLY.search(text or "")
    if match is None:
        return None
    other = Path(path).parent / Path(match[1]).name
    if not other.is_file():
        raise SingleImageError(
            f"{path}: the file is a part of an OME movie whose metadata are in {match[1]}, which is not "
            "beside it. Put it there, or give the numbered files as a folder, a glob or a list"
        )
    return other


def first_file(companion: str) -> str:
    """The first TIFF file that a companion file names and that is beside it."""
    text = Path(companion).read_text("utf-8", "replace")
    names = list(dict.fromkeys(_FILE_NAME.findall(text)))
    for name in names:
        if (path := Path(companion).parent / Path(name).name).is_file():
            return str(path)
    raise CorruptDataError(
        f"{companion}: of the {len(names)} TIFF files that this OME-XML names, none is beside it"
    )


@dataclass(frozen=True)
class OmePlanes:
    """Planes of an OME image in many files.

    Attributes
    ----------
    axes : str
        Letters of the axes longer than 1, as in ``"TC"``; slowest first.
    shape : tuple of int
    planes : list of (str, int) or None
        File name and page number of each plane; None for a plane that no file has.
    """

    axes: str
    shape: tuple[int, ...]
    planes: list[tuple[str, int] | None]


def planes_in_files(text: str) -> OmePlanes | None:
    """Read where OME-XML places the planes of its only image, if it names the file of each plane.

    Return None for other forms of OME-XML. tifffile reads all, but opens every file: minutes for tens of
    thousands.
    """
    if len(set(_FILE_NAME.findall(text))) < _MANY_FILES:
        return None
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    images = root.findall("{*}Image")
    pixels = images[0].findall("{*}Pixels") if len(images) == 1 else []
    if len(pixels) != 1 or root.find("{*}StructuredAnnotations") is not None:
        return None
    try:
        axes = pixels[0].attrib["DimensionOrder"][:1:-1]
        sizes = [int(pixels[0].attrib[f"Size{axis}"]) for axis in axes]
        if sorted(axes) != ["C", "T", "Z"] or not 0 < math.prod(sizes) <= _MOST_PLANES:
            return None
        planes: list[tuple[str, int] | None] = [None] * math.prod(sizes)
        for data in pixels[0].findall("{*}TiffData"):
            attributes = data.attrib
            (uuid,) = data.findall("{*}UUID")
            if int(attributes.get("PlaneCount", "1" if "IFD" in attributes else "0")) != 1:
                return None
            at = [int(attributes.get(f"First{axis}", "0")) for axis in axes]
            number = int(np.ravel_multi_index(at, sizes))
            planes[number] = uuid.attrib["FileName"], int(attributes.get("IFD", "0"))
    except (KeyError, ValueError):
        return None
    samples = {channel.get("SamplesPerPixel", "1") for channel in pixels[0].findall("{*}Channel")}
    if samples - {"1"}:
        return None
    long = [(axis, size) for axis, size in zip(axes, sizes, strict=True) if size > 1]
    return OmePlanes("".join(axis for axis, _ in long), tuple(size for _, size in long), planes)
