"""Choose the backend, CPU or GPU, by its name or by the memory that holds the frames."""

from __future__ import annotations

from functools import cache

from photon_gpu.engine.codec.backend import Backend, cpu_backend
from photon_gpu.errors import InvalidInputError

NAMES = ("auto", "numba", "cupy", "numpy")


def get_backend(name: str = "auto", *, on_gpu: bool = False) -> Backend:
    """Return the backend ``name``.

    Parameters
    ----------
    name : str
        ``"numba"``: compiled kernels on the CPU. ``"cupy"``: all CUDA devices; ``"cupy:0,2"``: devices 0
        and 2. ``"numpy"``: the slow reference on the CPU. ``"auto"``: a GPU if ``on_gpu``, else the CPU;
        ``why`` of the backend gives the reason.
    on_gpu : bool
        Whether frames come from a GPU or must be returned there.

    Raises
    ------
    InvalidInputError
        ``name`` is none of these, or names a CPU backend although ``on_gpu``.
    BackendUnavailableError
        The named backend cannot run here; the message says what to install.
    """
    check_backend_name(name)
    if on_gpu and name in ("numba", "numpy"):
        raise InvalidInputError(
            f"backend {name!r} works on frames in host memory, but the frames come from a GPU or are "
            "requested there; use backend='cupy' (or 'auto'), or copy the frames to host memory with "
            "frames.get()"
        )
    if name == "auto" and on_gpu:
        return _gpu_backend("cupy", "frames are on a GPU, or are requested there")
    if name.startswith("cupy"):
        return _gpu_backend(name, "requested by name")
    return cpu_backend(name)


def check_backend_name(name: object) -> None:
    """Raise InvalidInputError unless a backend has this name; this does not check that it can run here."""
    if not isinstance(name, str) or (name not in NAMES and not name.startswith("cupy:")):
        raise InvalidInputError(
            f"backend is {name!r}; allowed are {', '.join(NAMES)}, and 'cupy:0,1' for some GPUs"
        )


@cache
def _gpu_backend(name: str, why: str) -> Backend:
    from photon_gpu.engine.gpu.coder import Gpu

    return Backend(name, cpu_backend().kernels, why, gpu=Gpu(name, why))
