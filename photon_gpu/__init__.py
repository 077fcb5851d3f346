"""photon_gpu: compression for photon-limited movies.

>>> import numpy as np, photon_gpu as pg
>>> movie = np.random.default_rng(0).poisson(20, (30, 16, 16)).astype("uint16")
>>> report = pg.encode(movie, "memory://hello.zarr", noise=pg.NoiseModel(gain=1.0), overwrite=True)
>>> pg.open("memory://hello.zarr").counts[10:12].shape
(2, 16, 16)
"""

from typing import Any

import lazy_loader

__version__ = "0.1.0"

# Public names are listed in __init__.pyi; each loads its module when it is first used.
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Load the module of a public name; if it needs a package that is missing, say what to install."""
    try:
        return _load(name)
    except ImportError as error:
        from photon_gpu.errors import missing_package

        raise missing_package(error) from error
