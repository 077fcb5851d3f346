"""Options that ``record`` and ``watch`` share, and the line that tells how it goes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_gpu.cli import options
from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.live.state.status import LiveStatus

Dst = Annotated[
    str,
    typer.Argument(
        metavar="DST", help="Folder to make, or its URL: s3://bucket/run.zarr.", show_default=False
    ),
]
Gain = Annotated[
    float | None,
    typer.Option(
        parser=options.number,
        metavar="ADU/PHOTON",
        help="The detector's gain.",
        show_default="estimated from the first frames, and kept with DST",
    ),
]
Offset = Annotated[
    float | None,
    typer.Option(
        parser=options.number,
        metavar="ADU",
        help="A pixel's mean value in the dark.",
        show_default="with --gain: 0",
    ),
]
Variance = Annotated[
    float | None,
    typer.Option(
        parser=options.number,
        metavar="ADU^2",
        help="A pixel's variance in the dark.",
        show_default="with --gain: 0",
    ),
]
NoiseFrom = Annotated[
    str | None,
    typer.Option(
        metavar="estimate|MOVIE",
        help="Instead of --gain: estimate it from the first frames (as without either), or take it "
        "from an earlier "
        "movie.",
        show_default=False,
    ),
]
LayoutOption = Annotated[str, typer.Option(metavar="plain|compact|lossless", help="As of photon-gpu encode.")]
Preset = Annotated[str, typer.Option(metavar="fast|balanced|small", help="How hard to try for a small file.")]
Step = Annotated[
    float,
    typer.Option(
        parser=options.number, metavar="SIGMA", help="How finely values are kept, in units of their noise."
    ),
]
ChunkFrames = Annotated[
    int | None,
    typer.Option(parser=options.whole, metavar="FRAMES", help="Frames per file.", show_default="100"),
]
Durability = Annotated[
    str,
    typer.Option(
        metavar="frame|chunk",
        help="frame: each frame is on the spool's disk before it counts, and survives a power cut. "
        "chunk: each chunk.",
    ),
]
SpoolFolder = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="On a fast local disk; takes the frames while the store is away.",
        show_default="for frame: beside DST",
    ),
]
Check = Annotated[
    str,
    typer.Option(
        metavar="on|off",
        help="on: hold a sample of what is encoded against the frames. Where it fails, DST is kept, "
        "marked as failing, "
        "and the command ends with 1.",
    ),
]
QueueBytes = Annotated[
    float,
    typer.Option(parser=options.number, metavar="BYTES", help="Memory for frames that wait."),
]


def writer_options(
    *,
    gain: float | None,
    offset: float | None,
    variance: float | None,
    noise_from: str | None,
    dst: str,
    storage_option: list[str] | None,
    check: str,
    **others: Any,
) -> dict[str, Any]:
    """What the live writer takes."""
    stated = options.noise_model(gain, offset, variance)
    if stated is not None and noise_from:
        raise InvalidInputError("--noise-from and --gain, --offset, --variance exclude each other")
    if check not in ("on", "off"):
        raise typer.BadParameter(f"--check is {check!r}; allowed are on, off")
    storage_options = options.pairs(storage_option, "--storage-option")
    return {
        "check": check == "on",
        "noise": noise_from or stated,
        "storage_options": storage_options if options.is_remote(dst) else None,
        **others,
    }


@contextlib.contextmanager
def line() -> Iterator[Callable[[LiveStatus], None] | None]:
    """Tells a recording's status in one line on stderr, where that is a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        yield lambda status: live.update(Text(str(status), no_wrap=True, overflow="ellipsis"), refresh=True)
