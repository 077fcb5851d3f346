"""Kernels that do the work of two of the twins' give what those two give."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.engine.codec.predictors import rates
from photon_gpu.kernels import reference
from photon_gpu.kernels.cpu_unpack_unpredict import restore_mean_packed

SEGMENT = 64


def packed(residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half bytes, escapes and where those of each segment begin."""
    flat = residuals.reshape(-1)
    nibbles = np.empty(-(-flat.size // 2), np.uint8)
    segments = -(-flat.size // SEGMENT)
    escapes, counts = np.empty((segments, SEGMENT), np.uint8), np.empty(segments, np.int64)
    reference.pack(flat, SEGMENT, nibbles, escapes, counts)
    long = np.concatenate([row[:count] for row, count in zip(escapes, counts, strict=True)])
    return nibbles, long, np.concatenate([[0], np.cumsum(counts)])


@pytest.mark.parametrize("rate", [1, 8, 63, 64, 128])
@pytest.mark.parametrize("spread", [2, 8, 200])
@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (5, 13), (9, 64), (4, 65), (3, 201), (150, 40)])
def test_unpacked_and_restored_at_once(shape, spread, rate):
    rng = np.random.default_rng(shape[1] + spread)
    residuals = np.minimum(rng.geometric(1 / spread, shape) - 1, 255).astype(np.uint8)
    nibbles, escapes, starts = packed(residuals)
    steps, first = rates(shape[0], rate), int(rng.integers(0, 256))
    expected = np.empty(shape, np.uint8)
    reference.restore_mean(residuals, steps, first, np.empty(shape[1], np.int32), expected)
    result = np.full(shape, 99, np.uint8)
    state = np.full(shape[1], -1, np.int32)
    assert restore_mean_packed(nibbles, escapes, starts, SEGMENT, steps, first, state, result) == 0
    np.testing.assert_array_equal(result, expected)


def test_escapes_that_are_too_few_or_too_many_are_counted():
    residuals = np.full((6, 50), 200, np.uint8)
    nibbles, escapes, starts = packed(residuals)
    out, state = np.empty((6, 50), np.uint8), np.empty(50, np.int32)
    parameters = (SEGMENT, rates(6, 8), 3, state, out)
    assert restore_mean_packed(nibbles, escapes, starts, *parameters) == 0
    moved = starts.copy()
    moved[2] -= 1  # one segment has an escape too few, the next one too many
    assert restore_mean_packed(nibbles, escapes, moved, *parameters) == 2
    assert restore_mean_packed(np.zeros_like(nibbles), escapes, starts, *parameters) == starts.size - 1
