"""tensorstore, a C++ library, writing and reading Zarr v2 of the raw movie.

The settings are those of ``zarr_blosc``: Blosc is the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.contender import CHUNK_FRAMES, Contender, Indexed
from benchmarks.support.generated_movie import Made, spans
from benchmarks.support.s3_folder import Bucket


class TensorStore(Indexed):
    name = "tensorstore (Zarr v2, raw, Blosc zstd 5 bitshuffle)"
    lossless = remote = streams = True
    needs = ("tensorstore",)
    clevel = 5

    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        import tensorstore

        spec = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": str(folder)},
            "metadata": {
                "compressor": {"id": "blosc", "cname": "zstd", "clevel": self.clevel, "shuffle": 2},
                "dtype": values.dtype.newbyteorder("<").str
                if values.dtype.itemsize > 1
                else values.dtype.str,
                "shape": list(values.shape),
                "chunks": [min(CHUNK_FRAMES, len(values)), *values.shape[1:]],
            },
        }
        store = tensorstore.open(spec, create=True).result()
        for span in spans(values):
            store[span].write(values[span]).result()

    def counts(self, folder: Path | Bucket, key: Any) -> NDArray:
        return np.asarray(self._open(folder)[key].read().result())

    def _open(self, folder: Path | Bucket) -> Any:
        import tensorstore

        store: dict[str, Any] = {"driver": "file", "path": str(folder)}
        if isinstance(folder, Bucket):
            bucket, _, key = folder.root.partition("/")
            store = {
                "driver": "s3",
                "bucket": bucket,
                "path": key,
                "endpoint": f"http://{folder.endpoint}",
                "aws_region": "us-east-1",
                "aws_credentials": {"type": "anonymous"},
            }
        return tensorstore.open({"driver": "zarr", "kvstore": store}, read=True).result()


class TensorStoreFast(TensorStore):
    name = "tensorstore (Zarr v2, raw, Blosc zstd 1 bitshuffle)"
    clevel = 1


def contenders() -> list[Contender]:
    return [TensorStore(), TensorStoreFast()]
