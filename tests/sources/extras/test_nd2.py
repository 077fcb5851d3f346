"""ND2 files, read by the package nd2."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.sources.open import open_source
from tests.support.sources.nd2_files import write_nd2
from tests.support.sources.source_files import make_movie


def test_channels_over_time_are_read_with_their_metadata(tmp_path):
    movie = make_movie((6, 2, 12, 16), "uint16")
    with open_source(write_nd2(tmp_path / "x.nd2", movie)) as source:
        assert source.dtype == np.uint16
        for start, stop in ((0, 6), (2, 5)):
            np.testing.assert_array_equal(source.read(start, stop), movie[start:stop])
        recording = source.recording
        assert recording.axes == "tcyx" and recording.channel_names == ("channel 0", "channel 1")
        assert recording.pixel_size == {"y": (0.5, "µm"), "x": (0.5, "µm")}
        assert recording.frame_rate == pytest.approx(1000 / 33)
        assert "channel 1" in recording.document("metadata.txt").text


@pytest.mark.parametrize("axes", ["tzcyx", "ztcyx", "ptcyx"])
def test_time_comes_first_whatever_the_order_of_loops(tmp_path, axes):
    sizes = {"t": 4, "z": 3, "p": 3, "c": 1, "y": 12, "x": 16}
    movie = make_movie([sizes[letter] for letter in axes], "uint16")
    with open_source(write_nd2(tmp_path / "x.nd2", movie, axes)) as source:
        expected = np.moveaxis(movie, axes.index("t"), 0)[:, :, 0]
        assert source.recording.axes == "t" + axes.replace("t", "").replace("c", "")
        np.testing.assert_array_equal(source.read(1, 4), expected[1:4])


def test_damage_and_a_missing_library(tmp_path, monkeypatch):
    path = write_nd2(tmp_path / "x.nd2", make_movie((6, 2, 12, 16), "uint16"))
    os.truncate(path, 9000)
    with pytest.raises(CorruptDataError, match="truncated or not ND2"):
        open_source(path)
    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(InvalidInputError, match=r'nd2 is needed.*pip install "photon-gpu\[nd2\]"'):
        open_source(path)
