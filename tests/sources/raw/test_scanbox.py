"""Scanbox files."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import scipy.io

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.sources.open import open_source
from tests.support.sources.microscope_files import SCANBOX_LINE_RATE, write_scanbox


def photons(frames=40, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    light = np.linspace(1, 40, 12 * 16).reshape(12, 16)
    return (rng.poisson(light, (frames, channels, 12, 16)) * 100 + 1000).astype("uint16")


@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize("channels", [1, 2])
def test_values_rise_with_light_and_channels_are_apart(tmp_path, inverted, channels):
    movie = photons(channels=channels)
    with open_source(write_scanbox(tmp_path, movie, inverted=inverted)) as source:
        expected = movie[:, 0] if channels == 1 else movie
        assert source.shape == expected.shape
        np.testing.assert_array_equal(source.read(3, 9), expected[3:9])
        assert source.recording.axes == ("tyx" if channels == 1 else "tcyx")
        assert source.recording.frame_rate == pytest.approx(SCANBOX_LINE_RATE / 12)
        assert '"resfreq": 7930' in source.recording.document("scan.mat").text
        assert (source.note(100) is not None) == inverted


def test_bidirectional_frames_are_twice_as_high(tmp_path):
    path = write_scanbox(tmp_path, photons(), scanmode=0, recordsPerBuffer=6)
    with open_source(path) as source:
        assert source.shape == (40, 12, 16)
        assert source.recording.frame_rate == pytest.approx(2 * SCANBOX_LINE_RATE / 12)


def test_channels_of_scanbox_3(tmp_path):
    movie = photons(channels=2)
    with open_source(write_scanbox(tmp_path, movie, channels=-1, chan={"nchan": 2})) as source:
        np.testing.assert_array_equal(source.read(0, 40), movie)


@pytest.mark.parametrize(
    "lens", [{"otparam": [0.0, 1000.0, 4.0], "volscan": 1}, {"otwave": [1.0, 2.0, 3.0, 4.0]}]
)
def test_planes_are_those_of_the_tunable_lens(tmp_path, lens):
    movie = photons(channels=2)
    with open_source(write_scanbox(tmp_path, movie, **lens)) as source:
        assert (source.shape, source.recording.axes) == ((10, 4, 2, 12, 16), "tzcyx")
        assert source.recording.frame_rate == pytest.approx(SCANBOX_LINE_RATE / 48)
        np.testing.assert_array_equal(source.read(1, 2)[0], movie[4:8])
    with open_source(write_scanbox(tmp_path, movie, **{**lens, "volscan": 0})) as source:
        assert source.recording.axes == "tcyx"


def test_values_that_may_be_inverted_or_not_are_refused(tmp_path):
    path = write_scanbox(
        tmp_path, 50000 + photons() // 10, inverted=False
    )  # high values, more noise at more light
    with pytest.raises(InvalidInputError, match=r"whether its values are inverted is not clear.*more noise"):
        open_source(path)
    with open_source(path, inverted=False) as source:
        assert source.read(0, 1).min() > 50000
    with open_source(path, inverted=True) as source:
        assert source.read(0, 1).max() < 15535


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    path = write_scanbox(tmp_path, photons())
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(InvalidInputError, match=r'scipy is needed.*pip install "photon-gpu\[scanbox\]"'):
        open_source(path)
    monkeypatch.undo()
    os.truncate(path, 1000)
    with pytest.raises(CorruptDataError, match=r"truncated.*check the size of frames in scan\.mat") as error:
        open_source(path)
    assert "offset_bytes" not in str(error.value)  # which a Scanbox file does not take
    scipy.io.savemat(tmp_path / "scan.mat", {"info": {"sz": [12, 16]}})
    with pytest.raises(InvalidInputError, match="lacks sz, recordsPerBuffer or channels"):
        open_source(path)
    scipy.io.savemat(tmp_path / "scan.mat", {"other": 1})
    with pytest.raises(InvalidInputError, match="no variable 'info'"):
        open_source(path)
    (tmp_path / "scan.mat").unlink()
    with pytest.raises(InvalidInputError, match=r"there is no scan\.mat beside it"):
        open_source(path)
