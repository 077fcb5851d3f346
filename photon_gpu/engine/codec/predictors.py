"""Predictors of codes: their names, their parameters, and the fit of their weights.

If the prediction is good, residuals are small and compress well. Prediction uses integer arithmetic
(:mod:`photon_gpu.kernels.reference`) and can be undone exactly. The fit uses integers and fractions, so the
same movie gives the same weights on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.errors import InvalidInputError

NAMES = ("none", "mean", "past", "full", "spatial", "moving")
"""Names of the predictors, in the order of their numbers in a chunk's header."""

SORTABLE = ("full", "spatial", "moving")
"""Predictors whose residuals may be sorted, because decoding restores code after code."""

MAX_LEVELS = 255

LEVELS = 64
"""Default number of levels to try: one per code up to about 200 photons, one for all above."""

TERMS = 11
MULTIPLICITY = (1, 2, 2, 4, 1, 4, 1, 1, 1, 1, 0)
"""Number of samples in each term; the last term is the constant."""

MIX = 16
MIX_MULTIPLICITY = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 1, 1, 1, 1, 0)
"""Number of samples in each term of the kernels with a weight per neighbour of the mean."""

ONE = 256
_MOST_WEIGHT = 16 * ONE
_USED = {"past": (1, 2, 3, 4, 5), "full": (1, 2, 3, 4, 5, 6, 7, 8, 9), "spatial": (6, 7, 8, 9)}
_LIMIT = 1 << 19


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Predictor with its parameters, in absolute codes.

    Parameters
    ----------
    name : {"none", "mean", "past", "full", "spatial", "moving"}
        ``mean``: the running mean of the frames before. ``past``: a weighted sum of that mean, the previous
        frame and their neighbours. ``full``: like ``past``, with neighbours in the current frame.
        ``spatial``: only neighbours in the current frame. ``moving``: like ``full``, with weights for each
        frame, stored in the chunk. ``none``: no prediction.
    rate : int
        Least share, in 1/128, by which a new frame moves the running mean.
    weights : two rows of 11 int
        In 1/256; row 0 for a chunk's first frame, row 1 for the others.
    levels : int
        Number of classes of predicted codes by which residuals are sorted, since at a few photons their
        spread depends on the light. 0: not sorted. ``full``, ``spatial`` and ``moving`` only.
    coded : bool
        Whether sorted residuals are range-coded, with frequencies for each level, before Blosc: smallest,
        but slower to write and read. False: residuals are packed, and Blosc compresses them.
    """

    name: str = "mean"
    rate: int = 8
    weights: tuple[tuple[int, ...], tuple[int, ...]] = ((0,) * TERMS, (ONE,) + (0,) * (TERMS - 1))
    levels: int = 0
    coded: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in NAMES:
            raise InvalidInputError(f"predictor is {self.name!r}; allowed are {', '.join(NAMES)}")
        if not isinstance(self.rate, int) or not 1 <= self.rate <= 128:
            raise InvalidInputError(f"predictor: rate is {self.rate!r}; a whole number 1 to 128 is needed")
        if not isinstance(self.levels, int) or not (self.levels == 0 or 2 <= self.levels <= MAX_LEVELS):
            raise InvalidInputError(
                f"predictor: levels is {self.levels!r}; 0, or 2 to {MAX_LEVELS}, is needed"
            )
        if self.levels and self.name not in SORTABLE:
            raise InvalidInputError(
                f"predictor {self.name!r} has levels={self.levels}; only {' and '.join(SORTABLE)} "
                f"sort residuals"
            )
        if not isinstance(self.coded, bool) or (self.coded and not self.levels):
            raise InvalidInputError(
                f"predictor: coded is {self.coded!r} with levels={self.levels}; True needs levels, 2 "
                f"to {MAX_LEVELS}"
            )
        try:
            rows = tuple(tuple(int(weight) for weight in row) for row in self.weights)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidInputError(f"predictor: weights are not rows of whole numbers ({error})") from error
        if len(rows) != 2 or any(len(row) != TERMS for row in rows):
            raise InvalidInputError(f"predictor: weights must be two rows of {TERMS}")
        for row in rows:
            if sum(abs(w) * m for w, m in zip(row, MULTIPLICITY, strict=True)) > _MOST_WEIGHT:
                raise InvalidInputError("predictor: the absolute weights of a row add up to more than 16")
            if abs(row[-1]) >= 1 << 40:
                raise InvalidInputError("predictor: the constant term is out of range")
        object.__setattr__(self, "weights", rows)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values; ``coded`` is in it only if true, as format 2.2 requires."""
        parameters: dict[str, Any] = {"name": self.name, "rate": self.rate}
        parameters |= {"weights": [list(row) for row in self.weights], "levels": self.levels}
        return {**parameters, "coded": True} if self.coded else parameters

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Predictor:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**data, "weights": tuple(tuple(row) for row in data["weights"])})

    def relative(self, base: int, top: int) -> NDArray[np.int32]:
        """Weights for codes counted from ``base``; only the constants change, kept within ``0..top``."""
        rows = np.array([(*row[:-1], 0) for row in self.weights], np.int64)
        reach = _reach(top)
        for row, weights in zip(rows, self.weights, strict=True):
            gathered = sum(w * m for w, m in zip(weights, MULTIPLICITY, strict=True))
            row[-1] = min(max(weights[-1] + base * (gathered - ONE), -reach), reach)
        return rows.astype(np.int32)


