"""Fit predictor weights for each frame, for scenes in which whole frames move.

The neighbours of the running mean that predict a frame best depend on how far it moved. Frame ``t`` therefore
has its own least-squares weights (:data:`photon_gpu.kernels.reference.MIX`). Sums are integers and the
rest is elementwise, so the same frames give the same weights on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.codec.predictors import MIX, MIX_MULTIPLICITY, ONE, rates, within_limits
from photon_gpu.engine.runtime.scratch import scratch
from photon_gpu.kernels.cpu_normal_equations import TERMS, mix_sums

_MOST = 1 << 13  # samples of a frame, about: enough for 16 weights
_PER_WEIGHT = 50


def fit_frames(codes: NDArray, rate: int, top: int) -> NDArray[np.int32]:
    """Weights ``(T, 16)``, in 1/256, for each frame of codes ``(T, R, C)`` counted from a chunk's base.

    ``rate`` is that of the running mean, ``top`` the greatest code. A frame with too few samples to fit,
    or whose weights exceed the limits of the format, is predicted by the running mean alone.
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
    # A ridge of a thousandth of a code keeps equal columns solvable.
    gram += np.eye(MIX) * (1.0 + 4.0 * counted)[:, None, None]
    weights = _rounded(_eliminate(gram, right), centre)
    plain = np.zeros((frames, MIX), np.int64)
    plain[1:, 0], plain[0, -1] = ONE, centre * ONE
    unfit = (counted < _PER_WEIGHT * MIX) | ~within_limits(weights, top)
    return np.where(unfit[:, None], plain, weights).astype(np.int32)


def _eliminate(gram: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve one system per frame by Gauss without pivoting; the matrices are positive definite."""
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
    """Integer weights of the kernels' terms; the constant corrects for the rounding of the others."""
    weights = np.rint(solved * ONE)
    multiplicity = np.array(MIX_MULTIPLICITY)
    weights[:, 0] += ONE - np.rint(solved[:, 1:11] * ONE) @ multiplicity[1:11]
    weights[1:, 0] -= weights[1:, 11:15].sum(1)
    weights[0, 0] = 0
    gathered = weights[:, :-1] @ multiplicity[:-1]
    weights[:, -1] = np.rint((solved[:, -1] + centre) * ONE) - gathered * centre
    return np.clip(weights, -(2**62), 2**62).astype(np.int64)
