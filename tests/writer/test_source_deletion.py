"""A source goes only if the store has all that its file holds; what would be lost is named."""

import os
import re

import numpy as np
import pytest
import tifffile

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.recording import Document
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.npy import NpySource
from photon_gpu.sources.tiff.reader import TiffSource
from photon_gpu.store import source_metadata
from photon_gpu.writer import source_deletion
from photon_gpu.writer.source_deletion import KeptWords, account_tiff
from tests.support.sources.source_files import make_movie, write_scanimage, write_tiff

MOVIE = make_movie((30, 32, 32), "uint16")

# What a TIFF may be like and still hold nothing but pixels and their shape.
BARE = {
    "shaped": {},
    "plain": {"metadata": None},
    "bigtiff": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "big-endian bigtiff": {"bigtiff": True, "byteorder": ">", "metadata": None},
    "strips": {"rowsperstrip": 5, "metadata": None},
    "zlib": {"compression": "zlib"},
    "zstd strips": {"compression": "zstd", "predictor": True, "rowsperstrip": 5},
    "tiled": {"tile": (16, 16)},
    "one directory": {"truncate": True},
    "one big-endian directory": {"truncate": True, "byteorder": ">"},
}


def encode(source, folder):
    options = {"layout": "lossless", "check": "full", "delete_source": True, "chunk_frames": 7}
    return pg.encode(source, folder / "m.zarr", **options)


def refused(path, tmp_path, match):
    with pytest.raises(InvalidInputError, match=match) as caught:
        encode(str(path), tmp_path)
    assert path.exists() and not (tmp_path / "m.zarr").exists()
    assert len(str(caught.value).replace(str(path), "")) <= 300


def goes(path, folder):
    encode(str(path), folder)
    assert not path.exists() and pg.verify(folder / "m.zarr").ok


def documents_of(path):
    with pg.open_source(path) as source:
        return source.recording.documents


@pytest.mark.parametrize("layout", BARE)
@pytest.mark.parametrize("dtype", ["uint16", "int8", "float32"])
def test_a_file_of_pixels_alone_goes(tmp_path, layout, dtype):
    movie = make_movie((30, 32, 32), dtype)
    path = write_tiff(tmp_path, movie, **BARE[layout])
    encode(str(path), tmp_path)
    assert not path.exists()
    np.testing.assert_array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_of_a_pixel_are_compared_where_they_lie(tmp_path, planar):
    movie = make_movie((5, 3, 18, 20), "uint16")
    path = tmp_path / "rgb.tif"
    stored = np.moveaxis(movie, 1, -1) if planar == "contig" else movie
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, metadata=None)
    encode(str(path), tmp_path)
    assert not path.exists()
    np.testing.assert_array_equal(pg.open(tmp_path / "m.zarr").counts[...], movie)


WORDS = {
    "ImageJ": ({"imagej": True}, r"ImageDescription \(ImageJ\)"),
    "ImageJ, one directory": ({"imagej": True, "truncate": True}, r"ImageDescription \(ImageJ\)"),
    "OME": ({"ome": True, "metadata": {"axes": "TYX"}}, r"ImageDescription \(OME-XML\) \([\d,]+ bytes\)"),
    "axes": ({"metadata": {"axes": "TYX"}}, "ImageDescription"),
    "text": ({"description": "stage 3, mouse 12", "metadata": None}, r"ImageDescription \(18 bytes\)"),
    "software": ({"software": "ScanBox 4", "metadata": None}, r"Software \(10 bytes\)"),
    "date": ({"datetime": "2024:05:06 07:08:09"}, r"DateTime \(20 bytes\)"),
    "pixel size": ({"resolution": (0.5, 0.5), "resolutionunit": "CENTIMETER"}, "XResolution"),
    "private tag": ({"extratags": [(65000, "s", 0, "secret", True)]}, r"tag 65000 \(7 bytes\)"),
    "sub-directories": ({"subifds": 1}, "SubIFDs"),
}


