"""Reduce a movie chunk by chunk in bounded memory: sum, mean, variance, least and greatest value."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError
from photon_gpu.reader.movie_protocol import Readable

Axis = int | tuple[int, ...] | None


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the axes to reduce, each from 0 to ``ndim - 1``; None means all."""
    if axis is None:
        return tuple(range(ndim))
    try:
        axes = tuple(operator.index(number) for number in (axis if isinstance(axis, tuple) else (axis,)))
    except TypeError:
        raise InvalidInputError(f"axis is {axis!r}; an integer, several of them or None is needed") from None
    if not all(-ndim <= number < ndim for number in axes):
        raise InvalidInputError(f"axis is {axis!r}; the movie has axes 0 to {ndim - 1}")
    axes = tuple(sorted(number % ndim for number in axes))
    if len(set(axes)) < len(axes):
        raise InvalidInputError(f"axis is {axis!r}, which names an axis twice")
    return axes


def blocks(movie: Readable, dtype: np.dtype) -> Iterator[NDArray[Any]]:
    """Yield the frames of the movie, one chunk after another."""
    for first in range(0, len(movie), movie.chunks[0]):
        yield movie.read(slice(first, first + movie.chunks[0]), dtype)


def least_or_greatest(movie: Readable, dtype: np.dtype, ufunc: np.ufunc, axes: tuple[int, ...]) -> NDArray:
    """Reduce by ``np.minimum`` or ``np.maximum``; reduced axes stay, with length 1."""
    parts = (ufunc.reduce(block, axis=axes, keepdims=True) for block in blocks(movie, dtype))
    return _joined(parts, ufunc, 0 in axes)


def total(movie: Readable, dtype: np.dtype, axes: tuple[int, ...], sum_dtype: Any = None) -> NDArray:
    """Sum as NumPy does: integers in 64 bits. Reduced axes stay, with length 1."""
    parts = (block.sum(axis=axes, keepdims=True, dtype=sum_dtype) for block in blocks(movie, dtype))
    return _joined(parts, np.add, 0 in axes)


def mean_and_squares(
    movie: Readable, dtype: np.dtype, axes: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return the mean, the sum of squared deviations, and the number of samples. Reduced axes stay.

    Chunks are merged by the update of Chan, Golub and LeVeque (Am. Stat. 37, 1983, 242), which loses no
    digits where the variance is far below the square of the mean.
    """
    means: list[NDArray[np.float64]] = []
    squares: list[NDArray[np.float64]] = []
    count = 0
    for block in blocks(movie, dtype):
        size = math.prod(block.shape[axis] for axis in axes)
        mean = block.mean(axis=axes, keepdims=True, dtype=np.float64)
        square = block.var(axis=axes, keepdims=True, dtype=np.float64) * size
        if 0 not in axes or not count:
            means.append(mean)
            squares.append(square)
            count = size
            continue
        both, apart = count + size, mean - means[0]
        squares[0] = squares[0] + square + apart**2 * (count * size / both)
        means[0] = means[0] + apart * (size / both)
        count = both
    return np.concatenate(means), np.concatenate(squares), count


def _joined(parts: Iterator[NDArray[Any]], ufunc: np.ufunc, across_chunks: bool) -> NDArray[Any]:
    """Combine the results of all chunks: by ``ufunc`` if time was reduced, else one after another."""
    if not across_chunks:
        return np.concatenate(list(parts))
    result = next(parts)
    for part in parts:
        result = ufunc(result, part)
    return result
