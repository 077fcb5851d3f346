"""The check speaks where information is lost, and only there."""

from __future__ import annotations

import re

import numpy as np
import pytest

from photon_gpu.noise import NoiseModel
from photon_gpu.noise_check import check_noise
from photon_gpu.sources import open_source

RNG = np.random.default_rng(0)


def movie(light, gain=1.0, offset=0.0, read=0.0, dtype="uint16", frames=20):
    photons = RNG.poisson(light, (frames, 64, 64))
    return open_source((gain * photons + offset + RNG.normal(0, read, photons.shape)).round().astype(dtype))


@pytest.mark.parametrize("light", [0.05, 1.0, 20.0, 2000.0])
@pytest.mark.parametrize("step", [0.5, 1.0])
def test_the_right_model_is_silent(light, step):
    assert not check_noise(movie(light), NoiseModel(), step).exceeds


def test_the_numbers_are_those_of_the_movie():
    noise = NoiseModel(gain=5.0, offset=100.0, variance=16.0)
    found = check_noise(movie(100.0, 5.0, 100.0, 4.0), noise, 1.0)
    assert found.noise_sigma == pytest.approx(np.sqrt(25 * 100 + 16), rel=0.02)
    assert found.effective_step == pytest.approx(1.0, rel=0.05)


def test_too_much_noise_assumed():
    found = check_noise(movie(100.0), NoiseModel(gain=50.0), 0.5)
    assert found.exceeds
    assert found.effective_step == pytest.approx(0.5 * np.sqrt(50), rel=0.1)
    said = found.message(NoiseModel(gain=50.0), 0.5)
    assert re.search(r"3\.\d times the measured noise \(sigma (9\.\d|10)", said)
    assert re.search(r"adds (9|10)\d% to its variance", said)


def test_too_little_noise_assumed_is_fine():
    assert not check_noise(movie(100.0, gain=50.0, dtype="uint32"), NoiseModel(), 0.5).exceeds


def test_averaged_movies_are_caught():
    photons = RNG.poisson(100.0, (20, 64, 64, 64)).mean(axis=1)
    assert check_noise(open_source(photons.astype("float32")), NoiseModel(), 0.5).exceeds


def test_a_constant_movie_that_is_stored_exactly():
    assert not check_noise(open_source(np.zeros((5, 8, 8), "uint16")), NoiseModel(), 0.5).exceeds


def test_a_noiseless_movie_that_is_not():
    still = np.repeat(RNG.integers(0, 60_000, (1, 64, 64)).astype("uint16"), 3, axis=0)
    assert check_noise(open_source(still), NoiseModel(), 0.5).exceeds


@pytest.mark.parametrize("data", [np.zeros((1, 8, 8), "uint8"), np.full((3, 8, 8), np.nan)])
def test_nothing_can_be_said(data):
    assert check_noise(open_source(data), NoiseModel(), 0.5) is None
