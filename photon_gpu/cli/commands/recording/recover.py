"""``photon-gpu recover``: finish a recording that ended early."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.running import Backend, Debug, Json, Workers
from photon_gpu.cli.options.stored_movie import StorageOption, read_storage_options


def recover(
    where: Annotated[
        str,
        typer.Argument(
            metavar="SPOOL|MOVIE",
            help="The recording's spool folder, or its movie (a folder or a URL).",
            show_default=False,
        ),
    ],
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Destination of the movie, if it differs from the recorded one.",
            show_default=False,
        ),
    ] = None,
    salvage: Annotated[
        bool,
        typer.Option(
            "--salvage",
            metavar="",
            help="Continue if frames cannot be read: write zeros, and list the lost frames.",
        ),
    ] = False,
    discard_spool: Annotated[
        bool,
        typer.Option(
            "--discard-spool", metavar="", help="Finish from the store alone, because the spool is lost."
        ),
    ] = False,
    backend: Backend = "auto",
    workers: Workers = None,
    storage_option: StorageOption = None,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Finish a recording that was killed or lost power.

    Every frame that the recording had reported as safe is stored once; a second run changes
    nothing. After an interrupted overwrite, a complete movie is put back under the name.

    For example:
      photon-gpu recover /fast/run.zarr.spool
      photon-gpu recover s3://bucket/run.zarr
    """
    from photon_gpu.live.recovery.recover import recover as recover_recording

    result = recover_recording(
        where,
        url=url,
        salvage=salvage,
        discard_spool=discard_spool,
        backend=backend,
        workers=workers,
        storage_options=read_storage_options(storage_option, url or where),
    )
    return console.Text(result, str(result), 1 if result.lost or result.failed else 0)
