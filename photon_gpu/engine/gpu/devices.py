"""Load CuPy and find the CUDA devices that can be used."""

from __future__ import annotations

import importlib
from typing import Any

from photon_gpu.errors import BackendUnavailableError, InvalidInputError

_INSTALL = "pip install 'photon-gpu[cu12]' for a driver of CUDA 12, 'photon-gpu[cu13]' for one of CUDA 13"


def load_cupy() -> Any:
    """Import ``cupy``.

    Raises
    ------
    BackendUnavailableError
        CuPy is not installed, or does not match the CUDA of this machine.
    """
    try:
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise BackendUnavailableError(
                f"CuPy is installed but incomplete ({error}); {_INSTALL}"
            ) from error
        raise BackendUnavailableError(
            f"backend 'cupy' needs CuPy, which is not installed; {_INSTALL}"
        ) from error
    except Exception as error:  # CuPy passes on any exception of its libraries
        raise BackendUnavailableError(
            f"CuPy cannot be loaded ({type(error).__name__}: {error}); it must match the machine's CUDA, "
            f"and only one cupy package may be installed: {_INSTALL}"
        ) from error


def device_count() -> int:
    """Number of CUDA devices, at least one.

    Raises
    ------
    BackendUnavailableError
        There is no driver, the driver is too old for this CuPy, or there is no device.
    """
    cupy = load_cupy()
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:  # CUDARuntimeError, or an ImportError of a library CuPy loads late
        text = str(error)
        if "InsufficientDriver" in text:
            cure = f"the CUDA driver is missing, or older than CuPy's CUDA: update it, or {_INSTALL}"
        else:
            cure = "is a CUDA device present, its driver loaded, and CUDA_VISIBLE_DEVICES right?"
        raise BackendUnavailableError(f"no CUDA device can be used ({text}); {cure}") from error
    if count < 1:
        raise BackendUnavailableError("no CUDA device is visible; is CUDA_VISIBLE_DEVICES empty?")
    return count


def chosen_devices(name: str) -> tuple[int, ...]:
    """Numbers of the devices in a backend's name: all for ``"cupy"``, 0 and 2 for ``"cupy:0,2"``."""
    _, _, listed = name.partition(":")
    count = device_count()
    if not listed:
        return tuple(range(count))
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in listed.split(",")))
    except ValueError:
        raise InvalidInputError(
            f"backend is {name!r}; write the numbers of GPUs as in 'cupy:0' or 'cupy:0,2'"
        ) from None
    for number in numbers:
        if not 0 <= number < count:
            raise InvalidInputError(
                f"backend is {name!r}; GPU {number} is out of range, this machine has 0 to {count - 1}"
            )
    return numbers
