"""Options of ``open_source``: the single definition that all functions and commands use."""

from __future__ import annotations

import operator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypedDict

from photon_gpu.errors import InvalidInputError
from photon_gpu.progress_bar import Progress


class SelectionOptions(TypedDict, total=False):
    """Options that name axes or choose a part of a source; every type of source takes them.

    Attributes
    ----------
    axes : str
        Names of the dimensions as they are stored, one letter each: ``t`` time, ``c`` channel, ``z`` plane,
        ``y`` row, ``x`` column, ``s`` strip, ``p`` position. The movie has time first, rows and columns last.
    channels, planes : int
        Numbers of channels and of planes that are stored as consecutive frames: channels alternate fastest,
        then planes, then time.
    channel : int or str
        Only this channel: its number from 0, or its name.
    plane, position : int
        Only this plane or this position, counted from 0.
    frames : str, slice or (int, int)
        Only frames ``A`` to ``B - 1`` of the first axis: ``"A:B"``. They are counted after ``channels`` and
        ``planes`` are separated.
    timestamps : array or path
        Seconds, one per frame of the movie, in place of what the source says: numbers, a ``.npy`` file, or a
        text file with one number per line.
    """

    axes: str | None
    channels: int | None
    planes: int | None
    channel: int | str | None
    plane: int | None
    position: int | None
    frames: str | slice | tuple[int | None, int | None] | None
    timestamps: Any


class SourceOptions(SelectionOptions, total=False):
    """Options of :func:`photon_gpu.open_source` for local files; each type of source takes some of them.

    Attributes
    ----------
    missing : str
        What to do if frames are missing.
    truncated : str
        What to do if a file was cut off.
    series, as_pages, flyback, volumes
        Options of TIFF files.
    key, dataset, path, hdu : str
        Name of the array in ``.npz``, HDF5, Zarr and FITS files; ``dataset`` works for all of them.
    shape : tuple of int or str
        Shape of a frame, in a file of raw frames: ``(..., H, W)``.
    dtype : str
        Dtype of raw frames, such as ``"uint16"`` or ``">i2"``.
    offset_bytes : int
        Bytes before the first raw frame.
    inverted : bool
        Whether a Scanbox file stores 65535 minus the values.
    """

    missing: str | None
    truncated: str | None
    series: int | None
    as_pages: bool | None
    flyback: str | None
    volumes: bool | None
    key: str | None
    dataset: str | None
    path: str | None
    hdu: int | str | None
    shape: tuple[int, ...] | str | None
    dtype: Any
    offset_bytes: int | None
    inverted: bool | None


class UrlOptions(SourceOptions, total=False):
    """Options of :func:`photon_gpu.open_source` for files and URLs.

    Attributes
    ----------
    storage_options : dict
        Options of the fsspec file system.
    """

    storage_options: dict[str, Any] | None


class OpenOptions(UrlOptions, total=False):
    """All options of :func:`photon_gpu.open_source`.

    Attributes
    ----------
    progress : callable
        ``progress(files_opened, files_in_all)``, called while a movie in several files opens.
    """

    progress: Progress | None


SELECTION = tuple(SelectionOptions.__annotations__)
"""Names of the options that every type of source takes."""


_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("missing", "truncated", "flyback", "key", "dataset", "path"), (str,)),
    **dict.fromkeys(("as_pages", "volumes", "inverted"), (bool,)),
    **dict.fromkeys(("series", "offset_bytes"), (int,)),
    "hdu": (int, str),
}
_WORDS = {str: "a text", bool: "True or False", int: "a whole number"}


@dataclass(frozen=True)
class SourceRequest:
    """A source that is not opened yet, together with the options to open it with.

    Attributes
    ----------
    source : str, path, array or Source
    options : dict
    """

    source: Any
    options: dict[str, Any]

    @classmethod
    def of(cls, source: Any, options: SourceOptions) -> Any:
        """Make a request, or return ``source`` itself if there are no options."""
        chosen = {name: value for name, value in options.items() if value is not None}
        return cls(source, chosen) if chosen else source


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split options into :class:`SelectionOptions` and those of the source type; drop those that are None.

    Raises
    ------
    InvalidInputError
        An option of the source type has a value of another type than it takes.

    Examples
    --------
    >>> split_options({"channels": 2, "dataset": "/data", "plane": None})
    ({'channels': 2}, {'dataset': '/data'})
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    selection = {name: chosen.pop(name) for name in SELECTION if name in chosen}
    return selection, {name: _checked(name, value) for name, value in chosen.items()}


def _checked(name: str, value: Any) -> Any:
    """Return the value of an option, a whole number as ``int``."""
    if name not in _TYPES or type(value) in _TYPES[name]:
        return value
    if int in _TYPES[name] and type(value) is not bool:
        with suppress(TypeError):
            return operator.index(value)
    needed = " or ".join(_WORDS[one] for one in _TYPES[name])
    raise InvalidInputError(f"{name} is {repr(value)[:60]}; {needed} is needed")
