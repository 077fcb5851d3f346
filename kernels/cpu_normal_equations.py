"""Sums of products from which the weights of moving frames are fitted, for every backend.

Compiled for the CPU, without Python's lock. The sums are of integers, so their order does not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit

TERMS = 17
"""Terms of a sample: the inputs of :data:`photon_gpu.kernels.reference.MIX`, and the code itself."""

LIMIT = 1 << 17
"""Samples with a term this large are left out, so sums over 500,000 samples stay below 2**53."""


@jit
def mix_sums(
    codes: NDArray,
    rates: NDArray[np.int32],
    sampled_rows: NDArray[np.int64],
    centre: int,
    mean: NDArray[np.int32],
    terms: NDArray[np.int32],
    out: NDArray[np.int64],
) -> None:
    """Sum the products of every two terms over ``sampled_rows`` of each frame of ``codes (T, R, C)``.

    ``mean (R, C)`` and ``terms (TERMS, C)`` are scratch memory; ``out`` is ``(T, TERMS, TERMS)``. Terms are
    in 1/128 code, relative to the running mean. The first frame has no past, so its terms are relative to
    the code ``centre``.
    """
    rows, columns = codes.shape[1:]
    for r in range(rows):
        for c in range(columns):
            mean[r, c] = 0
    for t in range(codes.shape[0]):
        out[t] = 0
        for row in sampled_rows:
            if t == 0:
                _first_terms(codes[0], row, centre, terms)
            else:
                _terms(codes[t], codes[t - 1], mean, row, centre, terms)
            _leave_out_far(terms, columns)
            _add_products(terms, columns, out[t])
        rate = np.int32(rates[t])
        for r in range(rows):
            for c in range(columns):
                now = np.int32(np.int32(codes[t, r, c]) << 7)
                moved = np.int32(np.int32(now - mean[r, c]) * rate) + np.int32(64)
                mean[r, c] += np.int32(moved >> 7)


@jit
def _first_terms(now: NDArray, row: int, centre: int, terms: NDArray[np.int32]) -> None:
    """Terms of a row of the first frame: the past is 0, and so is the row above the frame."""
    columns, anchor = now.shape[1], np.int32(centre << 7)
    for i in range(11):
        for c in range(columns):
            terms[i, c] = 0
    for c in range(columns):
        west, east = max(c - 1, 0), min(c + 1, columns - 1)
        terms[11, c] = (np.int32(now[row, west]) << 7) - anchor
        terms[12, c] = (np.int32(now[row - 1, c]) << 7 if row else 0) - anchor
        terms[13, c] = (np.int32(now[row - 1, west]) << 7 if row else 0) - anchor
        terms[14, c] = (np.int32(now[row - 1, east]) << 7 if row else 0) - anchor
        terms[15, c] = 128
        terms[16, c] = (np.int32(now[row, c]) << 7) - anchor


@jit
def _terms(
    now: NDArray, before: NDArray, mean: NDArray[np.int32], row: int, centre: int, terms: NDArray[np.int32]
) -> None:
    """Terms of a row of a later frame."""
    rows, columns = now.shape
    above, below = max(row - 1, 0), min(row + 1, rows - 1)
    for c in range(columns):
        west, east = max(c - 1, 0), min(c + 1, columns - 1)
        middle = mean[row, c]
        terms[0, c] = middle - (centre << 7)
        terms[1, c], terms[2, c] = mean[above, c] - middle, mean[below, c] - middle
        terms[3, c], terms[4, c] = mean[row, west] - middle, mean[row, east] - middle
        terms[5, c], terms[6, c] = mean[above, west] - middle, mean[above, east] - middle
        terms[7, c], terms[8, c] = mean[below, west] - middle, mean[below, east] - middle
        terms[9, c] = (np.int32(before[row, c]) << 7) - middle
        across = np.int32(before[row, west]) + np.int32(before[row, east])
        along = np.int32(before[above, c]) + np.int32(before[below, c])
        terms[10, c] = ((across + along) << 7) - 4 * middle
        terms[11, c] = (np.int32(now[row, west]) << 7) - middle
        terms[12, c] = (np.int32(now[above, c]) << 7 if row else middle) - middle
        terms[13, c] = (np.int32(now[above, west]) << 7 if row else mean[row, west]) - middle
        terms[14, c] = (np.int32(now[above, east]) << 7 if row else mean[row, east]) - middle
        terms[15, c] = 128
        terms[16, c] = (np.int32(now[row, c]) << 7) - middle


@jit
def _leave_out_far(terms: NDArray[np.int32], columns: int) -> None:
    """Set samples with a term of ``LIMIT`` or more to zero, which adds nothing."""
    most = np.int32(0)
    for i in range(TERMS):
        for c in range(columns):
            most = max(most, abs(terms[i, c]))
    if most < LIMIT:
        return
    for c in range(columns):
        most = np.int32(0)
        for i in range(TERMS):
            most = max(most, abs(terms[i, c]))
        if most >= LIMIT:
            for i in range(TERMS):
                terms[i, c] = 0


@jit
def _add_products(terms: NDArray[np.int32], columns: int, out: NDArray[np.int64]) -> None:
    """Add the products of every two terms of a row of samples."""
    for i in range(TERMS):
        for j in range(i + 1):
            total = np.int64(0)
            for c in range(columns):
                total += np.int64(terms[i, c]) * np.int64(terms[j, c])
            out[i, j] += total
            if i != j:
                out[j, i] += total
