"""What a report looks at: a long run of frames, and short blocks all over the movie, raw and decoded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.anscombe import anscombe
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import InvalidInputError
from photon_gpu.reader.movie import Movie
from photon_gpu.sources.base import Source

RUN_FRAMES = 1000
_SHORT_FRAMES = 5
_SHORT_BLOCKS = 8
_LEAST_PHOTONS = 0.1
_PIECE_BYTES = 64 << 20

Progress = Callable[[int, int], None]
"""``progress(frames_done, frames_in_all)``."""


@dataclass(frozen=True)
class Block:
    """Frames ``first_frame...`` and rows ``first_row...`` of a movie, all arrays ``(t, rows, columns)``.

    Attributes
    ----------
    raw, counts : ndarray
        In the movie's dtype, ADU.
    unrounded : ndarray of float32
        Decoded, before rounding to integers, less raw; ADU.
    residual : ndarray of float32
        Stored stabilized value less ``A(raw)``, sigma.
    """

    first_frame: int
    first_row: int
    raw: NDArray
    counts: NDArray
    unrounded: NDArray[np.float32]
    residual: NDArray[np.float32]
    noise: NoiseModel

    @cached_property
    def light(self) -> NDArray[np.float32]:
        """Mean of a pixel's neighbours in time and space, itself left out, ADU.

        Groups made by it are not selected by the pixel's own noise, which would be a bias.
        """
        return neighbours(self.raw)

    @cached_property
    def sigma(self) -> NDArray[np.float32]:
        """Noise of the model at ``light``, ADU."""
        model = self.noise
        above = np.maximum(self.light - np.float32(model.offset), _LEAST_PHOTONS * model.gain)
        return np.sqrt(np.float32(model.gain) * above + np.float32(model.variance))

    @cached_property
    def error(self) -> NDArray[np.float32]:
        """Decoded less raw, in sigma."""
        return difference(self.counts, self.raw) / self.sigma


@dataclass(frozen=True)
class Sample:
    """Blocks of a movie; the first is the run."""

    blocks: tuple[Block, ...]
    encoding: Encoding
    noise: NoiseModel
    frames: int
    frames_in_all: int

    @property
    def run(self) -> Block:
        """Consecutive frames, for what needs time."""
        return self.blocks[0]

    @property
    def step(self) -> float:
        """Quantization step, sigma; 0 where nothing was quantized."""
        return self.encoding.step or 0.0

    @property
    def pixels(self) -> int:
        """Samples looked at."""
        return sum(block.raw.size for block in self.blocks)

    def flat(self, name: str) -> NDArray:
        """One attribute of all blocks, end to end."""
        return np.concatenate([getattr(block, name).ravel() for block in self.blocks])


def take(source: Source, movie: Movie, *, pixels: int, progress: Progress | None = None) -> Sample:
    """Read a sample of about ``pixels`` samples, spread over the movie."""
    shape = source.shape
    if shape != movie.shape or source.dtype.name != movie.encoding.dtype:
        raise InvalidInputError(
            f"{source.name} is {source.dtype.name} of shape {shape}; the movie is "
            f"{movie.encoding.dtype} of shape "
            f"{movie.shape}: they are not the same recording"
        )
    spans = plan(shape, pixels)
    total = sum(stop - start for start, stop, *_ in spans)
    done, blocks = 0, []
    for start, stop, top, bottom in spans:
        blocks.append(read_block(source, movie, start, stop, top, bottom))
        done += stop - start
        if progress is not None:
            progress(done, total)
    noise = movie.noise
    assert noise is not None
    frames = len({frame for start, stop, *_ in spans for frame in range(start, stop)})
    return Sample(tuple(blocks), movie.encoding, noise, frames, shape[0])


def plan(shape: tuple[int, ...], pixels: int) -> list[tuple[int, int, int, int]]:
    """Spans ``(first frame, last, first row, last)`` to read: a run, then short blocks.

    >>> plan((300, 200, 200), 1 << 24)
    [(0, 300, 0, 200)]
    >>> plan((100_000, 512, 512), 1 << 24)[0]
    (49500, 50500, 244, 268)
    """
    frames, columns = shape[0], shape[-1]
    rows = math.prod(shape[1:-1])
    if frames * rows * columns <= pixels:
        return [(0, frames, 0, rows)]
    length = min(frames, RUN_FRAMES)
    height = min(rows, max(8, int(0.75 * pixels) // (length * columns)))
    length = min(length, max(64, int(0.75 * pixels) // (height * columns)))
    start, top = (frames - length) // 2, (rows - height) // 2
    spans = [(start, start + length, top, top + height)]
    short = min(_SHORT_FRAMES, frames)
    tall = min(rows, max(8, pixels // 4 // (_SHORT_BLOCKS * short * columns)))
    for i in range(min(_SHORT_BLOCKS, frames // short)):
        first = round((frames - short) * i / max(_SHORT_BLOCKS - 1, 1))
        above = round((rows - tall) * ((i * 0.618) % 1))
        spans.append((first, first + short, above, above + tall))
    return spans


def read_block(source: Source, movie: Movie, start: int, stop: int, top: int, bottom: int) -> Block:
    """Raw and decoded frames, a few at a time, cut to rows ``top:bottom``."""
    columns, noise = source.shape[-1], movie.noise
    assert noise is not None
    raw = np.empty((stop - start, bottom - top, columns), source.dtype)
    counts = np.empty_like(raw)
    unrounded, residual = np.empty(raw.shape, np.float32), np.empty(raw.shape, np.float32)
    exactly = movie.counts.astype(np.float64)
    spans = pieces(start, stop, movie)

    def cut(values: NDArray) -> NDArray:
        return values.reshape(len(values), -1, columns)[:, top:bottom]

    # One kind of value after the other: a reader keeps the chunk it opened last.
    for first, last in spans:
        raw[first - start : last - start] = cut(source.read(first, last))
    for first, last in spans:
        counts[first - start : last - start] = cut(movie.counts[first:last])
    for first, last in spans:
        here = slice(first - start, last - start)
        unrounded[here] = cut(exactly[first:last]) - raw[here].astype(np.float64)
    for first, last in spans:
        here = slice(first - start, last - start)
        residual[here] = cut(movie[first:last]) - anscombe(raw[here], noise)
    return Block(start, top, raw, counts, unrounded, residual, noise)


def pieces(start: int, stop: int, movie: Movie) -> list[tuple[int, int]]:
    """Spans of frames within one chunk each, small enough to hold as float64."""
    pixels = math.prod(movie.shape[1:])
    most = max(1, _PIECE_BYTES // (8 * pixels))
    out = []
    while start < stop:
        end = min((start // movie.chunks[0] + 1) * movie.chunks[0], start + most, stop)
        out.append((start, end))
        start = end
    return out


def difference(decoded: NDArray, raw: NDArray) -> NDArray[np.float32]:
    """Decoded less raw, without wrapping, as float32."""
    if raw.dtype.kind == "f" or raw.dtype.itemsize > 2:
        return (decoded.astype(np.float64) - raw.astype(np.float64)).astype(np.float32)
    return (decoded.astype(np.int32) - raw).astype(np.float32)


def neighbours(raw: NDArray) -> NDArray[np.float32]:
    """Mean over 5 frames and 3 x 3 pixels around each sample, itself left out."""
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
    """Sum over a window along an axis; what lies outside counts nothing."""
    total = values.copy()
    for shift in range(1, min(reach, values.shape[axis] - 1) + 1):
        near = [slice(None)] * 3
        far = [slice(None)] * 3
        near[axis], far[axis] = slice(None, -shift), slice(shift, None)
        total[tuple(near)] += values[tuple(far)]
        total[tuple(far)] += values[tuple(near)]
    return total
