"""``photon-gpu choose``: find the largest step that does not change the results of analyses."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.dataclass_options import grouped
from photon_gpu.cli.options.encode import Preset
from photon_gpu.cli.options.noise import TriedGain, TriedOffset, TriedVariance, TrustNoise, noise_model
from photon_gpu.cli.options.running import Backend, Debug, Json, Workers
from photon_gpu.cli.options.source import ReadOptions, Sources
from photon_gpu.cli.options.values import read_number, read_whole
from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.tools.choice.result import Choice

_PICTURES = (".png", ".svg", ".pdf")


@grouped
def choose(
    src: Sources,
    *,
    analysis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Also run your function of a (t, y, x) array, which returns a number, a sequence or a "
            "dictionary of them. May be repeated.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File to draw the size and the changes of each step to: .png, .svg or .pdf.",
            show_default=False,
        ),
    ] = None,
    step: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SIGMA",
            help="Try only this step, in units of the noise. May be repeated.",
            show_default="0.25, 0.35, 0.5, 0.71, 1, 1.41, 2",
        ),
    ] = None,
    redraws: Annotated[
        int,
        typer.Option(parser=read_whole, metavar="N", help="Number of takes, at least 4."),
    ] = 8,
    pixels: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Approximate number of pixels in the sample.", show_default="16 million"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(parser=read_whole, metavar="N", help="Seed of the redrawn noise.")] = 0,
    gain: TriedGain = None,
    offset: TriedOffset = None,
    variance: TriedVariance = None,
    trust_noise: TrustNoise = False,
    accept_processed: Annotated[
        bool,
        typer.Option(
            "--accept-processed", metavar="", help="Continue although the noise says that SRC was processed."
        ),
    ] = False,
    preset: Preset = "balanced",
    backend: Backend = "auto",
    workers: Workers = None,
    reads: ReadOptions,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Find how much a movie can be compressed without changing your result.

    A sample is stored with several steps. ROIs, traces, events, correlations, positions of
    single molecules and your own analyses are compared with those of the raw movie. They are
    also computed for takes: copies with redrawn noise, as if the scene had been recorded
    again. The largest step is recommended at which the stored movie differs from the raw one
    by much less than two takes differ. The exit code is 1 if there is no such step.

    For example:
      photon-gpu choose cortex.tif --plot choice.png
      photon-gpu choose cortex.tif --analysis my_lab:tuning --step 0.5 --step 1
      photon-gpu choose two.tif --channels 2 --channel 0 --frames 0:5000 --json
    """
    from photon_gpu.tools.choice.choose import PIXELS, STEPS
    from photon_gpu.tools.choice.choose import choose as run

    if plot is not None and Path(plot).suffix.lower() not in _PICTURES:
        raise InvalidInputError(f"--plot is {plot!r}; allowed are names that end in {', '.join(_PICTURES)}")
    if plot is not None and Path(plot).exists() and not Path(plot).is_file():
        raise InvalidInputError(f"--plot is {plot!r}, which is not a file")
    noise = noise_model(gain, offset, variance)
    stated = {"gain": gain, "offset": offset, "variance": variance}
    with reads.open(src) as source, console.progress("trying steps", None) as tick:
        result = run(
            source,
            noise=noise,
            steps=[read_number(text) for text in step] if step else STEPS,
            analysis=analysis,
            redraws=redraws,
            pixels=PIXELS if pixels is None else int(read_number(pixels)),
            seed=seed,
            preset=preset,
            trust_noise=trust_noise,
            accept_processed=accept_processed,
            backend=backend,
            workers=workers,
            progress=tick,
        )
    text = [console.spoken(str(result)), *_next(result, stated, src, reads.typed())]
    if plot is not None:
        result.plot(plot)
        text.append(f"saved {plot}")
    code = 0 if result.recommended else 1
    return console.Text(result, "\n".join(text), code, plot=plot)


def _next(result: Choice, stated: dict[str, float | None], src: list[str], reads: list[str]) -> list[str]:
    """Suggest the command that encodes with the recommended step."""
    best = result.recommended
    if best is None:
        return []
    typed = [(f"--{name}", f"{value:.10g}") for name, value in stated.items() if value is not None]
    words = [*reads, *(word for option in typed for word in option)]
    options = shlex.join([*src, "DST", "--layout", "compact", "--step", f"{best.step:g}", *words])
    return [f"to encode with it: photon-gpu encode {options}"]
