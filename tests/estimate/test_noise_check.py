"""A stated noise model is held against the noise a movie has, level by level of light."""

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import NoiseContradictionError
from photon_gpu.estimate.noise_check import check_noise, judge_noise
from photon_gpu.sources.open import open_source
from tests.support.noise.camera_model_movies import CAMERAS, movie, of

DOUBLED = ("sCMOS, 2.2 ADU/photon", "sCMOS, 12 bit", "CCD")  # by gain 1, offset 0


def check(data, noise, step=0.5):
    return check_noise(open_source(data), noise, step)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("step", [0.25, 0.5, 1.0, 2.0])
def test_the_right_model_is_silent_at_every_step(camera, step):
    result = check(*of(camera), step)
    assert result.severity == "ok"
    assert result.added < 1.3 * result.promised == pytest.approx(1.3 * step**2 / 12)


@pytest.mark.parametrize("camera", CAMERAS)
def test_what_is_said_is_what_a_store_adds(camera, tmp_path):
    data, _ = of(camera)
    result = check(data, NoiseModel())
    pg.encode(data, tmp_path / "m.zarr", noise=NoiseModel(), trust_noise=True, layout="compact", check=False)
    got = pg.open(tmp_path / "m.zarr").counts[...].astype(float)
    noise = (np.diff(data.astype(float), 2, axis=0) ** 2).mean(0) / 6
    dim = data.mean(0) < np.quantile(data.mean(0), 0.1)
    added = ((got - data) ** 2).mean(0)
    assert result.severity == ("error" if camera in DOUBLED else "ok")
    if camera in DOUBLED:
        # The worst level is the dimmest tenth or worse; confidence takes off a fifth at most.
        assert result.added > 0.8 * added[dim].mean() / noise[dim].mean()


@pytest.mark.parametrize(
    ("wrong", "severity"), [(1.0, "ok"), (2.0, "ok"), (3.5, "warn"), (8.0, "error"), (0.1, "ok")]
)
def test_a_gain_that_is_off_by_a_factor(wrong, severity):
    data = movie(gain=20.0, offset=500.0, read=4.0, photons=20.0)
    result = check(data, NoiseModel(gain=20.0 * wrong, offset=500.0, variance=16.0))
    assert result.severity == severity
    assert result.added == pytest.approx(min(wrong, 0.5 if wrong < 1 else wrong) / 48, rel=0.25) or wrong < 1


def test_limits_grow_with_what_a_larger_step_promises():
    data = movie(gain=20.0, offset=500.0, read=4.0, photons=20.0)
    for step, severity in ((0.5, "warn"), (1.0, "warn"), (0.25, "ok")):
        result = check(data, NoiseModel(gain=70.0, offset=500.0, variance=16.0), step)
        assert result.severity == severity
        assert result.added == pytest.approx(3.5 * step**2 / 12, rel=0.25)


def test_an_offset_that_ruins_only_the_dimmest_pixels():
    """On average it adds little: the level of light decides."""
    data = movie(gain=2.0, offset=200.0, read=1.0, photons=30.0)
    result = check(data, NoiseModel(gain=2.0, offset=80.0, variance=1.0))
    average = sum(level.modelled for level in result.levels) / sum(level.noise for level in result.levels)
    assert average < 4.8 and result.severity == "error"
    assert result.worst is result.levels[0]


def test_an_offset_above_the_data():
    """Nothing is said to have noise there, and bins are as wide as at zero photons."""
    assert check(movie(offset=100.0, photons=3.0), NoiseModel(gain=100.0, offset=500.0)).severity == "error"


@pytest.mark.parametrize("change", [{"move": 1}, {"flicker": 0.03}, {"flicker": 0.3}])
@pytest.mark.parametrize("camera", ["EMCCD", "photon counter", "two-photon PMT"])
def test_motion_and_brightness_contradict_no_right_model(camera, change):
    result = check(*of(camera, **change))
    assert result is None or result.severity == "ok"


