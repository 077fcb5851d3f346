"""Decode the Blosc blocks of a chunk of labels to samples in one call, without Python's lock."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu import dequantize_phased
from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.plain_layout.blosc_blocks import FrameBlocks
from photon_gpu.kernels.plain_layout.blosc_calls import blosc_decompress
from photon_gpu.kernels.plain_layout.byte_streams import constant_of, read_stream
from photon_gpu.kernels.plain_layout.frame_words import HEADER_BYTES, get32, put32

_RUN = 2048  # labels that are converted at a time, so that their numbers stay in the cache
_PLANES = 0x81  # flags of frames with a stream for each plane of bytes: zstd, shuffled


class LabelTable(NamedTuple):
    """Samples of labels ``grid*(first + i)``, one row of ``samples (rows, n)`` or one for each dither phase.

    ``valid[i]`` is 0 if no code has that label; empty if all are valid. Samples are bit patterns.
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
def _open_planes(
    frame: FrameBlocks,
    block: int,
    part: NDArray[np.uint8],
    planes: NDArray[np.uint8],
    constants: NDArray[np.int64],
) -> bool:
    """Decode the streams of a block to ``planes (8, n)``; return whether that worked.

    ``constants[p]`` is the byte that plane ``p`` repeats, which is not written to ``planes``, or -1.
    """
    at, end = frame.starts[block], frame.ends[block]
    constants[:] = -1
    whole = planes.size == frame.size
    for number in range(8 if whole else 1):
        if at + 4 > end:
            return False
        size = get32(frame.data, at)
        at += 4
        if not 0 < size <= end - at:
            return False
        content = frame.data[at : at + size]
        at += size
        if not whole:
            return read_stream(content, frame.decompress, part, planes.reshape(-1))
        constants[number] = constant_of(content, planes.shape[1])
        if constants[number] < 0 and not read_stream(content, frame.decompress, part, planes[number]):
            return False
    return True


@jit
def _join_bytes(
    planes: NDArray[np.uint8], constants: NDArray[np.int64], start: int, labels: NDArray[np.uint64]
) -> None:
    """Write the labels from column ``start`` of ``planes`` on, as bit patterns."""
    common = np.uint64(0)
    for number in range(8):
        if constants[number] >= 0:
            common |= np.uint64(constants[number]) << np.uint64(8 * number)
    labels[:] = common
    for number in range(8):
        if constants[number] < 0:
            shift, bytes_ = np.uint64(8 * number), planes[number, start : start + labels.size]
            for i in range(labels.size):
                labels[i] |= np.uint64(bytes_[i]) << shift


@jit
def _number_labels(labels: NDArray[np.float64], table: LabelTable, numbers: NDArray[np.uint32]) -> Any:
    """Write the number of each label in the table to ``numbers``; return how many are not in it."""
    per_grid, first, strange = 1.0 / table.grid, float(table.first), 0
    count = float(table.samples.shape[1])
    for i in range(labels.size):
        # A product is faster than a quotient; the comparison below rejects a wrong k.
        k = np.rint(labels[i] * per_grid)
        inside = k - first >= 0.0 and k - first < count and k * table.grid == labels[i]
        numbers[i] = np.uint32(np.int32(k - first) if inside else np.int32(0))
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
    labels: NDArray[np.float64], start: int, table: LabelTable, numbers: NDArray[np.uint32], to: NDArray
) -> int:
    """Decode labels, the first of which is sample ``start``; return how many are not in the table."""
    strange = _number_labels(labels, table, numbers[0])
    if table.samples.shape[0] > 1:
        shape = (1, labels.size)
        dequantize_phased(numbers[:, : labels.size], table.samples, table.seed, start, 0, to.reshape(shape))
    else:
        samples, own = table.samples[0], numbers[0]
        for i in range(labels.size):
            to[i] = samples[own[i]]
    if table.valid.size:
        for i in range(labels.size):
            strange += 1 - table.valid[numbers[0, i]]
    return strange


@jit
def _is_wanted(wanted: WantedSamples, begin: int, size: int) -> bool:
    """Whether any of ``size`` samples from ``begin`` on is wanted."""
    first, last = max(wanted.first, begin), min(wanted.last, begin + size)
    for number in range(first // wanted.pixels, -(-last // wanted.pixels)):
        low = max(number * wanted.pixels + wanted.top, first)
        if low < min(number * wanted.pixels + wanted.bottom, last):
            return True
    return False


@jit
def _decode_wanted(
    opened: Any, begin: int, size: int, wanted: WantedSamples, table: LabelTable, out: NDArray
) -> int:
    """Decode the wanted of ``size`` samples from ``begin`` on; return how many labels are not in the table.

    ``opened`` is memory for numbers of labels, the labels, and the planes of their bytes with their
    constants, which stand for the labels if there are any.
    """
    numbers, labels, planes, constants = opened
    strange, run = 0, np.empty(_RUN, np.uint64)
    first, last = max(wanted.first, begin), min(wanted.last, begin + size)
    for number in range(first // wanted.pixels, -(-last // wanted.pixels)):
        low = max(number * wanted.pixels + wanted.top, first)
        high = min(number * wanted.pixels + wanted.bottom, last)
        for start in range(low, high, _RUN):
            stop = min(start + _RUN, high)
            to = out[start - wanted.first : stop - wanted.first]
            part = labels[start - begin : stop - begin]
            if constants.size:
                joined = run[: stop - start]
                _join_bytes(planes, constants, start - begin, joined)
                part = joined.view(np.float64)
            strange += _decode_labels(part, start, table, numbers, to)
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
    is not decoded if its streams or Blosc do not open it, or if one of its wanted labels is not in the table.
    The last block is decoded with the one before it, since Blosc refuses a frame that is smaller than its
    block size.

    ``work`` is memory for a frame of two blocks, and for their labels.
    """
    part, labels = work
    numbers, constants = np.empty((1, _RUN), np.uint32), np.empty(8, np.int64)
    by_planes = frame.data[0] == 2 and frame.data[1] == 1 and frame.data[2] == _PLANES and frame.data[3] == 8
    count, per_block, block = frame.starts.size, frame.size >> 3, blocks[0]
    while block < blocks[1]:
        end, strange = count if block + 2 == count else block + 1, 0
        first = block
        while first < end:
            last = first + 1 if by_planes else end
            begin = first * per_block
            size = min(last * frame.size, frame.nbytes) // 8 - begin
            if _is_wanted(wanted, begin, size):
                planes = labels[:size].view(np.uint8).reshape(8, size)
                if by_planes and not _open_planes(frame, first, part, planes, constants):
                    return block
                if not by_planes and not _open_blocks(frame, first, last, part, labels[:size]):
                    return block
                opened = (numbers, labels[:size], planes, constants[: 8 * by_planes])
                strange += _decode_wanted(opened, begin, size, wanted, table, out)
            first = last
        if strange:
            return block
        block = end
    return block
