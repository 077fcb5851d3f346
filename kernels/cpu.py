"""CPU kernels, compiled by Numba: the functions of :mod:`photon_gpu.kernels.reference`, in the same order.

A kernel runs in the thread that calls it and releases Python's lock (``nogil``). The engine calls kernels
from many threads, each with its own part of a chunk. They are compiled without fastmath and cached on disk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels import cpu_nibbles
from photon_gpu.kernels import cpu_prediction_terms as terms
from photon_gpu.kernels.cpu_cache import jit

FRACTION, WEIGHT, ESCAPE, TERMS, MIX = 7, 8, 15, 11, 16

_RUN = 1024
_KEYS = (np.arange(_RUN, dtype=np.uint64) * 0x9E3779B1).astype(np.uint32)


@jit
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


@jit
def _phases(first: int, seed: int, out: NDArray[np.uint32]) -> None:
    """Phases (``reference.phase``) of up to ``_RUN`` successive samples."""
    key = np.uint32(np.uint32(np.uint32(first) * np.uint32(0x9E3779B1)) + np.uint32(seed))
    for i in range(out.size):
        h = np.uint32(key + _KEYS[i])
        h = np.uint32(h ^ (h >> np.uint32(16)))
        h = np.uint32(h * np.uint32(0x7FEB352D))
        h = np.uint32(h ^ (h >> np.uint32(15)))
        h = np.uint32(h * np.uint32(0x846CA68B))
        out[i] = np.uint32(np.uint32(h ^ (h >> np.uint32(16))) >> np.uint32(28))


@jit
def quantize_lut(patterns: NDArray, lut: NDArray, out: NDArray) -> None:
    """See the reference."""
    for t in range(patterns.shape[0]):
        for i in range(patterns.shape[1]):
            out[t, i] = lut[patterns[t, i]]


@jit
def quantize_lut_phased(
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


@jit
def subtract(values: NDArray, base: int, out: NDArray) -> None:
    """See the reference."""
    for t in range(values.shape[0]):
        for i in range(values.shape[1]):
            out[t, i] = np.int64(values[t, i]) - np.int64(base)


@jit
def _code(value: float, thresholds: NDArray, row: int, model: NDArray) -> int:
    """Greatest k with thresholds[row, k] <= value. A wrong first guess costs time only."""
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


@jit
def quantize_thresholds(
    values: NDArray, thresholds: NDArray, model: NDArray, base: int, out: NDArray
) -> None:
    """See the reference."""
    table = thresholds.reshape(1, thresholds.size)
    for t in range(values.shape[0]):
        for i in range(values.shape[1]):
            out[t, i] = _code(float(values[t, i]), table, 0, model)


@jit
def quantize_thresholds_phased(
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


@jit
def dequantize(codes: NDArray, table: NDArray, out: NDArray) -> None:
    """See the reference."""
    for t in range(codes.shape[0]):
        for i in range(codes.shape[1]):
            out[t, i] = table[codes[t, i]]


@jit
def dequantize_phased(
    codes: NDArray, tables: NDArray, seed: int, first: int, stride: int, out: NDArray
) -> None:
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


@jit
def codes_from_labels(labels: NDArray, step: float, out: NDArray) -> int:
    """See the reference."""
    strange, per_step = 0, 1.0 / step
    for i in range(labels.size):
        # A product is faster than a quotient; the comparison below rejects a wrong k.
        k = np.rint(labels[i] * per_step)
        on_grid = abs(k) < 2147483648.0 and k * step == labels[i]
        out[i] = np.int32(k) if on_grid else np.int32(0)
        strange += not on_grid
    return strange


@jit
def checksum(codes: NDArray, first: int, stride: int) -> Any:
    """See the reference."""
    total = np.uint64(0)
    # With keys and hashes in arrays, LLVM uses vectors of 32-bit numbers: three times as fast.
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


@jit
def predict_mean(codes: NDArray, rates: NDArray[np.int32], first: int, state: NDArray, out: NDArray) -> None:
    """See the reference."""
    mean = state.reshape(-1)
    if codes.itemsize == 1:
        short = terms.short_means(state, codes.shape[1], first)
        for t in range(codes.shape[0]):
            terms.predict_short(codes[t], rates[t], short, out[t])
        return
    for i in range(codes.shape[1]):
        mean[i] = np.int32(first << 7)
    for t in range(codes.shape[0]):
        rate = np.int32(rates[t])
        for i in range(codes.shape[1]):
            now = np.int32(codes[t, i])
            predicted = np.int32(np.int32(mean[i] + np.int32(64)) >> 7)
            out[t, i] = terms.zigzag(np.int32(now - predicted), codes)
            mean[i] = terms.follow(mean[i], now, rate, codes)


@jit
def restore_mean(
    residuals: NDArray, rates: NDArray[np.int32], first: int, state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    mean = state.reshape(-1)
    if residuals.itemsize == 1:
        short = terms.short_means(state, residuals.shape[1], first)
        for t in range(residuals.shape[0]):
            terms.restore_short(residuals[t], rates[t], short, out[t])
        return
    for i in range(residuals.shape[1]):
        mean[i] = np.int32(first << 7)
    for t in range(residuals.shape[0]):
        rate = np.int32(rates[t])
        for i in range(residuals.shape[1]):
            predicted = np.int32(np.int32(mean[i] + np.int32(64)) >> 7)
            out[t, i] = np.int32(predicted + terms.unzigzag(residuals[t, i]))
            mean[i] = terms.follow(mean[i], out[t, i], rate, out)


@jit
def predict_past(
    codes: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    terms.begin(state)
    mean, previous = state[0], state[1]
    for t in range(codes.shape[0]):
        w = weights[min(t, 1)]
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                predicted = terms.prediction(terms.past(w, mean, previous, r, c, codes), codes)
                out[t, r, c] = terms.zigzag(np.int32(np.int32(codes[t, r, c]) - predicted), codes)
        terms.advance(codes[t], np.int32(rates[t]), state)


@jit
def restore_past(
    residuals: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    terms.begin(state)
    mean, previous = state[0], state[1]
    for t in range(residuals.shape[0]):
        w = weights[min(t, 1)]
        for r in range(residuals.shape[1]):
            for c in range(residuals.shape[2]):
                predicted = terms.prediction(terms.past(w, mean, previous, r, c, out), out)
                out[t, r, c] = np.int32(predicted + terms.unzigzag(residuals[t, r, c]))
        terms.advance(out[t], np.int32(rates[t]), state)


@jit
def predict_full(
    codes: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    terms.begin(state)
    mean, previous, now = state[0], state[1], state[2]
    for t in range(codes.shape[0]):
        w = weights[t]
        terms.frame_with_mean(mean, now)
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                now[r + 1, c + 1] = np.int32(np.int32(codes[t, r, c]) << 7)
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                total = terms.wide(
                    terms.mix(w, mean, previous, r, c, codes) + terms.above(w, now, r, c, codes), codes
                )
                total = terms.wide(total + terms.west(w, now[r + 1, c], codes), codes)
                out[t, r, c] = terms.zigzag(
                    np.int32(np.int32(codes[t, r, c]) - terms.prediction(total, codes)), codes
                )
        terms.advance(codes[t], np.int32(rates[t]), state)


@jit
def restore_full(
    residuals: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """See the reference."""
    terms.begin(state)
    mean, now, row_terms = state[0], state[2], np.empty(out.shape[2], np.int64)
    for t in range(residuals.shape[0]):
        w = weights[t]
        terms.frame_with_mean(mean, now)
        for r in range(residuals.shape[1]):
            terms.all_but_west(w, state, r, row_terms, out)
            west = now[r + 1, 0]
            for c in range(residuals.shape[2]):
                total = terms.wide(terms.wide(row_terms[c], out) + terms.west(w, west, out), out)
                out[t, r, c] = np.int32(terms.prediction(total, out) + terms.unzigzag(residuals[t, r, c]))
                west = np.int32(np.int32(out[t, r, c]) << 7)
                now[r + 1, c + 1] = west
        terms.advance(out[t], np.int32(rates[t]), state)


@jit
def pack(
    residuals: NDArray, segment: int, nibbles: NDArray[np.uint8], escapes: NDArray, counts: NDArray[np.int64]
) -> None:
    """See the reference."""
    marks = np.empty(segment >> 4, np.uint64)
    for row in range(counts.size):
        part, long = residuals[row * segment : (row + 1) * segment], escapes[row]
        whole, to = part.size & ~15, nibbles[row * (segment >> 1) :]
        cpu_nibbles.pack_pairs(part[:whole], to[: whole >> 1])
        cpu_nibbles.mark_15(to[: whole >> 1], marks)
        count = cpu_nibbles.take_excess(part, marks[: whole >> 4], long)
        counts[row] = cpu_nibbles.take_excess_each(part[whole:], long, count)
        for i in range(whole, part.size):
            short = np.uint8(min(part[i], 15))
            to[i >> 1] = np.uint8(to[i >> 1] | np.uint8(short << np.uint8(4))) if i & 1 else short


@jit
def unpack(
    nibbles: NDArray[np.uint8], escapes: NDArray, starts: NDArray[np.int64], segment: int, out: NDArray
) -> int:
    """See the reference."""
    marks = np.empty(segment >> 4, np.uint64)
    strange, pairs = 0, out.size >> 1
    cpu_nibbles.unpack_pairs(nibbles[:pairs], out[: 2 * pairs])
    if out.size & 1:
        out[out.size - 1] = nibbles[pairs] & np.uint8(15)
        strange += (nibbles[pairs] >> np.uint8(4)) != 0
    for row in range(starts.size - 1):
        part, source = out[row * segment : (row + 1) * segment], nibbles[row * (segment >> 1) :]
        whole, long = part.size & ~15, escapes[starts[row] : starts[row + 1]]
        cpu_nibbles.mark_15(source[: whole >> 1], marks)
        count = cpu_nibbles.add_excess(part, marks[: whole >> 4], long)
        strange += cpu_nibbles.add_excess_each(part[whole:], long, count) != long.size
    return strange


@jit
def count_levels(codes: NDArray, residuals: NDArray, counts: NDArray[np.int64]) -> None:
    """See the reference."""
    counts[:] = 0
    for t in range(codes.shape[0]):
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                predicted = np.int32(np.int32(codes[t, r, c]) - terms.unzigzag(residuals[t, r, c]))
                counts[terms.level(predicted, codes, counts.size - 1)] += 1


@jit
def sort_levels(codes: NDArray, residuals: NDArray, places: NDArray[np.int64], out: NDArray) -> None:
    """See the reference."""
    for t in range(codes.shape[0]):
        for r in range(codes.shape[1]):
            for c in range(codes.shape[2]):
                predicted = np.int32(np.int32(codes[t, r, c]) - terms.unzigzag(residuals[t, r, c]))
                level = terms.level(predicted, codes, places.size - 1)
                out[np.uint64(places[level])] = residuals[t, r, c]
                places[level] += 1


@jit
def restore_full_sorted(
    residuals: NDArray,
    places: NDArray[np.int64],
    weights: NDArray[np.int32],
    rates: NDArray[np.int32],
    state: NDArray,
    out: NDArray,
) -> int:
    """See the reference."""
    terms.begin(state)
    mean, now, row_terms = state[0], state[2], np.empty(out.shape[2], np.int64)
    missing, last, next_ones, ends = 0, places.shape[1] - 1, places[0], places[1]
    for t in range(out.shape[0]):
        w = weights[t]
        terms.frame_with_mean(mean, now)
        for r in range(out.shape[1]):
            terms.all_but_west(w, state, r, row_terms, out)
            west = now[r + 1, 0]
            for c in range(out.shape[2]):
                predicted = terms.prediction(
                    terms.wide(terms.wide(row_terms[c], out) + terms.west(w, west, out), out), out
                )
                level = terms.level(predicted, out, last)
                at, residual = next_ones[level], np.int32(0)
                if at < ends[level]:
                    residual = np.int32(residuals[np.uint64(at)])
                    next_ones[level] = at + 1
                else:
                    missing += 1
                out[t, r, c] = np.int32(predicted + terms.unzigzag(residual))
                west = np.int32(np.int32(out[t, r, c]) << 7)
                now[r + 1, c + 1] = west
        terms.advance(out[t], np.int32(rates[t]), state)
    return missing
