"""The CUDA kernels that store residuals in less room, executed by g++ behind a shim, against the reference.

No GPU code is run here (tests/engine/gpu/test_on_gpu.py does, where there is one).
"""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.kernels import reference
from tests.support.cuda.call_kernels import Device, equal
from tests.support.cuda.kernel_vectors import (
    frames_with_levels,
    packed,
    residuals_to_pack,
)

CODES = ["uint8", "uint16"]


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("skew", [0, 1])
def test_pack(device: Device, codes: str, skew: int) -> None:
    for residuals, segment in residuals_to_pack(codes):
        nibbles, escapes, starts = packed(residuals, segment)
        rows = device.empty((starts.size - 1, segment), codes, skew=skew)
        around = device.cupy.asarray(np.full(nibbles.size + skew + 3, 77, np.uint8))
        counts = device.empty((starts.size - 1,), np.int64)
        unaligned = device.put(residuals, skew=skew)
        device.kernels.pack(unaligned, segment, around[skew : skew + nibbles.size], rows, counts)
        equal(counts.get(), np.diff(starts))
        equal(around.get(), np.pad(nibbles, (skew, 3), constant_values=77))
        joined = device.empty(escapes.shape, codes)
        device.kernels.join_escapes(rows, device.put(starts), joined)
        equal(joined.get(), escapes)
        rest = np.frombuffer(b"\x6b\x6b", codes)[
            0
        ]  # what was there before: nothing beside the escapes is written
        for row, count in zip(rows.get(), np.diff(starts), strict=True):
            assert (row[count:] == rest).all()


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("skew", [0, 1])
def test_unpack(device: Device, codes: str, skew: int) -> None:
    for residuals, segment in residuals_to_pack(codes):
        nibbles, escapes, starts = (device.put(array, skew=skew) for array in packed(residuals, segment))
        around = device.cupy.asarray(np.full(residuals.size + skew + 3, 77, codes))
        out = around[skew : skew + residuals.size]
        assert device.kernels.unpack(nibbles, escapes, starts, segment, out) == 0
        equal(around.get(), np.pad(residuals, (skew, 3), constant_values=77))


@pytest.mark.parametrize("codes", CODES)
def test_unpack_of_what_was_altered(device: Device, codes: str) -> None:
    """Counted as by the reference, segments right, and nothing accessed beyond the arrays."""
    residuals, segment = np.random.default_rng(1).integers(0, 40, 5001).astype(codes), 500
    nibbles, escapes, starts = packed(residuals, segment)
    more, fewer, last = nibbles.copy(), nibbles.copy(), nibbles.copy()
    more[np.flatnonzero(nibbles & 15 < 15)[[3, 4, 700]]] |= 15
    fewer[np.flatnonzero(nibbles >> 4 == 15)[[2, 900]]] &= 0x7F
    last[-1] |= 0x30
    beyond, backwards = starts.copy(), starts.copy()
    beyond[5:] += 10**12
    backwards[3], backwards[4] = starts[4], starts[3]
    for wrong, begin, strange in (
        (more, starts, 2),
        (fewer, starts, 2),
        (last, starts, 1),
        (nibbles, beyond, 7),
        (nibbles, backwards, 3),
        (np.full_like(nibbles, 255), starts, 11),
        (nibbles, np.zeros_like(starts), 11),
    ):
        expected, out = np.empty(residuals.shape, codes), device.empty(residuals.shape, codes)
        result = device.kernels.unpack(
            device.put(wrong), device.put(escapes), device.put(begin), segment, out
        )
        assert result == strange == reference.unpack(wrong, escapes, begin, segment, expected)
        for first in range(0, residuals.size, segment):
            part = slice(first, first + segment)
            if (expected[part] == residuals[part]).all():
                equal(out.get()[part], residuals[part])
    empty = device.empty((0,), codes)
    assert device.kernels.unpack(device.put(nibbles), empty, device.put(starts), segment, out) == 11


@pytest.mark.parametrize("codes", CODES)
def test_levels_are_counted_and_sorted(device: Device, codes: str) -> None:
    for read, residuals, levels in frames_with_levels(codes):
        counted, counts = np.empty(levels, np.int64), device.empty((levels,), np.int64)
        arguments = (device.put(read.reshape(-1), skew=1).reshape(read.shape), device.put(residuals))
        reference.count_levels(read, residuals, counted)
        device.kernels.count_levels(*arguments, counts)
        equal(counts.get(), counted)
        # The levels need not follow one another in the order of their numbers.
        order = np.random.default_rng(levels).permutation(levels)
        places = np.empty(levels, np.int64)
        places[order] = np.cumsum(counted[order]) - counted[order]
        expected, moved = np.empty(read.size, codes), device.put(places)
        out = device.empty((read.size,), codes)
        device.kernels.sort_levels(*arguments, moved, out)
        reference.sort_levels(read, residuals, places, expected)
        equal(out.get(), expected)
        equal(moved.get(), places)


def test_what_does_not_fit_is_refused(device: Device) -> None:
    kernels, put = device.kernels, device.put
    codes, bytes_of_4 = put(np.zeros(8, np.uint8)), put(np.zeros(4, np.uint8))
    rows, two, three = put(np.zeros((2, 4), np.uint8)), put(np.zeros(2, np.int64)), put(np.zeros(3, np.int64))
    for segment in (0, 3, -2, 1 << 31):
        with pytest.raises(ValueError, match="an even number from 2"):
            kernels.pack(codes, segment, bytes_of_4, rows, two)
    with pytest.raises(ValueError, match="do not fit 8 residuals"):
        kernels.pack(codes, 4, bytes_of_4, rows, three)
    with pytest.raises(TypeError, match="escapes is uint16; allowed are uint8"):
        kernels.pack(codes, 4, bytes_of_4, put(np.zeros((2, 4), np.uint16)), two)
    with pytest.raises(ValueError, match="do not fit 8 residuals"):
        kernels.unpack(bytes_of_4, codes, two, 4, codes)
    with pytest.raises(ValueError, match="do not fit escapes"):
        kernels.join_escapes(rows, two, codes)
    with pytest.raises(ValueError, match="levels; 1 to 65,536"):
        kernels.count_levels(codes, codes, put(np.zeros(0, np.int64)))
    with pytest.raises(ValueError, match="does not fit codes"):
        kernels.sort_levels(codes, codes, two, bytes_of_4)
    kernels.pack(codes, 4, bytes_of_4, rows, two)
