"""Arrays in memory."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.open import open_source
from tests.support.sources.source_files import make_movie


def test_contiguous_native_frames_are_views(movie):
    source = ArraySource(movie)
    assert np.shares_memory(source.read(3, 7), movie)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[::2],
        lambda a: a[::-1],
        lambda a: a[:, ::-1, 1:-1],
        lambda a: a.transpose(0, 2, 1),
        lambda a: a.transpose(2, 1, 0),
        np.asfortranarray,
        lambda a: a.astype(">i2"),
        lambda a: a.astype("<i2"),
        lambda a: a.astype(">i2")[::3, :, ::2],
        lambda a: np.broadcast_to(a[0], (6, 12, 16)),
        lambda a: a.tolist(),
        lambda a: list(a),
        lambda a: tuple(a),
        lambda a: np.ma.MaskedArray(a),
        lambda a: np.ma.MaskedArray(a, mask=np.zeros(a.shape, bool)),
        lambda a: a.astype("f8"),
    ],
)
def test_any_strides_order_or_container(movie, change):
    array = change(movie)
    source = open_source(array)
    expected = np.asarray(array)
    assert source.shape == expected.shape
    assert source.dtype == expected.dtype.newbyteorder("=") and source.dtype.isnative
    for start, stop in [(0, len(expected)), (1, 4), (5, 6)]:
        frames = source.read(start, stop)
        assert type(frames) is np.ndarray
        assert frames.flags.c_contiguous and frames.dtype.isnative
        np.testing.assert_array_equal(frames, expected[start:stop])


class Tagged(np.ndarray):
    """A subclass that would break arithmetic if it came through."""

    def __array_finalize__(self, obj):
        self.tag = getattr(obj, "tag", None)

    def __array_ufunc__(self, *args, **kwargs):
        raise AssertionError("the subclass leaked")


def test_subclasses_come_out_as_plain_arrays_without_a_copy(movie):
    frames = open_source(movie.view(Tagged)).read(2, 5)
    assert type(frames) is np.ndarray and np.shares_memory(frames, movie)
    assert (frames + 1).sum() == (movie[2:5] + 1).sum()


def test_a_memory_map_is_not_read_beforehand(tmp_path):
    path = tmp_path / "sparse.raw"
    with path.open("wb") as file:
        file.truncate(2 * 10**11)  # 200 GB of hole
    mapped = np.memmap(path, dtype="uint16", mode="r", shape=(10**5, 1000, 1000))
    source = open_source(mapped)
    assert source.nbytes == 2 * 10**11
    frames = source.read(99_999, 100_000)
    assert not frames.any() and not np.shares_memory(frames, mapped)  # see test_bombs.py, "cut off"


def test_masked_values_are_refused(movie):
    masked = np.ma.MaskedArray(movie, mask=movie > 300)
    with pytest.raises(InvalidInputError, match=rf"{(movie > 300).sum()} values are masked.*filled"):
        open_source(masked)


def test_frames_of_differing_shape():
    with pytest.raises(InvalidInputError, match="frames of one shape"):
        open_source([np.zeros((3, 4)), np.zeros((3, 5))])


def test_an_array_of_paths_is_no_movie():
    with pytest.raises(UnsupportedTypeError, match="give paths as a list of str"):
        open_source(np.array(["a.tif", "b.tif"]))


@pytest.mark.parametrize("dtype", ["bool", "complex64", "float16", "O"])
def test_dtypes_that_are_refused(dtype):
    with pytest.raises(UnsupportedTypeError, match="arrived"):
        open_source(np.ones((3, 4, 5), dtype))


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (0, 4, 4), (3, 0, 4)])
def test_shapes_that_are_refused(shape):
    with pytest.raises(InvalidInputError):
        open_source(np.ones(shape, "uint16"))


def test_an_array_that_refuses_to_come_is_unsupported():
    class OnTheDevice:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("Implicit conversion to a NumPy array is not allowed")

    with pytest.raises(UnsupportedTypeError, match=r"OnTheDevice.*Implicit conversion"):
        open_source(OnTheDevice())


def test_closing_lets_go_of_the_array():
    movie = make_movie()
    source = ArraySource(movie)
    source.close()
    with pytest.raises(InvalidInputError, match="closed"):
        source.read(0, 1)
