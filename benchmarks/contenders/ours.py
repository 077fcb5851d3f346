"""photon_gpu: every layout and preset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.bases.contender import CHUNK_FRAMES, Contender
from benchmarks.support.generated_movie import Made
from benchmarks.support.s3_folder import Bucket


class Ours(Contender):
    remote = streams = True

    def __init__(
        self, layout: str, preset: str, step: float = 0.5, by_hand: tuple[str, str] | None = None
    ) -> None:
        self.layout, self.preset, self.step = layout, preset, step
        self.predictor, self.compressor = by_hand or (None, None)
        self.lossless = layout == "lossless"
        # Counts are integers of the bin their pixel was in: less than a step away, whatever rounding does.
        self.worst = 0.0 if self.lossless else step
        self.name = f"photon_gpu {layout}, {preset}" + (
            "" if step == 0.5 or self.lossless else f", step {step:g}"
        )
        self.name += f", predictor {self.predictor}" if by_hand else ""

    def write(self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path) -> None:
        pg.encode(
            values,
            folder,
            noise=noise,
            layout=self.layout,
            preset=self.preset,
            step=self.step,
            predictor=self.predictor,
            compressor=self.compressor,
            check=False,
            trust_noise=True,
        )

    def errors(
        self, values: NDArray | Made, noise: pg.NoiseModel, folder: Path | Bucket
    ) -> tuple[float, float]:
        """Compute the errors as for every contender; check that stabilized values err by at most half a step.

        That check is left out for movies larger than memory, because transforming every pixel would take
        longer than all that is timed.
        """
        movie = self._open(folder)
        if isinstance(values, np.ndarray) and not self.lossless and not movie.encoding.exact:
            for start in range(0, len(values), CHUNK_FRAMES):
                part = slice(start, min(start + CHUNK_FRAMES, len(values)))
                away = np.abs(movie[part] - pg.anscombe(values[part], noise)).max()
                assert away <= self.step / 2 + 1e-9, f"stabilized values err by {away:.3g} sigma"
        return super().errors(values, noise, folder)

    def read(self, folder: Path | Bucket) -> NDArray:
        return self._open(folder).counts[...]

    def part(self, folder: Path | Bucket, frames: slice) -> NDArray:
        return self._open(folder).counts[frames]

    def frame(self, folder: Path | Bucket, number: int) -> NDArray:
        return self._open(folder).counts[number]

    def trace(self, folder: Path | Bucket, rows: slice, columns: slice) -> NDArray:
        return self._open(folder).counts[:, rows, columns].mean((1, 2))

    def _open(self, folder: Path | Bucket) -> pg.Movie:
        if isinstance(folder, Bucket):
            return pg.open(folder.url, storage_options=folder.options)
        return pg.open(folder)


def contenders() -> list[Contender]:
    return [
        Ours("compact", "fast"),
        Ours("compact", "fast", by_hand=("full", "zstd-1-none-32768")),
        Ours("compact", "balanced"),
        Ours("compact", "small"),
        Ours("compact", "fast", 1.0),
        Ours("plain", "fast"),
        Ours("plain", "fast", 1.0),
        Ours("lossless", "balanced"),
    ]
