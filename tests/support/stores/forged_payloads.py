"""Payloads with altered headers whose checksums agree, as an attacker would make them."""

from __future__ import annotations

import zlib

import numpy as np

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec import chunk
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.header import header_bytes
from photon_gpu.engine.runtime.stopwatch import Stages


def sealed(data: np.ndarray) -> np.ndarray:
    """Correct the checksum of altered data, as an attacker would."""
    out = data.copy()
    flags = int(out[8]) if out[8] in (4, 8, 12) else 0
    size = header_bytes(int(out[11]), bool(flags & 4), bool(flags & 8))
    out[80:84] = 0
    crc = zlib.crc32(out[:size].tobytes())
    out[80:84] = np.frombuffer(crc.to_bytes(4, "little"), np.uint8)
    return out


def of_unknown_predictor() -> np.ndarray:
    """Make an undamaged payload of a predictor that only a later version may know."""
    values = np.arange(60, dtype="uint16").reshape(3, 4, 5)
    payload = chunk.encode(
        values, (3, 4, 5), Encoding(layout="compact"), get_backend("numba"), stages=Stages()
    )
    payload = payload.copy()
    payload[6] = 99
    return sealed(payload)
