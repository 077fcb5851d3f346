"""Names of axes, as files write them, and the order of a movie."""

from __future__ import annotations

import pytest

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.select.axes import check_letters, letters, movie_order


@pytest.mark.parametrize(
    "words, axes",
    [
        (["time", "channel", "y", "x"], "tcyx"),
        (["Frames", "rows", "columns"], "tyx"),
        (["y", "x", "t"], "yxt"),
        (["", "", ""], None),
        (["t", "lambda", "y", "x"], None),
        (["t", "time", "y", "x"], None),
        (["t", "y", "z"], None),
        (["y", "x"], None),
    ],
)
def test_words_of_files_become_letters_where_all_are_known(words, axes):
    assert letters(words) == axes


@pytest.mark.parametrize(
    "axes, order",
    [
        ("tyx", "tyx"),
        ("yxt", "tyx"),
        ("xyt", "tyx"),
        ("zctyx", "tzcyx"),
        ("tyxc", "tcyx"),
        ("pzyx", "zpyx"),
        ("pyx", "pyx"),
        ("cyx", "cyx"),
    ],
)
def test_frames_come_first_and_positions_are_not_time(axes, order):
    assert "".join(axes[number] for number in movie_order(axes)) == order


@pytest.mark.parametrize("axes", ["ty", "tyyx", "tqyx", "tczx", 7, None])
def test_letters_that_do_not_name_each_dimension_once_are_refused(axes):
    with pytest.raises(InvalidInputError, match="4 different letters of t, c, z, y, x, s, p"):
        check_letters(axes, 4, "array")
