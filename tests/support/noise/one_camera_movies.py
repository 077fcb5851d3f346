"""Movies of one simulated camera with known noise, the same on every machine."""

from __future__ import annotations

import numpy as np

import photon_gpu as pg
from photon_gpu.sources.base import Source

CAMERA = pg.NoiseModel(gain=2.0, offset=100.0, variance=4.0)


def camera_movie(frames=25, height=17, width=23, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    light = rng.poisson(20.0, (frames, height, width))
    return np.rint(100 + 2.0 * light + rng.normal(0, 2, light.shape)).astype(dtype)


class Endless(Source):
    """A movie far larger than memory allows: every frame is made when it is read."""

    name = "endless"

    def __init__(self, frames):
        self.shape, self.dtype = (frames, 256, 256), np.dtype("uint16")
        self._frame = camera_movie(1, 256, 256)[0]

    def read(self, start, stop):
        return np.stack([np.roll(self._frame, t, axis=1) for t in range(start, stop)])
