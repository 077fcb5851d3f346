"""Predictors: the fit is exact and the same everywhere, restoring gives back whatever was there."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec import chunk as coder
from photon_gpu.engine.codec.predictors import (
    MULTIPLICITY,
    NAMES,
    TERMS,
    Predictor,
    _eliminate,
    _gather,
    _median,
    band_rows,
    fit,
    rates,
)
from photon_gpu.errors import InvalidInputError

FITTED = ["past", "full", "spatial"]


def scene(frames=24, rows=24, columns=28, seed=0, level=40.0):
    """Codes of a smooth scene that moves a little, with noise of two codes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    light = [level + 12 * np.sin(x / 5 + t / 40) * np.cos(y / 4) for t in range(frames)]
    return np.rint(np.array(light) + rng.normal(0, 2, (frames, rows, columns))).astype(np.int64)


def cost(codes, predictor):
    """Mean absolute residual of a block under a predictor, signed again."""
    base = int(codes.min())
    relative = (codes - base).astype("uint8")
    out = np.empty_like(relative)
    weights = coder.kernel_weights(predictor.name, predictor.relative(base, int(relative.max())), len(codes))
    coder.predict(
        predictor.name, relative, weights, rates(len(codes), predictor.rate), out, get_backend("numba")
    )
    folded = out.astype(int)
    return float(np.abs((folded >> 1) ^ -(folded & 1)).mean())


@pytest.mark.parametrize("name", FITTED)
def test_the_fit_is_deterministic_and_all_integer(name):
    first, again = fit([scene()], name, 16), fit([scene().astype(np.int32)], name, 16)
    assert first == again
    assert all(type(w) is int for row in first.weights for w in row)


@pytest.mark.parametrize("name", FITTED)
def test_a_fit_beats_plain_weights(name):
    codes = scene()
    plain = Predictor(name=name, rate=16) if name != "spatial" else Predictor(name="none")
    assert cost(codes, fit([codes], name, 16)) < 0.97 * cost(codes, plain)


def test_richer_predictors_fit_better():
    codes = scene()
    costs = [cost(codes, fit([codes], name, 16)) for name in ("mean", "past", "full")]
    assert costs == sorted(costs, reverse=True)


def test_the_solution_is_least_squares():
    """Against NumPy's float64 solver on the kernels' terms; the ridge is a thousandth of a code."""
    codes = scene(32, 40, 40)
    predictor = fit([codes], "past", 16)
    terms, target = _gather(codes, 16, 0, alone=False)
    used = [0, 1, 2, 3, 4, 5, 10]
    expected = np.linalg.lstsq(terms[used].T.astype(float), target.astype(float), rcond=None)[0]
    got = np.array(predictor.weights[1])[used] / 256

    def error(weights):
        return float(((terms[used].T @ weights - target) ** 2).mean())

    assert error(got) <= 1.002 * error(expected)


def test_elimination_is_exact():
    rng = np.random.default_rng(0)
    for size in (1, 3, 8):
        half = rng.integers(-9, 9, (size, size))
        matrix = (half @ half.T + size * np.eye(size, dtype=int)).tolist()
        wanted = [Fraction(int(n), 7) for n in rng.integers(-50, 50, size)]
        right = [
            sum((Fraction(a) * x for a, x in zip(row, wanted, strict=True)), Fraction(0)) for row in matrix
        ]
        assert _eliminate([[Fraction(a) for a in row] for row in matrix], right) == wanted


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "blocks",
    [
        [np.zeros((1, 1, 1), int)],
        [np.full((5, 3, 3), 7)],
        [np.full((30, 20, 20), -3)],
        [np.zeros((2, 1, 400), int)],
        [np.arange(400).reshape(400, 1, 1)],
        [np.tile(np.arange(40), (9, 30, 1))],
        [scene(1)],
        [scene(2), scene(1)],
        [10**6 * scene(9)],
        [np.where(scene() == 40, 2**31, scene())],
        [-(10**7) + scene()],
        [np.random.default_rng(0).integers(0, 2**16, (9, 20, 20))],
    ],
    ids=range(12),
)
def test_samples_that_determine_nothing_still_give_a_valid_predictor(name, blocks):
    predictor = fit(blocks, name, 16)
    assert predictor.name == name and predictor.rate == 16
    for row in predictor.weights:
        assert sum(abs(w) * m for w, m in zip(row, MULTIPLICITY, strict=True)) <= 4096


