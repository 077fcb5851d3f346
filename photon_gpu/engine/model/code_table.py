"""Tables of codes: the code of every value, computed in exact arithmetic.

A code is ``k = round(A(z)/step)``, so ``z`` has a code of at least ``k`` exactly when
``A(z) >= (k - 1/2)*step``. Solved for ``z`` (FORMAT.md, "Codes") this compares rationals above ``offset``,
and the square root of a rational below it. Python's integers decide both without rounding. The tables are
the format; every backend only looks them up.

With dither there are ``PHASES`` grids of codes, shifted by ``u = (2*phase + 1 - PHASES)/(2*PHASES)``
of a step; without dither there is one grid without a shift.
"""

from __future__ import annotations

import math
import threading
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from photon_gpu.engine.model.anscombe import anscombe, stabilized_floor
from photon_gpu.engine.model.boundaries import Boundaries
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.model.representatives import needed, reach, unbiased
from photon_gpu.errors import InvalidInputError, UnsupportedTypeError

PHASES = 16
"""Shifts of the dither grid, and rounding offsets of integer output."""

_FINE = 50.0**2
MAX_CODES = 1 << 21
"""Most codes that a table of thresholds may span."""

_GAP = 1 << 12
_SUPPORTED = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
# Rounding offset of each dither phase: a permutation, so that it does not follow the grid's own shift.
_ROUNDING_ORDER = tuple((7 * phase + 3) % PHASES for phase in range(PHASES))


def supported_dtype(dtype: DTypeLike) -> np.dtype:
    """Return ``dtype`` in native byte order; raise UnsupportedTypeError if it is not supported."""
    try:
        native = np.dtype("object" if dtype is None else dtype)  # NumPy reads None as float64
    except (TypeError, ValueError) as error:
        raise UnsupportedTypeError(
            f"dtype is {str(dtype)[:60]!r}, which NumPy does not know; allowed are {', '.join(_SUPPORTED)}"
        ) from error
    return _native(native)


def dtype_name(dtype: DTypeLike) -> str:
    """Name of :func:`supported_dtype`."""
    return dtype if isinstance(dtype, str) and dtype in _SUPPORTED else supported_dtype(dtype).name


@lru_cache(maxsize=64)
def _native(dtype: np.dtype) -> np.dtype:
    if dtype.name not in _SUPPORTED:
        raise UnsupportedTypeError(
            f"dtype {dtype.name} cannot hold a photon-limited movie; allowed are {', '.join(_SUPPORTED)}"
        )
    return dtype.newbyteorder("=")


