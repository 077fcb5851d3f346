"""Information kept by codes, against an integral over photons and read noise by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, poisson

from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.entropy_and_information import information_kept
from photon_gpu.engine.model.noise import NoiseModel


def integral(light: float, step: float, read: float) -> float:
    """In units of photons: Fisher information of codes over that of values, on a fine grid."""
    counts = np.arange(60)
    edges = np.arange(-3, 60, 0.004)
    cells = np.diff(norm.cdf((edges[:, None] - counts) / read), axis=0)
    chance = cells @ poisson.pmf(counts, light)
    change = cells @ (poisson.pmf(counts - 1, light) - poisson.pmf(counts, light))
    values, dark = (edges[:-1] + edges[1:]) / 2, 0.375 + read**2
    root = 2 * np.sqrt(np.maximum(values, 0) + dark)
    codes = np.rint(np.where(values > 0, root, 2 * np.sqrt(dark) + values / np.sqrt(dark)) / step).astype(int)
    codes -= codes.min()

    def information(p, dp):
        return (dp[p > 1e-14] ** 2 / p[p > 1e-14]).sum()

    of_codes = information(np.bincount(codes, chance), np.bincount(codes, change))
    return of_codes / information(chance, change)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
@pytest.mark.parametrize("step", [0.5, 1.0])
def test_agrees_with_an_integral(step, dtype):
    lights = [0.1, 0.3, 1.0, 3.0, 10.0]
    table = CodeTable(NoiseModel(gain=100.0, offset=50.0, variance=625.0), step=step, dtype=dtype)
    wanted = [integral(light, step, 0.25) for light in lights]
    np.testing.assert_allclose(information_kept(table, lights), wanted, atol=0.006)


def test_values_as_published_for_the_dark_and_for_bright_light():
    for step, wanted in ((0.5, [0.88, 0.92, 0.96]), (1.0, [0.50, 0.65, 0.85])):
        table = CodeTable(NoiseModel(gain=100.0, variance=625.0), step=step, dtype="int16")
        np.testing.assert_allclose(information_kept(table, [0.1, 0.3, 1.0]), wanted, atol=0.008)
        bright = CodeTable(NoiseModel(gain=100.0, variance=9e6), step=step, dtype="int32")  # much read noise
        np.testing.assert_allclose(information_kept(bright, 10.0), 1 / (1 + step**2 / 12), atol=0.004)


def test_photon_counts_that_decode_exactly_keep_all():
    table = CodeTable(NoiseModel(), step=0.5, dtype="uint16")
    np.testing.assert_allclose(information_kept(table, [0.1, 1.0]), 1.0, atol=1e-4)
