"""Encode labels to Blosc frames in one call, without Python's lock; labels exist a few thousand at a time.

Blosc sorts the bytes of a block's labels into eight planes: all first bytes, all second bytes, and so on.
Most planes repeat one byte. A stream holds each plane, so a plane with noise gets codes that fit it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu import quantize_lut, quantize_lut_phased
from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.plain_layout.byte_streams import (
    FrameSettings,
    most_stream_bytes,
    write_constant,
    write_huffman,
    write_shorter,
    write_zstd,
    zstd_saves,
)
from photon_gpu.kernels.plain_layout.frame_words import HEADER_BYTES, put32

_RUN = 2048  # labels that are made at a time, so that they stay in the cache
_FLAGS = 0x81  # zstd; bytes shuffled; a stream for each plane
_BYTE = np.uint64(255)


class LabelTables(NamedTuple):
    """Bit pattern of the label of every value by its own, ``(phases, 2**bits)``; seed of the phases.

    The table is empty where the samples are labels already.
    """

    labels: NDArray[np.uint64]
    seed: int


@jit
def most_frame_bytes(count: int, size: int) -> int:
    """Most bytes of a frame of ``count`` labels in blocks of ``size`` bytes, also while it is written."""
    return HEADER_BYTES + -(-8 * count // size) * (4 + 8 * most_stream_bytes(size >> 3))


@jit
def _write_labels(patterns: NDArray, tables: LabelTables, begin: int, labels: NDArray[np.uint64]) -> None:
    """Write the labels of the samples from ``begin`` on; those beyond the values are 0."""
    there = max(min(begin + labels.size, patterns.size) - begin, 0)
    if not tables.labels.size:
        labels[:there] = patterns[begin : begin + there]
    elif there:
        values, out = patterns[begin : begin + there].reshape(1, there), labels[:there].reshape(1, there)
        if tables.labels.shape[0] > 1:
            quantize_lut_phased(values, tables.labels, tables.seed, begin, 0, out)
        else:
            quantize_lut(values, tables.labels[0], out)
    labels[there:] = 0


@jit
def _split_bytes(labels: NDArray[np.uint64], start: int, planes: NDArray[np.uint8], bits: Any) -> Any:
    """Write the bytes of labels to ``planes (8, n)``, from column ``start`` on.

    Returns the bits that any label has, and those that all have, with ``bits`` of the labels before.
    """
    some, every = np.uint64(0), ~np.uint64(0)
    for i in range(labels.size):
        some |= labels[i]
        every &= labels[i]
    for number in range(8):
        shift, to = np.uint64(8 * number), planes[number, start : start + labels.size]
        if (some ^ every) >> shift & _BYTE:
            for i in range(labels.size):
                to[i] = labels[i] >> shift & _BYTE
        else:
            to[:] = some >> shift & _BYTE
    return some | bits[0], every & bits[1]


@jit
def _write_block(
    planes: NDArray[np.uint8],
    bits: Any,
    settings: FrameSettings,
    part: NDArray[np.uint8],
    out: NDArray[np.uint8],
    at: int,
) -> int:
    """Write the streams of a block; return the position after them.

    The last block of a frame has one stream if it is shorter than the others.
    """
    if planes.size < settings.size:
        return write_shorter(planes.reshape(-1), settings, part, out, at)
    differ = bits[0] ^ bits[1]
    for number in range(8):
        shift = np.uint64(8 * number)
        if not differ >> shift & _BYTE:
            at = write_constant(bits[0] >> shift & _BYTE, planes.shape[1], out, at)
        elif settings.by_zstd >> number & 1:
            at = write_zstd(planes[number], settings, part, out, at)
        else:
            at = write_huffman(planes[number], out, at)
    return at


@jit
def _write_header(nbytes: int, total: int, settings: FrameSettings, out: NDArray[np.uint8]) -> None:
    out[0], out[1], out[2], out[3] = 2, 1, _FLAGS, 8
    put32(out, 4, nbytes)
    put32(out, 8, settings.size)
    put32(out, 12, total)


@jit
def encode_blocks(
    patterns: NDArray,
    tables: LabelTables,
    begin: int,
    stop: int,
    settings: FrameSettings,
    work: Any,
    out: NDArray[np.uint8],
) -> int:
    """Write a Blosc frame of the labels of samples ``begin:stop``; return its bytes, 0 if it might not fit.

    ``patterns`` are the bit patterns of the values. ``work`` is memory for the bytes of a block, and for a
    frame of them. ``out`` is long enough with :func:`most_frame_bytes`.
    """
    memory, part = work
    per_block, run = settings.size >> 3, np.empty(_RUN, np.uint64)
    count = (stop - begin + per_block - 1) // per_block
    at = HEADER_BYTES + 4 * count
    for number in range(count):
        first = begin + number * per_block
        size = min(per_block, stop - first)
        planes, bits = memory[: 8 * size].reshape(8, size), (np.uint64(0), ~np.uint64(0))
        for start in range(0, size, _RUN):
            labels = run[: min(_RUN, size - start)]
            _write_labels(patterns, tables, first + start, labels)
            bits = _split_bytes(labels, start, planes, bits)
        if at + 8 * most_stream_bytes(per_block) > out.size:
            return 0
        put32(out, HEADER_BYTES + 4 * number, at)
        at = _write_block(planes, bits, settings, part, out, at)
    _write_header(8 * (stop - begin), at, settings, out)
    return at


@jit
def try_planes(
    labels: NDArray[np.uint64],
    settings: FrameSettings,
    work: Any,
    out: NDArray[np.uint8],
    saved: NDArray[np.int64],
) -> None:
    """Add to ``saved`` how many bytes shorter each plane of a block is if zstd compresses it."""
    memory, part = work
    planes, bits = memory[: 8 * labels.size].reshape(8, labels.size), (np.uint64(0), ~np.uint64(0))
    for start in range(0, labels.size, _RUN):
        bits = _split_bytes(labels[start : start + _RUN], start, planes, bits)
    for number in range(8):
        if (bits[0] ^ bits[1]) >> np.uint64(8 * number) & _BYTE:
            saved[number] += zstd_saves(planes[number], settings, part, out)
