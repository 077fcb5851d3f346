"""Which kernels run: one dispatcher over the twins in :mod:`photon_gpu.kernels`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from photon_gpu.errors import BackendUnavailableError, InvalidInputError

if TYPE_CHECKING:
    from photon_gpu.engine.gpu.coder import Gpu

NAMES = ("auto", "numba", "cupy", "numpy")


def _as_it_is(table: Any) -> Any:
    return table


@dataclass(frozen=True)
class Backend:
    """Kernels, their name, and why they were chosen.

    ``place`` brings a table to where the kernels read it. ``gpu``, where there is one, takes whole
    chunks; ``kernels`` are then those of the CPU, for what is better done there.
    """

    name: str
    kernels: ModuleType
    why: str
    place: Callable[[Any], Any] = _as_it_is
    gpu: Gpu | None = None


def get_backend(name: str = "auto", *, on_gpu: bool = False) -> Backend:
    """The backend ``name``.

    ``"numba"`` runs compiled kernels on the CPU, ``"cupy"`` on all CUDA devices (``"cupy:0,2"``: on
    those), ``"numpy"`` the slow reference. ``"auto"`` takes what suits and says in ``why``: a GPU
    where frames lie there, or are wanted there (``on_gpu``), else the CPU.

    Raises
    ------
    BackendUnavailableError
        A backend was named that cannot run here; the message says what to install.
    """
    if name not in NAMES and not (isinstance(name, str) and name.startswith("cupy:")):
        raise InvalidInputError(
            f"backend is {name!r}; allowed are {', '.join(NAMES)}, and 'cupy:0,1' for some GPUs"
        )
    if on_gpu and name in ("numba", "numpy"):
        raise InvalidInputError(
            f"backend {name!r} works on frames in host memory, and frames on a GPU were given or asked for; "
            "use backend='cupy' (or 'auto'), or bring frames down yourself with frames.get()"
        )
    if name == "auto" and on_gpu:
        return _cupy("cupy", "frames lie, or are wanted, on a GPU")
    if name.startswith("cupy"):
        return _cupy(name, "asked for by name")
    return _on_cpu(name)


@cache
def _cupy(name: str, why: str) -> Backend:
    gpu = importlib.import_module("photon_gpu.engine.gpu.coder").Gpu(name, why)
    return Backend(name, _on_cpu("auto").kernels, why, gpu=gpu)


@cache
def _on_cpu(name: str) -> Backend:
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
    if name == "numba":
        return Backend("numba", kernels, "asked for by name")
    # No device is looked for here: importing CuPy takes a second, and the answer would be the same.
    why = "frames are in host memory, where Blosc on the CPU sets the pace; backend='cupy' takes a GPU"
    return Backend("numba", kernels, why)
