"""Entropy of codes, and the Fisher information that they keep about the light, relative to the raw values.

Above about three photons a step costs ``1/(1 + step**2/12)`` of it. In the dark, where photon peaks are
resolved, it costs more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.noise import NoiseModel

DARK_PHOTONS = 3.0
"""Mean light below which a step costs more than ``step**2/12``."""

COARSE = 1.0
"""Step, sigma, from which on the dark needs a warning."""

_DARKEST, _BRIGHTEST = 0.1, 10.0
_CELLS = 1000
_TABLED = 1 << 22  # Distance of the least and the greatest integer up to which a table counts them.
_SHARPEST = 0.02  # Least read noise, photons.
_erf = np.frompyfunc(math.erf, 1, 1)
_FAR = 6.0  # Beyond, the error function is 1 or -1 to the last bit.


def entropy(codes: NDArray[np.integer]) -> float:
    """Entropy of integers, in bits each.

    Examples
    --------
    >>> entropy(np.array([5, 5, 7, -9]))
    1.5
    """
    low, high = int(codes.min()), int(codes.max())
    if high - low < _TABLED:
        counts = np.bincount(np.subtract(codes, low, dtype=np.int64).reshape(-1))
    else:
        counts = np.unique(codes, return_counts=True)[1]
    return entropy_of_counts(counts)


def entropy_of_counts(counts: NDArray) -> float:
    """Entropy of values of which each occurs as often as ``counts`` says, in bits each.

    Examples
    --------
    >>> entropy_of_counts(np.array([2, 0, 1, 1]))
    1.5
    """
    counts, total = counts[counts > 0], counts.sum()
    return float(np.log2(total) - (counts * np.log2(counts)).sum() / total)


def information_kept(
    table: CodeTable, photons: ArrayLike, detector: NoiseModel | None = None
) -> NDArray[np.float64]:
    """Share of the Fisher information about the mean light that codes keep, at each light in photons.

    For Poisson light with Gaussian read noise, of ``detector`` or, without it, of the table's noise model.
    Lights count as at least 0.1 and at most 10 photons.

    Examples
    --------
    >>> from photon_gpu.engine.model.noise import NoiseModel
    >>> detector = NoiseModel(gain=100.0, variance=25.0**2)  # a read noise of a quarter of a photon
    >>> table = CodeTable(detector, step=0.5, dtype="int16")
    >>> information_kept(table, [0.1, 0.3, 1.0]).round(2).tolist()
    [0.88, 0.92, 0.96]
    """
    return information_kept_by([table], photons, detector)[0]


def information_kept_by(
    tables: Sequence[CodeTable], photons: ArrayLike, detector: NoiseModel | None = None
) -> NDArray[np.float64]:
    """Return what :func:`information_kept` returns for each table, in little more time than for one.

    The tables are of one dtype and, without ``detector``, of one noise model.
    """
    lights = np.clip(np.asarray(photons, np.float64), _DARKEST, _BRIGHTEST)
    noise, most = detector or tables[0].noise, float(lights.max())
    counts = np.arange(int(most + 10 * math.sqrt(most) + 12))
    sigma = max(math.sqrt(noise.variance), _SHARPEST * noise.gain)
    bottom, top = noise.offset - 8 * sigma, noise.offset + noise.gain * float(counts[-1]) + 8 * sigma
    thresholds = [_thresholds(table, bottom, top) for table in tables]
    edges = np.linspace(bottom, top, _CELLS)
    whole = 0.5 if tables[0].dtype.kind in "iu" else 0.0  # A value stands for all that is rounded to it.
    edges = np.unique(np.concatenate([np.unique(np.floor(edges)) if whole else edges, *thresholds])) - whole
    away = (edges[:, None] - noise.offset - noise.gain * counts) / (math.sqrt(2) * sigma)
    shares = np.diff(_error_function(away), axis=0) / 2
    codes = [np.searchsorted(each - whole, edges[:-1], side="right") for each in thresholds]
    kept = np.array([_kept(shares, codes, counts, light) for light in lights.ravel()])
    return kept.T.reshape(len(tables), *lights.shape)


def _thresholds(table: CodeTable, bottom: float, top: float) -> NDArray[np.float64]:
    """Thresholds of the codes of values from ``bottom`` to ``top``, and the next one."""
    phase = table.phases // 2  # that whose grid is shifted least
    return table.thresholds(table.code(bottom, phase), table.code(top, phase) + 1, phase)


def _error_function(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Error function; Python computes it only where it is neither 1 nor -1."""
    result, near = np.sign(x), np.abs(x) < _FAR
    result[near] = _erf(x[near])
    return result


def _kept(shares: NDArray, codes: Sequence[NDArray], counts: NDArray, light: float) -> list[float]:
    logs = np.concatenate([[0.0], np.cumsum(np.log(counts[1:]))])
    chance = np.exp(counts * math.log(light) - light - logs)
    change = np.concatenate([[0.0], chance[:-1]]) - chance
    of_cells, by_light = shares @ chance, shares @ change
    raw = _information(of_cells, by_light)
    return [_information(np.bincount(one, of_cells), np.bincount(one, by_light)) / raw for one in codes]


def _information(chance: NDArray, change: NDArray) -> float:
    likely = chance > 1e-14
    return float((change[likely] ** 2 / chance[likely]).sum())