WEIGHTS = st.tuples(*[st.lists(st.integers(-150, 150), min_size=10, max_size=10)] * 2)


@given(
    name=st.sampled_from(NAMES),
    weights=WEIGHTS,
    constant=st.integers(-(2**30), 2**30),
    rate=st.integers(1, 128),
    base=st.integers(-(2**33), 2**33),
    top=st.sampled_from([0, 3, 255, 256, 65535]),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=150, derandomize=True)
def test_whatever_was_predicted_is_restored(name, weights, constant, rate, base, top, shape, seed):
    predictor = Predictor(name=name, rate=rate, weights=tuple((*row, constant) for row in weights))
    codes = np.random.default_rng(seed).integers(0, top + 1, shape).astype("u1" if top < 256 else "u2")
    frame_weights, steps = predictor.relative(base, top), rates(shape[0], rate)
    relative = coder.kernel_weights("full" if name == "moving" else name, frame_weights, shape[0])
    residuals, restored = np.empty_like(codes), np.empty_like(codes)
    for backend in ("numba", "numpy"):
        coder.predict(name, codes, relative, steps, residuals, get_backend(backend))
        coder.restore(name, residuals, relative, steps, restored, get_backend(backend))
        np.testing.assert_array_equal(restored, codes)


def test_weights_counted_from_base_predict_the_same_codes():
    """Only the constant moves, by base times what the others do not add up to."""
    codes = scene()
    predictor = fit([codes], "full", 16)
    for base in (int(codes.min()), int(codes.min()) - 60):
        moved = predictor.relative(base, 255)
        for row, absolute in zip(moved, predictor.weights, strict=True):
            assert row[:10].tolist() == list(absolute[:10])
            gathered = sum(w * m for w, m in zip(absolute, MULTIPLICITY, strict=True))
            for level in (30, 50):
                on_relative = gathered * (level - base) + int(row[10])
                assert on_relative + 256 * base == gathered * level + absolute[10]
    far = predictor.relative(10**9, 255)
    assert np.abs(far[:, 10]).max() <= 2 * 256 * 256


def test_a_predictor_survives_json():
    predictor = fit([scene()], "past", 16)
    assert Predictor.from_dict(json.loads(json.dumps(predictor.to_dict()))) == predictor
    assert hash(predictor) == hash(Predictor.from_dict(predictor.to_dict()))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"name": "lucky"}, "spatial"),
        ({"rate": 0}, "rate"),
        ({"rate": 129}, "rate"),
        ({"rate": 8.0}, "rate"),
        ({"weights": ((0,) * TERMS,)}, "two rows"),
        ({"weights": ((0,) * 10, (0,) * TERMS)}, "two rows"),
        ({"weights": ((4097,) + (0,) * 10, (0,) * TERMS)}, "more than 16"),
        ({"weights": ((0, 0, 0, -1025) + (0,) * 7, (0,) * TERMS)}, "more than 16"),
        ({"weights": ((0,) * 10 + (1 << 40,), (0,) * TERMS)}, "constant"),
    ],
)
def test_bad_parameters_are_refused(changes, words):
    with pytest.raises(InvalidInputError, match=words):
        Predictor(**changes)


def test_rates_begin_as_a_plain_mean():
    assert rates(6, 8).tolist() == [128, 64, 42, 32, 25, 21] and rates(300, 8)[-1] == 8
    assert rates(3, 128).tolist() == [128] * 3 and rates(3, 8).dtype == np.int32


def test_bands_hold_about_16384_pixels():
    for rows in (1, 5, 64, 200, 10_000):
        for columns in (1, 3, 200, 2048, 100_000):
            band = band_rows(rows, columns)
            assert 1 <= band <= rows
            assert band == rows or (band >= 16 and (band == 16 or (band - 1) * columns < 16384))


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int64", "uint64"])
def test_the_median_is_that_of_numpy_rounded_to_even(dtype):
    rng = np.random.default_rng(0)
    for size in (*range(1, 12), 1000, 1001):
        values = rng.integers(0 if dtype[0] == "u" else -50, 50, size).astype(dtype)
        assert _median(values) == int(np.rint(np.median(values)))
    assert _median(np.array([2, 3], dtype)) == 2 and _median(np.array([3, 4], dtype)) == 4
