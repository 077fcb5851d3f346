"""The backend dispatcher: choose CPU or GPU kernels by name, or by where the frames lie."""

from __future__ import annotations

from functools import cache

from photon_gpu.engine.codec.backend import Backend, cpu_backend
from photon_gpu.errors import InvalidInputError

NAMES = ("auto", "numba", "cupy", "numpy")


def get_backend(name: str = "auto", *, on_gpu: bool = False) -> Backend:
    """Return the backend ``name``.

    ``"numba"`` runs compiled kernels on the CPU, ``"cupy"`` on all CUDA devices (``"cupy:0,2"``: on
    those), ``"numpy"`` the slow reference. ``"auto"`` takes what suits and says in ``why``: a GPU
    where frames lie there, or are wanted there (``on_gpu``), else the CPU.

    Raises
    ------
    BackendUnavailableError
        A backend was named that cannot run here; the message says what to install.
    """
    check_backend_name(name)
    if on_gpu and name in ("numba", "numpy"):
        raise InvalidInputError(
            f"backend {name!r} works on frames in host memory, and frames on a GPU were given or asked for; "
            "use backend='cupy' (or 'auto'), or bring frames down yourself with frames.get()"
        )
    if name == "auto" and on_gpu:
        return _gpu_backend("cupy", "frames lie, or are wanted, on a GPU")
    if name.startswith("cupy"):
        return _gpu_backend(name, "asked for by name")
    return cpu_backend(name)


def check_backend_name(name: object) -> None:
    """InvalidInputError unless a backend has this name; whether it can run here is not asked."""
    if not isinstance(name, str) or (name not in NAMES and not name.startswith("cupy:")):
        raise InvalidInputError(
            f"backend is {name!r}; allowed are {', '.join(NAMES)}, and 'cupy:0,1' for some GPUs"
        )


@cache
def _gpu_backend(name: str, why: str) -> Backend:
    from photon_gpu.engine.gpu.coder import Gpu

    return Backend(name, cpu_backend().kernels, why, gpu=Gpu(name, why))
