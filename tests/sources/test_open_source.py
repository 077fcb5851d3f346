"""What holds for every kind of source, and how a kind is chosen."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array
import h5py
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import photon_gpu
from photon_gpu.errors import CorruptDataError, InvalidInputError, StoreNotFoundError, UnsupportedTypeError
from photon_gpu.file_types import FOREIGN
from photon_gpu.sources.open import Source, open_source
from tests.support.sources.source_files import WRITERS, make_movie


def test_every_kind_gives_back_every_frame_in_native_order(write_source, tmp_path, movie):
    with open_source(write_source(tmp_path, movie)) as source:
        assert isinstance(source, Source)
        assert source.shape == movie.shape
        assert source.dtype == movie.dtype and source.dtype.isnative
        assert source.nbytes == movie.nbytes
        assert source.frame_nbytes == movie[0].nbytes
        for start, stop in [(0, 20), (0, 1), (19, 20), (3, 17), (0, 5), (4, 6)]:
            frames = source.read(start, stop)
            assert isinstance(frames, np.ndarray)
            assert frames.dtype == movie.dtype and frames.dtype.isnative
            assert frames.flags.c_contiguous
            np.testing.assert_array_equal(frames, movie[start:stop])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_every_kind_keeps_the_dtype(write_source, tmp_path, dtype):
    movie = make_movie((7, 12, 16), dtype)
    with open_source(write_source(tmp_path, movie)) as source:
        assert source.dtype == movie.dtype
        np.testing.assert_array_equal(source.read(0, 7), movie)


def test_every_kind_takes_a_movie_of_one_frame(write_source, tmp_path, request):
    if "scanimage" in request.node.callspec.id:
        pytest.skip("a single ScanImage page is an image: test_tiff says so")
    movie = make_movie((1, 12, 16))
    with open_source(write_source(tmp_path, movie)) as source:
        assert source.shape == (1, 12, 16)
        np.testing.assert_array_equal(source.read(0, 1), movie)


@pytest.mark.parametrize("name", [name for name in WRITERS if "scanimage" not in name])
def test_every_kind_takes_further_axes(name, tmp_path):
    movie = make_movie((6, 2, 5, 12, 16))
    with open_source(WRITERS[name](tmp_path, movie)) as source:
        assert source.shape == movie.shape
        np.testing.assert_array_equal(source.read(2, 5), movie[2:5])


def test_every_kind_reads_from_several_threads(write_source, tmp_path, movie):
    ranges = [(start, min(start + length, 20)) for start in range(20) for length in (1, 3, 7)] * 2
    with open_source(write_source(tmp_path, movie)) as source, ThreadPoolExecutor(8) as pool:
        for (start, stop), frames in zip(
            ranges, pool.map(lambda span: source.read(*span), ranges), strict=True
        ):
            np.testing.assert_array_equal(frames, movie[start:stop])


@pytest.mark.parametrize("name", [name for name in WRITERS if "array" not in name and "url" not in name])
def test_reading_holds_no_more_than_the_frames_asked_for(name, tmp_path):
    movie = make_movie((800, 64, 80), "int16")  # 8 MB
    chunk = 20  # 0.2 MB
    location = WRITERS[name](tmp_path, movie)
    with open_source(location) as source:  # imports are paid before counting
        source.read(0, 1)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with open_source(location) as source:
            for start in range(0, 800, chunk):
                frames = source.read(start, start + chunk)
                assert (frames[0, 0, 0], frames[-1, -1, -1]) == (
                    movie[start, 0, 0],
                    movie[start + chunk - 1, -1, -1],
                )
        allocated = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    # Two chunks live at once, since `frames` outlives the next read; zarr and
    # npz add the pieces they unpack, TIFF its table of pages.
    asked = chunk * source.frame_nbytes
    assert allocated < 3 * asked + 1_000_000, f"{allocated} bytes allocated, {asked} asked for"
    assert allocated < movie.nbytes / 4


def test_every_kind_refuses_frames_that_are_not_there(write_source, tmp_path, movie):
    with open_source(write_source(tmp_path, movie)) as source:
        for start, stop in [(0, 21), (20, 21), (5, 5), (6, 5), (-1, 3)]:
            with pytest.raises(InvalidInputError, match="the movie has 20"):
                source.read(start, stop)


def test_every_kind_refuses_to_read_once_closed(write_source, tmp_path, movie):
    source = open_source(write_source(tmp_path, movie))
    source.read(0, 2)
    source.close()
    source.close()
    with pytest.raises(InvalidInputError, match="closed"):
        source.read(0, 2)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(5, 9)] * 3),
    dtype=st.sampled_from(["uint8", "int16", ">u2", ">f4", "float64", "uint32"]),
    span=st.tuples(st.integers(0, 4), st.integers(1, 5)),
    name=st.sampled_from(["npy", "tiff", "tiff zlib", "hdf5 contiguous", "big-endian array"]),
)
def test_any_range_of_any_movie(shape, dtype, span, name, tmp_path_factory):
    movie = make_movie(shape, np.dtype(dtype).newbyteorder("=")).astype(dtype)
    start, stop = span[0], min(span[0] + span[1], shape[0])
    with open_source(WRITERS[name](tmp_path_factory.mktemp("any"), movie)) as source:
        np.testing.assert_array_equal(source.read(start, stop), movie[start:stop])


# --- choosing the kind ---


def test_a_source_passes_through(movie):
    source = open_source(movie)
    assert open_source(source) is source


@pytest.mark.parametrize("suffix", [".xyz", "", ".tif.bak", ".mat"])
def test_an_unknown_suffix_lists_what_is_understood(tmp_path, suffix):
    path = tmp_path / f"movie{suffix}"
    path.write_bytes(b"x")
    with pytest.raises(InvalidInputError, match=r"not supported.*TIFF.*\.npy.*HDF5.*\.zarr"):
        open_source(path)


def test_a_folder_that_is_no_zarr_says_so(tmp_path):
    with pytest.raises(InvalidInputError, match="this kind of folder"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "name", ["x.tif", "x.npy", "x.npz", "x.h5", "x.zarr", "x.h5::/movie", "x.avi", "no/such/folder.tif"]
)
def test_a_missing_path_is_not_found(tmp_path, name):
    with pytest.raises(StoreNotFoundError, match=name.split("::")[0].split("/")[-1]):
        open_source(tmp_path / name)


@pytest.mark.parametrize("url", ["memory://nothing/movie.npy", "memory://nothing/movie.zarr"])
def test_a_missing_url_is_not_found(url):
    with pytest.raises(StoreNotFoundError, match="nothing/movie"):
        open_source(url)


@pytest.mark.parametrize("suffix", [".TIF", ".Tiff", ".BTF", ".ome.tif"])
def test_suffixes_in_any_case(tmp_path, movie, suffix):
    path = WRITERS["tiff"](tmp_path, movie)
    with open_source(path.rename(tmp_path / f"movie{suffix}")) as source:
        np.testing.assert_array_equal(source.read(0, 20), movie)


@pytest.mark.parametrize("name", ["tiff", "npy", "hdf5", "zarr v2"])
def test_a_file_url_is_a_local_file(tmp_path, movie, name):
    with open_source(WRITERS[name](tmp_path, movie).as_uri()) as source:
        np.testing.assert_array_equal(source.read(0, 20), movie)


@pytest.mark.parametrize("name", ["movie.tif", "movie.h5", "movie.npz"])
def test_kinds_that_need_a_local_file_say_so(name):
    with pytest.raises(InvalidInputError, match="read from local files only"):
        open_source(f"memory://somewhere/{name}")


def test_an_unknown_option_lists_the_known_ones(tmp_path, movie):
    with pytest.raises(InvalidInputError, match=r"'dataset' is not known for TIFF.*series, as_pages"):
        open_source(WRITERS["tiff"](tmp_path, movie), dataset="/x")
    with pytest.raises(InvalidInputError, match="a ndarray, which takes only axes"):
        open_source(movie, series=1)


def test_options_left_at_none_are_no_options(tmp_path, movie):
    with open_source(movie, series=None) as source:
        assert source.shape == movie.shape


def test_a_name_with_double_colons_that_exists_is_a_file(tmp_path, movie):
    path = WRITERS["npy"](tmp_path, movie).rename(tmp_path / "a.npz::b.npy")
    with open_source(path) as source:
        np.testing.assert_array_equal(source.read(0, 20), movie)


def test_an_inner_path_is_not_given_twice(tmp_path, movie):
    path = WRITERS["hdf5"](tmp_path, movie)
    with pytest.raises(InvalidInputError, match="give one of them"):
        open_source(f"{path}::/data/movie", dataset="/data/movie")


def test_a_file_named_like_another_kind_is_corrupt_not_garbage(tmp_path):
    for name in ("x.tif", "x.npy", "x.npz", "x.h5"):
        (tmp_path / name).write_bytes(b"GIF89a, this is no movie at all, but some other bytes")
        with pytest.raises(CorruptDataError, match=name):
            open_source(tmp_path / name)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(CorruptDataError, match=name):
            open_source(tmp_path / name)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to count open files")
@pytest.mark.parametrize("name", ["tiff", "tiff zlib", "npy", "npz", "hdf5", "scanimage"])
def test_no_file_stays_open(name, tmp_path, movie):
    def open_files():
        return [link for link in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(link)]

    source = open_source(WRITERS[name](tmp_path, movie))
    source.read(0, 2)
    source.close()
    del source
    assert open_files() == []
    if name != "scanimage":  # which has no such dtype
        with pytest.raises((UnsupportedTypeError, InvalidInputError), match="float16"):
            open_source(WRITERS[name](tmp_path, movie.astype("float16")))
        assert open_files() == []


def test_sliceable_objects_are_read_by_slices(tmp_path, movie):
    with h5py.File(WRITERS["hdf5"](tmp_path, movie)) as file:
        array = zarr.open(str(WRITERS["zarr v3"](tmp_path, movie)))
        lazy = dask.array.from_array(movie, chunks=(3, 12, 16))
        for sliceable in (file["/data/movie"], array, lazy):
            with open_source(sliceable) as source:
                np.testing.assert_array_equal(source.read(4, 9), movie[4:9])
        assert file["/data/movie"].shape == movie.shape, "what was not opened here is not closed here"


class _Tensor:
    """Shape and dtype of its own kind, as torch has them, and the array protocol."""

    def __init__(self, array):
        self._array = array
        self.shape = array.shape
        self.dtype = "torch.int16"

    def __getitem__(self, key):
        return _Tensor(self._array[key])

    def __array__(self, dtype=None, copy=None):
        return self._array


def test_objects_with_the_array_protocol_become_arrays(movie):
    np.testing.assert_array_equal(open_source(_Tensor(movie)).read(0, 3), movie[:3])
    np.testing.assert_array_equal(open_source(memoryview(movie)).read(0, 3), movie[:3])


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_a_photon_movie_is_pointed_to_its_counts(tmp_path, movie, layout):
    """Its own slices are stabilized values, which must never pass for counts."""
    url = str(tmp_path / "movie.zarr")
    photon_gpu.encode(
        movie, url, layout=layout, noise=photon_gpu.NoiseModel(gain=9, offset=-500), check=False
    )
    ours = photon_gpu.open(url)
    with pytest.raises(InvalidInputError, match=r"movie\.counts"):
        open_source(ours)
    with open_source(ours.counts) as source:
        assert source.shape == movie.shape and source.dtype == movie.dtype
        np.testing.assert_array_equal(source.read(3, 9), ours.counts[3:9])
    if layout == "plain":
        with pytest.raises(InvalidInputError, match="photon movie already"):
            open_source(url)
    else:
        with open_source(url) as source:
            np.testing.assert_array_equal(source.read(3, 9), ours.counts[3:9])


@pytest.mark.parametrize("thing", [None, 3, 2.5, b"movie.tif", {"a": 1}, object(), {1, 2}])
def test_things_that_are_no_movie(thing):
    with pytest.raises(UnsupportedTypeError, match=r"arrived|bytes"):
        open_source(thing)


def test_heavy_libraries_load_only_when_they_are_needed():
    code = (
        "import sys, numpy as np; from photon_gpu.sources.open import open_source; "
        "open_source(np.zeros((2, 2, 2), 'uint16')).read(0, 1); "
        "print([name for name in ('tifffile', 'h5py', 'zarr', 'fsspec') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_hdf5_under_any_suffix_is_recognised(tmp_path, movie):
    for name, block in (("movie.mat", 512), ("movie.jld2", 0), ("movie", 0)):
        with h5py.File(tmp_path / name, "w", userblock_size=block) as file:
            file["movie"] = movie
        with open_source(tmp_path / name) as source:
            np.testing.assert_array_equal(source.read(0, 20), movie)
    (tmp_path / "other.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(InvalidInputError, match="this kind of file is not supported"):
        open_source(tmp_path / "other.mat")


@pytest.mark.parametrize("suffix", FOREIGN)
def test_a_foreign_format_is_refused_with_a_way(tmp_path, suffix):
    path = tmp_path / f"movie{suffix.upper()}"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")  # Imaris is HDF5
    with pytest.raises(InvalidInputError, match="is not read here.*array = .*then pass the array") as caught:
        open_source(path)
    assert len(str(caught.value).replace(str(path), "")) <= 300


def test_dataset_names_an_array_in_any_type_of_file(tmp_path, movie):
    np.savez(tmp_path / "x.npz", a=movie, b=movie + 1)
    zarr.open_group(str(tmp_path / "x.zarr"), mode="w").create_array("b", data=movie + 1)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["b"] = movie + 1
    for name in ("x.npz", "x.zarr", "x.h5"):
        with open_source(tmp_path / name, dataset="b") as source:
            np.testing.assert_array_equal(source.read(0, 20), movie + 1)
