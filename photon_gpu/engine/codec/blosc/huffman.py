"""Compress bytes to Blosc frames of Huffman codes only, where a trial shows that these are shorter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc.blosc_settings import Compressor
from photon_gpu.engine.codec.blosc.c_functions import encode
from photon_gpu.engine.codec.blosc.frame import HEADER
from photon_gpu.engine.runtime.buffers import Buffers
from photon_gpu.engine.runtime.pool import Split
from photon_gpu.engine.runtime.scratch import scratch

HUFFMAN_BLOCK = 1 << 15
"""Bytes per block of a Huffman-only frame."""

_TRIAL_BYTES = 1 << 18  # bytes of a block that a trial compresses in both ways
_NO_NUMBERS, _NO_BYTES = np.empty(0, np.int64), np.empty(0, np.uint8)


class HuffmanTrial(NamedTuple):
    """Blocks that were Huffman-coded as a trial: their numbers, rising, and a Blosc frame of just them."""

    numbers: NDArray[np.int64]
    frame: NDArray[np.uint8]

    def part(self, first: int, last: int) -> HuffmanTrial:
        """Return the trial of blocks ``first:last``, counted from ``first``; empty unless all lie there."""
        inside = bool(self.numbers.size) and first <= self.numbers[0] and self.numbers[-1] < last
        return (
            HuffmanTrial(self.numbers - first, self.frame)
            if inside
            else HuffmanTrial(_NO_NUMBERS, self.frame)
        )


def trial_spans(nbytes: int, compressor: Compressor) -> list[slice]:
    """Return the parts of data that a trial needs, of one block in 16; none if no trial is made."""
    size, length = compressor.blocksize, min(compressor.blocksize, _TRIAL_BYTES)
    if compressor.cname != "zstd" or compressor.shuffle or not compressor.clevel or not size:
        return []
    starts = (number * size for number in _tried(nbytes, size))
    return [slice(start, min(start + length, nbytes)) for start in starts]


def _tried(nbytes: int, size: int) -> range:
    """Numbers of the blocks of ``size`` that a trial codes, of ``nbytes`` of data."""
    count = -(-nbytes // size)
    return range(min(count, 16) // 3, count, 16)


def try_huffman(
    blocks: Sequence[NDArray[np.uint8]], nbytes: int, compressor: Compressor, split: Split
) -> HuffmanTrial | NDArray[np.uint8] | None:
    """Code parts of ``nbytes`` of data in both ways; return them if Huffman codes save 0.1 %, else None.

    ``blocks`` are the parts that :func:`trial_spans` names. If zstd is as good and was tried on all data, its
    frame is returned. Where nothing repeats, zstd 1 writes Huffman codes, too, but fits them to more bytes at
    a time. Then no trial is needed, and it is empty.
    """
    if not blocks:
        return None
    size, length = compressor.blocksize, min(compressor.blocksize, _TRIAL_BYTES)
    numbers = np.array(_tried(nbytes, size))
    fits_better = compressor.clevel == 1 and len(blocks[0]) > HUFFMAN_BLOCK
    if fits_better and not any(map(_huffman().has_repeats, blocks)):
        return HuffmanTrial(_NO_NUMBERS, _NO_BYTES)
    joined = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    frame, by_zstd = split.run(
        lambda way: way(),
        [
            lambda: huffman_frame(joined, length, HuffmanTrial(_NO_NUMBERS, _NO_BYTES)).copy(),
            lambda: [encode(block, compressor).copy() for block in blocks],
        ],
    )
    # A smaller difference may be chance, and the other blocks might be longer.
    if 1024 * (len(frame) + HEADER.size * (len(blocks) - 1)) > 1023 * sum(map(len, by_zstd)):
        return by_zstd[0] if joined.size == nbytes else None
    return HuffmanTrial(numbers if length == size else _NO_NUMBERS, frame)


@cache
def _huffman() -> Any:
    """Import the kernels of Huffman-only frames when they are first used: Numba takes long to import."""
    return import_module("photon_gpu.kernels.zstd_huffman.cpu")


def huffman_frame(
    data: NDArray[np.uint8], blocksize: int, trial: HuffmanTrial, buffers: Buffers | None = None
) -> NDArray[np.uint8]:
    """Compress to a Blosc frame of Huffman-only zstd frames, in a buffer or in scratch memory."""
    huffman = _huffman()
    most = huffman.most_blosc_bytes(data.size, blocksize, HUFFMAN_BLOCK)
    out = scratch("coded", (most,), np.uint8) if buffers is None else buffers.take(most)
    return out[: huffman.encode_blosc(data, blocksize, HUFFMAN_BLOCK, out, *trial)]
