import numpy as np
import pytest

from photon_gpu.estimate.sample import draw
from photon_gpu.estimate.value_histogram import survey
from photon_gpu.sources.open import open_source
from tests.support.noise.detector_models import detect, still


def levels_of(frames):
    return survey(draw(open_source(frames), pairs="time", seed=0, budget_bytes=1 << 26))


def test_an_untouched_movie_has_no_piles_no_gaps_and_no_roughness(movie):
    result = levels_of(movie)
    assert (result.lowest, result.highest) == (movie.min(), movie.max())
    assert not np.isfinite(result.top)
    assert not np.isfinite(result.bottom)
    assert result.step == 1
    assert result.roughness < 0.1
    assert result.missing_share == 0


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_saturation_is_found_with_its_share(movie, dtype):
    cut = np.minimum(movie, 230).astype(dtype)
    result = levels_of(cut)
    assert result.top == 230
    assert result.saturated_share == pytest.approx((movie >= 230).mean())


def test_the_limit_of_the_dtype_is_saturation_at_once():
    frames = detect(still(low=20, high=60), gain=4, offset=0, dtype="uint8")
    assert levels_of(frames).top == 255


def test_a_cut_off_floor_is_found():
    frames = np.maximum(detect(still(low=0, high=5)), 100)
    result = levels_of(frames)
    assert result.bottom == 100
    assert result.floor_share == pytest.approx((frames == 100).mean())


@pytest.mark.parametrize("factor", [0.7, 1.37, 3.3])
def test_rescaled_values_are_rough(movie, factor):
    result = levels_of(np.rint(movie * factor).astype("int32"))
    assert result.roughness > 0.5
    assert (result.missing_share > 0.1) == (factor > 1)


def test_shifted_bits_are_a_step(movie):
    result = levels_of(movie * 16)
    assert result.step == 16
    assert result.roughness < 0.1


def test_floats_have_no_step():
    assert levels_of(np.random.default_rng(0).normal(size=(20, 32, 32))).step == 0
