"""Kernels in plain NumPy: the slow, obvious definition that the other versions equal bit for bit.

Shapes: ``T`` frames, ``n`` pixels, ``R`` rows, ``C`` columns. The caller allocates every output. Codes are
unsigned and relative to the base of their chunk. Samples of a chunk are numbered in C order: sample
``(t, i)`` of a block has the index ``first + t*stride + i``. Integer arithmetic is exact (64 bits) except
where a line says ``uint32``, which wraps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRACTION = 7
"""Fraction bits of the running mean and of every predictor input."""

WEIGHT = 8
"""Fraction bits of a predictor weight; 256 is 1."""

ESCAPE = 15
"""Half byte that marks a residual of 15 or more, which continues in the escapes."""

TERMS = 11
"""Predictor inputs: mean and its vertical, horizontal, diagonal neighbours; previous frame and its
four neighbours; west, north, north-west, north-east in the current frame; 1."""

MIX = 16
"""Predictor inputs with a weight for each neighbour of the mean: mean and its north, south, west, east,
north-west, north-east, south-west, south-east; previous frame and its four neighbours; four of the current
frame; 1."""


def extent(values: NDArray, out: NDArray) -> None:
    """Write the least and greatest finite value to ``out[0:2]``, the number of other values to ``out[2]``.

    ``values`` is 1-D of any supported dtype; ``out`` has 3 elements of the same dtype. ``out[0:2]`` stay as
    they are if no value is finite.
    """
    finite = values[np.isfinite(values)]
    if finite.size:
        out[0], out[1] = finite.min(), finite.max()
    out[2] = values.size - finite.size


def phase(index: NDArray[np.uint32], seed: int) -> NDArray[np.uint32]:
    """Phase of a sample, 0 to 15: the top four bits of a 32-bit hash of index and seed (uint32)."""
    with np.errstate(over="ignore"):
        h = index * np.uint32(0x9E3779B1) + np.uint32(seed)
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x7FEB352D)
        h ^= h >> np.uint32(15)
        h *= np.uint32(0x846CA68B)
        h ^= h >> np.uint32(16)
    return h >> np.uint32(28)


def _indices(shape: tuple[int, int], first: int, stride: int) -> NDArray[np.uint32]:
    frames, pixels = np.ogrid[: shape[0], : shape[1]]
    return (first + frames * stride + pixels).astype(np.uint32)


def quantize_lut(patterns: NDArray, lut: NDArray, out: NDArray) -> None:
    """Look up codes: ``out[t, i] = lut[patterns[t, i]]``, patterns uint8 or uint16 ``(T, n)``."""
    out[...] = lut[patterns]


def quantize_lut_phased(
    patterns: NDArray, luts: NDArray, seed: int, first: int, stride: int, out: NDArray
) -> None:
    """Look up codes like :func:`quantize_lut`, with one table per phase, ``luts (16, 2**bits)``."""
    out[...] = luts[phase(_indices(patterns.shape, first, stride), seed), patterns]


def subtract(values: NDArray, base: int, out: NDArray) -> None:
    """Subtract ``base`` from integers ``(T, n)``; every difference fits the unsigned ``out``."""
    out[...] = values.astype(np.int64) - np.int64(base)


def quantize_thresholds(
    values: NDArray, thresholds: NDArray[np.float64], model: NDArray[np.float64], base: int, out: NDArray
) -> None:
    """Find codes of wide values: ``k - base`` for the greatest ``k`` with ``thresholds[k - base] <= value``.

    ``model`` gives the faster versions a first guess; it does not change the result. Every value is at
    least ``thresholds[0]``.
    """
    out[...] = np.searchsorted(thresholds, values.astype(np.float64), side="right") - 1


def quantize_thresholds_phased(
    values: NDArray,
    thresholds: NDArray[np.float64],
    model: NDArray[np.float64],
    seed: int,
    first: int,
    stride: int,
    out: NDArray,
) -> None:
    """Find codes like :func:`quantize_thresholds`, with one row of thresholds per phase."""
    phases = phase(_indices(values.shape, first, stride), seed)
    for row in range(thresholds.shape[0]):
        codes = np.searchsorted(thresholds[row], values.astype(np.float64), side="right") - 1
        out[phases == row] = codes[phases == row]


def dequantize(codes: NDArray, table: NDArray, out: NDArray) -> None:
    """Look up samples: ``out[t, i] = table[codes[t, i]]``, ``(T, n)``."""
    out[...] = table[codes]


def dequantize_phased(
    codes: NDArray, tables: NDArray, seed: int, first: int, stride: int, out: NDArray
) -> None:
    """Look up samples like :func:`dequantize`, with one table per phase."""
    out[...] = tables[phase(_indices(codes.shape, first, stride), seed), codes]


def codes_from_labels(labels: NDArray[np.float64], step: float, out: NDArray[np.int32]) -> int:
    """Set ``out = k`` where ``labels == step*k`` exactly; return the number of other labels."""
    with np.errstate(invalid="ignore"):
        k = np.rint(labels / step)
        on_grid = (np.abs(k) < 2.0**31) & (k * step == labels)
    out[...] = np.where(on_grid, k, 0.0).astype(np.int32)
    return int(labels.size - np.count_nonzero(on_grid))


def checksum(codes: NDArray, first: int, stride: int) -> int:
    """Sum, modulo 2**64, of a 32-bit hash of every code and its index. It changes with any single code."""
    with np.errstate(over="ignore"):
        h = codes.astype(np.uint32) + _indices(codes.shape, first, stride) * np.uint32(0x9E3779B1)
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x7FEB352D)
        h ^= h >> np.uint32(15)
    return int(h.sum(dtype=np.uint64))


def _zigzag(difference: NDArray, dtype: np.dtype) -> NDArray:
    """Fold differences, wrapped to the width of a code, to unsigned numbers: 0, -1, 1, -2 to 0, 1, 2, 3."""
    signed = difference.astype(f"i{dtype.itemsize}").astype(np.int64)
    return ((signed << 1) ^ (signed >> 63)).astype(dtype)


def _unzigzag(residuals: NDArray) -> NDArray[np.int64]:
    wide = residuals.astype(np.int64)
    return (wide >> 1) ^ -(wide & 1)


def _follow(mean: NDArray[np.int64], now: NDArray, rate: int) -> NDArray[np.int64]:
    """Running mean after one more frame; ``rate`` is in 1/128."""
    return mean + (((now.astype(np.int64) << FRACTION) - mean) * int(rate) + 64 >> 7)


def predict_mean(codes: NDArray, rates: NDArray[np.int32], first: int, state: NDArray, out: NDArray) -> None:
    """Residuals of codes ``(T, n)`` against the running mean of the frames before.

    ``first`` is the prediction of frame 0. ``rates[t]``, in 1/128, is how far frame ``t`` moves the mean.
    ``state`` is scratch memory of the other versions, int32 of at least ``n``.
    """
    mean = np.full(codes.shape[1], int(first) << FRACTION, np.int64)
    for t, frame in enumerate(codes):
        predicted = (mean + 64) >> FRACTION
        out[t] = _zigzag(frame.astype(np.int64) - predicted, codes.dtype)
        mean = _follow(mean, frame, rates[t])


def restore_mean(
    residuals: NDArray, rates: NDArray[np.int32], first: int, state: NDArray, out: NDArray
) -> None:
    """Inverse of :func:`predict_mean`."""
    mean = np.full(residuals.shape[1], int(first) << FRACTION, np.int64)
    for t, frame in enumerate(residuals):
        predicted = (mean + 64) >> FRACTION
        out[t] = (predicted + _unzigzag(frame)).astype(out.dtype)
        mean = _follow(mean, out[t], rates[t])


def _past_terms(mean: NDArray[np.int64], previous: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    m, p = np.pad(mean, 1, mode="edge"), np.pad(previous, 1, mode="edge")
    return [
        mean,
        m[:-2, 1:-1] + m[2:, 1:-1],
        m[1:-1, :-2] + m[1:-1, 2:],
        m[:-2, :-2] + m[:-2, 2:] + m[2:, :-2] + m[2:, 2:],
        previous,
        p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:],
    ]


def predict_past(
    codes: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """Residuals of codes ``(T, R, C)`` against a weighted mix of past frames and their neighbours.

    ``weights (2, 11)`` has row 0 for frame 0 and row 1 for the others; the four weights of the current frame
    are not used. Edges are replicated. ``state`` is scratch memory of the other versions, int32
    ``(3, R + 2, C + 2)``. Weighted terms stay below 2**31 (see FORMAT.md, "Weights").
    """
    mean = np.zeros(codes.shape[1:], np.int64)
    previous = mean
    for t, frame in enumerate(codes):
        w = weights[min(t, 1)].astype(np.int64)
        total = w[10] << FRACTION
        for weight, term in zip(w[:6], _past_terms(mean, previous), strict=True):
            total = total + weight * term
        predicted = (total + (1 << 14)) >> (FRACTION + WEIGHT)
        out[t] = _zigzag(frame.astype(np.int64) - predicted, codes.dtype)
        mean = _follow(mean, frame, rates[t])
        previous = frame.astype(np.int64) << FRACTION


def restore_past(
    residuals: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """Inverse of :func:`predict_past`."""
    mean = np.zeros(residuals.shape[1:], np.int64)
    previous = mean
    for t, frame in enumerate(residuals):
        w = weights[min(t, 1)].astype(np.int64)
        total = w[10] << FRACTION
        for weight, term in zip(w[:6], _past_terms(mean, previous), strict=True):
            total = total + weight * term
        predicted = (total + (1 << 14)) >> (FRACTION + WEIGHT)
        out[t] = (predicted + _unzigzag(frame)).astype(out.dtype)
        mean = _follow(mean, out[t], rates[t])
        previous = out[t].astype(np.int64) << FRACTION


def _mix_terms(mean: NDArray[np.int64], previous: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    m, p = np.pad(mean, 1, mode="edge"), np.pad(previous, 1, mode="edge")
    return [
        mean,
        *(m[:-2, 1:-1], m[2:, 1:-1], m[1:-1, :-2], m[1:-1, 2:]),
        *(m[:-2, :-2], m[:-2, 2:], m[2:, :-2], m[2:, 2:]),
        previous,
        p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:],
    ]


def _full_prediction(
    terms: list[NDArray[np.int64]], now: NDArray[np.int64], w: NDArray[np.int64], r: int, c: int
) -> int:
    """Prediction of one pixel; ``now`` is the current frame so far, bordered by the mean's edge."""
    total = int(w[15]) << FRACTION
    for weight, term in zip(w[:11], terms, strict=True):
        total += int(weight) * int(term[r, c])
    around = (now[r + 1, c], now[r, c + 1], now[r, c], now[r, c + 2])
    for weight, value in zip(w[11:15], around, strict=True):
        total += int(weight) * int(value)
    return (total + (1 << 14)) >> (FRACTION + WEIGHT)


