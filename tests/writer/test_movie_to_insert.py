"""What is to be inserted is checked at once and read only when it is inserted."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.encode_settings import EncodeSettings
from photon_gpu.errors import InvalidInputError
from photon_gpu.writer.movie_to_insert import MovieToInsert


def test_nothing_is_read_before():
    value = pg.movie("there/is/none.tif", noise=pg.NoiseModel(gain=2.0), step=1.0, preset="small")
    assert isinstance(value, MovieToInsert)
    assert (value.noise.gain, value.step) == (2.0, 1.0)
    with pytest.raises(FileNotFoundError), value.open():
        pass


def test_it_opens_again_and_again():
    value = pg.movie(np.arange(24, dtype="uint16").reshape(2, 3, 4))
    for _ in range(2):
        with value.open() as frames:
            assert frames.read(0, 2).sum() == 276


def test_a_source_that_was_given_stays_open(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.ones((5, 8, 8), "uint16"))
    with pg.open_source(tmp_path / "m.tif") as source:
        value = pg.movie(source)
        for _ in range(2):
            with value.open() as frames:
                assert frames.read(0, 5).sum() == 320
        assert source.read(0, 1).sum() == 64


def test_source_options_go_to_the_source(tmp_path):
    np.savez(tmp_path / "m.npz", a=np.zeros((2, 3, 4), "uint8"), b=np.ones((5, 3, 4), "uint8"))
    with pg.movie(tmp_path / "m.npz", key="b").open() as frames:
        assert frames.shape == (5, 3, 4)


def test_defaults_are_those_of_encode():
    value = pg.movie(np.zeros((2, 3, 4), "uint8"))
    assert value.settings_for("plain") == EncodeSettings()
    assert value.noise is None  # estimated when it is inserted


@pytest.mark.parametrize(
    "options",
    [
        {"step": 0},
        {"step": "fine"},
        {"noise": {"gain": 2}},
        {"compressor": 1},
        {"budget_bytes": "1"},
        {"progress": 1},
    ],
)
def test_what_cannot_be_is_refused_at_once(options):
    with pytest.raises(InvalidInputError):
        pg.movie(np.zeros((2, 3, 4), "uint8"), **options)
    with pytest.raises(InvalidInputError, match="already"):
        pg.movie(pg.movie(np.zeros((2, 3, 4), "uint8")))
