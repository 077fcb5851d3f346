"""Opening and indexing movies, and every kind of damage."""

from __future__ import annotations

import json
import multiprocessing
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import photon_gpu as pg
from photon_gpu.errors import (
    CorruptDataError,
    InvalidIndexError,
    InvalidInputError,
    PhotonWarning,
    StoreNotFoundError,
    UnsupportedVersionError,
)
from photon_gpu.reader.movie import Movie
from tests.support.indices import as_numpy_does, indices
from tests.support.noise.one_camera_movies import CAMERA, camera_movie

VALUES = camera_movie(25, 17, 23)


@pytest.fixture(params=["plain", "compact", "lossless"])
def movie(request, tmp_path):
    pg.encode(VALUES, tmp_path / "m.zarr", noise=CAMERA, layout=request.param, chunk_frames=10, preset="fast")
    return pg.open(tmp_path / "m.zarr")


KEYS = [
    3,
    -1,
    np.int64(4),
    slice(None),
    slice(5, 12),
    slice(None, None, 3),
    slice(20, 4, -2),
    slice(7, 7),
    slice(30, 40),
    ...,
    (..., 2),
    (2, ..., 3),
    (slice(3, 9), 4, slice(1, None, 2)),
    (slice(8, 12), slice(2, 5)),
    [1, 24, 1],
    [],
    np.array([[0, 11], [24, 3]]),
    np.arange(25) % 4 == 0,
    (np.arange(25) % 4 == 0, 3, 3),
    (5, slice(None), -1),
    (),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_indexing_is_numpys(movie, key):
    for whole, lazy in ((movie[...], movie), (movie.counts[...], movie.counts)):
        expected = whole[np.asarray(key, int) if isinstance(key, list) and not key else key]
        got = lazy[key]
        assert got.shape == expected.shape and got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("key", [25, -26, [0, 25], "x", 1.5, (0, 0, 0, 0), (..., ...)], ids=str)
def test_bad_indices_are_refused(movie, key):
    for lazy in (movie, movie.counts):
        with pytest.raises(InvalidIndexError):
            lazy[key]
    with pytest.raises(InvalidIndexError, match="a whole number from -25 to 24"):
        movie.frame_metadata(key)


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
@pytest.mark.parametrize("shape", [(7, 5, 6), (6, 3, 4, 5), (5, 2, 3, 4, 3)], ids=str)
def test_any_index_is_numpys(tmp_path, layout, shape):
    values = np.random.default_rng(1).poisson(400, shape).astype("uint16")
    pg.encode(values, tmp_path / "m", noise=CAMERA, layout=layout, chunk_frames=2, preset="fast")
    movie = pg.open(tmp_path / "m", workers=1)
    whole = {lazy: lazy[...] for lazy in (movie, movie.counts, movie.counts.astype("float32"))}

    @given(indices(shape), st.sampled_from([*whole]))
    @settings(max_examples=250, derandomize=True, deadline=None)
    def hold(key, lazy):
        as_numpy_does(whole[lazy], lazy.__getitem__, key)

    hold()


@pytest.mark.parametrize(
    "key, chunks",
    [
        ((-1, [3, 9], slice(None)), [4]),
        ((slice(None), slice(0, 0)), []),
        (([0, 41, 3], slice(None), [1, 2, 3]), [0, 4]),
        ((np.ix_([12, 35], [0, 3], [5])), [1, 3]),
        ((slice(None, None, 20), None, 3, True), [0, 2, 4]),
    ],
    ids=str,
)
def test_only_chunks_that_an_index_needs_are_read(tmp_path, monkeypatch, key, chunks):
    values = camera_movie(50, 12, 14)
    pg.encode(values, tmp_path / "m", noise=CAMERA, layout="lossless", chunk_frames=10)
    movie, read = pg.open(tmp_path / "m"), []
    real = type(movie).chunk_bytes
    monkeypatch.setattr(Movie, "chunk_bytes", lambda self, number: read.append(number) or real(self, number))
    np.testing.assert_array_equal(movie.counts[key], values[key])
    assert sorted(read) == chunks


@pytest.mark.parametrize(
    "key",
    [
        (slice(None), 3, 4),
        (slice(None), [3, 200], [4, 5]),
        (np.arange(200), [[3], [9]], 4),
        np.ix_(np.arange(200), np.arange(3), np.arange(9)),
        (np.arange(200) % 3 == 0, slice(None), [[1], [2]]),
    ],
    ids=["pixel", "pixels", "points", "grid", "mask"],
)
def test_an_index_of_many_frames_holds_few_chunks_in_memory(tmp_path, key):
    values = np.random.default_rng(0).poisson(9, (200, 256, 256)).astype("uint16")
    pg.encode(values, tmp_path / "m", layout="lossless", chunk_frames=4)
    movie = pg.open(tmp_path / "m", workers=1)
    tracemalloc.start()
    result = movie.counts[key]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(result, values[key])
    assert most < 12 * values[:4].nbytes + 2 * result.nbytes  # the movie is 50 chunks


def test_what_a_movie_says_of_itself(movie):
    assert (
        movie.shape == (25, 17, 23) and movie.chunks == (10, 17, 23) and movie.ndim == 3 and len(movie) == 25
    )
    assert movie.dtype == np.float64 and movie.counts.dtype == np.uint16
    assert movie.noise == CAMERA and movie.step == (None if movie.layout == "lossless" else 0.5)
    assert movie.attrs["codec_name"] == "photon" and dict(movie.attrs)["original_dtype"] == "uint16"
    assert movie.nbytes == VALUES.nbytes and movie.size == VALUES.size
    assert movie.layout in repr(movie) and "uint16" in repr(movie.counts)
    assert movie.stored_bytes == sum(os.path.getsize(f"{movie.url}/{name}") for name in os.listdir(movie.url))


def test_it_iterates_and_converts_like_an_array(movie):
    assert sum(1 for _ in movie) == 25
    np.testing.assert_array_equal(np.asarray(movie), movie[...])
    np.testing.assert_array_equal(np.asarray(movie.counts), movie.counts[...])
    assert np.asarray(movie.counts, dtype="float32").dtype == np.float32


def test_unrounded_counts_round_to_the_counts(movie):
    smooth, whole = movie.counts.astype("float64")[...], movie.counts[...].astype(float)
    assert smooth.dtype == np.float64 and np.abs(smooth - whole).max() <= 1.0
    with pytest.raises(InvalidInputError, match="float32 or float64"):
        movie.counts.astype("uint8")


def test_reading_is_lazy(tmp_path):
    pg.encode(VALUES, tmp_path / "m", noise=CAMERA, chunk_frames=5)
    (tmp_path / "m/4.0.0").unlink()
    movie = pg.open(tmp_path / "m")
    assert movie[:20].shape[0] == 20
    with pytest.raises(CorruptDataError, match=r"frames 20 to 24 cannot be read.*missing"):
        movie[22]


def test_a_missing_chunk_is_an_error_never_fill_values(movie):
    os.unlink(f"{movie.url}/1.0.0")
    with pytest.raises(CorruptDataError, match="frames 10 to 19"):
        pg.open(movie.url).counts[...]


@pytest.mark.filterwarnings("ignore:.*has lost its .manifest.json")
@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_truncated_chunk_is_an_error_at_every_length(movie, with_manifest):
    path = f"{movie.url}/0.0.0"
    with open(path, "rb") as file:
        whole = file.read()
    if not with_manifest:
        os.unlink(f"{movie.url}/.manifest.json")
    for length in [*range(40), len(whole) // 2, len(whole) - 1]:
        with open(path, "wb") as file:
            file.write(whole[:length])
        with pytest.raises(CorruptDataError, match="frames 0 to 9"):
            pg.open(movie.url).counts[3]


def test_a_flipped_byte_anywhere_in_a_chunk_is_found(movie):
    path = f"{movie.url}/2.0.0"
    with open(path, "rb") as file:
        whole = bytearray(file.read())
    for position in np.linspace(0, len(whole) - 1, 60).astype(int):
        flipped = bytearray(whole)
        flipped[position] ^= 0x40
        with open(path, "wb") as file:
            file.write(flipped)
        with pytest.raises(CorruptDataError, match=r"2\.0\.0 was altered"):
            pg.open(movie.url)[24]


def test_a_lost_manifest_is_said_once(movie):
    expected = movie.counts[...]
    os.unlink(f"{movie.url}/.manifest.json")
    again = pg.open(movie.url)
    with pytest.warns(PhotonWarning, match="has lost its .manifest.json.*photon-gpu repair") as text:
        for _ in range(3):
            np.testing.assert_array_equal(again.counts[...], expected)
            _ = again[5], again.timestamps
    assert len(text) == 1


def test_a_store_that_never_had_a_manifest_is_read_without_a_word(movie):
    os.unlink(f"{movie.url}/.manifest.json")
    with open(f"{movie.url}/.zattrs") as file:
        told = json.load(file)
    del told["layout"]
    with open(f"{movie.url}/.zattrs", "w") as file:
        json.dump(told, file)
    assert pg.open(movie.url).counts[...].shape == VALUES.shape and pg.open(movie.url).timestamps is None


@pytest.mark.filterwarnings("ignore:.*has lost its .manifest.json")
@pytest.mark.parametrize("key", [slice(None), 3, (slice(2, 5), slice(0, 4)), [1, 3]], ids=str)
def test_without_a_manifest_a_compact_chunk_knows_its_place(tmp_path, key):
    for name, values in (("a", VALUES), ("b", camera_movie(25, 17, 23, seed=5))):
        pg.encode(values, tmp_path / name, noise=CAMERA, layout="compact", chunk_frames=10, predictor="mean")
    ours, theirs = tmp_path / "a", tmp_path / "b"
    (ours / ".manifest.json").unlink()
    chunks = [(ours / f"{number}.0.0").read_bytes() for number in range(2)]
    (ours / "0.0.0").write_bytes(chunks[1])
    for read in (pg.open(ours), pg.open(ours).counts):
        with pytest.raises(CorruptDataError, match="frames 0 to 9.*chunk 0 was written as number 1"):
            read[key]
    (ours / "0.0.0").write_bytes((theirs / "0.0.0").read_bytes())
    ids = [pg.open(store).attrs["photon_movie_id"] for store in (ours, theirs)]
    for read in (pg.open(ours), pg.open(ours).counts):
        with pytest.raises(CorruptDataError, match=f"of movie {ids[1]} is among those of movie {ids[0]}"):
            read[key]


@pytest.mark.filterwarnings("ignore:.*has lost its .manifest.json")
def test_without_a_manifest_a_compact_chunk_still_knows_itself(tmp_path):
    pg.encode(VALUES, tmp_path / "m", noise=CAMERA, layout="compact", chunk_frames=25, preset="fast")
    os.unlink(tmp_path / "m/.manifest.json")
    whole = (tmp_path / "m/0.0.0").read_bytes()
    expected, unnoticed = pg.open(tmp_path / "m").counts[...], 0
    for position in np.linspace(0, len(whole) - 1, 300).astype(int):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        (tmp_path / "m/0.0.0").write_bytes(flipped)
        try:
            # A flip that changes no value (an unused bit of the Blosc header) may pass; a wrong value may
            # not.
            np.testing.assert_array_equal(pg.open(tmp_path / "m").counts[...], expected)
            unnoticed += 1
        except CorruptDataError:
            pass
    assert unnoticed < 6


def _edit(url, name, **changes):
    path = f"{url}/{name}"
    with open(path) as file:
        content = json.load(file)
    content.update(changes)
    with open(path, "w") as file:
        json.dump(content, file)


@pytest.mark.parametrize(
    "name, changes, error",
    [
        (".zarray", {"shape": [25, 17, 10**15], "chunks": [10, 17, 10**15]}, CorruptDataError),
        (".zarray", {"chunks": [10**12, 17, 23]}, CorruptDataError),
        (".zarray", {"shape": [-1, 17, 23]}, CorruptDataError),
        (".zarray", {"chunks": [10, 17, 5]}, CorruptDataError),
        (".zarray", {"filters": [{"id": "pickle"}]}, CorruptDataError),
        (".zarray", {"compressor": {"id": "pickle"}}, CorruptDataError),
        (".zarray", {"compressor": None}, CorruptDataError),
        (".zarray", {"dtype": "|O"}, CorruptDataError),
        (".zarray", {"order": "F"}, CorruptDataError),
        (".zarray", {"zarr_format": 3}, UnsupportedVersionError),
        (".zattrs", {"codec_version": "9.1"}, UnsupportedVersionError),
        (".zattrs", {"codec_version": 1}, UnsupportedVersionError),
        (".zattrs", {"codec_name": "other"}, CorruptDataError),
        (".zattrs", {"original_dtype": "object"}, CorruptDataError),
        (".zattrs", {"anscombe_gain": "big"}, CorruptDataError),
        (".zattrs", {"anscombe_gain": 0}, CorruptDataError),
    ],
    ids=str,
)
def test_hostile_metadata_is_a_clear_error(movie, name, changes, error):
    _edit(movie.url, name, **changes)
    with pytest.raises(error, match=r"m\.zarr"):
        pg.open(movie.url)


@pytest.mark.parametrize("identity", [5, "0" * 8, "ABCDEF01", "12345678" * 9, ["12345678"], ""], ids=str)
def test_an_identity_that_is_none_is_a_clear_error(tmp_path, identity):
    pg.encode(VALUES, tmp_path / "m.zarr", noise=CAMERA, layout="compact", preset="fast")
    _edit(tmp_path / "m.zarr", ".zattrs", photon_movie_id=identity)
    with pytest.raises(CorruptDataError, match=r"m\.zarr.*movie_id"):
        pg.open(tmp_path / "m.zarr")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100000, b"\xff\xfe", b"null"])
