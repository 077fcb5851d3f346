"""``photon-gpu decode``: export a stored movie to a common file format."""

from __future__ import annotations

from typing import Annotated

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.running import Backend, Debug, Json, Workers
from photon_gpu.cli.options.stored_movie import MovieArgument, Overwrite, StorageOption, read_storage_options
from photon_gpu.errors import InvalidInputError


def decode(
    movie: MovieArgument,
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="File to write: .tif (BigTIFF if needed), .npy, .h5, .nwb, or .zarr or .ome.zarr (also at a "
            "URL).",
            show_default=False,
        ),
    ],
    stabilized: Annotated[
        bool,
        typer.Option(
            "--stabilized",
            metavar="",
            help="Write float64 values with noise 1, in sigma, instead of counts in the original "
            "dtype, in ADU.",
        ),
    ] = False,
    frames: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST:END",
            help="Frames to write, from FIRST to END - 1, counted from 0: 100:200, :50, 900:, or 7 for one.",
            show_default="all",
        ),
    ] = None,
    hdf5_filter: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="photon",
            help="Copy the chunks of a compact movie into .h5 as they are stored. Programs that read OUT "
            "need the HDF5 filter of libphoton.",
            show_default="Blosc or gzip",
        ),
    ] = None,
    overwrite: Overwrite = False,
    backend: Backend = "auto",
    workers: Workers = None,
    storage_option: StorageOption = None,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Write a stored movie back as TIFF, NumPy, HDF5, NWB, plain Zarr or OME-Zarr.

    Frames are read and written a few at a time, so the movie may be larger than memory.
    OUT appears once it is complete.

    For example:
      photon-gpu decode movie.zarr movie.tif
      photon-gpu decode movie.zarr first_minute.npy --frames :1800
      photon-gpu decode movie.zarr counts.ome.zarr
      photon-gpu decode s3://bucket/movie.zarr stabilized.zarr --stabilized
    """
    from photon_gpu.reader.export import export
    from photon_gpu.reader.open import open as open_movie

    opened = open_movie(
        movie,
        backend=backend,
        workers=workers,
        storage_options=read_storage_options(storage_option, movie),
    )
    itemsize = 8 if stabilized else opened.counts.dtype.itemsize
    with console.progress("decoding", opened.size // len(opened) * itemsize) as tick:
        return export(
            opened,
            out,
            stabilized=stabilized,
            frames=frame_range(frames, len(opened)),
            overwrite=overwrite,
            hdf5_filter=hdf5_filter,
            progress=tick,
            storage_options=read_storage_options(storage_option, out),
        )


def frame_range(text: str | None, frames: int) -> tuple[int, int] | None:
    """Parse ``FIRST:END``; either may be left out, and numbers below 0 count from the end.

    Examples
    --------
    >>> frame_range("100:200", 1000), frame_range(":50", 1000), frame_range("-1", 1000)
    ((100, 200), (0, 50), (999, 1000))
    """
    if text is None:
        return None
    first, colon, end = text.partition(":")
    try:
        start = int(first) if first or not colon else 0
        stop = (int(end) if end else frames) if colon else start + 1
    except ValueError:
        raise InvalidInputError(
            f"--frames is {text!r}; FIRST:END is needed, as in 100:200, :50, 900: or 7"
        ) from None
    if start < 0:
        start, stop = start + frames, stop if colon else stop + frames
    return start, stop + frames if stop < 0 else stop
