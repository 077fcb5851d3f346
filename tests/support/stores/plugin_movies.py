"""Movies for tests of codec plugins."""

from __future__ import annotations

import numpy as np

CAMERA = dict(gain=2.0, offset=100.0, variance=4.0)


def movie(shape=(25, 17, 23), dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    return np.rint(100 + 2 * rng.poisson(20.0, shape) + rng.normal(0, 2, shape)).astype(dtype)
