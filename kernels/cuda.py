"""CUDA kernels: the functions of :mod:`photon_gpu.kernels.reference`, in the same order.

``restore_full_sorted`` is missing: each residual depends on the one before, so it runs on the CPU only.

Arrays are CuPy arrays of the current device. Work is queued on the current stream; only a function that
returns a number waits for it. The pixels of a frame must be contiguous, the frames need not be (a band of
a chunk is a view).

A kernel that takes ``(T, n)`` in the twins also takes several bands ``(bands, T, n)`` in one launch. The
sample numbers of a frame continue from band to band. NVRTC compiles the source, ``quantize.cu`` and the files
that continue it, at the first use of a device.

The kernels of ``past`` and ``full`` take whole chunks. With ``band_rows``, codes and residuals lie in memory
band after band, each ``(T, its rows, columns)``, as in a payload. The twins take one band per call.
"""

from __future__ import annotations

from typing import Any

import cupy
import numpy as np

from photon_gpu.kernels.cuda_launch import (
    THREADS,
    check,
    contiguous,
    launch,
    letter,
    rows_of,
    same_shape,
    strides_of,
    u32,
)

FRACTION, WEIGHT, ESCAPE, TERMS, MIX = 7, 8, 15, 11, 16

_RUN, _TABLE, _STEPS = 1024, 1 << 20, 16
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_BITS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}


def extent(values: Any, out: Any) -> None:
    """See the reference. ``values`` may also be ``(T, n)``."""
    check(values, "values")
    check(out, "out", values.dtype.name)
    values = values if values.ndim > 1 else values.reshape(1, -1)
    rows = rows_of(values, values)
    keys = cupy.empty(3, np.uint64)
    keys.data.memset_async(0, keys.nbytes)
    launch(f"extent_{letter(values)}", rows.pixels, rows.frames, values, *rows.input, keys)
    launch(f"extent_values_{letter(values)}", 1, 1, keys, out)


