"""Which frames an index names, and which chunk has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_gpu.errors import InvalidInputError
from photon_gpu.indexing import frame_numbers, shares, split_key


@given(st.lists(st.integers(0, 99), max_size=60), st.integers(1, 30))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_shares_are_all_frames_once_and_in_order_of_chunks(frames, size):
    wanted = np.array(frames, np.int64)
    found, numbers = np.full(len(frames), -1), []
    for share in shares(wanted, size):
        assert (found[share.where] == -1).all()
        found[share.where] = share.number * size + share.inside
        low, high = share.span
        assert 0 <= low < high <= size and set(share.inside) <= set(range(low, high))
        straight = share.where.tolist() == list(range(share.where[0], share.where[0] + len(share.where)))
        straight &= share.inside.tolist() == list(range(low, high))
        assert share.straight == straight
        numbers.append(share.number)
    np.testing.assert_array_equal(found, wanted)
    assert numbers == sorted(set(numbers))


def test_a_million_frames_are_shared_out_at_once():
    """Ten thousand chunks: a search of all frames for each of them would take minutes."""
    parts = list(shares(np.arange(1_000_000), 100))
    assert len(parts) == 10_000 and all(len(part.where) == 100 for part in parts)


@pytest.mark.parametrize(
    "key, expected",
    [
        (3, (3, ())),
        ((3, 4), (3, (4,))),
        (..., (slice(None), ())),  # whole axes at the end say nothing
        ((2, slice(None), slice(None)), (2, ())),
        ((2, slice(None), slice(0, 9)), (2, (slice(None), slice(0, 9)))),
        ((..., 5), (slice(None), (slice(None), 5))),
        ((), (slice(None), ())),
    ],
)
def test_keys(key, expected):
    assert split_key(key, 3) == expected


@pytest.mark.parametrize("key", [(..., ...), (1, 2, 3, 4), (None, 1)])
def test_keys_that_are_none(key):
    with pytest.raises(InvalidInputError):
        split_key(key, 3)


def test_frame_numbers():
    np.testing.assert_array_equal(frame_numbers([0, -1], 5), [0, 4])
    np.testing.assert_array_equal(frame_numbers(np.array([True, False, True]), 3), [0, 2])
    assert frame_numbers([], 5).size == 0
    with pytest.raises(IndexError):
        frame_numbers(5, 5)
    with pytest.raises(InvalidInputError, match="mask of shape"):
        frame_numbers(np.array([True]), 3)
    with pytest.raises(InvalidInputError, match="whole numbers"):
        frame_numbers(1.5, 3)
