"""Read the sample of a report: a long run of frames and short blocks, raw and decoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.runtime.lazy_property import lazy_property
from photon_gpu.errors import InvalidInputError
from photon_gpu.progress_bar import Progress
from photon_gpu.reader.movie import Movie
from photon_gpu.recording import lost_frames
from photon_gpu.sources.base import Source
from photon_gpu.sources.missing_frames import present_frames
from photon_gpu.sources.select.detect_alternation import period_of_scenes

RUN_FRAMES = 1000
WINDOW_FRAMES = 18
"""Fewest frames, or rows, in which the noise can be measured: 16 second differences."""
_SHORT_FRAMES = 5
_SHORT_BLOCKS, _LEAST_BLOCKS = 8, 3
_LEAST_PHOTONS = 0.1
_PEAK_PHOTONS = 0.7  # Width of the bin of a photon peak.
_PIECE_BYTES = 64 << 20
_LEAST_ROWS = 8
_PERIOD_FRAMES, _PERIOD_PIXELS, _LEAST_CYCLES = 50, 512, 3  # in which frames are seen to alternate


@dataclass(frozen=True)
class Block:
    """Some frames and rows of a movie, raw and decoded; all arrays ``(t, rows, columns)``.

    Attributes
    ----------
    frames : (t,) ndarray of int
        Frame numbers: consecutive, except for lost frames.
    first_row : int
        First row, counted over all axes between the first and the last.
    raw, counts : ndarray
        ADU, in the dtype of the movie.
    unrounded : ndarray of float32
        Decoded value before it is rounded to an integer, minus the raw one, ADU.
    residual : ndarray of float32
        Stored stabilized value minus ``A(raw)``, sigma.
    noise : NoiseModel
    channel : int
        Channel of the arrays, if each channel of the movie has its own noise model.
    scene : int
        Number of the scene, if frames of several scenes alternate: see :meth:`Sample.by_scene`.
    """

    frames: NDArray[np.int64]
    first_row: int
    raw: NDArray
    counts: NDArray
    unrounded: NDArray[np.float32]
    residual: NDArray[np.float32]
    noise: NoiseModel
    channel: int = 0
    scene: int = 0

    def of_scene(self, scene: int, period: int) -> Block:
        """Return the frames of one scene of ``period`` that alternate."""
        mine = self.frames % period == scene
        names = ("frames", "raw", "counts", "unrounded", "residual")
        return replace(self, **{name: getattr(self, name)[mine] for name in names}, scene=scene)

    @lazy_property
    def light(self) -> NDArray[np.float32]:
        """Mean of a pixel's neighbours in time and space, without the pixel itself, ADU.

        The pixel is left out so that its own noise does not select its group, which would bias the group.
        """
        return neighbours(self.raw)

    @lazy_property
    def sigma(self) -> NDArray[np.float32]:
        """Modelled noise at ``light``, ADU."""
        model = self.noise
        above = np.maximum(self.light - np.float32(model.offset), _LEAST_PHOTONS * model.gain)
        return np.sqrt(np.float32(model.gain) * above + np.float32(model.variance))

    @lazy_property
    def error(self) -> NDArray[np.float32]:
        """Decoded minus raw value, in sigma."""
        return difference(self.counts, self.raw) / self.sigma


@dataclass(frozen=True)
class Sample:
    """Blocks of a movie; the first is the run.

    Attributes
    ----------
    blocks : tuple of Block
    encoding : Encoding
    noise : NoiseModel
    frames, frames_in_all : int
        Frames in the sample and in the movie.
    """

    blocks: tuple[Block, ...]
    encoding: Encoding
    noise: NoiseModel
    frames: int
    frames_in_all: int

    @property
    def run(self) -> Block:
        """The block of consecutive frames, for measurements over time."""
        return self.blocks[0]

    @property
    def step(self) -> float:
        """Quantization step, sigma; 0 if nothing was quantized."""
        return self.encoding.step or 0.0

    @property
    def expected_change(self) -> float:
        """RMS by which bins change values, in theory, sigma: ``step/sqrt(12)``; more in peaks of the dark.

        A peak's bin takes the read noise away, at most what a bin of its width can hold.
        """
        by_step = self.step**2 / 12
        if not self.encoding.peaks:
            return math.sqrt(by_step)
        taken = min(self.noise.variance, (_PEAK_PHOTONS * self.noise.gain) ** 2 / 12)
        return math.sqrt(float(np.maximum(taken / self.run.sigma**2, by_step).mean()))

    @property
    def period(self) -> int:
        """Frames from one to the next of the same scene: above 1 where interleaved channels alternate."""
        few = self.run.raw[:_PERIOD_FRAMES]
        few = few.reshape(len(few), -1)[:, :: max(1, few[0].size // _PERIOD_PIXELS)].astype(np.float64)
        if len(few) < 2 * _LEAST_CYCLES or not np.isfinite(few).all():
            return 1
        period = period_of_scenes(few) or 1
        return period if len(self.run.raw) >= _LEAST_CYCLES * period else 1

    def by_scene(self) -> Sample:
        """Part blocks in which frames of several scenes alternate, so that each block shows one scene.

        Noise is measured between successive frames, and light is averaged over them.
        """
        if (period := self.period) == 1:
            return self
        parts = [block.of_scene(scene, period) for block in self.blocks for scene in range(period)]
        return replace(self, blocks=tuple(part for part in parts if len(part.raw) > 1))

    @property
    def pixels(self) -> int:
        """Number of values in all blocks."""
        return sum(block.raw.size for block in self.blocks)

    def flat(self, name: str) -> NDArray:
        """Values of one attribute of all blocks, as one flat array."""
        return np.concatenate([getattr(block, name).ravel() for block in self.blocks])


@dataclass(frozen=True)
class Span:
    """Frames and rows to compare: ``frames`` (numbers, ascending) and rows ``top:bottom``."""

    frames: NDArray[np.int64]
    top: int
    bottom: int


def take(source: Source, movie: Movie, *, pixels: int, progress: Progress | None = None) -> Sample:
    """Read a sample of about ``pixels`` values, spread over the movie, without lost frames.

    Raises
    ------
    InvalidInputError
        The source is another recording, or all of its frames are lost.
    """
    shape = source.shape
    if shape != movie.shape or source.dtype.name != movie.encoding.dtype:
        raise InvalidInputError(
            f"{source.name} is {source.dtype.name} of shape {shape}; the movie is "
            f"{movie.encoding.dtype} of shape "
            f"{movie.shape}: give the recording that the movie was encoded from"
        )
    spans = plan(shape, pixels, lost=(*source.lost, *lost_frames(movie.attrs)))
    if not spans:
        raise InvalidInputError(f"all {shape[0]:,} frames of {source.name} are lost: nothing can be compared")
    total = sum(len(span.frames) for span in spans)
    done, blocks = 0, []
    for span in spans:
        blocks.append(read_block(source, movie, span))
        done += len(span.frames)
        if progress is not None:
            progress(done, total)
    noise = movie.noise
    assert noise is not None
    return Sample(tuple(blocks), movie.encoding, noise, count_frames(spans), shape[0])


def count_frames(spans: list[Span]) -> int:
    """Number of distinct frames in spans."""
    return len(np.unique(np.concatenate([span.frames for span in spans])))


def plan(
    shape: tuple[int, ...],
    pixels: int,
    *,
    lost: tuple[tuple[int, int], ...] = (),
    chunk_frames: int = 1,
    run_frames: int = RUN_FRAMES,
) -> list[Span]:
    """Choose the spans to compare: a run of frames in the middle, then short blocks all over the movie.

    Parameters
    ----------
    shape : tuple of int
        Shape of the movie.
    pixels : int
        Approximate number of values.
    lost : tuple of (int, int)
        Ranges ``(first, end)`` of frames to leave out.
    chunk_frames : int
        Frames per chunk. Short blocks lie within one chunk if possible; few chunks give few blocks.
    run_frames : int
        Longest run.

    Returns
    -------
    list of Span
        Empty if all frames are lost.

    Examples
    --------
    >>> [len(span.frames) for span in plan((300, 200, 200), 1 << 24)]
    [300]
    >>> run, *short = plan((100_000, 512, 512), 1 << 24)
    >>> int(run.frames[0]), len(run.frames), run.top, run.bottom, len(short)
    (49500, 1000, 184, 208, 8)
    """
    present, columns = present_frames(shape[0], lost), shape[-1]
    frames, rows = len(present), math.prod(shape[1:-1])
    if not frames:
        return []
    if frames * rows * columns <= pixels:
        return [Span(present, 0, rows)]
    length = min(frames, run_frames)
    height = min(rows, max(WINDOW_FRAMES, int(0.75 * pixels) // (length * columns)))
    length = min(length, max(64, int(0.75 * pixels) // (height * columns)))
    starts = [(frames - length) // 2 // chunk_frames * chunk_frames]
    tops = [_aligned((rows - height) * 0.382)]  # Not the middle, where Blosc blocks often end.
    short = min(_SHORT_FRAMES, frames)
    blocks = min(_SHORT_BLOCKS, frames // short, max(_LEAST_BLOCKS, -(-shape[0] // chunk_frames)))
    tall = min(rows, max(_LEAST_ROWS, pixels // 4 // (blocks * short * columns)))
    for i in range(blocks):
        start = round((frames - short) * i / max(blocks - 1, 1))
        over = start % chunk_frames + short - chunk_frames
        starts.append(start - over if 0 < over <= start % chunk_frames else start)
        tops.append(_aligned((rows - tall) * ((i * 0.618) % 1)))
    lengths, heights = [length] + [short] * len(starts), [height] + [tall] * len(starts)
    return [
        Span(present[start : start + length], top, top + height)
        for start, length, top, height in zip(starts, lengths, tops, heights, strict=False)
    ]


def _aligned(row: float) -> int:
    """Round down to a multiple of 8, so that rows seldom lie in two bands of a compact chunk."""
    return int(row) // _LEAST_ROWS * _LEAST_ROWS


def read_block(source: Source, movie: Movie, span: Span) -> Block:
    """Read and decode a span, a few frames at a time."""
    columns, noise = source.shape[-1], movie.noise
    assert noise is not None
    raw = np.empty((len(span.frames), span.bottom - span.top, columns), source.dtype)
    counts = np.empty_like(raw)
    unrounded, residual = np.empty(raw.shape, np.float32), np.empty(raw.shape, np.float32)
    exactly = movie.counts.astype(np.float64)

    def fill(out: NDArray, read: Callable[[int, int], NDArray], subtract: Callable | None = None) -> None:
        done = 0
        for first, last in pieces(span.frames, movie):
            here = slice(done, done + last - first)
            values = read(first, last).reshape(last - first, -1, columns)[:, span.top : span.bottom]
            out[here] = values if subtract is None else values - subtract(raw[here])
            done = here.stop

    # Read one type of value after the other, because a reader caches the last chunk.
    fill(raw, source.read)
    fill(counts, lambda first, last: movie.counts[first:last])
    fill(unrounded, lambda first, last: exactly[first:last], lambda values: values.astype(np.float64))
    fill(residual, lambda first, last: movie[first:last], lambda values: anscombe(values, noise))
    return Block(span.frames, span.top, raw, counts, unrounded, residual, noise)


def joined(parts: list[Block]) -> Block:
    """Join consecutive blocks of the same rows."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        frames=np.concatenate([part.frames for part in parts]),
        raw=np.concatenate([part.raw for part in parts]),
        counts=np.concatenate([part.counts for part in parts]),
        unrounded=np.concatenate([part.unrounded for part in parts]),
        residual=np.concatenate([part.residual for part in parts]),
    )


