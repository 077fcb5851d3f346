"""``photon-gpu encode``: a movie into a store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_gpu.cli import console, options

if TYPE_CHECKING:
    from photon_gpu.writer.report import EncodeReport


def encode(
    src: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="The movie, (T, ..., H, W): TIFF, BigTIFF, .npy, .npz, HDF5 or Zarr. "
            "FILE.h5::/data/movie names "
            "what is inside of a file.",
            show_default=False,
        ),
    ],
    dst: Annotated[
        str,
        typer.Argument(
            metavar="DST", help="Folder to make, or its URL: s3://bucket/movie.zarr.", show_default=False
        ),
    ],
    gain: Annotated[
        float | None,
        typer.Option(
            parser=options.number,
            metavar="ADU/PHOTON",
            help="By how much one photon raises a pixel's value: the slope of variance against mean.",
            show_default="estimated from SRC, and kept with DST",
        ),
    ] = None,
    offset: Annotated[
        float | None,
        typer.Option(
            parser=options.number,
            metavar="ADU",
            help="A pixel's mean value in the dark.",
            show_default="with --gain: 0",
        ),
    ] = None,
    variance: Annotated[
        float | None,
        typer.Option(
            parser=options.number,
            metavar="ADU^2",
            help="A pixel's variance in the dark: read noise, in ADU, squared.",
            show_default="with --gain: 0",
        ),
    ] = None,
    trust_noise: options.TrustNoise = False,
    step: Annotated[
        float | None,
        typer.Option(
            parser=options.number,
            metavar="SIGMA",
            help="How finely values are kept, in units of their own noise. 0.5 adds 2 % to the "
            "noise's variance, "
            "1.0 adds 8 %; smaller is finer and larger.",
            show_default="0.5",
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            metavar="plain|compact|lossless",
            help="plain: any Zarr reader opens it, as values of noise 1. compact: smaller and faster, "
            "any Python "
            "with photon_gpu opens it, as counts. lossless: every bit is kept.",
        ),
    ] = "plain",
    preset: Annotated[
        str,
        typer.Option(metavar="fast|balanced|small", help="How hard to try for a small file."),
    ] = "balanced",
    predictor: Annotated[
        str | None,
        typer.Option(
            metavar="none|mean|past|full|spatial|moving",
            help="How compact foretells a pixel from others.",
            show_default="tried on a sample",
        ),
    ] = None,
    compressor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME-LEVEL-SHUFFLE",
            help="Blosc's settings, as in zstd-5-bitshuffle.",
            show_default="tried on a sample",
        ),
    ] = None,
    dither: Annotated[
        int | None,
        typer.Option(
            parser=options.whole,
            metavar="SEED",
            help="Add a known pattern before rounding, subtract it after: averages of many frames "
            "have no bias then.",
            show_default="off",
        ),
    ] = None,
    chunk_frames: Annotated[
        int | None,
        typer.Option(parser=options.whole, metavar="FRAMES", help="Frames per file.", show_default="100"),
    ] = None,
    check: Annotated[
        str,
        typer.Option(
            metavar="off|on|full|sample",
            help="on: read every chunk back before it is done, and hold a sample against SRC. full: "
            "hold every "
            "pixel against it. sample: hold a sample of what is encoded against SRC, and read nothing back. "
            "Where it fails, DST is kept, marked as failing, and the command ends with 1.",
        ),
    ] = "on",
    delete_source: Annotated[
        bool,
        typer.Option(
            "--delete-source",
            metavar="",
            help="Delete SRC (.npy or TIFF) once --check full has found nothing. Refused where SRC "
            "holds more than "
            "pixels: headers, times, units.",
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            metavar="",
            help="Go on where the same encode was killed; chunks that are whole are kept.",
            rich_help_panel=options.RUNNING,
        ),
    ] = False,
    backend: options.Backend = "auto",
    workers: options.Workers = None,
    storage_option: options.StorageOption = None,
    source_option: options.SourceOption = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> console.Report:
    """Store a movie at a fraction of its size.

    A pixel's noise grows with its light: variance = gain * (value - offset) + variance in
    the dark. That model is estimated from SRC, where --gain does not give it; what cannot
    be modelled is refused. A model that is given is held against SRC, and refused if SRC
    contradicts it. Values are kept to a step far below the noise, and none is clipped.
    DST is whole, or it is not there.

    For example:
      photon-gpu encode cortex.tif movie.zarr
      photon-gpu encode cortex.tif movie.zarr --gain 100 --offset 92
      photon-gpu encode run.h5::/data run.zarr --gain 2.1 --offset 100 --layout compact
      photon-gpu encode processed.tif processed.zarr --layout lossless
    """
    from photon_gpu.settings import EncodeSettings
    from photon_gpu.sources.open import open_source
    from photon_gpu.store.destination import destination
    from photon_gpu.writer.encode import encode_with

    settings = EncodeSettings(
        noise=options.noise_model(gain, offset, variance),
        trust_noise=trust_noise,
        step=0.5 if step is None else step,
        layout=layout,
        preset=preset,
        predictor=predictor,
        compressor=compressor,
        dither=dither,
        chunk_frames=chunk_frames,
        backend=backend,
        workers=workers,
        check=_check(check),
    )
    storage_options = options.storage_options(storage_option, dst)
    with (
        open_source(src, **options.for_source(src, source_option)) as source,
        console.progress("encoding", source.frame_nbytes) as tick,
    ):
        report = encode_with(
            settings,
            source,
            destination(dst, storage_options),
            overwrite=overwrite,
            resume=resume,
            progress=tick,
            delete_source=delete_source,
        )
    given = {
        "--step": step,
        "--dither": dither,
        "--compressor": compressor,
        "--chunk-frames": chunk_frames,
        "--storage-option": None if options.is_remote(dst) else storage_option,
    }
    given = {option: value for option, value in given.items() if value is not None}
    return replace(report, notes=(*report.notes, *remarks(report, given)))


def _check(text: str) -> bool | str:
    modes: dict[str, bool | str] = {"off": False, "on": True, "full": "full", "sample": "sample"}
    if text not in modes:
        raise typer.BadParameter(f"--check is {text!r}; allowed are off, on, full, sample")
    return modes[text]


def remarks(report: EncodeReport, given: dict[str, Any]) -> list[str]:
    """What was asked for and came to nothing."""
    encoding, frames = report.encoding, report.shape[0]
    idle = {
        "lossless": dict.fromkeys(("--step", "--dither"), "layout lossless keeps every bit"),
    }.get(encoding.layout, {})
    if encoding.exact:
        idle["--step"] = "the exact values take less room than their codes, so nothing was rounded"
    if "--storage-option" in given:
        idle["--storage-option"] = "DST is no URL"
    said = [f"{option} had no effect: {why}" for option, why in idle.items() if option in given]
    if given.get("--chunk-frames", 0) > frames:
        said.append(f"--chunk-frames {given['--chunk-frames']} became {frames}: the movie has no more frames")
    return said
