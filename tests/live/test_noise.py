"""A recording without a noise model estimates one; a stated one is checked, and no frame is lost."""

import warnings

import numpy as np
import pytest

import photon_gpu as pg
from tests.support.faults.killed_recordings import killed
from tests.support.noise.camera_model_movies import CAMERAS, movie, of


def begin(url, data, **options):
    options = {"chunk_frames": 20, "workers": 2, "publish_seconds": 0.0, "check": False, **options}
    return pg.LiveWriter(url, frame_shape=data.shape[1:], dtype=data.dtype, **options)


@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_without_a_model_one_is_estimated_and_kept(tmp_path, layout):
    data, right = of("CCD", frames=120)
    with begin(tmp_path / "m.zarr", data, layout=layout) as live:
        live.append(data)
    opened = pg.open(tmp_path / "m.zarr")
    assert opened.noise == pg.estimate_noise(data[:100]).model
    assert opened.noise.gain == pytest.approx(right.gain, rel=0.1)
    assert opened.attrs["noise_estimate"]["verdict"] == "PASS"
    assert live.status().notes == live.status().warnings == ()


def test_where_none_can_be_estimated_every_bit_is_kept(tmp_path):
    data = np.full((30, 8, 8), 7, "uint16")
    with begin(tmp_path / "m.zarr", data) as live:
        live.append(data)
    opened = pg.open(tmp_path / "m.zarr")
    assert (opened.layout, opened.noise) == ("lossless", None)
    assert (opened.counts[...] == data).all()
    assert "every bit is kept" in live.status().notes[0]


def test_frames_of_which_few_fit_the_queue_are_estimated_from_those(tmp_path):
    """Nobody asked for an estimate of 100 frames, so nobody has to make room for them."""
    data, _ = of("CCD", frames=60)
    with begin(tmp_path / "m.zarr", data, chunk_frames=None, queue_bytes=40 * data[0].nbytes) as live:
        assert 16 <= live.config.estimate_frames < 40
        live.append(data)
    assert pg.open(tmp_path / "m.zarr").noise is not None
    with pytest.raises(pg.errors.InvalidInputError, match="estimate_frames is 100"):
        begin(tmp_path / "n.zarr", data, noise="auto", chunk_frames=10, queue_bytes=40 * data[0].nbytes)


@pytest.mark.parametrize("layout", ["plain", "compact"])
@pytest.mark.parametrize("durability", ["frame", "chunk"])
def test_a_model_that_the_frames_contradict_is_a_counted_warning_and_no_frame_is_lost(
    tmp_path, layout, durability
):
    data, _ = of("CCD", frames=120)
    live = begin(tmp_path / "m.zarr", data, noise=pg.NoiseModel(), layout=layout, durability=durability)
    live.append(data)
    with pytest.warns(pg.PhotonWarning, match="trust_noise=True") as told:
        live.close()
    # Chunks 0, 1, 2 and 4 of six were looked at.
    assert len(live.status().warnings) == len(told) == 4
    assert "4 warnings" in str(live.status()) and len(live.status().to_dict()["warnings"]) == 4
    assert all(len(text) <= 300 for text in live.status().warnings)
    assert len(pg.open(tmp_path / "m.zarr")) == 120 and pg.verify(tmp_path / "m.zarr", deep=True).ok


def test_a_warning_that_is_an_error_comes_after_the_last_frame_is_stored(tmp_path):
    data, _ = of("CCD", frames=40)
    with pytest.raises(pg.PhotonWarning), warnings.catch_warnings():
        warnings.simplefilter("error")
        with begin(tmp_path / "m.zarr", data, noise=pg.NoiseModel()) as live:
            live.append(data)
    assert len(pg.open(tmp_path / "m.zarr")) == 40 and pg.verify(tmp_path / "m.zarr").ok


def test_light_that_comes_on_late_is_noticed(tmp_path):
    dark, lit = np.full((20, 64, 64), 1000, "uint16"), of("CCD", frames=80)[0]
    with pytest.warns(pg.PhotonWarning), begin(tmp_path / "m.zarr", lit, noise=pg.NoiseModel()) as live:
        live.append(np.concatenate([dark, lit]))
    assert len(live.status().warnings) == 3  # chunks 1, 2 and 4
    assert "could not be measured" in live.status().notes[0]


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_right_model_and_a_trusted_one_are_silent(tmp_path, camera):
    data, right = of(camera, frames=60)
    for options in ({"noise": right}, {"noise": pg.NoiseModel(), "trust_noise": True}):
        with begin(tmp_path / f"{len(options)}.zarr", data, **options) as live:
            live.append(data)
        assert live.status().warnings == live.status().notes == ()


def test_a_kill_before_the_estimate_loses_nothing(tmp_path):
    live = killed(tmp_path / "m.zarr", tmp_path / "fast", frames=11, noise=None, layout="compact")
    assert live.acknowledged == 11
    assert pg.recover(tmp_path / "fast").recovered == 11
    opened = pg.open(tmp_path / "m.zarr")
    assert opened.layout == "lossless"  # so few pixels tell nothing of the noise
    assert opened.attrs["noise_estimate"]["verdict"] == "REFUSE"


def test_the_report_of_a_recording_has_the_warnings(tmp_path):
    from photon_gpu.live import PacedFeed
    from photon_gpu.live.record_feed import record

    feed = PacedFeed(pg.open_source(of("CCD", frames=40)[0]), frames_per_second=None, frames=40)
    with pytest.warns(pg.PhotonWarning):
        report = record(feed, tmp_path / "m.zarr", noise=pg.NoiseModel(), chunk_frames=20, check=False)
    assert len(report.to_dict()["warnings"]) == 2
    assert sum(name == "warning" for name, _ in report.rows()) == 2 and report.frames == 40


def test_a_model_carried_over_from_another_camera_is_held_against_the_frames(tmp_path):
    data, right = of("CCD", frames=40)
    pg.encode(
        movie(gain=30.0, offset=900.0),
        tmp_path / "other.zarr",
        noise=pg.NoiseModel(gain=30.0, offset=900.0),
        check=False,
    )
    with (
        pytest.warns(pg.PhotonWarning),
        begin(tmp_path / "m.zarr", data, noise=tmp_path / "other.zarr") as live,
    ):
        live.append(data)
    assert live.status().warnings


@pytest.mark.parametrize("axes", [None, "tcyx"])
def test_channels_whose_noise_differs_get_a_model_each_or_a_note_that_names_the_remedy(tmp_path, axes):
    """One model of both would quantize the dim channel too coarsely."""
    data = np.stack([of("CCD", frames=120)[0], 4 * of("CCD", frames=120)[0]], axis=1)
    estimate = pg.estimate_noise(data[:100], axes=axes)
    with begin(tmp_path / "m.zarr", data, axes=axes) as live:
        live.append(data)
    opened = pg.open(tmp_path / "m.zarr")
    if axes is not None:
        assert opened.channel_noise == estimate.models and len(set(estimate.models)) == 2
        return
    assert opened.layout == "lossless" and (opened.counts[...] == data).all()
    assert "axes=tcyx" in live.status().notes[0]
    with pytest.raises(pg.errors.InvalidInputError, match="axes=tcyx") as refused:
        pg.encode(data, tmp_path / "n.zarr")
    assert len(str(refused.value)) <= 300
