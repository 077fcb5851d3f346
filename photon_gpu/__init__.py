"""photon_gpu: compression for photon-limited movies.

>>> import numpy as np, photon_gpu as pg
>>> movie = np.random.default_rng(0).poisson(20, (30, 16, 16)).astype("uint16")
>>> report = pg.encode(movie, "memory://hello.zarr", noise=pg.NoiseModel(gain=1.0), overwrite=True)
>>> pg.open("memory://hello.zarr").counts[10:12].shape
(2, 16, 16)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Compressor": "photon_gpu.engine.codec.blosc",
    "EncodeReport": "photon_gpu.writer.report",
    "FidelityWarning": "photon_gpu.errors",
    "LiveWriter": "photon_gpu.live.writer",
    "Movie": "photon_gpu.reader.movie",
    "NoiseEstimate": "photon_gpu.estimate",
    "NoiseModel": "photon_gpu.engine.model.noise",
    "PhotonError": "photon_gpu.errors",
    "PhotonWarning": "photon_gpu.errors",
    "Predictor": "photon_gpu.engine.codec.predictors",
    "Simulation": "photon_gpu.sources.simulated.parameters",
    "Storage": "photon_gpu.store.storage",
    "anscombe": "photon_gpu.engine.model.anscombe",
    "encode": "photon_gpu.writer.encode",
    "encode_many": "photon_gpu.cluster.encode_many",
    "fidelity": "photon_gpu.check.fidelity.fidelity",
    "estimate_noise": "photon_gpu.estimate",
    "inverse_anscombe": "photon_gpu.engine.model.anscombe",
    "inverse_anscombe_unbiased": "photon_gpu.engine.model.anscombe",
    "movie": "photon_gpu.writer.insertion",
    "open": "photon_gpu.reader.open",
    "open_source": "photon_gpu.sources.open",
    "recover": "photon_gpu.live.recovery.recover",
    "repair": "photon_gpu.check.integrity.repair",
    "simulate": "photon_gpu.sources.simulated.movie",
    "verify": "photon_gpu.check.integrity.verify",
}

__all__ = [*_HOMES]

if TYPE_CHECKING:
    from photon_gpu.check.fidelity.fidelity import fidelity as fidelity
    from photon_gpu.check.integrity.repair import repair as repair
    from photon_gpu.check.integrity.verify import verify as verify
    from photon_gpu.cluster.encode_many import encode_many as encode_many
    from photon_gpu.engine.codec.blosc import Compressor as Compressor
    from photon_gpu.engine.codec.predictors import Predictor as Predictor
    from photon_gpu.engine.model.anscombe import anscombe as anscombe
    from photon_gpu.engine.model.anscombe import inverse_anscombe as inverse_anscombe
    from photon_gpu.engine.model.anscombe import inverse_anscombe_unbiased as inverse_anscombe_unbiased
    from photon_gpu.engine.model.noise import NoiseModel as NoiseModel
    from photon_gpu.errors import FidelityWarning as FidelityWarning
    from photon_gpu.errors import PhotonError as PhotonError
    from photon_gpu.errors import PhotonWarning as PhotonWarning
    from photon_gpu.estimate import NoiseEstimate as NoiseEstimate
    from photon_gpu.estimate import estimate_noise as estimate_noise
    from photon_gpu.live.recovery.recover import recover as recover
    from photon_gpu.live.writer import LiveWriter as LiveWriter
    from photon_gpu.reader.movie import Movie as Movie
    from photon_gpu.reader.open import open as open
    from photon_gpu.sources.open import open_source as open_source
    from photon_gpu.sources.simulated.movie import simulate as simulate
    from photon_gpu.sources.simulated.parameters import Simulation as Simulation
    from photon_gpu.store.storage import Storage as Storage
    from photon_gpu.writer.encode import encode as encode
    from photon_gpu.writer.insertion import movie as movie
    from photon_gpu.writer.report import EncodeReport as EncodeReport


def __getattr__(name: str) -> Any:
    """Public names load their module when they are first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'photon_gpu' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
