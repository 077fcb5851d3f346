"""Compress payloads to Blosc frames on a device, where the CPU would write Huffman codes only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.blosc.huffman import HUFFMAN_BLOCK, Trial, trial_spans, try_huffman
from photon_gpu.engine.gpu.streams_and_buffers import Slot
from photon_gpu.engine.runtime.pool import Split


def compressed(slot: Slot, payload: Any, compressor: Compressor, split: Split) -> NDArray[np.uint8] | None:
    """Return the frame of a payload that lies on the device; None if the CPU would not use Huffman codes.

    The CPU decides, as for a payload of its own, by parts of one block in 16. The frame is in pinned memory.
    """
    spans = trial_spans(payload.size, compressor)
    parts = slot.fetch(**{f"part {i}": payload[span] for i, span in enumerate(spans)})
    if not isinstance(try_huffman(parts, payload.size, compressor, split), Trial):
        return None
    slot.resume()
    huffman, size = slot.lane.huffman, compressor.blocksize
    out = slot.device("frame", (huffman.most_blosc_bytes(payload.size, size, HUFFMAN_BLOCK),), np.uint8)
    (frame,) = slot.fetch(frame=out[: huffman.encode_blosc(payload, size, HUFFMAN_BLOCK, out)])
    return frame
