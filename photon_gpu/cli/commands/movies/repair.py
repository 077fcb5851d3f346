"""``photon-gpu repair``: restore a damaged movie from its source and its manifest."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.dataclass_options import grouped
from photon_gpu.cli.options.running import Debug, Json, Workers
from photon_gpu.cli.options.source import ReadOptions
from photon_gpu.cli.options.stored_movie import MovieArgument, StorageOption, read_storage_options


@grouped
def repair(
    movie: MovieArgument,
    src: Annotated[
        str | None,
        typer.Argument(
            metavar="[SRC]",
            help="The source that MOVIE was encoded from. Without it only metadata can be restored.",
            show_default=False,
        ),
    ] = None,
    *,
    workers: Workers = None,
    storage_option: StorageOption = None,
    reads: ReadOptions,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Restore damaged files of a movie from its source and its manifest.

    Only damaged files are written, either byte for byte as the manifest says, or from a
    source that agrees with all undamaged chunks. Nothing is deleted; replaced content that
    may have value is kept beside the movie. Remaining damage is listed, and the exit code
    is then 1.

    For example:
      photon-gpu repair movie.zarr cortex.tif
    """
    from contextlib import nullcontext

    from photon_gpu.check.integrity.repair import repair as repair_movie

    opened = reads.open([src]) if src else nullcontext()
    with opened as source, console.progress("repairing", None) as tick:
        result = repair_movie(
            movie,
            source,
            workers=workers,
            progress=tick,
            storage_options=read_storage_options(storage_option, movie),
        )
    return console.Text(result, str(result), 0 if result.ok else 1)
