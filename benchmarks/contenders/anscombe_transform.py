"""anscombe-transform 1.0.0 through Zarr v3: as its documentation shows it, and at its best.

Of zstd at levels 1, 3 and 5 and Blosc zstd at levels 1 and 5 with each shuffle, zstd 1 took the least
processor time to write and to read the cortex, and was smallest (ratio 4.44).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.contender import Contender
from benchmarks.contenders.zarr_blosc import ZarrReader
from benchmarks.support.generated_movie import Made, spans


class AnscombeTransform(ZarrReader):
    needs = ("anscombe_transform",)
    worst = 1.0
    remote = streams = True
    name = "anscombe-transform 1.0.0 (Zarr v3, Blosc zstd 5)"

    def compressor(self) -> Any:
        """Codec of Zarr v3 that follows the transform."""
        return zarr.codecs.BloscCodec(cname="zstd", clevel=5)

    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        from anscombe_transform import AnscombeTransformV3

        array = zarr.create_array(
            str(folder),
            shape=values.shape,
            chunks=(min(100, len(values)), *values.shape[1:]),
            dtype=values.dtype,
            filters=[AnscombeTransformV3(zero_level=int(noise.offset), conversion_gain=noise.gain)],
            compressors=self.compressor(),
        )
        for span in spans(values):
            array[span] = values[span]


class AnscombeTransformBest(AnscombeTransform):
    name = "anscombe-transform 1.0.0 (Zarr v3, zstd 1)"

    def compressor(self) -> Any:
        return zarr.codecs.ZstdCodec(level=1)


def contenders() -> list[Contender]:
    return [AnscombeTransform(), AnscombeTransformBest()]