class CodeTable:
    """Exact codes, thresholds and representatives for a noise model and a step.

    Parameters
    ----------
    noise : NoiseModel
    step : float
        Quantization step, sigma. From 0.01 to 16.
    dtype : dtype
        Dtype of the movie's values, one of the ten supported ones.
    phases : {1, 16}
        1 without dither, 16 with.

    Examples
    --------
    >>> table = CodeTable(NoiseModel(), step=0.5, dtype="uint16")
    >>> [table.code(count) for count in range(8)]
    [2, 5, 6, 7, 8, 9, 10, 11]
    >>> table.representatives(2, 11).tolist()[:4]
    [0.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, noise: NoiseModel, *, step: float, dtype: DTypeLike, phases: int = 1) -> None:
        self.noise = noise
        self.step = check_step(step)
        self.dtype = supported_dtype(dtype)
        if phases not in (1, PHASES):
            raise InvalidInputError(f"phases is {phases!r}; 1 (no dither) or {PHASES} is needed")
        self.phases = phases
        self._exact = Boundaries(noise, self.step, phases)
        self._luts: NDArray[np.int32] | None = None
        self._labels: NDArray[np.float64] | None = None
        self._decoded: dict[str, tuple[int, NDArray]] = {}
        self._sparse: dict[str, tuple[NDArray[np.int64], NDArray]] = {}
        self._thresholds: dict[int, tuple[int, NDArray]] = {}
        self._mended: tuple[int, list[float]] | None = None
        self._lock = threading.Lock()

    @property
    def has_lut(self) -> bool:
        """Whether values are narrow enough (up to 16 bits) for a lookup table."""
        return self.dtype.kind in "iu" and self.dtype.itemsize <= 2

    @property
    def clipping_levels(self) -> tuple[int | None, int | None]:
        """Lowest and highest value with a code of its own, ADU; None for none."""
        return None, None

    def shift(self, phase: int) -> float:
        """Shift of a phase's grid, in steps; 0 without dither."""
        return (2 * phase + 1 - self.phases) / (2 * self.phases)

    def code(self, value: float, phase: int = 0) -> int:
        """Exact code of one value (int or float, in the movie's units)."""
        scaled = float(anscombe(np.float64(value), self.noise)) / self.step - self.shift(phase) + 0.5
        guess = math.floor(scaled)
        if abs(guess) > 1 << 40:
            raise InvalidInputError(
                f"value {value!r} lies {abs(guess * self.step):.3g} sigma from zero under {self.noise}; "
                "that is more than any detector counts: check gain and offset, or use layout='lossless'"
            )
        if abs(scaled - round(scaled)) >= self._margin(scaled, abs(value)):
            return guess
        exact = Fraction(float(value) if isinstance(value, float | np.floating) else int(value))
        while not self._exact.reached(exact, guess, phase):
            guess -= 1
        while self._exact.reached(exact, guess + 1, phase):
            guess += 1
        return guess

    def luts(self) -> NDArray[np.int32]:
        """Codes of every possible value, ``(phases, 2**bits)``, indexed by bit pattern.

        Float64 decides where it is farther from a boundary than its own error. The few other values are
        decided exactly.
        """
        with self._lock:
            if self._luts is None:
                self._luts = np.stack([self._lut(phase) for phase in range(self.phases)])
                self._luts.flags.writeable = False
            return self._luts

    def label_luts(self) -> NDArray[np.float64]:
        """Labels ``step*k`` of every possible value, ``(phases, 2**bits)``, indexed by bit pattern."""
        codes = self.luts()
        with self._lock:
            if self._labels is None:
                labels = self.labels(codes)
                labels.flags.writeable = False
                self._labels = labels
            return self._labels

    def most_moved(self, values: NDArray) -> NDArray[np.float64]:
        """Greatest distance of the stabilized value that is stored for each value from its own, sigma."""
        return np.full(values.shape, 0.5 * self.step)

    def labels(self, codes: NDArray) -> NDArray[np.float64]:
        """Labels of codes, as ``plain`` stores them: ``step*k``, also with dither."""
        return np.multiply(codes, self.step, dtype=np.float64)

    def stabilized(self, codes: NDArray, phase: int) -> NDArray[np.float64]:
        """Stabilized values of codes, sigma: ``step*(k + shift)``."""
        return np.multiply(codes + self.shift(phase), self.step, dtype=np.float64)

    def _lut(self, phase: int) -> NDArray[np.int32]:
        bits = 8 * self.dtype.itemsize
        values = np.arange(1 << bits, dtype=f"u{self.dtype.itemsize}").view(self.dtype)
        scaled = anscombe(values.astype(np.float64), self.noise) / self.step - self.shift(phase) + 0.5
        if np.abs(scaled).max() > 2**30:
            raise InvalidInputError(
                f"a {self.dtype.name} movie spans {np.ptp(scaled):.3g} codes under {self.noise} at step "
                f"{self.step:g}; at most 2**31 fit: check gain, take a larger step, or use layout='lossless'"
            )
        codes = np.floor(scaled).astype(np.int64)
        nearest = np.rint(scaled)
        for index in np.flatnonzero(np.abs(scaled - nearest) < self._margin(scaled, 65536.0)):
            boundary = int(nearest[index])
            reached = self._exact.reached(Fraction(int(values[index])), boundary, phase)
            codes[index] = boundary if reached else boundary - 1
        return codes.astype(np.int32)

    def _margin(self, scaled: Any, most: float) -> Any:
        """Bound of the error of float64 codes ``scaled`` of values up to ``most``."""
        reach = max(abs(self.noise.offset), most) / (math.sqrt(stabilized_floor(self.noise)) * self.step)
        return 1e-9 * np.maximum(1.0, np.abs(scaled)) + 2.0**-48 * reach

    def thresholds(self, low: int, high: int, phase: int = 0) -> NDArray[np.float64]:
        """``T[k]`` for ``k`` in ``low..high``: the least value whose code is ``k`` or more.

        Whole numbers for integer dtypes, the least float64 otherwise; both exact.
        """
        if high - low >= MAX_CODES:
            raise InvalidInputError(
                f"the values span {high - low + 1:,} codes under {self.noise} at step {self.step:g}; at most "
                f"{MAX_CODES:,} are supported: check gain, take a larger step, or use layout='lossless'"
            )
        with self._lock:
            first, table = self._thresholds.get(phase, (low, np.empty(0, np.float64)))
            if not _mergeable(low, high, first, first + table.size - 1):
                first, table = low, table[:0]
            before = np.arange(low, first)
            after = np.arange(first + table.size, high + 1)
            if before.size or after.size:
                table = np.concatenate([self._least(before, phase), table, self._least(after, phase)])
                table.flags.writeable = False
                first = min(first, low)
                self._thresholds[phase] = (first, table)
            return table[low - first : high - first + 1]

    def _least(self, codes: NDArray[np.int64], phase: int) -> NDArray[np.float64]:
        """Thresholds of codes, in any order."""
        if self.dtype.kind == "f":
            return self._exact.least_floats(codes, phase)
        return self._exact.least_integers(codes, phase)

    def bins(self, low: int, high: int, phase: int = 0) -> tuple[NDArray, NDArray]:
        """First and last value of each bin ``low..high``; empty bins have last < first.

        For float dtypes the last value is the next bin's first (not included).
        """
        return self._bins(self._edges(np.arange(low, high + 1), phase))

    def _edges(self, codes: NDArray[np.int64], phase: int) -> tuple[NDArray, NDArray]:
        """Thresholds of sorted codes, and of the codes after them."""
        low, high = int(codes[0]), int(codes[-1])
        if high - low + 1 == codes.size:
            edges = self.thresholds(low, high + 1, phase)
            return edges[:-1], edges[1:]
        return self._least(codes, phase), self._least(codes + 1, phase)

    def _bins(self, edges: tuple[NDArray, NDArray]) -> tuple[NDArray, NDArray]:
        first, last = edges
        if self.dtype.kind == "f":
            return first, last
        info = np.iinfo(self.dtype)
        return np.maximum(first, float(info.min)), np.minimum(last - 1.0, float(info.max))

    def representatives(self, low: int, high: int, phase: int = 0) -> NDArray[np.float64]:
        """Return the value of each code ``low..high``, before any rounding to integers.

        Bins of few integers, at low light, have the points of :mod:`photon_gpu.engine.model.representatives`.
        Others have the bin's centre, less ``gain*step^2/12`` where the square root applies and the
        bin holds more than one value (a wider bin above than below pulls the centre up
        by that much; for wide bins this equals the algebraic inverse less
        ``gain*step^2/48``), clamped into the bin. A bin of one integer is that integer.
        """
        return self.representatives_of(np.arange(low, high + 1), phase)

    def representatives_of(self, codes: NDArray[np.int64], phase: int = 0) -> NDArray[np.float64]:
        """Return the value of each of these codes, which are sorted; see :meth:`representatives`."""
        return self._points(codes, self._edges(codes, phase), phase)

    def _points(
        self, codes: NDArray[np.int64], edges: tuple[NDArray, NDArray], phase: int
    ) -> NDArray[np.float64]:
        points = self._centres(codes, edges, phase)
        if self.phases == 1 and needed(self.noise, self.dtype):
            begin, mended = self._mended_points()
            inside = (codes >= begin) & (codes < begin + len(mended))
            points[inside] = np.array(mended)[codes[inside] - begin]
        return points

    def _mended_points(self) -> tuple[int, list[float]]:
        """Points that :func:`unbiased` chose, and the code that they begin with."""
        if self._mended is None:
            lowest, highest = reach(self.noise)
            low, high = self.code(lowest), self.code(highest)
            codes = np.arange(low, high + 1)
            edges = self._edges(codes, 0)
            first, last = self._bins(edges)
            start, least = self._centres(codes, edges, 0), float(np.iinfo(self.dtype).min)
            points = unbiased(self.noise, first.tolist(), last.tolist(), start.tolist(), least)
            self._mended = (low, points)
        return self._mended

    def _centres(
        self, codes: NDArray[np.int64], edges: tuple[NDArray, NDArray], phase: int
    ) -> NDArray[np.float64]:
        first, last = self._bins(edges)
        stabilized = (codes + self.shift(phase)) * self.step
        rising = stabilized >= 2.0 * math.sqrt(stabilized_floor(self.noise)) / self.noise.gain
        pull = np.where(rising, self.noise.gain * self.step**2 / 12.0, 0.0)
        centre = 0.5 * (first + last)
        if self.dtype.kind == "f":
            inside = np.clip(centre - pull, first, np.nextafter(last, first))
            return _into_bin(inside, first, last, self.dtype)
        if self.phases > 1:
            # With dither a mean over phases is exact, unless the end of the dtype cut some of them short.
            first, last = edges[0], edges[1] - 1.0
            return np.clip(
                np.where(last > first, 0.5 * (first + last) - pull, first), first, np.maximum(first, last)
            )
        inside = np.clip(np.where(last > first, centre - pull, centre), first, np.maximum(first, last))
        info = np.iinfo(self.dtype)
        return np.clip(np.where(last >= first, inside, first), float(info.min), float(info.max))

    def decode_tables(self, low: int, high: int, dtype: DTypeLike) -> NDArray:
        """Decoded values of codes ``low..high`` as ``dtype``, ``(1 or PHASES, high - low + 1)``.

        Integers have no halves. To keep the mean over pixels right, integer
        output has one row per phase of a pixel's position, each rounded at another
        offset, all within the bin: on average the rows give the representative. Where
        half a unit is below 1 % of the least sigma, one row is rounded to nearest.
        """
        return self._decoded_rows(np.arange(low, high + 1), dtype)

    def decode_rows_of(self, codes: NDArray[np.int64], dtype: DTypeLike) -> NDArray:
        """Return rows like those of :meth:`decode_tables` for sorted codes that may lie far apart.

        Each code is computed once, so the cost follows from the codes that occur, not from their span.
        """
        name = np.dtype(dtype).name
        with self._lock:
            computed, rows = self._sparse.get(name, (codes[:0], None))
        if (new := np.setdiff1d(codes, computed)).size:
            more = self._decoded_rows(new, dtype)
            computed = np.concatenate([computed, new])
            order = np.argsort(computed)
            computed, rows = computed[order], (more if rows is None else np.hstack([rows, more]))[:, order]
            if computed.size <= MAX_CODES:
                with self._lock:
                    self._sparse[name] = computed, rows
        assert rows is not None
        return np.ascontiguousarray(rows[:, np.searchsorted(computed, codes)])

    def _decoded_rows(self, codes: NDArray[np.int64], dtype: DTypeLike) -> NDArray:
        out = np.dtype(dtype)
        rounds = out.kind in "iu"
        fine = stabilized_floor(self.noise) >= _FINE
        rows = PHASES if self.phases > 1 or (rounds and not fine) else 1
        tables = np.empty((rows, codes.size), out)
        for row in range(rows):
            phase = row if self.phases > 1 else 0
            if phase == row:
                edges = self._edges(codes, phase)
                values = self._points(codes, edges, phase)
                first, last = self._bins(edges)
            if not rounds:
                tables[row] = values
                continue
            offset = 0.5 if fine else (_ROUNDING_ORDER[row] + 0.5) / PHASES
            rounded = np.clip(np.floor(values + offset), first, np.maximum(first, last))
            info = np.iinfo(out)
            tables[row] = _cast_within(np.clip(rounded, float(info.min), float(info.max)), out)
        return tables

    def decode_table_at_least(self, low: int, high: int, dtype: DTypeLike) -> tuple[int, NDArray]:
        """Return a shared table that covers at least ``low..high``, and the code that it begins with."""
        name = np.dtype(dtype).name
        with self._lock:
            begin, tables = self._decoded.get(name, (0, None))
        if tables is None or low < begin or high >= begin + tables.shape[1]:
            if tables is not None and _mergeable(low, high, begin, begin + tables.shape[1] - 1):
                low, high = min(low, begin), max(high, begin + tables.shape[1] - 1)
            begin, tables = low, self.decode_tables(low, high, dtype)
            with self._lock:
                self._decoded[name] = (begin, tables)
        return begin, tables


