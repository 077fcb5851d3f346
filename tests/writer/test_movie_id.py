"""The identity of a movie: the same for the same movie, another for any other."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.codec import blosc
from photon_gpu.engine.codec.header import number_field, unpack
from photon_gpu.errors import InvalidInputError
from photon_gpu.store.claim import MARKER
from tests.support.noise.one_camera_movies import CAMERA, camera_movie

VALUES = camera_movie(25, 17, 23)


def identity(store):
    """What ``.zattrs`` says; every chunk says the same, and its number."""
    movie = pg.open(store)
    told = movie.attrs["photon_movie_id"]
    for number in range(-(-len(movie) // movie.chunks[0])):
        data = movie.chunk_bytes(number)
        if movie.layout == "compact":
            stated = unpack(blosc.decompress(data, blosc.frame_sizes(data)[0]))[0]
        else:
            stated = blosc.read_seal(data)
        assert f"{stated.movie:08x}" == told and stated.number == number_field(number)
    return told


def encoded(store, values=VALUES, **options):
    pg.encode(values, store, **{"noise": CAMERA, "layout": "compact", "chunk_frames": 10, **options})
    return identity(store)


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_the_same_movie_gives_the_same_bytes(tmp_path, layout):
    assert encoded(tmp_path / "a", layout=layout) == encoded(tmp_path / "b", workers=1, layout=layout)
    np.save(tmp_path / "raw.npy", VALUES)
    encoded(tmp_path / "c", str(tmp_path / "raw.npy"), backend="numpy", layout=layout)
    for name in ("b", "c"):
        for file in (tmp_path / "a").iterdir():
            assert file.read_bytes() == (tmp_path / name / file.name).read_bytes()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_another_movie_or_other_settings_give_another(tmp_path, dtype):
    values = VALUES.astype(dtype)
    other = values.copy()
    other[3, 4, 5] += 90
    ids = [
        encoded(tmp_path / "a", values, predictor="mean"),
        encoded(tmp_path / "b", other, predictor="mean"),
        encoded(tmp_path / "c", values, predictor="none"),
        encoded(tmp_path / "d", values, predictor="mean", chunk_frames=5),
        encoded(tmp_path / "e", values[:-1], predictor="mean"),
        encoded(tmp_path / "f", values, predictor="mean", step=0.25),
    ]
    assert len(set(ids)) == len(ids)


def test_two_recordings_of_the_same_frames_are_two_movies(tmp_path):
    for name in ("a", "b"):
        with pg.LiveWriter(
            tmp_path / name, frame_shape=(17, 23), dtype="uint16", noise=CAMERA, chunk_frames=10
        ) as live:
            live.append(VALUES)
    assert identity(tmp_path / "a") != identity(tmp_path / "b")


@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_layouts_that_are_not_predicted_have_one_too(tmp_path, layout):
    other = VALUES.copy()
    other[3, 4, 5] += 90
    ids = [
        encoded(tmp_path / "a", layout=layout),
        encoded(tmp_path / "b", other, layout=layout),
        encoded(tmp_path / "c", layout=layout, chunk_frames=5),
    ]
    assert len(set(ids)) == len(ids)


def test_it_is_photon_gpus_own_key(tmp_path):
    with pytest.raises(InvalidInputError, match="photon_movie_id"):
        pg.encode(VALUES, tmp_path / "m", attributes={"photon_movie_id": "12345678"}, noise=pg.NoiseModel())
    pg.encode(
        VALUES, tmp_path / "m", layout="compact", attributes={"movie_id": "mouse 3"}, noise=pg.NoiseModel()
    )
    assert pg.open(tmp_path / "m").attrs["movie_id"] == "mouse 3"


@pytest.mark.parametrize("known", [True, False])
def test_a_resumed_encode_keeps_the_identity_it_began_with(tmp_path, monkeypatch, known):
    """Also of one that began with a release that knew of none."""
    options = {
        "noise": CAMERA,
        "layout": "compact",
        "chunk_frames": 5,
        "predictor": "mean",
        "resume": True,
        "workers": 1,
    }
    with monkeypatch.context() as broken:
        if not known:
            broken.setattr("photon_gpu.writer.preparation.identified", lambda choice, *_: choice.encoding)
        broken.setattr("photon_gpu.writer.encode.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pg.encode(VALUES, tmp_path / "m", **options)
    told = json.loads((tmp_path / "m" / MARKER).read_text())["plan"]["attributes"].get("photon_movie_id")
    changed = VALUES.copy()
    changed[7] += 9  # of another movie, if it were encoded by itself
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        pg.encode(changed, tmp_path / "m", **options)
    movie = pg.open(tmp_path / "m")
    assert movie.attrs.get("photon_movie_id") == told and (told is not None) == known
    assert np.abs(movie[...] - pg.anscombe(changed, CAMERA)).max() <= 0.25 + 1e-9
    assert pg.verify(tmp_path / "m", deep=True).ok and (not known or identity(tmp_path / "m") == told)