def pieces(frames: NDArray[np.int64] | range, movie: Movie) -> Iterator[tuple[int, int]]:
    """Split ascending frame numbers into ranges ``(first, end)`` within a chunk, each small as float64."""
    most = max(1, _PIECE_BYTES // (8 * math.prod(movie.shape[1:])))
    numbers = np.asarray(frames)
    gaps = np.flatnonzero((np.diff(numbers) != 1) | (np.diff(numbers // movie.chunks[0]) != 0)) + 1
    for part in np.split(numbers, gaps):
        for i in range(0, len(part), most):
            yield int(part[i]), int(part[min(i + most, len(part)) - 1]) + 1


def difference(decoded: NDArray, raw: NDArray) -> NDArray[np.float32]:
    """Decoded minus raw values as float32, computed in a dtype without overflow."""
    if raw.dtype.kind == "f" or raw.dtype.itemsize > 2:
        return (decoded.astype(np.float64) - raw.astype(np.float64)).astype(np.float32)
    return (decoded.astype(np.int32) - raw).astype(np.float32)


def neighbours(raw: NDArray) -> NDArray[np.float32]:
    """Mean over 5 frames and 3 x 3 pixels around each value, without the value itself."""
    own = raw.astype(np.float32)
    total, number = own, np.ones((1, 1, 1), np.float32)
    for axis, reach in enumerate((2, 1, 1)):
        total = _box(total, axis, reach)
        ones = np.ones([n if a == axis else 1 for a, n in enumerate(raw.shape)], np.float32)
        number = number * _box(ones, axis, reach)
    if raw.size == 1:
        return own
    out: NDArray[np.float32] = (total - own) / (number - 1)
    return out


def _box(values: NDArray[np.float32], axis: int, reach: int) -> NDArray[np.float32]:
    """Sum over a window along an axis; positions outside the array add nothing."""
    total = values.copy()
    for shift in range(1, min(reach, values.shape[axis] - 1) + 1):
        near = [slice(None)] * 3
        far = [slice(None)] * 3
        near[axis], far[axis] = slice(None, -shift), slice(shift, None)
        total[tuple(near)] += values[tuple(far)]
        total[tuple(far)] += values[tuple(near)]
    return total
