"""Frame records: the timestamp and metadata of each frame, stored beside its chunk.

A chunk with a timestamp or metadata has a file ``.frames/<chunk>.json``. FORMAT.md, "Frame records".
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np

from photon_gpu.errors import CorruptDataError, InvalidInputError

VERSION = 1
FOLDER = ".frames"
LARGEST = 1 << 16
"""Maximum size of the metadata of one frame, bytes."""

Record = tuple[float | int | None, str | None]
"""Timestamp of one frame, and its metadata as JSON."""

NOTHING: Record = (None, None)


def file_name(chunk: int) -> str:
    """Return the name of the file with a chunk's records."""
    return f"{FOLDER}/{chunk}.json"


def chunk_of(name: str) -> int | None:
    """Return the number of the chunk whose records a file holds, None for any other file name."""
    match = re.fullmatch(r"\.frames/(\d{1,18})\.json", name)
    return int(match[1]) if match else None


def check(frames: int, timestamp: Any, metadata: Any) -> list[Record] | None:
    """Normalise per-frame timestamps and metadata; None if neither is given.

    Parameters
    ----------
    timestamp : number, or one per frame
        In the caller's unit, such as seconds, nanoseconds or ticks. Integers are kept exactly.
    metadata : dict, or one per frame
        Values that JSON can hold, of at most 64 KiB per frame.
    """
    if timestamp is None and metadata is None:
        return None
    times = _spread(frames, timestamp, "timestamp", np.ndim(timestamp) == 0)
    dicts = _spread(frames, metadata, "metadata", isinstance(metadata, dict))
    return [(_time(t), _json(m)) for t, m in zip(times, dicts, strict=True)]


def skipped(record: Record) -> bool:
    """Whether a frame was skipped by the acquisition: :meth:`photon_gpu.live.FrameStream.skip`.

    >>> skipped((None, '{"skipped": true}')), skipped(NOTHING)
    (True, False)
    """
    return record[1] is not None and json.loads(record[1]).get("skipped") is True


def pack(first: int, records: list[Record]) -> bytes | None:
    """Return the content of the records file of the chunk that begins at ``first``; None if all are empty."""
    if all(record == NOTHING for record in records):
        return None
    times = [t for t, _ in records]
    dicts = [None if m is None else json.loads(m) for _, m in records]
    content = {
        "records_version": VERSION,
        "first_frame": first,
        "frames": len(records),
        "timestamps": times if any(t is not None for t in times) else None,
        "metadata": dicts if any(m is not None for m in dicts) else None,
    }
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def unpack(data: bytes, frames: range, where: str) -> tuple[list[Any], list[Any]]:
    """Return the timestamps and the metadata of a chunk's frames, None for those without."""
    try:
        content = json.loads(data)
        version = content["records_version"]
        times = content["timestamps"] or [None] * content["frames"]
        dicts = content["metadata"] or [None] * content["frames"]
        fits = content["first_frame"] == frames.start and len(times) == len(dicts) == len(frames)
        fits = fits and all(t is None or isinstance(t, (int, float)) for t in times)
        fits = fits and all(m is None or isinstance(m, dict) for m in dicts)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptDataError(f"{where}: the frame records cannot be read ({error})") from error
    if version != VERSION or not fits:
        raise CorruptDataError(
            f"{where}: these are not records, version {VERSION}, of {len(frames)} frames from {frames.start}"
        )
    return list(times), list(dicts)


def _spread(frames: int, values: Any, name: str, single: bool) -> list[Any]:
    if values is None:
        return [None] * frames
    if single:
        if frames != 1:
            raise InvalidInputError(f"one {name} arrived for {frames} frames; give a list with one for each")
        return [values]
    values = list(values)
    if len(values) != frames:
        raise InvalidInputError(
            f"{len(values)} values of {name} arrived for {frames} frames; give one for each"
        )
    return values


def _time(value: Any) -> float | int | None:
    if value is None:
        return None
    if isinstance(value, (np.integer, np.floating)):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidInputError(f"timestamp is {value!r}; a finite number is needed")
    return value


def _json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        if not isinstance(value, dict):
            raise TypeError(f"a dictionary is needed, not {type(value).__name__}")
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"metadata of a frame cannot be kept as JSON: {error}") from error
    if len(text) > LARGEST:
        raise InvalidInputError(f"metadata of a frame take {len(text):,} bytes; at most {LARGEST:,} are kept")
    return text
