"""Which kernels run: one dispatcher over the twins in :mod:`photon_gpu.kernels`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from photon_gpu.errors import BackendUnavailableError, InvalidInputError

NAMES = ("auto", "numba", "cupy", "numpy")


@dataclass(frozen=True)
class Backend:
    """Kernels, their name, and why they were chosen."""

    name: str
    kernels: ModuleType
    why: str


@cache
def get_backend(name: str = "auto") -> Backend:
    """The backend ``name``.

    ``"numba"`` runs compiled kernels on the CPU, ``"cupy"`` on a CUDA device, ``"numpy"``
    the slow reference. ``"auto"`` takes the fastest that is usable here and says which in ``why``.

    Raises
    ------
    BackendUnavailableError
        A backend was named that cannot run here; the message says what to install.
    """
    if name not in NAMES:
        raise InvalidInputError(f"backend is {name!r}; allowed are {', '.join(NAMES)}")
    if name == "cupy":
        raise BackendUnavailableError(
            "backend 'cupy' is not part of this release yet; use backend='numba' (or 'auto')"
        )
    if name == "numpy":
        return Backend(name, importlib.import_module("photon_gpu.kernels.reference"), "asked for by name")
    try:
        kernels = importlib.import_module("photon_gpu.kernels.cpu")
    except ImportError as error:
        if name == "numba":
            raise BackendUnavailableError(
                f"backend 'numba' cannot be loaded ({error}); install it with: pip install numba"
            ) from error
        reference = importlib.import_module("photon_gpu.kernels.reference")
        return Backend("numpy", reference, f"numba cannot be loaded ({error}): slow reference kernels")
    return Backend("numba", kernels, "asked for by name" if name == "numba" else "no usable CUDA device")
