"""Predictors of a band, chosen by the type of their parameters when a call is compiled."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from photon_gpu.kernels import cpu
from photon_gpu.kernels.cpu_cache import jit


class Unpredicted(NamedTuple):
    """No prediction: residuals are the codes."""

    rates: NDArray[np.int32]


class Mean(NamedTuple):
    """Running mean, which begins with ``first``."""

    rates: NDArray[np.int32]
    first: int


class Past(NamedTuple):
    """Weighted sum of the past."""

    rates: NDArray[np.int32]
    weights: NDArray[np.int32]


class Full(NamedTuple):
    """Weighted sum of the past and of neighbours in the current frame."""

    rates: NDArray[np.int32]
    weights: NDArray[np.int32]


class Spatial(NamedTuple):
    """Weighted sum of neighbours in the current frame."""

    rates: NDArray[np.int32]
    weights: NDArray[np.int32]


USUAL = ("none", "mean", "past")
"""Predictors that are compiled together with the stages before and after them."""


def predictor(name: str, rates: NDArray[np.int32], weights: NDArray[np.int32]) -> Any:
    """Parameters of the predictor ``name``: the rates of its mean, and weights as its kernel takes them."""
    if name == "none":
        return Unpredicted(rates)
    if name == "mean":
        return Mean(rates, int(weights[0, -1]) >> 8)
    return {"past": Past, "full": Full, "moving": Full, "spatial": Spatial}[name](rates, weights)


@jit
def _two(band: NDArray) -> NDArray:
    """Codes ``(T, rows, columns)`` as ``(T, pixels)``."""
    return band.reshape(band.shape[0], band.shape[1] * band.shape[2])


def predict(how: Any, codes: NDArray, state: NDArray[np.int32], out: NDArray) -> None:
    """Write the residuals of codes ``(T, rows, columns)`` of a band."""


@overload(predict)
def _predict_typed(how, codes, state, out):  # type: ignore[no-untyped-def]
    return _PREDICT[how.instance_class]


def _predict_none(how, codes, state, out):  # type: ignore[no-untyped-def]
    out[:] = codes


def _predict_mean(how, codes, state, out):  # type: ignore[no-untyped-def]
    cpu.predict_mean(_two(codes), how.rates, how.first, state.reshape(-1), _two(out))


def _predict_past(how, codes, state, out):  # type: ignore[no-untyped-def]
    cpu.predict_past(codes, how.weights, how.rates, state, out)


def _predict_full(how, codes, state, out):  # type: ignore[no-untyped-def]
    cpu.predict_full(codes, how.weights, how.rates, state, out)


def _predict_spatial(how, codes, state, out):  # type: ignore[no-untyped-def]
    for t in range(codes.shape[0]):
        cpu.predict_full(codes[t : t + 1], how.weights[:1], how.rates[:1], state, out[t : t + 1])


_PREDICT = {
    Unpredicted: _predict_none,
    Mean: _predict_mean,
    Past: _predict_past,
    Full: _predict_full,
    Spatial: _predict_spatial,
}


def restore(how: Any, residuals: NDArray, state: NDArray[np.int32], out: NDArray) -> None:
    """Restore codes ``(T, rows, columns)`` of a band from residuals of the same shape."""


@overload(restore)
def _restore_typed(how, residuals, state, out):  # type: ignore[no-untyped-def]
    return _RESTORE[how.instance_class]


def _restore_none(how, residuals, state, out):  # type: ignore[no-untyped-def]
    out[:] = residuals


def _restore_mean(how, residuals, state, out):  # type: ignore[no-untyped-def]
    cpu.restore_mean(_two(residuals), how.rates, how.first, state.reshape(-1), _two(out))


def _restore_past(how, residuals, state, out):  # type: ignore[no-untyped-def]
    cpu.restore_past(residuals, how.weights, how.rates, state, out)


def _restore_full(how, residuals, state, out):  # type: ignore[no-untyped-def]
    cpu.restore_full(residuals, how.weights, how.rates, state, out)


def _restore_spatial(how, residuals, state, out):  # type: ignore[no-untyped-def]
    for t in range(out.shape[0]):
        cpu.restore_full(residuals[t : t + 1], how.weights[:1], how.rates[:1], state, out[t : t + 1])


_RESTORE = {
    Unpredicted: _restore_none,
    Mean: _restore_mean,
    Past: _restore_past,
    Full: _restore_full,
    Spatial: _restore_spatial,
}


def restore_sorted(how: Any, residuals: NDArray, places: NDArray, state: NDArray, out: NDArray) -> int:
    """Restore a band from residuals in order of level; return the number of residuals that were missing."""
    raise NotImplementedError  # for compiled callers only


@overload(restore_sorted)
def _restore_sorted_typed(how, residuals, places, state, out):  # type: ignore[no-untyped-def]
    return _SORTED.get(how.instance_class, _unsorted)


def _sorted_full(how, residuals, places, state, out):  # type: ignore[no-untyped-def]
    return cpu.restore_full_sorted(residuals, places, how.weights, how.rates, state, out)


def _sorted_spatial(how, residuals, places, state, out):  # type: ignore[no-untyped-def]
    missing = 0
    for t in range(out.shape[0]):
        missing += cpu.restore_full_sorted(
            residuals, places, how.weights[:1], how.rates[:1], state, out[t : t + 1]
        )
    return missing


def _unsorted(how, residuals, places, state, out):  # type: ignore[no-untyped-def]
    return out.size  # other predictors are never sorted


_SORTED = {Full: _sorted_full, Spatial: _sorted_spatial}