@pytest.mark.parametrize("words", WORDS)
def test_words_are_named_and_go_where_the_store_has_them(tmp_path, words):
    options, named = WORDS[words]
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(
        path, **{key: options[key] for key in ("imagej", "ome") if key in options}
    ) as tif:
        rest = {key: value for key, value in options.items() if key not in ("imagej", "ome")}
        tif.write(MOVIE, **({} if "imagej" in options else {"photometric": "minisblack"}), **rest)
        if "subifds" in rest:
            tif.write(MOVIE[:, :16, :16], subfiletype=1, photometric="minisblack")
    assert any(re.search(named, f"{one} ({nbytes} bytes)") for one, nbytes in account_tiff(path).lost.items())
    if words == "sub-directories":
        refused(path, tmp_path, named)
    else:
        goes(path, tmp_path)


def test_imagej_metadata_and_the_notes_in_it_are_kept(tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, MOVIE, imagej=True, metadata={"Info": "precious"})
    assert "IJMetadata" in account_tiff(path).lost
    goes(path, tmp_path)


@pytest.mark.parametrize("big", [True, False])
def test_scanimage_headers_and_frame_times_are_named_and_kept(tmp_path, big):
    path = write_scanimage(tmp_path / "m.tif", MOVIE, big=big, metadata="header" if big else "description")
    assert "ImageDescription (ScanImage)" in account_tiff(path).lost
    assert "ScanImage header" in account_tiff(path).lost or not big
    goes(path, tmp_path)
    kept = pg.open(tmp_path / "m.zarr").source_metadata["tiff/ImageDescription"].text
    assert ("frameNumbers" if big else "scanimage.SI5") in kept


def test_words_of_every_page_are_counted(tmp_path):
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as tif:
        for number, frame in enumerate(MOVIE):
            tif.write(frame, description=f"time {number:04d}", contiguous=False, metadata=None)
    assert account_tiff(path).lost == {"ImageDescription": 30 * 10}
    goes(path, tmp_path)


def test_words_that_the_store_lost_keep_the_file(tmp_path, monkeypatch):
    path = write_tiff(tmp_path, MOVIE, description="mouse 12", metadata=None)
    read = source_metadata.unpack
    monkeypatch.setattr(source_metadata, "unpack", lambda data, url: read(data, url).replace(documents=()))
    with pytest.raises(CorruptDataError, match="was kept: the store has another ImageDescription"):
        goes(path, tmp_path)
    assert path.exists()


def test_what_the_store_keeps_is_not_lost(tmp_path):
    path = write_tiff(tmp_path, MOVIE, description="mouse 12", metadata=None)
    assert account_tiff(path, KeptWords(documents_of(path))).lost == {}
    other = Document(name="tiff/ImageDescription", media_type="text/plain", data=b"mouse 13")
    changed = [other if one.name == other.name else one for one in documents_of(path)]
    assert account_tiff(path, KeptWords(changed)).lost == {"ImageDescription": 9}


@pytest.mark.parametrize("layout", BARE)
def test_bytes_that_nothing_points_to_are_named(tmp_path, layout):
    path = write_tiff(tmp_path, MOVIE, **BARE[layout])
    with path.open("ab") as file:
        file.write(b"PRECIOUS" * 100)
    # tifffile leaves a few bytes of its own at the end.
    refused(path, tmp_path, r"data from byte [\d,]+ on that no directory points to \(8\d\d bytes\)")


def test_a_page_of_zeros_is_no_padding(tmp_path):
    path = write_tiff(tmp_path, MOVIE, metadata=None)
    with path.open("ab") as file:
        file.write(bytes(MOVIE[0].nbytes))
    refused(path, tmp_path, r"\(2,0\d\d bytes\)")


def test_npy_files_with_more_than_one_array(tmp_path):
    path = tmp_path / "two.npy"
    with path.open("wb") as file:
        np.save(file, MOVIE)
        np.save(file, MOVIE + 1)
    refused(path, tmp_path, rf"data after the array \({MOVIE.nbytes + 128:,} bytes\)")


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_in_any_order_go(tmp_path, order):
    path = tmp_path / "m.npy"
    np.save(path, np.asarray(MOVIE, dtype=">u2", order=order))
    encode(str(path), tmp_path)
    assert not path.exists()
    np.testing.assert_array_equal(pg.open(tmp_path / "m.zarr").counts[...], MOVIE)


