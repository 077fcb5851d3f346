"""High-throughput JPEG 2000 (OpenJPH) by imagecodecs, lossless, frame by frame: raw, and our codes."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.bases.contender import Contender
from benchmarks.contenders.bases.file_per_chunk import Frames

_lock = threading.Lock()
_ready = False


def _warm_up() -> None:
    """Store and open one small picture, once per process, before several threads do."""
    # OpenJPH fills its tables at its first use. A fresh process whose first use was in several threads
    # at once gave back zeros, in one of thousands of runs.
    global _ready
    with _lock:
        if not _ready:
            import imagecodecs

            imagecodecs.htj2k_decode(imagecodecs.htj2k_encode(np.zeros((8, 8), np.uint16)))
            _ready = True


class Htj2k(Frames):
    name = "HTJ2K, raw (imagecodecs)"
    lossless = True

    def picture(self, values: NDArray) -> bytes:
        import imagecodecs

        _warm_up()
        return bytes(imagecodecs.htj2k_encode(np.ascontiguousarray(values)))

    def opened(self, data: bytes) -> NDArray:
        import imagecodecs

        _warm_up()
        return np.asarray(imagecodecs.htj2k_decode(data))


class Htj2kCodes(Htj2k):
    name = "HTJ2K of our codes (imagecodecs)"
    lossless, worst, step = False, 0.35, 0.5


def contenders() -> list[Contender]:
    return [Htj2k(), Htj2kCodes()]
