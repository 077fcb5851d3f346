"""``photon-gpu estimate``: estimate the noise model of a movie from the movie itself."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.dataclass_options import grouped
from photon_gpu.cli.options.running import Debug, Json
from photon_gpu.cli.options.source import ReadOptions, Sources
from photon_gpu.cli.options.values import read_whole
from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.estimate import NoiseEstimate

_PICTURES = (".png", ".svg", ".pdf")


@grouped
def estimate(
    src: Sources,
    *,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File to draw the photon-transfer curve (variance against mean) to: .png, .svg or .pdf.",
            show_default=False,
        ),
    ] = None,
    dark: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Recording of the same detector and settings without light, to separate offset and "
            "read noise.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        str,
        typer.Option(
            metavar="time|space",
            help="Compare a pixel with itself in the next frames (time), or with its neighbours "
            "(space: for a uniform slide, or if axis 0 is not time).",
        ),
    ] = "time",
    seed: Annotated[
        int,
        typer.Option(
            parser=read_whole,
            metavar="N",
            help="Seed of the random choice of frames, if the movie is too large to read whole.",
        ),
    ] = 0,
    reads: ReadOptions,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Estimate the noise of a raw movie, or report why that is impossible.

    One photon raises a pixel by the gain, so variance = gain * mean + intercept. Both are
    measured from differences between frames, so the scene may move; both have a 95 %
    confidence interval. PASS: use the model. WARN: read the reasons
    first. REFUSE: the noise is no longer photon noise, as after averaging or motion
    correction; store such a movie lossless. The exit code is 1 for REFUSE.

    For example:
      photon-gpu estimate cortex.tif --plot cortex_noise.png
      photon-gpu estimate cortex.tif --dark shutter_closed.tif
      photon-gpu estimate slide.npy --pairs space --json
    """
    from photon_gpu.estimate import estimate_noise

    if plot is not None and Path(plot).suffix.lower() not in _PICTURES:
        raise InvalidInputError(f"--plot is {plot!r}; allowed are names that end in {', '.join(_PICTURES)}")
    if pairs not in ("time", "space"):
        raise typer.BadParameter(f"--pairs is {pairs!r}; allowed are time, space")
    if plot is not None and Path(plot).exists() and not Path(plot).is_file():
        raise InvalidInputError(f"--plot is {plot!r}, which is not a file")
    with reads.open(src) as source:
        result = estimate_noise(source, dark=dark, pairs="space" if pairs == "space" else "time", seed=seed)
    notes, drawn = [], []
    for number, one in enumerate(result.channels or (result,) if plot is not None else ()):
        path = Path(str(plot))
        name = str(path.with_stem(f"{path.stem}_{number}")) if result.channels else str(plot)
        if one.diagnostics is None:
            notes.append(f"{name} was not drawn: nothing could be measured")
        else:
            one.plot(name)
            drawn.append(name)
    saved = ", ".join(drawn) or None
    text = [console.spoken(str(result)), *_advice(result, src, reads.typed())]
    text += [f"  saved {saved}"] if saved else [f"  {note}" for note in notes]
    refused = result.verdict == "REFUSE"
    return console.Text(result, "\n".join(text), int(refused), layout=result.layout, plot=saved, notes=notes)


def _advice(estimate: NoiseEstimate, src: list[str], reads: list[str]) -> list[str]:
    """Suggest the next command."""
    from photon_gpu.estimate.checks import ALTERNATION

    command = f"  to encode with it: photon-gpu encode {shlex.join(src)} {shlex.join(['DST', *reads])}"
    if estimate.channels:
        if estimate.verdict == "REFUSE" or estimate.models is None:
            return ["  if you know the detectors, encode with --gain A,B --offset A,B --variance A,B instead"]
        listed = {
            name: ",".join(f"{getattr(model, name):.5g}" for model in estimate.models)
            for name in ("gain", "offset", "variance")
        }
        typed = " ".join(f"--{name} {text}" for name, text in listed.items())
        return [f"{command} {typed}"]
    if any(finding.name == ALTERNATION for finding in estimate.warnings) and estimate.model is None:
        return []
    model = estimate.model
    if estimate.verdict == "REFUSE" or model is None:
        return ["  if you know the detector, encode with --gain, --offset and --variance instead"]
    read = f" --variance {model.variance:.5g}" if model.variance else ""
    return [f"{command} --gain {model.gain:.5g} --offset {model.offset:.5g}{read}"]
