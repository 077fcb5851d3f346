"""zarrs, a Rust library, as the codec pipeline of zarr-python; it may not fall back to Python.

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


class Zarrs(Indexed):
    name = "zarrs (Zarr v3, raw, Blosc zstd 5 bitshuffle)"
    lossless = streams = True
    needs = ("zarrs",)
    clevel = 5

    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        import zarr

        with self._pipeline():
            array = zarr.create_array(
                str(folder),
                shape=values.shape,
                chunks=(min(CHUNK_FRAMES, len(values)), *values.shape[1:]),
                dtype=values.dtype,
                compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=self.clevel, shuffle="bitshuffle"),
            )
            for span in spans(values):
                array[span] = values[span]

    def counts(self, folder: Path | Bucket, key: Any) -> NDArray:
        import zarr

        with self._pipeline():
            return np.asarray(zarr.open_array(str(folder), mode="r")[key])

    def _pipeline(self) -> Any:
        import zarr
        import zarrs  # noqa: F401 - registers the pipeline

        return zarr.config.set(
            {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "codec_pipeline.strict": True}
        )


class ZarrsFast(Zarrs):
    name = "zarrs (Zarr v3, raw, Blosc zstd 1 bitshuffle)"
    clevel = 1


def contenders() -> list[Contender]:
    return [Zarrs(), ZarrsFast()]
