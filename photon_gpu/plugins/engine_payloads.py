"""Encode chunks to payloads and decode them by the engine's kernels, which need Numba."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec import chunk
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import unpack
from photon_gpu.engine.codec.requested_part import ChunkPart
from photon_gpu.engine.layouts.compact import Compact
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.encode_resources import Resources


def encode(values: NDArray, encoding: Encoding) -> NDArray[np.uint8]:
    """Encode a chunk to its payload."""
    layout = layout_for(encoding, get_backend())
    assert isinstance(layout, Compact)
    return layout.payload(values, values.shape, Resources())


def shape_of(payload: NDArray[np.uint8]) -> tuple[int, ...]:
    """Shape of the chunk of a payload of one channel."""
    return unpack(payload)[0].shape


def decode(payload: NDArray[np.uint8], shape: tuple[int, ...], encoding: Encoding) -> NDArray:
    """Decode all samples of a payload of one channel."""
    return chunk.decode(payload, ChunkPart(shape), encoding, get_backend(), what=np.dtype(encoding.dtype))
