"""Encode values to Blosc frames of their labels in one call, without Python's lock."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu import quantize_lut, quantize_lut_phased
from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.plain_layout.blosc_calls import blosc_compress
from photon_gpu.kernels.plain_layout.frame_words import HEADER_BYTES, get32, put32

_MEMCPYED = 0x02


class FrameSettings(NamedTuple):
    """Settings of Blosc frames.

    Attributes
    ----------
    compress : int
        Address of Blosc's function ``blosc_compress_ctx``.
    name : (n,) uint8 array
        Name of the compressor, with a zero at its end.
    level, shuffle, size : int
        Level, shuffle, and bytes per block.
    """

    compress: int
    name: NDArray[np.uint8]
    level: int
    shuffle: int
    size: int


class LabelTables(NamedTuple):
    """Labels of every value by its bit pattern, ``(phases, 2**bits)``, and the seed of the phases."""

    labels: NDArray[np.float64]
    seed: int


@jit
def _write_labels(
    patterns: NDArray, tables: LabelTables, begin: int, stop: int, labels: NDArray[np.float64]
) -> None:
    """Write the labels of samples ``begin:stop``; those beyond the values are 0."""
    there = max(min(stop, patterns.size) - begin, 0)
    if there:
        values = patterns[begin : begin + there].reshape(1, there)
        out = labels[:there].reshape(1, there)
        if tables.labels.shape[0] > 1:
            quantize_lut_phased(values, tables.labels, tables.seed, begin, 0, out)
        else:
            quantize_lut(values, tables.labels[0], out)
    labels[there : stop - begin] = 0.0


@jit
def encode_label_blocks(
    patterns: NDArray,
    tables: LabelTables,
    edges: NDArray[np.int64],
    settings: FrameSettings,
    work: Any,
    out: NDArray[np.uint8],
) -> int:
    """Write a Blosc frame of the labels of samples ``edges[0]:edges[-1]``; return its bytes, 0 if impossible.

    Blosc compresses the samples between two edges by one call. All edges but the last one are ends of
    blocks. It is impossible if blocks of a call are stored as they are or have another size, and if ``out``
    has no room.

    ``work`` is memory for the labels of a call, and for their frame.
    """
    labels, part = work
    nbytes, size = 8 * (edges[-1] - edges[0]), settings.size
    at, number, flags = HEADER_BYTES + 4 * (-(-nbytes // size)), 0, np.uint8(0)
    for i in range(edges.size - 1):
        begin, stop = edges[i], edges[i + 1]
        _write_labels(patterns, tables, begin, stop, labels)
        how = (settings.level, settings.shuffle, np.int64(8), size)
        length = blosc_compress(settings.compress, how, labels, 8 * (stop - begin), part, settings.name)
        if length <= 0:
            return 0
        flags = part[2] if i == 0 else flags
        blocks = -(-8 * (stop - begin) // size)
        head = HEADER_BYTES + 4 * blocks
        if part[2] != flags or flags & _MEMCPYED or get32(part, 8) != size or at + length - head > out.size:
            return 0
        for block in range(blocks):
            start = get32(part, HEADER_BYTES + 4 * block)
            put32(out, HEADER_BYTES + 4 * number, start + at - head)
            number += 1
        out[at : at + length - head] = part[head:length]
        at += length - head
    for i in range(4):
        out[i] = part[i]
    put32(out, 4, nbytes)
    put32(out, 8, size)
    put32(out, 12, at)
    return at
