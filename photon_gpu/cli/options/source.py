"""Options that describe a source and choose a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_gpu import file_types
from photon_gpu.cli import console
from photon_gpu.cli.options.running import RUNNING
from photon_gpu.cli.options.stored_movie import is_remote
from photon_gpu.cli.options.values import pairs, read_whole
from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.sources.base import Source

READING = "Which part of SRC"
"""Panel of the options that name the axes of a source and choose a part of it."""

_option = partial(typer.Option, rich_help_panel=READING)


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SRC...",
        help=f"The movie, (T, ..., H, W): {file_types.names()}. FILE.h5::/data/movie names an array inside "
        "a file. Many files of one movie: all of them, a glob in quotes, or their folder.",
        show_default=False,
    ),
]

Dataset = Annotated[
    str | None,
    _option(
        metavar="NAME",
        help="Array of SRC to read: a dataset or NWB series (HDF5), a path (Zarr), a name (.npz), an image "
        "(FITS). SRC::NAME does the same.",
        show_default="the only movie",
    ),
]

RawShape = Annotated[
    str | None,
    _option(
        metavar="HEIGHT,WIDTH",
        help="Shape of a frame of a raw file (.raw, .bin, .dat); more axes may precede it.",
        show_default="read from Experiment.xml or ops.npy beside it",
    ),
]

RawDtype = Annotated[
    str | None,
    _option(
        metavar="DTYPE",
        help="Type of a pixel of a raw file: uint16, int16, ... or >i2 for big-endian.",
        show_default="read from Experiment.xml or ops.npy beside it",
    ),
]

OffsetBytes = Annotated[
    int | None,
    _option(
        parser=read_whole,
        metavar="BYTES",
        help="Number of bytes before the first frame of a raw file.",
        show_default="0",
    ),
]

Truncated = Annotated[
    str,
    _option(
        metavar="error|keep",
        help="If SRC was cut off: raise an error, or keep its complete frames and record the missing ones.",
    ),
]

Axes = Annotated[
    str | None,
    _option(
        metavar="tczyx",
        help="Names of the dimensions of SRC as they are stored: t time, c channel, z plane, y row, "
        "x column. DST has time first, rows and columns last.",
        show_default="as SRC says",
    ),
]

Channels = Annotated[
    int | None,
    _option(
        parser=read_whole,
        metavar="N",
        help="Number of channels that alternate in SRC; each gets its own noise model.",
        show_default="as SRC says",
    ),
]

Planes = Annotated[
    int | None,
    _option(
        parser=read_whole,
        metavar="N",
        help="Number of planes that alternate in SRC; channels alternate faster.",
        show_default="as SRC says",
    ),
]

Channel = Annotated[
    str | None,
    _option(
        metavar="K|NAME", help="Use only this channel: its number from 0, or its name.", show_default="all"
    ),
]

Plane = Annotated[
    int | None,
    _option(parser=read_whole, metavar="K", help="Use only this plane, counted from 0.", show_default="all"),
]

FrameRange = Annotated[
    str | None,
    _option(
        metavar="A:B",
        help="Use only frames A to B - 1, counted from 0 after channels and planes are separated.",
        show_default="all",
    ),
]

FeedFrames = Annotated[
    str | None,
    _option(
        metavar="A:B|N",
        help="For a complete file: use only frames A to B - 1. For simulate: the number of frames.",
        show_default="all; 1000",
    ),
]

Timestamps = Annotated[
    str | None,
    _option(
        metavar="FILE",
        help="File of the frame times in seconds, instead of those in SRC: .npy, or text with one "
        "number per line.",
        show_default="as SRC says",
    ),
]

SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Option for reading SRC: series=1 or as_pages=true (TIFF), inverted=true (Scanbox), "
        "missing=zero (frames that SRC lacks become zeros, and are recorded as lost), missing=skip (files "
        "on both sides of a missing one are joined); for a URL also options of fsspec. May be repeated.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """The options that every command that reads SRC has."""

    dataset: Dataset = None

    axes: Axes = None
    channels: Channels = None
    planes: Planes = None
    channel: Channel = None
    plane: Plane = None
    frames: FrameRange = None
    truncated: Truncated = "error"
    source_option: SourceOption = None

    def open(self, src: Sequence[str]) -> Source:
        """Open SRC, one path or several of one movie, and show the progress if it takes long."""
        from photon_gpu.sources.open import open_source

        paths = list(src)
        with console.opening(paths[0]) as tick:
            return open_source(paths[0] if len(paths) == 1 else paths, **self.of(paths[0]), progress=tick)

    def typed(self) -> list[str]:
        """Return the options as words of a command line, for another command that reads the same source.

        Examples
        --------
        >>> PartOptions(channels=2, source_option=["flyback=drop"]).typed()
        ['--channels', '2', '--source-option', 'flyback=drop']
        """
        words: list[str] = []
        for one in fields(self):
            value = getattr(self, one.name)
            for text in value if isinstance(value, list) else [value]:
                if text is not None and text != one.default:
                    words += [f"--{one.name.replace('_', '-')}", str(text)]
        return words

    def of(self, src: str) -> dict[str, Any]:
        """Return the options of the command line as keywords for :func:`photon_gpu.open_source`."""
        typed = {one.name: getattr(self, one.name) for one in fields(self)}
        del typed["source_option"]
        if self.truncated == "error":
            del typed["truncated"]  # not every type of source has this option
        if self.channel is not None and self.channel.isdigit():
            typed["channel"] = int(self.channel)
        values = for_source(src, self.source_option)
        typed = {name: value for name, value in typed.items() if value is not None}
        if twice := sorted(values.keys() & typed.keys()):
            raise InvalidInputError(
                f"--{twice[0]} and --source-option {twice[0]}= set the same option; give only one"
            )
        return {**values, **typed}


@dataclass(frozen=True, kw_only=True)
class ReadOptions(PartOptions):
    """The options of :class:`PartOptions`, and those for a file of raw frames."""

    shape: RawShape = None
    dtype: RawDtype = None
    offset_bytes: OffsetBytes = None


@dataclass(frozen=True, kw_only=True)
class TimedReadOptions(ReadOptions):
    """The options of ``encode``, which also stores the times of the frames."""

    timestamps: Timestamps = None


@dataclass(frozen=True, kw_only=True)
class FeedOptions(PartOptions):
    """The options of ``record``, which also reads raw frames as they arrive and stores their times."""

    frames: FeedFrames = None
    timestamps: Timestamps = None


def for_source(src: str, texts: Sequence[str] | None) -> dict[str, Any]:
    """Return the values of ``--source-option`` as keywords for :func:`photon_gpu.open_source`."""
    from photon_gpu.sources.select.open_options import SourceOptions

    values = pairs(texts, "--source-option")
    if not is_remote(src):
        return values
    # An archive is a local file, so for a URL, "key" is an option of the store.
    names = set(SourceOptions.__annotations__) - {"key"}
    inside = {name: values.pop(name) for name in sorted(names & values.keys())}
    return {**inside, "storage_options": values or None}
