"""Compress arrays to Blosc frames.

Runs of blocks are compressed separately and joined, so that several threads work on one chunk; the bytes
equal those of a single call (tested).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc.blosc_settings import Compressor
from photon_gpu.engine.codec.blosc.c_functions import encode
from photon_gpu.engine.codec.blosc.frame import HEADER, MAX_BYTES, MEMCPYED, UNSPLIT, join_frames
from photon_gpu.engine.codec.blosc.huffman import huffman_frame, trial_spans, try_huffman
from photon_gpu.engine.codec.blosc.seal import SEAL, Seal, sealed
from photon_gpu.engine.runtime.buffers import Buffers, bytes_of
from photon_gpu.engine.runtime.pool import WHOLE, Split
from photon_gpu.errors import InvalidInputError

FrameOf = Callable[[int, int, Compressor], NDArray[np.uint8] | None]
"""``frame_of(start, stop, compressor)``: a frame of items ``start:stop`` in blocks of the requested size, or
None if it would be too long."""

_MADE_AT_ONCE = 1 << 23  # bytes that are compressed by one call, where they are made for it
_COMPILED_AT_ONCE = 1 << 20  # the same within a compiled call, where calls cost little: stays in the cache


def compress(
    data: NDArray,
    compressor: Compressor,
    split: Split = WHOLE,
    buffers: Buffers | None = None,
    seal: Seal | None = None,
) -> bytes:
    """Compress a contiguous array to one Blosc frame, equal to ``numcodecs.Blosc(...).encode(data)``.

    A ``seal`` follows the blocks of the frame. With ``buffers``, the frame may be a memoryview of a buffer
    that the caller gives back.
    """
    if data.nbytes > MAX_BYTES:
        raise InvalidInputError(
            f"a chunk of {data.nbytes:,} bytes exceeds Blosc's limit of {MAX_BYTES:,}; take fewer "
            f"chunk_frames"
        )
    flat = data.reshape(-1)
    if split.parts == 1:
        return next(iter(split.run(lambda whole: _one_frame(whole, compressor, buffers, seal), [flat])))
    return compress_blocks(
        lambda start, stop: flat[start:stop], flat.size, flat.dtype.itemsize, compressor, split, seal
    )


def compress_bytes(
    data: NDArray[np.uint8], compressor: Compressor, split: Split = WHOLE, buffers: Buffers | None = None
) -> bytes:
    """Compress bytes like :func:`compress`, or by Huffman codes only where that is shorter.

    Noise has no matches, and zstd takes longer to look for them than to code it. A trial of some blocks
    decides; both are zstd frames.
    """
    size, parts = compressor.blocksize, [data[span] for span in trial_spans(data.size, compressor)]
    trial = try_huffman(parts, data.size, compressor, split)
    if trial is None:
        return compress(data, compressor, split, buffers)
    if isinstance(trial, np.ndarray):
        return bytes_of([trial])

    def code_whole(whole: NDArray[np.uint8]) -> Any:
        if buffers is None:
            return bytes_of([huffman_frame(whole, size, trial)])
        return huffman_frame(whole, size, trial, buffers).data

    if split.parts > 1:

        def code_part(part: tuple[int, int]) -> NDArray[np.uint8]:
            return huffman_frame(data[part[0] * size : part[1] * size], size, trial.part(*part)).copy()

        frames = list(split.run(code_part, split.ranges(-(-data.size // size))))
        if len(frames) > 1 and not any(frame[2] & MEMCPYED for frame in frames):
            return bytes_of(join_frames(frames, data.size))
    whole_frame: bytes = next(iter(split.run(code_whole, [data])))
    return whole_frame


def _one_frame(
    data: NDArray, compressor: Compressor, buffers: Buffers | None = None, seal: Seal | None = None
) -> Any:
    if buffers is None:
        return bytes_of(sealed([encode(data, compressor)], seal))
    most = data.nbytes + HEADER.size
    buffer = buffers.take(most + SEAL.size)
    frame = encode(data, compressor, buffer[:most])
    parts = sealed([frame], seal)
    if len(parts) == 1:
        return frame.data
    if frame[2] & MEMCPYED:  # its content moves, to make room for a table
        whole = bytes_of(parts)
        buffers.give(buffer)
        return whole
    end = frame.size + SEAL.size
    buffer[: HEADER.size], buffer[frame.size : end] = parts[0], parts[-1]
    return buffer[:end].data


def compress_blocks(
    items: Callable[[int, int], NDArray],
    count: int,
    itemsize: int,
    compressor: Compressor,
    split: Split = WHOLE,
    seal: Seal | None = None,
    frame_of: FrameOf | None = None,
    encode_items: Callable[[NDArray, Compressor], NDArray[np.uint8]] = encode,
    buffers: Buffers | None = None,
) -> bytes:
    """Compress like :func:`compress` ``count`` items, which ``items(start, stop)`` makes when needed.

    A chunk of float64 labels, four times the size of the raw movie, therefore never exists as a whole.
    ``items`` may reuse the memory of its result when the same thread calls it again. ``frame_of`` makes and
    compresses items by one call; without it, ``encode_items`` compresses what ``items`` made. With
    ``buffers``, the result may be a memoryview of a buffer that the caller gives back.
    """
    nbytes = count * itemsize

    def encode_whole(parts: list[tuple[int, int]]) -> bytes:
        return _one_frame(np.concatenate([items(*part).copy() for part in parts]), compressor, seal=seal)

    def one_frame(parts: list[tuple[int, int]]) -> bytes:
        return next(iter(split.run(encode_whole, [parts])))

    if nbytes < 1 << 16:
        return one_frame([(0, count)])
    # A requested block size is the same for every longer buffer; one that Blosc chooses is not.
    size, unsplit = _size_of_blocks(compressor, min(nbytes, 2 * compressor.blocksize or nbytes), itemsize)
    per_block = max(size // itemsize, 1)
    if count < 2 * per_block or size % itemsize or not unsplit:
        return one_frame([(0, count)])
    fixed = replace(compressor, blocksize=compressor.blocksize or size)
    at_once = max(1, (_MADE_AT_ONCE if frame_of is None else _COMPILED_AT_ONCE) // size)
    starts = list(range(0, count - count % per_block, per_block * at_once))
    # A short rest joins the last whole block: alone, Blosc would treat it as a whole block.
    edges = [*starts, count]
    spans = list(itertools.pairwise(edges))

    def encode_part(part: tuple[int, int]) -> list[NDArray[np.uint8]]:
        if frame_of and (frame := frame_of(edges[part[0]], edges[part[1]], fixed)) is not None:
            return [frame]
        return [encode_items(items(*span), fixed).copy() for span in spans[part[0] : part[1]]]

    frames = [frame for part in split.run(encode_part, split.ranges(len(spans))) for frame in part]
    if all(frame[2] == frames[0][2] and HEADER.unpack_from(frame.data)[5] == size for frame in frames):
        joined = join_frames(frames, nbytes)
        if not frames[0][2] & MEMCPYED and sum(part.size for part in joined) < nbytes:
            return bytes_of(sealed(joined, seal), buffers)
    # A block that does not compress changes how Blosc stores the whole buffer.
    return one_frame(spans)


@lru_cache(maxsize=64)
def _size_of_blocks(compressor: Compressor, nbytes: int, itemsize: int) -> tuple[int, bool]:
    """Return the block size that Blosc uses for a buffer, and whether each block is one stream, as for zstd.

    Both may differ from the request, so Blosc compresses zeros to find out: half a millisecond per MB.
    """
    frame = encode(np.zeros(nbytes // itemsize, f"V{itemsize}"), compressor)
    return int(HEADER.unpack_from(frame.data)[5]), bool(frame[2] & UNSPLIT)
