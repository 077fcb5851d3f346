"""acquire-zarr, the streaming writer of Acquire, raw Zarr v3 with its Blosc zstd; read back by zarr-python.

It only writes: what reads its stores is zarr-python, so its reading figures are that library's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.contender import CHUNK_FRAMES, Contender, Indexed
from benchmarks.support.generated_movie import Made, spans
from benchmarks.support.s3_folder import Bucket, for_zarr


class Acquire(Indexed):
    name = "acquire-zarr (Zarr v3, raw, Blosc zstd 1 bitshuffle)"
    lossless = remote = streams = True
    needs = ("acquire_zarr",)

    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        import acquire_zarr as az

        kinds = (az.DimensionType.TIME, az.DimensionType.SPACE, az.DimensionType.SPACE)
        sizes = (0, *values.shape[1:])
        chunks = (min(CHUNK_FRAMES, len(values)), *values.shape[1:])
        dimensions = [
            az.Dimension(
                name=name, kind=dimension, array_size_px=size, chunk_size_px=chunk, shard_size_chunks=1
            )
            for name, dimension, size, chunk in zip("tyx", kinds, sizes, chunks, strict=True)
        ]
        compression = az.CompressionSettings(
            compressor=az.Compressor.BLOSC1, codec=az.CompressionCodec.BLOSC_ZSTD, level=1, shuffle=2
        )
        array = az.ArraySettings(
            dimensions=dimensions,
            data_type=getattr(az.DataType, values.dtype.name.upper()),
            compression=compression,
        )
        stream = az.ZarrStream(
            az.StreamSettings(store_path=str(folder), version=az.ZarrVersion.V3, arrays=[array])
        )
        for span in spans(values):
            stream.append(values[span])
        stream.close()

    def counts(self, folder: Path | Bucket, key: Any) -> NDArray:
        return np.asarray(self._open(folder)[key])

    def _open(self, folder: Path | Bucket) -> Any:
        import zarr

        array = zarr.open(**for_zarr(folder), mode="r")
        return array if isinstance(array, zarr.Array) else next(iter(array.arrays()))[1]


def contenders() -> list[Contender]:
    return [Acquire()]