def mix(weights: NDArray[np.int32], frames: int) -> NDArray[np.int32]:
    """Expand two rows of 11 weights to ``(frames, 16)``; neighbours share what was their common weight."""
    rows = weights[np.minimum(np.arange(frames), 1)]
    return np.ascontiguousarray(rows[:, [0, 1, 1, 2, 2, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10]])


def kernel_weights(name: str, weights: NDArray[np.int32], frames: int) -> NDArray[np.int32]:
    """Weights in the form that the kernel of a predictor expects."""
    return mix(weights, frames) if name in ("full", "spatial") else weights


def within_limits(weights: NDArray, top: int) -> NDArray[np.bool_]:
    """Whether each row of 16 weights keeps the kernels' sums in range, for codes up to ``top``."""
    heavy = np.abs(weights[:, :-1]) @ np.array(MIX_MULTIPLICITY[:-1]) > _MOST_WEIGHT
    return ~heavy & (np.abs(weights[:, -1]) <= _reach(top))


def _reach(top: int) -> int:
    """Greatest constant term."""
    return 2 * (top + 1) * ONE


def rates(frames: int, floor: int) -> NDArray[np.int32]:
    """Share by which frame ``t`` moves the running mean, in 1/128: ``max(128 // (t + 1), floor)``."""
    return np.maximum(128 // np.arange(1, frames + 1), floor).astype(np.int32)


def band_rows(rows: int, columns: int) -> int:
    """Rows per band: about 16,384 pixels, so that the state of a band stays in the cache."""
    return max(1, min(rows, max(16, -(-16384 // max(columns, 1)))))


def most_band_rows(columns: int) -> int:
    """Most rows of a band that a reader accepts; no writer uses larger bands."""
    return max(64, (1 << 18) // max(columns, 1))


def fit(blocks: Sequence[NDArray], name: str, rate: int) -> Predictor:
    """Fit the weights of predictor ``name`` to sample blocks of absolute codes.

    Parameters
    ----------
    blocks : sequence of int array
        Each ``(T, R, C)``: consecutive frames from the start of a chunk, some rows.
    name : str
    rate : int

    Returns
    -------
    Predictor
        With exact least-squares weights, rounded to 1/256, or default weights if the sample is too small.
    """
    centre = _median(np.concatenate([block[0].ravel() for block in blocks]))
    start = (0,) * (TERMS - 1) + (centre * ONE,)
    plain = Predictor(name=name, rate=rate, weights=(start, (ONE,) + (0,) * (TERMS - 1)))
    if name in ("none", "mean", "moving"):
        return plain
    first, rest = start, plain.weights[1]
    if name in ("full", "spatial"):
        first = (
            _solve([_gather(block, rate, centre, alone=True) for block in blocks], "spatial", centre) or start
        )
    if name == "spatial":
        rest = first
    else:
        moving = [_gather(block, rate, centre, alone=False) for block in blocks if len(block) > 1]
        rest = (_solve(moving, name, centre) if moving else None) or rest
    try:
        return Predictor(name=name, rate=rate, weights=(first, rest))
    except InvalidInputError:
        return plain


def _median(values: NDArray) -> int:
    """Median of integers, rounded to even, five times as fast as ``np.median``."""
    middle = [(values.size - 1) // 2, values.size // 2]
    low, high = np.partition(values, middle)[middle].tolist()
    return int(np.rint((low + high) / 2))


def _gather(block: NDArray, rate: int, centre: int, *, alone: bool) -> tuple[NDArray, NDArray]:
    """Terms ``(TERMS, n)`` and codes ``(n,)`` of a block, both in 1/128 code, as the kernels see them.

    ``alone`` treats every frame as the first of a chunk, without a past.
    """
    steps = rates(len(block), rate).astype(np.int64)
    mean = previous = np.zeros(block.shape[1:], np.int64)
    terms, targets = [], []
    for t, frame in enumerate(block):
        now = frame.astype(np.int64) << 7
        # A quarter of the frames suffices, both of the first and of the later ones.
        if (alone or t > 0) and t % 4 == min(1, len(block) - 1):
            terms.append(_terms(mean, previous, now).reshape(TERMS, -1))
            targets.append(now.ravel())
        if not alone:
            mean = mean + (((now - mean) * steps[t] + 64) >> 7)
            previous = now
    return np.concatenate(terms, 1), np.concatenate(targets)


def _terms(mean: NDArray, previous: NDArray, now: NDArray) -> NDArray[np.int64]:
    m, p = np.pad(mean, 1, mode="edge"), np.pad(previous, 1, mode="edge")
    n = np.pad(mean, 1, mode="edge")
    n[1:-1, 1:-1] = now
    return np.stack(
        [
            mean,
            m[:-2, 1:-1] + m[2:, 1:-1],
            m[1:-1, :-2] + m[1:-1, 2:],
            m[:-2, :-2] + m[:-2, 2:] + m[2:, :-2] + m[2:, 2:],
            previous,
            p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:],
            n[1:-1, :-2],
            n[:-2, 1:-1],
            n[:-2, :-2],
            n[:-2, 2:],
            np.full_like(mean, 128),
        ]
    )


def _solve(samples: list[tuple[NDArray, NDArray]], name: str, centre: int) -> tuple[int, ...] | None:
    """Solve for weights by least squares in integers; None if there are too few samples.

    Terms are relative to an anchor, the running mean (or ``centre`` without a past), which keeps the sums
    within 64 bits. The anchor's weight and the constant are solved as offsets from predicting the anchor.
    """
    alone = name == "spatial"
    used = _USED[name]
    size = len(used) + 2
    gram, right = np.zeros((size, size), object), np.zeros(size, object)
    counted = 0
    for terms, target in samples:
        anchor = np.full_like(target, centre << 7) if alone else terms[0]
        columns = [terms[i] - MULTIPLICITY[i] * anchor for i in used]
        columns += [np.zeros_like(target) if alone else anchor - (centre << 7), np.full_like(target, 128)]
        stacked, wanted = np.stack(columns), target - anchor
        kept = (np.abs(stacked).max(0) < _LIMIT) & (np.abs(wanted) < _LIMIT)
        every = max(1, int(np.count_nonzero(kept)) // (1 << 15))
        stacked, wanted = stacked[:, kept][:, ::every], wanted[kept][::every]
        for i, column in enumerate(stacked):
            right[i] += int((column * wanted).sum())
            for j in range(i, size):
                gram[i, j] += int((column * stacked[j]).sum())
                gram[j, i] = gram[i, j]
        counted += wanted.size
    if counted < 50 * size:
        return None
    for i in range(size):
        gram[i, i] += 1 + counted * 4  # a ridge of a thousandth of a code keeps equal columns solvable
    solution = _eliminate(
        [[Fraction(int(v)) for v in row] for row in gram], [Fraction(int(v)) for v in right]
    )
    weights = [Fraction(0)] * TERMS
    for i, value in zip(used, solution, strict=False):
        weights[i] = value
    taken = sum((value * MULTIPLICITY[i] for i, value in zip(used, solution, strict=False)), Fraction(0))
    tilt, constant = solution[-2], solution[-1]
    if not alone:
        weights[0] = 1 + tilt - taken
    rounded = [round(weight * ONE) for weight in weights]
    # The constant corrects for the rounding of the others, which would shift every prediction.
    gathered = sum(weight * m for weight, m in zip(rounded, MULTIPLICITY, strict=True))
    rounded[-1] = round((constant + centre) * ONE) - gathered * centre
    return tuple(rounded)


def _eliminate(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Solve exactly by Gauss without pivoting; the matrix is positive definite."""
    size = len(right)
    for i in range(size):
        for j in range(i + 1, size):
            factor = matrix[j][i] / matrix[i][i]
            if factor:
                matrix[j] = [a - factor * b for a, b in zip(matrix[j], matrix[i], strict=True)]
                right[j] -= factor * right[i]
    solution = [Fraction(0)] * size
    for i in reversed(range(size)):
        rest = sum((matrix[i][j] * solution[j] for j in range(i + 1, size)), Fraction(0))
        solution[i] = (right[i] - rest) / matrix[i][i]
    return solution
