import numpy as np
import pytest

from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate import estimate_noise
from tests.support.noise.detector_models import detect, still


def inside(value, interval):
    return interval[0] <= value <= interval[1]


def test_without_anything_dark_the_two_are_degenerate(movie):
    estimate = estimate_noise(movie)
    assert estimate.diagnostics.separated_by is None
    assert estimate.interval.offset is None
    assert estimate.interval.variance is None
    assert estimate.model.variance == 0
    assert estimate.model.offset == pytest.approx(-estimate.diagnostics.intercept / estimate.model.gain)
    assert "cannot be separated" in str(estimate)


def test_a_dark_recording_separates_them(movie):
    dark = detect(np.zeros((40, 64, 64)), seed=9)
    estimate = estimate_noise(movie, dark=dark)
    assert estimate.diagnostics.separated_by == "dark recording"
    assert estimate.model.offset == pytest.approx(100, abs=0.1)
    assert estimate.model.variance == pytest.approx(36, rel=0.05)
    assert inside(100, estimate.interval.offset)
    assert inside(36 + 1 / 12, estimate.interval.variance)
    alone = estimate_noise(movie)
    width = [e.interval.intercept[1] - e.interval.intercept[0] for e in (estimate, alone)]
    assert width[0] < width[1]


def test_a_dark_recording_of_another_setting_is_noticed(movie):
    estimate = estimate_noise(movie, dark=detect(np.zeros((40, 64, 64)), offset=140))
    assert estimate.verdict == "WARN"
    assert [f.name for f in estimate.warnings] == ["dark"]
    assert estimate.model.gain == estimate_noise(movie).model.gain


def test_a_dark_recording_too_short_is_an_error(movie):
    with pytest.raises(InvalidInputError, match="dark recording has 2 frames"):
        estimate_noise(movie, dark=movie[:2])


def test_dark_pixels_separate_them():
    light = still(frames=200, size=128).copy()
    light[:, :, :40] = 0
    estimate = estimate_noise(detect(light))
    assert estimate.diagnostics.separated_by == "dark pixels"
    assert estimate.model.offset == pytest.approx(100, abs=0.2)
    assert estimate.model.variance == pytest.approx(36, rel=0.1)
    assert inside(100, estimate.interval.offset)


@pytest.mark.parametrize("background", [3.0, 20.0])
def test_an_evenly_lit_background_is_not_taken_for_dark(background):
    light = still(frames=200, size=128, low=background, high=background + 25).copy()
    light[:, :, :40] = background
    estimate = estimate_noise(detect(light))
    assert estimate.diagnostics.separated_by is None


def test_photon_counts_have_their_offset_at_the_floor():
    estimate = estimate_noise(detect(still(low=0.0, high=3.0), gain=1, offset=0, read=0, dtype="uint8"))
    assert estimate.diagnostics.separated_by == "floor"
    assert estimate.model.offset == pytest.approx(0, abs=1e-3)
    assert estimate.model.gain == pytest.approx(1, rel=0.03)
    assert estimate.model.variance < 0.02
    assert estimate.verdict == "PASS"
