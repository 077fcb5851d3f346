"""``photon-gpu verify``: whether every byte of a stored movie is what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console, options


def verify(
    movie: options.Movie,
    deep: Annotated[
        bool,
        typer.Option("--deep", metavar="", help="Decode every chunk too, where checksums alone would do."),
    ] = False,
    workers: options.Workers = None,
    storage_option: options.StorageOption = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> console.Report:
    """Check every file of a stored movie; name the frames that are lost.

    Missing, truncated, altered, swapped and foreign files are found, by size and checksum;
    without a manifest, by decoding. Nothing is changed. Ends with 1 where anything is wrong.

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
            storage_options=options.storage_options(storage_option, movie),
        )
    return console.Text(result, str(result), 0 if result.ok else 1)
