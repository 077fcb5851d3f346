"""Movies whose channels have a noise model each: every entrance, every reader."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.engine.codec.requested_part import ChunkPart
from photon_gpu.errors import CorruptDataError, InvalidInputError, NoiseContradictionError, PhotonWarning

LAYOUTS = ("plain", "compact", "lossless")
MODELS = [pg.NoiseModel(gain=80, offset=100, variance=400), pg.NoiseModel(gain=20, offset=90, variance=25)]


def detector(model, light, seed, frames=120):
    """One detector: photons and read noise, of a scene that stands still."""
    random = np.random.default_rng(seed)
    scene = light * random.uniform(0.2, 2.0, (48, 48))
    dark = random.normal(model.offset, model.variance**0.5, (frames, 48, 48))
    return np.rint(model.gain * random.poisson(scene, dark.shape) + dark).astype("int16")


MOVIE = np.stack([detector(MODELS[0], 40, 1), detector(MODELS[1], 12, 2)], 1)


def added(counts, channel):
    """Share that encoding adds to the variance of the noise of a channel."""
    raw = MOVIE[:, channel].astype(float)
    return ((counts[:, channel] - raw) ** 2).mean() / (np.diff(raw, axis=0).var(0) / 2).mean()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("channels")
    for layout in LAYOUTS:
        pg.encode(
            MOVIE, folder / layout, layout=layout, noise=MODELS, axes="tcyx", chunk_frames=50, check="full"
        )
    return folder


@pytest.mark.parametrize("layout", ["plain", "compact"])
def test_each_detector_gets_the_noise_that_the_step_promises(tmp_path, layout):
    report = pg.encode(MOVIE, tmp_path / "a", layout=layout, axes="tcyx")
    movie = pg.open(tmp_path / "a")
    gains = [model.gain for model in movie.channel_noise]
    assert movie.noise is None and 70 < gains[0] < 90 and 17 < gains[1] < 23
    for channel in (0, 1):
        assert 0.019 < added(movie.counts[...], channel) < 0.024
    assert [one["verdict"] for one in movie.attrs["noise_estimates"]] == ["PASS", "PASS"]
    assert len(report.to_dict()["channel_noise"]) == 2
    # One model for both is what it was before: the dim channel gets many times more.
    single = MODELS[0]
    pg.encode(MOVIE, tmp_path / "b", layout=layout, axes="tcyx", noise=single, trust_noise=True, check=False)
    movie = pg.open(tmp_path / "b")
    assert movie.attrs["codec_version"] in ("1.0", "2.4") and movie.noise == single
    assert added(movie.counts[...], 1) > 0.05


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_way_to_read_gives_the_same_values(stores, layout):
    movie = pg.open(stores / layout)
    counts, stabilized = movie.counts[...], movie[...]
    rows = (slice(40, 70), slice(None), slice(30, 48), slice(5, 9))
    np.testing.assert_array_equal(movie.counts[rows], counts[rows])
    np.testing.assert_array_equal(movie[rows], stabilized[rows])
    np.testing.assert_array_equal(movie.counts[7, 1], counts[7, 1])
    plain = zarr.open(stores / layout, mode="r")[...]
    np.testing.assert_array_equal(plain, stabilized if layout == "plain" else counts)
    for number, model in enumerate(MODELS):
        channel = movie.channel(number)
        assert channel.noise == model and channel.shape == (120, 48, 48)
        np.testing.assert_array_equal(channel.counts[...], counts[:, number])
        np.testing.assert_array_equal(channel[45:55, 3:40], stabilized[45:55, number, 3:40])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(channel)).counts[3], counts[3, number])
        step = 0 if layout == "lossless" else movie.step
        away = np.abs(stabilized[:, number] - pg.anscombe(MOVIE[:, number], model)).max()
        assert away <= step / 2 + 1e-9
    with pytest.raises(InvalidInputError, match="0 to 1"):
        movie.channel(2)
    assert pg.verify(stores / layout, deep=True).ok
    assert pg.fidelity(MOVIE, stores / layout).ok


@pytest.mark.parametrize("axes, axis", [("tzcyx", 2), ("tczyx", 1)])
@pytest.mark.parametrize("dither", [None, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_channels_lie_along_any_axis(tmp_path, layout, axes, axis, dither):
    values = MOVIE.reshape(40, 3, 2, 48, 48)
    values = np.ascontiguousarray(values if axis == 2 else values.swapaxes(1, 2))
    options = {"dither": dither} if layout != "lossless" else {}
    pg.encode(
        values,
        tmp_path / "a",
        noise=MODELS,
        axes=axes,
        layout=layout,
        chunk_frames=15,
        check="full",
        **options,
    )
    movie = pg.open(tmp_path / "a")
    counts, stabilized = movie.counts[...], movie[...]
    for number, model in enumerate(MODELS):
        one = np.take(stabilized, number, axis)
        assert np.abs(one - pg.anscombe(np.take(values, number, axis), model)).max() <= 0.5 / 2 + 1e-9
        np.testing.assert_array_equal(
            movie.channel(number).counts[13:18], np.take(counts, number, axis)[13:18]
        )
    np.testing.assert_array_equal(movie.counts[10:20, 1:, :, 40:], counts[10:20, 1:, :, 40:])
    np.testing.assert_array_equal(movie[2, 1, 1, 7:9], stabilized[2, 1, 1, 7:9])
    if layout != "plain":
        np.testing.assert_array_equal(zarr.open(tmp_path / "a", mode="r")[...], counts)


def test_models_that_do_not_fit_the_channels_are_refused(tmp_path):
    for noise, axes, message in (
        ([*MODELS, MODELS[0]], "tcyx", "3 noise models arrived, and the movie has 2"),
        (MODELS, "tzyx", "has 1 channels"),
        (MODELS, None, "not named"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            pg.encode(MOVIE, tmp_path / "a", noise=noise, axes=axes)
    brighter = pg.NoiseModel(gain=160, offset=90)
    for noise in ([MODELS[0], brighter], brighter):  # one model is held against every channel
        with pytest.raises(NoiseContradictionError, match="channel 1"):
            pg.encode(MOVIE, tmp_path / "a", noise=noise, axes="tcyx")
    assert not (tmp_path / "a").exists()


def test_a_movie_of_one_channel_is_stored_as_ever(tmp_path):
    one = MOVIE[:, :1]
    for url, options in (("a", {"axes": "tcyx"}), ("b", {})):
        pg.encode(one, tmp_path / url, noise=MODELS[0], layout="compact", **options)
    assert (tmp_path / "a" / ".zarray").read_bytes() == (tmp_path / "b" / ".zarray").read_bytes()
    assert (tmp_path / "a" / "0.0.0.0").read_bytes() == (tmp_path / "b" / "0.0.0.0").read_bytes()


def test_an_encode_that_was_killed_goes_on(tmp_path):
    class Killed(Exception):
        pass

    def kill(done, _):
        if done > 60:
            raise Killed

    options = {"noise": MODELS, "axes": "tcyx", "layout": "compact", "chunk_frames": 10, "resume": True}
    with pytest.raises(Killed):
        pg.encode(MOVIE, tmp_path / "a", progress=kill, workers=1, budget_bytes=1 << 20, **options)
    report = pg.encode(MOVIE, tmp_path / "a", **options)
    pg.encode(MOVIE, tmp_path / "b", **{**options, "resume": False})
    assert any("were there already" in note for note in report.notes)
    for path in (tmp_path / "b").iterdir():
        assert (tmp_path / "a" / path.name).read_bytes() == path.read_bytes(), path.name


def test_damage_is_found_and_repaired(stores, tmp_path):
    pg.encode(MOVIE, tmp_path / "a", noise=MODELS, axes="tcyx", layout="compact", chunk_frames=50)
    whole = pg.Storage.at(tmp_path / "a").read("1.0.0.0")
    pg.Storage.at(tmp_path / "a").write("1.0.0.0", whole[:-100])
    assert pg.verify(tmp_path / "a").lost == ((50, 99),)
    assert pg.repair(tmp_path / "a", MOVIE, axes="tcyx").ok
    (tmp_path / "a" / ".manifest.json").unlink()
    with pytest.warns(PhotonWarning, match="lost its .manifest"):
        np.testing.assert_array_equal(
            pg.open(tmp_path / "a").counts[3], pg.open(stores / "compact").counts[3]
        )
    assert pg.repair(tmp_path / "a").ok, "every chunk proves itself"
    pg.Storage.at(tmp_path / "a").write("1.0.0.0", pg.Storage.at(tmp_path / "a").read("0.0.0.0"))
    assert pg.verify(tmp_path / "a", deep=True).lost == ((50, 99),)


def test_a_chunk_that_cannot_be_quantized_is_kept_as_it_is(tmp_path):
    frames = MOVIE.astype("float64")
    with pg.LiveWriter(
        tmp_path / "a", frame_shape=(2, 48, 48), dtype="float64", noise=MODELS, axes="tcyx", chunk_frames=40
    ) as live:
        live.append(frames)
    movie = pg.open(tmp_path / "a")
    assert movie.attrs["codec_version"] == "2.5" and movie.channel_noise == tuple(MODELS)
    assert np.abs(movie[...][:, 1] - pg.anscombe(frames[:, 1], MODELS[1])).max() <= 0.2501
    layout = movie._layout
    wild = frames[:40].copy()
    wild[0, 1, 0, 0] = 1e300
    data = layout.encode_raw(wild, movie.chunks)
    np.testing.assert_array_equal(
        layout.decode(data, ChunkPart(movie.chunks, number=0), np.dtype("f8"))[:, 1], wild[:, 1]
    )
    with pytest.raises(CorruptDataError, match="in the wrong place"):
        layout.decode(data, ChunkPart(movie.chunks, number=1), np.dtype("f8"))


def test_a_recording_estimates_each_channel_and_is_recovered(tmp_path):
    with pg.LiveWriter(
        tmp_path / "a", frame_shape=(2, 48, 48), dtype="int16", axes="tcyx", chunk_frames=30
    ) as live:
        live.append(MOVIE)
    movie = pg.open(tmp_path / "a")
    assert [round(model.gain / 20) for model in movie.channel_noise] == [4, 1]
    assert all(0.019 < added(movie.counts[...], channel) < 0.026 for channel in (0, 1))
    assert live.failed == () and movie.attrs["noise_estimates"][1]["verdict"] == "PASS"
    with pytest.raises(InvalidInputError, match="2 models"):
        pg.LiveWriter(tmp_path / "b", frame_shape=(3, 8, 8), dtype="int16", noise=MODELS, axes="tcyx")


def test_the_estimate_of_a_movie_of_channels_is_that_of_each():
    estimate = pg.estimate_noise(MOVIE, axes="tcyx")
    assert (estimate.verdict, estimate.model, len(estimate.channels)) == ("PASS", None, 2)
    for number, one in enumerate(estimate.channels):
        assert one.model == pg.estimate_noise(MOVIE[:, number]).model
        assert f"channel {number}" in one.source
    assert estimate.models == tuple(one.model for one in estimate.channels)
    assert type(estimate).from_dict(estimate.to_dict()) == estimate
    named = pg.open_source(MOVIE, axes="tcyx")
    named.recording = named.recording.replace(channel_names=("green", "red"))
    assert "channel red" in str(pg.estimate_noise(named))
