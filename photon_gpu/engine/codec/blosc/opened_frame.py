"""An opened Blosc frame, whose blocks are decompressed when they are needed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.blosc.c_functions import decode
from photon_gpu.engine.codec.blosc.frame import MEMCPYED, block_ends, frame_of_blocks, frame_sizes
from photon_gpu.engine.runtime.stopwatch import Map

_AT_ONCE = 1 << 20  # bytes that are opened by one call, where parts of a frame are wanted


class Blocks:
    """Content of a frame, decompressed block by block when parts of it are needed.

    Attributes
    ----------
    data : (n,) uint8 array
        The content. Blocks that are not open are undefined.
    """

    def __init__(self, frame: bytes, run: Map = map) -> None:
        self._frame, self._run = frame, run
        nbytes, self._size = frame_sizes(frame)
        self.data = np.empty(nbytes, np.uint8)
        blocks = -(-nbytes // self._size) if self._size else 0
        self._one = blocks < 2 or bool(frame[2] & MEMCPYED)
        # A short last block joins the one before: Blosc refuses a frame smaller than its block size.
        self._opened = np.zeros(1 if self._one else blocks - 1, bool)
        self._blocks = blocks
        self._ends = np.empty(0, np.int64) if self._one else block_ends(frame, blocks)

    def open(self, spans: Iterable[slice]) -> None:
        """Decompress the blocks that hold these bytes, unless they are open already."""
        wanted, last = np.zeros_like(self._opened), len(self._opened) - 1
        for span in spans:
            if span.start < span.stop:
                first, end = min(span.start // self._size, last), (span.stop - 1) // self._size
                wanted[first : min(end, last) + 1] = True
        numbers = np.flatnonzero(wanted & ~self._opened)
        # Neighbouring blocks are opened together, about 1 MiB per call.
        apart = np.flatnonzero(np.diff(numbers) > 1) + 1
        step = max(1, _AT_ONCE // max(self._size, 1))
        runs = [part[i : i + step] for part in np.split(numbers, apart) for i in range(0, len(part), step)]
        list(self._run(self._open, runs))
        self._opened |= wanted

    def _open(self, numbers: NDArray[np.int64]) -> None:
        if self._one:
            decode(self._frame, self.data)
            return
        first, stop = int(numbers[0]), int(numbers[-1]) + 1
        stop = self._blocks if stop == len(self._opened) else stop
        part = frame_of_blocks(self._frame, first, stop, self._ends)
        decode(part, self.data[first * self._size : stop * self._size])


class BlocksPart:
    """A part of the content of :class:`Blocks`, as if it were a frame of its own.

    Attributes
    ----------
    data : (n,) uint8 array
    """

    def __init__(self, blocks: Blocks, start: int, stop: int) -> None:
        self._blocks, self._start = blocks, start
        self.data = blocks.data[start:stop]

    def open(self, spans: Iterable[slice]) -> None:
        """Decompress the blocks that hold these bytes of the part."""
        first = self._start
        self._blocks.open(slice(span.start + first, span.stop + first) for span in spans)
