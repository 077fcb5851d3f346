"""``photon-gpu demo``: the whole engine on a simulated movie."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console, options


def demo(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER",
            help="Where the movies, the picture and the report go: new, empty, or of an earlier demo.",
            show_default="photon-gpu-demo",
        ),
    ] = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> console.Report:
    """Simulate a movie, store it in every layout, and check each pixel.

    It needs nothing but the install, and draws a picture: a frame raw, stabilized and
    decoded, what is left between them, and the mean-variance line of the detector.

    For example:
      photon-gpu demo
    """
    from photon_gpu.demo import FOLDER
    from photon_gpu.demo import demo as run_demo
    from photon_gpu.simulation import Simulation

    movie = Simulation()
    with console.progress("working", movie.height * movie.width * 2) as tick:
        return run_demo(folder=folder or FOLDER, simulation=movie, progress=tick)
