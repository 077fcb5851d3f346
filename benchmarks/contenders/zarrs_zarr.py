"""zarrs, a Rust library, as the codec pipeline of zarr-python; it may not fall back to Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.base import CHUNK_FRAMES, Contender
from benchmarks.contenders.place import Bucket, Made, spans


class Zarrs(Contender):
    name = "zarrs (Zarr v3, raw, Blosc zstd 5 bitshuffle)"
    lossless = streams = True
    needs = ("zarrs",)

    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        import zarr

        with self._pipeline():
            array = zarr.create_array(
                str(folder),
                shape=values.shape,
                chunks=(min(CHUNK_FRAMES, len(values)), *values.shape[1:]),
                dtype=values.dtype,
                compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle"),
            )
            for span in spans(values):
                array[span] = values[span]

    def read(self, folder: Path | Bucket) -> NDArray:
        with self._pipeline():
            return self._open(folder)[...]

    def part(self, folder: Path | Bucket, frames: slice) -> NDArray:
        with self._pipeline():
            return self._open(folder)[frames]

    def frame(self, folder: Path | Bucket, number: int) -> NDArray:
        with self._pipeline():
            return self._open(folder)[number]

    def trace(self, folder: Path | Bucket, rows: slice, columns: slice) -> NDArray:
        with self._pipeline():
            return self._open(folder)[:, rows, columns].mean((1, 2))

    def _pipeline(self) -> Any:
        import zarr
        import zarrs  # noqa: F401 - registers the pipeline

        return zarr.config.set(
            {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "codec_pipeline.strict": True}
        )

    def _open(self, folder: Path | Bucket) -> Any:
        import zarr

        return zarr.open_array(str(folder), mode="r")


def contenders() -> list[Contender]:
    return [Zarrs()]
