"""Dark pixels whose noise is cut off at zero: offset and read noise all the same, or nothing said."""

import numpy as np
import pytest

from photon_gpu.estimate import estimate_noise
from photon_gpu.estimate.censored_dark_fit import clipped_dark
from photon_gpu.estimate.sample import draw
from photon_gpu.sources.open import open_source
from tests.support.noise.detector_models import detect, still


def recording(offset, *, read=16.0, lit=0.0, seed=0, gain=8.0, dtype="int32"):
    light = still(frames=100, size=128, low=0, high=30, seed=seed).copy()
    light[:, :, :40] = lit
    return np.maximum(detect(light, read=read, offset=offset, gain=gain, seed=seed, dtype=dtype), 0)


def clipped(frames, gain=8.0):
    return clipped_dark(draw(open_source(frames), pairs="time", seed=0, budget_bytes=1 << 26), 0, gain)


@pytest.mark.parametrize("offset", [-10.0, 0.0, 10.0, 20.0])
def test_the_middle_and_width_of_what_is_cut_off_are_found(offset):
    result = clipped(recording(offset))
    assert result.how == "clipping"
    assert abs(result.offset - offset) < min(0.3, 2 * result.offset_error)
    assert abs(result.variance - (256 + 1 / 12)) < min(8, 2 * result.variance_error)


def test_the_dark_of_clipped_floats_is_estimated():
    result = clipped(recording(5.0, dtype="float64"))
    assert result.offset == pytest.approx(5, abs=0.3)
    assert result.variance == pytest.approx(256, rel=0.03)


@pytest.mark.parametrize("lit", [1.0, 5.0])
def test_an_evenly_lit_background_is_not_taken_for_dark(lit):
    assert clipped(recording(0.0, lit=lit)) is None


def test_where_light_could_hide_in_the_read_noise_nothing_is_said():
    assert clipped(recording(0.0, read=60.0)) is None


def test_hardly_any_or_nearly_all_cut_off_says_nothing():
    assert clipped(recording(60.0)) is None
    assert clipped(recording(-60.0)) is None
    assert clipped(np.zeros((40, 4, 4))) is None


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_a_movie_cut_off_at_zero_is_told_apart(offset):
    estimate = estimate_noise(recording(offset))
    assert estimate.diagnostics.separated_by == "clipping"
    assert estimate.model.gain == pytest.approx(8, rel=0.05)
    assert estimate.model.offset == pytest.approx(offset, abs=0.3)
    assert estimate.model.variance == pytest.approx(256, rel=0.1)
    assert estimate.interval.offset[0] < offset < estimate.interval.offset[1]
    assert estimate.interval.variance[0] < 256 < estimate.interval.variance[1]
    assert "(from clipping)" in str(estimate)


def test_without_dark_pixels_a_cut_movie_is_said_to_be_degenerate():
    estimate = estimate_noise(recording(0.0, read=30.0, lit=3.0)[:, :, :40])
    assert estimate.diagnostics is None or estimate.diagnostics.separated_by is None