def _mergeable(low: int, high: int, known_low: int, known_high: int) -> bool:
    """Whether one table may cover both ranges: no wide gap to fill, and not too long."""
    gap = max(low - known_high, known_low - high)
    return gap <= _GAP and max(high, known_high) - min(low, known_low) < MAX_CODES


def check_step(step: Any) -> float:
    """Return the step as a float; raise InvalidInputError if it is not a number from 0.01 to 16."""
    try:
        value = math.nan if isinstance(step, bool | str) else float(step)
    except (TypeError, ValueError):
        raise InvalidInputError(f"step is {step!r}; a number of sigma from 0.01 to 16 is needed") from None
    if not 0.01 <= value <= 16.0:
        raise InvalidInputError(
            f"step is {step!r} sigma; 0.01 to 16 is allowed, 0.5 keeps essentially all information, "
            "and 1.0 costs 8 % more noise"
        )
    return value


def _into_bin(values: NDArray, first: NDArray, last: NDArray, dtype: np.dtype) -> NDArray[np.float64]:
    """Round values to a float dtype, and keep them within ``[first, last)``."""
    if dtype == np.float64:
        return values
    narrow = values.astype(dtype)
    narrow = np.where(narrow.astype(np.float64) < first, np.nextafter(narrow, dtype.type(np.inf)), narrow)
    narrow = np.where(narrow.astype(np.float64) >= last, np.nextafter(narrow, dtype.type(-np.inf)), narrow)
    return narrow.astype(np.float64)


def _cast_within(values: NDArray, dtype: np.dtype) -> NDArray:
    """Cast whole float64 numbers to integers; 2**63 and 2**64, which do not fit, become the maximum."""
    top = float(np.iinfo(dtype).max)
    return np.where(values >= top, np.iinfo(dtype).max, np.where(values >= top, 0, values).astype(dtype))