def predict_full(
    codes: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """Predict like :func:`predict_past`, also from west, north, north-west and north-east in the frame.

    ``weights (T, 16)`` has a row for each frame. Beyond the edge of the block, the running mean of the
    nearest pixel is used.
    """
    mean = np.zeros(codes.shape[1:], np.int64)
    previous = mean
    for t, frame in enumerate(codes):
        w = weights[t].astype(np.int64)
        terms, now = _mix_terms(mean, previous), np.pad(mean, 1, mode="edge")
        for r, c in np.ndindex(*frame.shape):
            difference = int(frame[r, c]) - _full_prediction(terms, now, w, r, c)
            out[t, r, c] = _zigzag(np.array(difference), codes.dtype)
            now[r + 1, c + 1] = int(frame[r, c]) << FRACTION
        mean = _follow(mean, frame, rates[t])
        previous = frame.astype(np.int64) << FRACTION


def restore_full(
    residuals: NDArray, weights: NDArray[np.int32], rates: NDArray[np.int32], state: NDArray, out: NDArray
) -> None:
    """Inverse of :func:`predict_full`."""
    mean = np.zeros(residuals.shape[1:], np.int64)
    previous = mean
    for t, frame in enumerate(residuals):
        w = weights[t].astype(np.int64)
        terms, now = _mix_terms(mean, previous), np.pad(mean, 1, mode="edge")
        for r, c in np.ndindex(*frame.shape):
            value = _full_prediction(terms, now, w, r, c) + int(_unzigzag(frame[r, c]))
            out[t, r, c] = np.array(value).astype(out.dtype)
            now[r + 1, c + 1] = int(out[t, r, c]) << FRACTION
        mean = _follow(mean, out[t], rates[t])
        previous = out[t].astype(np.int64) << FRACTION


def pack(
    residuals: NDArray, segment: int, nibbles: NDArray[np.uint8], escapes: NDArray, counts: NDArray[np.int64]
) -> None:
    """Pack residuals ``(n,)`` two to a byte, the first in the low half; an odd last one has its own byte.

    A half byte of 15 marks a residual of 15 or more. What exceeds 15 goes to ``escapes (segments, segment)``,
    which has a row for every ``segment`` (even) residuals; ``counts (segments,)`` is the length of each row.
    The rest of a row is arbitrary.
    """
    short = np.minimum(residuals, 15).astype(np.uint8)
    nibbles[...] = short[0::2]
    nibbles[: short.size // 2] |= short[1::2] << 4
    for row, start in enumerate(range(0, residuals.size, segment)):
        part = residuals[start : start + segment]
        long = part[part >= ESCAPE] - residuals.dtype.type(ESCAPE)
        counts[row] = long.size
        escapes[row, : long.size] = long


def unpack(
    nibbles: NDArray[np.uint8], escapes: NDArray, starts: NDArray[np.int64], segment: int, out: NDArray
) -> int:
    """Inverse of :func:`pack`; segment ``s`` has ``escapes[starts[s] : starts[s + 1]]``.

    Return the number of segments whose count of half bytes of 15 differs from their number of escapes,
    plus one if an unused last half byte is not 0. The residuals of such segments are arbitrary.
    """
    short = np.stack([nibbles & 15, nibbles >> 4], 1).reshape(-1)
    strange = int(out.size % 2 == 1 and short[-1] != 0)
    out[...] = short[: out.size]
    for row, start in enumerate(range(0, out.size, segment)):
        part = out[start : start + segment]
        long = np.flatnonzero(part == ESCAPE)
        excess = escapes[starts[row] : starts[row + 1]]
        if len(long) == len(excess):
            part[long] += excess
        else:
            strange += 1
    return strange


def _levels(codes: NDArray, residuals: NDArray, count: int) -> NDArray[np.int64]:
    predicted = (codes.astype(np.int64) - _unzigzag(residuals)).astype(codes.dtype)
    return np.minimum(predicted, count - 1).astype(np.int64).ravel()


def count_levels(codes: NDArray, residuals: NDArray, counts: NDArray[np.int64]) -> None:
    """Count the samples of ``(T, R, C)`` at each level.

    The level of a sample is its prediction, as an unsigned number of the code's width (it wraps), at most
    ``counts.size - 1``.
    """
    counts[...] = np.bincount(_levels(codes, residuals, counts.size), minlength=counts.size)


def sort_levels(codes: NDArray, residuals: NDArray, places: NDArray[np.int64], out: NDArray) -> None:
    """Sort residuals ``(T, R, C)`` by level into ``out (n,)``; the order within a level is kept.

    ``places[level]`` is the index of a level's first residual, and on return the index after its last.
    """
    levels, flat = _levels(codes, residuals, places.size), residuals.ravel()
    for level in range(places.size):
        chosen = flat[levels == level]
        out[places[level] : places[level] + chosen.size] = chosen
        places[level] += chosen.size


def restore_full_sorted(
    residuals: NDArray,
    places: NDArray[np.int64],
    weights: NDArray[np.int32],
    rates: NDArray[np.int32],
    state: NDArray,
    out: NDArray,
) -> int:
    """Restore like :func:`restore_full`, from residuals ``(n,)`` sorted by :func:`sort_levels`.

    ``places (2, levels)`` holds the index of each level's next residual, which advances, and of its end.
    Return the number of missing residuals, which count as 0.
    """
    mean = np.zeros(out.shape[1:], np.int64)
    previous, missing, last = mean, 0, places.shape[1] - 1
    for t, frame in enumerate(out):
        w = weights[t].astype(np.int64)
        terms, now = _mix_terms(mean, previous), np.pad(mean, 1, mode="edge")
        for r, c in np.ndindex(*frame.shape):
            predicted = _full_prediction(terms, now, w, r, c)
            level = min(int(np.array(predicted).astype(out.dtype)), last)
            position, residual = places[0, level], out.dtype.type(0)
            if position < places[1, level]:
                residual = residuals[position]
                places[0, level] += 1
            else:
                missing += 1
            frame[r, c] = np.array(predicted + int(_unzigzag(residual))).astype(out.dtype)
            now[r + 1, c + 1] = int(frame[r, c]) << FRACTION
        mean = _follow(mean, frame, rates[t])
        previous = frame.astype(np.int64) << FRACTION
    return missing
