"""Files of raw frames: of a stated shape, of ThorImage, of suite2p."""

from __future__ import annotations

import os

import numpy as np
import pytest

from photon_gpu.errors import CorruptDataError, InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.open import is_container, open_source
from tests.support.sources.microscope_files import write_suite2p, write_thorimage
from tests.support.sources.source_files import make_movie


@pytest.mark.parametrize("suffix", [".raw", ".bin", ".dat"])
def test_raw_frames_of_a_stated_shape(tmp_path, movie, suffix):
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(b"header!" + movie.astype(">i2").tobytes())
    with open_source(path, shape="12,16", dtype=">i2", offset_bytes=7) as source:
        assert source.dtype == np.dtype("int16")
        np.testing.assert_array_equal(source.read(3, 8), movie[3:8])
    assert not is_container(str(path))  # `record` takes it for a file that grows


def test_raw_frames_of_several_channels(tmp_path, movie):
    movie.tofile(tmp_path / "scan.raw")
    with open_source(tmp_path / "scan.raw", shape=(2, 12, 16), dtype="int16") as source:
        np.testing.assert_array_equal(source.read(0, 10), movie.reshape(10, 2, 12, 16))


def test_raw_frames_that_nothing_describes_are_refused(tmp_path, movie):
    path = tmp_path / "scan.raw"
    movie.tofile(path)
    with pytest.raises(
        InvalidInputError, match=r"size of its raw frames is unknown.*shape=\(HEIGHT, WIDTH\) and dtype="
    ):
        open_source(path)
    with pytest.raises(InvalidInputError, match="both shape= and dtype="):
        open_source(path, shape=(12, 16))
    with pytest.raises(InvalidInputError, match="shape is '12'"):
        open_source(path, shape="12", dtype="int16")
    with pytest.raises(UnsupportedTypeError, match="dtype is 'int17'"):
        open_source(path, shape=(12, 16), dtype="int17")
    with pytest.raises(CorruptDataError, match="truncated after 5 whole frames.*right shape="):
        open_source(path, shape=(16, 41), dtype="int16")
    os.truncate(path, movie.nbytes - 1)
    with pytest.raises(CorruptDataError, match="after 19 whole frames: 383 of the 384 bytes"):
        open_source(path, shape=(12, 16), dtype="int16")


@pytest.mark.parametrize("file_format", ["raw", "suite2p"])
def test_whole_frames_of_a_truncated_file_are_kept_if_asked(tmp_path, movie, file_format):
    options = {"shape": (12, 16), "dtype": "int16"} if file_format == "raw" else {}
    path = write_suite2p(tmp_path, movie)
    os.truncate(path, movie.nbytes - 385)
    os.utime(path, (0, 0))
    with open_source(path, truncated="keep", **options) as source:
        np.testing.assert_array_equal(source.read(0, 18), movie[:18])
        assert source.truncation.frames == 18
        assert source.truncation.promised == (None if file_format == "raw" else 20)


def test_a_recording_of_thorimage(tmp_path):
    movie = make_movie((8, 2, 12, 16), "uint16")
    path = write_thorimage(tmp_path, movie, channel=5, promised=8, wavelengths=["ChanA", "ChanC"])
    for location in (path, tmp_path):
        with open_source(location) as source:
            np.testing.assert_array_equal(source.read(0, 8), movie)
            assert source.recording.axes == "tcyx"
            assert source.recording.channel_names == ("ChanA", "ChanC")
            assert source.recording.frame_rate == 30.5
            assert source.recording.pixel_size == {"y": (1.5, "µm"), "x": (1.5, "µm")}
            assert source.recording.document("Experiment.xml").text.startswith("<?xml")
            assert source.note(100) is None


def test_channel_names_and_volumes_of_thorimage(tmp_path):
    movie = make_movie((8, 12, 16), "uint16")
    path = write_thorimage(
        tmp_path, movie, channel=2, promised=20, streaming='zFastEnable="1" flybackFrames="1" '
    )
    with open_source(path) as source:
        assert source.recording.axes == "tzyx" and source.recording.channel_names == ("ChanB",)
        assert source.shape == (2, 4, 12, 16)
        np.testing.assert_array_equal(source.read(1, 2)[0], movie[4:])
        assert "the last 1 of 4 planes are flyback frames" in source.note(100)
        assert "20 frames were requested, and the raw file holds 8" in source.note(100)
    with open_source(path, planes=1) as source:
        assert source.shape == (8, 12, 16) and source.recording.axes == "tyx"
    path.write_bytes(path.read_bytes()[: 7 * 12 * 16 * 2])
    with open_source(path) as source:
        assert source.shape == (7, 12, 16) and "3 frames are left over" in source.note(100)


def test_averaged_frames_of_thorimage_have_no_rate(tmp_path):
    path = write_thorimage(
        tmp_path,
        make_movie((4, 12, 16), "uint16"),
        channel=1,
        promised=4,
        lsm='averageMode="1" averageNum="4" ',
    )
    with open_source(path) as source:
        assert source.recording.frame_rate is None


def test_what_is_no_recording_of_thorimage(tmp_path):
    movie = make_movie((8, 12, 16), "uint16")
    path = write_thorimage(tmp_path, movie, channel=1, promised=4)
    with pytest.raises(
        InvalidInputError, match=r"holds 8 frames of 1 channel\(s\); Experiment.xml requests 4"
    ):
        open_source(path)
    write_thorimage(tmp_path, movie[:, :11], channel=1, promised=8)
    with pytest.raises(CorruptDataError, match="truncated"):
        open_source(path)
    write_thorimage(tmp_path, movie, channel=1, promised=8).with_name("Image_0002_0001.raw").write_bytes(b"")
    with pytest.raises(InvalidInputError, match="holds 2 raw files; give one of them"):
        open_source(tmp_path)
    (tmp_path / "Experiment.xml").write_text("<Experiment")
    with pytest.raises(CorruptDataError, match="not XML"):
        open_source(path)
    (tmp_path / "Experiment.xml").write_text("<ThorImageExperiment/>")
    with pytest.raises(InvalidInputError, match="lacks the size of frames"):
        open_source(path)


def test_the_binary_of_suite2p(tmp_path, movie):
    with open_source(write_suite2p(tmp_path, movie)) as source:
        np.testing.assert_array_equal(source.read(0, 20), movie)
        assert source.recording.frame_rate == 7.5
        assert '"Ly": 12' in source.recording.document("ops.npy.json").text
        assert source.recording.not_kept == ("2 arrays and objects of ops.npy: meanImg, path",)


def test_a_truncated_binary_of_suite2p(tmp_path, movie):
    with pytest.raises(CorruptDataError, match="truncated after 20 whole frames: ops.npy says 21 frames"):
        open_source(write_suite2p(tmp_path, movie, nframes=21))


def test_ops_cannot_run_code(tmp_path, movie):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    with open_source(write_suite2p(tmp_path, movie, evil=Evil())) as source:
        assert source.shape == movie.shape
    assert not (tmp_path / "made").exists()
    (tmp_path / "ops.npy").write_bytes((tmp_path / "ops.npy").read_bytes()[:200])
    with pytest.raises(CorruptDataError, match="cannot be read"):
        open_source(tmp_path / "data.bin")
