"""Encode the bands of a chunk in one call, without Python's lock.

The parameters of a stage are a named tuple, whose type chooses what the stage does when the call is compiled.
So a compiled call holds only the code that its settings need. Usual settings have one call for all stages.
Others quantize by one call and encode by another, or every dtype would be compiled with every predictor.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from photon_gpu.kernels import cpu
from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.cpu_predict import predict
from photon_gpu.kernels.cpu_rans import code_levels
from photon_gpu.kernels.cpu_sqrt_quantize import quantize_sqrt, quantize_sqrt_cut


class ByRoot(NamedTuple):
    """Codes by a square root in single precision."""

    model: NDArray[np.float32]
    base: int


class ByCutRoot(NamedTuple):
    """Codes by a square root, with codes of their own for the clipping levels ``low`` and ``high``."""

    model: NDArray[np.float32]
    base: int
    low: int
    high: int


class ByTable(NamedTuple):
    """Codes from a table, by the bit pattern of a value."""

    table: NDArray


class ByPhasedTable(NamedTuple):
    """Codes from a table for each phase."""

    tables: NDArray
    seed: int


class ByThresholds(NamedTuple):
    """Codes by comparing values with thresholds."""

    thresholds: NDArray
    model: NDArray[np.float64]
    base: int


class ByPhasedThresholds(NamedTuple):
    """Codes by comparing values with the thresholds of each phase."""

    thresholds: NDArray
    model: NDArray[np.float64]
    seed: int


class ByDifference(NamedTuple):
    """Codes that are the values less a base."""

    base: int


class InBands(NamedTuple):
    """Codes that :func:`quantize_bands` made; ``codes`` is 1-D, band after band."""

    codes: NDArray


class Packed(NamedTuple):
    """Where packed residuals go: half bytes, escapes of each segment, and the escapes themselves.

    ``segment`` is the number of residuals in a segment, ``each`` that of a whole band.
    """

    nibbles: NDArray[np.uint8]
    counts: NDArray[np.int64]
    escapes: NDArray
    segment: int
    each: int


class Coded(NamedTuple):
    """Where range-coded residuals go; ``room`` is the most words that one band can take."""

    words: NDArray[np.uint16]
    lengths: NDArray[np.int64]
    room: int


class EncodeGrid(NamedTuple):
    """Shape of a chunk, rows per band, and the first and last row (exclusive) of a part of it."""

    frames: int
    rows: int
    columns: int
    band: int
    begin: int
    end: int


class EncodeScratch(NamedTuple):
    """Memory for one band: its codes, residuals, residuals in order of level, and a predictor's state."""

    codes: NDArray
    residuals: NDArray
    ordered: NDArray
    state: NDArray[np.int32]


def _quantize(how: Any, values: NDArray, pitch: int, first: int, out: NDArray) -> None:
    """Write codes ``(T, n)`` of samples ``first`` to ``first + n`` of frames ``pitch`` values apart."""


@overload(_quantize)
def _quantize_typed(how, values, pitch, first, out):  # type: ignore[no-untyped-def]
    return _QUANTIZE[how.instance_class]


def _by_root(how, values, pitch, first, out):  # type: ignore[no-untyped-def]
    quantize_sqrt(values[first:], pitch, how.model, how.base, out)


def _by_cut_root(how, values, pitch, first, out):  # type: ignore[no-untyped-def]
    quantize_sqrt_cut(values[first:], pitch, how.model, how.base, how.low, how.high, out)


def _by_table(how, values, pitch, first, out):  # type: ignore[no-untyped-def]
    for t in range(out.shape[0]):
        row = values[t * pitch + first : t * pitch + first + out.shape[1]]
        cpu.quantize_lut(row.reshape(1, row.size), how.table, out[t : t + 1])


def _by_phased_table(how, values, pitch, first, out):  # type: ignore[no-untyped-def]
    for t in range(out.shape[0]):
        begin = t * pitch + first
        row = values[begin : begin + out.shape[1]].reshape(1, out.shape[1])
        cpu.quantize_lut_phased(row, how.tables, how.seed, begin, 0, out[t : t + 1])


def _by_thresholds(how, values, pitch, first, out):  # type: ignore[no-untyped-def]
    for t in range(out.shape[0]):
        row = values[t * pitch + first : t * pitch + first + out.shape[1]]
        cpu.quantize_thresholds(row.reshape(1, row.size), how.thresholds, how.model, how.base, out[t : t + 1])


def _by_phased_thresholds(how, values, pitch, first, out):  # type: ignore[no-untyped-def]
    for t in range(out.shape[0]):
        begin = t * pitch + first
        row = values[begin : begin + out.shape[1]].reshape(1, out.shape[1])
        cpu.quantize_thresholds_phased(row, how.thresholds, how.model, how.seed, begin, 0, out[t : t + 1])


