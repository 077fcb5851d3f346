"""Which pages make which frame, held against the pages that are there."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tifffile

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning
from photon_gpu.sources.open import open_source
from photon_gpu.sources.tiff.page_plan import lead_axes, plan_movie
from photon_gpu.sources.tiff.reader import TiffSource
from photon_gpu.sources.tiff.scanimage_interleaving import scanimage_channels
from tests.support.sources.source_files import OME, make_movie, write_tiff, write_two_files


@pytest.mark.parametrize(
    "axes, names",
    [("T", "t"), ("TZC", "tzc"), ("I", "t"), ("Q", "t"), ("PZC", "pzc"), ("CS", None), ("CI", None)],
)
def test_axes_over_pages_have_letters_where_all_are_known(axes, names):
    assert lead_axes(axes) == names


@pytest.mark.parametrize(
    "text, channels",
    [
        ("SI.hChannels.channelSave = 1", 1),
        ("SI.hChannels.channelSave = [1;2]", 2),
        ("SI.hChannels.channelSave = [1 2 4]", 3),
        ("SI.hChannels.channelSave = []", 1),
        ("scanimage.SI5.channelsSave = [1;3]", 2),
        ("state.acq.savingChannel1=1\rstate.acq.savingChannel2=1\rstate.acq.savingChannel3=0\r", 2),
        ("no word of channels", 1),
    ],
)
def test_the_channels_of_scanimage_are_read_from_its_text(text, channels):
    assert scanimage_channels(text) == channels


def test_pages_that_follow_each_other_are_one_run(tmp_path):
    plan = plan_movie(str(write_tiff(tmp_path, make_movie((5, 8, 8)))), series=None, as_pages=False)
    assert np.diff(plan.offsets[:, 0].astype(int)).tolist() == [128] * 4
    assert plan.pages.tolist() == [0, 1, 2, 3, 4]
    for file in plan.files:
        file.close()


def stack_with_one_link(path, link):
    """Write a stack with all pixels first, and let its first directory link to the byte ``link``."""
    tifffile.imwrite(path, make_movie((31, 6, 7)), photometric="minisblack", bigtiff=True)
    with tifffile.TiffFile(path) as tif:
        directory = tif.pages.first.offset
    data = bytearray(path.read_bytes())
    tags = int.from_bytes(data[directory : directory + 8], "little")
    link_offset = directory + 8 + 20 * tags
    data[link_offset : link_offset + 8] = link.to_bytes(8, "little")
    path.write_bytes(data)
    return str(path)


def test_a_damaged_link_promises_no_endless_list_of_pages(tmp_path):
    path = stack_with_one_link(tmp_path / "m.tif", 1 << 60)
    for options in ({}, {"truncated": "keep"}, {"as_pages": True, "truncated": "keep"}):
        with pytest.raises(CorruptDataError, match="13,725,256,007,2.* pages, and at most 1.* are there"):
            open_source(path, **options)


def test_a_damaged_shape_promises_no_endless_list_of_pages(tmp_path):
    path = tmp_path / "m.tif"
    text = json.dumps({"shape": [10**12, 6, 7]})
    tifffile.imwrite(
        path, make_movie((1, 6, 7))[0], photometric="minisblack", description=text, metadata=None
    )
    with pytest.raises(CorruptDataError, match="promise 1,000,000,000,000 pages, and at most . are there"):
        open_source(path)


def test_a_damaged_link_does_not_turn_directories_into_pixels(tmp_path):
    path = stack_with_one_link(tmp_path / "m.tif", 1 << 14)
    with pytest.raises(CorruptDataError, match="pages further on, and the metadata promise 31"):
        open_source(path, truncated="keep")


def test_as_pages_is_refused_where_pages_follow_the_only_directory_of_a_cut_file(tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, make_movie((31, 6, 7)), photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        pixels = tif.pages.first.dataoffsets[0]
    os.truncate(path, pixels + 10 * 84 + 5)
    os.utime(path, (1e9, 1e9))
    with pytest.raises(CorruptDataError, match="as_pages=True would lose them: leave as_pages out"):
        open_source(path, as_pages=True, truncated="keep")
    with open_source(path, truncated="keep") as source:
        assert source.shape == (10, 6, 7)


def test_frames_written_one_by_one_are_one_movie(tmp_path):
    """tifffile calls each a series of its own, and its imread returns only the first."""
    movie = make_movie((7, 12, 10))
    for options in ({}, {"compression": "zlib"}):
        path = tmp_path / "appended.tif"
        with tifffile.TiffWriter(path) as tif:
            for frame in movie:
                tif.write(frame, photometric="minisblack", **options)
        assert tifffile.imread(path).shape == (12, 10)
        with TiffSource(path) as source:
            np.testing.assert_array_equal(source.read(0, 7), movie)


def test_several_series_are_listed_and_chosen(tmp_path):
    first, second = make_movie((5, 12, 10)), make_movie((4, 20, 10), seed=1)
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(first, photometric="minisblack")
        tif.write(second, photometric="minisblack")
    with pytest.raises(InvalidInputError, match=r"2 series: 0: .*\(5, 12, 10\).*1: .*\(4, 20, 10\).*series="):
        TiffSource(path)
    for series, movie in enumerate((first, second)):
        with TiffSource(path, series=series) as source:
            np.testing.assert_array_equal(source.read(0, len(movie)), movie)
    with pytest.raises(InvalidInputError, match="series 2 was asked for; there are 2"):
        TiffSource(path, series=2)


def test_movies_appended_in_pieces_are_read_as_pages(tmp_path):
    movie = make_movie((10, 12, 10))
    path = tmp_path / "pieces.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(movie[:5], photometric="minisblack")
        tif.write(movie[5:], photometric="minisblack")
    with pytest.raises(InvalidInputError, match="as_pages=True"):
        TiffSource(path)
    with TiffSource(path, as_pages=True) as source:
        np.testing.assert_array_equal(source.read(0, 10), movie)


def test_pages_of_differing_form_are_named(tmp_path):
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as tif:
        for image in (np.zeros((8, 8), "uint16"), np.zeros((8, 8), "uint16"), np.zeros((9, 8), "uint16")):
            tif.write(image, metadata=None, photometric="minisblack")
    with pytest.raises(InvalidInputError, match=r"page 2 differs.*ImageLength \(\(8,\) and \(9,\)\)"):
        TiffSource(path, as_pages=True)


def test_a_page_of_another_height_or_compression_inside_a_series_is_no_frame(tmp_path):
    """tifffile's frames compare the width alone with the first page."""
    movie = make_movie((4, 8, 8))
    path = write_tiff(tmp_path, movie, ome=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[2].tags["ImageLength"].overwrite(7)
    assert tifffile.imread(path).shape == movie.shape
    with pytest.raises(InvalidInputError, match="page 2 differs from the first in ImageLength"):
        TiffSource(path)


def test_files_of_differing_byte_order(tmp_path):
    write_two_files(tmp_path, make_movie((7, 12, 10)), second=">")
    with pytest.raises(InvalidInputError, match="differs from the first in byte order"):
        TiffSource(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_an_ome_movie_over_two_files(tmp_path, options):
    movie = make_movie((7, 12, 10))
    for name in write_two_files(tmp_path, movie, **options):
        with TiffSource(tmp_path / name) as source:
            np.testing.assert_array_equal(source.read(0, 7), movie)
            np.testing.assert_array_equal(source.read(3, 5), movie[3:5])
    whole = (tmp_path / "b.ome.tif").read_bytes()
    os.truncate(tmp_path / "b.ome.tif", len(whole) - 20)
    with pytest.raises(CorruptDataError):
        TiffSource(tmp_path / "a.ome.tif")
    with pytest.raises(
        InvalidInputError, match="OME-XML promises 7 pages, and the file has directories for 4"
    ):
        TiffSource(tmp_path / "a.ome.tif", as_pages=True)
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(CorruptDataError, match=r"3 of 7 pages.*are missing"):
        TiffSource(tmp_path / "a.ome.tif")
    with pytest.warns(PhotonWarning, match="lacks frames 4 to 6"):
        source = TiffSource(tmp_path / "a.ome.tif", missing="zero")
    with source:
        movie[4:] = 0
        np.testing.assert_array_equal(source.read(0, 7), movie)


def _ome(tmp_path, movie, frames):
    data = f'<TiffData IFD="0" PlaneCount="{frames}"/>'
    text = OME.format(own="x", frames=frames, data=data)
    return write_tiff(tmp_path, movie, description=text, metadata=None)


def test_metadata_that_promises_more_frames_than_there_are(tmp_path):
    path = _ome(tmp_path, make_movie((5, 12, 10)), 8)
    assert tifffile.imread(path).shape == (8, 12, 10), "tifffile fills with zeros"
    with pytest.raises(CorruptDataError, match=r"3 of 8 pages.*missing='zero'"):
        TiffSource(path)
    with pytest.raises(InvalidInputError, match=r"OME-XML promises 8 pages.*directories for 5"):
        TiffSource(path, as_pages=True)
    with pytest.warns(PhotonWarning), TiffSource(path, missing="zero") as source:
        assert source.shape == (8, 12, 10) and source.lost == ((5, 8),)
        np.testing.assert_array_equal(source.read(4, 8)[1:], 0)


def test_an_ome_movie_aborted_after_its_first_plane(tmp_path):
    path = _ome(tmp_path, make_movie((1, 12, 10)), 8)
    for options, error in (({}, CorruptDataError), ({"as_pages": True}, InvalidInputError)):
        with pytest.raises(error, match=r"7 of 8 pages|promises 8 pages"):
            TiffSource(path, **options)
    with pytest.warns(PhotonWarning), TiffSource(path, missing="zero") as source:
        assert source.shape == (8, 12, 10) and source.lost == ((1, 8),)


ONE_DIRECTORY = {
    "tifffile": {"truncate": True, "photometric": "minisblack"},
    "ImageJ": {"truncate": True, "imagej": True},
    "big-endian": {"truncate": True, "photometric": "minisblack", "byteorder": ">", "bigtiff": True},
}


@pytest.mark.parametrize("writer", ONE_DIRECTORY)
def test_a_stack_of_one_directory_is_never_taken_for_one_frame(tmp_path, writer):
    movie = make_movie((60, 12, 10), "uint16")
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, movie, **ONE_DIRECTORY[writer])
    with TiffSource(path) as source:
        np.testing.assert_array_equal(source.read(0, 60), movie)
    with pytest.raises(
        InvalidInputError, match=r"promises 60 pages, and the file has directories for 1.*Leave it out"
    ) as caught:
        TiffSource(path, as_pages=True)
    assert len(str(caught.value).replace(str(path), "")) <= 300


def test_a_stack_of_one_directory_whose_words_are_gone(tmp_path):
    movie = make_movie((60, 12, 10), "uint16")
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, movie, truncate=True, photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageDescription"].overwrite("")
        offset = tif.pages[0].dataoffsets[0]
    for options, error in (({}, CorruptDataError), ({"as_pages": True}, InvalidInputError)):
        with pytest.raises(error, match=rf"lie bytes for 59 more.*np\.memmap\(path, dtype, 'r', {offset},"):
            TiffSource(path, **options)
    np.testing.assert_array_equal(np.memmap(path, "u2", "r", offset, movie.shape), movie)


def test_two_stacks_of_one_directory_each_are_not_two_frames(tmp_path):
    """tifffile itself sees the first of them alone."""
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as tif:
        for seed in (0, 1):
            tif.write(make_movie((30, 12, 10), seed=seed), photometric="minisblack", truncate=True)
    with pytest.raises(InvalidInputError, match="leaves out 1 of the file's pages.*pass the array") as caught:
        TiffSource(path)
    assert "as_pages" not in str(caught.value)
    with pytest.raises(InvalidInputError, match="would lose frames"):
        TiffSource(path, as_pages=True)


@pytest.mark.parametrize("options", [{"imagej": True}, {"ome": True}, {}, {"metadata": None}], ids=str)
def test_files_with_a_directory_for_each_page_may_be_read_as_pages(tmp_path, options):
    movie = make_movie((6, 2, 12, 10), "uint16")
    path = tmp_path / "whole.tif"
    tifffile.imwrite(path, movie, **({"photometric": "minisblack"} | options))
    with TiffSource(path, as_pages=True) as source:
        np.testing.assert_array_equal(source.read(0, 12), movie.reshape(12, 12, 10))


def test_metadata_that_leaves_out_pages(tmp_path):
    path = _ome(tmp_path, make_movie((5, 12, 10)), 3)
    with pytest.raises(InvalidInputError, match=r"leaves out 2 of the file's pages \(the first is page 3\)"):
        TiffSource(path)
    with TiffSource(path, series=0) as source:
        assert source.shape == (3, 12, 10)


def test_damaged_ome_metadata_is_not_passed_over(tmp_path):
    movie = make_movie((6, 12, 10))
    text = OME.format(own="x", frames=6, data='<TiffData IFD="zero" PlaneCount="6"/>')
    path = write_tiff(tmp_path, movie, description=text, metadata=None)
    with pytest.raises(CorruptDataError, match=r"cannot be understood.*as_pages=True"):
        TiffSource(path)
    path = write_tiff(tmp_path, movie[:5], description=text, metadata=None)
    with pytest.raises(CorruptDataError, match="cannot be understood") as caught:
        TiffSource(path)
    assert "as_pages" not in str(caught.value), "one of the six pages would be lost"


def test_shaped_metadata_that_promises_more_than_the_chain(tmp_path):
    movie = make_movie((6, 12, 10))
    path = write_tiff(tmp_path, movie, software="tifffile.py")
    text = path.read_bytes()
    assert text.count(b'"shape": [6, 12, 10]') == 1
    path.write_bytes(text.replace(b'"shape": [6, 12, 10]', b'"shape": [9, 12, 10]'))
    with pytest.raises(CorruptDataError):
        TiffSource(path)


@pytest.mark.parametrize("promised", [3, 7])
def test_imagej_metadata_of_another_number_of_compressed_pages(tmp_path, promised):
    text = f"ImageJ=1.53t\nimages={promised}\nframes={promised}\n"
    movie = make_movie((5, 12, 10), "uint16")
    path = write_tiff(tmp_path, movie, description=text, metadata=None, compression="zlib")
    advice = r"missing='zero'" if promised > 5 else "as_pages=True"
    with pytest.raises(CorruptDataError, match=f"{promised} pages are promised, 5 are there.*{advice}"):
        TiffSource(path)
    if promised > 5:
        with pytest.warns(PhotonWarning), TiffSource(path, missing="zero") as source:
            assert source.shape == (7, 12, 10) and source.lost == ((5, 7),)
            np.testing.assert_array_equal(source.read(0, 5), movie)


def test_a_series_in_sub_directories_is_refused(tmp_path):
    path = tmp_path / "thumbnails.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(make_movie((4, 64, 64)), subifds=1, photometric="minisblack")
        tif.write(make_movie((4, 20, 30)), photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        assert len(tif.series) == 2
    with pytest.raises(InvalidInputError, match="sub-directories"):
        TiffSource(path, series=1)
    with TiffSource(path, series=0) as source:
        np.testing.assert_array_equal(source.read(0, 4), make_movie((4, 64, 64)))


def test_a_pyramid_is_read_at_full_size(tmp_path):
    movie = make_movie((4, 64, 64))
    path = tmp_path / "pyramid.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        options = {"photometric": "minisblack", "metadata": {"axes": "TYX"}, "tile": (32, 32)}
        tif.write(movie, subifds=1, **options)
        tif.write(movie[:, ::2, ::2], subfiletype=1, **options)
    with TiffSource(path) as source:
        np.testing.assert_array_equal(source.read(0, 4), movie)


@pytest.mark.parametrize(
    "options, stored, axes",
    [
        ({"ome": True, "metadata": {"axes": "TZCYX"}}, "tzcyx", "tzcyx"),
        ({"ome": True, "metadata": {"axes": "CTZYX"}}, "ctzyx", "tczyx"),
        ({"imagej": True, "metadata": {"axes": "TZCYX"}}, "tzcyx", "tzcyx"),
        ({"metadata": {"axes": "ZCTYX"}}, "zctyx", "tzcyx"),
        ({"metadata": None}, "t", "tyx"),
    ],
)
def test_axes_that_a_dialect_names_are_those_of_the_recording(tmp_path, options, stored, axes):
    movie = make_movie((3, 4, 2, 8, 8), "uint16") if len(stored) > 1 else make_movie((5, 8, 8), "uint16")
    with TiffSource(write_tiff(tmp_path, movie, **options)) as source:
        assert source.recording.axes == axes
        order = [stored.index(letter) for letter in axes] if len(stored) > 1 else [0, 1, 2]
        np.testing.assert_array_equal(source.read(0, source.shape[0]), movie.transpose(order))


def test_axes_over_pages_may_be_named_in_any_order(tmp_path):
    movie = make_movie((3, 4, 8, 8), "uint16")
    path = write_tiff(tmp_path, movie, metadata={"axes": "QZYX"})
    with open_source(path, axes="ztyx", frames="1:3") as source:
        assert source.recording.axes == "tzyx"
        np.testing.assert_array_equal(source.read(0, 2), movie.swapaxes(0, 1)[1:3])
    with pytest.raises(InvalidInputError, match="can only be read in the order"):
        open_source(path, axes="yztx")
