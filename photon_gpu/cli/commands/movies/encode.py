"""``photon-gpu encode``: store a movie."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_gpu.cli import console
from photon_gpu.cli.fast_numba_import import import_numba
from photon_gpu.cli.options.dataclass_options import grouped
from photon_gpu.cli.options.encode import EncodeOptions
from photon_gpu.cli.options.running import RUNNING, Debug, Json
from photon_gpu.cli.options.source import Sources, TimedReadOptions
from photon_gpu.cli.options.stored_movie import (
    Destination,
    Overwrite,
    StorageOption,
    is_remote,
    read_storage_options,
)

if TYPE_CHECKING:
    from photon_gpu.writer.report import EncodeReport


@grouped
def encode(
    src: Sources,
    dst: Destination,
    *,
    options: EncodeOptions,
    delete_source: Annotated[
        bool,
        typer.Option(
            "--delete-source",
            metavar="",
            help="Delete SRC (.npy or TIFF files) after --check full has passed. Refused if SRC holds "
            "anything that DST does not: further images, bytes that nothing points to.",
        ),
    ] = False,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            metavar="",
            help="Continue a killed encode with the same settings; complete chunks are kept.",
            rich_help_panel=RUNNING,
        ),
    ] = False,
    container: Annotated[
        str | None,
        typer.Option(
            metavar="folder|ome-zarr",
            help="Format of DST around the chunks: a Zarr v2 folder, or an OME-Zarr 0.5 image in shards.",
            show_default="ome-zarr if DST ends in .ome.zarr, else folder",
        ),
    ] = None,
    storage_option: StorageOption = None,
    reads: TimedReadOptions,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Store a movie at a fraction of its size.

    The noise of a pixel grows with its light: variance = gain * (value - offset) + variance
    in the dark. This model is estimated from SRC unless you state it with --gain. A movie
    that does not fit the model is refused, and so is a stated model that SRC contradicts.
    Values are stored with a step far below the noise, and none is clipped. DST appears only
    once it is complete.

    For example:
      photon-gpu encode cortex.tif movie.zarr
      photon-gpu encode cortex.tif movie.zarr --gain 100 --offset 92
      photon-gpu encode run.h5::/data run.zarr --gain 2.1 --offset 100 --layout compact
      photon-gpu encode "run/*_Ch1_*.tif" run.zarr
      photon-gpu encode processed.tif processed.zarr --layout lossless
    """
    import_numba()
    from photon_gpu.store.destination import destination
    from photon_gpu.store.ome_zarr.zarr2_view import in_container
    from photon_gpu.writer.encode import encode_with

    settings = options.settings()
    storage_options = read_storage_options(storage_option, dst)
    with (
        reads.open(src) as source,
        console.progress("encoding", source.frame_nbytes) as tick,
    ):
        report = encode_with(
            settings,
            source,
            in_container(destination(dst, storage_options), container),
            overwrite=overwrite,
            resume=resume,
            progress=tick,
            delete_source=delete_source,
        )
    typed = {
        "--step": options.step,
        "--dither": options.dither,
        "--chunk-frames": options.chunk_frames,
        "--storage-option": None if is_remote(dst) else storage_option,
    }
    typed = {option: value for option, value in typed.items() if value is not None}
    notes = (console.spoken(note) for note in report.notes)
    return replace(report, notes=(*notes, *remarks(report, typed)))


def remarks(report: EncodeReport, typed: dict[str, Any]) -> list[str]:
    """Return a note for each typed option that had no effect."""
    encoding, frames = report.encoding, report.shape[0]
    idle = {
        "lossless": dict.fromkeys(("--step", "--dither"), "layout lossless keeps every bit"),
    }.get(encoding.layout, {})
    if encoding.exact:
        idle["--step"] = "the exact values take less room than their codes, so nothing was rounded"
    if "--storage-option" in typed:
        idle["--storage-option"] = "DST is no URL"
    ignored = [f"{option} had no effect: {why}" for option, why in idle.items() if option in typed]
    if typed.get("--chunk-frames", 0) > frames:
        ignored.append(
            f"--chunk-frames {typed['--chunk-frames']} became {frames}: the movie has no more frames"
        )
    return ignored
