"""``photon-gpu cost``: estimate the storage cost of movies."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from photon_gpu.cli import console
from photon_gpu.cli.options.noise import TriedGain, TriedOffset, TriedVariance, noise_model
from photon_gpu.cli.options.running import Debug, Json
from photon_gpu.cli.options.stored_movie import StorageOption, read_storage_options
from photon_gpu.cli.options.values import read_number, read_whole


def cost(
    movie: Annotated[
        str | None,
        typer.Argument(
            metavar="[MOVIE]",
            help="A stored movie, whose size is used, or a file of which a sample is encoded.",
            show_default=False,
        ),
    ] = None,
    movies: Annotated[str, typer.Option(metavar="N", help="Number of movies.")] = "1",
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="TxHxW", help="Frames, height and width, if there is no MOVIE.", show_default=False
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(metavar="DTYPE", help="With --shape: type of the raw movie.")
    ] = "uint16",
    savings: Annotated[
        str, typer.Option(metavar="SHARE", help="With --shape: share of the bytes that is saved, below 1.")
    ] = "0.75",
    gain: TriedGain = None,
    offset: TriedOffset = None,
    variance: TriedVariance = None,
    step: Annotated[
        str, typer.Option(metavar="SIGMA", help="Quantization step, in units of the noise, for a file.")
    ] = "0.5",
    layout: Annotated[
        str, typer.Option(metavar="plain|compact", help="Layout in which a file would be stored.")
    ] = "plain",
    units: Annotated[
        str,
        typer.Option(
            metavar="binary|decimal|documented",
            help="Bytes of a GB: binary 2**30, as clouds bill; decimal 1e9; documented 1000 * 2**20.",
        ),
    ] = "binary",
    prices: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help='JSON file of prices in dollars per GB and month, by storage class: {"STANDARD": 0.023}.',
            show_default="the packaged list",
        ),
    ] = None,
    storage_option: StorageOption = None,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Estimate the storage cost of movies, by storage class.

    For example:
      photon-gpu cost movie.zarr --movies 1000
      photon-gpu cost raw.tif --gain 100 --offset 92 --movies 1000
      photon-gpu cost --shape 1000x512x512 --savings 0.75 --movies 1000 --units documented
    """
    from photon_gpu.tools import cost as costs

    common: dict[str, Any] = {
        "movies": read_whole(movies),
        "units": units,
        "prices": costs.load_prices(prices),
    }
    if (movie is None) == (shape is None):
        raise typer.BadParameter("give either a MOVIE or --shape TxHxW")
    if movie is None:
        sizes = tuple(read_whole(part) for part in str(shape).split("x"))
        result = costs.from_shape(sizes, dtype, savings=read_number(savings), **common)
    else:
        result = _measured(
            movie,
            read_storage_options(storage_option, movie),
            common,
            {
                "noise": noise_model(gain, offset, variance),
                "step": read_number(step),
                "layout": layout,
            },
        )
    return console.Text(result, result.text())


def _measured(
    movie: str, storage_options: dict[str, Any] | None, common: dict[str, Any], wanted: dict[str, Any]
) -> Any:
    """Cost of movies like a stored one, or like a file of which a sample is encoded."""
    from photon_gpu.errors import CorruptDataError, StoreNotFoundError
    from photon_gpu.tools import cost as costs

    try:
        return costs.from_movie(movie, storage_options=storage_options, **common)
    except (StoreNotFoundError, CorruptDataError):
        return costs.from_source(movie, encode_options=wanted, **common)
