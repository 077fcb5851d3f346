"""Frames that alternate, as channels and planes do that are stored one after another."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.select.detect_alternation import alternation

RANDOM = np.random.default_rng(5)


def scenes(count):
    return RANDOM.uniform(2.0, 30.0, (count, 48, 48))


@pytest.mark.parametrize("period", [2, 3, 4, 7, 16])
def test_the_period_of_different_scenes_is_found(period):
    frames = RANDOM.poisson(np.tile(scenes(period), (-(-60 // period), 1, 1))).astype("uint16")
    assert alternation(ArraySource(frames)) == period


def test_the_period_of_noise_alone_is_found():
    light = np.full((60, 48, 48), 20.0)
    frames = RANDOM.poisson(light) * np.where(np.arange(60) % 2, 1, 4)[:, None, None]
    frames[::2] += 20 - 80  # the same mean
    assert alternation(ArraySource(frames.astype("int16"))) == 2


@pytest.mark.parametrize("content", ["still", "moving", "flickering", "bleaching", "few", "constant"])
def test_other_movies_do_not_alternate(content):
    light = np.tile(scenes(1), (60, 1, 1))
    if content == "moving":
        light = np.stack([np.roll(frame, t // 2, 1) for t, frame in enumerate(light)])
    if content == "flickering":
        light = light * RANDOM.normal(1.0, 0.05, (60, 1, 1)).clip(0.5)
    if content == "bleaching":
        light = light * np.exp(-np.arange(60) / 40)[:, None, None]
    frames = RANDOM.poisson(light).astype("uint16")
    frames = frames[:4] if content == "few" else np.zeros_like(frames) if content == "constant" else frames
    assert alternation(ArraySource(frames)) is None


def interleaved(*gains):
    channels = [
        gain * RANDOM.poisson(light, (80, 48, 48)) + 100
        for gain, light in zip(gains, scenes(9), strict=False)
    ]
    return np.stack(channels, 1).reshape(-1, 48, 48).astype("int16")


def test_detectors_that_alternate_are_told_from_laser_flicker(tmp_path):
    movie = interleaved(40, 8)
    estimate = pg.estimate_noise(movie)
    assert (estimate.verdict, estimate.model, len(estimate.warnings)) == ("REFUSE", None, 1)
    assert estimate.warnings[0].name == "alternation"
    assert "frames alternate with period 2: two channels? use channels=2" in str(estimate)
    assert "flicker" not in str(estimate)
    with pytest.raises(InvalidInputError, match="use channels=2"):
        pg.encode(movie, tmp_path / "a")
    pg.encode(movie, tmp_path / "a", channels=2)
    gains = [model.gain for model in pg.open(tmp_path / "a").channel_noise]
    np.testing.assert_allclose(gains, [40, 8], rtol=0.05)


def test_one_detector_that_looks_at_scenes_in_turn_has_one_model(tmp_path):
    movie = interleaved(20, 20, 20)
    estimate = pg.estimate_noise(movie)
    assert estimate.verdict == "PASS" and abs(estimate.model.gain - 20) < 1
    assert "planes=3 or channels=3" in estimate.warnings[0].message
    assert estimate.warnings[0].message in pg.encode(movie, tmp_path / "a").notes
