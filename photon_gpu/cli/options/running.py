"""Options of how a command runs and what it prints."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from photon_gpu.cli.options.values import read_whole

RUNNING = "Running"
"""Panel of the help text that lists the options of all commands."""

_option = partial(typer.Option, rich_help_panel=RUNNING)


Backend = Annotated[
    str,
    _option(
        metavar="auto|numba|cupy|numpy",
        help="numba: the CPU. cupy: all GPUs; cupy:0,2: GPUs 0 and 2. numpy: the CPU, slowly. auto: the CPU.",
    ),
]

Workers = Annotated[
    int | None,
    _option(parser=read_whole, metavar="N", help="Number of threads.", show_default="one per core"),
]

Json = Annotated[
    bool,
    _option(
        "--json", metavar="", help="Print only one JSON object on stdout; print errors as one on stderr."
    ),
]

Debug = Annotated[bool, _option("--debug", metavar="", help="Print the traceback of an error.")]
