"""Objects that are sliced like an array."""

from __future__ import annotations

import tracemalloc

import dask.array
import numpy as np
import pytest

from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.open import open_source
from photon_gpu.sources.sliceable import SliceableSource
from tests.support.sources.source_files import make_movie


class Lazy:
    """Counts what is asked of it; ``answer`` bends what it gives back."""

    def __init__(self, array, answer=lambda frames: frames):
        self.array, self.answer, self.asked = array, answer, []
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key):
        self.asked.append(key)
        return self.answer(self.array[key])

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the whole movie was asked for")


def test_only_the_frames_asked_for_are_sliced(movie):
    lazy = Lazy(movie)
    with open_source(lazy) as source:
        assert source.name == "Lazy" and lazy.asked == []
        np.testing.assert_array_equal(source.read(4, 9), movie[4:9])
    assert lazy.asked == [slice(4, 9)]


@pytest.mark.parametrize("dtype", [">i2", ">f8", "<u2"])
def test_byte_order_becomes_native(movie, dtype):
    frames = open_source(Lazy(movie.astype(dtype))).read(0, 3)
    assert frames.dtype.isnative
    np.testing.assert_array_equal(frames, movie.astype(dtype)[:3])


@pytest.mark.parametrize(
    "answer",
    [
        lambda frames: frames[:-1],
        lambda frames: frames[:, :-1],
        lambda frames: frames.astype("float64"),
        lambda frames: frames.astype("uint16"),
        lambda frames: frames[0],
    ],
)
def test_an_object_that_breaks_its_promise_is_an_error_not_a_cast(movie, answer):
    with pytest.raises(InvalidInputError, match=r"slicing 0:5 gave .*promised int16 \(5, 12, 16\)"):
        open_source(Lazy(movie, answer)).read(0, 5)


def test_a_dask_array_is_computed_chunk_by_chunk():
    movie = make_movie((400, 64, 80))
    computed = []

    def block(data):
        computed.append(len(data))
        return data

    lazy = dask.array.from_array(movie, chunks=(20, 64, 80)).map_blocks(block, dtype=movie.dtype)
    computed.clear()
    source = open_source(lazy)
    source.read(0, 20)
    computed.clear()
    tracemalloc.start()
    frames = source.read(40, 60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert computed == [20]
    np.testing.assert_array_equal(frames, movie[40:60])
    assert peak < movie.nbytes / 4


def test_a_dask_array_of_unknown_length(movie):
    lazy = dask.array.from_array(movie, chunks=(5, 12, 16))
    with pytest.raises(InvalidInputError, match="compute_chunk_sizes"):
        open_source(lazy[lazy[:, 0, 0] > 100])


def test_shape_and_dtype_are_checked():
    with pytest.raises(InvalidInputError, match="newaxis"):
        open_source(Lazy(np.zeros((3, 4), "uint16")))
    with pytest.raises(UnsupportedTypeError, match="complex64"):
        open_source(Lazy(np.zeros((3, 4, 5), "complex64")))


def test_a_name_can_be_given(movie):
    assert SliceableSource(Lazy(movie), name="counts of a.zarr").name == "counts of a.zarr"
