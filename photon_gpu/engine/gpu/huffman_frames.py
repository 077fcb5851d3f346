"""Blosc frames of Huffman codes only: which of them a device opens, and how it writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc import Compressor, frame_sizes
from photon_gpu.engine.codec.blosc.frame import HEADER
from photon_gpu.engine.codec.blosc.huffman import HUFFMAN_BLOCK, HuffmanTrial, trial_spans, try_huffman
from photon_gpu.engine.gpu.streams_and_buffers import Slot
from photon_gpu.engine.runtime.pool import Split

_OPENED = bytes([2, 1, 0x90])  # first bytes of a Blosc frame: zstd, blocks of one stream, no shuffle
_SIZE_BYTES = {0x20: 1, 0x60: 2, 0xA0: 4}  # bytes of the size in a zstd frame, by its fifth byte


def compressed(
    slot: Slot, payload: Any, compressor: Compressor, split: Split
) -> tuple[NDArray[np.uint8], int] | None:
    """Return the frame of a payload that lies on the device, and its CRC; None if the CPU would use zstd.

    The CPU decides, as for a payload of its own, by parts of one block in 16. The frame is in pinned memory,
    and its CRC, which the device computes, comes down with it.
    """
    spans = trial_spans(payload.size, compressor)
    parts = slot.fetch(**{f"part {i}": payload[span] for i, span in enumerate(spans)})
    if not isinstance(try_huffman(parts, payload.size, compressor, split), HuffmanTrial):
        return None
    slot.resume()
    huffman, size = slot.lane.huffman, compressor.blocksize
    most = huffman.most_blosc_bytes(payload.size, size, HUFFMAN_BLOCK)
    out = slot.device("frame", (4 + most,), np.uint8)
    end = 4 + huffman.encode_blosc(payload, size, HUFFMAN_BLOCK, out[4:])
    huffman.crc32(out[4:end], out[:4].view(np.uint32))
    (fetched,) = slot.fetch(frame=out[:end])
    return fetched[4:], int(fetched[:4].view(np.uint32)[0])


def is_huffman_only(frame: bytes) -> bool:
    """Whether a frame is likely to hold Huffman codes only, by the first block of its first zstd frame.

    Frames of one block or two are left to the CPU, which opens their blocks for the header in any case.
    """
    nbytes, size = frame_sizes(frame)
    if frame[:3] != _OPENED or nbytes <= 2 * size:
        return False
    start = int.from_bytes(frame[HEADER.size : HEADER.size + 4], "little") + 4
    width = _SIZE_BYTES.get(frame[start + 4] if start + 4 < len(frame) else 0, 0)
    at = start + 5 + width
    header = int.from_bytes(frame[at : at + 3], "little")
    end = at + 3 + (header >> 3)
    # Behind the literals of a compressed block, a byte of 0 means that there are no matches.
    return bool(width) and (header >> 1 & 3 != 2 or (end <= len(frame) and frame[end - 1] == 0))
