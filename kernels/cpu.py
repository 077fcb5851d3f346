"""The kernels by Numba: the same functions as :mod:`photon_gpu.kernels.reference`, in the same order.

Each runs on the thread that calls it and holds no lock (``nogil``): the engine calls them
from many threads, one block of a chunk each. No fastmath; compiled code is cached on disk.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

FRACTION, WEIGHT, TERMS = 7, 8, 11

_jit = numba.njit(nogil=True, cache=True, fastmath=False, error_model="numpy")
_inline = numba.njit(nogil=True, cache=True, fastmath=False, error_model="numpy", inline="always")


@_jit
def extent(values: NDArray, out: NDArray) -> None:
    """See the reference."""
    low, high, strange, seen = values[0], values[0], 0, False
    for i in range(values.size):
        value = values[i]
        if np.isfinite(value):
            if not seen:
                low, high, seen = value, value, True
            low, high = min(low, value), max(high, value)
        else:
            strange += 1
    if seen:
        out[0], out[1] = low, high
    out[2] = strange


@_inline
def phase(index: Any, seed: Any) -> Any:
    """See the reference."""
    h = np.uint32(np.uint32(np.uint32(index) * np.uint32(0x9E3779B1)) + np.uint32(seed))
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x7FEB352D))
    h = np.uint32(h ^ (h >> np.uint32(15)))
    h = np.uint32(h * np.uint32(0x846CA68B))
    h = np.uint32(h ^ (h >> np.uint32(16)))
    return np.uint32(h >> np.uint32(28))


@_jit
def forward_lut(patterns: NDArray, lut: NDArray, out: NDArray) -> None:
    """See the reference."""
    for t in range(patterns.shape[0]):
        for i in range(patterns.shape[1]):
            out[t, i] = lut[patterns[t, i]]


@_jit
def forward_lut_phased(
    patterns: NDArray, luts: NDArray, seed: int, first: int, stride: int, out: NDArray
) -> None:
    """See the reference."""
    for t in range(patterns.shape[0]):
        for i in range(patterns.shape[1]):
            out[t, i] = luts[phase(first + t * stride + i, seed), patterns[t, i]]


@_jit
def subtract(values: NDArray, base: int, out: NDArray) -> None:
    """See the reference."""
    for t in range(values.shape[0]):
        for i in range(values.shape[1]):
            out[t, i] = np.int64(values[t, i]) - np.int64(base)


@_inline
def _code(value: float, thresholds: NDArray, row: int, model: NDArray) -> int:
    """Greatest k with thresholds[row, k] <= value, from a float64 guess that may be wrong by anything."""
    gain, offset, dark, scale, shift = model[0], model[1], model[2], model[3], model[4 + row]
    above = value - offset
    if above >= 0.0:
        guess = (2.0 / gain) * np.sqrt(gain * above + dark)
    else:
        guess = (2.0 / gain) * np.sqrt(dark) + above / np.sqrt(dark)
    last = thresholds.shape[1] - 1
    k = int(min(max(np.floor(guess * scale + shift), 0.0), float(last)))
    while k < last and thresholds[row, k + 1] <= value:
        k += 1
    while k > 0 and thresholds[row, k] > value:
        k -= 1
    return k


@_jit
def forward_thresholds(values: NDArray, thresholds: NDArray, model: NDArray, base: int, out: NDArray) -> None:
    """See the reference."""
    table = thresholds.reshape(1, thresholds.size)
    for t in range(values.shape[0]):
        for i in range(values.shape[1]):
            out[t, i] = _code(float(values[t, i]), table, 0, model)


@_jit
def forward_thresholds_phased(
    values: NDArray, thresholds: NDArray, model: NDArray, seed: int, first: int, stride: int, out: NDArray
) -> None:
    """See the reference."""
    for t in range(values.shape[0]):
        for i in range(values.shape[1]):
            row = phase(first + t * stride + i, seed)
            out[t, i] = _code(float(values[t, i]), thresholds, row, model)


@_jit
def inverse(codes: NDArray, table: NDArray, out: NDArray) -> None:
    """See the reference."""
    for t in range(codes.shape[0]):
        for i in range(codes.shape[1]):
            out[t, i] = table[codes[t, i]]


@_jit
def inverse_phased(codes: NDArray, tables: NDArray, seed: int, first: int, stride: int, out: NDArray) -> None:
    """See the reference."""
    for t in range(codes.shape[0]):
        for i in range(codes.shape[1]):
            out[t, i] = tables[phase(first + t * stride + i, seed), codes[t, i]]


@_jit
def codes_from_labels(labels: NDArray, step: float, out: NDArray) -> int:
    """See the reference."""
    strange = 0
    for i in range(labels.size):
        k = np.rint(labels[i] / step)
        on_grid = abs(k) < 2147483648.0 and k * step == labels[i]
        out[i] = np.int32(k) if on_grid else np.int32(0)
        strange += not on_grid
    return strange


@_jit
def checksum(codes: NDArray, first: int, stride: int) -> Any:
    """See the reference."""
    total = np.uint64(0)
    for t in range(codes.shape[0]):
        start = np.uint32(first + t * stride)
        for i in range(codes.shape[1]):
            index = np.uint32(start + np.uint32(i))
            h = np.uint32(np.uint32(codes[t, i]) + np.uint32(index * np.uint32(0x9E3779B1)))
            h = np.uint32(h ^ (h >> np.uint32(16)))
            h = np.uint32(h * np.uint32(0x7FEB352D))
            h = np.uint32(h ^ (h >> np.uint32(15)))
            total += np.uint64(h)
    return total


@_inline
def _zigzag8(difference: Any) -> Any:
    signed = np.int32(np.int8(difference))
    return np.uint8(np.int32(np.int32(signed << 1) ^ np.int32(signed >> 31)))


@_inline
def _zigzag16(difference: Any) -> Any:
    signed = np.int32(np.int16(difference))
    return np.uint16(np.int32(np.int32(signed << 1) ^ np.int32(signed >> 31)))


@_inline
def _unzigzag(residual: Any) -> Any:
    wide = np.int32(residual)
    return np.int32(np.int32(wide >> 1) ^ np.int32(-np.int32(wide & 1)))


@_inline
def _follow(mean: Any, now: Any, rate: Any) -> Any:
    distance = np.int32(np.int32(np.int32(now) << 7) - mean)
    return np.int32(mean + np.int32(np.int32(np.int32(distance * rate) + np.int32(64)) >> 7))


def _make_predict_mean(zigzag: Any) -> Any:
    @_jit
    def predict_mean(codes: NDArray, rates: NDArray, first: int, state: NDArray, out: NDArray) -> None:
        mean = state.reshape(-1)
        for i in range(codes.shape[1]):
            mean[i] = np.int32(first << 7)
        for t in range(codes.shape[0]):
            rate = np.int32(rates[t])
            for i in range(codes.shape[1]):
                now = np.int32(codes[t, i])
                predicted = np.int32(np.int32(mean[i] + np.int32(64)) >> 7)
                out[t, i] = zigzag(np.int32(now - predicted))
                mean[i] = _follow(mean[i], now, rate)

    return predict_mean


_predict_mean = {1: _make_predict_mean(_zigzag8), 2: _make_predict_mean(_zigzag16)}


def predict_mean(codes: NDArray, rates: NDArray[np.int32], first: int, state: NDArray, out: NDArray) -> None:
    """See the reference."""
    _predict_mean[codes.dtype.itemsize](codes, rates, first, state, out)


@_jit
def restore_mean(
    residuals: NDArray, rates: NDArray[np.int32], first: int, state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    mean = state.reshape(-1)
    for i in range(residuals.shape[1]):
        mean[i] = np.int32(first << 7)
    for t in range(residuals.shape[0]):
        rate = np.int32(rates[t])
        for i in range(residuals.shape[1]):
            predicted = np.int32(np.int32(mean[i] + np.int32(64)) >> 7)
            out[t, i] = np.int32(predicted + _unzigzag(residuals[t, i]))
            mean[i] = _follow(mean[i], out[t, i], rate)


@_inline
def _replicate_edges(plane: NDArray) -> None:
    rows, columns = plane.shape
    for c in range(1, columns - 1):
        plane[0, c], plane[rows - 1, c] = plane[1, c], plane[rows - 2, c]
    for r in range(rows):
        plane[r, 0], plane[r, columns - 1] = plane[r, 1], plane[r, columns - 2]


@_inline
def _advance(frame: NDArray, rate: Any, state: NDArray) -> None:
    """After a frame: the mean follows it, and it becomes the previous one."""
    for r in range(frame.shape[0]):
        for c in range(frame.shape[1]):
            now = np.int32(frame[r, c])
            state[0, r + 1, c + 1] = _follow(state[0, r + 1, c + 1], now, rate)
            state[1, r + 1, c + 1] = np.int32(now << 7)
    _replicate_edges(state[0])
    _replicate_edges(state[1])


def _make_past_total(number: Any) -> Any:
    """Sum of weighted past terms; int32 suffices for 8-bit codes, 16-bit ones need int64."""

    @_inline
    def past_total(w: NDArray, mean: NDArray, previous: NDArray, r: int, c: int) -> Any:
        total = number(number(w[10]) << 7)
        total = number(total + number(number(w[0]) * number(mean[r + 1, c + 1])))
        vertical = number(number(mean[r, c + 1]) + number(mean[r + 2, c + 1]))
        total = number(total + number(number(w[1]) * vertical))
        horizontal = number(number(mean[r + 1, c]) + number(mean[r + 1, c + 2]))
        total = number(total + number(number(w[2]) * horizontal))
        upper = number(number(mean[r, c]) + number(mean[r, c + 2]))
        lower = number(number(mean[r + 2, c]) + number(mean[r + 2, c + 2]))
        total = number(total + number(number(w[3]) * number(upper + lower)))
        total = number(total + number(number(w[4]) * number(previous[r + 1, c + 1])))
        across = number(number(previous[r + 1, c]) + number(previous[r + 1, c + 2]))
        along = number(number(previous[r, c + 1]) + number(previous[r + 2, c + 1]))
        return number(total + number(number(w[5]) * number(across + along)))

    return past_total


def _make_around_total(number: Any) -> Any:
    @_inline
    def around_total(w: NDArray, now: NDArray, r: int, c: int) -> Any:
        total = number(number(w[6]) * number(now[r + 1, c]))
        total = number(total + number(number(w[7]) * number(now[r, c + 1])))
        total = number(total + number(number(w[8]) * number(now[r, c])))
        return number(total + number(number(w[9]) * number(now[r, c + 2])))

    return around_total


def _make_past(number: Any, zigzag: Any) -> tuple[Any, Any]:
    past_total = _make_past_total(number)

    @_jit
    def predict_past(codes: NDArray, weights: NDArray, rates: NDArray, state: NDArray, out: NDArray) -> None:
        state[:] = 0
        mean, previous = state[0], state[1]
        for t in range(codes.shape[0]):
            w = weights[min(t, 1)]
            for r in range(codes.shape[1]):
                for c in range(codes.shape[2]):
                    total = past_total(w, mean, previous, r, c)
                    predicted = number(number(total + number(16384)) >> 15)
                    out[t, r, c] = zigzag(np.int32(np.int32(codes[t, r, c]) - np.int32(predicted)))
            _advance(codes[t], np.int32(rates[t]), state)

    @_jit
    def restore_past(
        residuals: NDArray, weights: NDArray, rates: NDArray, state: NDArray, out: NDArray
    ) -> None:
        state[:] = 0
        mean, previous = state[0], state[1]
        for t in range(residuals.shape[0]):
            w = weights[min(t, 1)]
            for r in range(residuals.shape[1]):
                for c in range(residuals.shape[2]):
                    total = past_total(w, mean, previous, r, c)
                    predicted = number(number(total + number(16384)) >> 15)
                    out[t, r, c] = np.int32(np.int32(predicted) + _unzigzag(residuals[t, r, c]))
            _advance(out[t], np.int32(rates[t]), state)

    return predict_past, restore_past


_past = {1: _make_past(np.int32, _zigzag8), 2: _make_past(np.int64, _zigzag16)}


def predict_past(
    codes: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    _past[codes.dtype.itemsize][0](codes, weights, rates, state, out)


def restore_past(
    residuals: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    _past[residuals.dtype.itemsize][1](residuals, weights, rates, state, out)


def _make_full(number: Any, zigzag: Any) -> tuple[Any, Any]:
    past_total, around_total = _make_past_total(number), _make_around_total(number)

    @_jit
    def predict_full(codes: NDArray, weights: NDArray, rates: NDArray, state: NDArray, out: NDArray) -> None:
        state[:] = 0
        mean, previous, now = state[0], state[1], state[2]
        for t in range(codes.shape[0]):
            w = weights[min(t, 1)]
            now[:] = mean
            for r in range(codes.shape[1]):
                for c in range(codes.shape[2]):
                    now[r + 1, c + 1] = np.int32(np.int32(codes[t, r, c]) << 7)
            for r in range(codes.shape[1]):
                for c in range(codes.shape[2]):
                    total = number(past_total(w, mean, previous, r, c) + around_total(w, now, r, c))
                    predicted = number(number(total + number(16384)) >> 15)
                    out[t, r, c] = zigzag(np.int32(np.int32(codes[t, r, c]) - np.int32(predicted)))
            _advance(codes[t], np.int32(rates[t]), state)

    @_jit
    def restore_full(
        residuals: NDArray, weights: NDArray, rates: NDArray, state: NDArray, out: NDArray
    ) -> None:
        state[:] = 0
        mean, previous, now = state[0], state[1], state[2]
        for t in range(residuals.shape[0]):
            w = weights[min(t, 1)]
            now[:] = mean
            for r in range(residuals.shape[1]):
                for c in range(residuals.shape[2]):
                    total = number(past_total(w, mean, previous, r, c) + around_total(w, now, r, c))
                    predicted = number(number(total + number(16384)) >> 15)
                    out[t, r, c] = np.int32(np.int32(predicted) + _unzigzag(residuals[t, r, c]))
                    now[r + 1, c + 1] = np.int32(np.int32(out[t, r, c]) << 7)
            _advance(out[t], np.int32(rates[t]), state)

    return predict_full, restore_full


_full = {1: _make_full(np.int32, _zigzag8), 2: _make_full(np.int64, _zigzag16)}


def predict_full(
    codes: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    _full[codes.dtype.itemsize][0](codes, weights, rates, state, out)


def restore_full(
    residuals: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    _full[residuals.dtype.itemsize][1](residuals, weights, rates, state, out)


@_jit
def moments(values: NDArray, low: int, shift: int, out: NDArray[np.int64]) -> None:
    """See the reference."""
    bins = out.shape[1]
    for t in range(1, values.shape[0]):
        for i in range(values.shape[1]):
            before, now = np.int64(values[t - 1, i]), np.int64(values[t, i])
            level = (((before + now) >> 1) - low) >> shift
            if 0 <= level < bins:
                out[0, level] += 1
                out[1, level] += before + now
                out[2, level] += (now - before) * (now - before)
