"""Encode labels to Blosc frames with a stream for each plane of bytes, one compiled call for many blocks.

zstd 1 searches noise for matches in vain. A plane gets Huffman codes of its own instead, unless a trial
shows that matches shorten it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc import Compressor, FrameOf
from photon_gpu.engine.codec.blosc.c_functions import c_library
from photon_gpu.engine.codec.blosc.frame import HEADER
from photon_gpu.engine.runtime.scratch import scratch

_LEAST_BLOCK = 1 << 16  # bytes; Blosc does not split blocks of less than 128 items
_TRIED_EVERY = 32  # blocks; zstd takes four times as long as Huffman codes
_NO_TABLE = np.empty((0, 0), np.uint64)


def has_planes(compressor: Compressor, step: float | None) -> bool:
    """Whether frames of labels get a stream for each plane of bytes.

    They do with level 1 of zstd after a byte shuffle, and steps such as 0.5, of which labels have few bits.
    The planes of other labels repeat each other, which only zstd finds, where they are one stream.
    """
    size = compressor.blocksize
    if (compressor.cname, compressor.clevel, compressor.shuffle) != ("zstd", 1, 1) or c_library() is None:
        return False
    return size >= _LEAST_BLOCK and size % 8 == 0 and step is not None and (1024 * step).is_integer()


def planes_for_zstd(
    labels: Callable[[int, int], NDArray[np.float64]], count: int, compressor: Compressor
) -> int:
    """Return the planes of ``count`` labels that zstd compresses, as a sum of ``1 << number``.

    One block in 32 is compressed in both ways; ``labels(start, stop)`` makes its labels. A plane that
    repeats one byte there is left to zstd. Fewer than two blocks are one stream, so none is tried.
    """
    per_block, saved = compressor.blocksize // 8, np.zeros(8, np.int64)
    whole = count // per_block if count >= 2 * per_block else 0
    for number in range(min(whole, _TRIED_EVERY) // 3, whole, _TRIED_EVERY):
        block = labels(number * per_block, (number + 1) * per_block).view(np.uint64)
        block.flags.writeable = False  # so that kernels are compiled for one type
        settings, work, out = _settings(compressor, 0), _work(compressor), _out(per_block, compressor)
        _kernels().try_planes(block, settings, work, out, saved)
    return int((saved >= 0) @ (1 << np.arange(8)))


def frames_of_values(flat: NDArray, luts: NDArray[np.float64], seed: int, by_zstd: int) -> FrameOf:
    """Return a function that encodes parts of a chunk, whose labels never exist as a whole.

    Parameters
    ----------
    flat : (n,) array
        Values of the chunk. Samples beyond them get the label 0.
    luts : (phases, 2**bits) array
        Label of every value, by bit pattern.
    seed : int
        Seed of the phases.
    by_zstd : int
        See :func:`planes_for_zstd`.
    """
    patterns, tables = flat.view(f"u{flat.itemsize}"), (luts.view(np.uint64), seed)

    def frame_of(start: int, stop: int, compressor: Compressor) -> NDArray[np.uint8] | None:
        frame = _frame(patterns, tables, start, stop, compressor, by_zstd)
        return frame.copy() if frame.size else None  # labels that take more bytes than their values

    return frame_of


def frame_of_labels(labels: NDArray[np.float64], compressor: Compressor, by_zstd: int) -> NDArray[np.uint8]:
    """Encode labels to a frame in scratch memory of the thread, which its next frame overwrites."""
    return _frame(labels.view(np.uint64), (_NO_TABLE, 0), 0, labels.size, compressor, by_zstd)


def _frame(
    patterns: NDArray,
    tables: tuple[NDArray[np.uint64], int],
    start: int,
    stop: int,
    compressor: Compressor,
    by_zstd: int,
) -> NDArray[np.uint8]:
    kernels, out = _kernels(), _out(stop - start, compressor, patterns.itemsize)
    for array in (patterns, tables[0]):
        array.flags.writeable = False  # so that kernels are compiled for one type
    labels, settings = kernels.LabelTables(*tables), _settings(compressor, by_zstd)
    return out[: kernels.encode_blocks(patterns, labels, start, stop, settings, _work(compressor), out)]


def _settings(compressor: Compressor, by_zstd: int) -> Any:
    library = c_library()
    assert library is not None
    return _kernels().FrameSettings(
        ctypes.cast(library.blosc_compress_ctx, ctypes.c_void_p).value,
        np.frombuffer(compressor.cname.encode() + b"\0", np.uint8),
        compressor.clevel,
        compressor.blocksize,
        by_zstd,
    )


def _work(compressor: Compressor) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    size = compressor.blocksize
    return scratch("planes", (size,), np.uint8), scratch("frame", (size + HEADER.size,), np.uint8)


def _out(count: int, compressor: Compressor, itemsize: int = 8) -> NDArray[np.uint8]:
    """Memory for a frame of labels that take ``itemsize`` bytes each at most, and of a block more."""
    size, most_bytes = compressor.blocksize, _kernels().most_frame_bytes
    most = min(most_bytes(count, size), count * itemsize + most_bytes(size // 8, size))
    return scratch("frames", (most,), np.uint8)


@cache
def _kernels() -> Any:
    """Import the compiled kernels when they are first used."""
    return import_module("photon_gpu.kernels.plain_layout.cpu_encode")
