"""Frames, channels and planes that are chosen from a source."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.errors import InvalidInputError
from photon_gpu.recording import Recording
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.open import open_source
from photon_gpu.writer.encode import encode

PAGES = np.arange(24 * 4 * 5, dtype="uint16").reshape(24, 4, 5)


def whole(source):
    return source.read(0, source.shape[0])


def test_channels_alternate_fastest_then_planes_then_time():
    source = open_source(PAGES, channels=2, planes=3)
    assert (source.shape, source.recording.axes) == ((4, 3, 2, 4, 5), "tzcyx")
    np.testing.assert_array_equal(whole(source), PAGES.reshape(4, 3, 2, 4, 5))


def test_a_channel_and_a_plane_are_what_slices_of_the_whole_are():
    source = open_source(PAGES, channels=2, planes=3, channel=1, plane=2, frames="1:3")
    assert (source.shape, source.recording.axes) == ((2, 4, 5), "tyx")
    np.testing.assert_array_equal(whole(source), PAGES.reshape(4, 3, 2, 4, 5)[1:3, 2, 1])
    assert source.recording.not_kept == (
        "channels other than 1 of 2",
        "planes other than 2 of 3",
        "frames other than 1 to 2 of 4",
    )


@pytest.mark.parametrize("frames", ["2:7", (2, 7), slice(2, 7), [2, 7]])
def test_frames_are_counted_as_python_counts_them(frames):
    np.testing.assert_array_equal(whole(open_source(PAGES, frames=frames)), PAGES[2:7])
    np.testing.assert_array_equal(whole(open_source(PAGES, frames="20:")), PAGES[20:])


@pytest.mark.parametrize("axes, order", [("yxt", (2, 0, 1)), ("xty", (1, 2, 0)), ("zyx", (0, 1, 2))])
def test_named_dimensions_are_put_in_the_order_of_a_movie(axes, order):
    source = open_source(PAGES, axes=axes)
    np.testing.assert_array_equal(whole(source), PAGES.transpose(order))
    assert source.recording.axes == "".join(axes[number] for number in order)


def test_what_the_recording_says_follows_the_selection():
    source = ArraySource(PAGES)
    source.lost = ((5, 9), (23, 24))
    source.recording = Recording(
        axes="tyx", timestamps=np.arange(24) / 60, frame_rate=60, channel_names=("green", "red")
    )
    chosen = open_source(source, channels=2, channel="red", frames="3:12")
    assert chosen.lost == ((0, 2), (8, 9))
    assert chosen.recording.channel_names == ("red",)
    assert chosen.recording.frame_rate == 30
    np.testing.assert_allclose(chosen.recording.timestamps, np.arange(6, 24, 2) / 60)
    np.testing.assert_array_equal(whole(chosen), PAGES[7:24:2])
    chosen.close()
    assert source.read(0, 1).shape == (1, 4, 5), "the caller's source stays open"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"channels": 5}, "24 frames are not whole groups of 5.*frames=0:4"),
        ({"channels": 5, "planes": 5}, "has 24 frames, and one group .* has 25. Ask for fewer"),
        ({"channels": 25, "frames": "0:1"}, "has 24 frames, and one group .* has 25. Ask for fewer"),
        ({"channels": 0}, "at least 1"),
        ({"channels": True}, "at least 1"),
        ({"channel": 0}, "its axes are tyx. channels=N"),
        ({"channels": 2, "channel": 2}, "allowed are 0 to 1"),
        ({"channels": 2, "channel": "red"}, "allowed are 0 to 1"),
        ({"frames": "5:5"}, "the movie has 24"),
        ({"frames": "0:25"}, "the movie has 24"),
        ({"frames": "-3:"}, "the movie has 24"),
        ({"frames": "3"}, "A:B is needed"),
        ({"frames": "a:b"}, "A:B is needed"),
        ({"axes": "zyx", "plane": 1}, "would be one image"),
        ({"axes": "tyxx"}, "3 different letters"),
    ],
)
def test_a_selection_that_is_not_there_is_refused_in_a_few_words(options, message):
    with pytest.raises(InvalidInputError, match=message) as error:
        open_source(PAGES, **options)
    assert len(str(error.value)) <= 300


def test_the_file_is_believed_unless_its_axes_are_named_otherwise():
    movie = open_source(PAGES.reshape(4, 6, 4, 5), axes="tcyx")
    with pytest.raises(InvalidInputError, match="says that it has 6"):
        open_source(movie, channels=2)
    assert open_source(movie, axes="tzyx", channels=2).shape == (2, 2, 6, 4, 5)
    with pytest.raises(InvalidInputError, match="have no names"):
        open_source(PAGES.reshape(4, 6, 4, 5), channels=2)


def test_a_source_that_is_stored_in_part_is_not_deleted(tmp_path):
    path = tmp_path / "movie.npy"
    np.save(path, PAGES)
    with (
        open_source(path, frames="0:20") as part,
        pytest.raises(InvalidInputError, match="not deleted|holds more"),
    ):
        encode(part, tmp_path / "out.zarr", layout="lossless", check="full", delete_source=True)
    assert path.exists()
