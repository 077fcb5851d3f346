"""``photon-gpu record``: record arriving frames into a movie."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.dataclass_options import grouped
from photon_gpu.cli.options.record import RecordOptions
from photon_gpu.cli.options.running import Debug, Json
from photon_gpu.cli.options.source import FeedOptions
from photon_gpu.cli.options.stored_movie import Destination
from photon_gpu.cli.options.values import read_number, read_whole
from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.live.feeds import Feed


@grouped
def record(
    src: Annotated[
        list[str],
        typer.Argument(
            metavar="SRC...",
            help="Raw frames, one after another, from - (standard input), tcp://HOST:PORT, or a file that "
            "grows; or complete files of one movie, of a type that encode reads; or simulate, a simulated "
            "camera.",
            show_default=False,
        ),
    ],
    dst: Destination,
    *,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHT,WIDTH",
            help="Shape of a raw frame; more axes may precede it.",
            show_default="512,512",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE",
            help="Type of a raw pixel: uint16, int16, ... or >i2 for big-endian.",
            show_default="uint16",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            parser=read_number,
            metavar="HZ",
            help="For simulate: frames per second.",
            show_default="as fast as it goes",
        ),
    ] = None,
    idle_seconds: Annotated[
        float,
        typer.Option(
            parser=read_number, metavar="S", help="Seconds without growth after which a raw file is complete."
        ),
    ] = 10.0,
    options: RecordOptions,
    reads: FeedOptions,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Record frames as they arrive from a pipe, a socket or a growing file.

    No frame is dropped: if the store is slow, SRC waits. Ctrl-C ends the recording cleanly.
    After a kill or a power cut, photon-gpu recover finishes the movie.

    For example:
      camera | photon-gpu record - run.zarr --shape 512,512 --dtype int16 --gain 100 --offset 92
      photon-gpu record scan.raw run.zarr --durability frame --spool /fast
      photon-gpu record simulate run.zarr --rate 30 --frames 900
    """
    from photon_gpu.live.record_feed import record as record_feed

    with _feed(src, shape, dtype, rate, reads, idle_seconds) as feed, console.status_line() as tell:
        return record_feed(feed, dst, tell=tell, **options.for_writer(dst))


@contextlib.contextmanager
def _feed(
    sources: list[str],
    shape: str | None,
    dtype: str | None,
    rate: float | None,
    reads: FeedOptions,
    idle_seconds: float,
) -> Iterator[Feed]:
    from photon_gpu.live.feeds import GrowingFile, PacedFeed, RawFeed, SourceFeed, open_whole
    from photon_gpu.sources.open import is_container

    src = sources[0]
    stated = {"--shape": shape, "--dtype": dtype}
    frame, pixel = _shape(shape or "512,512"), dtype or "uint16"
    if src == "simulate":
        from photon_gpu.sources.simulated.movie import simulate

        frames = 1000 if reads.frames is None else read_whole(reads.frames)
        made = simulate(frames=min(frames, 64), height=frame[-2], width=frame[-1], dtype=pixel)
        yield PacedFeed(made, frames_per_second=rate, frames=frames)
        return
    if len(sources) > 1 or (src != "-" and not src.startswith("tcp://") and is_container(src)):
        if idle := [option for option, value in stated.items() if value is not None]:
            raise InvalidInputError(f"{idle[0]} is for raw frames, and {src} describes its own: leave it out")
        with open_whole(src if len(sources) == 1 else sources, **reads.of(src)) as source:
            yield SourceFeed(source)
        return
    with contextlib.ExitStack() as stack:
        stream: Any
        if src == "-":
            stream = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        elif src.startswith("tcp://"):
            stream = stack.enter_context(_connect(src))
        else:
            try:
                stream = stack.enter_context(contextlib.closing(GrowingFile(src, idle_seconds=idle_seconds)))
            except OSError as error:
                raise InvalidInputError(f"{src} cannot be read: {error.strerror}") from error
        name = "what was piped in" if src == "-" else src
        frame, axes = _interleaved(frame, reads, name)
        yield RawFeed(stream, frame, _dtype(pixel), name=name, axes=axes)


def _interleaved(frame: tuple[int, ...], reads: FeedOptions, name: str) -> tuple[tuple[int, ...], str | None]:
    """Shape and axes of a frame that consists of alternating raw frames of channels and planes."""
    from photon_gpu.sources.select.axes import check_letters, movie_order

    idle = [
        option
        for option in ("channel", "plane", "frames", "timestamps")
        if getattr(reads, option) is not None
    ]
    if idle or reads.source_option:
        raise InvalidInputError(
            f"--{(idle or ['source-option'])[0]} is for files that are complete; all of {name} is recorded: "
            "leave it out"
        )
    counts = {"z": reads.planes, "c": reads.channels}
    split = {letter: count for letter, count in counts.items() if count is not None}
    for letter, count in split.items():
        if count < 1:
            option = {"z": "planes", "c": "channels"}[letter]
            raise InvalidInputError(f"--{option} is {count}; at least 1 is needed")
    axes = reads.axes
    if axes is None and len(frame) == 2:
        axes = "tyx"
    if axes is not None:
        axes = check_letters(axes, len(frame) + 1, name)
        if movie_order(axes) != tuple(range(len(axes))):
            raise InvalidInputError(
                f"--axes is {axes!r}; raw frames arrive one after another, so t comes first, y and x last"
            )
        axes = axes[0] + "".join(split) + axes[1:]
    elif split:
        raise InvalidInputError("--shape has more axes than HEIGHT,WIDTH; name them with --axes, too")
    return (*split.values(), *frame), axes


@contextlib.contextmanager
def _connect(src: str) -> Iterator[Any]:
    import socket

    host, _, port = src.removeprefix("tcp://").rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInputError(f"the source is {src!r}; an address such as tcp://HOST:PORT is needed")
    try:
        connection = socket.create_connection((host, int(port)), timeout=10)
    except OSError as error:
        raise InvalidInputError(f"{src}: no connection was possible: {error}") from error
    connection.settimeout(None)
    with connection, connection.makefile("rb", buffering=0) as stream:
        yield stream


def _dtype(text: str) -> Any:
    import numpy as np

    try:
        return np.dtype(text)
    except TypeError:
        raise typer.BadParameter(
            f"--dtype is {text!r}; a type such as uint16, int16, >i2 or float32 is needed"
        ) from None


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise typer.BadParameter(f"--shape is {text!r}; HEIGHT,WIDTH is needed, as in 512,512") from None
