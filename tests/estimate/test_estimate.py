"""What the estimate says of raw, hard and processed recordings."""

import json

import numpy as np
import pytest
from scipy import ndimage

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.estimate import NoiseEstimate, estimate_noise
from photon_gpu.sources.npy import NpzSource
from photon_gpu.sources.simulated.movie import simulate
from tests.support.noise.detector_models import detect, scene, still


def named(estimate):
    return {finding.name: finding for finding in estimate.warnings}


def test_a_raw_movie_passes_with_the_truth_in_its_interval(movie):
    result = pg.estimate_noise(movie)
    assert result.verdict == "PASS"
    assert result.layout == "plain"
    assert result.model.gain == pytest.approx(8, rel=0.02)
    assert result.interval.gain[0] < 8 < result.interval.gain[1]
    assert result.interval.intercept[0] < 36 + 1 / 12 - 800 < result.interval.intercept[1]
    assert result.diagnostics.pairs_kept > 0.9 * result.diagnostics.pairs > 5e5


@pytest.mark.parametrize(
    "trouble", [{"motion": 0.5}, {"activity": 1.0}, {"bleaching": 0.7}, {"flashes": 0.03}, {"lines": 0.005}]
)
@pytest.mark.filterwarnings("ignore::photon_gpu.errors.PhotonWarning")
def test_what_living_tissue_does_is_survived(trouble):
    quiet = {"motion": 0.0, "activity": 0.0, "flashes": 0.0, "lines": 0.0, "bleaching": 0.0}
    movie = simulate(
        frames=150, height=128, width=128, photons=20, gain=12, read_noise_adu=6, **{**quiet, **trouble}
    )
    result = estimate_noise(movie)
    error = abs(result.model.gain / movie.noise.gain - 1)
    assert error < 0.035, str(result)
    assert result.verdict != "REFUSE"


def test_a_movie_longer_than_memory_is_sampled():
    movie = simulate(
        frames=10**6, height=96, width=96, photons=10, gain=5, read_noise_adu=3, motion=0, cells=0
    )
    result = estimate_noise(movie, budget_bytes=2 << 20)
    assert result.diagnostics.frames_sampled < 200
    assert result.model.gain == pytest.approx(5, rel=0.1)
    again = estimate_noise(movie, budget_bytes=2 << 20)
    assert again == result
    assert estimate_noise(movie, budget_bytes=2 << 20, seed=1) != result


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_too_few_frames_are_refused(movie, frames):
    result = estimate_noise(movie[:frames])
    assert (result.verdict, result.model, result.layout) == ("REFUSE", None, "lossless")
    assert f"{frames} frames" in named(result)["frames"].message


def test_too_few_frames_of_an_archive_are_refused_before_any_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "one.npz", np.zeros((1, 64, 64), "uint16"))
    monkeypatch.setattr(NpzSource, "read", lambda *args: pytest.fail("a frame was read"))
    assert estimate_noise(tmp_path / "one.npz").verdict == "REFUSE"
    with pytest.raises(InvalidInputError, match="1 frames; noise is measured between frames"):
        pg.encode(tmp_path / "one.npz", tmp_path / "movie.zarr")


@pytest.mark.parametrize("frames", [4, 5, 8, 15])
def test_few_frames_are_measured_with_a_warning(frames):
    result = estimate_noise(detect(still(frames=frames, size=160)))
    assert "frames" in named(result)
    assert result.verdict == "WARN"
    assert result.model.gain == pytest.approx(8, rel=0.12)


def shifted(frames, distance, seed=0):
    rng = np.random.default_rng(seed)
    steps = [distance] * len(frames) if distance else rng.uniform(-0.5, 0.5, len(frames))
    return np.stack(
        [
            ndimage.shift(f.astype(float), (s, s), order=1, mode="nearest")
            for f, s in zip(frames, steps, strict=True)
        ]
    )


