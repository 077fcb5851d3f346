"""Terms of a prediction, and the running state that they are computed from.

:mod:`photon_gpu.kernels.cpu` calls and inlines these functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit

LARGE = 64
"""Least rate, in 1/128, at which a step of the mean does not fit 16 bits."""


def _cast(value, codes):  # type: ignore[no-untyped-def]  # numba compares signatures
    """Cast to int32 for sums over 8-bit codes, to int64 for sums over 16-bit codes."""


@overload(_cast, inline="always")
def _cast_typed(value, codes):  # type: ignore[no-untyped-def]
    if codes.dtype.bitwidth == 8:
        return lambda value, codes: np.int32(value)
    return lambda value, codes: np.int64(value)


wide: Any = _cast


def _wrap(difference, codes):  # type: ignore[no-untyped-def]
    """Wrap to a signed integer as wide as a code, in an int32."""


@overload(_wrap, inline="always")
def _wrap_typed(difference, codes):  # type: ignore[no-untyped-def]
    if codes.dtype.bitwidth == 8:
        return lambda difference, codes: np.int32(np.int8(difference))
    return lambda difference, codes: np.int32(np.int16(difference))


wrapped: Any = _wrap


@jit
def zigzag(difference: Any, codes: NDArray) -> Any:
    """Fold a difference, wrapped to the width of a code, to a small unsigned number."""
    signed = wrapped(difference, codes)
    return np.int32(np.int32(signed << 1) ^ np.int32(signed >> 31))


@jit
def unzigzag(residual: Any) -> Any:
    """Inverse of :func:`zigzag`."""
    folded = np.int32(residual)
    return np.int32(np.int32(folded >> 1) ^ np.int32(-np.int32(folded & 1)))


@jit
def follow(mean: Any, now: Any, rate: Any, codes: NDArray) -> Any:
    """Running mean after one more frame."""
    distance = np.int32(np.int32(np.int32(now) << 7) - mean)
    moved = wide(wide(distance, codes) * rate, codes)
    return np.int32(mean + np.int32(wide(moved + wide(64, codes), codes) >> 7))


@jit
def short_follow(mean: Any, now: Any, rate: Any) -> Any:
    """Running mean of 8-bit codes at a rate below 64, in 16 bits: twice as many fit a vector."""
    distance = np.int16(np.int16(np.int16(now) << np.int16(7)) - mean)
    whole = np.int16(np.int32(np.int32(distance) * np.int32(np.int16(rate << 9))) >> np.int32(16))
    half = np.int16(np.int16(np.int16(distance * np.int16(rate)) >> np.int16(6)) & np.int16(1))
    return np.int16(mean + np.int16(whole + half))


@jit
def short_prediction(mean: Any) -> Any:
    """Running mean rounded to a code, in 16 bits."""
    return np.int16(np.int16(mean + np.int16(64)) >> np.int16(7))


@jit
def short_zigzag(difference: Any) -> Any:
    """Fold a difference of 8-bit codes like :func:`zigzag`, in 16 bits."""
    signed = np.int16(np.int8(difference))
    return np.int16(np.int16(signed << np.int16(1)) ^ np.int16(signed >> np.int16(15)))


@jit
def short_unzigzag(residual: Any) -> Any:
    """Inverse of :func:`short_zigzag`."""
    folded = np.int16(residual)
    return np.int16(np.int16(folded >> np.int16(1)) ^ np.int16(-np.int16(folded & np.int16(1))))


@jit
def short_means(state: NDArray, pixels: int, first: int) -> NDArray[np.int16]:
    """Running means of 8-bit codes, in the memory of ``state``; they wrap as the codes do."""
    mean = state.reshape(-1).view(np.int16)[:pixels]
    mean[:] = np.int16(first << 7)
    return mean


@jit
def predict_short(codes: NDArray, rate: int, mean: NDArray[np.int16], out: NDArray) -> None:
    """Residuals of one frame of 8-bit codes, whose mean fits 16 bits."""
    if rate >= LARGE:
        for i in range(codes.size):
            now, wide = np.int32(codes[i]), np.int32(mean[i])
            predicted = np.int32(np.int32(wide + np.int32(64)) >> 7)
            out[i] = zigzag(np.int32(now - predicted), codes)
            mean[i] = follow(wide, now, np.int32(rate), codes)
        return
    for i in range(codes.size):
        out[i] = short_zigzag(np.int16(np.int16(codes[i]) - short_prediction(mean[i])))
        mean[i] = short_follow(mean[i], codes[i], rate)


@jit
def restore_short(residuals: NDArray, rate: int, mean: NDArray[np.int16], out: NDArray) -> None:
    """Inverse of :func:`predict_short`."""
    if rate >= LARGE:
        for i in range(residuals.size):
            wide = np.int32(mean[i])
            predicted = np.int32(np.int32(wide + np.int32(64)) >> 7)
            out[i] = np.int32(predicted + unzigzag(residuals[i]))
            mean[i] = follow(wide, out[i], np.int32(rate), out)
        return
    for i in range(residuals.size):
        now = np.uint8(short_prediction(mean[i]) + short_unzigzag(residuals[i]))
        out[i] = now
        mean[i] = short_follow(mean[i], now, rate)


@jit
def begin(state: NDArray) -> None:
    """Reset the state to zeros, for a frame without a past."""
    for plane in range(state.shape[0]):
        for r in range(state.shape[1]):
            for c in range(state.shape[2]):
                state[plane, r, c] = 0


@jit
def replicate_edges(plane: NDArray) -> None:
    """Copy the outermost pixels to the border of a plane."""
    rows, columns = plane.shape
    for c in range(1, columns - 1):
        plane[0, c], plane[rows - 1, c] = plane[1, c], plane[rows - 2, c]
    for r in range(rows):
        plane[r, 0], plane[r, columns - 1] = plane[r, 1], plane[r, columns - 2]


@jit
def advance(frame: NDArray, rate: Any, state: NDArray) -> None:
    """Move the mean towards a frame, and make it the previous frame."""
    for r in range(frame.shape[0]):
        for c in range(frame.shape[1]):
            now = np.int32(frame[r, c])
            state[0, r + 1, c + 1] = follow(state[0, r + 1, c + 1], now, rate, frame)
            state[1, r + 1, c + 1] = np.int32(now << 7)
    replicate_edges(state[0])
    replicate_edges(state[1])


@jit
def frame_with_mean(mean: NDArray, now: NDArray) -> None:
    """Copy the running mean to the current frame, whose border it remains."""
    for r in range(mean.shape[0]):
        for c in range(mean.shape[1]):
            now[r, c] = mean[r, c]


@jit
def past(w: NDArray, mean: NDArray, previous: NDArray, r: int, c: int, codes: NDArray) -> Any:
    """Sum of the weighted terms of the past."""
    total = wide(wide(w[10], codes) << 7, codes)
    total = wide(total + wide(w[0] * wide(mean[r + 1, c + 1], codes), codes), codes)
    vertical = wide(mean[r, c + 1] + wide(mean[r + 2, c + 1], codes), codes)
    total = wide(total + wide(w[1] * vertical, codes), codes)
    horizontal = wide(mean[r + 1, c] + wide(mean[r + 1, c + 2], codes), codes)
    total = wide(total + wide(w[2] * horizontal, codes), codes)
    upper = wide(mean[r, c] + wide(mean[r, c + 2], codes), codes)
    lower = wide(mean[r + 2, c] + wide(mean[r + 2, c + 2], codes), codes)
    total = wide(total + wide(w[3] * wide(upper + lower, codes), codes), codes)
    total = wide(total + wide(w[4] * wide(previous[r + 1, c + 1], codes), codes), codes)
    across = wide(previous[r + 1, c] + wide(previous[r + 1, c + 2], codes), codes)
    along = wide(previous[r, c + 1] + wide(previous[r + 2, c + 1], codes), codes)
    return wide(total + wide(w[5] * wide(across + along, codes), codes), codes)


@jit
def all_but_west(w: NDArray, state: NDArray, r: int, out: NDArray[np.int64], codes: NDArray) -> None:
    """Sum all terms of a row's predictions except the one of :func:`west`, which needs the pixel before."""
    for c in range(out.size):
        total = mix(w, state[0], state[1], r, c, codes)
        out[c] = wide(total + above(w, state[2], r, c, codes), codes)


