"""Decode the Blosc blocks of a chunk of labels to samples in one call, without Python's lock."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu import dequantize_phased
from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.plain_layout.blosc_blocks import FrameBlocks
from photon_gpu.kernels.plain_layout.blosc_calls import blosc_decompress
from photon_gpu.kernels.plain_layout.frame_words import HEADER_BYTES, put32

_RUN = 2048  # labels that are converted at a time, so that their numbers stay in the cache


class LabelTable(NamedTuple):
    """Samples of labels ``grid*(first + i)``, one row of ``samples (rows, n)`` or one for each dither phase.

    ``valid[i]`` is 0 if no code has that label. Samples are bit patterns.
    """

    grid: float
    first: int
    valid: NDArray[np.uint8]
    samples: NDArray
    seed: int


@jit
def _open_blocks(
    frame: FrameBlocks, first: int, last: int, part: NDArray[np.uint8], labels: NDArray[np.float64]
) -> bool:
    """Decompress blocks ``first:last`` to ``labels`` as a frame of their own; return whether that worked."""
    at = HEADER_BYTES + 4 * (last - first)
    for i in range(4):
        part[i] = frame.data[i]
    for number in range(first, last):
        size = frame.ends[number] - frame.starts[number]
        put32(part, HEADER_BYTES + 4 * (number - first), at)
        part[at : at + size] = frame.data[frame.starts[number] : frame.ends[number]]
        at += size
    nbytes = min(last * frame.size, frame.nbytes) - first * frame.size
    put32(part, 4, nbytes)
    put32(part, 8, frame.size)
    put32(part, 12, at)
    return blosc_decompress(frame.decompress, part, labels, nbytes) == nbytes


@jit
def _number_labels(labels: NDArray[np.float64], table: LabelTable, numbers: NDArray[np.int32]) -> Any:
    """Write the number of each label in the table to ``numbers``; return how many are not in it."""
    per_grid, first, count, strange = 1.0 / table.grid, float(table.first), float(table.valid.size), 0
    for i in range(labels.size):
        # A product is faster than a quotient; the comparison below rejects a wrong k.
        k = np.rint(labels[i] * per_grid)
        inside = k - first >= 0.0 and k - first < count and k * table.grid == labels[i]
        numbers[i] = np.int32(k - first) if inside else np.int32(0)
        strange += not inside
    return strange


class WantedSamples(NamedTuple):
    """Samples ``first:last`` of a chunk; of each frame of ``pixels``, only ``top`` to ``bottom``."""

    first: int
    last: int
    pixels: int
    top: int
    bottom: int


@jit
def _decode_labels(
    labels: NDArray[np.float64], start: int, table: LabelTable, numbers: NDArray[np.int32], to: NDArray
) -> int:
    """Decode labels, the first of which is sample ``start``; return how many are not in the table."""
    strange = _number_labels(labels, table, numbers[0])
    if table.samples.shape[0] > 1:
        shape = (1, labels.size)
        dequantize_phased(numbers[:, : labels.size], table.samples, table.seed, start, 0, to.reshape(shape))
    else:
        for i in range(labels.size):
            to[i] = table.samples[0, numbers[0, i]]
    for i in range(labels.size):
        strange += 1 - table.valid[numbers[0, i]]
    return strange


@jit
def decode_label_blocks(
    frame: FrameBlocks,
    blocks: Any,
    wanted: WantedSamples,
    table: LabelTable,
    work: Any,
    out: NDArray,
) -> int:
    """Decode blocks ``blocks[0]:blocks[1]`` of a frame; return the block after the last one that was decoded.

    ``out`` begins with sample ``wanted.first``; samples that are not wanted are left as they are. A block
    is not decoded if Blosc does not open it, or if one of its wanted labels is not in the table. The last
    block is decoded with the one before it, since Blosc refuses a frame that is smaller than its block size.

    ``work`` is memory for a frame of two blocks, and for their labels.
    """
    part, labels = work
    numbers = np.empty((1, _RUN), np.int32)
    count, per_block, block = frame.starts.size, frame.size >> 3, blocks[0]
    while block < blocks[1]:
        end = count if block + 2 == count else block + 1
        begin = block * per_block
        size = min(end * frame.size, frame.nbytes) // 8 - begin
        first, last = max(wanted.first, begin), min(wanted.last, begin + size)
        opened, strange = False, 0
        for number in range(first // wanted.pixels, -(-last // wanted.pixels)):
            low = max(number * wanted.pixels + wanted.top, first)
            high = min(number * wanted.pixels + wanted.bottom, last)
            if low < high and not opened:
                opened = True
                if not _open_blocks(frame, block, end, part, labels[:size]):
                    return block
            for start in range(low, high, _RUN):
                stop = min(start + _RUN, high)
                to = out[start - wanted.first : stop - wanted.first]
                strange += _decode_labels(labels[start - begin : stop - begin], start, table, numbers, to)
        if strange:
            return block
        block = end
    return block
