"""``photon-gpu profile``: measure this machine's speed, stage by stage."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.dataclass_options import grouped
from photon_gpu.cli.options.noise import TriedGain, TriedOffset, TriedVariance, noise_model
from photon_gpu.cli.options.running import Debug, Json
from photon_gpu.cli.options.source import PartOptions
from photon_gpu.cli.options.values import read_number, read_whole


@grouped
def profile(
    src: Annotated[
        str | None,
        typer.Argument(
            metavar="[SRC]", help="Movie to encode; without it, a simulated one.", show_default=False
        ),
    ] = None,
    *,
    camera: Annotated[
        str | None,
        typer.Option(
            metavar="HxWxHZ",
            help="Frame size and rate of your camera, such as 512x512x30, to find a preset that keeps up.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="DTYPE", help="With --camera: type of a pixel.")] = "uint16",
    seconds: Annotated[
        str, typer.Option(metavar="S", help="Approximate duration of the measurement, seconds.")
    ] = "30",
    gain: TriedGain = None,
    offset: TriedOffset = None,
    variance: TriedVariance = None,
    step: Annotated[
        str, typer.Option(metavar="SIGMA", help="Quantization step, in units of the noise.")
    ] = "0.5",
    layout: Annotated[
        list[str] | None,
        typer.Option(
            metavar="plain|compact|lossless",
            help="Measure only this layout. May be repeated.",
            show_default="all",
        ),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="fast|balanced|small",
            help="Measure only this preset. May be repeated.",
            show_default="all",
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            metavar="numba|cupy|numpy",
            help="Measure only this backend. May be repeated.",
            show_default="numba, and cupy with a GPU",
        ),
    ] = None,
    cores: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N",
            help="Measure only this number of cores. May be repeated.",
            show_default="1, 2, 4, ..., all",
        ),
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Folder on the disk to measure.", show_default="the system's temporary folder"
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="File to draw the profile to: PNG, PDF or SVG.", show_default=False
        ),
    ] = None,
    reads: PartOptions,
    json: Json = False,
    debug: Debug = False,
) -> Any:
    """Measure the speed of this machine by stage, layout, preset and cores.

    For example:
      photon-gpu profile
      photon-gpu profile --camera 512x512x30 --dtype uint16 --plot profile.png
      photon-gpu profile raw.tif --gain 100 --offset 92 --folder /data
    """
    from photon_gpu.encode_settings import PRESETS
    from photon_gpu.tools.profiling.preset_for_camera import Camera
    from photon_gpu.tools.profiling.profile import LAYOUTS
    from photon_gpu.tools.profiling.profile import profile as measure

    wanted = Camera.parse(camera, dtype) if camera else None
    source = reads.open([src]) if src else None
    with console.progress("measuring", None) as tick:
        result = measure(
            source,
            noise=noise_model(gain, offset, variance),
            step=read_number(step),
            layouts=layout or LAYOUTS,
            presets=preset or PRESETS,
            backends=backend,
            cores=[read_whole(n) for n in cores] if cores else None,
            camera=wanted,
            seconds=read_number(seconds),
            folder=folder,
            progress=tick,
        )
    if plot:
        from photon_gpu.plots import save_figure
        from photon_gpu.tools.profiling.plot import plot_profile

        save_figure(plot_profile(result), plot, dpi=150)
    return result
