"""``photon-gpu repair``: what a source and the manifest can restore."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console, options


@options.grouped
def repair(
    movie: options.Movie,
    src: Annotated[
        str | None,
        typer.Argument(
            metavar="[SRC]",
            help="The movie it was encoded from. Without it only metadata can be restored.",
            show_default=False,
        ),
    ] = None,
    *,
    workers: options.Workers = None,
    storage_option: options.StorageOption = None,
    reads: options.ReadOptions,
    json: options.Json = False,
    debug: options.Debug = False,
) -> console.Report:
    """Restore what a source and the manifest can restore.

    Only damaged files are written, and only with what is proven: byte for byte what the
    manifest says, or from a source that agrees with the chunks that are whole. Nothing is
    deleted, and what is left is named; what cannot be proven worthless is kept beside the movie. Ends with 1
    where damage is left.

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
            storage_options=options.storage_options(storage_option, movie),
        )
    return console.Text(result, str(result), 0 if result.ok else 1)
