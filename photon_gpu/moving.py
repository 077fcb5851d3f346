"""Weights of each frame's own, for scenes that move: where every pixel of a frame went the same way.

Which neighbours of the running mean a frame is like depends on where it moved, so frame ``t`` has its own
least-squares mix of them (:data:`photon_gpu.kernels.reference.MIX`). All sums are of integers that float64
holds exactly, and the rest is elementwise: the same frames give the same weights on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.predictors import MIX, MIX_MULTIPLICITY, ONE, rates, within_limits

_LIMIT = 1 << 17
_MOST = 1 << 13  # samples of a frame: enough for 16 weights; sums of squares below _LIMIT stay within 2**53
_PER_WEIGHT = 50


def fit_frames(codes: NDArray, rate: int, top: int) -> NDArray[np.int32]:
    """Weights ``(T, 16)``, in 1/256, for each frame of codes ``(T, R, C)`` counted from a chunk's base.

    ``rate`` is the running mean's, ``top`` the greatest code. A frame that does not determine any, or asks
    for more than the format allows, has the running mean alone.
    """
    frames, rows, columns = codes.shape
    every = -(-rows * columns // _MOST)
    kept = np.arange(min(every // 2, rows - 1), rows, every)
    centre = int(np.rint(np.median(codes[0])))
    gram, right = np.zeros((frames, MIX, MIX)), np.zeros((frames, MIX))
    counted = np.zeros(frames, np.int64)
    mean = previous = np.zeros((rows, columns), np.int32)
    for t, (frame, step) in enumerate(zip(codes, rates(frames, rate).tolist(), strict=True)):
        now = frame.astype(np.int32) << 7
        samples, wanted = _samples(mean, previous, now, centre, kept, alone=t == 0)
        gram[t], right[t], counted[t] = samples @ samples.T, samples @ wanted, wanted.size
        mean = mean + (((now - mean) * step + 64) >> 7)
        previous = now
    # A ridge of a thousandth of a code: equal columns stay solvable.
    gram += np.eye(MIX) * (1.0 + 4.0 * counted)[:, None, None]
    weights = _rounded(_eliminate(gram, right), centre)
    plain = np.zeros((frames, MIX), np.int64)
    plain[1:, 0], plain[0, -1] = ONE, centre * ONE
    unfit = (counted < _PER_WEIGHT * MIX) | ~within_limits(weights, top)
    return np.where(unfit[:, None], plain, weights).astype(np.int32)


def _samples(
    mean: NDArray, previous: NDArray, now: NDArray, centre: int, kept: NDArray[np.intp], *, alone: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Terms ``(16, n)`` and codes ``(n,)`` of rows ``kept``, in 1/128 code, relative to an anchor.

    That is the running mean, or ``centre`` for a frame that has no past (``alone``). The first term is how far
    the mean is from ``centre``: its own weight is solved for as an offset from "predict the anchor".
    """
    above, below = np.maximum(kept - 1, 0), np.minimum(kept + 1, len(mean) - 1)
    middle = mean[kept]
    anchor = np.full_like(middle, centre << 7) if alone else middle
    north, south = mean[above], mean[below]
    m, p = _beside(middle), _beside(previous[kept])
    n = _beside(now[kept])
    up, down = _beside(north), _beside(south)
    # Where the frame has nothing above or beside, the kernels have the mean.
    upper = _beside(np.where((kept == 0)[:, None], middle, now[above]))
    terms = [
        middle - (centre << 7),
        *(plane - middle for plane in (north, south, m[:, :-2], m[:, 2:])),
        *(plane - middle for plane in (up[:, :-2], up[:, 2:], down[:, :-2], down[:, 2:])),
        previous[kept] - middle,
        previous[above] + previous[below] + p[:, :-2] + p[:, 2:] - 4 * middle,
    ]
    if alone:
        terms = [np.zeros_like(middle) for _ in terms]
    terms += [plane - anchor for plane in (n[:, :-2], upper[:, 1:-1], upper[:, :-2], upper[:, 2:])]
    stacked = np.stack([*terms, np.full_like(middle, 128)]).reshape(MIX, -1)
    wanted = (now[kept] - anchor).ravel()
    near = (np.abs(stacked).max(0) < _LIMIT) & (np.abs(wanted) < _LIMIT)
    return stacked[:, near].astype(np.float64), wanted[near].astype(np.float64)


def _beside(rows: NDArray) -> NDArray:
    """Rows with the nearest pixel beyond each end."""
    return np.pad(rows, ((0, 0), (1, 1)), mode="edge")


def _eliminate(gram: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gauss without pivoting, one system per frame; the matrices are positive definite."""
    gram, right = gram.copy(), right.copy()
    size = right.shape[1]
    for i in range(size):
        for j in range(i + 1, size):
            factor = gram[:, j, i] / gram[:, i, i]
            gram[:, j] -= factor[:, None] * gram[:, i]
            right[:, j] -= factor * right[:, i]
    for i in reversed(range(size)):
        for j in range(i + 1, size):
            right[:, i] -= gram[:, i, j] * right[:, j]
        right[:, i] /= gram[:, i, i]
    return right


def _rounded(solved: NDArray[np.float64], centre: int) -> NDArray[np.int64]:
    """Weights of the terms as the kernels have them; the constant makes up for the rounding of the others."""
    weights = np.rint(solved * ONE)
    multiplicity = np.array(MIX_MULTIPLICITY)
    weights[:, 0] += ONE - np.rint(solved[:, 1:11] * ONE) @ multiplicity[1:11]
    weights[1:, 0] -= weights[1:, 11:15].sum(1)
    weights[0, 0] = 0
    gathered = weights[:, :-1] @ multiplicity[:-1]
    weights[:, -1] = np.rint((solved[:, -1] + centre) * ONE) - gathered * centre
    return np.clip(weights, -(2**62), 2**62).astype(np.int64)
