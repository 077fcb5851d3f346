"""Read times, channel names and pixel sizes from coordinates: of xarray objects, or of Zarr groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.recording import Recording
from photon_gpu.sources.select.axes import frame_axis, letters

_UNITS = {
    "ns": 1e-9,
    "nanosecond": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "microsecond": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "day": 86400.0,
}
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_EVEN = 1e-3  # share of a step by which values at even steps may be off
_EPOCH = np.datetime64(0, "s")  # 1970
_NO_TIME = np.iinfo(np.int64).min  # a missing date as an integer


@dataclass(frozen=True)
class Coordinate:
    """Values along one or more dimensions, with their attributes."""

    name: str
    dims: tuple[str, ...]
    values: Any
    attributes: Mapping[str, Any]


def with_coordinates(
    recording: Recording, dims: Sequence[str], coordinates: Iterable[Coordinate]
) -> Recording:
    """Add what coordinates say to a recording: times, channel names, pixel sizes; name the rest as not kept.

    Dates become seconds since 1970. Times at a steady rate give the frame rate. Positions of rows, columns or
    planes at even steps from 0, in a unit, give the pixel size.

    Examples
    --------
    >>> from photon_gpu.recording import NOTHING
    >>> times = Coordinate("time", ("time",), np.array([0, 100, 200]), {"units": "ms"})
    >>> colors = Coordinate("c", ("c",), np.array(["green", "red"]), {})
    >>> read = with_coordinates(NOTHING, ("time", "c", "y", "x"), [times, colors])
    >>> read.timestamps.tolist(), read.frame_rate, read.channel_names
    ([0.0, 0.1, 0.2], 10.0, ('green', 'red'))
    """
    axes = letters(dims)
    frames = dims[0] if axes is None else dims[frame_axis(axes)]
    is_time = axes is None or frame_axis(axes) == axes.find("t")
    channels = dims[axes.index("c")] if axes is not None and "c" in axes else None
    times: NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()
    sizes: dict[str, tuple[float, str]] = {}
    not_kept: list[str] = []
    # A coordinate with the name of its dimension says most.
    for one in sorted(coordinates, key=lambda one: (one.name,) != one.dims):
        values = np.asarray(one.values)
        if one.dims == (frames,) and is_time and times is None:
            times = _seconds(values, one.attributes)
            if times is not None:
                continue
        if one.dims == (channels,) and not names and (names := _texts(values)):
            continue
        letter = axes[dims.index(one.dims[0])] if axes is not None and one.dims == (one.name,) else ""
        if letter in ("z", "y", "x") and (size := _pixel(values, one.attributes)) is not None:
            sizes[letter] = size
            continue
        if values.ndim != 1 or not np.array_equal(values, np.arange(len(values))):  # more than numbers
            not_kept.append(f"coordinate {one.name!r} along {', '.join(one.dims) or 'no axis'}")
    return recording.replace(
        timestamps=recording.timestamps if times is None else times,
        frame_rate=recording.frame_rate or _rate(times),
        pixel_size=recording.pixel_size or sizes,
        channel_names=recording.channel_names or names,
        not_kept=(*recording.not_kept, *not_kept),
    )


def _seconds(values: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Seconds of dates, of durations, or of numbers with a unit of time; None for other values."""
    if values.dtype.kind in "mM":
        zero = _EPOCH if values.dtype.kind == "M" else np.timedelta64(0, "s")
        return np.asarray((values - zero) / np.timedelta64(1, "s"), np.float64)
    unit, _, start_text = str(attributes.get("units", "")).strip().partition(" since ")
    size = _UNITS.get(unit) or _UNITS.get(unit.lower().removesuffix("s"))
    packed = {"scale_factor", "add_offset"} & set(attributes)
    if size is None or values.dtype.kind not in "iuf" or packed or np.isinf(values).any():
        return None
    start = 0.0
    if start_text:
        if attributes.get("calendar", "standard") not in _CALENDARS:
            return None
        try:
            start = float((np.datetime64(start_text.strip()) - _EPOCH) / np.timedelta64(1, "s"))
        except (ValueError, TypeError):
            return None
    seconds = values * size + start
    if values.dtype.kind != "f":
        seconds[(values == _NO_TIME) | (values == attributes.get("_FillValue"))] = np.nan
    return np.asarray(seconds, np.float64)


def _texts(values: NDArray[Any]) -> tuple[str, ...]:
    """Texts of an array; none if it holds anything else."""
    listed = values.tolist() if values.ndim == 1 else []
    return tuple(listed) if all(isinstance(text, str) for text in listed) else ()


def _pixel(values: NDArray[Any], attributes: Mapping[str, Any]) -> tuple[float, str] | None:
    """Size and unit of pixels, from positions at even steps from 0; None for others, or without a unit."""
    unit = attributes.get("units")
    if not isinstance(unit, str) or not unit.strip() or values.ndim != 1 or values.dtype.kind not in "iuf":
        return None
    size = _step(values)
    return None if size is None or values[0] != 0 else (size, unit.strip())


def _rate(times: NDArray[np.float64] | None) -> float | None:
    """Frames per second of times that are evenly spaced; None for others."""
    period = None if times is None else _step(times)
    return None if period is None else float(f"{1 / period:.6g}")


def _step(values: NDArray[Any]) -> float | None:
    """Step of values that rise at even steps; None for others."""
    if len(values) < 2:
        return None
    values = values.astype(np.float64)
    step = float(values[-1] - values[0]) / (len(values) - 1)
    even = step > 0 and bool((np.abs(np.diff(values) - step) <= _EVEN * step).all())
    return float(f"{step:.9g}") if even else None
