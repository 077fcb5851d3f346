"""Half bytes, and the escapes beside them: exact, and never a byte beyond their arrays."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.kernels import cpu_nibbles

GUARD = 99


def residuals(size: int, share: float, dtype: str = "uint8") -> np.ndarray:
    """So many small residuals, and a share of large ones."""
    rng = np.random.default_rng(size)
    out = rng.integers(0, 15, size)
    long = rng.random(size) < share
    out[long] = rng.integers(15, np.iinfo(dtype).max + 1, long.sum())
    return out.astype(dtype)


def marks_of(values: np.ndarray) -> np.ndarray:
    """Marks of the half bytes of some residuals, a multiple of sixteen."""
    packed, marks = np.empty(values.size // 2, np.uint8), np.empty(values.size // 16, np.uint64)
    cpu_nibbles.pack_pairs(values, packed)
    cpu_nibbles.mark_15(packed, marks)
    return marks


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_is_joined_is_parted(dtype):
    for size in (0, 2, 64, 1000):
        values = residuals(size, 0.1, dtype)
        packed, again = np.empty(size // 2, np.uint8), np.empty_like(values)
        cpu_nibbles.pack_pairs(values, packed)
        cpu_nibbles.unpack_pairs(packed, again)
        np.testing.assert_array_equal(again, np.minimum(values, 15))


@pytest.mark.parametrize("at", range(16))
def test_a_fifteen_is_marked_at_any_place_and_nothing_less(at):
    values = np.full(16 * 40, 14, np.uint8)
    values[1::16], values[7::16], values[10::16] = 13, 11, 7
    assert not marks_of(values).any()
    values[16 * np.array([0, 3, 39]) + at] = (15, 200, 15)
    marks = marks_of(values)
    assert np.flatnonzero(marks).tolist() == [0, 3, 39] and set(marks.tolist()) == {0, 1 << 4 * at}


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("share", [0.0, 0.004, 0.05, 0.6, 1.0])
def test_escapes_are_taken_and_given_within_their_array(share, dtype):
    values = residuals(16 * 64, share, dtype)
    expected, marks = values[values >= 15] - 15, marks_of(values)
    for room in (expected.size, expected.size + 1, expected.size + 15, values.size):
        around = np.full(room + 40, GUARD, dtype)
        count = cpu_nibbles.take_excess(values, marks, around[:room])
        assert count == expected.size and (around[room:] == GUARD).all()
        np.testing.assert_array_equal(around[:count], expected)
    short = np.minimum(values, 15)
    for there in {expected.size, max(expected.size - 1, 0), expected.size // 2, 0}:
        around = np.full(there + 40, GUARD, dtype)
        around[:there] = expected[:there]
        restored = short.copy()
        assert cpu_nibbles.add_excess(restored, marks, around[:there]) == expected.size
        places = np.flatnonzero(short == 15)
        np.testing.assert_array_equal(restored[places[:there]], values[places[:there]])
        assert (restored[places[there:]] == 15).all()  # nothing from beyond the array


def test_each_is_taken_and_given_behind_what_there_is():
    values = np.array([3, 15, 40, 14, 255], np.uint8)
    escapes = np.full(8, GUARD, np.uint8)
    assert cpu_nibbles.take_excess_each(values, escapes, 2) == 5
    assert escapes.tolist() == [GUARD, GUARD, 0, 25, 240, GUARD, GUARD, GUARD]
    short = np.minimum(values, 15)
    assert cpu_nibbles.add_excess_each(short, escapes[:4], 2) == 5
    assert short.tolist() == [3, 15, 40, 14, 15]
