"""Encoded chunks and their parts."""

from __future__ import annotations

import zlib

import numpy as np

from photon_gpu.engine.codec.header import header_bytes


def sealed(data: np.ndarray) -> np.ndarray:
    """Set the checksum right, as an attacker would."""
    out = data.copy()
    size = header_bytes(int(out[11]), out[8] == 4)
    out[80:84] = 0
    crc = zlib.crc32(out[:size].tobytes())
    out[80:84] = np.frombuffer(crc.to_bytes(4, "little"), np.uint8)
    return out
