"""A sample that is taken while chunks are encoded, for movies whose source cannot be read a second time."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.fidelity import sample_lines
from photon_gpu.check.fidelity.lines import FAIL, ReportLine, skipped
from photon_gpu.check.fidelity.sample import Block, Sample, plan
from photon_gpu.engine.codec.dequantize import STABILIZED
from photon_gpu.engine.dispatch import get_backend
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.anscombe import anscombe

RUN_PIXELS = 1 << 18
_SHORT_FRAMES = 6
_SHORT_PIXELS = 1 << 15
MOST_CHUNKS = 8
_RUN_SPANS = 3
_MOST_WAITING = 2
_PIECE_BYTES = 256 << 20


@dataclass(frozen=True)
class Excerpt:
    """Raw values of some rows of an encoded chunk: frames from ``start``, rows from ``top``."""

    start: int
    top: int
    raw: NDArray


def excerpts(values: NDArray, number: int, *, run: bool) -> list[Excerpt]:
    """Copy what is to be compared of a chunk: with ``run`` a run of frames and short blocks, else one block.

    Examples
    --------
    >>> [e.raw.shape for e in excerpts(np.zeros((100, 200, 200), "uint16"), 3, run=False)]
    [(6, 27, 200)]
    """
    shape = (len(values), math.prod(values.shape[1:-1]), values.shape[-1])
    if run:
        spans = plan(shape, RUN_PIXELS)[:_RUN_SPANS]
    else:
        stop = min(_SHORT_FRAMES, shape[0])
        rows = min(shape[1], max(8, _SHORT_PIXELS // (stop * shape[2])))
        top = round((shape[1] - rows) * ((number * 0.618) % 1))  # other rows of each chunk
        spans = [(0, stop, top, top + rows)]
    flat = values.reshape(shape)
    return [Excerpt(start, top, flat[start:stop, top:bottom].copy()) for start, stop, top, bottom in spans]


def decoded(
    layout: Layout, data: bytes, chunk: tuple[int, ...], first_frame: int, parts: Sequence[Excerpt]
) -> list[Block]:
    """Blocks of a sample, from the bytes of an encoded chunk that begins with frame ``first_frame``."""
    noise = layout.encoding.noise
    assert noise is not None
    if layout.backend.gpu is not None:
        layout = layout_for(layout.encoding, get_backend("numba"))
    most = max(1, _PIECE_BYTES // (8 * math.prod(chunk[1:])))

    def read(part: Excerpt, what: str | np.dtype) -> NDArray:
        rows, stop = (part.top, part.top + part.raw.shape[1]), part.start + len(part.raw)
        found = []
        for start in range(part.start, stop, most):
            end = min(start + most, stop)
            values = layout.decode_part(data, chunk, start, end, rows, what)
            found.append(values.reshape(end - start, -1, chunk[-1])[:, rows[0] : rows[1]].copy())
        return np.concatenate(found)

    return [
        Block(
            first_frame + part.start,
            part.top,
            part.raw,
            read(part, part.raw.dtype),
            (read(part, np.dtype(np.float64)) - part.raw).astype(np.float32),
            (read(part, STABILIZED) - anscombe(part.raw, noise)).astype(np.float32),
            noise,
        )
        for part in parts
    ]


def lines_of(layout: Layout, blocks: Sequence[Block], frames: int) -> tuple[ReportLine, ...]:
    """Lines of the report that blocks of a movie of ``frames`` frames allow."""
    encoding = layout.encoding
    if encoding.noise is None or not blocks:
        return ()
    seen = sum(len(block.raw) for block in blocks)
    return tuple(sample_lines(Sample(tuple(blocks), encoding, encoding.noise, seen, frames)))


class ChunkSample:
    """Compares some chunks, evenly spread over a movie of unknown length, with what they were encoded from.

    Chunks are decoded from the bytes that go to the store, on a thread of its own: whoever encodes waits for
    a copy of a few rows, and for nothing else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._every = 1
        self._run: int | None = None
        self._blocks: dict[int, list[Block]] = {}
        self._damaged: list[ReportLine] = []
        self._layout: Layout | None = None
        self._waiting: queue.SimpleQueue[
            tuple[int, Layout, bytes, tuple[int, ...], int, list[Excerpt]] | None
        ]
        self._waiting = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(
        self,
        number: int,
        layout: Layout,
        data: bytes,
        chunk: tuple[int, ...],
        first_frame: int,
        values: NDArray,
    ) -> None:
        """Take what is needed of an encoded chunk, of which ``values`` are the frames."""
        with self._lock:
            if (
                layout.encoding.noise is None
                or number % self._every
                or self._waiting.qsize() >= _MOST_WAITING
            ):
                return
            run = self._run is None
            if run:
                self._run = number
            if self._thread is None:
                self._layout = layout
                self._thread = threading.Thread(target=self._work, name="photon-check", daemon=True)
                self._thread.start()
        parts = excerpts(values, number, run=run)
        if any(part.raw.any() for part in parts):  # zeros alone stand for frames that are lost
            self._waiting.put((number, layout, data, chunk, first_frame, parts))
        elif run:
            self._run = None

    def finish(self, frames: int, wait_seconds: float | None = None) -> tuple[ReportLine, ...]:
        """Lines of the report; none where there is no noise model, or where no chunk came."""
        if self._thread is None or self._layout is None:
            return ()
        self._waiting.put(None)
        self._thread.join(wait_seconds)
        if self._thread.is_alive():
            return (skipped("noise_model", f"the check was not done within {wait_seconds:g} s"),)
        run = self._blocks.pop(self._run, []) if self._run is not None else []
        blocks = [*run, *(block for number in sorted(self._blocks) for block in self._blocks[number])]
        return (*self._damaged, *lines_of(self._layout, blocks, frames))

    def _work(self) -> None:
        while (one := self._waiting.get()) is not None:
            number, layout, data, chunk, first_frame, parts = one
            try:
                found = decoded(layout, data, chunk, first_frame, parts)
            except Exception as error:
                said = f"the chunk that begins with frame {first_frame} does not decode: {error}"
                self._damaged.append(ReportLine(name="inverse", status=FAIL, value=None, found=said))
                continue
            with self._lock:
                self._blocks[number] = found
                while len(self._blocks) > MOST_CHUNKS:
                    self._every *= 2
                    kept = {n for n in self._blocks if n % self._every == 0 or n == self._run}
                    self._blocks = {n: blocks for n, blocks in self._blocks.items() if n in kept}