PROCESSED = {
    "shifted by half a pixel": (lambda m: shifted(m, 0.5), "correlation y"),
    "motion-corrected with interpolation": (lambda m: shifted(m, 0), "correlation y"),
    "smoothed": (lambda m: ndimage.gaussian_filter(m.astype(float), (0, 0.7, 0.7)), "correlation y"),
    "upsampled": (lambda m: ndimage.zoom(m.astype(float), (1, 1.5, 1.5), order=1), "correlation y"),
    "running average": (lambda m: (m[1:] + m[:-1]) / 2, "correlation t"),
    "frames repeated": (lambda m: np.repeat(m[:60], 2, axis=0), "correlation t"),
}


@pytest.mark.parametrize("how", PROCESSED)
@pytest.mark.parametrize("rounded", [True, False])
def test_processed_data_is_refused_with_its_correlation(movie, how, rounded):
    process, name = PROCESSED[how]
    data = process(movie)
    result = estimate_noise(np.rint(data).astype("int32") if rounded else data)
    assert result.verdict == "REFUSE", str(result)
    assert name in named(result)
    assert abs(named(result)[name].value) > 0.15
    assert result.layout == "lossless"


def test_correlation_is_measured_right(movie):
    result = estimate_noise(shifted(movie, 0.5))
    # bilinear by half a pixel on both axes: lag one is half of lag nought
    assert result.diagnostics.correlation.y == pytest.approx(0.5, abs=0.05)
    assert result.diagnostics.correlation.x == pytest.approx(0.5, abs=0.05)
    assert abs(result.diagnostics.correlation.t) < 0.05
    raw = estimate_noise(movie).diagnostics.correlation
    assert max(abs(raw.y), abs(raw.x), abs(raw.t)) < 0.03


@pytest.mark.parametrize(
    ("shape", "brightest"), [((5000, 3, 3), 60.0), ((60, 64, 64), 3e4)], ids=["few pixels", "bright"]
)
def test_an_even_slope_of_light_is_not_taken_for_correlation(shape, brightest):
    """Its contrast is that of noise, so what is subtracted in proportion to it is uncertain."""
    light = np.linspace(brightest / 15, brightest, shape[1] * shape[2]).reshape(shape[1:])
    result = estimate_noise(detect(np.broadcast_to(light, shape)))
    assert (result.verdict, list(named(result))) == ("PASS", []), str(result)
    assert result.model.gain == pytest.approx(8, rel=0.04)


def test_a_slow_detector_along_x_is_no_refusal(movie):
    mixed = 0.88 * movie + 0.12 * np.roll(movie, 1, axis=2)
    result = estimate_noise(np.rint(mixed).astype("int32"))
    assert result.verdict == "WARN"
    assert named(result)["correlation x"].value == pytest.approx(0.134, abs=0.03)
    assert "correlation y" not in named(result)


@pytest.mark.parametrize("factor", [0.6, 1.37])
def test_rescaled_values_are_noticed_although_their_line_is_straight(movie, factor):
    result = estimate_noise(np.rint(movie * factor).astype("int32"))
    assert "uneven levels" in named(result)
    assert "curve" not in named(result)
    assert result.model.gain == pytest.approx(8 * factor, rel=0.03)


def test_saturated_levels_are_left_out_and_told(movie):
    cut = np.minimum(movie, 220)
    result = estimate_noise(cut)
    assert named(result)["saturation"].value == pytest.approx((cut == 220).mean())
    assert result.model.gain == pytest.approx(8, rel=0.05)
    assert 0 in result.diagnostics.curve.samples


def test_a_movie_that_saturates_in_many_pixels_is_refused_with_share_and_level():
    def saturated(brightest):
        light = np.linspace(20, brightest, 64 * 64).reshape(64, 64)
        photons = np.random.default_rng(3).poisson(light, (40, 64, 64))
        return np.minimum(photons * 20, 4095).astype("uint16")

    for brightest, verdict in ((300, "REFUSE"), (195, "WARN")):
        raw = saturated(brightest)
        share, result = (raw == 4095).mean(), estimate_noise(raw)
        assert result.verdict == verdict and (share > 0.05) == (verdict == "REFUSE")
        told = f"{share:.2%} of the values lie at the highest level, 4095 ADU"
        assert told in named(result)["saturation"].message


