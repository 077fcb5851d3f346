"""zarr-python with Blosc: raw movies without loss, and float64 Anscombe values without quantization.

Of zstd 1 and 5 with each shuffle, 1 with bit shuffle writes fast at a good ratio (444 MB/s of one core at
1.47); 5 takes half as long again for 3 % less. Without shuffle 1 is a tenth faster, at 1.31.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.contender import Contender, Indexed
from benchmarks.support.generated_movie import Made, spans
from benchmarks.support.s3_folder import Bucket, for_zarr


class ZarrReader(Indexed):
    """A format that zarr-python can read, with any codecs."""

    def counts(self, folder: Path | Bucket, key: Any) -> NDArray:
        return np.asarray(zarr.open_array(**for_zarr(folder), mode="r")[key])


class ZarrBlosc(ZarrReader):
    name = "Zarr, raw, Blosc zstd 5 bitshuffle"
    lossless = remote = streams = True
    clevel, shuffle = 5, Blosc.BITSHUFFLE

    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        array = zarr.create_array(
            str(folder),
            shape=values.shape,
            dtype=values.dtype,
            zarr_format=2,
            chunks=(min(100, len(values)), *values.shape[1:]),
            compressors=Blosc(cname="zstd", clevel=self.clevel, shuffle=self.shuffle),
        )
        for span in spans(values):
            array[span] = values[span]


class ZarrBloscFast(ZarrBlosc):
    name = "Zarr, raw, Blosc zstd 1 bitshuffle"
    clevel = 1


class ZarrBloscBest(ZarrBlosc):
    name = "Zarr, raw, Blosc zstd 9 byte shuffle"
    clevel, shuffle = 9, Blosc.SHUFFLE


class ZarrAnscombe(Indexed):
    worst = 0.01
    remote = streams = True
    name = "Zarr, float64 Anscombe unquantized, Blosc zstd 5 bitshuffle"

    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        array = zarr.create_array(
            str(folder),
            shape=values.shape,
            dtype="<f8",
            zarr_format=2,
            chunks=(min(100, len(values)), *values.shape[1:]),
            fill_value=None,
            compressors=Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE),
            attributes={"dtype": values.dtype.name, "noise": noise.to_dict()},
        )
        for span in spans(values):
            array[span] = pg.anscombe(values[span], noise)

    def counts(self, folder: Path | Bucket, key: Any) -> NDArray:
        array = zarr.open_array(**for_zarr(folder), mode="r")
        noise = pg.NoiseModel.from_dict(dict(array.attrs["noise"]))
        return np.rint(pg.inverse_anscombe(np.asarray(array[key]), noise)).astype(str(array.attrs["dtype"]))


def contenders() -> list[Contender]:
    return [ZarrBlosc(), ZarrBloscFast(), ZarrBloscBest(), ZarrAnscombe()]
