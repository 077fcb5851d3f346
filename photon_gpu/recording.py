"""Metadata of a recording: axes, names, units, times, and the documents of its source."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError

AXES = "tczyxsp"
"""Letters of axes: time, channel, plane, row, column, strip or region of interest, and position."""

_MOST_NAME = 1000  # characters of the name of a document
_MICROMETERS = frozenset(["um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometers"])
_MICROMETERS_NAME = "\u00b5m"


@dataclass(frozen=True, kw_only=True)
class Document:
    """A part of a source's metadata, verbatim.

    Attributes
    ----------
    name : str
        Path in the source, such as ``"tiff/ImageDescription"``: relative and printable.
    media_type : str
        Such as ``"text/plain"`` or ``"application/json"``.
    data : bytes

    Examples
    --------
    >>> Document(name="tiff/Software", media_type="text/plain", data=b"SI").text
    'SI'
    """

    name: str
    media_type: str
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for label, value in (("name", self.name), ("media_type", self.media_type)):
            if not isinstance(value, str) or not 0 < len(value) <= _MOST_NAME or not value.isprintable():
                raise InvalidInputError(
                    f"{label} of a document is {str(value)[:60]!r}; printable text of 1 to {_MOST_NAME} "
                    "characters is needed"
                )
        if {"", ".", ".."} & set(self.name.split("/")) or set(self.name) & set("\\:"):
            raise InvalidInputError(f"name of a document is {self.name[:60]!r}; a relative path is needed")
        if not isinstance(self.data, bytes):
            raise InvalidInputError(f"document {self.name}: data is {type(self.data).__name__}, not bytes")

    @property
    def text(self) -> str:
        """The data as UTF-8 text; a byte that is not UTF-8 becomes a lone surrogate."""
        return self.data.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """Metadata of a recording. By default nothing is known.

    Attributes
    ----------
    axes : str or None
        One letter of ``t c z y x s p`` per dimension of the source's shape, as in ``"tcyx"``.
    channel_names : tuple of str
    pixel_size : dict of str to (float, str)
        Size of a pixel along an axis, and its unit: ``{"y": (0.5, "µm"), "x": (0.5, "µm")}``. All names of
        the micrometer become ``"µm"``.
    frame_rate : float or None
        Steps of the first axis per second, in Hz.
    timestamps : array of float64 or None
        Seconds, one per step of the first axis; NaN for a frame without a time.
    rois : tuple of dict
        Regions of interest of a frame, as JSON.
    documents : tuple of Document
        The source's metadata, verbatim. Names are unique.
    not_kept : tuple of str
        Descriptions of metadata in the source that this object does not hold.

    Raises
    ------
    InvalidInputError
        A field is not as described.

    Examples
    --------
    >>> recording = Recording(axes="tyx", pixel_size={"x": (0.5, "micron")}, frame_rate=30)
    >>> recording.pixel_size, recording.frame_rate
    ({'x': (0.5, 'µm')}, 30.0)
    >>> Recording.from_dict(recording.to_dict()).axes, Recording().to_dict()
    ('tyx', {})
    """

    axes: str | None = None
    channel_names: tuple[str, ...] = ()
    pixel_size: dict[str, tuple[float, str]] = field(default_factory=dict)
    frame_rate: float | None = None
    timestamps: NDArray[np.float64] | None = None
    rois: tuple[dict[str, Any], ...] = ()
    documents: tuple[Document, ...] = ()
    not_kept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.axes is not None:
            _check_axes(self.axes)
        for name in ("channel_names", "rois", "documents", "not_kept"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_all("channel_names", self.channel_names, str)
        _check_all("not_kept", self.not_kept, str)
        _check_all("rois", self.rois, dict)
        _check_all("documents", self.documents, Document)
        sizes = {axis: _size(axis, value) for axis, value in dict(self.pixel_size).items()}
        object.__setattr__(self, "pixel_size", sizes)
        if self.frame_rate is not None:
            object.__setattr__(self, "frame_rate", _positive("frame_rate", self.frame_rate))
        if self.timestamps is not None:
            object.__setattr__(self, "timestamps", _times(self.timestamps))
        names = [document.name for document in self.documents]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InvalidInputError(f"two documents are named {twice!r}; each name may be used once")

    @property
    def is_empty(self) -> bool:
        """Whether all fields are empty."""
        return not self.to_dict() and self.timestamps is None and not self.documents

    def document(self, name: str) -> Document | None:
        """Return the document of this name, or None."""
        return next((document for document in self.documents if document.name == name), None)

    def joined(self, *documents: Document) -> Self:
        """Return a copy with more documents; where a name is taken by other data, the new one is renamed.

        Examples
        --------
        >>> one, other = (Document(name="a.json", media_type="text/plain", data=data) for data in (b"", b"2"))
        >>> [document.name for document in Recording(documents=(one,)).joined(one, other).documents]
        ['a.json', 'a_2.json']
        """
        by_name = {one.name: one for one in self.documents}
        for one in documents:
            name, (stem, dot, suffix), number = one.name, one.name.rpartition("."), 2
            while name in by_name and by_name[name].data != one.data:
                name, number = f"{stem}_{number}{dot}{suffix}" if dot else f"{suffix}_{number}", number + 1
            by_name[name] = replace(one, name=name)
        return self.replace(documents=by_name.values())

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with some fields changed."""
        return replace(self, **changes)

    def fitted(self, shape: tuple[int, ...]) -> Self:
        """Return a copy for a movie of this shape; fields that do not fit are moved to ``not_kept``."""
        changes: dict[str, Any] = {}
        left_out = []
        if self.axes is not None and len(self.axes) != len(shape):
            changes["axes"] = None
            left_out.append(f"axes {self.axes!r} of a movie of {len(shape)} dimensions")
        if self.timestamps is not None and len(self.timestamps) != shape[0]:
            changes["timestamps"] = None
            left_out.append(f"{len(self.timestamps)} timestamps of {shape[0]} frames")
        return self.replace(**changes, not_kept=(*self.not_kept, *left_out)) if left_out else self

    def check_shape(self, shape: tuple[int, ...], name: str) -> None:
        """Raise InvalidInputError unless axes, timestamps and channel names fit a movie of this shape."""
        if self.axes is not None and len(self.axes) != len(shape):
            raise InvalidInputError(
                f"{name}: axes {self.axes!r} name {len(self.axes)} dimensions; the movie has {len(shape)}: "
                f"{shape}"
            )
        if self.timestamps is not None and len(self.timestamps) != shape[0]:
            raise InvalidInputError(
                f"{name}: {len(self.timestamps)} timestamps arrived for {shape[0]} frames; give one "
                "for each frame"
            )

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each known field, for a table.

        Examples
        --------
        >>> Recording(axes="tyx", frame_rate=30, pixel_size={"y": (2, "um"), "x": (1, "um")}).rows()
        [('axes', 'tyx'), ('pixel size', '2 µm (y), 1 µm (x)'), ('frame rate', '30 Hz')]
        """
        sizes = ", ".join(f"{size:g} {unit} ({axis})" for axis, (size, unit) in self.pixel_size.items())
        times, nbytes = "", sum(len(document.data) for document in self.documents)
        if self.timestamps is not None and len(self.timestamps):
            first, last = self.timestamps[0], self.timestamps[-1]
            times = f"{len(self.timestamps):,}, from {first:g} to {last:g} s"
        names = [document.name for document in self.documents]
        documents = f"{some(names)} ({nbytes:,} bytes)" if names else ""
        rows = [
            ("axes", self.axes or ""),
            ("channels", some(self.channel_names)),
            ("pixel size", sizes),
            ("frame rate", "" if self.frame_rate is None else f"{self.frame_rate:g} Hz"),
            ("times", times),
            ("regions", f"{len(self.rois)}" if self.rois else ""),
            ("source metadata", documents),
            ("not kept", some(self.not_kept)),
        ]
        return [(name, value) for name, value in rows if value]

    def notes(self) -> list[str]:
        """Sentences for a report on the metadata that were kept, and on those that were not."""
        rows = dict(self.rows())
        not_kept = rows.pop("not kept", None)
        facts = "; ".join(f"{name} {value}" for name, value in rows.items())
        notes = [f"kept besides pixels: {facts}"] if facts else []
        return [*notes, f"not kept: {not_kept}"] if not_kept else notes

    def to_dict(self) -> dict[str, Any]:
        """Return the known fields as JSON values, without timestamps and documents."""
        facts: dict[str, Any] = {
            "axes": self.axes,
            "channel_names": list(self.channel_names),
            "pixel_size": {axis: list(size) for axis, size in self.pixel_size.items()},
            "frame_rate": self.frame_rate,
            "rois": list(self.rois),
            "not_kept": list(self.not_kept),
        }
        return {name: value for name, value in facts.items() if value not in (None, [], {})}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`. Keys of later versions are ignored."""
        if not isinstance(data, Mapping):
            raise InvalidInputError(f"a recording arrived as {type(data).__name__}; a dictionary is needed")
        names = {one.name for one in fields(cls)} - {"timestamps", "documents"}
        try:
            return cls(**{name: value for name, value in data.items() if name in names})
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"the description of a recording cannot be read: {error}") from error


