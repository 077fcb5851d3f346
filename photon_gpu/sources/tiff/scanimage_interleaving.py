"""Read from ScanImage's header how channels, planes and repeated frames are interleaved."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

KEEP, DROP = "keep", "drop"
"""What to do with flyback frames, which ScanImage saves after the planes of a volume."""

_SAVED = re.compile(r"((?:hChannels\.channelSave|channelsSave)\s*=\s*)(\[[^\]]*\]|\d+)")
_NUMBER = re.compile(r"^frameNumbers\s*=\s*(\d+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Interleaving:
    """The order of the pages of a ScanImage file: channels fastest, then repeats, planes, volumes.

    Attributes
    ----------
    channels : int
    channel_names : tuple of str
    planes : int
        Planes of a volume that are in the file, flyback frames included.
    flyback : int
        Number of flyback frames among the planes; they are the last ones.
    repeats : int
        Consecutive frames of one plane.
    """

    channels: int = 1
    channel_names: tuple[str, ...] = ()
    planes: int = 1
    flyback: int = 0
    repeats: int = 1

    @property
    def per_volume(self) -> int:
        """Pages of one volume."""
        return self.channels * self.planes * self.repeats


def interleaving(tif: Any, pages: int) -> Interleaving:
    """Find out how the pages of an open file are interleaved.

    ScanImage states how many volumes were requested, not how many were acquired; ``pages`` is the latter.
    The numbers of the frames show whether flyback frames were saved.
    """
    header = ScanImageHeader.of(tif)
    channels, names = header.channels()
    planes, flyback, repeats = header.volume()
    if flyback and not _flyback_saved(tif, pages, channels, planes, flyback):
        flyback = 0
    return Interleaving(
        channels=channels, channel_names=names, planes=planes + flyback, flyback=flyback, repeats=repeats
    )


@dataclass(frozen=True)
class ScanImageHeader:
    """Values of a ScanImage header, which tifffile parsed, or which are text in older releases."""

    values: dict[str, Any]
    text: str = ""

    @classmethod
    def of(cls, tif: Any) -> ScanImageHeader:
        """Read the header of an open file."""
        first = tif.pages.first
        header = tif.scanimage_metadata or {}
        values = {**(header.get("FrameData") or {}), "RoiGroups": header.get("RoiGroups")}
        return cls(values, f"{first.software}\n{first.description}")

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value by its name below ``SI.``, in the type that it parses to."""
        if (value := self.values.get(f"SI.{name}")) is not None:
            return value
        match = re.search(rf"\bSI\d?\.{re.escape(name)}\s*=\s*([^\r\n]+)", self.text)
        return _parsed(match[1].strip()) if match else default

    def count(self, *names: str) -> int | None:
        """Return the first of several values that is a whole number."""
        for name in names:
            value = self.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
                return int(value)
        return None

    def channels(self) -> tuple[int, tuple[str, ...]]:
        """Number of channels that were saved, and their names."""
        saved = self.get("hChannels.channelSave")
        if saved is None:
            return scanimage_channels(self.text), ()
        numbers = [int(number) for number in np.ravel(saved)]
        names = self.get("hChannels.channelName")
        if isinstance(names, str):
            names = re.findall(r"'([^']*)'", names)
        if isinstance(names, list | tuple) and all(0 < number <= len(names) for number in numbers):
            return max(len(numbers), 1), tuple(str(names[number - 1]) for number in numbers)
        return max(len(numbers), 1), tuple(f"channel {number}" for number in numbers)

    def volume(self) -> tuple[int, int, int]:
        """Planes of a volume, flyback frames after them, and consecutive frames of a plane."""
        fast = self.get("hFastZ.enable") is True or self.get("hStackManager.stackMode") == "fast"
        if self.get("hStackManager.enable") is not True and self.get("hFastZ.enable") is not True:
            return 1, 0, 1
        planes = self.count("hStackManager.actualNumSlices", "hStackManager.numSlices") or 1
        averaged = self.count("hScan2D.logAverageFactor") or 1
        repeats = max((self.count("hStackManager.framesPerSlice") or 1) // max(averaged, 1), 1)
        if planes < 2:
            return 1, 0, 1
        if not fast:
            return planes, 0, repeats
        discarded = self.count("hFastZ.numDiscardFlybackFrames", "hStackManager.numFlybackFrames") or 0
        whole = self.count("hStackManager.numFramesPerVolumeWithFlyback")
        return planes, max(whole - planes if whole else discarded, 0), 1

    def rois(self, height: int) -> tuple[dict[str, Any], ...]:
        """Rows of each region in a frame of several regions (mROI), which lie one below the other.

        Between two regions lie rows that were scanned on the way from one to the next.
        """
        if self.get("hRoiManager.mroiEnable") not in (True, 1):
            return ()
        regions = [region for region in _regions(self.values, self.text) if region is not None]
        heights = [rows for _, rows, _ in regions]
        between, left = divmod(height - sum(heights), max(len(regions) - 1, 1))
        if not regions or between < 0 or left or (len(regions) == 1 and between):
            return ()
        result, row = [], 0
        for name, rows, more in regions:
            result.append({"name": name, "rows": [row, row + rows], **more})
            row += rows + between
        return tuple(result)


def first_frame_number(tif: Any) -> int | None:
    """Number of the first frame of an open file within its acquisition."""
    match = _NUMBER.search(tif.pages.first.description or "")
    return int(match[1]) if match else None


def scanimage_channels(text: str) -> int:
    r"""Number of channels that ScanImage saved, from the text of its header; 1 if it does not say.

    Examples
    --------
    >>> scanimage_channels("SI.hChannels.channelSave = [1;2]")
    2
    >>> scanimage_channels("state.acq.savingChannel1=1\rstate.acq.savingChannel2=0")
    1
    """
    listed = _SAVED.search(text)
    if listed:
        return max(len(re.findall(r"\d+", listed[2])), 1)
    return max(len(re.findall(r"state\.acq\.savingChannel\d+\s*=\s*1\b", text)), 1)


def with_channels(text: str, kept: Callable[[int], Sequence[int]]) -> str:
    r"""Return the text of a header that lists only some of the channels that it says were saved.

    ``kept(n)`` are the positions of those to list among the ``n`` saved channels, rising.

    Examples
    --------
    >>> with_channels("SI.hChannels.channelSave = [1;4]", lambda n: [1])
    'SI.hChannels.channelSave = 4'
    """

    def listed(match: re.Match[str]) -> str:
        saved = re.findall(r"\d+", match[2])
        positions = kept(len(saved))
        if len(positions) == len(saved):
            return match[0]
        channels = ";".join(saved[position] for position in positions)
        return match[1] + (channels if len(positions) == 1 else f"[{channels}]")

    return _SAVED.sub(listed, text)


def _parsed(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("["):
        return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]
    try:
        return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    except ValueError:
        return text.strip("'")


def _flyback_saved(tif: Any, pages: int, channels: int, planes: int, flyback: int) -> bool:
    """Whether the file has flyback frames: if they were left out, frame numbers have gaps."""
    frames = pages // channels
    numbers: list[int] = []
    for frame in range(min(frames, planes + flyback + 1)):
        match = _NUMBER.search(tif.pages[frame * channels].description or "")
        if match is None:
            numbers = []
            break
        numbers.append(int(match[1]))
    steps = np.diff(numbers)
    if len(numbers) > planes and (steps > 0).all():
        return bool(steps[planes - 1] == steps[0])
    return frames % (planes + flyback) == 0 or frames % planes != 0


def _regions(values: dict[str, Any], text: str) -> list[tuple[str, int, dict[str, Any]] | None]:
    """Name, rows and position of each region in the header's JSON; None for a region without rows."""
    groups = values.get("RoiGroups")
    if groups is None:
        start = text.find('{"RoiGroups"')
        start = text.find('"RoiGroups"') if start < 0 else start
        try:
            groups = json.JSONDecoder().raw_decode(text[text.index("{", max(start - 2, 0)) :])[0]["RoiGroups"]
        except (ValueError, KeyError, TypeError):
            return []
    try:
        listed = groups["imagingRoiGroup"]["rois"]
    except (KeyError, TypeError):
        return []
    return [_region(one) for one in (listed if isinstance(listed, list) else [listed])]


def _region(region: Any) -> tuple[str, int, dict[str, Any]] | None:
    try:
        fields = region["scanfields"]
        field = fields[0] if isinstance(fields, list) else fields
        rows = int(field["pixelResolutionXY"][1])
        geometry = {
            "center": list(field["centerXY"]),
            "size": list(field["sizeXY"]),
            "zs": region.get("zs", 0),
        }
        return str(region.get("name", "")), rows, geometry
    except (KeyError, TypeError, IndexError, ValueError):
        return None
