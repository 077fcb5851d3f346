"""The kernels by Numba: the same functions as :mod:`photon_gpu.kernels.reference`, in the same order.

Each runs on the thread that calls it and holds no lock (``nogil``): the engine calls them
from many threads, one block of a chunk each. No fastmath; compiled code is cached on disk.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

FRACTION, WEIGHT, ESCAPE, TERMS = 7, 8, 15, 11

_RUN = 1024
_FEW = 64  # residuals packed at a time; a power of two
_KEYS = (np.arange(_RUN, dtype=np.uint64) * 0x9E3779B1).astype(np.uint32)

_jit = numba.njit(nogil=True, cache=True, fastmath=False, error_model="numpy")


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


@_jit
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
def _phases(first: int, seed: int, out: NDArray[np.uint32]) -> None:
    """:func:`phase` of successive samples, at most a run of them."""
    key = np.uint32(np.uint32(np.uint32(first) * np.uint32(0x9E3779B1)) + np.uint32(seed))
    for i in range(out.size):
        h = np.uint32(key + _KEYS[i])
        h = np.uint32(h ^ (h >> np.uint32(16)))
        h = np.uint32(h * np.uint32(0x7FEB352D))
        h = np.uint32(h ^ (h >> np.uint32(15)))
        h = np.uint32(h * np.uint32(0x846CA68B))
        out[i] = np.uint32(np.uint32(h ^ (h >> np.uint32(16))) >> np.uint32(28))


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
    rows, flat, width = np.empty(_RUN, np.uint32), luts.reshape(-1), np.uint32(luts.shape[1])
    for t in range(patterns.shape[0]):
        for begin in range(0, patterns.shape[1], _RUN):
            columns, to = patterns[t, begin : begin + _RUN], out[t, begin : begin + _RUN]
            _phases(first + t * stride + begin, seed, rows[: columns.size])
            for i in range(columns.size):
                rows[i] = np.uint32(np.uint32(rows[i] * width) + np.uint32(columns[i]))
            for i in range(columns.size):
                to[i] = flat[rows[i]]


@_jit
def subtract(values: NDArray, base: int, out: NDArray) -> None:
    """See the reference."""
    for t in range(values.shape[0]):
        for i in range(values.shape[1]):
            out[t, i] = np.int64(values[t, i]) - np.int64(base)


@_jit
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
    rows = np.empty(_RUN, np.uint32)
    for t in range(values.shape[0]):
        for begin in range(0, values.shape[1], _RUN):
            count = min(_RUN, values.shape[1] - begin)
            _phases(first + t * stride + begin, seed, rows[:count])
            for i in range(count):
                out[t, begin + i] = _code(float(values[t, begin + i]), thresholds, rows[i], model)


@_jit
def inverse(codes: NDArray, table: NDArray, out: NDArray) -> None:
    """See the reference."""
    for t in range(codes.shape[0]):
        for i in range(codes.shape[1]):
            out[t, i] = table[codes[t, i]]


@_jit
def inverse_phased(codes: NDArray, tables: NDArray, seed: int, first: int, stride: int, out: NDArray) -> None:
    """See the reference."""
    rows, flat, width = np.empty(_RUN, np.uint32), tables.reshape(-1), np.uint32(tables.shape[1])
    for t in range(codes.shape[0]):
        for begin in range(0, codes.shape[1], _RUN):
            columns, to = codes[t, begin : begin + _RUN], out[t, begin : begin + _RUN]
            _phases(first + t * stride + begin, seed, rows[: columns.size])
            for i in range(columns.size):
                rows[i] = np.uint32(np.uint32(rows[i] * width) + np.uint32(columns[i]))
            for i in range(columns.size):
                to[i] = flat[rows[i]]


@_jit
def codes_from_labels(labels: NDArray, step: float, out: NDArray) -> int:
    """See the reference."""
    strange, per_step = 0, 1.0 / step
    for i in range(labels.size):
        # A product, not a quotient: if it leads to another k, that k fails the test as well.
        k = np.rint(labels[i] * per_step)
        on_grid = abs(k) < 2147483648.0 and k * step == labels[i]
        out[i] = np.int32(k) if on_grid else np.int32(0)
        strange += not on_grid
    return strange


@_jit
def checksum(codes: NDArray, first: int, stride: int) -> Any:
    """See the reference."""
    total = np.uint64(0)
    # Keys and mixed codes lie in arrays: so LLVM keeps to vectors of 32 bits (three times as fast).
    mixed = np.empty(_RUN, np.uint32)
    for t in range(codes.shape[0]):
        for begin in range(0, codes.shape[1], _RUN):
            codes_of_run = codes[t, begin : begin + _RUN]
            key = np.uint32(np.uint32(first + t * stride + begin) * np.uint32(0x9E3779B1))
            for i in range(codes_of_run.size):
                h = np.uint32(np.uint32(codes_of_run[i]) + np.uint32(key + _KEYS[i]))
                h = np.uint32(h ^ (h >> np.uint32(16)))
                h = np.uint32(h * np.uint32(0x7FEB352D))
                mixed[i] = np.uint32(h ^ (h >> np.uint32(15)))
            for i in range(codes_of_run.size):
                total += np.uint64(mixed[i])
    return total


def _cast(value, codes):  # type: ignore[no-untyped-def]  # numba compares signatures
    """As int32, which suffices for sums over 8-bit codes, or as int64 for those over 16-bit ones."""


@overload(_cast, inline="always")
def _cast_typed(value, codes):  # type: ignore[no-untyped-def]
    if codes.dtype.bitwidth == 8:
        return lambda value, codes: np.int32(value)
    return lambda value, codes: np.int64(value)


_wide: Any = _cast


def _wrap(difference, codes):  # type: ignore[no-untyped-def]
    """As a signed integer as wide as a code, in an int32."""


@overload(_wrap, inline="always")
def _wrap_typed(difference, codes):  # type: ignore[no-untyped-def]
    if codes.dtype.bitwidth == 8:
        return lambda difference, codes: np.int32(np.int8(difference))
    return lambda difference, codes: np.int32(np.int16(difference))


_wrapped: Any = _wrap


@_jit
def _zigzag(difference: Any, codes: NDArray) -> Any:
    """The difference, wrapped to the width of a code, as a small unsigned number."""
    signed = _wrapped(difference, codes)
    return np.int32(np.int32(signed << 1) ^ np.int32(signed >> 31))


@_jit
def _unzigzag(residual: Any) -> Any:
    folded = np.int32(residual)
    return np.int32(np.int32(folded >> 1) ^ np.int32(-np.int32(folded & 1)))


@_jit
def _follow(mean: Any, now: Any, rate: Any, codes: NDArray) -> Any:
    distance = np.int32(np.int32(np.int32(now) << 7) - mean)
    moved = _wide(_wide(distance, codes) * rate, codes)
    return np.int32(mean + np.int32(_wide(moved + _wide(64, codes), codes) >> 7))


@_jit
def predict_mean(codes: NDArray, rates: NDArray[np.int32], first: int, state: NDArray, out: NDArray) -> None:
    """See the reference."""
    mean = state.reshape(-1)
    for i in range(codes.shape[1]):
        mean[i] = np.int32(first << 7)
    for t in range(codes.shape[0]):
        rate = np.int32(rates[t])
        for i in range(codes.shape[1]):
            now = np.int32(codes[t, i])
            predicted = np.int32(np.int32(mean[i] + np.int32(64)) >> 7)
            out[t, i] = _zigzag(np.int32(now - predicted), codes)
            mean[i] = _follow(mean[i], now, rate, codes)


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
            mean[i] = _follow(mean[i], out[t, i], rate, out)


@_jit
def _begin(state: NDArray) -> None:
    for plane in range(state.shape[0]):
        for r in range(state.shape[1]):
            for c in range(state.shape[2]):
                state[plane, r, c] = 0


@_jit
def _replicate_edges(plane: NDArray) -> None:
    rows, columns = plane.shape
    for c in range(1, columns - 1):
        plane[0, c], plane[rows - 1, c] = plane[1, c], plane[rows - 2, c]
    for r in range(rows):
        plane[r, 0], plane[r, columns - 1] = plane[r, 1], plane[r, columns - 2]


@_jit
def _advance(frame: NDArray, rate: Any, state: NDArray) -> None:
    """After a frame: the mean follows it, and it becomes the previous one."""
    for r in range(frame.shape[0]):
        for c in range(frame.shape[1]):
            now = np.int32(frame[r, c])
            state[0, r + 1, c + 1] = _follow(state[0, r + 1, c + 1], now, rate, frame)
            state[1, r + 1, c + 1] = np.int32(now << 7)
    _replicate_edges(state[0])
    _replicate_edges(state[1])


@_jit
def _frame_with_mean(mean: NDArray, now: NDArray) -> None:
    """Around the current frame stands the edge of the running mean."""
    for r in range(mean.shape[0]):
        for c in range(mean.shape[1]):
            now[r, c] = mean[r, c]


@_jit
def _past(w: NDArray, mean: NDArray, previous: NDArray, r: int, c: int, codes: NDArray) -> Any:
    """Weighted terms of the past."""
    total = _wide(_wide(w[10], codes) << 7, codes)
    total = _wide(total + _wide(w[0] * _wide(mean[r + 1, c + 1], codes), codes), codes)
    vertical = _wide(mean[r, c + 1] + _wide(mean[r + 2, c + 1], codes), codes)
    total = _wide(total + _wide(w[1] * vertical, codes), codes)
    horizontal = _wide(mean[r + 1, c] + _wide(mean[r + 1, c + 2], codes), codes)
    total = _wide(total + _wide(w[2] * horizontal, codes), codes)
    upper = _wide(mean[r, c] + _wide(mean[r, c + 2], codes), codes)
    lower = _wide(mean[r + 2, c] + _wide(mean[r + 2, c + 2], codes), codes)
    total = _wide(total + _wide(w[3] * _wide(upper + lower, codes), codes), codes)
    total = _wide(total + _wide(w[4] * _wide(previous[r + 1, c + 1], codes), codes), codes)
    across = _wide(previous[r + 1, c] + _wide(previous[r + 1, c + 2], codes), codes)
    along = _wide(previous[r, c + 1] + _wide(previous[r + 2, c + 1], codes), codes)
    return _wide(total + _wide(w[5] * _wide(across + along, codes), codes), codes)


@_jit
def _above(w: NDArray, now: NDArray, r: int, c: int, codes: NDArray) -> Any:
    """Weighted terms of the current frame's row above."""
    total = _wide(w[7] * _wide(now[r, c + 1], codes), codes)
    total = _wide(total + _wide(w[8] * _wide(now[r, c], codes), codes), codes)
    return _wide(total + _wide(w[9] * _wide(now[r, c + 2], codes), codes), codes)


