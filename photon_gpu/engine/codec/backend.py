"""The class Backend: the CPU or GPU kernels that encode and decode chunks (see engine/backend_choice)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.requested_part import ChunkPart, Values
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import missing_package


class GpuCoder(Protocol):
    """Interface of the GPUs of a backend; :class:`photon_gpu.engine.gpu.coder.Gpu` implements it.

    The rest of the engine uses GPUs through this protocol only, so that it imports no CUDA code.
    """

    lanes: list[Any]

    @property
    def chunks_in_flight(self) -> int:
        """Number of chunks that the devices process at once."""

    def encode(
        self, values: Any, chunk: tuple[int, ...], encoding: Encoding, *, first_frame: int = 0, stages: Stages
    ) -> NDArray[np.uint8]:
        """Encode a chunk to its payload."""

    def encode_frame(
        self,
        values: Any,
        chunk: tuple[int, ...],
        encoding: Encoding,
        resources: Resources,
        *,
        first_frame: int = 0,
    ) -> bytes:
        """Encode a chunk to the Blosc frame of its payload."""

    def codes(
        self, values: Any, encoding: Encoding, *, first_frame: int = 0, stages: Stages
    ) -> tuple[NDArray, int]:
        """Codes of a chunk in C order, and their base."""

    def decode(
        self,
        payload: NDArray[np.uint8],
        part: ChunkPart,
        encoding: Encoding,
        *,
        what: Values = ...,
        device: int | None = None,
        out: NDArray | None = None,
    ) -> Any:
        """Decode all rows of the frames of a part of a payload."""

    def decode_frame(
        self,
        frame: bytes,
        part: ChunkPart,
        encoding: Encoding,
        *,
        what: Values = ...,
        device: int | None = None,
        out: NDArray | None = None,
    ) -> Any | None:
        """Decode the Blosc frame of a payload on a device; None if the CPU must open it."""

    def counts_from_labels(
        self, labels: NDArray[np.float64], start: int, encoding: Encoding, what: Values, device: int
    ) -> Any:
        """Decode the labels of layout plain on a device."""

    def upload(self, values: NDArray, device: int) -> Any:
        """Copy a host array to a device."""

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Allocate an array on the first device."""

    def copy_frames(self, out: Any, where: NDArray[np.int64], source: Any, inside: NDArray[np.int64]) -> None:
        """Copy frames between arrays of the first device."""

    def sample(self, values: Any, encoding: Encoding, *, first_frame: int = 0) -> NDArray:
        """Host values with the same codes as a few frames on a device."""


def _unchanged(table: Any) -> Any:
    return table


@dataclass(frozen=True)
class Backend:
    """Kernels, their name, and the reason they were chosen.

    ``upload`` copies a table to the memory that the kernels read. ``gpu``, if not None, processes whole
    chunks; ``kernels`` are then the CPU kernels, for work that suits the CPU better.
    """

    name: str
    kernels: ModuleType
    why: str
    upload: Callable[[Any], Any] = _unchanged
    gpu: GpuCoder | None = None


def cpu_backend(name: str = "auto") -> Backend:
    """Return a backend of the CPU.

    Parameters
    ----------
    name : {"auto", "numba", "numpy"}
        ``"auto"`` is ``"numba"``; ``"numpy"`` is the slow reference.

    Raises
    ------
    BackendUnavailableError
        Numba cannot be loaded; the message says what to install.
    """
    return _loaded(name)


@cache
def _loaded(name: str) -> Backend:
    if name == "numpy":
        return Backend(name, importlib.import_module("photon_gpu.kernels.reference"), "requested by name")
    try:
        kernels = importlib.import_module("photon_gpu.kernels.cpu")
    except ImportError as error:
        raise missing_package(error) from error
    if name == "numba":
        return Backend("numba", kernels, "requested by name")
    # Do not import CuPy here: it takes a second and would not change the choice.
    why = "frames are in host memory, where Blosc on the CPU limits the speed; backend='cupy' uses a GPU"
    return Backend("numba", kernels, why)
