import math
from typing import Any

import numpy as np
import pytest

from benchmarks.estimate_accuracy import GAINS, READ, SAMPLE, _case, bounds, summary
from photon_gpu.estimate.sample import Window, draw
from photon_gpu.sources.open import open_source
from photon_gpu.sources.simulated.movie import simulate

SMALL = {"frames": 20, "height": 32, "width": 32, "gain": 5, "offset": 50, "dtype": "float32", "cells": 8}


@pytest.mark.parametrize(
    ("photons", "read", "trouble"),
    [
        (4, 4, {"motion": 0, "activity": 0}),
        (0.1, 15, {"motion": 1}),
        (0.2, 0, {"flashes": 0.2, "lines": 0.05}),
    ],
)
def test_the_bound_is_the_scatter_of_one_who_knows_every_mean(photons, read, trouble):
    movie = simulate(**SMALL, photons=photons, read_noise_adu=read, seed=3, **trouble)
    noise, rates = movie.noise, movie.rates(0, 20)
    variance = noise.gain**2 * rates + noise.variance
    rng = np.random.default_rng(1)
    # fitted by weights with and without what single photons add to the scatter of a square
    draws = [noise.gain * (rng.poisson(rates) - rates) + rng.normal(0, read, rates.shape) for _ in range(800)]
    squares = np.array([d.ravel() ** 2 for d in draws])
    rows = np.stack([noise.gain * rates.ravel(), np.ones(rates.size)])
    fits = {}
    for kurtosis in (0.0, 1.0):
        weight = 1 / (2 * variance**2 + kurtosis * noise.gain**4 * rates).ravel()
        solve = np.linalg.solve((rows * weight) @ rows.T, rows * weight)
        fits[kurtosis] = squares @ solve.T
    gain, dark = fits[1.0].T
    assert gain.mean() == pytest.approx(noise.gain, abs=4 * gain.std() / np.sqrt(800))
    result = bounds(movie, draw(open_source(np.asarray(movie)), **SAMPLE))
    assert result[0] == pytest.approx(100 * gain.std() / noise.gain, rel=0.1)
    # to first order in the errors of both, as the bound is
    zero = noise.variance / noise.gain**2 * gain - dark / noise.gain
    dark_sigma = (noise.variance + 0.375 * noise.gain**2) ** 0.5
    assert result[1] == pytest.approx(zero.std() / dark_sigma, rel=0.1)
    # and nobody with other weights gets below it
    assert result[0] < 1.1 * 100 * fits[0.0][:, 0].std() / noise.gain


def test_the_bound_is_of_the_pixels_that_were_sampled():
    movie = simulate(**SMALL, photons=4, read_noise_adu=4, motion=0, activity=0)
    frames = np.asarray(movie)
    every = bounds(movie, [Window(start=0, plane=0, row=0, frames=frames)])
    parts = [Window(start=k, plane=0, row=0, frames=frames[k : k + 5]) for k in (0, 5, 10, 15)]
    assert bounds(movie, parts) == pytest.approx(every)
    quarter = bounds(movie, parts[:1])
    assert np.array(quarter) == pytest.approx(2 * np.array(every))  # still: every frame tells the same
    upper = bounds(movie, [Window(start=0, plane=0, row=0, frames=frames[:, :16])])
    lower = bounds(movie, [Window(start=0, plane=0, row=16, frames=frames[:, 16:])])
    assert upper != pytest.approx(lower)


def rounded(gain: float, read: float, photons: float) -> tuple[float, float]:
    """Exact mean and variance of rounded values, ADU."""
    far = 8 * math.ceil(read)
    counts, values = np.arange(40), np.arange(-far, far + int(40 * gain))
    chance = np.array([math.exp(-photons) * photons**n / math.factorial(n) for n in counts])
    below = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / (read * math.sqrt(2)))))(
        values[None, :] + 0.5 - gain * counts[:, None]
    )
    mass = chance @ np.diff(below, axis=1, prepend=0.0)
    mean = float(mass @ values / mass.sum())
    return mean, float(mass @ (values - mean) ** 2 / mass.sum())


@pytest.mark.parametrize("gain", [g for g in GAINS if g <= 10])
@pytest.mark.parametrize("read", [r for r in READ if r > 0])
def test_what_is_rounded_still_has_the_true_line(gain, read):
    if _case(gain, 1.0, read, 20, 32, "still", 0)["settings"]["dtype"] == "float32":
        pytest.skip("such movies are not rounded")
    (low, dim), (high, bright) = (rounded(gain, read * gain, photons) for photons in (0.1, 1.0))
    assert (bright - dim) / (high - low) == pytest.approx(gain, rel=0.003)


def row(**changes: Any) -> dict[str, Any]:
    return {
        "gain": 10.0,
        "photons": 1.0,
        "read": 1.0,
        "frames": 20,
        "trouble": "still",
        "pairs": 6_000_000,
        "shot share": 0.6,
        "verdict": "PASS",
        "gain error %": 0.5,
        "gain +- %": 1.96,
        "gain held": True,
        "gain bound %": 0.5,
        "intercept error": 0.01,
        "intercept +-": 0.0392,
        "intercept held": True,
        "intercept bound": 0.01,
        "rival gain error %": "",
        "rival intercept error": "",
        **changes,
    }


def test_the_summary_tells_what_the_oracle_could_have_had():
    rows = [
        row(),
        row(**{"gain error %": -3.5, "gain held": False, "photons": 7.0}),
        row(**{"gain error %": 9.0, "gain bound %": 1.01, "shot share": 0.19}),
        row(**{"intercept error": -0.3, "intercept bound": 0.034, "intercept held": False}),
        row(**{"pairs": 4_000_000, "gain error %": 2.5}),
        row(verdict="REFUSE", **{"gain error %": 50.0}),
        row(verdict="REFUSE", **{"gain held": "", "gain error %": "", "pairs": "", "gain bound %": 8.0}),
    ]
    text = "\n".join(summary(rows, [row(trouble="motion")] * 3))
    assert "7 movies: 2 refused, 1 of them within the oracle's reach of the gain; 4 estimated" in text
    within = (
        "- Gain, 5e6 pairs or more, within the oracle's reach: 3 of 4 movies, error median 0.5, "
        "worst 3.5 %; 1 above 3 %"
    )
    assert f"{within}; the interval holds the truth in 2; our standard error is 2.0 times" in text
    assert "  - 10 ADU, 7 photons, read noise 1, 20 frames, still, PASS: -3.5, oracle 0.5, outside" in text
    assert (
        "- Gain, 5e6 pairs or more, beyond the oracle's reach: 1 of 4 movies, error median 9, worst 9 %"
        in text
    )
    assert (
        "- Intercept, 5e6 pairs or more, beyond the oracle's reach: 1 of 4 movies, error median 0.3" in text
    )
    lit = "- Gain, the same where light makes 20% of the variance, "
    assert (
        f"{lit}within the oracle's reach: 3 of 3 movies, error median 0.5, worst 3.5 %; 1 above 3 %" in text
    )
    assert f"{lit}beyond the oracle's reach: no movie." in text
    assert "holds the truth in 0" in text
    assert "- Gain, fewer pairs, within the oracle's reach: 1 of 1 movies, error median 2.5" in text
    assert "- Gain, fewer pairs, beyond the oracle's reach: no movie." in text
    assert "- Coverage, all movies, all: gain 87.5%, intercept 87.5% of 8" in text
    assert "- Coverage, 5e6 pairs or more, all: gain 75.0%, intercept 75.0% of 4" in text
    assert "- Coverage, small movies, motion: gain 100.0%, intercept 100.0% of 3" in text
