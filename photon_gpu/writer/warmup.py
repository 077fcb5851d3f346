"""Compile kernels before the time measurement of an encode starts."""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import NAMES, SORTABLE, Predictor
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.encode_resources import Resources

_NEEDED = {"fast": ("mean",), "balanced": ("mean", "past"), "small": ("mean", "past", "full", "moving")}


def warm_up(backend: Backend, encoding: Encoding, preset: str) -> float:
    """Load or compile the kernels of an encode; return the seconds taken, 0 if they are loaded already."""
    start = time.perf_counter()
    before = _warm.cache_info().misses
    names = _NEEDED.get(preset, NAMES) if encoding.layout == "compact" else ("none",)
    for name in names:
        _warm(backend.name, encoding.layout, encoding.dtype, encoding.phases, name)
    return time.perf_counter() - start if _warm.cache_info().misses > before else 0.0


@cache
def _warm(backend: str, layout: str, dtype: str, phases: int, predictor: str) -> None:
    from photon_gpu.engine.backend_choice import get_backend

    used = get_backend(backend)
    # A chunk of labels is encoded by one compiled call if it has several blocks, else by several calls.
    labels = layout == "plain" and used.gpu is None
    values = np.zeros((2, 64, 128) if labels else (2, 2, 2), dtype)
    encoding = Encoding(
        layout=layout,
        dtype=dtype,
        noise=NoiseModel(),
        predictor=Predictor(name=predictor),
        dither=0 if phases > 1 and layout != "lossless" else None,
    )
    variants = [encoding]
    if labels:
        variants.append(encoding.but(compressor=Compressor(blocksize=1 << 15)))
    if layout == "compact" and phases == 1 and values.dtype.kind in "iu":
        variants.append(encoding.but(exact=True))  # Tuning tries these too.
    if layout == "compact" and predictor in SORTABLE:
        variants += [
            encoding.but(predictor=Predictor(name=predictor, levels=2, coded=coded))
            for coded in (False, True)
        ]
    for variant in variants:
        layout_for(variant, used).encode(values, values.shape, Resources())
