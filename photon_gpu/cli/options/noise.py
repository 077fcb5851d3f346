"""Options for the noise model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_gpu.cli.options.values import read_number, read_numbers
from photon_gpu.errors import InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.engine.model.noise import NoiseModel

Gain = Annotated[
    Any,
    typer.Option(
        parser=read_numbers,
        metavar="ADU/PHOTON",
        help="ADU per photon: the slope of variance against mean. A,B,... gives each channel its own model.",
        show_default="estimated from the frames, and kept with DST",
    ),
]

Offset = Annotated[
    Any,
    typer.Option(
        parser=read_numbers,
        metavar="ADU",
        help="Mean value of a pixel in the dark, ADU.",
        show_default="with --gain: 0",
    ),
]

Variance = Annotated[
    Any,
    typer.Option(
        parser=read_numbers,
        metavar="ADU^2",
        help="Variance of a pixel in the dark: the read noise in ADU, squared.",
        show_default="with --gain: 0",
    ),
]

NoiseFrom = Annotated[
    str | None,
    typer.Option(
        metavar="estimate|MOVIE",
        help="Instead of --gain: estimate the noise model from the first frames (the default), or "
        "take it from an earlier movie.",
        show_default=False,
    ),
]

TrustNoise = Annotated[
    bool,
    typer.Option(
        "--trust-noise",
        metavar="",
        help="Use --gain, --offset and --variance even if the noise of the movie contradicts them.",
    ),
]

AcceptProcessed = Annotated[
    bool,
    typer.Option(
        "--accept-processed",
        metavar="",
        help="Quantize a movie although its noise says that it was processed (rescaled, stretched, cut off, "
        "filled in). DST names what was accepted.",
    ),
]

TriedGain = Annotated[
    float | None,
    typer.Option(
        parser=read_number,
        metavar="ADU/PHOTON",
        help="Gain of the detector that recorded the file.",
        show_default="estimated from the file",
    ),
]

TriedOffset = Annotated[
    float | None,
    typer.Option(
        parser=read_number,
        metavar="ADU",
        help="Mean value of a pixel in the dark, ADU.",
        show_default="with --gain: 0",
    ),
]

TriedVariance = Annotated[
    float | None,
    typer.Option(
        parser=read_number,
        metavar="ADU^2",
        help="Variance of a pixel in the dark: the read noise in ADU, squared.",
        show_default="with --gain: 0",
    ),
]


def noise_model(gain: Any, offset: Any, variance: Any) -> NoiseModel | tuple[NoiseModel, ...] | None:
    """Return the noise model that the options state, or one per channel; None without these options.

    Examples
    --------
    >>> [model.gain for model in noise_model((80.0, 20.0), 100.0, None)]
    [80.0, 20.0]
    """
    from photon_gpu.engine.model.noise import NoiseModel

    parameters = {"gain": gain, "offset": offset, "variance": variance}
    typed = {name: value for name, value in parameters.items() if value is not None}
    if typed and gain is None:
        raise InvalidInputError(
            f"--{' and --'.join(typed)} cannot be used without --gain; give --gain too (1 for a photon "
            "counter), or none of the three: then all are estimated"
        )
    if not any(isinstance(value, tuple) for value in typed.values()):
        return NoiseModel(**typed) if typed else None
    lengths = {name: len(value) for name, value in typed.items() if isinstance(value, tuple)}
    channels = max(lengths.values())
    if set(lengths.values()) != {channels}:
        raise InvalidInputError(
            f"the options have {lengths} values; give one for all channels or one for each"
        )
    each = {name: value if isinstance(value, tuple) else (value,) * channels for name, value in typed.items()}
    return tuple(
        NoiseModel(**{name: values[channel] for name, values in each.items()}) for channel in range(channels)
    )
