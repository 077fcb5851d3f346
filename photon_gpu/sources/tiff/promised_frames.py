"""Check whether the metadata of a TIFF file promise more pages than it has directories.

A stack may have one directory for all of its pages: ImageJ writes this beyond 4 GB, tifffile with
``truncate=True``. A reader that counts directories as frames would lose all other frames.
"""

from __future__ import annotations

import contextlib
import html
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from photon_gpu.errors import CorruptDataError
from photon_gpu.sources.tiff.byte_accounting import Directory, TiffBytes, hidden_pages
from photon_gpu.sources.tiff.rawfile import RawFile

_DESCRIPTION, _STK_PLANES = 270, 33629


def more_pages(path: str | RawFile, series: Any = None) -> str | None:
    """Sentence on the metadata that promise more pages than the file has directories; None without any.

    Parameters
    ----------
    path : str or RawFile
        TIFF file with a sound chain of directories.
    series : callable, optional
        Function that returns tifffile's series, which cover further dialects.

    Notes
    -----
    ScanImage states how many frames were requested, not how many were acquired, so it promises nothing.
    """
    covered = number = 0
    promise = ""
    with RawFile(path) if isinstance(path, str) else contextlib.nullcontext(path) as file:
        tiff = TiffBytes(file)
        first: Directory | None = None
        for directory in _whole_directories(tiff):
            first = first or directory
            if number >= covered:  # a description covers the pages that it counts
                pages, promised_by = _promised(tiff, directory)
                if number + pages > covered:
                    covered, promise = number + pages, f"{promised_by} promises {pages} pages"
            number += 1
        if covered > number:
            return f"{promise}, and the file has directories for {number}"
        if number == 1 and first is not None and (hidden := hidden_pages(first, tiff.unclaimed())):
            return (
                f"behind its only page, at byte {first.end}, lie bytes for {hidden} more that no metadata "
                f"describe (np.memmap(path, dtype, 'r', {first.end - (first.page_nbytes or 0)}, (T, "
                f"H, W)) reads them)"
            )
    return _by_series(number, series)


def _whole_directories(tiff: TiffBytes) -> Iterator[Directory]:
    """Directories before the place where a file is cut off."""
    with contextlib.suppress(CorruptDataError):
        yield from tiff.directories()


def _by_series(number: int, series: Any) -> str | None:
    try:
        pages = sum(math.prod(one.shape) // max(one.keyframe.size, 1) for one in series()) if series else 0
    except Exception:
        return None  # tifffile reports damage by many exception types; the metadata were read above
    return (
        f"its metadata promise {pages} pages, and the file has {number} directories"
        if pages > number
        else None
    )


def _promised(tiff: TiffBytes, directory: Directory) -> tuple[int, str]:
    """Number of pages that the metadata of a directory count, itself included, and their source."""
    if (planes := directory.tags.get(_STK_PLANES)) is not None:
        return planes.count, "MetaMorph's UIC2 tag"
    if (tag := directory.tags.get(_DESCRIPTION)) is None:
        return 1, ""
    text = tiff.value(tag, tag.nbytes).rstrip(b"\0 ").decode("utf-8", "replace")
    if text.startswith("ImageJ="):
        match = re.search(r"^images=(\d+)", text, re.MULTILINE)
        return (int(match[1]) if match else 1), "ImageJ's images="
    if shape := _shaped(text):
        return -(-math.prod(shape) // max(directory.pixels, 1)), "tifffile's shape"
    if re.search(r"<(\w+:)?OME\b", text):
        return _ome_planes(text), "OME-XML"
    return 1, ""


def _shaped(text: str) -> list[int] | None:
    try:
        if text.startswith("{"):
            shape = json.loads(text)["shape"]
        elif text.startswith("shape="):
            shape = json.loads(text[6:].replace("(", "[").replace(",)", "]").replace(")", "]"))
        else:
            return None
    except (ValueError, KeyError, TypeError):
        return None
    return shape if isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape) else None


def _ome_planes(text: str) -> int:
    planes = 0
    for pixels in re.split(r"<(?:\w+:)?Pixels\b", text)[1:]:
        head = pixels.partition(">")[0]
        sizes = {axis: int(size) for axis, size in re.findall(r'\bSize([CZT])\s*=\s*"(\d+)"', head)}
        samples = re.search(r'\bSamplesPerPixel\s*=\s*"(\d+)"', pixels)
        channels = -(-sizes.get("C", 1) // max(int(samples[1]), 1)) if samples else sizes.get("C", 1)
        planes += channels * sizes.get("Z", 1) * sizes.get("T", 1)
    return max(planes, 1)


def named_outside(path: str, ome: str) -> str | None:
    """Name of a file in OME metadata that is outside the folder of ``path``; None if there is none.

    Examples
    --------
    >>> named_outside("run/a.ome.tif", '<UUID FileName="b.ome.tif"/>') is None
    True
    >>> named_outside("run/a.ome.tif", '<UUID FileName="../b.ome.tif"/>')
    '../b.ome.tif'
    """
    folder = Path(os.path.normpath(Path(path).absolute().parent))
    for _, name in re.findall(r"\bFileName\s*=\s*([\"'])(.*?)\1", ome, re.DOTALL):
        named = html.unescape(name)
        if not Path(os.path.normpath(folder / named)).is_relative_to(folder):
            return named
    return None
