"""Movies of many dtypes, and their chunks encoded by a backend."""

from __future__ import annotations

import numpy as np

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec import chunk as coder
from photon_gpu.engine.codec.predictors import NAMES, Predictor
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.stopwatch import Stages

NUMBA, NUMPY = get_backend("numba"), get_backend("numpy")


CAMERA = NoiseModel(gain=2.0, offset=100.0, variance=4.0)


DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


MADE = {name: Predictor(name=name) for name in NAMES}


def movie(dtype, shape, seed=0, photons=20.0):
    rng = np.random.default_rng(seed)
    values = 100 + 2 * rng.poisson(photons, shape) + rng.normal(0, 2, shape)
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    info = np.iinfo(dtype)
    return np.clip(np.rint(values), info.min, info.max).astype(dtype)


def encoded(values, encoding, chunk=None, backend=NUMBA, **options):
    return coder.encode(values, chunk or values.shape, encoding, backend, stages=Stages(), **options)
