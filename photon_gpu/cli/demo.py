"""``photon-gpu demo``: the whole engine on a simulated movie."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from photon_gpu.cli import console, options


def demo(
    folder: Annotated[
        str, typer.Argument(metavar="[FOLDER]", help="Where to put movies and picture.")
    ] = "photon-gpu-demo",
    json: options.Json = False,
    debug: options.Debug = False,
) -> Any:
    """Simulate a movie, store it in every layout, and check each pixel.

    For example:
      photon-gpu demo
    """
    from photon_gpu.demo import demo as run_demo

    return run_demo(folder)
