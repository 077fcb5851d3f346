"""Options of ``encode`` that become encode settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_gpu.cli.options.noise import AcceptProcessed, Gain, Offset, TrustNoise, Variance, noise_model
from photon_gpu.cli.options.running import Backend, Workers
from photon_gpu.cli.options.values import pairs, read_number, read_whole, read_whole_or_auto

if TYPE_CHECKING:
    from photon_gpu.encode_settings import EncodeSettings

Attribute = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Store this in the .zattrs of DST; VALUE is text, or a number, true, false, null, "
        "{...} or [...] as in JSON. May be repeated.",
        show_default=False,
    ),
]

Step = Annotated[
    float | None,
    typer.Option(
        parser=read_number,
        metavar="SIGMA",
        help="Quantization step, in units of the noise. 0.5 adds 2 % to the variance of the noise,"
        " 1.0 adds 8 %. A smaller step gives a larger file.",
        show_default="0.5",
    ),
]

LayoutOption = Annotated[
    str,
    typer.Option(
        metavar="plain|compact|lossless",
        help="plain: opens in any Zarr reader, as values with noise 1. compact: smaller and "
        "faster, opens in Python with photon_gpu, as counts. lossless: keeps every bit.",
    ),
]

Preset = Annotated[
    str,
    typer.Option(
        metavar="fast|balanced|small",
        help="Number of settings to try for a small file: fast tries few, small tries many.",
    ),
]

Predictor = Annotated[
    str | None,
    typer.Option(
        metavar="none|mean|past|full|spatial|moving",
        help="Layout compact: what predicts a pixel; only the difference from the prediction is stored.",
        show_default="the best on a sample",
    ),
]

Compressor = Annotated[
    str | None,
    typer.Option(
        metavar="NAME-LEVEL-SHUFFLE",
        help="Blosc settings: zstd, lz4, lz4hc, zlib or blosclz, a level from 0 to 9, and none, shuffle or "
        "bitshuffle, such as zstd-5-bitshuffle.",
        show_default="the best on a sample",
    ),
]

Dither = Annotated[
    int | None,
    typer.Option(
        parser=read_whole,
        metavar="SEED",
        help="Seed of a pattern that is added before rounding and subtracted after, so that "
        "averages have no bias.",
        show_default="off",
    ),
]

ChunkFrames = Annotated[
    int | None,
    typer.Option(parser=read_whole, metavar="FRAMES", help="Frames per chunk.", show_default="100"),
]

EncodeCheck = Annotated[
    str,
    typer.Option(
        metavar="off|on|full|sample",
        help="off: check nothing. on: read back every chunk, and compare a sample with SRC. full: compare "
        "every pixel with SRC. sample: compare a sample before it is written, and read nothing back. If "
        "the check fails, DST is kept and marked as failing, and the exit code is 1.",
    ),
]


Peaks = Annotated[
    Any,
    typer.Option(
        parser=read_whole_or_auto,
        metavar="N|auto",
        help="Layout compact: number of photon peaks of a dark movie that get bins of their own. 0: none. "
        "auto: as many as a dark movie needs, none for others.",
    ),
]
WithDecoder = Annotated[
    bool,
    typer.Option(
        "--with-decoder",
        metavar="",
        help="Store photon_decode.py in DST (OME-Zarr: in DST/0), which decodes it with Python, NumPy and "
        "zstandard alone.",
    ),
]
Pyramid = Annotated[
    int,
    typer.Option(
        parser=read_whole,
        metavar="N",
        help="For DST.ome.zarr: number of smaller levels for viewers that zoom; each averages 2 x 2 pixels "
        "of the level before.",
        show_default="0",
    ),
]


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """The options of ``encode`` that become :class:`~photon_gpu.encode_settings.EncodeSettings`."""

    gain: Gain = None
    offset: Offset = None
    variance: Variance = None
    trust_noise: TrustNoise = False
    accept_processed: AcceptProcessed = False
    step: Step = None
    layout: LayoutOption = "plain"
    preset: Preset = "balanced"
    predictor: Predictor = None
    compressor: Compressor = None
    dither: Dither = None
    peaks: Peaks = "auto"
    chunk_frames: ChunkFrames = None
    attribute: Attribute = None
    check: EncodeCheck = "on"
    with_decoder: WithDecoder = False
    pyramid: Pyramid = 0
    backend: Backend = "auto"
    workers: Workers = None

    def settings(self) -> EncodeSettings:
        """Return the settings from the options of the command line."""
        from photon_gpu.encode_settings import EncodeSettings

        return EncodeSettings(**self._typed())

    def _typed(self) -> dict[str, Any]:
        typed = {one.name: getattr(self, one.name) for one in fields(self)}
        typed["noise"] = noise_model(*(typed.pop(name) for name in ("gain", "offset", "variance")))
        typed["check"] = _check(self.check)
        typed["attributes"] = pairs(typed.pop("attribute"), "--attribute")
        if self.step is None:
            del typed["step"]
        return typed


def _check(text: str) -> bool | str:
    modes: dict[str, bool | str] = {"off": False, "on": True, "full": "full", "sample": "sample"}
    if text not in modes:
        raise typer.BadParameter(f"--check is {text!r}; allowed are off, on, full, sample")
    return modes[text]
