"""Sample a movie for its fidelity check while it is encoded, so that nothing is read twice."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.check.fidelity.fidelity import sample_lines
from photon_gpu.check.fidelity.property_verdicts import FAIL, ReportLine, of_channels, skipped
from photon_gpu.check.fidelity.sample import WINDOW_FRAMES, Block, Sample, Span, joined, plan
from photon_gpu.check.fidelity.within_bin import PixelComparison
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.requested_part import STABILIZED, ChunkPart
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.runtime.service_thread import ServiceThread
from photon_gpu.sources.missing_frames import present_frames

RUN_PIXELS = 1 << 18
_SHORT_FRAMES = 6
_SHORT_PIXELS = 1 << 15
MOST_CHUNKS = 8
_RUN_SPANS = 3
_MOST_WAITING = 2


def chosen_spans(
    shape: tuple[int, ...],
    number: int,
    first_frame: int,
    *,
    run: bool,
    lost: tuple[tuple[int, int], ...] = (),
) -> list[Span]:
    """Choose the spans of a chunk: with ``run`` a run of frames and short blocks, else one short block.

    Parameters
    ----------
    shape : tuple of int
        Shape of the chunk's frames, ``(t, ..., H, W)``.
    number, first_frame : int
        Number of the chunk, and of its first frame.
    run : bool
    lost : tuple of (int, int)
        Ranges ``(first, end)`` of frames, counted within the chunk, to leave out.

    Examples
    --------
    >>> [(len(s.frames), s.top, s.bottom) for s in chosen_spans((100, 200, 200), 3, 300, run=False)]
    [(6, 148, 175)]
    """
    if run:
        spans = plan(shape, RUN_PIXELS, lost=lost)[:_RUN_SPANS]
        return [Span(span.frames + first_frame, span.top, span.bottom) for span in spans]
    frames = present_frames(shape[0], lost)[:_SHORT_FRAMES]
    if not frames.size:
        return []
    rows, columns = math.prod(shape[1:-1]), shape[-1]
    height = min(rows, max(8, _SHORT_PIXELS // (len(frames) * columns)))
    top = round((rows - height) * ((number * 0.618) % 1))  # Different rows in each chunk.
    return [Span(frames + first_frame, top, top + height)]


@dataclass(frozen=True)
class Excerpt:
    """Raw values of some frames and rows of a channel of a chunk, ``(t, rows, columns)``."""

    span: Span
    raw: NDArray
    channel: int = 0


def excerpt(span: Span, values: NDArray, first_frame: int, channel: int = 0) -> Excerpt:
    """Copy the values of a span from a channel of a chunk that begins with ``first_frame``."""
    frames = span.frames - first_frame
    raw = values.reshape(len(values), -1, values.shape[-1])[frames, span.top : span.bottom]
    return Excerpt(span, raw, channel)


def excerpts(
    layout: Layout,
    values: NDArray,
    number: int,
    first_frame: int,
    *,
    run: bool,
    lost: tuple[tuple[int, int], ...] = (),
) -> list[Excerpt]:
    """Copy the values of a chunk to compare; for the parameters see :func:`chosen_spans`.

    Examples
    --------
    >>> from photon_gpu.engine.codec.encoding import Encoding
    >>> from photon_gpu.engine.layouts.registry import layout_for
    >>> layout = layout_for(Encoding(), get_backend("numba"))
    >>> [e.raw.shape for e in excerpts(layout, np.zeros((100, 200, 200), "uint16"), 3, 300, run=False)]
    [(6, 27, 200)]
    """
    return [
        excerpt(span, part, first_frame, channel)
        for channel, part in enumerate(layout.split(values))
        for span in chosen_spans(part.shape, number, first_frame, run=run, lost=lost)
    ]


def decoded(
    layout: Layout,
    data: bytes,
    chunk: tuple[int, ...],
    number: int,
    parts: Sequence[Excerpt],
) -> list[Block]:
    """Decode the excerpts of an encoded chunk.

    Parameters
    ----------
    layout : Layout
    data : bytes
        The chunk as it is stored.
    chunk : tuple of int
        Shape of a chunk.
    number : int
        Number of the chunk.
    parts : sequence of Excerpt

    Raises
    ------
    CorruptDataError
        The chunk does not decode.
    """
    if layout.backend.gpu is not None:
        layout = layout.on(get_backend("numba"))
    shape = layout.channel_shape(chunk)
    blocks = []
    for one in parts:
        channel = layout.channels[one.channel]
        noise = channel.encoding.noise
        assert noise is not None
        frames = one.span.frames - number * chunk[0]
        rows = one.span.top, one.span.bottom
        part = ChunkPart(shape, int(frames[0]), int(frames[-1]) + 1, rows, number)
        whats = (one.raw.dtype, np.dtype(np.float64), STABILIZED)
        counts, exact, stabilized = channel.decode_rows(data, part, whats)
        if len(frames) < len(counts):  # There are lost frames between them.
            counts, exact, stabilized = (values[frames - frames[0]] for values in (counts, exact, stabilized))
        unrounded = (exact - one.raw).astype(np.float32)
        residual = (stabilized - anscombe(one.raw, noise)).astype(np.float32)
        block = Block(one.span.frames, one.span.top, one.raw, counts, unrounded, residual, noise, one.channel)
        blocks.append(block)
    return blocks


def lines_of(
    layout: Layout, blocks: Sequence[Block], frames: int, exact: Sequence[PixelComparison] = ()
) -> tuple[ReportLine, ...]:
    """Return the lines of the report that can be measured on some blocks of a movie of ``frames`` frames.

    ``exact`` holds the comparison of every pixel for each channel, if it was made.
    """
    if not layout.encoding.models or not blocks:
        return ()
    lines = []
    for channel, one in enumerate(layout.channels):
        mine = tuple(block for block in blocks if block.channel == channel)
        if not mine or one.encoding.noise is None:
            continue
        seen = len(np.unique(np.concatenate([block.frames for block in mine])))
        sample = Sample(mine, one.encoding, one.encoding.noise, seen, frames)
        lines.append(sample_lines(sample, exact[channel] if exact else None))
    return tuple(of_channels(lines)) if lines else ()


class PlannedSample:
    """Sample of a movie of known length, decoded chunk by chunk during the encode.

    Parameters
    ----------
    layout : Layout
    shape, chunk : tuple of int
        Shapes of the movie and of a chunk.
    pixels : int
        Approximate number of values.
    lost : tuple of (int, int)
        Ranges ``(first, end)`` of frames that the source lacks.

    Attributes
    ----------
    missing : set of int
        Numbers of the chunks that the sample needs and :meth:`add` has not received yet.
    """

    def __init__(
        self,
        layout: Layout,
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
        *,
        pixels: int,
        lost: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self._layout, self._chunk, self._frames = layout, chunk, shape[0]
        self._parts: dict[int, list[tuple[int, Span]]] = {}
        self._blocks: dict[tuple[int, int, int], Block] = {}
        self._lock = threading.Lock()
        spans: list[Span] = []
        if layout.encoding.models:
            # Few frames of many rows, because whole Blosc blocks of each frame are decoded.
            one = layout.channel_shape(shape)
            spans = plan(one, pixels, lost=lost, chunk_frames=chunk[0], run_frames=WINDOW_FRAMES)
        for position, span in enumerate(spans):
            numbers = span.frames // chunk[0]
            for number in np.unique(numbers):
                part = Span(span.frames[numbers == number], span.top, span.bottom)
                self._parts.setdefault(int(number), []).append((position, part))
        self.missing = set(self._parts)

    def add(self, number: int, data: bytes, values: NDArray) -> None:
        """Decode the part of a chunk that the sample needs; may be called from any thread.

        Parameters
        ----------
        number : int
            Of the chunk.
        data : bytes
            The chunk as it is stored.
        values : ndarray
            The frames it was encoded from.
        """
        parts, first_frame = self._parts.get(number, []), number * self._chunk[0]
        planned = [
            (position, excerpt(span, part, first_frame, channel))
            for channel, part in enumerate(self._layout.split(values))
            for position, span in parts
        ]
        blocks = decoded(self._layout, data, self._chunk, number, [one for _, one in planned])
        with self._lock:
            for (position, one), block in zip(planned, blocks, strict=True):
                self._blocks[one.channel, position, number] = block
            self.missing.discard(number)

    def lines(self, exact: Sequence[PixelComparison] = ()) -> tuple[ReportLine, ...]:
        """Return the lines of the report; see :func:`lines_of` for ``exact``."""
        by_span: dict[tuple[int, int], list[Block]] = {}
        for (channel, position, _), block in sorted(self._blocks.items(), key=lambda item: item[0]):
            by_span.setdefault((channel, position), []).append(block)
        return lines_of(self._layout, [joined(parts) for parts in by_span.values()], self._frames, exact)


@dataclass(frozen=True)
class _Chunk:
    """A chunk that waits for decoding."""

    number: int
    layout: Layout
    data: bytes
    chunk: tuple[int, ...]
    first_frame: int
    parts: list[Excerpt]


class ChunkSample:
    """Sample of a movie of unknown length: some chunks, evenly spread over those so far.

    A thread of the sample decodes chunks from the bytes that go to the store; :meth:`add` only copies a few
    rows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._every = 1
        self._run: int | None = None
        self._blocks: dict[int, list[Block]] = {}
        self._damaged: list[ReportLine] = []
        self._layout: Layout | None = None
        self._waiting: queue.SimpleQueue[_Chunk | None] = queue.SimpleQueue()
        self._thread: ServiceThread | None = None

    def add(
        self,
        number: int,
        layout: Layout,
        data: bytes,
        chunk: tuple[int, ...],
        first_frame: int,
        values: NDArray,
        *,
        lost: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """Copy the part of an encoded chunk that the sample needs.

        Parameters
        ----------
        number : int
            Of the chunk.
        layout : Layout
        data : bytes
            The chunk as it is stored.
        chunk : tuple of int
            Shape of a chunk.
        first_frame : int
            Number of the chunk's first frame in the movie.
        values : ndarray
            The frames it was encoded from.
        lost : tuple of (int, int)
            Ranges ``(first, end)`` of ``values`` that are zeros in place of lost frames.
        """
        with self._lock:
            if not layout.encoding.models or number % self._every or self._waiting.qsize() >= _MOST_WAITING:
                return
            run = self._run is None
            parts = excerpts(layout, values, number, first_frame, run=run, lost=lost)
            if not any(part.raw.any() for part in parts):  # These are zeros in place of lost frames.
                return
            if run:
                self._run = number
            if self._thread is None:
                self._layout = layout
                self._thread = ServiceThread("photon-check", self._work)
        self._waiting.put(_Chunk(number, layout, data, chunk, first_frame, parts))

    def finish(self, frames: int, wait_seconds: float | None = None) -> tuple[ReportLine, ...]:
        """Return the lines of the report; none if there is no noise model or no chunk.

        Parameters
        ----------
        frames : int
            Length of the movie.
        wait_seconds : float, optional
            Longest wait for the decoding thread.
        """
        if self._thread is None or self._layout is None:
            return ()
        self._waiting.put(None)
        if not self._thread.wait(wait_seconds):
            return (skipped("noise_model", f"the check did not end within {wait_seconds:g} s"),)
        run = self._blocks.pop(self._run, []) if self._run is not None else []
        blocks = [*run, *(block for number in sorted(self._blocks) for block in self._blocks[number])]
        return (*self._damaged, *lines_of(self._layout, blocks, frames))

    def _work(self) -> None:
        while (one := self._waiting.get()) is not None:
            try:
                blocks = decoded(one.layout, one.data, one.chunk, one.number, one.parts)
            except Exception as error:
                text = f"the chunk that begins with frame {one.first_frame} does not decode: {error}"
                self._damaged.append(ReportLine(name="inverse", status=FAIL, value=None, found=text))
                continue
            with self._lock:
                self._blocks[one.number] = blocks
                while len(self._blocks) > MOST_CHUNKS:
                    self._every *= 2
                    sampled = {n for n in self._blocks if n % self._every == 0 or n == self._run}
                    self._blocks = {n: blocks for n, blocks in self._blocks.items() if n in sampled}
