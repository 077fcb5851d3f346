"""Any index of a movie is NumPy's: which frames it needs, which chunk has them, and what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_gpu import indexing
from photon_gpu.errors import InvalidIndexError
from photon_gpu.indexing import Selection, shares
from tests.support.indices import as_numpy_does, indices


@given(st.lists(st.integers(0, 99), max_size=60), st.integers(1, 30))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_shares_are_all_frames_once_and_in_order_of_chunks(frames, size):
    wanted = np.array(frames, np.int64)
    result, numbers = np.full(len(frames), -1), []
    for share in shares(wanted, size):
        assert (result[share.where] == -1).all()
        result[share.where] = share.number * size + share.inside
        low, high = share.span
        assert 0 <= low < high <= size and set(share.inside) <= set(range(low, high))
        straight = share.where.tolist() == list(range(share.where[0], share.where[0] + len(share.where)))
        straight &= share.inside.tolist() == list(range(low, high))
        assert share.straight == straight
        numbers.append(share.number)
    np.testing.assert_array_equal(result, wanted)
    assert numbers == sorted(set(numbers))


def test_a_million_frames_are_shared_out_at_once():
    """Ten thousand chunks: a search of all frames for each of them would take minutes."""
    parts = list(shares(np.arange(1_000_000), 100))
    assert len(parts) == 10_000 and all(len(part.where) == 100 for part in parts)


SHAPES = [(7, 5, 6), (6, 3, 4, 5), (5, 2, 3, 4, 3), (5, 1, 1)]


def in_chunks(array, size):
    """Reads an array as a movie of chunks is read; what was not asked for is not there."""

    def read(key):
        selection = Selection(key, array.shape)
        if 0 in selection.shape:
            return np.empty(selection.shape, array.dtype)
        out, (low, high) = np.empty(selection.filled, array.dtype), selection.rows
        for share in shares(selection.frames, size):
            first, last = share.span
            decoded = np.full((last - first, *array.shape[1:]), -1, array.dtype)
            rows = decoded.reshape(last - first, -1, array.shape[-1])
            frames = array[share.number * size + first : share.number * size + last]
            rows[:, low:high] = frames.reshape(rows.shape)[:, low:high]
            selection.put(out, share, decoded)
        result = selection.arranged(out)
        return result[()] if selection.scalar else result

    return read


def at_once(array):
    """Reads an array as one block of the frames that are needed, as a GPU does."""

    def read(key):
        selection = Selection(key, array.shape)
        if 0 in selection.shape:
            return np.empty(selection.shape, array.dtype)
        frames, places = selection.needed()
        result = selection.taken(array[frames], places)
        return result[()] if selection.scalar else result

    return read


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_index_selects_what_numpy_selects(shape):
    array = np.arange(np.prod(shape)).reshape(shape)

    @given(indices(shape), st.integers(1, 4))
    @settings(max_examples=1500, derandomize=True, deadline=None)
    def hold(key, size):
        as_numpy_does(array, in_chunks(array, size), key)
        as_numpy_does(array, at_once(array), key)

    hold()


LISTED = [
    (slice(None), [0, 2], slice(None), 3),
    (2, slice(None), [1, 2]),
    ([0, 2], slice(None), [1, 2]),
    (slice(None), [0, 1], ..., [0, 1]),
    (slice(None), [0, 1], [0, 1], ...),
    (True, slice(None), [0, 1]),
    (..., False),
    (0, 1, 2, ...),
    (0, 1, 2, 3),
    (0, 1, 2, 3, None),
    (np.array([[0], [4]]), np.array([[1, 2, 0]])),
    np.ix_([5, 0], [2, 1], [3], [0, 4]),
    (slice(None, None, -(10**30)), 0),
    np.array([2**64 - 1], np.uint64),
]


@pytest.mark.parametrize("key", LISTED, ids=repr)
def test_indices_that_are_easily_taken_for_others(key):
    array = np.arange(6 * 3 * 4 * 5).reshape(6, 3, 4, 5)
    as_numpy_does(array, in_chunks(array, 2), key)
    as_numpy_does(array, at_once(array), key)


@pytest.mark.parametrize(
    "key, says",
    [
        (5, "frame 5 is out of range: axis 0 has 5"),
        ((0, -9), "index -9 is out of range: axis 1 has 4"),
        ([0, -6], "frame -6 is out of range"),
        ((1, 2, 3, 0), "for 4 axes"),
        ((..., 1, ...), "may be used once"),
        (np.ones(3, bool), r"mask has shape \(3,\); the axes from 0 on have shape \(5,\)"),
        (1.5, "dtype float64; allowed are whole numbers"),
        ("x", "allowed are whole numbers"),
        ([[1, 2], [3]], "makes no array"),
        (slice(0.5, 2), "slice indices must be integers"),
        (slice(0, 2, 0), "slice step cannot be zero"),
        (([0, 1], [0, 1, 2]), r"shapes \(2,\), \(3,\), which cannot be broadcast together"),
        (1 << 70, "axis 0 has 5"),
        ({1: 2}, "dtype object"),
    ],
    ids=str,
)
def test_what_is_no_index_is_refused_by_name(key, says):
    with pytest.raises(InvalidIndexError, match=says):
        Selection(key, (5, 4, 6))
    assert issubclass(InvalidIndexError, IndexError) and issubclass(InvalidIndexError, ValueError)


def test_places_of_a_mask_that_memory_cannot_hold_are_refused(monkeypatch):
    monkeypatch.setattr(indexing, "memory_bytes", lambda: 1000)
    with pytest.raises(InvalidIndexError, match="take 2,880 bytes; this machine has 1,000"):
        Selection(np.ones((5, 4, 6), bool), (5, 4, 6))


def test_more_frames_than_memory_has_room_to_number_are_selected_at_once():
    result = Selection((slice(None), 2, 3), (10**15, 4, 6))
    assert result.shape == (10**15,) and result.rows == (2, 3)