@pytest.mark.parametrize("name", [".zarray", ".zattrs"])
def test_metadata_that_are_no_object_are_a_clear_error(movie, name, content):
    with open(f"{movie.url}/{name}", "wb") as file:
        file.write(content)
    with pytest.raises(CorruptDataError, match=name):
        pg.open(movie.url)


def test_more_than_memory_holds_is_refused_before_it_is_tried(movie):
    _edit(movie.url, ".zarray", shape=[10**12, 17, 23])
    with pytest.raises(InvalidInputError, match="this machine has"):
        pg.open(movie.url)[...]


def test_what_is_no_movie_says_what_it_is(tmp_path):
    with pytest.raises(StoreNotFoundError, match="nothing is there"):
        pg.open(tmp_path / "absent.zarr")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file.txt").write_text("x")
    with pytest.raises(StoreNotFoundError, match="not a movie"):
        pg.open(tmp_path / "folder")
    import zarr

    zarr.create_array(str(tmp_path / "v3"), shape=(2, 2), dtype="u1")
    with pytest.raises(StoreNotFoundError, match="Zarr v3"):
        pg.open(tmp_path / "v3")
    with pytest.raises(StoreNotFoundError):
        pg.open(tmp_path / "folder/file.txt")


def test_lossless_without_a_model_has_counts_and_says_why_it_is_not_stabilized(tmp_path):
    pg.encode(VALUES, tmp_path / "m", layout="lossless")
    movie = pg.open(tmp_path / "m")
    np.testing.assert_array_equal(movie.counts[...], VALUES)
    with pytest.raises(InvalidInputError, match="without a noise model"):
        movie[0]


def _mean_of(url):
    return float(pg.open(url)[3].mean())


def test_a_forked_child_can_read(movie):
    expected = float(movie[3].mean())
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_mean_of, (movie.url,)).get(timeout=60) == expected