def _by_difference(how, values, pitch, first, out):  # type: ignore[no-untyped-def]
    for t in range(out.shape[0]):
        row = values[t * pitch + first : t * pitch + first + out.shape[1]]
        cpu.subtract(row.reshape(1, row.size), how.base, out[t : t + 1])


def _in_bands(how, values, pitch, first, out):  # type: ignore[no-untyped-def]
    begin = out.shape[0] * first  # all frames of the bands before
    out[:] = how.codes[begin : begin + out.size].reshape(out.shape)


_QUANTIZE = {
    ByRoot: _by_root,
    ByCutRoot: _by_cut_root,
    ByTable: _by_table,
    ByPhasedTable: _by_phased_table,
    ByThresholds: _by_thresholds,
    ByPhasedThresholds: _by_phased_thresholds,
    ByDifference: _by_difference,
    InBands: _in_bands,
}


def _put(to: Any, number: int, residuals: NDArray, counts: NDArray, done: int) -> int:
    """Store the residuals of band ``number`` behind ``done`` escapes or words; return the new ``done``."""
    raise NotImplementedError  # for compiled callers only


@overload(_put)
def _put_typed(to, number, residuals, counts, done):  # type: ignore[no-untyped-def]
    return _PUT[to.instance_class]


def _put_packed(to, number, residuals, counts, done):  # type: ignore[no-untyped-def]
    nibbles = to.nibbles[number * ((to.each + 1) >> 1) :]
    first, segment = number * -(-to.each // to.segment), to.segment
    for i in range(-(-residuals.size // segment)):
        row, begin = first + i, i * segment
        cpu.pack(
            residuals[begin : begin + segment],
            segment,
            nibbles[begin >> 1 :],
            to.escapes[done : done + segment].reshape(1, segment),
            to.counts[row : row + 1],
        )
        done += to.counts[row]
    return done


def _put_coded(to, number, residuals, counts, done):  # type: ignore[no-untyped-def]
    words = to.words[done : done + to.room]
    begin = code_levels(residuals, counts, words)
    to.lengths[number] = words.size - begin
    for i in range(words.size - begin):
        words[i] = words[begin + i]
    return done + words.size - begin


_PUT = {Packed: _put_packed, Coded: _put_coded}


@jit
def _sort_and_put(
    codes: NDArray, residuals: NDArray, counts: NDArray, to: Any, number: int, rest: Any
) -> int:
    """Sort the residuals of a band by level, if ``counts`` has levels, and store them."""
    ordered, done = rest
    if counts.size:
        cpu.count_levels(codes, residuals, counts)
        places, begin = np.empty(counts.size, np.int64), 0
        for level in range(counts.size):
            places[level] = begin
            begin += counts[level]
        cpu.sort_levels(codes, residuals, places, ordered)
        return _put(to, number, ordered[: residuals.size], counts, done)
    return _put(to, number, residuals.reshape(-1), counts, done)


@jit
def encode_bands(values: NDArray, grid: Any, how: Any, to: Any, levels: NDArray[np.int64], work: Any) -> Any:
    """Quantize, predict and store the bands of rows ``grid.begin`` to ``grid.end`` of ``values``, 1-D.

    ``how`` is a quantizer and a predictor. ``levels (bands, L)`` receives the number of residuals of each
    level; ``L`` is 0 if they are not sorted. Return the sum of the codes' checksums.
    """
    total, done, pixels = np.uint64(0), 0, grid.rows * grid.columns
    for first in range(grid.begin, grid.end, grid.band):
        height = min(grid.band, grid.rows - first)
        shape, size = (grid.frames, height, grid.columns), grid.frames * height * grid.columns
        codes, residuals = work.codes[:size].reshape(shape), work.residuals[:size].reshape(shape)
        flat = codes.reshape(grid.frames, height * grid.columns)
        _quantize(how[0], values, pixels, first * grid.columns, flat)
        total += cpu.checksum(flat, first * grid.columns, pixels)
        state = work.state[: 3 * (height + 2) * (grid.columns + 2)]
        predict(how[1], codes, state.reshape(3, height + 2, grid.columns + 2), residuals)
        number = first // grid.band
        done = _sort_and_put(codes, residuals, levels[number], to, number, (work.ordered, done))
    return total


@jit
def quantize_bands(values: NDArray, grid: Any, quantizer: Any, out: NDArray) -> None:
    """Quantize ``values``, 1-D, to ``out``, 1-D, band after band."""
    for first in range(grid.begin, grid.end, grid.band):
        height = min(grid.band, grid.rows - first)
        begin, size = grid.frames * first * grid.columns, grid.frames * height * grid.columns
        flat = out[begin : begin + size].reshape(grid.frames, height * grid.columns)
        _quantize(quantizer, values, grid.rows * grid.columns, first * grid.columns, flat)
