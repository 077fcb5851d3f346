"""NumPy's own files."""

from __future__ import annotations

import io
import os
import warnings
import zipfile

import fsspec
import numpy as np
import pytest

from photon_gpu.errors import CorruptDataError, InvalidInputError, StoreNotFoundError, UnsupportedTypeError
from photon_gpu.sources.open import open_source
from tests.support.sources.source_files import make_movie


def as_npy(movie, version=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, movie, version=version)
    return buffer.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", ">f4"])
@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray])
def test_versions_orders_and_bytes(tmp_path, movie, version, dtype, order):
    stored = order(movie.astype(dtype))
    path = tmp_path / "movie.npy"
    path.write_bytes(as_npy(stored, version))
    with open_source(path) as source:
        assert source.dtype.isnative
        np.testing.assert_array_equal(source.read(3, 9), stored[3:9])


def test_a_large_range_of_a_local_file_is_mapped_not_read(tmp_path, movie):
    path = tmp_path / "movie.npy"
    np.save(path, movie)
    with path.open("r+b") as file:  # a hole of 40 GB behind a changed header
        file.write(as_npy(np.zeros((0, 10**5, 10**5), "int16")).replace(b"(0, ", b"(2, "))
        file.truncate(4 * 10**10 + 128)
    with open_source(path) as source:
        assert source.shape == (2, 10**5, 10**5)
        frames = source.read(1, 2)  # 20 GB
        assert not frames.flags.owndata and frames[0, 0, 0] == 0


@pytest.mark.parametrize("where", ["local", "remote"])
def test_cut_anywhere_it_is_corrupt(tmp_path, where):
    whole = as_npy(make_movie((3, 4, 5)))
    for length in range(len(whole)):
        if where == "local":
            location = tmp_path / "cut.npy"
            location.write_bytes(whole[:length])
        else:
            location = f"memory://{tmp_path.name}/cut.npy"
            fsspec.filesystem("memory").pipe_file(f"/{tmp_path.name}/cut.npy", whole[:length])
        with pytest.raises(CorruptDataError, match=r"cut\.npy"):
            open_source(location)


@pytest.mark.parametrize(
    "array", [np.array([{}, {}, {}]), np.zeros((2, 3, 4), "c8"), np.zeros((3, 4, 5), [("ä", "u2")])]
)
def test_objects_and_structures_are_never_unpickled(tmp_path, array):
    path = tmp_path / "x.npy"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy remarks on format 3.0
        np.save(path, array, allow_pickle=True)
        np.savez(tmp_path / "x.npz", array)
    for location in (path, tmp_path / "x.npz"):
        with pytest.raises(UnsupportedTypeError):
            open_source(location)


def test_an_image_says_how_to_add_the_time_axis(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((4, 5), "uint16"))
    with pytest.raises(InvalidInputError, match=r"image\.npy.*image\[np\.newaxis\]"):
        open_source(tmp_path / "image.npy")


# --- behind a URL ---


def test_a_remote_file_is_read_by_byte_ranges(tmp_path, movie):
    url = f"memory://{tmp_path.name}/movie.npy"
    fs = fsspec.filesystem("memory")
    with fs.open(url, "wb") as file:
        file.write(as_npy(movie.astype(">i2")))
    source = open_source(url, storage_options={"skip_instance_cache": True})
    np.testing.assert_array_equal(source.read(7, 9), movie[7:9])
    assert source.dtype == np.dtype("int16") and source.name == url
    fs.pipe_file(url, fs.cat_file(url)[:-10])
    with pytest.raises(CorruptDataError, match="truncated"):
        source.read(0, 20)
    fs.rm(url)
    with pytest.raises(StoreNotFoundError, match="vanished"):
        source.read(0, 20)


def test_fortran_order_is_refused_where_it_cannot_be_mapped(tmp_path, movie):
    url = f"memory://{tmp_path.name}/fortran.npy"
    fsspec.filesystem("memory").pipe_file(url, as_npy(np.asfortranarray(movie)))
    np.savez(tmp_path / "fortran.npz", np.asfortranarray(movie))
    for location in (url, tmp_path / "fortran.npz"):
        with pytest.raises(InvalidInputError, match="ascontiguousarray"):
            open_source(location)


# --- archives ---


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_key_chooses_one_of_several_arrays(tmp_path, movie, save):
    other = make_movie((4, 5, 6), "uint8")
    path = tmp_path / "two.npz"
    save(path, first=movie, second=other, rate=30.0)
    with pytest.raises(
        InvalidInputError, match=r"2 arrays could be the movie.*key=.*first int16 \(20, 12, 16\), second"
    ):
        open_source(path)
    for location, options in ((path, {"key": "second"}), (f"{path}::second", {})):
        with open_source(location, **options) as source:
            assert source.name == f"{path}::second"
            np.testing.assert_array_equal(source.read(0, 4), other)
    with pytest.raises(InvalidInputError, match=r"no array 'third'.*first"):
        open_source(path, key="third")
    with pytest.raises(InvalidInputError, match=r"rate: 0-D"):
        open_source(path, key="rate")


def test_the_only_movie_needs_no_key(tmp_path, movie):
    np.savez(tmp_path / "one.npz", movie, np.arange(5))
    with open_source(tmp_path / "one.npz") as source:
        np.testing.assert_array_equal(source.read(0, 20), movie)


def test_the_only_array_is_refused_for_what_it_is(tmp_path):
    np.savez(tmp_path / "one.npz", np.zeros((4, 5)))
    with pytest.raises(InvalidInputError, match="newaxis"):
        open_source(tmp_path / "one.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_frames_are_read_forward_and_backward(tmp_path, movie, save):
    save(tmp_path / "movie.npz", movie)
    with open_source(tmp_path / "movie.npz") as source:
        for start, stop in [(0, 5), (5, 9), (15, 20), (2, 4), (19, 20), (0, 20), (0, 1)]:
            np.testing.assert_array_equal(source.read(start, stop), movie[start:stop])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_byte_anywhere_in_the_data_is_found_by_reading_through(tmp_path, save):
    movie = make_movie((5, 6, 7))
    path = tmp_path / "movie.npz"
    save(path, movie)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.infolist()[0].compress_size
    for position in range(size - 250, size, 9):
        data = bytearray(whole)
        data[position] ^= 1
        path.write_bytes(data)
        with pytest.raises(CorruptDataError), open_source(path) as source:
            for start in range(5):
                source.read(start, start + 1)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_cut_archive_is_corrupt(tmp_path, save):
    path = tmp_path / "movie.npz"
    save(path, make_movie((3, 4, 5)))
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        with pytest.raises(CorruptDataError, match=r"movie\.npz"):
            open_source(path)


def test_an_empty_archive_is_refused(tmp_path):
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(InvalidInputError, match="It holds: nothing"):
        open_source(tmp_path / "empty.npz")