@pytest.mark.parametrize("change", [{"move": 1}, {"flicker": 0.03}])
def test_motion_and_brightness_hide_no_wrong_model(change):
    data, _ = of("CCD", **change)
    assert check(data, NoiseModel()).severity == "error"


def test_an_object_that_moves_over_a_still_field_hides_no_wrong_model():
    data, _ = of("CCD")
    for t in range(len(data)):
        data[t, 20:36, (2 * t) % 48 : (2 * t) % 48 + 16] += 2000
    assert check(data, NoiseModel()).severity == "error"


def test_dead_hot_and_saturated_pixels_contradict_no_right_model():
    data, noise = of("EMCCD", frames=40)
    rng = np.random.default_rng(1)
    dead, hot = rng.random(data.shape[1:]) < 0.1, rng.random(data.shape[1:]) < 0.01
    data[:, dead] = 777
    data[::3, hot] = 9000
    data = np.minimum(data, 700)  # an ADC that ends within the light
    assert check(data, noise).severity == "ok"


def test_a_hot_pixel_hides_no_wrong_model():
    data, _ = of("CCD")
    data[::2, 3, 3] = 60_000
    assert check(data, NoiseModel()).severity == "error"


def test_levels_cut_off_at_zero_contradict_no_right_model():
    """Where an offset was subtracted and negatives clipped, half the noise is missing."""
    rng = np.random.default_rng(3)
    light = np.exp(rng.normal(1, 1.5, (64, 64)))
    data = (20 * rng.poisson(light, (60, 64, 64)) + rng.normal(0, 30, (60, 64, 64))).clip(0)
    result = check(np.rint(data).astype("uint16"), NoiseModel(gain=20.0, variance=900.0))
    assert result is None or result.severity == "ok"


@pytest.mark.parametrize("photons", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("gain", [1.0, 30.0])
def test_hardly_any_light_contradicts_no_right_model(photons, gain):
    """Below one photon bins are wider than the noise of any model; that is not its fault."""
    result = check(
        movie(gain=gain, offset=100.0, read=0.05 * gain, photons=photons),
        NoiseModel(gain=gain, offset=100.0, variance=(0.05 * gain) ** 2),
    )
    assert result is None or result.severity == "ok"


def test_averaged_movies_are_caught():
    photons = np.random.default_rng(5).poisson(100.0, (20, 64, 64, 64)).mean(axis=1)
    assert check(photons.astype("float32"), NoiseModel()).severity == "error"


def test_values_that_are_kept_exactly_are_not_said_to_be_lost():
    """Counts of 0 to 7 have a code each, whatever their noise."""
    data = np.random.default_rng(0).binomial(7, 0.5, (20, 32, 32)).astype("uint8")
    result = check(data, NoiseModel(variance=50.0))
    assert result.severity == "error"
    assert check(data, NoiseModel(gain=0.9)).severity == "ok"


RAMP = np.arange(40 * 32 * 32, dtype="uint32").reshape(40, 32, 32)
WAVES = 100 * np.sin(RAMP / 977.0).astype("float32") + 200


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((5, 8, 8), "uint16"),
        np.full((60, 64, 64), 300, "uint16"),
        movie(frames=3),
        movie(frames=1),
        movie(size=6, frames=8),
        RAMP,
        WAVES,
        np.full((5, 64, 64), np.nan),
        np.repeat(movie(frames=1), 30, axis=0),
    ],
    ids=["zeros", "constant", "three frames", "one frame", "few pixels", "ramp", "waves", "nan", "one image"],
)
def test_where_no_noise_can_be_measured_there_is_a_note(data, tmp_path):
    assert check(data, NoiseModel()) is None
    assert judge_noise(open_source(data), NoiseModel(), 0.5)[0] == "note"
    if np.isfinite(data).all():
        report = pg.encode(data, tmp_path / "m.zarr", noise=NoiseModel(), check=False)
        assert any("could not be measured" in note for note in report.notes)


