"""Options that name a stored movie, and open its store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from photon_gpu.cli.options.running import RUNNING
from photon_gpu.cli.options.values import pairs

MovieArgument = Annotated[
    str, typer.Argument(metavar="MOVIE", help="Folder of a stored movie, or its URL.", show_default=False)
]

Destination = Annotated[
    str,
    typer.Argument(
        metavar="DST", help="Folder to write, or its URL, such as s3://bucket/movie.zarr.", show_default=False
    ),
]

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        metavar="",
        help="Replace an existing movie once the new one is complete.",
        rich_help_panel=RUNNING,
    ),
]

StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Option for fsspec, for a store at a URL; may be repeated. Do not pass passwords "
        "here: the environment and ~/.aws are read as usual.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]


def read_storage_options(texts: Sequence[str] | None, url: str) -> dict[str, Any] | None:
    """Return the values of ``--storage-option``; None for a local folder, where they have no effect."""
    values = pairs(texts, "--storage-option")
    return values if is_remote(url) else None


def is_remote(url: str) -> bool:
    """Whether storage options have an effect at this address."""
    return "://" in url and not url.startswith(("file://", "local://"))