def read_times(timestamps: Any) -> NDArray[np.float64]:
    """Read timestamps from numbers, from a ``.npy`` file, or from a text file with one number per line.

    Raises
    ------
    InvalidInputError
        The file cannot be read, or they are not one number per frame.

    Examples
    --------
    >>> read_times([0, 0.5]).tolist()
    [0.0, 0.5]
    """
    if isinstance(timestamps, str | os.PathLike):
        path = Path(timestamps)
        try:
            if path.suffix.lower() == ".npy":
                return _times(np.load(path, allow_pickle=False))
            return _times(np.loadtxt(path, delimiter="," if path.suffix.lower() == ".csv" else None, ndmin=1))
        except (OSError, ValueError, UnicodeDecodeError) as error:
            raise InvalidInputError(
                f"{path}: no timestamps can be read ({str(error)[:100]}); a .npy array, or text with one "
                "number per line, is needed"
            ) from error
    return _times(timestamps)


def some(names: Sequence[str], most: int = 6) -> str:
    """Join names in one line; after ``most`` names, only count the rest.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _check_axes(axes: object) -> None:
    if not isinstance(axes, str) or not axes or set(axes) - set(AXES) or len(set(axes)) < len(axes):
        raise InvalidInputError(
            f"axes are {str(axes)[:60]!r}; letters of {AXES!r} are needed, one per dimension and each once"
        )


def _check_all(name: str, values: tuple[Any, ...], expected: type) -> None:
    if any(not isinstance(value, expected) for value in values):
        raise InvalidInputError(f"{name} are {str(values)[:60]}; each must be a {expected.__name__}")


def _size(axis: object, value: Any) -> tuple[float, str]:
    if not isinstance(axis, str) or axis not in tuple(AXES):
        raise InvalidInputError(f"pixel_size of {str(axis)[:60]!r}; axes are letters of {AXES!r}")
    try:
        size, unit = value
    except (TypeError, ValueError):
        size, unit = value, None
    if not isinstance(unit, str):
        raise InvalidInputError(f"pixel_size of {axis!r} is {str(value)[:60]}; (number, unit) is needed")
    unit = _MICROMETERS_NAME if unit.strip().lower() in _MICROMETERS else unit
    return _positive(f"pixel_size of {axis!r}", size), unit


def _positive(name: str, value: Any) -> float:
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or value <= 0:
        raise InvalidInputError(f"{name} is {str(value)[:60]}; a number above 0 is needed")
    return float(value)


def _times(values: Any) -> NDArray[np.float64]:
    try:
        times = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"timestamps are not numbers: {error}") from error
    if times.ndim != 1 or np.isinf(times).any():
        raise InvalidInputError(
            f"timestamps are an array of shape {times.shape}; one number of seconds per frame is needed"
        )
    times.flags.writeable = False
    return times


def lost_frames(attributes: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    """Return the ranges ``(first, end)`` of frames that are recorded as lost; they are stored as zeros.

    The attributes come from a store. Entries that are not ranges are left out; ``photon_gpu.verify`` reports
    them.

    Examples
    --------
    >>> lost_frames({"lost_frames": [[3, 5], "x"]})
    ((3, 5),)
    """
    listed = attributes.get("lost_frames")
    return tuple(
        (max(span[0], 0), max(span[1], 0))
        for span in (listed if isinstance(listed, list) else [])
        if isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span)
    )


def content_crc32(content: Any) -> str:
    """Checksum of JSON values, by which photon_gpu sees whether what it wrote beside a movie was changed."""
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def axis_names(axes: str | None, ndim: int) -> tuple[str, ...]:
    """Name each axis of a movie, as the recording does or, if it does not, by the usual order.

    Without names, three axes are ``t, y, x``, four ``t, z, y, x``, five ``t, c, z, y, x``; further axes
    before those are ``axis1``, ``axis2``, ...

    Examples
    --------
    >>> axis_names("tcyx", 4), axis_names(None, 4), axis_names(None, 6)
    (('t', 'c', 'y', 'x'), ('t', 'z', 'y', 'x'), ('t', 'axis1', 'c', 'z', 'y', 'x'))
    """
    if axes is not None and len(axes) == ndim:
        return tuple(axes)
    more = tuple(f"axis{number}" for number in range(1, ndim - 4))
    return ("t", *more, *"czyx"[max(0, 5 - ndim) :])


def channel_label(number: int, names: Sequence[str] = ()) -> str:
    """Text for a channel: its name, or else its number from 0.

    >>> channel_label(1), channel_label(0, ["green"]), channel_label(0, ["Channel 3"])
    ('channel 1', 'channel green', 'Channel 3')
    """
    name = names[number] if number < len(names) else str(number)
    return name if name.lower().startswith("channel") else f"channel {name}"


NOTHING = Recording()
"""Recording of a source without metadata."""
