"""``photon-gpu demo``: run the whole engine on a simulated movie."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.running import Debug, Json
from photon_gpu.cli.options.values import read_number, read_whole

_MOVIE = "The simulated movie"


def demo(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER",
            help="Folder for the movies, the picture and the report: new, empty, or of an earlier demo.",
            show_default="photon-gpu-demo",
        ),
    ] = None,
    datajoint: Annotated[
        bool,
        typer.Option(
            "--datajoint",
            metavar="",
            help="Run the DataJoint demo instead: insert, fetch, delete and collect a movie, with an "
            "embedded database.",
        ),
    ] = False,
    frames: Annotated[
        int, typer.Option(parser=read_whole, metavar="N", help="Number of frames.", rich_help_panel=_MOVIE)
    ] = 300,
    size: Annotated[
        int,
        typer.Option(
            parser=read_whole, metavar="PIXELS", help="Height and width of a frame.", rich_help_panel=_MOVIE
        ),
    ] = 256,
    photons: Annotated[
        float,
        typer.Option(
            parser=read_number,
            metavar="PHOTONS",
            help="Mean number of photons per pixel and frame.",
            rich_help_panel=_MOVIE,
        ),
    ] = 6.0,
    gain: Annotated[
        float,
        typer.Option(
            parser=read_number,
            metavar="ADU/PHOTON",
            help="ADU per photon.",
            rich_help_panel=_MOVIE,
        ),
    ] = 100.0,
    offset: Annotated[
        float,
        typer.Option(
            parser=read_number,
            metavar="ADU",
            help="Mean value of a pixel in the dark, ADU.",
            rich_help_panel=_MOVIE,
        ),
    ] = 90.0,
    read_noise: Annotated[
        float,
        typer.Option(
            parser=read_number,
            metavar="ADU",
            help="Standard deviation of a pixel in the dark, ADU.",
            rich_help_panel=_MOVIE,
        ),
    ] = 30.0,
    seed: Annotated[
        int,
        typer.Option(
            parser=read_whole,
            metavar="SEED",
            help="Seed of the simulation; the same seed gives the same movie.",
            rich_help_panel=_MOVIE,
        ),
    ] = 0,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Simulate a movie, store it in every layout, and check each pixel.

    It needs no data. It draws a frame raw, stabilized and decoded, the difference, and the
    mean-variance line of the detector.

    For example:
      photon-gpu demo
      photon-gpu demo --datajoint
      photon-gpu demo my_camera --photons 40 --gain 2.1 --offset 100 --read-noise 3
    """
    if datajoint:
        if folder is not None:
            raise typer.BadParameter("--datajoint takes no FOLDER: it cleans up after itself")
        from photon_gpu.dj.demo import demo as run_datajoint

        lines: list[str] = []
        return console.Text(run_datajoint(say=lines.append), "\n".join(lines))
    from photon_gpu.sources.simulated.parameters import Simulation
    from photon_gpu.tools.demo import FOLDER
    from photon_gpu.tools.demo import demo as run_demo

    movie = Simulation(
        frames=frames,
        height=size,
        width=size,
        photons=photons,
        gain=gain,
        offset=offset,
        read_noise_adu=read_noise,
        seed=seed,
    )
    frame_nbytes = movie.height * movie.width * 2
    with console.progress("working", frame_nbytes) as tick:
        return run_demo(folder=folder or FOLDER, simulation=movie, progress=tick)
