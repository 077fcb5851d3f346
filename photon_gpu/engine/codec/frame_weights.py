"""Weights of each frame's own, for scenes that move: where every pixel of a frame went the same way.

Which neighbours of the running mean a frame is like depends on where it moved, so frame ``t`` has its own
least-squares mix of them (:data:`photon_gpu.kernels.reference.MIX`). All sums are of integers, and the rest
is elementwise: the same frames give the same weights on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.predictors import MIX, MIX_MULTIPLICITY, ONE, rates, within_limits
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.kernels.cpu_fit import TERMS, mix_sums

_MOST = 1 << 13  # samples of a frame, about: enough for 16 weights
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
    sums = np.empty((frames, TERMS, TERMS), np.int64)
    mean, terms = (scratch(name, (n, columns), np.int32) for name, n in (("mean", rows), ("terms", TERMS)))
    mix_sums(codes, rates(frames, rate), kept, centre, mean, terms, sums)
    gram, right = sums[:, :MIX, :MIX].astype(np.float64), sums[:, :MIX, MIX].astype(np.float64)
    counted = sums[:, MIX - 1, MIX - 1] >> 14  # the last term is 128 in every sample
    # A ridge of a thousandth of a code: equal columns stay solvable.
    gram += np.eye(MIX) * (1.0 + 4.0 * counted)[:, None, None]
    weights = _rounded(_eliminate(gram, right), centre)
    plain = np.zeros((frames, MIX), np.int64)
    plain[1:, 0], plain[0, -1] = ONE, centre * ONE
    unfit = (counted < _PER_WEIGHT * MIX) | ~within_limits(weights, top)
    return np.where(unfit[:, None], plain, weights).astype(np.int32)


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
