"""Sums that weights are fitted from: as NumPy has them, term by term and sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.engine.codec.predictors import rates
from photon_gpu.kernels.cpu_normal_equations import LIMIT, TERMS, mix_sums


def terms_of(mean, previous, now, centre, kept, alone):
    """Terms ``(17, n)`` of every pixel of the rows ``kept``, from frames with replicated edges."""

    def around(frame):
        padded = np.pad(frame, 1, mode="edge")
        return {
            (r, c): padded[1 + r : 1 + r + frame.shape[0], 1 + c : 1 + c + frame.shape[1]]
            for r in (-1, 0, 1)
            for c in (-1, 0, 1)
        }

    m, p, n = around(mean), around(previous), around(now)
    # Where nothing lies above, the mean of the same row stands in.
    first = np.arange(len(now))[:, None] == 0
    upper = {c: np.where(first, m[0, c], n[-1, c]) for c in (-1, 0, 1)}
    past = [
        mean - (centre << 7),
        *(m[at] - mean for at in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))),
        previous - mean,
        p[-1, 0] + p[1, 0] + p[0, -1] + p[0, 1] - 4 * mean,
    ]
    anchor = np.full_like(mean, centre << 7) if alone else mean
    if alone:
        past = [np.zeros_like(mean) for _ in past]
    present = [plane - anchor for plane in (n[0, -1], upper[0], upper[-1], upper[1])]
    planes = [*past, *present, np.full_like(mean, 128), now - anchor]
    return np.stack([plane[kept].ravel() for plane in planes])


def by_numpy(codes, moves, kept, centre):
    out = np.zeros((len(codes), TERMS, TERMS), np.int64)
    mean = previous = np.zeros(codes.shape[1:], np.int64)
    for t, frame in enumerate(codes):
        now = frame.astype(np.int64) << 7
        terms = terms_of(mean, previous, now, centre, kept, t == 0)
        terms = terms[:, (np.abs(terms) < LIMIT).all(0)]
        out[t] = terms @ terms.T
        mean = mean + (((now - mean) * int(moves[t]) + 64) >> 7)
        previous = now
    return out


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (4, 1, 9), (4, 9, 1), (5, 2, 2), (7, 20, 31)])
def test_sums_are_those_of_numpy(dtype, shape):
    rng = np.random.default_rng(sum(shape))
    top = np.iinfo(dtype).max
    movies = {
        "dim": rng.poisson(20, shape),
        "any": rng.integers(0, top + 1, shape),  # terms beyond the limit, in 16 bits
        "ends": rng.choice([0, top], shape),
        "ramp": np.broadcast_to(np.arange(shape[-1]) * 1000 % top, shape),
    }
    for codes in (movie.astype(dtype) for movie in movies.values()):
        for kept in (np.arange(shape[1]), np.arange(0, shape[1], 3), np.array([shape[1] - 1])):
            moves, centre = rates(shape[0], 16), int(codes[0, 0, 0])
            mean, terms = np.full(shape[1:], -7, np.int32), np.full((TERMS, shape[2]), -7, np.int32)
            out = np.full((shape[0], TERMS, TERMS), -7, np.int64)
            mix_sums(codes, moves, kept, centre, mean, terms, out)
            np.testing.assert_array_equal(out, by_numpy(codes, moves, kept, centre))


def test_the_limit_is_met_on_both_sides():
    """A code 1,023 away is 130,944 in 1/128 code and counts; one 1,024 away is the limit and does not."""
    for code, centre, counted in ((1023, 0, 1), (1024, 0, 0), (0, 1023, 1), (0, 1024, 0)):
        out, mean, terms = (
            np.empty((1, TERMS, TERMS), "i8"),
            np.empty((1, 1), "i4"),
            np.empty((TERMS, 1), "i4"),
        )
        mix_sums(np.full((1, 1, 1), code, "u2"), rates(1, 16), np.arange(1), centre, mean, terms, out)
        assert out[0, -1, -1] == counted * (128 * (code - centre)) ** 2
        assert out[0, -2, -2] == counted * 128**2
