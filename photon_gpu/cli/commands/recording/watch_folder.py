"""``photon-gpu watch``: record the TIFFs that arrive in a folder as one movie."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.dataclass_options import grouped
from photon_gpu.cli.options.record import RecordOptions
from photon_gpu.cli.options.running import Debug, Json
from photon_gpu.cli.options.source import ReadOptions
from photon_gpu.cli.options.stored_movie import Destination
from photon_gpu.cli.options.values import read_number


@grouped
def watch(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Folder in which TIFFs arrive.", show_default=False)
    ],
    dst: Destination,
    *,
    pattern: Annotated[
        str, typer.Option(metavar="PATTERN", help="Shell pattern of the file names to record.")
    ] = "*.tif*",
    settle_seconds: Annotated[
        float,
        typer.Option(
            parser=read_number,
            metavar="S",
            help="Seconds without a change after which a file that opens is complete.",
        ),
    ] = 1.0,
    idle_seconds: Annotated[
        float | None,
        typer.Option(
            parser=read_number,
            metavar="S",
            help="Seconds without a new file after which the recording ends.",
            show_default="never: Ctrl-C ends it",
        ),
    ] = None,
    options: RecordOptions,
    reads: ReadOptions,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Record the TIFFs that arrive in a folder as one movie.

    TIFFs are recorded in the order of their names and never changed. Each frame keeps the
    name of its file. Files that cannot be recorded are listed at the end, and the exit code
    is then 1.

    For example:
      photon-gpu watch /data/today run.zarr --gain 100 --offset 92 --idle-seconds 60
    """
    from photon_gpu.live.record_feed import record
    from photon_gpu.live.watch import WatchFeed

    feed = WatchFeed(
        folder,
        pattern=pattern,
        settle_seconds=settle_seconds,
        idle_seconds=idle_seconds,
        **reads.of(folder),
    )
    with console.status_line() as tell:
        return record(feed, dst, tell=tell, **options.for_writer(dst))
