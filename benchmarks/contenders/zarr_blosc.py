"""zarr-python with Blosc: raw movies without loss, and float64 Anscombe values without quantization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.base import Contender


class ZarrBlosc(Contender):
    name = "Zarr, raw, Blosc zstd 5 bitshuffle"
    lossless = True

    def write(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> None:
        array = zarr.create_array(
            str(folder), shape=values.shape, chunks=(100, *values.shape[1:]), dtype=values.dtype, zarr_format=2,
            compressors=Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE),
        )  # fmt: skip
        array[...] = values

    def read(self, folder: Path) -> NDArray:
        return zarr.open_array(str(folder), mode="r")[...]


class ZarrAnscombe(Contender):
    name = "Zarr, float64 Anscombe unquantized, Blosc zstd 5 bitshuffle"

    def write(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> None:
        array = zarr.create_array(
            str(folder), shape=values.shape, chunks=(100, *values.shape[1:]), dtype="<f8", zarr_format=2,
            fill_value=None, compressors=Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE),
            attributes={"dtype": values.dtype.name, "noise": noise.to_dict()},
        )  # fmt: skip
        array[...] = pg.anscombe(values, noise)

    def read(self, folder: Path) -> NDArray:
        array = zarr.open_array(str(folder), mode="r")
        noise = pg.NoiseModel.from_dict(dict(array.attrs["noise"]))
        return np.rint(pg.inverse_anscombe(array[...], noise)).astype(str(array.attrs["dtype"]))


def contenders() -> list[Contender]:
    return [ZarrBlosc(), ZarrAnscombe()]
