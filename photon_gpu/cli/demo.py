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
    datajoint: Annotated[
        bool,
        typer.Option(
            "--datajoint",
            metavar="",
            help="Instead: insert, fetch, delete and collect a movie of a DataJoint table, on an embedded database.",
        ),
    ] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> console.Report:
    """Simulate a movie, store it in every layout, and check each pixel.

    It needs nothing but the install, and draws a picture: a frame raw, stabilized and
    decoded, what is left between them, and the mean-variance line of the detector.

    For example:
      photon-gpu demo
      photon-gpu demo --datajoint
    """
    if datajoint:
        if folder is not None:
            raise typer.BadParameter("--datajoint takes no FOLDER: it cleans up after itself")
        from photon_gpu.dj.demo import demo as run_datajoint

        lines: list[str] = []
        return console.Text(run_datajoint(say=lines.append), "\n".join(lines))
    from photon_gpu.demo import FOLDER
    from photon_gpu.demo import demo as run_demo
    from photon_gpu.simulation import Simulation

    movie = Simulation()
    with console.progress("working", movie.height * movie.width * 2) as tick:
        return run_demo(folder=folder or FOLDER, simulation=movie, progress=tick)
