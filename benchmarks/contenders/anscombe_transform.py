"""anscombe-transform 1.0.0 through Zarr v3, as its documentation shows it."""

from __future__ import annotations

from pathlib import Path

import zarr
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.base import Contender


class AnscombeTransform(Contender):
    name = "anscombe-transform 1.0.0 (Zarr v3, Blosc zstd 5)"

    def write(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> None:
        from anscombe_transform import AnscombeTransformV3

        array = zarr.create_array(
            str(folder),
            shape=values.shape,
            chunks=(100, *values.shape[1:]),
            dtype=values.dtype,
            filters=[AnscombeTransformV3(zero_level=int(noise.offset), conversion_gain=noise.gain)],
            compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=5),
        )
        array[...] = values

    def read(self, folder: Path) -> NDArray:
        return zarr.open_array(str(folder), mode="r")[...]


def contenders() -> list[Contender]:
    try:
        import anscombe_transform  # noqa: F401
    except ImportError:
        return []
    return [AnscombeTransform()]
