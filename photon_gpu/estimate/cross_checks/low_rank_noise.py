"""Rank of the noise: reconstructions from few components, and filters, leave directions without noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.estimate.sample import Window

_FRAMES, _PIXELS = 320, 8  # Most frames, and pixels per frame of the sample.
_FEWEST = 24  # Frames.
_SIDES = (8, 6, 4, 3)  # Pixels of a patch.
_PATCHES = 64
_EMPTY = 0.35  # Share of the smallest eigenvalue of white noise below which a direction holds no noise.
_STRUCTURE = 8  # Directions with most noise, which leftovers of structure may hold.
_SHARED = ((1, 4 / 3), (2, -1 / 3))  # Columns apart, and factors, as of the nugget of the line.


@dataclass(frozen=True, kw_only=True)
class NoiseRank:
    """How the noise is spread over directions.

    Attributes
    ----------
    missing : float
        Share of directions without noise, among frames or among the pixels of a patch.
    drop : float
        Factor between the noise of two directions of frames that come after each other in order of noise.
    strong : int
        Directions above that drop.
    """

    missing: float
    drop: float
    strong: int


FULL = NoiseRank(missing=0.0, drop=1.0, strong=0)
"""The rank of raw noise."""


def noise_rank(windows: Sequence[Window], gain: float, intercept: float) -> NoiseRank:
    """Measure the rank of the noise.

    The eigenvalues of the covariance of white noise have a smallest value (Marchenko and Pastur), and lie
    close together. A movie that was rebuilt from some of its components has eigenvalues of about zero, and a
    filter has small ones. A share of the other components in the movie leaves a drop between both groups.
    """
    groups: dict[tuple[int, int], list[NDArray]] = {}
    for window in windows:
        groups.setdefault((window.plane, window.row), []).append(window.frames)
    frames = np.concatenate(max(groups.values(), key=lambda parts: sum(map(len, parts))))[:_FRAMES]
    if not np.isfinite(frames).all():
        return FULL
    frames = frames[frames.min(axis=(1, 2)) < frames.max(axis=(1, 2))]
    if len(frames) < _FEWEST:
        return FULL
    noise = _standardized(frames.astype(np.float32), gain, intercept)
    drop, strong = _drop(noise)
    return NoiseRank(missing=max(_of_frames(noise), _of_patches(noise)), drop=drop, strong=strong)


def _standardized(frames: NDArray, gain: float, intercept: float) -> NDArray:
    """Frames minus the mean over time, over the noise that the line gives."""
    mean = frames.mean(axis=0)
    expected = gain * mean + intercept
    floor = max(0.25 * float(np.median(expected)), 1e-9)
    noise = (frames - mean) / np.sqrt(np.maximum(expected, floor))
    return np.asarray(noise / np.maximum(np.sqrt((noise**2).mean(axis=(1, 2), keepdims=True)), 1e-9))


def _of_frames(noise: NDArray) -> float:
    frames = len(noise)
    flat = noise.reshape(frames, -1)
    if flat.shape[1] < 2 * frames:
        return 0.0
    flat = flat[:, :: max(1, flat.shape[1] // (_PIXELS * frames))]
    values = np.linalg.eigvalsh((flat @ flat.T / flat.shape[1]).astype(np.float64))
    # The mean over time was subtracted, which empties one direction.
    return _empty(values[1:], frames / flat.shape[1])


def _drop(noise: NDArray) -> tuple[float, int]:
    """Largest drop between eigenvalues of the noise that columns do not share, and its place."""
    frames, _, width = noise.shape
    rows = noise[:, :: max(1, noise[0].size // (2 * _PIXELS * frames))]
    if width < 8 or rows[0].size < 4 * frames:
        return FULL.drop, FULL.strong
    width -= len(_SHARED)
    first = rows[:, :, :width].reshape(frames, -1)
    covariance = first @ first.T
    for lag, factor in _SHARED:
        shared = first @ rows[:, :, lag : lag + width].reshape(frames, -1).T
        covariance -= factor / 2 * (shared + shared.T)
    values = np.linalg.eigvalsh((covariance / first.shape[1]).astype(np.float64))[::-1]
    floor = 0.02 * float(np.median(values))
    # The smallest are cut off: they have few neighbours, and one is empty.
    ratios = np.maximum(values[:-1], floor) / np.maximum(values[1:], floor)
    inside = ratios[_STRUCTURE : len(ratios) - _STRUCTURE]
    at = int(inside.argmax())
    return float(inside[at]), at + _STRUCTURE + 1


def _of_patches(noise: NDArray) -> float:
    frames, height, width = noise.shape
    side = next((s for s in _SIDES if 1.4 * s * s <= frames and s <= min(height, width)), None)
    if side is None:
        return 0.0
    corners = [(y, x) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
    shares = []
    for y, x in corners[:: max(1, len(corners) // _PATCHES)]:
        patch = noise[:, y : y + side, x : x + side].reshape(frames, -1)
        spread = patch.std(axis=0)
        if not (spread > 0.1).all():
            continue
        patch = patch / spread
        values = np.linalg.eigvalsh((patch.T @ patch / frames).astype(np.float64))
        shares.append(_empty(values, side * side / frames))
    return float(np.mean(shares)) if shares else 0.0


def _empty(values: NDArray, ratio: float) -> float:
    """Share of eigenvalues below those of white noise, whose level is that of the lower half."""
    edge, top = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    values = np.sort(values)
    level = float(np.median(values)) / _median(edge, top, ratio)
    return float((values < _EMPTY * edge * level).mean())


def _median(edge: float, top: float, ratio: float) -> float:
    """Median eigenvalue of the covariance of white noise."""
    x = np.linspace(edge, top, 2001)[1:-1]
    density = np.cumsum(np.sqrt((x - edge) * (top - x)) / x)
    return float(x[np.searchsorted(density, density[-1] / 2)])
