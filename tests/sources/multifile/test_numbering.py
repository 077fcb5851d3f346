"""Order of files by the numbers in their names."""

from __future__ import annotations

import pytest

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.multifile.numbering import order_files


def test_numbers_count_as_numbers():
    names = ["m_2.tif", "m_10.tif", "m_9.tif", *(f"m_{n}.tif" for n in (1, *range(3, 9)))]
    assert order_files(names, "here").columns == (tuple(f"m_{n}.tif" for n in range(1, 11)),)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([f"m_{n:03}.tif" for n in (1, 2, 4)], "1 of 4 files are missing: m_003.tif"),
        (["a_1_1.tif", "a_1_2.tif", "a_2_2.tif"], r"a_2_1\.tif"),
        (["run_00001.tif", "run_00003.tif"], "run_00002.tif"),
        (["r_Ch1_01.tif", "r_Ch1_02.tif", "r_Ch2_01.tif"], "1 of 4 files are missing: r_Ch2_02.tif"),
        (["x.tif", "x_1.tif", "x_3.tif"], "x_2.tif"),
    ],
)
def test_a_gap_is_refused_by_name(names, missing):
    with pytest.raises(InvalidInputError, match=missing) as error:
        order_files(names, "here")
    assert "missing='zero'" in str(error.value)


def test_a_gap_that_is_allowed_is_empty_or_joined():
    names = ["m_1.tif", "m_3.tif"]
    assert order_files(names, "here", missing="zero").columns == (("m_1.tif", None, "m_3.tif"),)
    assert order_files(names, "here", missing="skip").columns == (tuple(names),)


def test_channels_and_planes_of_names_are_axes():
    names = [f"img_channel00{c}_time0{t}_z0{z}.tif" for t in (0, 1) for z in (0, 1) for c in (0, 1)]
    order = order_files(names, "here")
    assert order.channels == ("channel000", "channel001") and order.planes == 2
    assert order.columns[1] == ("img_channel001_time00_z00.tif", "img_channel001_time01_z00.tif")
    letters = [f"Chan{letter}_0001_000{n}.tif" for letter in "AB" for n in (1, 2)]
    assert order_files(letters, "here").channels == ("ChanA", "ChanB")


def test_a_stack_over_planes_alone_has_its_planes_as_frames():
    assert order_files(["a_z2.tif", "a_z1.tif"], "here").columns == (("a_z1.tif", "a_z2.tif"),)


@pytest.mark.parametrize(
    "names",
    [
        ["a_1.tif", "b_1.tif"],
        [f"m_Pos{p}_t{t}.tif" for p in (0, 1) for t in (0, 1)],  # positions are not time
        ["x_1.tif", "x_01.tif"],
    ],
)
def test_names_of_several_movies_are_refused(names):
    with pytest.raises(InvalidInputError, match="files of one movie"):
        order_files(names, "here")


def test_a_list_without_numbers_keeps_its_order():
    names = ["rest.tif", "light.tif"]
    assert order_files(names, "here", ordered=True).columns == (tuple(names),)
