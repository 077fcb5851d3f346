"""Find regions of interest by the correlation of neighbouring pixels, and their traces."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MOST = 40
_RADIUS = 8
_LEAST_PIXELS = 9
_PEAK, _MEMBER = 6.0, 3.0  # standard errors of a correlation


def find_regions(movie: NDArray) -> NDArray[np.int32]:
    """Label up to 40 regions, 0 outside.

    A seed is the pixel whose mean correlation with its eight neighbours is largest. Its region are the
    connected pixels, at most 8 away, whose correlation with the seed is at least half of that around it.
    Then the next seed is taken. Sources: S. L. Smith and M. Hausser, *Parallel processing of visual space by
    neighboring neurons in mouse visual cortex*, Nature Neuroscience 13:1144 (2010), for the map; greedy seeds
    as in E. A. Pnevmatikakis et al., Neuron 89:285 (2016).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> movie = rng.normal(0, 1, (200, 24, 24))
    >>> movie[:, 8:13, 8:13] += rng.normal(0, 1, (200, 1, 1))
    >>> labels = find_regions(movie)
    >>> int(labels.max()), int((labels > 0).sum())
    (1, 25)
    """
    standard = _standardized(movie)
    free = _local_correlation(standard)
    labels = np.zeros(free.shape, np.int32)
    least = _least_correlation(movie)
    number = 0
    while number < MOST:
        row, column = (int(n) for n in np.unravel_index(int(free.argmax()), free.shape))
        if free[row, column] < least:
            break
        window = tuple(slice(max(n - _RADIUS, 0), n + _RADIUS + 1) for n in (row, column))
        near = tuple(slice(max(n - 1, 0), n + 2) for n in (row, column))
        member = _members(standard, window, near, (row, column)) & (labels[window] == 0)
        free[near] = -1
        free[window][member] = -1
        if member.sum() >= _LEAST_PIXELS:
            number += 1
            labels[window][member] = number
    return labels


def correlated_pixels(movie: NDArray) -> NDArray[np.bool_]:
    """Pixels that change together with their neighbours; seeds of regions are among them."""
    return np.asarray(_local_correlation(_standardized(movie)) >= _least_correlation(movie))


def _least_correlation(movie: NDArray) -> float:
    return _PEAK / math.sqrt(8 * len(movie))


def _members(
    standard: NDArray, window: tuple[slice, ...], near: tuple[slice, ...], seed: tuple[int, int]
) -> NDArray[np.bool_]:
    """Pixels of a window that are connected with the seed and correlate with it."""
    trace = standard[:, near[0], near[1]].mean((1, 2))
    trace = trace / max(float(np.sqrt((trace**2).mean())), 1e-20)
    correlation = np.tensordot(trace, standard[:, window[0], window[1]], 1) / len(standard)
    row, column = (n - part.start for n, part in zip(seed, window, strict=True))
    ring = correlation[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
    # The seed's own noise raises the correlation of the nine pixels that it is the mean of.
    high = correlation > max(0.5 * float(np.median(ring)), _MEMBER / math.sqrt(len(standard)))
    member = np.zeros_like(high)
    member[row, column] = high[row, column]
    for _ in range(2 * _RADIUS):
        grown = member.copy()
        grown[1:] |= member[:-1]
        grown[:-1] |= member[1:]
        grown[:, 1:] |= member[:, :-1]
        grown[:, :-1] |= member[:, 1:]
        member = grown & high
    return member


def traces(movie: NDArray, labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Mean of each region in each frame, ``(regions, frames)``, ADU."""
    flat = movie.reshape(len(movie), -1)
    return np.stack(
        [flat[:, np.flatnonzero(labels == n)].mean(1, dtype=np.float64) for n in range(1, labels.max() + 1)]
    )


def _standardized(movie: NDArray) -> NDArray[np.float32]:
    """Each pixel with mean 0 and standard deviation 1 over time; 0 if it is constant."""
    values = movie.astype(np.float32)
    values -= values.mean(0, dtype=np.float64).astype(np.float32)
    spread = np.sqrt(np.einsum("tyx,tyx->yx", values, values) / len(values))
    values *= np.where(spread > 0, 1 / np.maximum(spread, np.float32(1e-20)), 0)
    return values


def _local_correlation(standard: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean correlation of each pixel with its eight neighbours."""
    total = np.zeros(standard.shape[1:])
    number = np.zeros_like(total)
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows = slice(None, -down or None), slice(down, None)
        columns = slice(max(-across, 0), -across if across > 0 else None)
        others = slice(max(across, 0), across if across < 0 else None)
        one, two = (rows[0], columns), (rows[1], others)
        products = np.einsum("tyx,tyx->yx", standard[:, *one], standard[:, *two]) / len(standard)
        for part in (one, two):
            total[part] += products
            number[part] += 1
    return np.asarray(total / number)