def _lookup(codes: Any, table: Any, phased: tuple[int, int, int] | None, out: Any) -> None:
    check(codes, "codes", "uint8", "uint16", "uint32")
    check(table, "table")
    check(out, "out", table.dtype.name)
    contiguous(table, "table")
    if codes.size == 0:
        return
    rows = rows_of(codes, out, *(phased[2:] if phased else ()))
    kinds = f"{letter(codes)}_{_BITS[out.dtype.itemsize]}"
    inputs = (codes, *rows.input, table, np.uint32(table.shape[-1]))
    if phased:
        numbers = [u32(number) for number in phased]
        launch(f"lookup_phased_{kinds}", rows.pixels, rows.frames, *inputs, *numbers, out, *rows.out)
    else:
        launch(f"lookup_{kinds}", -(-rows.pixels // 16), rows.frames, *inputs, out, *rows.out)


def quantize_lut(patterns: Any, lut: Any, out: Any) -> None:
    """See the reference."""
    check(patterns, "patterns", "uint8", "uint16")
    _lookup(patterns, lut, None, out)


def quantize_lut_phased(patterns: Any, luts: Any, seed: int, first: int, stride: int, out: Any) -> None:
    """See the reference."""
    check(patterns, "patterns", "uint8", "uint16")
    _lookup(patterns, luts, (seed, first, stride), out)


def subtract(values: Any, base: int, out: Any) -> None:
    """See the reference."""
    check(values, "values", *_INTEGERS)
    check(out, "out", "uint8", "uint16", "uint32")
    rows = rows_of(values, out)
    if values.size:
        name = f"subtract_{letter(values)}_{letter(out)}"
        launch(name, rows.pixels, rows.frames, values, *rows.input, np.int64(base), out, *rows.out)


def _threshold(values: Any, thresholds: Any, model: Any, phased: tuple[int, int, int], out: Any) -> None:
    check(values, "values")
    check(thresholds, "thresholds", "float64")
    check(model, "model", "float64")
    check(out, "out", "uint8", "uint16", "uint32")
    contiguous(thresholds, "thresholds")
    phases, size = (1, thresholds.size) if thresholds.ndim == 1 else thresholds.shape
    if model.size < 4 + phases:
        raise ValueError(f"model holds {model.size} numbers; 4 and one per row of thresholds are needed")
    if values.size == 0:
        return
    rows = rows_of(values, out, *(phased[2:] if phases > 1 else ()))
    table = (thresholds, np.uint32(phases), np.uint32(size), model, *(u32(number) for number in phased))
    name = f"threshold_{letter(values)}_{letter(out)}"
    launch(name, rows.pixels, rows.frames, values, *rows.input, *table, out, *rows.out)


def quantize_thresholds(values: Any, thresholds: Any, model: Any, base: int, out: Any) -> None:
    """See the reference."""
    _threshold(values, thresholds, model, (0, 0, 0), out)


def quantize_thresholds_phased(
    values: Any, thresholds: Any, model: Any, seed: int, first: int, stride: int, out: Any
) -> None:
    """See the reference."""
    _threshold(values, thresholds, model, (seed, first, stride), out)


def dequantize(codes: Any, table: Any, out: Any) -> None:
    """See the reference."""
    _lookup(codes, table, None, out)


def dequantize_phased(codes: Any, tables: Any, seed: int, first: int, stride: int, out: Any) -> None:
    """See the reference."""
    _lookup(codes, tables, (seed, first, stride), out)


def codes_from_labels(labels: Any, step: float, out: Any) -> int:
    """See the reference. The call waits for the count."""
    check(labels, "labels", "float64")
    check(out, "out", "int32")
    same_shape(labels, out)
    contiguous(labels, "labels")
    contiguous(out, "out")
    strange = cupy.empty(1, np.uint64)
    strange.data.memset_async(0, strange.nbytes)
    launch(
        "codes_from_labels", labels.size, 1, labels, np.uint64(labels.size), np.float64(step), out, strange
    )
    return int(strange.get()[0])


def checksum(codes: Any, first: int, stride: int) -> int:
    """See the reference. The call waits for the sum."""
    total = cupy.empty(1, np.uint64)
    total.data.memset_async(0, total.nbytes)
    add_checksum(codes, first, stride, total)
    return int(total.get()[0])


def add_checksum(codes: Any, first: int, stride: int, total: Any) -> None:
    """Add :func:`checksum` to ``total`` (one uint64, modulo 2**64) on the device, without waiting."""
    check(codes, "codes", "uint8", "uint16", "uint32")
    check(total, "total", "uint64")
    rows = rows_of(codes, codes, stride)
    numbers = (u32(first), u32(stride))
    launch(f"checksum_{letter(codes)}", rows.pixels, rows.frames, codes, *rows.input, *numbers, total)


def _mean(name: str, codes: Any, rates: Any, first: int, out: Any) -> None:
    check(codes, "codes", "uint8", "uint16")
    check(out, "out", codes.dtype.name)
    check(rates, "rates", "int32")
    same_shape(codes, out)
    in_strides, out_strides = strides_of(codes, "codes"), strides_of(out, "out")
    bands, frames, pixels = (1, *codes.shape) if codes.ndim == 2 else codes.shape
    if codes.size:
        shape = (codes, *map(np.uint64, in_strides), np.uint32(bands), np.uint32(frames), np.uint64(pixels))
        numbers = (rates, np.int32(first), out, *map(np.uint64, out_strides))
        launch(f"{name}_{letter(codes)}", pixels, bands, *shape, *numbers)


def predict_mean(codes: Any, rates: Any, first: int, state: Any, out: Any) -> None:
    """See the reference. ``state`` is not used."""
    _mean("predict_mean", codes, rates, first, out)


def restore_mean(residuals: Any, rates: Any, first: int, state: Any, out: Any) -> None:
    """See the reference. ``state`` is not used."""
    _mean("restore_mean", residuals, rates, first, out)


def _mix(
    codes: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None, *, terms: int = MIX
) -> tuple[Any, ...]:
    """Check and return the first arguments of kernels ``past`` (weights (2, 11)) and ``full`` ((T, 16))."""
    check(codes, "codes", "uint8", "uint16")
    check(out, "out", codes.dtype.name)
    check(weights, "weights", "int32")
    check(rates, "rates", "int32")
    check(state, "state", "int32")
    same_shape(codes, out)
    arrays = {"codes": codes, "weights": weights, "rates": rates, "state": state, "out": out}
    for name, array in arrays.items():
        contiguous(array, name)
    frames, rows, columns = codes.shape
    planes = 2 * rows * columns if frames > 1 else 0
    needed = (2, TERMS) if terms == TERMS else (frames, MIX)
    if weights.shape != needed or rates.size < frames or state.size < planes:
        raise ValueError(
            f"weights {weights.shape}, rates {rates.shape}, state {state.shape} do not fit codes "
            f"{codes.shape}"
        )
    shape = (np.uint32(frames), np.uint32(rows), np.uint32(columns), np.uint32(band_rows or max(rows, 1)))
    return (codes, *shape, weights, rates, state, out)


def _frame_by_frame(name: str, arguments: tuple[Any, ...]) -> None:
    """Launch once per frame, since a pixel needs its neighbours' means after the frame before."""
    frames, rows, columns = arguments[0].shape
    for t in range(frames if rows * columns else 0):
        launch(f"{name}_{letter(arguments[0])}", rows * columns, 1, *arguments, np.uint32(t))


def predict_past(
    codes: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None = None
) -> None:
    """See the reference."""
    _frame_by_frame("predict_past", _mix(codes, weights, rates, state, out, band_rows, terms=TERMS))


def restore_past(
    residuals: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None = None
) -> None:
    """See the reference."""
    _frame_by_frame("restore_past", _mix(residuals, weights, rates, state, out, band_rows, terms=TERMS))


def predict_full(
    codes: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None = None
) -> None:
    """See the reference."""
    _frame_by_frame("predict_full", _mix(codes, weights, rates, state, out, band_rows))


def restore_full(
    residuals: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None = None
) -> None:
    """See the reference.

    A pixel needs its west and north neighbours first. A wavefront of ``columns + 2*band_rows + 4*T`` steps
    therefore runs through all frames and bands at once, some steps per launch (``wavefront`` in the source).
    """
    arguments = _mix(residuals, weights, rates, state, out, band_rows)
    frames, rows, columns = residuals.shape
    if not residuals.size:
        return
    height = min(band_rows or rows, rows)
    group = max(1, THREADS // height)
    groups, bands = -(-frames // group), -(-rows // height)
    length = columns - 1 + 2 * (height - 1) + 4 * (frames - 1) + 1
    for diagonal in range(-(-length // _STEPS) + groups - 1):
        where = (np.uint32(diagonal), np.uint32(group), np.uint32(_STEPS))
        launch(f"restore_full_{letter(residuals)}", bands * groups * THREADS, 1, *arguments, *where)


def _packs(residuals: Any, escapes: Any, segment: int) -> int:
    """Check the arguments of packing and unpacking; return the number of segments."""
    check(residuals, "residuals", "uint8", "uint16")
    check(escapes, "escapes", residuals.dtype.name)
    for name, array in (("residuals", residuals), ("escapes", escapes)):
        contiguous(array, name)
    if not 0 < segment < 1 << 31 or segment % 2:
        raise ValueError(f"segment is {segment}; an even number from 2 to 2**31 - 2 is needed")
    return -(-residuals.size // segment)


def pack(residuals: Any, segment: int, nibbles: Any, escapes: Any, counts: Any) -> None:
    """See the reference."""
    segments = _packs(residuals, escapes, segment)
    check(nibbles, "nibbles", "uint8")
    check(counts, "counts", "int64")
    contiguous(nibbles, "nibbles")
    contiguous(counts, "counts")
    size = residuals.size
    if nibbles.size != -(-size // 2) or counts.size != segments or escapes.shape != (segments, segment):
        raise ValueError(
            f"nibbles {nibbles.shape}, escapes {escapes.shape}, counts {counts.shape} do not fit "
            f"{size:,} residuals "
            f"in segments of {segment:,}"
        )
    if size:
        shape = (residuals, np.uint64(size), np.uint32(segment))
        launch(f"pack_{letter(residuals)}", segments * THREADS, 1, *shape, nibbles, escapes, counts)


def join_escapes(escapes: Any, starts: Any, out: Any) -> None:
    """Gather the escapes of :func:`pack` without gaps, as ``out[starts[s] : starts[s + 1]]``."""
    segments, segment = escapes.shape
    _packs(out, escapes, segment)
    check(starts, "starts", "int64")
    contiguous(starts, "starts")
    if starts.size != segments + 1:
        raise ValueError(f"starts {starts.shape} do not fit escapes {escapes.shape}")
    if out.size:
        shape = (escapes, starts, np.uint64(segments), np.uint32(segment))
        launch(f"join_escapes_{letter(out)}", segments * THREADS, 1, *shape, out)


def unpack(nibbles: Any, escapes: Any, starts: Any, segment: int, out: Any) -> int:
    """See the reference. The call waits for the count."""
    strange = cupy.empty(1, np.uint64)
    strange.data.memset_async(0, strange.nbytes)
    add_unpacked(nibbles, escapes, starts, segment, out, strange)
    return int(strange.get()[0])


def add_unpacked(nibbles: Any, escapes: Any, starts: Any, segment: int, out: Any, strange: Any) -> None:
    """Run :func:`unpack` without waiting; add its count to ``strange`` (one uint64) on the device."""
    segments = _packs(out, escapes, segment)
    check(nibbles, "nibbles", "uint8")
    check(starts, "starts", "int64")
    check(strange, "strange", "uint64")
    contiguous(nibbles, "nibbles")
    contiguous(starts, "starts")
    size = out.size
    if nibbles.size != -(-size // 2) or starts.size != segments + 1:
        raise ValueError(
            f"nibbles {nibbles.shape}, starts {starts.shape} do not fit {size:,} residuals in "
            f"segments of {segment:,}"
        )
    if size:
        inputs = (nibbles, escapes, np.uint64(escapes.size), starts, np.uint64(size), np.uint32(segment))
        launch(f"unpack_{letter(out)}", segments * THREADS, 1, *inputs, out, strange)


def _levels(codes: Any, residuals: Any, per_level: Any) -> tuple[Any, ...]:
    """Check and return the first arguments of level kernels; ``per_level`` has a number for each level."""
    check(codes, "codes", "uint8", "uint16")
    check(residuals, "residuals", codes.dtype.name)
    check(per_level, "counts or places", "int64")
    same_shape(codes, residuals)
    for name, array in (("codes", codes), ("residuals", residuals), ("counts or places", per_level)):
        contiguous(array, name)
    if not 1 <= per_level.size <= 1 << 16:
        raise ValueError(f"{per_level.size} levels; 1 to 65,536 are possible")
    return codes, residuals, np.uint64(codes.size), np.uint32(per_level.size)


def count_levels(codes: Any, residuals: Any, counts: Any) -> None:
    """See the reference."""
    inputs = _levels(codes, residuals, counts)
    counts.data.memset_async(0, counts.nbytes)
    if codes.size:
        launch(f"count_levels_{letter(codes)}", codes.size, 1, *inputs, np.uint64(codes.size), counts)


def sort_levels(codes: Any, residuals: Any, places: Any, out: Any) -> None:
    """See the reference.

    Samples are counted by runs, and a warp sorts each run, so the order within a level is kept.
    """
    inputs = _levels(codes, residuals, places)
    check(out, "out", codes.dtype.name)
    contiguous(out, "out")
    if out.size != codes.size:
        raise ValueError(f"out {out.shape} does not fit codes {codes.shape}")
    if not codes.size:
        return
    most_runs = max(1, _TABLE // places.size)
    run = -(-max(_RUN, -(-codes.size // most_runs)) // 32) * 32
    runs = -(-codes.size // run)
    table = cupy.empty((runs, places.size), np.uint64)
    table.data.memset_async(0, table.nbytes)
    launch(f"count_levels_{letter(codes)}", codes.size, 1, *inputs, np.uint64(run), table)
    launch("place_runs", places.size, 1, table, np.uint64(runs), np.uint32(places.size), places)
    launch(f"sort_levels_{letter(codes)}", 32 * runs, 1, *inputs, np.uint64(run), table, out)
