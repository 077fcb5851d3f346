"""Random indices, and the comparison of a read with NumPy's result for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from photon_gpu.errors import PhotonError


@st.composite
def indices(draw, shape):
    """Draw an index with parts in any order; most are valid, and most arrays broadcast."""
    block = draw(st.sampled_from([(1,), (2,), (3,), (2, 3), (0,), (3, 1, 2)]))

    def chance():  # hypothesis cannot draw so many positions one by one
        return np.random.default_rng(draw(st.integers(0, 99)))

    def array(size):
        dims = [draw(st.sampled_from([n, n, 1])) for n in block[draw(st.integers(0, len(block) - 1)) :]]
        return chance().integers(-size, size, dims)

    def part(size):
        choice = draw(st.integers(0, 11))
        if choice < 3:
            return draw(st.integers(-size, size - 1))
        if choice < 6:
            bound = st.none() | st.integers(-size - 2, size + 2)
            return slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -3, 10**30])))
        if choice < 8:
            return array(size)
        if choice == 8:
            return array(size).tolist()
        if choice == 9:
            return chance().random(size) < 0.5
        if choice == 10:
            return draw(
                st.sampled_from([np.int64(-1), np.array(0), size, [], [True] * size, range(size), "x", 0.5])
            )
        return slice(None)

    parts, axis = [], 0
    while axis < len(shape):
        choice = draw(st.integers(0, 19))
        if choice == 0:
            break
        if choice == 1:
            parts.append(None)
        elif choice == 2:
            parts.append(draw(st.sampled_from([True, False, np.True_])))
        elif choice == 3:
            parts.append(Ellipsis)
            axis += draw(st.integers(0, 2))
        elif choice == 4:
            several = shape[axis : axis + draw(st.integers(1, len(shape) - axis))]
            parts.append(chance().random(several) < 0.3)
            axis += len(several)
        else:
            parts.append(part(shape[axis]))
            axis += 1
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


def as_numpy_does(array, read, key):
    """Check that NumPy and ``read`` return the same for a key, or that both refuse it."""
    try:
        expected, refused = array[key], None
    except (IndexError, ValueError, TypeError) as error:
        expected, refused = None, error
    if refused is not None:
        with pytest.raises(PhotonError) as raised:
            read(key)
        assert isinstance(raised.value, (IndexError, ValueError)) and len(str(raised.value)) < 301
        return
    actual = read(key)
    assert (
        type(actual) is type(expected) and actual.shape == expected.shape and actual.dtype == expected.dtype
    )
    np.testing.assert_array_equal(actual, expected)