def test_not_a_number_here_and_there():
    data, noise = of("EMCCD")
    data = data.astype("float32")
    data[::7, 3, 4] = np.nan
    assert check(data, noise).severity == "ok"
    assert check(data, NoiseModel(gain=500.0, offset=500)).severity == "error"


def test_a_movie_with_planes_is_checked(tmp_path):
    data = np.stack([movie(photons=3.0, seed=n) for n in range(3)], axis=1)
    assert check(data, NoiseModel()).severity == "ok"
    assert check(data, NoiseModel(gain=30.0)).severity == "error"


def test_it_reads_a_few_frames_of_a_long_movie():
    read = []
    source = open_source(movie(frames=300))
    whole = source.read
    source.read = lambda start, stop: read.append((start, stop)) or whole(start, stop)
    assert check_noise(source, NoiseModel(), 0.5).severity == "ok"
    assert sum(stop - start for start, stop in read) == 24
    assert read[0][0] == 0 and read[-1][1] == 300


def test_a_few_frames_that_are_huge_are_not_held_at_once(monkeypatch):
    monkeypatch.setattr("photon_gpu.estimate.noise_check._READ_BYTES", 1)
    test_it_reads_a_few_frames_of_a_long_movie()


def test_the_message_has_the_numbers_and_the_way_out():
    mismatch = check(of("CCD")[0], NoiseModel())
    text = mismatch.message("/data/" + "x" * 200 + "/cells.tif", "Give noise='auto'")
    assert len(text) <= 300 and text.endswith("Give noise='auto'") and "cells.tif" in text
    for number in (f"{mismatch.worst.signal:.4g} ADU", f"{mismatch.added:.0%}", "2.1%", "offset 0"):
        assert number in text


def test_encode_refuses_warns_and_trusts(tmp_path):
    data, right = of("CCD")
    with pytest.raises(NoiseContradictionError, match="trust_noise=True") as error:
        pg.encode(data, tmp_path / "m.zarr", noise=NoiseModel())
    assert len(str(error.value)) <= 300
    assert not list(tmp_path.iterdir())
    report = pg.encode(data, tmp_path / "m.zarr", noise=NoiseModel(), trust_noise=True, check=False)
    assert report.encoding.noise == NoiseModel()
    report = pg.encode(data, tmp_path / "m.zarr", noise=right, overwrite=True)
    assert not any("noise" in note for note in report.notes)
    with pytest.warns(pg.PhotonWarning, match=r"adds \d% to it, not 2.1%"):
        pg.encode(
            movie(gain=20.0, offset=500.0, read=4.0, photons=20.0),
            tmp_path / "w.zarr",
            noise=NoiseModel(gain=70.0, offset=500.0),
            check=False,
        )
    assert (
        pg.encode(data, tmp_path / "l.zarr", noise=NoiseModel(), layout="lossless", check=False).encoding.step
        is None
    )


def test_an_error_leaves_the_old_movie_where_it_is(tmp_path):
    data, right = of("CCD")
    pg.encode(data, tmp_path / "m.zarr", noise=right)
    with pytest.raises(NoiseContradictionError):
        pg.encode(data, tmp_path / "m.zarr", noise=NoiseModel(), overwrite=True)
    assert pg.open(tmp_path / "m.zarr").noise == right and pg.verify(tmp_path / "m.zarr").ok


@pytest.mark.parametrize("camera", CAMERAS)
def test_with_no_model_no_camera_loses_more_than_was_promised(camera, tmp_path):
    """Every level of light, the dimmest third too."""
    data, _ = of(camera, frames=120)
    report = pg.encode(data, tmp_path / "m.zarr", layout="compact")
    got = pg.open(tmp_path / "m.zarr").counts[...].astype(float)
    noise = (np.diff(data.astype(float), 2, axis=0) ** 2).mean(0) / 6
    dim = data.mean(0) < np.quantile(data.mean(0), 0.33)
    added = ((got - data) ** 2).mean(0)
    assert report.encoding.noise != NoiseModel()
    assert added.mean() / noise.mean() < 0.03
    assert added[dim].mean() / noise[dim].mean() < 0.05
