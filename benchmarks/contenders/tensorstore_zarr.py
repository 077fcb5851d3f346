"""tensorstore, a C++ library, writing and reading Zarr v2 of the raw movie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.base import CHUNK_FRAMES, Contender


class TensorStore(Contender):
    name = "tensorstore (Zarr v2, raw, Blosc zstd 5 bitshuffle)"
    lossless = True
    needs = ("tensorstore",)

    def write(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> None:
        import tensorstore

        spec = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": str(folder)},
            "metadata": {
                "compressor": {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2},
                "dtype": values.dtype.newbyteorder("<").str
                if values.dtype.itemsize > 1
                else values.dtype.str,
                "shape": list(values.shape),
                "chunks": [min(CHUNK_FRAMES, len(values)), *values.shape[1:]],
            },
        }
        tensorstore.open(spec, create=True).result().write(values).result()

    def read(self, folder: Path) -> NDArray:
        return np.asarray(self._open(folder).read().result())

    def frame(self, folder: Path, number: int) -> NDArray:
        return np.asarray(self._open(folder)[number].read().result())

    def trace(self, folder: Path, rows: slice, columns: slice) -> NDArray:
        return np.asarray(self._open(folder)[:, rows, columns].read().result()).mean((1, 2))

    def _open(self, folder: Path) -> Any:
        import tensorstore

        return tensorstore.open(
            {"driver": "zarr", "kvstore": {"driver": "file", "path": str(folder)}}, read=True
        ).result()


def contenders() -> list[Contender]:
    return [TensorStore()]
