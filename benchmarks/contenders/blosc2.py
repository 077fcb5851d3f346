"""Blosc2's own n-dimensional arrays: the raw movie, our codes at the same error, and truncated floats.

Of zstd 1 and 5 with and without bit shuffle, 1 with it is the fastest for raw values (657 MB/s of one core,
5 takes twice as long for 1 % less) and for codes (860 MB/s at 3.93); without it codes are smaller (4.47 at
498).
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.contender import CHUNK_FRAMES, Contender
from benchmarks.contenders.bases.error_bounded import Bounded, Stored
from benchmarks.contenders.bases.file_per_chunk import CORES, from_codes, to_codes
from benchmarks.support.s3_folder import Bucket


class Blosc2(Contender):
    name = "Blosc2 array, raw, zstd 5 bitshuffle"
    lossless = True
    needs = ("blosc2",)
    level, bits = 5, True

    def write(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._save(values, folder)

    def read(self, folder: Path | Bucket) -> NDArray:
        return self._open(folder)[...]

    def frame(self, folder: Path | Bucket, number: int) -> NDArray:
        return self._open(folder)[number]

    def trace(self, folder: Path | Bucket, rows: slice, columns: slice) -> NDArray:
        return self._open(folder)[:, rows, columns].mean((1, 2))

    def _save(self, values: NDArray, folder: Path) -> None:
        import blosc2

        blosc2.asarray(
            values,
            urlpath=str(folder / "movie.b2nd"),
            chunks=(min(CHUNK_FRAMES, len(values)), *values.shape[1:]),
            cparams={
                "codec": blosc2.Codec.ZSTD,
                "clevel": self.level,
                "nthreads": CORES,
                "filters": [blosc2.Filter.BITSHUFFLE if self.bits else blosc2.Filter.NOFILTER],
            },
        )

    def _open(self, folder: Path | Bucket) -> Any:
        import blosc2

        return blosc2.open(str(folder / "movie.b2nd"), mode="r", dparams={"nthreads": CORES})


class Blosc2Fast(Blosc2):
    name = "Blosc2 array, raw, zstd 1 bitshuffle"
    level = 1


class Blosc2Codes(Blosc2):
    name = "Blosc2 array of our codes, zstd 1"
    lossless, worst, level, bits = False, 0.35, 1, False
    step = 0.5

    def write(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> None:
        folder.mkdir(parents=True)
        base, codes = to_codes(values, noise, self.step)
        facts = {"base": base, "dtype": values.dtype.name, "noise": noise.to_dict()}
        (folder / "facts.json").write_text(json.dumps(facts))
        self._save(codes, folder)

    def read(self, folder: Path | Bucket) -> NDArray:
        return self._counts(super().read(folder), folder)

    def frame(self, folder: Path | Bucket, number: int) -> NDArray:
        return self._counts(super().frame(folder, number), folder)

    def trace(self, folder: Path | Bucket, rows: slice, columns: slice) -> NDArray:
        return self._counts(self._open(folder)[:, rows, columns], folder).mean((1, 2))

    def _counts(self, codes: NDArray, folder: Path) -> NDArray:
        facts = json.loads((folder / "facts.json").read_text())
        noise = pg.NoiseModel.from_dict(facts["noise"])
        return from_codes(codes, facts["base"], noise, self.step, np.dtype(facts["dtype"]))


class Blosc2CodesFast(Blosc2Codes):
    name = "Blosc2 array of our codes, zstd 1 bitshuffle"
    bits = True


class Blosc2Precision(Bounded):
    """The filter that Blosc2 has for such data: float32 cut to so many bits of mantissa."""

    name = "Blosc2 truncated precision, zstd 5"

    def through(self, stabilized: NDArray[np.float32], step: float) -> Stored:
        import blosc2

        # Truncation of a value v to b bits has a step of 2**(floor(log2 v) - b); the filter refuses 0 bits.
        bits = max(1, round(float(np.log2(np.median(np.abs(stabilized)) / step))))
        array = blosc2.asarray(
            stabilized,
            cparams={
                "codec": blosc2.Codec.ZSTD,
                "clevel": 5,
                "filters": [blosc2.Filter.TRUNC_PREC, blosc2.Filter.BITSHUFFLE],
                "filters_meta": [bits, 0],
            },
        )
        return Stored(int(array.schunk.cbytes), array[...])

    @staticmethod
    def installed() -> bool:
        return importlib.util.find_spec("blosc2") is not None


def contenders() -> list[Contender]:
    return [Blosc2(), Blosc2Fast(), Blosc2Codes(), Blosc2CodesFast()]
