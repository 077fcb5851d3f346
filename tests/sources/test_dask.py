"""Dask arrays as movies: each block computed once, never the whole."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError, UnsupportedTypeError
from photon_gpu.sources.dask import DaskSource, aligned, misaligned
from photon_gpu.sources.open import open_source

dask = pytest.importorskip("dask", reason="pip install 'photon-gpu[dask]'")
da = pytest.importorskip("dask.array", reason="pip install 'photon-gpu[dask]'")

MOVIE = np.random.default_rng(0).poisson(20.0, (130, 6, 8)).astype("uint16")


@pytest.fixture(autouse=True)
def in_this_process():
    """What is counted here must be computed here, whatever cluster another test has at hand."""
    with dask.config.set(scheduler="threads"):
        yield


def counting(blocks):
    """MOVIE as a dask array, and the list that notes each block that is computed."""
    seen = []

    def block(block_info=None):
        where = block_info[None]["array-location"]
        seen.append(tuple(where[0]))
        return MOVIE[tuple(slice(*axis) for axis in where)]

    array = da.map_blocks(
        block,
        chunks=da.core.normalize_chunks(blocks, MOVIE.shape),
        dtype=MOVIE.dtype,
        meta=np.empty((0, 0, 0), MOVIE.dtype),
    )
    return array, seen


@pytest.mark.parametrize("blocks", [(50, 6, 8), (33, 6, 8), (130, 6, 8), (7, 3, 5), ((1, 99, 30), 6, 8)])
def test_frames_are_those_of_the_array(blocks):
    array, _ = counting(blocks)
    with open_source(array) as source:
        assert isinstance(source, DaskSource)
        assert (source.shape, source.dtype) == (MOVIE.shape, MOVIE.dtype)
        for start, stop in ((0, 1), (0, 50), (49, 51), (20, 130), (129, 130), (0, 130), (3, 4)):
            np.testing.assert_array_equal(source.read(start, stop), MOVIE[start:stop])


@pytest.mark.parametrize("frames", [10, 45, 50, 130])
def test_from_front_to_back_each_block_is_computed_once(frames):
    array, seen = counting((33, 6, 8))
    source = open_source(array)
    for start in range(0, 130, frames):
        source.read(start, min(start + frames, 130))
    assert sorted(seen) == [(0, 33), (33, 66), (66, 99), (99, 130)]


def test_never_more_than_two_blocks_are_kept():
    array, _ = counting((10, 6, 8))
    source = open_source(array)
    for start in range(0, 125, 5):
        source.read(start, start + 4)
        assert len(source._cut) <= 2
    source.read(0, 130)
    assert not source._cut


def test_encoding_is_that_of_the_array_itself_and_says_what_was_misaligned(tmp_path):
    settings = {"layout": "compact", "chunk_frames": 40, "noise": pg.NoiseModel(), "check": False}
    pg.encode(MOVIE, tmp_path / "a.zarr", **settings)
    report = pg.encode(counting((33, 3, 8))[0], tmp_path / "b.zarr", **settings)
    for path in (tmp_path / "a.zarr").iterdir():
        assert path.read_bytes() == (tmp_path / "b.zarr" / path.name).read_bytes(), path.name
    assert "8 of 8 dask blocks are not aligned with chunks of 40 whole frames" in report.notes
    fitting = pg.encode(counting((80, 6, 8))[0], tmp_path / "c.zarr", **settings)
    assert not any("aligned" in note for note in fitting.notes)


def test_an_xarray_is_taken_by_its_blocks():
    xarray = pytest.importorskip("xarray", reason="pip install 'photon-gpu[dask]'")
    array, seen = counting((50, 6, 8))
    labelled = xarray.DataArray(array, dims=("t", "y", "x"), name="red")
    source = open_source(labelled)
    assert isinstance(source, DaskSource) and source.name == "red" and seen == []
    np.testing.assert_array_equal(source.read(10, 20), MOVIE[10:20])
    assert seen == [(0, 50)]
    in_memory = open_source(xarray.DataArray(MOVIE, dims=("t", "y", "x")))
    np.testing.assert_array_equal(in_memory.read(3, 5), MOVIE[3:5])


@pytest.mark.parametrize(
    "blocks, count",
    [
        (((40, 40, 40, 10), (6,), (8,)), 0),
        (((80, 50), (6,), (8,)), 0),
        (((130,), (6,), (8,)), 0),
        (((100, 30), (6,), (8,)), 2),
        (((40, 40, 40, 10), (3, 3), (8,)), 8),
        (((20, 20, 40, 40, 10), (6,), (8,)), 2),
    ],
)
def test_misaligned_blocks_are_counted(blocks, count):
    assert misaligned(blocks, 40).unaligned == count
    array = aligned(da.zeros(MOVIE.shape, chunks=blocks), 40)
    assert array.chunks == ((40, 40, 40, 10), (6,), (8,)) and misaligned(array.chunks, 40).unaligned == 0


def test_what_is_no_movie_is_refused_before_anything_is_computed():
    array, seen = counting((50, 6, 8))
    with pytest.raises(InvalidInputError, match=r"compute_chunk_sizes"):
        open_source(array[array[:, 0, 0] > 3])
    with pytest.raises(InvalidInputError, match="one image"):
        open_source(array[0])
    with pytest.raises(UnsupportedTypeError):
        open_source(array.astype(complex))
    assert seen == []


def test_a_block_that_is_not_what_dask_promised_is_an_error():
    liar = da.zeros((20, 6, 8), chunks=(10, 6, 8), dtype="uint16").map_blocks(
        lambda block: block.astype("float32"), dtype="uint16"
    )
    with pytest.raises(InvalidInputError, match=r"block 0 is float32 \(10, 6, 8\), but dask promised uint16"):
        open_source(liar).read(0, 5)


def test_a_closed_source_is_an_error():
    source = open_source(counting((50, 6, 8))[0])
    source.read(0, 5)
    source.close()
    with pytest.raises(InvalidInputError, match="closed"):
        source.read(0, 5)
