"""``photon-gpu report``: compare a stored movie with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.dataclass_options import grouped
from photon_gpu.cli.options.running import Debug, Json, Workers
from photon_gpu.cli.options.source import ReadOptions, Sources
from photon_gpu.cli.options.stored_movie import MovieArgument, StorageOption, read_storage_options
from photon_gpu.errors import InvalidInputError


@grouped
def report(
    src: Sources,
    movie: MovieArgument,
    *,
    out: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="Save the report: .html (one page that needs no network), .png or .json. May be repeated.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full", metavar="", help="Check the properties that every pixel must have on all pixels."
        ),
    ] = False,
    workers: Workers = None,
    storage_option: StorageOption = None,
    reads: ReadOptions,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Compare a stored movie with its source: PASS, WARN or FAIL for each property.

    The properties are bias, noise, residual, traces and events, each with its limits and
    their reason. The exit code is 1 if one fails.

    For example:
      photon-gpu report cortex.tif movie.zarr -o report.html
      photon-gpu report cortex.tif movie.zarr -o report.png --json
    """
    from photon_gpu.check.fidelity.fidelity import fidelity
    from photon_gpu.reader.open import open as open_movie

    for name in out or ():
        if Path(name).suffix.lower() not in (".html", ".htm", ".png", ".json"):
            raise InvalidInputError(f"a report cannot be saved as {name}; allowed are .html, .png and .json")
    storage_options = read_storage_options(storage_option, movie)
    stored = open_movie(movie, workers=workers, storage_options=storage_options)
    with (
        reads.open(src) as source,
        console.progress("comparing", source.frame_nbytes) as tick,
    ):
        result = fidelity(source, stored, full=full, progress=tick)
    written = [str(result.save(name)) for name in out or ()]
    text = "\n".join([str(result), *(f"saved {name}" for name in written)])
    return console.Text(result, text, 0 if result.ok else 1, saved=written)
