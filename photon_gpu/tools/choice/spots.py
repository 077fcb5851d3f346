"""Find isolated bright spots in single frames, and localise them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.model.noise import NoiseModel

LEAST, MOST_SPOTS = 20, 1000
_REACH = 3  # a spot has a window of 7 x 7 pixels; its border is the background
_SIGMAS = 8.0
_WITHIN = 0.45  # least share of a spot's light within 3 x 3 pixels, ...
_POINT = 0.6  # ... and of that, most in one pixel: else it is a hot pixel
_WIDTH = 1.3  # of the Gaussian mask, pixels
_ROUNDS = 12


@dataclass(frozen=True)
class Spots:
    """Frame, row and column of the brightest pixel of each spot."""

    frame: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frame)


def find_spots(movie: NDArray, noise: NoiseModel) -> Spots:
    """Find spots that stand 8 standard errors above their surroundings, are compact, and stand alone."""
    per_frame = [_in_frame(frame.astype(np.float64), noise) for frame in movie]
    frame = np.repeat(np.arange(len(movie)), [len(one) for one in per_frame])
    rows = np.concatenate(per_frame) if per_frame else np.empty((0, 3))
    order = np.sort(np.argsort(-rows[:, 2], kind="stable")[:MOST_SPOTS])
    return Spots(frame[order], rows[order, 0].astype(np.int64), rows[order, 1].astype(np.int64))


def _in_frame(image: NDArray[np.float64], noise: NoiseModel) -> NDArray[np.float64]:
    """Row, column and significance of each spot of a frame."""
    side = 2 * _REACH + 1
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side))
    inner, whole = _box(image, 1)[_REACH:-_REACH, _REACH:-_REACH], _box(image, _REACH)
    whole = whole[_REACH:-_REACH, _REACH:-_REACH]
    around = _box(image, _REACH - 1)[_REACH:-_REACH, _REACH:-_REACH]
    border = side**2 - (side - 2) ** 2
    background = (whole - around) / border
    excess = inner - 9 * background
    # As in the transform, 3/8 photon keeps single photons on an empty background from being spots.
    light = np.maximum(background - noise.offset, 0) + 0.375 * noise.gain
    sigma = np.sqrt((9 + 81 / border) * (noise.gain * light + noise.variance))
    rows, columns = np.nonzero(excess > _SIGMAS * sigma)
    if not len(rows):
        return np.empty((0, 3))
    middle = windows[rows, columns] - background[rows, columns, None, None]
    bright, peak = excess[rows, columns], middle[:, _REACH, _REACH]
    compact = bright > _WITHIN * np.abs(middle).sum((1, 2))
    alone = (peak >= middle.max((1, 2))) & (peak < _POINT * bright)
    good = compact & alone
    strength = bright[good] / sigma[rows[good], columns[good]]
    return np.stack([rows[good] + _REACH, columns[good] + _REACH, strength], 1)


def _box(image: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Sum over a square of ``2 * reach + 1`` pixels; the ends wrap around and are not used."""
    for axis in (0, 1):
        image = np.sum([np.roll(image, shift, axis) for shift in range(-reach, reach + 1)], axis=0)
    return image


def localise(movie: NDArray, spots: Spots) -> NDArray[np.float64]:
    """Row and column of each spot, ``(2, spots)``, pixels, by the iterated Gaussian mask.

    Source: R. E. Thompson, D. R. Larson and W. W. Webb, *Precise nanometer localization analysis for
    individual fluorescent probes*, Biophysical Journal 82:2775 (2002).
    """
    near = np.arange(-_REACH, _REACH + 1)
    rows, columns = spots.row[:, None, None] + near[:, None], spots.column[:, None, None] + near
    window = movie[spots.frame[:, None, None], rows, columns].astype(np.float64)
    border = np.ones(window.shape[1:], bool)
    border[1:-1, 1:-1] = False
    window -= window[:, border].mean(1)[:, None, None]
    offset = np.zeros((2, len(spots), 1))
    for _ in range(_ROUNDS):
        down, across = (np.exp(-((near - at) ** 2) / (2 * _WIDTH**2)) for at in offset)
        weight = window * down[:, :, None] * across[:, None, :]
        total = np.maximum(weight.sum((1, 2)), 1e-9)
        moved = [(weight * near[:, None]).sum((1, 2)) / total, (weight * near).sum((1, 2)) / total]
        offset = np.clip(moved, -_REACH, _REACH)[:, :, None]
    return np.asarray(offset[:, :, 0] + np.stack([spots.row, spots.column]))
