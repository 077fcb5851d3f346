"""Compile the CUDA source on a device, check the arguments of kernels, and launch them."""

from __future__ import annotations

import functools
import importlib.resources
from typing import Any, NamedTuple

import cupy
import numpy as np

OPTIONS = ("--std=c++17", "--fmad=false")
"""Options for NVRTC. CuPy adds ``-ftz=true`` and the architecture."""

SOURCES = (
    "quantize.cu",
    "predictors.cu",
    "residuals.cu",
    "zstd_huffman.cu",
    "zstd_huffman_decode.cu",
    "crc32.cu",
)
"""Files that are joined to the CUDA source, in order."""

THREADS = 256
_BLOCKS_PER_PROCESSOR = 8


def source() -> str:
    """CUDA source: the files of :data:`SOURCES` joined."""
    folder = importlib.resources.files(__package__)
    return "".join(folder.joinpath(name).read_text("utf-8") for name in SOURCES)


@functools.cache
def _module(device: int) -> Any:
    with cupy.cuda.Device(device):
        return cupy.RawModule(code=source(), options=OPTIONS, backend="nvrtc")


@functools.cache
def _kernel(device: int, name: str) -> Any:
    return _module(device).get_function(name)


@functools.cache
def _most_blocks(device: int) -> int:
    return int(cupy.cuda.Device(device).attributes["MultiProcessorCount"]) * _BLOCKS_PER_PROCESSOR


def launch(name: str, work: int, frames: int, *arguments: Any) -> None:
    """Queue a kernel for ``work`` items per frame, with no more blocks than keep the device busy."""
    device = cupy.cuda.runtime.getDevice()
    most = _most_blocks(device)
    across = min(max(1, -(-work // THREADS)), most)
    along = min(max(1, frames), max(1, most // across))
    _kernel(device, name)((across, along), (THREADS,), arguments)


def letter(array: Any) -> str:
    """Type of an array as the names of kernels spell it, such as ``u16``."""
    return f"{array.dtype.kind}{8 * array.dtype.itemsize}"


def check(array: Any, name: str, *dtypes: str) -> None:
    """Raise TypeError or ValueError unless ``array`` is on the current device and has an allowed dtype."""
    if not isinstance(array, cupy.ndarray):
        raise TypeError(
            f"{name} is a {type(array).__module__}.{type(array).__name__}; a cupy.ndarray is needed"
        )
    here = cupy.cuda.runtime.getDevice()
    if array.device.id != here:
        raise ValueError(f"{name} lies on GPU {array.device.id}, and GPU {here} is the current device")
    if dtypes and array.dtype.name not in dtypes:
        raise TypeError(f"{name} is {array.dtype.name}; allowed are {', '.join(dtypes)}")


def strides_of(array: Any, name: str) -> tuple[int, int]:
    """Strides of ``(T, n)`` or ``(bands, T, n)`` in elements: from frame to frame, from band to band."""
    size, pixels = array.dtype.itemsize, array.shape[-1]
    if pixels > 1 and array.strides[-1] != size:
        raise ValueError(
            f"{name}: strides {array.strides} for shape {array.shape}; frames must be contiguous"
        )
    for count, stride in zip(array.shape[:-1], array.strides[:-1], strict=True):
        if count > 1 and (stride < 0 or stride % size):
            raise ValueError(f"{name}: strides {array.strides}; frames must follow each other")
    frame = array.strides[-2] // size if array.shape[-2] > 1 else pixels
    return frame, array.strides[0] // size if array.ndim > 2 and array.shape[0] > 1 else 0


def contiguous(array: Any, name: str) -> None:
    """Raise ValueError unless the array is C-contiguous."""
    if not array.flags.c_contiguous:
        raise ValueError(f"{name}: strides {array.strides} for shape {array.shape}; it must be contiguous")


def same_shape(one: Any, other: Any) -> None:
    """Raise ValueError unless two arrays have the same shape."""
    if one.shape != other.shape:
        raise ValueError(f"shapes {one.shape} and {other.shape} differ")


def u32(number: int) -> np.uint32:
    """Number modulo 2**32."""
    return np.uint32(int(number) & 0xFFFFFFFF)


class Rows(NamedTuple):
    """Rows of pixels that a kernel walks: the frames of each band in turn."""

    frames: int
    pixels: int
    input: tuple[Any, ...]
    """Arguments after the input: its strides, frames per band, frames in all, pixels."""
    out: tuple[Any, ...]
    """Arguments after the output: its strides."""


def rows_of(one: Any, other: Any, *strides: int) -> Rows:
    """Strides and counts of two arrays ``(T, n)`` or ``(bands, T, n)``; one long row where frames touch.

    ``strides`` are steps of the sample index from frame to frame, for kernels that number samples.
    """
    same_shape(one, other)
    (a, a_band), (b, b_band) = strides_of(one, "input"), strides_of(other, "out")
    bands, per, pixels = (1, *one.shape) if one.ndim == 2 else one.shape
    if bands == 1 and all(stride == pixels for stride in (a, b, *strides)):
        per, pixels = 1, per * pixels
    input_args = (np.uint64(a), np.uint64(a_band), np.uint32(per), np.uint32(bands * per), np.uint64(pixels))
    return Rows(bands * per, pixels, input_args, (np.uint64(b), np.uint64(b_band)))
