"""``noise="auto"``: what is estimated is used, kept, and told; what cannot be modelled is refused."""

import json

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError
from photon_gpu.writer import auto_noise
from tests.support.noise.detector_models import detect, still

LIT = detect(still(frames=40, low=9, high=9))


@pytest.fixture(scope="module")
def movie():
    return detect(still(), dtype="int16")


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_the_estimate_is_used_kept_and_told(layout, movie, tmp_path):
    estimate = pg.estimate_noise(movie)
    report = pg.encode(movie, tmp_path / "m.zarr", noise="auto", layout=layout, attributes={"animal": 7})
    opened = pg.open(tmp_path / "m.zarr")
    assert opened.noise == report.encoding.noise == estimate.model
    assert opened.attrs["animal"] == 7
    kept = opened.attrs["noise_estimate"]
    assert kept == json.loads(json.dumps(estimate.summary()))
    assert (kept["verdict"], kept["model"]) == ("PASS", estimate.model.to_dict())
    assert kept["interval"]["gain"] == list(estimate.interval.gain)
    assert len(json.dumps(kept)) < 3000
    assert any(note.startswith("estimated from the movie: PASS, gain") for note in report.notes)
    assert report.stages["estimate"] > 0


def test_a_refusal_names_reason_number_and_ways_out_and_writes_nothing(tmp_path):
    with pytest.raises(InvalidInputError) as error:
        pg.encode(LIT, tmp_path / "m.zarr", noise="auto")
    text = str(error.value)
    assert "precision: gain" in text and "layout='lossless'" in text and "NoiseModel(gain=" in text
    assert not list(tmp_path.iterdir())
    report = pg.encode(LIT, tmp_path / "m.zarr", noise="auto", layout="lossless")
    opened = pg.open(tmp_path / "m.zarr")
    assert opened.noise is None
    assert opened.attrs["noise_estimate"]["verdict"] == "REFUSE"
    assert any("REFUSE" in note for note in report.notes)
    assert (opened.counts[...] == LIT).all()


def test_processed_data_is_refused_with_its_correlation(movie, tmp_path):
    mixed = (movie[:, 1:] + movie[:, :-1]) / 2
    with pytest.raises(
        InvalidInputError, match=r"correlation y: .* correlates by 0\.\d\d .*motion-corrected"
    ):
        pg.encode(mixed.astype("float32"), tmp_path / "m.zarr", noise="auto")


def test_what_is_doubtful_is_a_warning(movie, tmp_path):
    with pytest.warns(pg.PhotonWarning, match="noise estimate: saturation"):
        pg.encode(np.minimum(movie, 300), tmp_path / "m.zarr", noise="auto", check=False)
    assert auto_noise.findings(pg.open(tmp_path / "m.zarr").attrs)[0].startswith("WARN saturation")


def test_an_estimate_goes_on_where_it_was_killed(movie, tmp_path, monkeypatch):
    monkeypatch.setattr("photon_gpu.writer.scheduler._LIST_SECONDS", 0.0)
    monkeypatch.setattr(
        "photon_gpu.writer.encode.finish", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        pg.encode(movie, tmp_path / "m.zarr", noise="auto", chunk_frames=30, resume=True)
    monkeypatch.undo()
    report = pg.encode(movie, tmp_path / "m.zarr", noise="auto", chunk_frames=30, resume=True)
    assert any("chunks were there already" in note for note in report.notes)
    assert pg.verify(tmp_path / "m.zarr").ok


def test_a_movie_to_insert_may_leave_it_open(movie):
    assert pg.movie(movie, noise="auto").noise is None
    assert pg.movie(movie).noise is None
    for call in (pg.movie, lambda m, noise: pg.encode(m, "memory://never.zarr", noise=noise)):
        with pytest.raises(InvalidInputError, match="noise is 'Auto'"):
            call(movie, noise="Auto")


def test_it_is_the_default_wherever_anything_is_quantized(movie, tmp_path):
    """A photon counter is a camera like any other, and has to be stated."""
    for layout in ("plain", "compact"):
        pg.encode(movie, tmp_path / "m.zarr", layout=layout, overwrite=True)
        opened = pg.open(tmp_path / "m.zarr")
        assert opened.noise == pg.estimate_noise(movie).model
        assert opened.attrs["noise_estimate"]["verdict"] == "PASS"
    pg.encode(movie, tmp_path / "m.zarr", layout="lossless", overwrite=True)
    assert pg.open(tmp_path / "m.zarr").noise is None
    assert "noise_estimate" not in pg.open(tmp_path / "m.zarr").attrs
    with pytest.raises(InvalidInputError, match="NoiseModel.*layout='lossless'"):
        pg.encode(np.ones((9, 8, 8), "uint16"), tmp_path / "n.zarr")
    assert not (tmp_path / "n.zarr").exists()


def test_its_key_is_not_overwritten(movie):
    with pytest.raises(InvalidInputError, match="'noise_estimate'"):
        pg.encode(movie, "memory://never.zarr", noise="auto", attributes={"noise_estimate": 1})


@pytest.mark.parametrize(
    "attribute",
    [
        None,
        3,
        [],
        {},
        {"verdict": "FINE"},
        {"verdict": "PASS", "model": None, "interval": {"gain": "ab"}},
        {
            "verdict": "PASS",
            "interval": {"gain": [1, 2]},
            "model": {"gain": "x"},
            "warnings": [1, {"name": 2}],
        },
    ],
)
def test_hostile_attributes_are_not_trusted(attribute):
    assert auto_noise.note({"noise_estimate": attribute}) in (None, "estimated from the movie: PASS")
    assert auto_noise.findings({"noise_estimate": attribute}) == []


@pytest.mark.parametrize("power", [0, 1, 2], ids=["still", "line", "parabola"])
def test_a_ramp_without_noise_is_refused_or_stored_as_stated(power, tmp_path):
    """All weights of a fit to samples without scatter would be infinite."""
    frames = np.uint32(np.arange(16) * np.arange(64)[:, None, None] ** power + np.zeros((16, 1)))
    assert pg.estimate_noise(frames).verdict == "REFUSE"
    with pytest.raises(InvalidInputError, match="its noise cannot be modelled") as refused:
        pg.encode(frames, tmp_path / "m.zarr")
    assert len(str(refused.value)) <= 300 and str(refused.value).endswith("layout='lossless'")
    stated = pg.encode(frames, tmp_path / "m.zarr", noise=pg.NoiseModel(gain=1.0), check=False)
    assert stated.encoding.noise == pg.NoiseModel(gain=1.0)