def test_links_are_refused(tmp_path):
    path = tmp_path / "m.npy"
    np.save(path, MOVIE)
    (tmp_path / "link.npy").symlink_to(path)
    refused(tmp_path / "link.npy", tmp_path, "symbolic link to .*m.npy")
    os.link(path, tmp_path / "second.npy")
    refused(path, tmp_path, "2 names")
    (tmp_path / "second.npy").unlink()
    encode(str(path), tmp_path)
    assert not path.exists()


def test_one_file_of_a_movie_of_several_is_refused(tmp_path):
    from tests.support.sources.source_files import write_two_files

    write_two_files(tmp_path, make_movie((7, 12, 10)))
    result = account_tiff(tmp_path / "a.ome.tif", KeptWords(documents_of(tmp_path / "a.ome.tif")))
    assert not result.lost
    with pytest.raises(InvalidInputError, match="4 of the movie's 7 pages, and is one file of several"):
        path = tmp_path / "a.ome.tif"
        source_deletion._refuse_losses(
            path.name, [source_deletion._SourceFile(path, result, ())], 7 * 12 * 10
        )


def test_a_movie_of_fewer_frames_than_the_file_is_refused(tmp_path):
    path = write_tiff(tmp_path, MOVIE, metadata=None)
    some = ArraySource(MOVIE[:10])
    some.name = str(path)
    with pytest.raises(InvalidInputError, match="holds 30 pages and more than this movie, which has 10"):
        encode(some, tmp_path)


@pytest.mark.parametrize("layout", ["plain", "zlib", "one directory", "big-endian", "npy"])
def test_a_reader_that_reads_other_pixels_deletes_nothing(tmp_path, monkeypatch, layout):
    """What a full check cannot see: the movie agrees with what was read, not with what is there."""
    if layout == "npy":
        path = tmp_path / "m.npy"
        np.save(path, MOVIE)
        source_type = NpySource
    else:
        path = write_tiff(tmp_path, MOVIE, **BARE[layout])
        source_type = TiffSource
    right = source_type.read

    def read(self, start, stop):
        frames = right(self, start, stop).copy()
        if start <= 12 < stop:
            frames[12 - start] = 0
        return frames

    monkeypatch.setattr(source_type, "read", read)
    with pytest.raises(CorruptDataError, match="was kept: its page 12 is not among the frames"):
        encode(str(path), tmp_path)
    assert path.exists()


def test_all_files_of_a_movie_go_or_none(tmp_path):
    paths = [tmp_path / f"m_{number}.tif" for number in range(3)]
    for number, path in enumerate(paths):
        part = MOVIE[number * 10 : number * 10 + 10]
        tifffile.imwrite(path, part, photometric="minisblack", metadata=None)
    with paths[1].open("ab") as file:
        file.write(b"something" * 9000)
    with pytest.raises(InvalidInputError, match=r"m_1\.tif is not deleted: .* data from byte"):
        encode(str(tmp_path / "m_*.tif"), tmp_path)
    tifffile.imwrite(paths[1], MOVIE[10:20], photometric="minisblack", metadata=None)
    os.link(paths[2], tmp_path / "other name.tif")
    with pytest.raises(InvalidInputError, match=r"m_2\.tif has 2 names"):
        encode(str(tmp_path / "m_*.tif"), tmp_path)
    (tmp_path / "other name.tif").unlink()
    assert all(path.exists() for path in paths)
    encode(str(tmp_path / "m_*.tif"), tmp_path)
    assert not any(path.exists() for path in paths)
    np.testing.assert_array_equal(pg.open(tmp_path / "m.zarr").counts[...], MOVIE)


def test_a_truncated_source_is_not_deleted(tmp_path):
    path = tmp_path / "m.npy"
    np.save(path, MOVIE)
    os.truncate(path, path.stat().st_size - 10)
    os.utime(path, (1e9, 1e9))
    options = {"layout": "lossless", "check": "full", "delete_source": True, "truncated": "keep"}
    with pytest.raises(InvalidInputError, match=r"m\.npy is not deleted: the source was truncated"):
        pg.encode(path, tmp_path / "m.zarr", **options)