def test_few_saturated_values_are_told_by_their_number():
    raw = detect(still(low=0, high=30))
    raw[:, 0, 0] = np.iinfo(raw.dtype).max
    told = named(estimate_noise(raw))["saturation"].message
    assert told.startswith(f"{len(raw):,} of {raw.size:,} values (0.01 %) lie at the highest level")


def test_a_clipped_floor_is_left_out_and_told():
    frames = np.maximum(detect(still(low=0, high=30, frames=200), read=16.0), 100)
    result = estimate_noise(frames)
    assert "clipping" in named(result)
    assert result.model.gain == pytest.approx(8, rel=0.08)


def test_read_noise_limited_data_is_told_with_the_share_of_light():
    result = estimate_noise(detect(still(low=0.0, high=0.5), read=40.0))
    assert result.verdict != "PASS"
    assert named(result)["read noise"].value < 0.1


@pytest.mark.parametrize("read, told", [(21.0, True), (12.0, False)])
def test_it_is_told_from_a_fifth_of_the_variance_on(read, told):
    result = estimate_noise(detect(still(low=0.0, high=1.0, frames=400), read=read))
    share = result.diagnostics.shot_share
    assert (0.1 < share < 0.2) if told else (0.22 < share < 0.5)
    assert ("read noise" in named(result)) == told
    assert (result.verdict == "WARN") == told


def test_darkness_alone_is_refused():
    result = estimate_noise(detect(np.zeros((60, 64, 64))))
    assert result.verdict == "REFUSE"
    assert result.layout == "lossless"


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_movie_of_one_value_is_refused(value):
    result = estimate_noise(np.full((20, 32, 32), value, np.uint8))
    assert (result.verdict, result.model) == ("REFUSE", None)


def test_nothing_finite_is_refused():
    assert estimate_noise(np.full((20, 32, 32), np.nan)).verdict == "REFUSE"


def test_multiplicative_noise_bends_the_curve_and_is_named():
    rng = np.random.default_rng(0)
    light = still(frames=200, low=1, high=200)
    result = estimate_noise(detect(light * (1 + 0.15 * rng.standard_normal(light.shape)).clip(0)))
    finding = named(result)["curve"]
    assert finding.severity != "NOTE"
    assert "multiplicative" in finding.message
    assert np.sqrt(result.diagnostics.bend) == pytest.approx(0.15, rel=0.25)


@pytest.mark.parametrize(("photons", "frames", "size"), [(0.1, 600, 96), (0.1, 20, 256), (100, 300, 96)])
def test_a_straight_curve_has_no_bend(photons, frames, size):
    movie = simulate(
        frames=frames,
        height=size,
        width=size,
        photons=photons,
        gain=10,
        read_noise_adu=0,
        motion=0,
        activity=0,
        dtype="int32",
        cells=10,
    )
    result = estimate_noise(movie).diagnostics
    assert abs(result.bend) < 3.5 * result.bend_error


def test_a_gamma_curve_is_told_from_flicker_that_pixels_share():
    frames = detect(still(frames=100)).astype(float)
    unit = (frames - frames.min()) / (frames.max() - frames.min())
    assert "bent curve" in estimate_noise((1000 * unit**1.5).astype("f4")).processed
    rng = np.random.default_rng(0)
    flicker = 1 + 0.2 * rng.standard_normal((100, 1, 1)).clip(-3, 3)
    assert "bent curve" not in estimate_noise(detect(still(frames=100) * flicker)).processed


