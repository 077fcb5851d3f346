"""Lower boundaries of codes: the least value of each code, computed in exact arithmetic.

A movie with one pixel that is far off needs the boundaries of millions of codes. Pairs of doubles
(Dekker, Numer. Math. 18, 1971) give them to about 100 bits, thousands at a time. The few that lie closer
to a representable value than the pairs' error are decided by Python's integers.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from photon_gpu.engine.model.noise import NoiseModel

_EXACT_FLOAT = 1 << 53
_BLOCK = 1 << 14
_ERROR = 2.0**-96  # of pairs, relative to the terms of a sum; the bound of the formulas is about 2**-103

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


class Boundaries:
    """Lower boundary of each code. In A, a boundary is ``n*step/(2*phases)``."""

    def __init__(self, noise: NoiseModel, step: float, phases: int) -> None:
        gain, offset = Fraction(noise.gain), Fraction(noise.offset)
        dark = Fraction(3, 8) * gain**2 + Fraction(noise.variance)
        unit = Fraction(step) / (2 * phases)
        self.phases = phases
        # Above offset: z >= base + rise*n^2.
        self.base, self.rise = offset - dark / gain, gain * unit**2 / 4
        # Below offset, on the tangent: z >= foot + sign(n)*sqrt(slope2*n^2).
        self.foot, self.slope2 = offset - 2 * dark / gain, dark * unit**2
        self.bend2 = 4 * dark / gain**2 / unit**2
        self.upper = math.lcm(self.base.denominator, self.rise.denominator)
        self.upper_base, self.upper_rise = int(self.base * self.upper), int(self.rise * self.upper)
        self.lower = math.lcm(self.foot.denominator, self.slope2.denominator)
        self.lower_foot, self.lower_slope2 = int(self.foot * self.lower), int(self.slope2 * self.lower**2)
        self._first_on_root = math.isqrt(math.ceil(self.bend2) - 1) + 1
        self._slope = Fraction(math.isqrt(self.lower_slope2 << 256), self.lower << 128)

    def reached(self, value: Fraction, code: int, phase: int) -> bool:
        """Whether ``A(value) >= boundary of code``."""
        n = self._numerator(code, phase)
        if self._on_root(n):
            return value >= self.base + self.rise * n * n
        distance, square = value - self.foot, self.slope2 * n * n
        if n >= 0:
            return distance >= 0 and distance * distance >= square
        return distance >= 0 or distance * distance <= square

    def least_integers(self, codes: NDArray[np.int64], phase: int) -> NDArray[np.float64]:
        """Least whole number of each code; beyond 2**53, which values do not pass, it is rounded."""
        most = 2 * _EXACT_FLOAT
        out = np.empty(codes.size)
        for part in _blocks(codes.size):
            near, rest, error = self._near(codes[part], phase)
            whole = np.floor(near)
            rest = (near - whole) + rest
            up = np.ceil(rest)
            unsure = np.abs(rest - np.rint(rest)) <= error + 2.0**-50
            beyond = np.abs(near) >= _EXACT_FLOAT / 2
            out[part] = whole + up
            for index in np.flatnonzero(unsure | beyond):
                least = self._least_integer(int(codes[part][index]), phase)
                out[part][index] = float(min(max(least, -most), most))
        return out

    def least_floats(self, codes: NDArray[np.int64], phase: int) -> NDArray[np.float64]:
        """Least float64 of each code."""
        out = np.empty(codes.size)
        for part in _blocks(codes.size):
            near, rest, error = self._near(codes[part], phase)
            out[part] = np.where(rest > 0, np.nextafter(near, np.inf), near)
            for index in np.flatnonzero(np.abs(rest) <= error):
                out[part][index] = self._least_float(int(codes[part][index]), phase)
        return out

    def _numerator(self, code: int, phase: int) -> int:
        """``n`` of the boundary ``(code - 1/2 + shift)*step``."""
        return 2 * self.phases * (code - 1) + 2 * phase + 1

    def _on_root(self, n: int) -> bool:
        return n > 0 and n * n >= self.bend2

    def _near(self, codes: NDArray[np.int64], phase: int) -> tuple[NDArray, NDArray, NDArray]:
        """Boundaries as sums of two doubles, and bounds of their errors; negative where the sum is exact."""
        numerators = 2 * self.phases * (codes - 1) + 2 * phase + 1
        near, rest, error = np.empty((3, codes.size))
        on_root = numerators >= self._first_on_root
        for chosen, base, rise, power in (
            (on_root, self.base, self.rise, 2),
            (~on_root, self.foot, self._slope, 1),
        ):
            n = numerators[chosen].astype(np.float64)
            scaled = _times(_pair(rise), _product(n, n) if power == 2 else (n, np.zeros_like(n)))
            near[chosen], rest[chosen] = _plus(_pair(base), scaled)
            size = abs(float(base)) + np.abs(scaled[0])
            error[chosen] = np.where(size < self._rounded_from(base, rise), -1.0, _ERROR * size)
        return near, rest, error

    def _rounded_from(self, base: Fraction, rise: Fraction) -> float:
        """Sums of smaller terms lie on a binary grid of at most 53 bits, so that nothing is rounded."""
        grid = math.lcm(base.denominator, rise.denominator)
        rational = rise is not self._slope or self._slope**2 == self.slope2
        return float(Fraction(_EXACT_FLOAT // 2, grid)) if rational and grid.bit_count() == 1 else 0.0

    def _least_integer(self, code: int, phase: int) -> int:
        n = self._numerator(code, phase)
        if self._on_root(n):
            return -(-(self.upper_base + self.upper_rise * n * n) // self.upper)
        square = self.lower_slope2 * n * n
        root = math.isqrt(square)
        if n >= 0:
            root += root * root < square
        else:
            root = -root
        return -(-(self.lower_foot + root) // self.lower)

    def _least_float(self, code: int, phase: int) -> float:
        n = self._numerator(code, phase)
        if self._on_root(n):
            near = float(Fraction(self.upper_base + self.upper_rise * n * n, self.upper))
        else:
            root = math.isqrt(self.lower_slope2 * n * n << 256)
            near = float(Fraction((self.lower_foot << 128) + (root if n >= 0 else -root), self.lower << 128))
        while not self.reached(Fraction(near), code, phase):
            near = math.nextafter(near, math.inf)
        while self.reached(Fraction(below := math.nextafter(near, -math.inf)), code, phase):
            near = below
        return near


def _blocks(size: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK)]


def _pair(value: Fraction) -> Pair:
    high = float(value)
    return np.array(high), np.array(float(value - Fraction(high)))


def _sum(a: NDArray[np.float64], b: NDArray[np.float64]) -> Pair:
    """Sum of doubles without error (Knuth's TwoSum)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> Pair:
    """Product of doubles without error (Dekker's TwoProduct)."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: NDArray[np.float64]) -> Pair:
    """Two doubles of 26 bits whose sum is ``a`` (Veltkamp)."""
    scaled = 134217729.0 * a
    high = scaled - (scaled - a)
    return high, a - high


def _times(a: Pair, b: Pair) -> Pair:
    high, low = _product(a[0], b[0])
    return _sum(high, low + (a[0] * b[1] + a[1] * b[0]))


def _plus(a: Pair, b: Pair) -> Pair:
    high, low = _sum(a[0], b[0])
    return _sum(high, low + (a[1] + b[1]))
