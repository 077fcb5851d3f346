"""Decode the bands of a chunk in one call, without Python's lock.

The inverse of :mod:`photon_gpu.kernels.cpu_encode`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from photon_gpu.kernels import cpu
from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.cpu_predict import Mean, restore, restore_sorted
from photon_gpu.kernels.cpu_rans import open_levels
from photon_gpu.kernels.cpu_unpack_unpredict import restore_mean_packed
from photon_gpu.kernels.instructions.avx512_table_lookup import permute


class FromHalves(NamedTuple):
    """Packed residuals: half bytes, escapes, and the first escape of each segment.

    ``segment`` is the number of residuals in a segment, ``each`` that of a whole band.
    """

    nibbles: NDArray[np.uint8]
    escapes: NDArray
    starts: NDArray[np.int64]
    segment: int
    each: int


class FromPlanes(NamedTuple):
    """Residuals as planes of bytes; ``each`` is their number in a whole band."""

    planes: NDArray[np.uint8]
    each: int


class FromWords(NamedTuple):
    """Range-coded residuals: streams of words, and the first word of each band."""

    words: NDArray[np.uint16]
    starts: NDArray[np.int64]


class Table(NamedTuple):
    """Samples from a table, by code."""

    table: NDArray


class Pairs(NamedTuple):
    """Samples of two bytes from a table of all pairs of 8-bit codes."""

    table: NDArray[np.uint32]


class Permuted(NamedTuple):
    """Bit patterns of the two-byte samples of all 8-bit codes, to be looked up in vector registers."""

    table: NDArray[np.uint16]


class PhasedTable(NamedTuple):
    """Samples from a table for each phase."""

    tables: NDArray
    seed: int


class DecodeGrid(NamedTuple):
    """Shape of a chunk, rows per band, first and last row (exclusive) of a part, and the wanted frames."""

    frames: int
    rows: int
    columns: int
    band: int
    begin: int
    end: int
    start: int
    stop: int


class DecodeScratch(NamedTuple):
    """Memory for one band: its codes, its residuals, and a predictor's state."""

    codes: NDArray
    residuals: NDArray
    state: NDArray[np.int32]


def _take(source: Any, number: int, counts: NDArray[np.int64], out: NDArray) -> int:
    """Read the residuals of band ``number`` to ``out (n,)``; return a number above 0 if they contradict."""
    raise NotImplementedError  # for compiled callers only


@overload(_take)
def _take_typed(source, number, counts, out):  # type: ignore[no-untyped-def]
    return _TAKE[source.instance_class]


