"""Unpack residuals and restore codes in one pass, while the residuals are still in the cache."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels import cpu_prediction_terms as terms
from photon_gpu.kernels.cpu import unpack
from photon_gpu.kernels.cpu_cache import jit


@jit
def restore_mean_packed(
    nibbles: NDArray[np.uint8],
    escapes: NDArray,
    starts: NDArray[np.int64],
    segment: int,
    rates: NDArray[np.int32],
    first: int,
    state: NDArray,
    out: NDArray,
) -> int:
    """Run ``unpack`` and ``restore_mean`` on 8-bit codes ``out (T, n)``; return the result of ``unpack``.

    Each segment of residuals is unpacked into the place of its codes, and restored there frame by frame.
    """
    pixels, flat, unpacked, strange = out.shape[1], out.reshape(-1), 0, 0
    mean = terms.short_means(state, pixels, first)
    for t in range(out.shape[0]):
        while unpacked < (t + 1) * pixels:
            row, end = unpacked // segment, min(unpacked + segment, flat.size)
            strange += unpack(
                nibbles[unpacked >> 1 :], escapes, starts[row : row + 2], segment, flat[unpacked:end]
            )
            unpacked = end
        _restore_here(out[t], rates[t], mean)
    return strange


@jit
def _restore_here(frame: NDArray, rate: int, mean: NDArray[np.int16]) -> None:
    """Restore like ``restore_short``, in place; LLVM does not vectorize two arrays that overlap."""
    if rate >= terms.LARGE:
        for i in range(frame.size):
            wide = np.int32(mean[i])
            predicted = np.int32(np.int32(wide + np.int32(64)) >> 7)
            frame[i] = np.int32(predicted + terms.unzigzag(frame[i]))
            mean[i] = terms.follow(wide, frame[i], np.int32(rate), frame)
        return
    for i in range(frame.size):
        now = np.uint8(terms.short_prediction(mean[i]) + terms.short_unzigzag(frame[i]))
        frame[i] = now
        mean[i] = terms.short_follow(mean[i], now, rate)
