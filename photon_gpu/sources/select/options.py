"""Options of ``open_source``: the one list that every function and command takes them from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict


class Selection(TypedDict, total=False):
    """Options that name axes or choose a part of a source; every type of source takes them.

    Attributes
    ----------
    axes : str
        Names of the dimensions as they are stored, one letter each: ``t`` time, ``c`` channel, ``z`` plane,
        ``y`` row, ``x`` column, ``s`` strip, ``p`` position. The movie has time first, rows and columns last.
    channels, planes : int
        Frames that follow each other are that many channels, and planes, of one frame: channels alternate
        fastest, then planes, then time.
    channel : int or str
        Only this channel: its number from 0, or its name.
    plane, position : int
        Only this plane, this position, from 0.
    frames : str, slice or (int, int)
        Only frames ``A`` to ``B - 1`` of the first axis: ``"A:B"``. Counted after channels and planes.
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


class SourceOptions(Selection, total=False):
    """Options of :func:`photon_gpu.open_source` for local files; each type of source takes some of them.

    Attributes
    ----------
    missing : str
        What to do if frames are missing.
    truncated : str
        What to do if a file was cut off.
    series, as_pages, flyback, volumes
        Of TIFF.
    key, dataset, path, hdu : str
        Of an array within ``.npz``, HDF5, Zarr and FITS; ``dataset`` stands for each of them.
    shape : tuple of int or str
        Of a frame, in a file of raw frames: ``(..., H, W)``.
    dtype : str
        Of raw frames, such as ``"uint16"`` or ``">i2"``.
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
    """The same for URLs.

    Attributes
    ----------
    storage_options : dict
        Of fsspec.
    """

    storage_options: dict[str, Any] | None


class OpenOptions(UrlOptions, total=False):
    """All options of :func:`photon_gpu.open_source`.

    Attributes
    ----------
    progress : callable
        ``progress(files_opened, files_in_all)``, of a movie in several files.
    """

    progress: Callable[[int, int], None] | None


SELECTION = tuple(Selection.__annotations__)
"""Names of the options that every type of source takes."""


@dataclass(frozen=True)
class SourceRequest:
    """Something that :func:`photon_gpu.open_source` takes, with its options: it travels in their place.

    Attributes
    ----------
    source : str, path, array or Source
    options : dict
    """

    source: Any
    options: dict[str, Any]

    @classmethod
    def of(cls, source: Any, options: SourceOptions) -> Any:
        """The source itself where no option was given."""
        known = {name: value for name, value in options.items() if value is not None}
        return cls(source, known) if known else source


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part options into a :class:`Selection` and those of the type of source; None is left out.

    Examples
    --------
    >>> split_options({"channels": 2, "dataset": "/data", "plane": None})
    ({'channels': 2}, {'dataset': '/data'})
    """
    known = {name: value for name, value in options.items() if value is not None}
    selection = {name: known.pop(name) for name in SELECTION if name in known}
    return selection, known
