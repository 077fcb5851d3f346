"""TIFF stacks as tifffile, ImageJ, Bio-Formats and ScanImage lay them out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from photon_gpu.errors import CorruptDataError, InvalidInputError, PhotonWarning, UnsupportedTypeError
from photon_gpu.sources.open import open_source
from photon_gpu.sources.tiff.reader import TiffSource
from tests.support.sources.source_files import make_movie, write_scanimage, write_tiff

LAYOUTS = {
    "shaped": {},
    "plain": {"metadata": None},
    "bigtiff": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "big-endian bigtiff": {"bigtiff": True, "byteorder": ">", "metadata": None},
    "imagej": {"imagej": True},
    "ome": {"ome": True, "metadata": {"axes": "TYX"}},
    "strips": {"rowsperstrip": 5, "metadata": None},
    "zlib": {"compression": "zlib"},
    "lzw": {"compression": "lzw", "metadata": None},
    "lzw ome": {"compression": "lzw", "ome": True, "metadata": {"axes": "TYX"}},
    "zstd strips": {"compression": "zstd", "predictor": True, "rowsperstrip": 5},
    "packbits": {"compression": "packbits"},
    "lzma": {"compression": "lzma", "predictor": True},
    "big-endian lzw": {"compression": "lzw", "byteorder": ">", "predictor": True, "rowsperstrip": 3},
    "tiled": {"tile": (16, 16)},
    "tiled zlib": {"tile": (16, 32), "compression": "zlib", "predictor": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_every_layout_reads_as_it_was_written(tmp_path, layout, dtype):
    if dtype == "uint8" and layout == "lzma":
        pytest.skip("same as int16")
    movie = make_movie((9, 21, 37), dtype)
    with TiffSource(write_tiff(tmp_path, movie, **LAYOUTS[layout])) as source:
        assert (source.shape, source.dtype) == (movie.shape, movie.dtype)
        np.testing.assert_array_equal(source.read(0, 9), movie)
        np.testing.assert_array_equal(source.read(4, 7), movie[4:7])


@pytest.mark.parametrize("layout", [*LAYOUTS, "scanimage", "scanimage classic"])
def test_cut_anywhere_it_raises_or_is_exactly_right(tmp_path, layout):
    """tifffile itself returns fewer frames, or zeros, for hundreds of these cuts."""
    movie = make_movie((4, 6, 9), "int16")
    if layout.startswith("scanimage"):
        path = write_scanimage(tmp_path / "si.tif", movie, big=layout == "scanimage")
    else:
        path = write_tiff(tmp_path, movie, **LAYOUTS[layout])
    whole = path.read_bytes()
    with TiffSource(path) as source:
        np.testing.assert_array_equal(source.read(0, 4), movie)
    refused = kept = 0
    for length in reversed(range(len(whole))):
        os.truncate(path, length)
        try:
            with TiffSource(path) as source:
                frames = source.read(0, source.shape[0])
        except CorruptDataError as error:
            refused += 1
            assert str(path) in str(error)
            os.utime(path, (1e9, 1e9))  # nobody writes it
            if "truncated='keep'" in str(error):
                kept += 1
                with TiffSource(path, truncated="keep") as source:
                    frames = source.read(0, source.shape[0])
                    np.testing.assert_array_equal(frames, movie[: len(frames)])
                    assert source.truncation.frames == len(frames) > 0
        else:
            np.testing.assert_array_equal(frames, movie)
    assert refused >= movie.nbytes - 16 if "compression" not in LAYOUTS.get(layout, {}) else refused > 300
    assert kept > refused // 12 or "ome" in layout, "the OME-XML is the last thing that is written"


def test_a_truncated_file_says_how_much_is_whole(tmp_path):
    movie = make_movie((10, 32, 32))
    path = write_scanimage(tmp_path / "si.tif", movie)
    os.truncate(path, path.stat().st_size * 3 // 4)
    with pytest.raises(CorruptDataError, match=r"si\.tif.*truncated"):
        TiffSource(path)
    path = write_tiff(tmp_path, movie, metadata=None)
    os.truncate(path, path.stat().st_size - 500)
    with pytest.raises(CorruptDataError, match="truncated after 7 whole frames"):
        TiffSource(path)


def test_a_file_that_shrinks_after_opening_is_an_error(tmp_path):
    movie = make_movie((10, 32, 32))
    for path in (write_tiff(tmp_path, movie), write_tiff(tmp_path, movie, compression="zlib")):
        with TiffSource(path) as source:
            os.truncate(path, path.stat().st_size // 2)
            with pytest.raises(CorruptDataError, match="ended"):
                source.read(0, 10)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "lzma"])
def test_a_cut_strip_is_an_error_though_the_file_is_long_enough(tmp_path, compression):
    movie = make_movie((3, 40, 40))
    path = write_tiff(tmp_path, movie, compression=compression, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tag = tif.pages[1].tags["StripByteCounts"]
        tag.overwrite(tag.value[0] // 2)
    with TiffSource(path) as source:
        np.testing.assert_array_equal(source.read(0, 1), movie[:1])
        with pytest.raises(CorruptDataError, match="of page 1 does not decode"):
            source.read(0, 3)


def test_flipped_bytes_in_a_checksummed_strip_are_an_error(tmp_path):
    movie = make_movie((3, 40, 40))
    path = write_tiff(tmp_path, movie, compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[2].dataoffsets[0] + 50
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)
    with TiffSource(path) as source, pytest.raises(CorruptDataError, match="of page 2 does not decode"):
        source.read(0, 3)


@pytest.mark.parametrize("tag, value", [("StripOffsets", 0), ("StripByteCounts", 0)])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_page_without_pixels_is_an_error_not_zeros(tmp_path, tag, value, compression):
    path = write_tiff(tmp_path, make_movie((3, 8, 8)), compression=compression, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[1].tags[tag].overwrite(value)
    with pytest.raises(
        CorruptDataError, match=r"1 of 3 pages were never written \(frames 1\).*missing='zero'"
    ):
        TiffSource(path)


@pytest.mark.parametrize(
    "tag, options",
    [
        ("StripOffsets", {}),
        ("StripByteCounts", {}),
        ("StripOffsets", {"compression": "zlib"}),
        ("StripByteCounts", {"compression": "zlib", "rowsperstrip": 3}),
        ("StripOffsets", {"rowsperstrip": 3}),
        ("StripOffsets", {"byteorder": ">"}),
    ],
)
def test_pages_without_pixels_are_zeros_if_that_was_asked_for(tmp_path, tag, options):
    movie = make_movie((6, 8, 8))
    path = write_tiff(tmp_path, movie, metadata=None, **options)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for number in (2, 3, 5):
            page_tag = tif.pages[number].tags[tag]
            page_tag.overwrite([0, *np.atleast_1d(page_tag.value)[1:]])  # one strip of several is enough
    with pytest.warns(PhotonWarning, match="lacks frames 2 to 3, 5, wholly or in part: zeros"):
        source = TiffSource(path, missing="zero")
    movie[[2, 3, 5]] = 0
    with source:
        assert source.lost == ((2, 4), (5, 6))
        np.testing.assert_array_equal(source.read(0, 6), movie)
        np.testing.assert_array_equal(source.read(3, 5), movie[3:5])


def test_bad_values_of_missing(tmp_path):
    path = write_tiff(tmp_path, make_movie((3, 8, 8)))
    for missing in ("fill", "zeros", 0):
        with pytest.raises(InvalidInputError, match="missing is .*'error', 'zero'"):
            TiffSource(path, missing=missing)


@pytest.mark.parametrize("tag", ["StripOffsets", "StripByteCounts"])
def test_a_strip_beyond_the_file_is_an_error_even_near_two_to_the_64(tmp_path, tag):
    path = write_tiff(tmp_path, make_movie((3, 8, 8)), bigtiff=True, metadata=None, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[2].tags[tag].overwrite(2**64 - 2, dtype=16)
    with pytest.raises(CorruptDataError, match="page 2 lies beyond the end"):
        TiffSource(path)


def test_strips_that_lack_their_lengths(tmp_path):
    path = write_tiff(tmp_path, make_movie((3, 9, 8)), rowsperstrip=3, metadata=None, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tag = tif.pages[1].tags["StripByteCounts"]
        tag.overwrite(tag.value[:2])
    with pytest.raises(CorruptDataError, match=r"page 1 lists 3 offsets and 2 lengths.* it needs 3"):
        TiffSource(path)


def test_strips_that_lie_in_another_order_on_a_later_page(tmp_path):
    """tifffile reads them as one stretch where the first page is one."""
    movie = make_movie((3, 9, 8))
    path = write_tiff(tmp_path, movie, rowsperstrip=3, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tag = tif.pages[1].tags["StripOffsets"]
        tag.overwrite(tag.value[::-1])
    movie[1] = np.concatenate([movie[1, 6:], movie[1, 3:6], movie[1, :3]])
    with TiffSource(path) as source:
        np.testing.assert_array_equal(source.read(0, 3), movie)


# --- axes ---


@pytest.mark.parametrize(
    "axes, shape, expected",
    [
        ("TYX", (5, 8, 9), (0, 1, 2)),
        ("TZYX", (5, 3, 8, 9), (0, 1, 2, 3)),
        ("TCZYX", (5, 2, 3, 8, 9), (0, 1, 2, 3, 4)),
        ("TZCYX", (5, 3, 2, 8, 9), (0, 1, 2, 3, 4)),
        ("ZTCYX", (3, 5, 2, 8, 9), (1, 0, 2, 3, 4)),
        ("CTYX", (2, 5, 8, 9), (1, 0, 2, 3)),
        ("ZYX", (5, 8, 9), (0, 1, 2)),
        ("CZYX", (2, 5, 8, 9), (1, 0, 2, 3)),
        ("CYX", (5, 8, 9), (0, 1, 2)),
    ],
)
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_ome_axes_become_time_first(tmp_path, axes, shape, expected, compression):
    data = make_movie(shape)
    path = write_tiff(tmp_path, data, ome=True, metadata={"axes": axes}, compression=compression)
    movie = data.transpose(expected)
    with TiffSource(path) as source:
        assert source.shape == movie.shape
        np.testing.assert_array_equal(source.read(0, len(movie)), movie)
        np.testing.assert_array_equal(source.read(1, 2), movie[1:2])


def test_an_imagej_hyperstack_keeps_its_axes(tmp_path):
    movie = make_movie((4, 3, 2, 8, 9))
    with TiffSource(write_tiff(tmp_path, movie, imagej=True, metadata={"axes": "TZCYX"})) as source:
        assert source.shape == movie.shape
        np.testing.assert_array_equal(source.read(1, 3), movie[1:3])


def test_imagej_stack_that_describes_its_first_page_only(tmp_path):
    """As ImageJ writes more than 4 GB: one directory, all planes behind it."""
    movie = make_movie((6, 8, 9), "uint16")
    path = tmp_path / "imagej.tif"
    text = "ImageJ=1.53t\nimages=6\nslices=6\n"
    tifffile.imwrite(path, movie[0], description=text, metadata=None, byteorder=">")
    with path.open("ab") as file:
        file.write(movie[1:].astype(">u2").tobytes())
    with TiffSource(path) as source:
        assert source.shape == movie.shape
        np.testing.assert_array_equal(source.read(0, 6), movie)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises((CorruptDataError, InvalidInputError)):
        TiffSource(path)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"byteorder": ">"}])
def test_samples_of_a_pixel_come_before_height_and_width(tmp_path, planar, options):
    movie = make_movie((5, 3, 18, 20), "uint16")
    stored = np.moveaxis(movie, 1, -1) if planar == "contig" else movie
    path = tmp_path / "rgb.tif"
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, **options)
    with TiffSource(path) as source:
        assert source.shape == movie.shape
        np.testing.assert_array_equal(source.read(0, 5), movie)
        np.testing.assert_array_equal(source.read(2, 4), movie[2:4])


def test_packed_twelve_bit_pixels(tmp_path):
    movie = make_movie((4, 8, 10), "uint16") & 0xFFF
    path = write_tiff(tmp_path, movie, metadata=None)
    packed = tmp_path / "packed.tif"
    with tifffile.TiffWriter(packed) as tif:
        import imagecodecs

        for frame in movie:
            tif.write(
                iter([imagecodecs.packints_encode(frame, 12)]),
                shape=frame.shape,
                dtype="uint16",
                bitspersample=12,
                metadata=None,
                photometric="minisblack",
            )
    with TiffSource(packed) as source, TiffSource(path) as plain:
        np.testing.assert_array_equal(source.read(0, 4), plain.read(0, 4))


@pytest.mark.parametrize("options", [{}, {"tile": (16, 32)}, {"rowsperstrip": 8}])
def test_jpeg_pages_decode_as_tifffile_decodes_them(tmp_path, options):
    path = write_tiff(tmp_path, make_movie((4, 24, 40), "uint8"), compression="jpeg", **options)
    with TiffSource(path) as source:
        np.testing.assert_array_equal(source.read(0, 4), tifffile.imread(path))


# --- ScanImage ---


@pytest.mark.parametrize("big, metadata", [(True, "header"), (True, "software"), (False, "description")])
@pytest.mark.parametrize("channels", [1, 2])
def test_scanimage_keeps_negatives_and_splits_channels(scanimage, big, metadata, channels):
    pages = make_movie((12, 16, 10))
    assert pages.min() < -100
    movie = pages if channels == 1 else pages.reshape(6, 2, 16, 10)
    with TiffSource(scanimage(pages, channels=channels, big=big, metadata=metadata)) as source:
        assert source.shape == movie.shape
        np.testing.assert_array_equal(source.read(0, len(movie)), movie)
        np.testing.assert_array_equal(source.read(2, 5), movie[2:5])


def test_our_scanimage_files_are_scanimage_files(scanimage):
    with tifffile.TiffFile(scanimage(make_movie((4, 16, 10)), channels=2)) as tif:
        assert tif.is_scanimage and tif.is_bigtiff
        assert tif.scanimage_metadata["FrameData"]["SI.hStackManager.framesPerSlice"] == 1000


def test_a_scanimage_frame_that_lacks_a_channel(scanimage):
    path = scanimage(make_movie((7, 16, 10)), channels=2)
    with pytest.raises(CorruptDataError, match=r"2 channels, and 7 pages.*missing='zero'") as caught:
        TiffSource(path)
    assert "as_pages" not in str(caught.value), "channels would become time"
    with pytest.warns(PhotonWarning, match="lacks frames 3"), TiffSource(path, missing="zero") as source:
        assert source.shape == (4, 2, 16, 10) and source.lost == ((3, 4),)
        np.testing.assert_array_equal(source.read(3, 4)[0], [make_movie((7, 16, 10))[6], np.zeros((16, 10))])
    with pytest.warns(PhotonWarning, match="2 channels, which as_pages takes for frames in turn"):
        source = TiffSource(path, as_pages=True)
    with source:
        assert source.shape == (7, 16, 10)


def test_a_classic_scanimage_file_is_not_guessed_from_its_size(scanimage):
    """tifffile computes page places from the file size there; pages may differ."""
    path = scanimage(make_movie((8, 16, 10)), big=False, metadata="description")
    with path.open("ab") as file:
        file.write(bytes(5000))
    with TiffSource(path) as source:
        assert source.shape == (8, 16, 10)


# --- what is not a movie ---


def test_one_page_says_how_to_add_the_time_axis(tmp_path):
    image = make_movie((8, 9))
    for options in ({}, {"metadata": None}, {"ome": True}, {"imagej": True}, {"compression": "zlib"}):
        path = write_tiff(tmp_path, image, **options)
        with pytest.raises(InvalidInputError, match=r"one page.*as_pages=True.*image\[np\.newaxis\]"):
            TiffSource(path)
        with TiffSource(path, as_pages=True) as source:
            np.testing.assert_array_equal(source.read(0, 1), image[np.newaxis])


def test_one_scanimage_page_is_an_image_too(scanimage):
    with pytest.raises(InvalidInputError, match="one page"):
        TiffSource(scanimage(make_movie((1, 8, 9))))


@pytest.mark.parametrize("dtype", ["complex64", "float16", "bool"])
def test_dtypes_that_are_no_counts(tmp_path, dtype):
    data = make_movie((3, 8, 16), "float32").astype(dtype)
    with pytest.raises(UnsupportedTypeError, match=r"float16|complex64|bool"):
        TiffSource(write_tiff(tmp_path, data))


def test_a_compression_nobody_knows(tmp_path):
    path = write_tiff(tmp_path, make_movie((3, 8, 8)), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for page in tif.pages:
            page.tags["Compression"].overwrite(64999)
    with pytest.raises(InvalidInputError, match="cannot decode TIFF compression 64999"):
        TiffSource(path)


def test_options_pass_through_open_source(tmp_path):
    movie = make_movie((6, 2, 8, 9))
    path = write_tiff(tmp_path, movie, ome=True, metadata={"axes": "TCYX"})
    with open_source(path, as_pages=True) as source:
        assert source.shape == (12, 8, 9)
    with pytest.raises(InvalidInputError, match="exclude each other"):
        open_source(path, as_pages=True, series=0)


# --- the real thing ---


@pytest.mark.skipif("PHOTON_GPU_CORPUS" not in os.environ, reason="PHOTON_GPU_CORPUS is not set")
@pytest.mark.parametrize(
    "name, shape, dtype",
    [("2p_cortex.tif", (300, 200, 200), "int16"), ("lattice_lightsheet_z.tif", (88, 320, 256), "uint16")],
)
def test_real_recordings_are_read_as_tifffile_reads_them(name, shape, dtype):
    path = Path(os.environ["PHOTON_GPU_CORPUS"]) / name
    with open_source(path) as source:
        assert (source.shape, source.dtype) == (shape, np.dtype(dtype))
        np.testing.assert_array_equal(source.read(20, 60), tifffile.imread(path)[20:60])