def _take_halves(source, number, counts, out):  # type: ignore[no-untyped-def]
    first = number * -(-source.each // source.segment)
    starts = source.starts[first : first + -(-out.size // source.segment) + 1]
    nibbles = source.nibbles[number * ((source.each + 1) >> 1) :]
    return cpu.unpack(nibbles[: (out.size + 1) >> 1], source.escapes, starts, source.segment, out)


def _take_planes(source, number, counts, out):  # type: ignore[no-untyped-def]
    planes = source.planes[number * source.each * out.itemsize :]
    for i in range(out.size):
        out[i] = planes[i]
    if out.itemsize > 1:
        for i in range(out.size):
            out[i] |= np.uint16(planes[out.size + i]) << np.uint16(8)
    return 0


def _take_words(source, number, counts, out):  # type: ignore[no-untyped-def]
    return open_levels(source.words[source.starts[number] : source.starts[number + 1]], counts, out)


_TAKE = {FromHalves: _take_halves, FromPlanes: _take_planes, FromWords: _take_words}


def _open(source: Any, number: int, how: Any, counts: NDArray, work: Any, codes: NDArray) -> int:
    """Restore the codes of band ``number``; return a number above 0 if what is stored contradicts itself."""
    raise NotImplementedError  # for compiled callers only


@overload(_open)
def _open_typed(source, number, how, counts, work, codes):  # type: ignore[no-untyped-def]
    both = source.instance_class, how.instance_class
    return _open_mean if both == (FromHalves, Mean) and codes.dtype.bitwidth == 8 else _open_any


def _open_mean(source, number, how, counts, work, codes):  # type: ignore[no-untyped-def]
    first = number * -(-source.each // source.segment)
    starts = source.starts[first : first + -(-codes.size // source.segment) + 1]
    nibbles = source.nibbles[number * ((source.each + 1) >> 1) :]
    flat = codes.reshape(codes.shape[0], codes.shape[1] * codes.shape[2])
    return restore_mean_packed(
        nibbles[: (codes.size + 1) >> 1],
        source.escapes,
        starts,
        source.segment,
        how.rates,
        how.first,
        work.state,
        flat,
    )


def _open_any(source, number, how, counts, work, codes):  # type: ignore[no-untyped-def]
    residuals = work.residuals[: codes.size]
    if _take(source, number, counts, residuals):
        return 1
    rows, columns = codes.shape[1] + 2, codes.shape[2] + 2
    state = work.state[: 3 * rows * columns].reshape(3, rows, columns)
    if not counts.size:
        restore(how, residuals.reshape(codes.shape), state, codes)
        return 0
    places = np.empty((2, counts.size), np.int64)
    end = 0
    for level in range(counts.size):
        places[0, level] = end
        end += counts[level]
        places[1, level] = end
    missing, left = restore_sorted(how, residuals, places, state, codes), 0
    for level in range(counts.size):
        left += places[1, level] - places[0, level]
    return missing + left


def _draw(how: Any, codes: NDArray, first: int, out: NDArray) -> None:
    """Write the samples of codes ``(n,)`` of one frame, of which the first is sample ``first``."""


@overload(_draw)
def _draw_typed(how, codes, first, out):  # type: ignore[no-untyped-def]
    return _DRAW[how.instance_class]


def _draw_table(how, codes, first, out):  # type: ignore[no-untyped-def]
    for i in range(codes.size):
        out[i] = how.table[codes[i]]


def _draw_pairs(how, codes, first, out):  # type: ignore[no-untyped-def]
    two, to = codes.view(np.uint16), out.view(np.uint32)
    for i in range(two.size):
        to[i] = how.table[two[i]]


def _draw_permuted(how, codes, first, out):  # type: ignore[no-untyped-def]
    permute(codes, how.table, out.view(np.uint16))


def _draw_phased(how, codes, first, out):  # type: ignore[no-untyped-def]
    cpu.dequantize_phased(
        codes.reshape(1, codes.size), how.tables, how.seed, first, 0, out.reshape(1, codes.size)
    )


_DRAW = {Table: _draw_table, Pairs: _draw_pairs, Permuted: _draw_permuted, PhasedTable: _draw_phased}


@jit
def decode_bands(
    source: Any,
    grid: Any,
    predictor: Any,
    levels: NDArray[np.int64],
    drawing: Any,
    out: NDArray,
    work: Any,
) -> Any:
    """Restore the bands of rows ``grid.begin`` to ``grid.end``, and draw the wanted frames.

    ``out`` has frames ``grid.start`` to ``grid.stop``, 1-D. ``levels (bands, L)`` is the number of residuals
    of each level; ``L`` is 0 if they are not sorted. Return a number above 0 if the chunk contradicts itself,
    and the sum of the codes' checksums.
    """
    total, strange, pixels = np.uint64(0), 0, grid.rows * grid.columns
    for first in range(grid.begin, grid.end, grid.band):
        size = min(grid.band, grid.rows - first) * grid.columns
        flat = work.codes[: grid.frames * size]
        strange += _restore_band(source, first, grid, predictor, levels, work, flat)
        total += cpu.checksum(flat.reshape(grid.frames, size), first * grid.columns, pixels)
        _draw_band(flat, first, grid, drawing, out)
    return strange, total


@jit
def restore_bands(
    source: Any, grid: Any, predictor: Any, levels: NDArray[np.int64], codes: NDArray, work: Any
) -> Any:
    """Restore ``codes``, 1-D, band after band; return what :func:`decode_bands` returns."""
    total, strange, pixels = np.uint64(0), 0, grid.rows * grid.columns
    for first in range(grid.begin, grid.end, grid.band):
        size = min(grid.band, grid.rows - first) * grid.columns
        begin = grid.frames * first * grid.columns
        flat = codes[begin : begin + grid.frames * size]
        strange += _restore_band(source, first, grid, predictor, levels, work, flat)
        total += cpu.checksum(flat.reshape(grid.frames, size), first * grid.columns, pixels)
    return strange, total


@jit
def draw_bands(codes: NDArray, grid: Any, drawing: Any, out: NDArray) -> None:
    """Draw the wanted frames of ``codes``, 1-D, as :func:`restore_bands` left them."""
    for first in range(grid.begin, grid.end, grid.band):
        size = min(grid.band, grid.rows - first) * grid.columns
        begin = grid.frames * first * grid.columns
        _draw_band(codes[begin : begin + grid.frames * size], first, grid, drawing, out)


@jit
def _restore_band(
    source: Any, first: int, grid: Any, predictor: Any, levels: NDArray[np.int64], work: Any, flat: NDArray
) -> int:
    codes = flat.reshape(grid.frames, min(grid.band, grid.rows - first), grid.columns)
    number = first // grid.band
    return _open(source, number, predictor, levels[number], work, codes)


@jit
def _draw_band(flat: NDArray, first: int, grid: Any, drawing: Any, out: NDArray) -> None:
    pixels, begin = grid.rows * grid.columns, first * grid.columns
    size = min(grid.band, grid.rows - first) * grid.columns
    for t in range(grid.start, grid.stop):
        to = (t - grid.start) * pixels + begin
        _draw(drawing, flat[t * size : (t + 1) * size], t * pixels + begin, out[to : to + size])