@jit
def mix(w: NDArray, mean: NDArray, previous: NDArray, r: int, c: int, codes: NDArray) -> Any:
    """Sum of the weighted terms of the past, with a weight for each neighbour of the mean."""
    total = wide(wide(w[15], codes) << 7, codes)
    total = wide(total + wide(w[0] * wide(mean[r + 1, c + 1], codes), codes), codes)
    total = wide(total + wide(w[1] * wide(mean[r, c + 1], codes), codes), codes)
    total = wide(total + wide(w[2] * wide(mean[r + 2, c + 1], codes), codes), codes)
    total = wide(total + wide(w[3] * wide(mean[r + 1, c], codes), codes), codes)
    total = wide(total + wide(w[4] * wide(mean[r + 1, c + 2], codes), codes), codes)
    total = wide(total + wide(w[5] * wide(mean[r, c], codes), codes), codes)
    total = wide(total + wide(w[6] * wide(mean[r, c + 2], codes), codes), codes)
    total = wide(total + wide(w[7] * wide(mean[r + 2, c], codes), codes), codes)
    total = wide(total + wide(w[8] * wide(mean[r + 2, c + 2], codes), codes), codes)
    total = wide(total + wide(w[9] * wide(previous[r + 1, c + 1], codes), codes), codes)
    across = wide(previous[r + 1, c] + wide(previous[r + 1, c + 2], codes), codes)
    along = wide(previous[r, c + 1] + wide(previous[r + 2, c + 1], codes), codes)
    return wide(total + wide(w[10] * wide(across + along, codes), codes), codes)


@jit
def above(w: NDArray, now: NDArray, r: int, c: int, codes: NDArray) -> Any:
    """Sum of the weighted terms of the row above in the current frame."""
    total = wide(w[12] * wide(now[r, c + 1], codes), codes)
    total = wide(total + wide(w[13] * wide(now[r, c], codes), codes), codes)
    return wide(total + wide(w[14] * wide(now[r, c + 2], codes), codes), codes)


@jit
def west(w: NDArray, west: Any, codes: NDArray) -> Any:
    """Weighted code to the left: the only term that depends on the pixel before in its row."""
    return wide(w[11] * wide(west, codes), codes)


@jit
def prediction(total: Any, codes: NDArray) -> Any:
    """Round a sum of weighted terms to a code."""
    return np.int32(wide(wide(total + wide(16384, codes), codes) >> 15, codes))


@jit
def level(predicted: Any, codes: NDArray, last: Any) -> Any:
    """Level of a prediction wrapped to a code's width; unsigned, so no index counts from the end."""
    mask = np.int32(255) if codes.itemsize == 1 else np.int32(65535)
    return np.uint64(min(np.int32(predicted & mask), np.int32(last)))
