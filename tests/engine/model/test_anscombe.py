"""Stabilizing, and both inverses, against what they are defined by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bias import Detector, distribution
from photon_gpu.engine.model.anscombe import anscombe, inverse_anscombe, inverse_anscombe_unbiased
from photon_gpu.engine.model.noise import NoiseModel

MODELS = [
    NoiseModel(),
    NoiseModel(gain=100.0, offset=92.0),
    NoiseModel(gain=2.0, offset=100.0, variance=4.0),
    NoiseModel(gain=0.3, offset=-7.5, variance=90.0),
    NoiseModel(gain=1e-3, variance=1e3),
]


def test_the_default_is_the_classic_transform():
    counts = np.arange(1000.0)
    np.testing.assert_allclose(anscombe(counts), 2 * np.sqrt(counts + 3 / 8), rtol=1e-15)


@pytest.mark.parametrize("noise", MODELS)
def test_it_is_smooth_and_rising_through_offset(noise):
    """Below offset the tangent continues the curve: no step, no kink, no end."""
    sigma = math.sqrt(0.375 * noise.gain**2 + noise.variance)
    h = 1e-4 * sigma
    low, at, high = anscombe([noise.offset - h, noise.offset, noise.offset + h], noise)
    assert at == pytest.approx(2 * sigma / noise.gain, rel=1e-14)
    assert (at - low) / h == pytest.approx(1 / sigma, rel=1e-6)
    assert (high - at) / h == pytest.approx(1 / sigma, rel=1e-3)
    far = anscombe(np.linspace(noise.offset - 1e5, noise.offset + 1e5, 20_001), noise)
    assert (np.diff(far) > 0).all() and np.isfinite(far).all()


@pytest.mark.parametrize("noise", MODELS)
def test_its_slope_is_one_over_sigma(noise):
    """What makes it stabilize: A' = 1/sqrt(gain*(z - offset) + 3/8*gain^2 + variance)."""
    z = noise.offset + noise.gain * np.array([1.0, 10.0, 1e3])
    h = 1e-5 * noise.gain
    slope = (anscombe(z + h, noise) - anscombe(z - h, noise)) / (2 * h)
    expected = 1 / np.sqrt(noise.gain * (z - noise.offset) + 0.375 * noise.gain**2 + noise.variance)
    np.testing.assert_allclose(slope, expected, rtol=1e-3)


@pytest.mark.parametrize("light", [4.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize(
    "detector", [Detector(1.0), Detector(2.0, 1.0, 100.0), Detector(50.0, 0.5, 92.0)], ids=str
)
def test_noise_has_variance_one_at_any_light(detector, light):
    values, chance = distribution(detector, light)
    stabilized = anscombe(values, detector.noise)
    mean = (chance * stabilized).sum()
    variance = (chance * (stabilized - mean) ** 2).sum()
    assert variance == pytest.approx(1.0, abs=0.04)


@given(
    z=st.floats(-1e6, 1e6), gain=st.floats(0.01, 1e4), offset=st.floats(-1e4, 1e4), variance=st.floats(0, 1e6)
)
@settings(deadline=None, max_examples=200, derandomize=True)
def test_the_algebraic_inverse_undoes_it(z, gain, offset, variance):
    noise = NoiseModel(gain=gain, offset=offset, variance=variance)
    back = float(inverse_anscombe(anscombe(z, noise), noise))
    # Near offset a step of one rounding in A is sigma times larger in ADU.
    assert back == pytest.approx(z, rel=1e-9, abs=1e-9 * (gain + abs(offset) + math.sqrt(variance)))


@pytest.mark.parametrize("function", [anscombe, inverse_anscombe, inverse_anscombe_unbiased])
def test_any_shape_and_dtype_gives_float64_of_that_shape(function):
    for shape in ((), (3,), (2, 0, 4), (2, 3, 4, 5)):
        for dtype in ("uint8", "int16", "float32"):
            out = function(np.ones(shape, dtype), NoiseModel(gain=2.0))
            assert out.shape == shape and out.dtype == np.float64 and isinstance(out, np.ndarray)
    assert function([1, 2]).shape == (2,)


def exact_mean(detector: Detector, light: float) -> float:
    """E[A] of a pixel, summed over its distribution; fine ADU, so that rounding to them does not matter."""
    values, chance = distribution(detector, light)
    return float((chance * anscombe(values, detector.noise)).sum())


# Read noise in photons, light, error in photons of the closed form: what its documentation says.
CLOSED_FORM = [
    (0.0, 0.1, 0.02),
    (0.5, 0.1, 0.05),
    (1.0, 0.1, 0.12),
    (3.0, 0.1, 0.17),
    (3.0, 5.0, 0.03),
    (3.0, 20.0, 0.02),
]


@pytest.mark.parametrize("read_noise, light, error", CLOSED_FORM)
def test_the_unbiased_inverse_is_that_of_the_mean(read_noise, light, error):
    """Makitalo and Foi's closed form against the numerically exact inverse of light -> E[A]."""
    detector = Detector(100.0, read_noise, 500.0) if read_noise else Detector(1.0)
    result = []
    for brighter in light * np.array([1.0, 1.5, 3.0, 10.0, 30.0]):
        result.append(float(inverse_anscombe_unbiased(exact_mean(detector, brighter), detector.noise)))
        assert detector.noise.photons(result[-1]) == pytest.approx(brighter, abs=error), brighter
    assert result == sorted(result)


def test_the_algebraic_inverse_is_not_that_of_the_mean():
    detector = Detector(100.0, 1.0, 500.0)
    back = float(inverse_anscombe(exact_mean(detector, 20.0), detector.noise))
    assert abs(detector.noise.photons(back) - 20.0) > 0.2


def test_the_unbiased_inverse_of_no_light_is_near_offset_and_never_below():
    below = [-5.0, 0.0, 0.1]
    assert inverse_anscombe_unbiased(below).tolist() == pytest.approx([0.0] * 3, abs=1e-12)
    noise = NoiseModel(gain=3.0, offset=10.0, variance=4.0)
    assert all(10.0 <= value < 10.0 + 0.27 * noise.gain for value in inverse_anscombe_unbiased(below, noise))
    assert (np.diff(inverse_anscombe_unbiased(np.linspace(-2, 50, 5000), noise)) >= 0).all()


def test_on_single_samples_the_unbiased_inverse_is_biased():
    """The warning in its documentation, measured."""
    values, chance = distribution(Detector(1.0), 5.0)
    single = (chance * inverse_anscombe_unbiased(anscombe(values))).sum()
    assert abs(single - 5.0) / math.sqrt(5.0) > 0.02
    assert abs((chance * inverse_anscombe(anscombe(values))).sum() - 5.0) < 1e-9