@_jit
def _west(w: NDArray, west: Any, codes: NDArray) -> Any:
    """The weighted code to the left, which alone makes pixels of a row wait for each other."""
    return _wide(w[6] * _wide(west, codes), codes)


@_jit
def _prediction(total: Any, codes: NDArray) -> Any:
    return np.int32(_wide(_wide(total + _wide(16384, codes), codes) >> 15, codes))


@_jit
def predict_past(
    codes: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    _begin(state)
    mean, previous = state[0], state[1]
    for t in range(codes.shape[0]):
        w = weights[min(t, 1)]
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                predicted = _prediction(_past(w, mean, previous, r, c, codes), codes)
                out[t, r, c] = _zigzag(np.int32(np.int32(codes[t, r, c]) - predicted), codes)
        _advance(codes[t], np.int32(rates[t]), state)


@_jit
def restore_past(
    residuals: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    _begin(state)
    mean, previous = state[0], state[1]
    for t in range(residuals.shape[0]):
        w = weights[min(t, 1)]
        for r in range(residuals.shape[1]):
            for c in range(residuals.shape[2]):
                predicted = _prediction(_past(w, mean, previous, r, c, out), out)
                out[t, r, c] = np.int32(predicted + _unzigzag(residuals[t, r, c]))
        _advance(out[t], np.int32(rates[t]), state)


@_jit
def _known(w: NDArray, state: NDArray, r: int, known: NDArray[np.int64], codes: NDArray) -> None:
    """All terms of a row's predictions but the code to the left: pixels do not wait for each other."""
    for c in range(known.size):
        past = _past(w, state[0], state[1], r, c, codes)
        known[c] = _wide(past + _above(w, state[2], r, c, codes), codes)


@_jit
def predict_full(
    codes: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    _begin(state)
    mean, previous, now = state[0], state[1], state[2]
    for t in range(codes.shape[0]):
        w = weights[min(t, 1)]
        _frame_with_mean(mean, now)
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                now[r + 1, c + 1] = np.int32(np.int32(codes[t, r, c]) << 7)
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                total = _wide(_past(w, mean, previous, r, c, codes) + _above(w, now, r, c, codes), codes)
                total = _wide(total + _west(w, now[r + 1, c], codes), codes)
                out[t, r, c] = _zigzag(np.int32(np.int32(codes[t, r, c]) - _prediction(total, codes)), codes)
        _advance(codes[t], np.int32(rates[t]), state)


@_jit
def restore_full(
    residuals: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    _begin(state)
    mean, now, known = state[0], state[2], np.empty(out.shape[2], np.int64)
    for t in range(residuals.shape[0]):
        w = weights[min(t, 1)]
        _frame_with_mean(mean, now)
        for r in range(residuals.shape[1]):
            _known(w, state, r, known, out)
            west = now[r + 1, 0]
            for c in range(residuals.shape[2]):
                total = _wide(_wide(known[c], out) + _west(w, west, out), out)
                out[t, r, c] = np.int32(_prediction(total, out) + _unzigzag(residuals[t, r, c]))
                west = np.int32(np.int32(out[t, r, c]) << 7)
                now[r + 1, c + 1] = west
        _advance(out[t], np.int32(rates[t]), state)


@_jit
def pack(
    residuals: NDArray, segment: int, nibbles: NDArray[np.uint8], escapes: NDArray, counts: NDArray[np.int64]
) -> None:
    """See the reference."""
    for row in range(counts.size):
        part, count = residuals[row * segment : (row + 1) * segment], 0
        to, long = nibbles[row * (segment >> 1) :], escapes[row]
        for begin in range(0, part.size & ~(_FEW - 1), _FEW):
            few, most = part[begin : begin + _FEW], np.uint8(0)
            for i in range(_FEW >> 1):
                low, high = np.uint8(min(few[2 * i], 15)), np.uint8(min(few[2 * i + 1], 15))
                to[(begin >> 1) + i] = np.uint8(low | np.uint8(high << np.uint8(4)))
                most = max(most, low, high)
            # Escapes are rare: only runs that have one are looked at sample by sample.
            if most == 15:
                for i in range(_FEW):
                    if few[i] >= 15:
                        long[count] = few[i] - 15
                        count += 1
        for i in range(part.size & ~(_FEW - 1), part.size):
            short = np.uint8(min(part[i], 15))
            if i & 1:
                to[i >> 1] |= np.uint8(short << np.uint8(4))
            else:
                to[i >> 1] = short
            if part[i] >= 15:
                long[count] = part[i] - 15
                count += 1
        counts[row] = count


@_jit
def unpack(
    nibbles: NDArray[np.uint8], escapes: NDArray, starts: NDArray[np.int64], segment: int, out: NDArray
) -> int:
    """See the reference."""
    strange = 0
    if out.size & 1 and nibbles[out.size >> 1] >> 4:
        strange += 1
    for row in range(starts.size - 1):
        part, source = out[row * segment : (row + 1) * segment], nibbles[row * (segment >> 1) :]
        next_one, end = starts[row], starts[row + 1]
        for begin in range(0, part.size & ~(_FEW - 1), _FEW):
            few, most = part[begin : begin + _FEW], np.uint8(0)
            for i in range(_FEW >> 1):
                pair = source[(begin >> 1) + i]
                low, high = np.uint8(pair & np.uint8(15)), np.uint8(pair >> np.uint8(4))
                few[2 * i], few[2 * i + 1] = low, high
                most = max(most, low, high)
            if most == 15:
                next_one = _escaped(few, escapes, next_one, end)
        for i in range(part.size & ~(_FEW - 1), part.size):
            part[i] = (source[i >> 1] >> (4 * (i & 1))) & 15
        next_one = _escaped(part[part.size & ~(_FEW - 1) :], escapes, next_one, end)
        strange += next_one != end
    return strange


@_jit
def _escaped(few: NDArray, escapes: NDArray, next_one: int, end: int) -> int:
    """Put the escapes where 15 stands; returns the one after the last, beyond ``end`` where they do not suffice."""
    for i in range(few.size):
        if few[i] == 15:
            if next_one < end:
                few[i] += escapes[next_one]
            next_one += 1
    return next_one


@_jit
def _level(predicted: Any, codes: NDArray, last: Any) -> Any:
    """A prediction, wrapped to the width of a code, as a level; unsigned, so that no index counts from the end."""
    mask = np.int32(255) if codes.itemsize == 1 else np.int32(65535)
    return np.uint64(min(np.int32(predicted & mask), np.int32(last)))


@_jit
def count_levels(codes: NDArray, residuals: NDArray, counts: NDArray[np.int64]) -> None:
    """See the reference."""
    counts[:] = 0
    for t in range(codes.shape[0]):
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                predicted = np.int32(np.int32(codes[t, r, c]) - _unzigzag(residuals[t, r, c]))
                counts[_level(predicted, codes, counts.size - 1)] += 1


@_jit
def sort_levels(codes: NDArray, residuals: NDArray, places: NDArray[np.int64], out: NDArray) -> None:
    """See the reference."""
    for t in range(codes.shape[0]):
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                predicted = np.int32(np.int32(codes[t, r, c]) - _unzigzag(residuals[t, r, c]))
                level = _level(predicted, codes, places.size - 1)
                out[np.uint64(places[level])] = residuals[t, r, c]
                places[level] += 1


@_jit
def restore_full_sorted(
    residuals: NDArray,
    places: NDArray[np.int64],
    weights: NDArray[np.int32],
    rates: NDArray[np.int32],
    state: NDArray,
    out: NDArray,
) -> int:
    """See the reference."""
    _begin(state)
    mean, now, known = state[0], state[2], np.empty(out.shape[2], np.int64)
    missing, last, next_ones, ends = 0, places.shape[1] - 1, places[0], places[1]
    for t in range(out.shape[0]):
        w = weights[min(t, 1)]
        _frame_with_mean(mean, now)
        for r in range(out.shape[1]):
            _known(w, state, r, known, out)
            west = now[r + 1, 0]
            for c in range(out.shape[2]):
                predicted = _prediction(_wide(_wide(known[c], out) + _west(w, west, out), out), out)
                level = _level(predicted, out, last)
                place, residual = next_ones[level], np.int32(0)
                if place < ends[level]:
                    residual = np.int32(residuals[np.uint64(place)])
                    next_ones[level] = place + 1
                else:
                    missing += 1
                out[t, r, c] = np.int32(predicted + _unzigzag(residual))
                west = np.int32(np.int32(out[t, r, c]) << 7)
                now[r + 1, c + 1] = west
        _advance(out[t], np.int32(rates[t]), state)
    return missing


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
