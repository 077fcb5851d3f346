"""``movie.counts`` behaves as the decoded array, lazily."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import InvalidInputError

AXES = [None, 0, -1, (0, 1), (1, 2), (0, 1, 2), (2,), ()]


@pytest.fixture(scope="module", params=["uint8", "int16", "float32"])
def movie(request, tmp_path_factory):
    url = tmp_path_factory.mktemp("counts") / "movie.zarr"
    frames = np.random.default_rng(4).poisson(30, (23, 9, 11)).astype(request.param)
    pg.encode(frames, url, noise=pg.NoiseModel(), chunk_frames=5, layout="compact", check=False)
    return pg.open(url)


def test_has_the_attributes_of_an_array(movie):
    array = movie.counts[...]
    for name in ("shape", "dtype", "ndim", "size", "nbytes", "itemsize"):
        assert getattr(movie.counts, name) == getattr(array, name)
    assert len(movie.counts) == len(array)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["min", "max", "sum", "mean", "var", "std"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_equal_numpy(movie, name, axis, keepdims):
    array = movie.counts[...].astype("float64") if movie.encoding.dtype == "float32" else movie.counts[...]
    expected = getattr(np, name)(array, axis=axis, keepdims=keepdims)
    result = getattr(np, name)(movie.counts, axis=axis, keepdims=keepdims)
    assert result.shape == expected.shape
    np.testing.assert_allclose(
        result, expected, rtol=1e-6 if movie.encoding.dtype == "float32" else 1e-12, atol=1e-9
    )
    if movie.encoding.dtype != "float32":
        assert result.dtype == expected.dtype


def test_variance_keeps_its_digits_far_from_zero(tmp_path):
    frames = (1e6 + np.random.default_rng(0).normal(0, 3, (40, 5, 6))).round().astype("int32")
    noise = pg.NoiseModel(gain=1.0, offset=1e6, variance=9.0)
    pg.encode(frames, tmp_path / "m", noise=noise, chunk_frames=7, check=False, trust_noise=True)
    counts = pg.open(tmp_path / "m").counts
    np.testing.assert_allclose(counts.var(axis=0, ddof=1), counts[...].var(axis=0, ddof=1), rtol=1e-9)


@pytest.mark.parametrize("axis", [3, -4, (0, 0), "t", 1.5j])
def test_axes_that_are_none_are_refused(movie, axis):
    with pytest.raises(InvalidInputError, match="axis is"):
        movie.counts.mean(axis=axis)


def test_an_output_array_is_refused(movie):
    with pytest.raises(InvalidInputError, match="out is ndarray"):
        movie.counts.mean(axis=0, out=np.empty((9, 11)))


def test_arithmetic_is_lazy_and_right(movie):
    array = movie.counts[...].astype("float64")
    plane = np.linspace(1, 2, 11)
    for lazy, expected in (
        (movie.counts + 1.5, array + 1.5),
        (2.0 - movie.counts, 2.0 - array),
        (movie.counts / plane, array / plane),
        (plane * movie.counts, plane * array),
        (movie.counts - movie.counts.mean(axis=0), array - array.mean(axis=0)),
        (movie.counts > 30, array > 30),
        (movie.counts == movie.counts, array == array),
        (-movie.counts.astype("float64"), -movie.counts.astype("float64")[...]),
        (abs(movie.counts), array),
        (1000 % movie.counts.astype("float64"), 1000 % movie.counts.astype("float64")[...]),
    ):
        assert type(lazy).__module__.startswith("dask")
        np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-6)


def test_a_float_view_is_not_rounded_by_arithmetic(movie):
    np.testing.assert_array_equal(
        (movie.counts.astype("float64") * 1).compute(), movie.counts.astype("float64")[...]
    )


@pytest.mark.parametrize("values", ["movie", "counts"])
def test_a_copy_is_never_avoided(movie, values):
    with pytest.raises(ValueError, match="no array in memory"):
        np.asarray(movie if values == "movie" else movie.counts, copy=False)


def test_in_looks_at_samples_as_in_an_array(movie):
    last = movie.counts[22, 8, 10]
    assert last in movie.counts and -1 not in movie.counts


def frame_sum(counts, frame):
    return float(counts[frame].sum())


@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
def test_goes_to_processes_however_they_start(movie, start):
    """Also if this process has read before, in threads of its own."""
    assert len(pickle.dumps(movie.counts)) < 20_000
    expected = [float(frame.sum()) for frame in movie.counts[...]]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(start)) as pool:
        sums = list(pool.map(frame_sum, [movie.counts] * 3, [0, 11, 22]))
    assert sums == [expected[0], expected[11], expected[22]]


def test_joblib_sends_counts_to_its_workers(movie):
    from joblib import Parallel, delayed

    sums = Parallel(n_jobs=2)(delayed(frame_sum)(movie.counts, frame) for frame in (0, 22))
    assert sums == [float(movie.counts[0].sum()), float(movie.counts[22].sum())]
