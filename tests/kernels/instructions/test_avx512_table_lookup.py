"""Samples looked up in vector registers are those of a table."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from photon_gpu.kernels import reference
from photon_gpu.kernels.instructions.avx512_table_lookup import can_permute, permute


@pytest.mark.skipif(not can_permute(), reason="this processor has no AVX-512BW")
@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 256, 1000])
def test_every_code_gets_its_sample(size):
    rng = np.random.default_rng(size)
    table = rng.permutation(1 << 16)[:256].astype(np.uint16)
    codes = np.concatenate([np.arange(256), rng.integers(0, 256, 1000)]).astype(np.uint8)[-size or 2000 :]
    expected, out = np.empty((1, codes.size), np.uint16), np.full(codes.size, 99, np.uint16)
    reference.dequantize(codes[np.newaxis], table, expected)
    permute(codes, table, out)
    np.testing.assert_array_equal(out, expected[0])


@pytest.mark.parametrize(
    ("name", "features", "allowed"),
    [(None, "+avx2", False), ("generic", None, False), ("host", "+avx2,+avx512bw", True)],
)
def test_numba_decides_for_which_processor_kernels_are_compiled(monkeypatch, name, features, allowed):
    monkeypatch.setattr(numba.config, "CPU_NAME", name)
    monkeypatch.setattr(numba.config, "CPU_FEATURES", features)
    can_permute.cache_clear()
    try:
        assert can_permute() == allowed
    finally:
        can_permute.cache_clear()
