"""Settings: checked once when they are made, the same after JSON, the same defaults at every entrance."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.encode_settings import EncodeSettings, RecordSettings
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.errors import PhotonError
from photon_gpu.live.state.config import LiveConfig
from photon_gpu.progress_bar import ProgressBar
from photon_gpu.reader.export import export

VALUES = np.random.default_rng(0).poisson(9.0, (6, 8, 8)).astype("uint16")
UNUSUAL = {
    "noise": NoiseModel(gain=2.5, offset=100.0, variance=9.0),
    "step": 0.25,
    "layout": "compact",
    "preset": "small",
    "predictor": Predictor(name="full", levels=16, coded=True),
    "compressor": "zstd-9-bitshuffle-65536",
    "dither": 7,
    "peaks": 0,  # others exclude dither
    "chunk_frames": 3,
    "backend": "numba",
    "workers": 2,
    "budget_bytes": 1 << 20,
    "trust_noise": True,
    "accept_processed": True,
    "check": False,
    "attributes": {"animal": 7},
    "with_decoder": True,
    "pyramid": 3,
}

DARK = EncodeSettings(noise="auto", layout="compact", peaks=2)
PEAKS_CHOSEN = EncodeSettings(layout="plain", dither=7, peaks="auto")

# What arrived, and a word of what is allowed.
REFUSED = [
    ({"noise": {"gain": 2}}, "NoiseModel"),
    ({"layout": "compact", "peaks": 9}, "0 to 8"),
    ({"peaks": 2}, "compact"),
    ({"layout": "compact", "peaks": "all"}, "auto"),
    ({"noise": "guess"}, "auto"),
    ({"step": 0}, "0.01 to 16"),
    ({"step": "fine"}, "0.01 to 16"),
    ({"layout": "png"}, "plain, compact, lossless"),
    ({"layout": ["plain"]}, "plain, compact, lossless"),
    ({"layout": np.array(["plain", "compact"])}, "plain, compact, lossless"),
    ({"preset": "best"}, "fast, balanced, small"),
    ({"layout": "compact", "predictor": "lucky"}, "spatial"),
    ({"layout": "compact", "predictor": 1}, "spatial"),
    ({"layout": "plain", "predictor": "mean"}, "layout='compact'"),
    ({"layout": "lossless", "predictor": Predictor()}, "layout='compact'"),
    ({"compressor": 1}, "zstd-5-bitshuffle"),
    ({"compressor": "gzip"}, "zstd-5-bitshuffle"),
    ({"dither": -1}, "seed"),
    ({"dither": 0.5}, "seed"),
    ({"layout": "lossless", "step": 99}, "0.01 to 16"),
    ({"chunk_frames": 0}, "at least 1"),
    ({"chunk_frames": 2.5}, "at least 1"),
    ({"chunk_frames": True}, "at least 1"),
    ({"backend": 1}, "numba"),
    ({"backend": "quantum"}, "numba"),
    ({"workers": 0}, "1 to 1024"),
    ({"trust_noise": "no"}, "True and False"),
    ({"with_decoder": 1}, "True and False"),
    ({"accept_processed": "no"}, "True and False"),
    ({"check": "yes"}, "full"),
    ({"check": 1}, "full"),
    ({"attributes": [1]}, "dictionary"),
]
BUDGETS = [({"budget_bytes": wrong}, "number from 1") for wrong in ("1", 0, True, float("nan"), float("inf"))]


@pytest.mark.parametrize(("settings", "allowed"), REFUSED + BUDGETS, ids=str)
def test_an_error_says_what_arrived_and_what_is_allowed(settings, allowed):
    with pytest.raises(PhotonError) as error:
        EncodeSettings(**settings)
    message = str(error.value)
    assert allowed in message and list(settings)[-1] in message and len(message) <= 300


def test_a_long_value_does_not_fill_the_error():
    with pytest.raises(PhotonError) as error:
        EncodeSettings(layout="x" * 10_000)
    assert len(str(error.value)) <= 300


CALLS = {
    "encode": lambda store, options: pg.encode(VALUES, store, **options),
    "encode_many": lambda store, options: pg.encode_many([VALUES], [store], **options),
    "movie": lambda store, options: pg.movie(VALUES, **options),
    "LiveWriter": lambda store, options: pg.LiveWriter(
        store, frame_shape=(8, 8), dtype="uint16", **{"layout": "plain", **options}
    ),
}


@pytest.mark.parametrize("entrance", CALLS)
@pytest.mark.parametrize(("settings", "allowed"), REFUSED, ids=str)
def test_every_entrance_refuses_the_same_before_it_writes(entrance, settings, allowed, tmp_path):
    if entrance == "movie" and ("layout" in settings or "peaks" in settings):
        pytest.skip("the column decides the layout")
    if entrance == "LiveWriter" and "noise" in settings:
        pytest.skip("a recording also takes functions, paths and movies as noise")
    with pytest.raises(PhotonError):
        CALLS[entrance](tmp_path / "m.zarr", settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"progress": 1},
        {"overwrite": "no"},
        {"resume": 1},
        {"delete_source": "no"},
        *(b for b, _ in BUDGETS),
    ],
    ids=str,
)
def test_options_of_one_call_are_checked_too(options, tmp_path):
    with pytest.raises(PhotonError, match=next(iter(options))):
        pg.encode(VALUES, tmp_path / "m.zarr", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options", [{"progress": 1}, {"overwrite": "no"}, {"rechunk": 1}, {"at_once": 0}], ids=str
)
def test_options_of_many_movies_are_checked_too(options, tmp_path):
    with pytest.raises(PhotonError, match=next(iter(options))):
        pg.encode_many([VALUES], [tmp_path / "m.zarr"], **options)
    assert not list(tmp_path.iterdir())


PROGRESS = {
    "verify": lambda store, wrong: pg.verify(store, progress=wrong),
    "repair": lambda store, wrong: pg.repair(store, progress=wrong),
    "fidelity": lambda store, wrong: pg.fidelity(VALUES, store, progress=wrong),
    "export": lambda store, wrong: export(
        pg.open(store), store.with_suffix(".npy"), overwrite=True, progress=wrong
    ),
}


@pytest.mark.parametrize("function", PROGRESS)
def test_progress_is_a_function_a_bar_or_nothing(function, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(ProgressBar, "__call__", lambda self, done, in_all: shown.append((done, in_all)))
    pg.encode(VALUES, tmp_path / "m.zarr", layout="lossless", progress=False)
    PROGRESS[function](tmp_path / "m.zarr", False)
    assert shown == []
    PROGRESS[function](tmp_path / "m.zarr", True)
    assert (shown and shown[-1][0] == shown[-1][1]) or function == "repair"  # nothing is damaged
    with pytest.raises(PhotonError, match="progress is 1; True"):
        PROGRESS[function](tmp_path / "m.zarr", 1)


@pytest.mark.parametrize("dtype", ["nonsense", "complex64", object, 7, None], ids=str)
def test_a_recording_of_no_dtype_is_refused(dtype, tmp_path):
    with pytest.raises(PhotonError, match="dtype"):
        pg.LiveWriter(tmp_path / "m.zarr", frame_shape=(8, 8), dtype=dtype)


def test_settings_survive_json():
    for made in (EncodeSettings(), EncodeSettings(**UNUSUAL), DARK, PEAKS_CHOSEN):
        assert EncodeSettings.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert set(UNUSUAL) == {one.name for one in fields(EncodeSettings)}, "a new setting belongs in this test"
    recording = RecordSettings(
        **UNUSUAL | {"pyramid": 0}, durability="frame", on_full="raise", queue_bytes=1e9, close_seconds=1
    )
    assert RecordSettings.from_dict(json.loads(json.dumps(recording.to_dict()))) == recording


def test_unknown_and_unreadable_settings_are_refused():
    for data in (
        {"colour": 1},
        {"layout": "compact", "predictor": {"name": "mean"}},
        {"noise": {"gain": "x"}},
    ):
        with pytest.raises(PhotonError):
            EncodeSettings.from_dict(data)


def test_a_copy_is_checked_and_the_original_stays():
    settings = EncodeSettings(layout="compact", predictor="mean")
    assert settings.replace(step=1.0).step == 1.0 and settings.step == 0.5
    assert type(RecordSettings().replace(step=1.0)) is RecordSettings
    with pytest.raises(PhotonError, match="layout='compact'"):
        settings.replace(layout="plain")


def test_a_compressor_becomes_the_same_text_again():
    for text in ("zstd-5-bitshuffle", "lz4-1-none-1048576", "blosclz-9-shuffle"):
        assert Compressor.parse(text).text == text
        assert Compressor.parse(Compressor.parse(text).text) == Compressor.parse(text)


@pytest.mark.parametrize(
    ("function", "settings"),
    [
        (pg.encode, EncodeSettings()),
        (pg.encode_many, EncodeSettings()),
        (pg.movie, EncodeSettings()),
        (pg.LiveWriter.__init__, RecordSettings()),
    ],
    ids=["encode", "encode_many", "movie", "LiveWriter"],
)
def test_keywords_have_the_names_and_defaults_of_the_settings(function, settings):
    keywords = inspect.signature(function).parameters
    shared = [one.name for one in fields(settings) if one.name in keywords and one.name != "attributes"]
    assert {
        "step",
        "preset",
        "compressor",
        "dither",
        "chunk_frames",
        "trust_noise",
        "accept_processed",
        "with_decoder",
        "check",
    } <= set(shared)
    for name in shared:
        assert keywords[name].default == getattr(settings, name), name


OLD_SPOOL = {
    "frame_shape": [6, 7],
    "dtype": "int16",
    "layout": "compact",
    "step": 0.5,
    "preset": "fast",
    "predictor": None,
    "compressor": "zstd-5-bitshuffle",
    "dither": 5,
    "chunk_frames": 9,
    "durability": "frame",
    "on_full": "block",
    "queue_bytes": 512000000,
    "estimate_frames": 100,
    "trust_noise": False,
    "publish_seconds": 1.0,
    "close_seconds": 60.0,
    "check": True,
}


def test_the_spools_of_earlier_releases_can_be_read_and_are_still_written():
    config = LiveConfig.from_dict(OLD_SPOOL)
    assert (config.frame_shape, config.chunk_frames, config.fixed_compressor) == (
        (6, 7),
        9,
        Compressor.parse("zstd-5-bitshuffle"),
    )
    assert config.to_dict() == OLD_SPOOL


@pytest.mark.parametrize(
    "ignored",
    [{"layout": "plain", "predictor": "mean"}, {"layout": "lossless", "predictor": "mean", "step": 99.0}],
)
def test_a_setting_that_an_earlier_release_ignored_does_not_stop_a_recovery(ignored):
    config = LiveConfig.from_dict({**OLD_SPOOL, **ignored})
    assert config.layout == ignored["layout"] and config.predictor is None
