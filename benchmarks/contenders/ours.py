"""photon_gpu: every layout and preset."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.contenders.base import Contender


class Ours(Contender):
    def __init__(self, layout: str, preset: str, step: float = 0.5) -> None:
        self.layout, self.preset, self.step = layout, preset, step
        self.lossless = layout == "lossless"
        self.worst = 0.0 if self.lossless else 0.55 * step + 0.05
        self.name = f"photon_gpu {layout}, {preset}" + (
            "" if step == 0.5 or self.lossless else f", step {step:g}"
        )

    def write(self, values: NDArray, noise: pg.NoiseModel, folder: Path) -> None:
        pg.encode(values, folder, noise=noise, layout=self.layout, preset=self.preset, step=self.step)

    def read(self, folder: Path) -> NDArray:
        return pg.open(folder).counts[...]

    def frame(self, folder: Path, number: int) -> NDArray:
        return pg.open(folder).counts[number]

    def trace(self, folder: Path, rows: slice, columns: slice) -> NDArray:
        return pg.open(folder).counts[:, rows, columns].mean((1, 2))


def contenders() -> list[Contender]:
    return [
        Ours("compact", "fast"),
        Ours("compact", "balanced"),
        Ours("compact", "small"),
        Ours("compact", "fast", 1.0),
        Ours("plain", "fast"),
        Ours("plain", "fast", 1.0),
        Ours("lossless", "balanced"),
    ]
