"""``photon-gpu verify``: check that every file of a stored movie is as it was written."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.running import Debug, Json, Workers
from photon_gpu.cli.options.stored_movie import MovieArgument, StorageOption, read_storage_options


def verify(
    movie: MovieArgument,
    deep: Annotated[
        bool,
        typer.Option("--deep", metavar="", help="Also decode every chunk, even if its checksum is right."),
    ] = False,
    workers: Workers = None,
    storage_option: StorageOption = None,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Check every file of a stored movie, and list the lost frames.

    Finds missing, truncated, altered, swapped and foreign files by size and checksum, or by
    decoding if there is no manifest. Nothing is changed. The exit code is 1 if there is a
    problem.

    For example:
      photon-gpu verify movie.zarr
      photon-gpu verify s3://bucket/movie.zarr --deep
    """
    from photon_gpu.check.integrity.verify import verify as verify_movie

    with console.progress("verifying", None) as tick:
        result = verify_movie(
            movie,
            deep=deep,
            workers=workers,
            progress=tick,
            storage_options=read_storage_options(storage_option, movie),
        )
    return console.Text(result, str(result), 0 if result.ok else 1)