def test_a_compressed_curve_is_told_and_where():
    light = still(frames=200, low=1, high=200)
    squeezed = 2000 * np.tanh(detect(light, offset=0) / 2000)
    result = estimate_noise(np.rint(squeezed).astype("int32"))
    finding = named(result)["curve"]
    assert finding.severity != "NOTE"
    assert "downwards" in finding.message
    assert "ADU" in finding.message


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0])
def test_excess_noise_is_named_and_its_factor_found(factor):
    movie = simulate(
        frames=150,
        height=128,
        width=128,
        photons=4,
        gain=30,
        read_noise_adu=6,
        offset=200,
        dtype="int32",
        excess_noise=factor,
        motion=0,
        activity=0,
    )
    result = estimate_noise(movie)
    assert result.model.gain == pytest.approx(30 * factor, rel=0.03)
    assert ("excess noise" in named(result)) == (factor > 1)
    if factor > 1:
        assert named(result)["excess noise"].value == pytest.approx(factor, rel=0.15)
        assert result.verdict == "PASS"


def test_a_stack_in_z_is_noticed():
    volume = ndimage.gaussian_filter(np.random.default_rng(0).random((60, 96, 96)), (1.0, 3, 3))
    volume = (volume - volume.min()) / np.ptp(volume)
    result = estimate_noise(detect(2 + 600 * volume**2))
    assert "structure" in named(result)
    assert "axis 0 is not time" in named(result)["structure"].message


def test_padding_is_left_out_and_told(movie):
    padded = movie.copy()
    padded[:, :20] = 0
    result = estimate_noise(padded)
    assert result.model.gain == pytest.approx(8, rel=0.04)
    assert named(result)["constant pixels"].value > 0.1


def test_planes_that_differ_are_told():
    movie = np.stack([detect(still()), detect(still(seed=1), gain=16)], axis=1)
    assert "planes" in named(estimate_noise(movie))
    alike = np.stack([detect(still()), detect(still(seed=1))], axis=1)
    assert "planes" not in named(estimate_noise(alike))


def test_uniform_slides_are_compared_in_space():
    powers = np.array([0, 5, 20, 60, 120.0])
    slides = detect(np.broadcast_to(powers[:, None, None], (5, 96, 128)))
    assert estimate_noise(slides).verdict != "PASS"
    result = estimate_noise(slides, pairs="space")
    assert result.verdict == "PASS"
    assert result.model.gain == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int64", "float32", "float64"])
def test_every_dtype_gives_the_same_gain(dtype):
    movie = detect(still(high=12), gain=6, offset=40).clip(0, 255)
    result = estimate_noise(movie.astype(dtype))
    assert result.model.gain == pytest.approx(6, rel=0.04)


def test_the_estimate_survives_json(movie):
    for estimate in (
        estimate_noise(movie),
        estimate_noise(movie[:2]),
        estimate_noise(np.minimum(movie, 200)),
    ):
        back = NoiseEstimate.from_dict(json.loads(json.dumps(estimate.to_dict())))
        assert str(back) == str(estimate)
        assert back.model == estimate.model
        assert back.interval == estimate.interval
        assert back.to_dict() == estimate.to_dict()
    with pytest.raises(InvalidInputError, match="unknown key"):
        NoiseEstimate.from_dict({**estimate.to_dict(), "colour": 1})


def test_what_is_no_movie_is_an_error(movie):
    with pytest.raises(InvalidInputError):
        estimate_noise(movie[0])
    with pytest.raises(UnsupportedTypeError):
        estimate_noise(movie.astype(complex))
    with pytest.raises(InvalidInputError, match="pairs is 'both'"):
        estimate_noise(movie, pairs="both")
    with pytest.raises(InvalidInputError, match="budget_bytes"):
        estimate_noise(movie, budget_bytes=10)


def test_the_same_scene_at_another_gain_scales_everything():
    light = np.broadcast_to(scene(0, 96, 1, 20), (100, 96, 96))
    one, ten = (estimate_noise(detect(light, gain=g, read=g, offset=0, dtype="float64")) for g in (1.0, 10.0))
    assert ten.model.gain == pytest.approx(10 * one.model.gain, rel=1e-6)
    assert ten.diagnostics.intercept == pytest.approx(100 * one.diagnostics.intercept, rel=1e-4)
