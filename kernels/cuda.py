"""The kernels by CUDA: the same functions as :mod:`photon_gpu.kernels.reference`, in the same order.

Arrays are CuPy arrays of the current device; work is queued on the current stream and nothing waits,
except where a number is returned. Frames may lie apart (a band of a chunk is a view), pixels of a
frame may not. The source is ``photon.cu``, compiled by NVRTC at first use on a device.

``past`` and ``full`` take whole chunks: with ``band_rows`` the memory of codes and residuals is band after
band, each ``(T, its rows, columns)``, as in a payload; each band is what the twins take in one call.
"""

from __future__ import annotations

import functools
import importlib.resources
from typing import Any

import cupy
import numpy as np

FRACTION, WEIGHT, ESCAPE, TERMS = 7, 8, 15, 11

OPTIONS = ("--std=c++17", "--fmad=false")
"""For NVRTC. CuPy adds ``-ftz=true`` and the architecture."""

THREADS = 256
BINS = 1024
_RUN, _TABLE = 1024, 1 << 20
_BLOCKS_PER_PROCESSOR = 8
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
_BITS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}


def source() -> str:
    """Text of ``photon.cu``."""
    return importlib.resources.files(__package__).joinpath("photon.cu").read_text("utf-8")


@functools.cache
def _module(device: int) -> Any:
    with cupy.cuda.Device(device):
        return cupy.RawModule(code=source(), options=OPTIONS, backend="nvrtc")


@functools.cache
def _kernel(device: int, name: str) -> Any:
    return _module(device).get_function(name)


@functools.cache
def _most_blocks(device: int) -> int:
    return int(cupy.cuda.Device(device).attributes["MultiProcessorCount"]) * _BLOCKS_PER_PROCESSOR


def _launch(name: str, work: int, frames: int, *arguments: Any) -> None:
    """Queue a kernel for ``work`` items a frame; every kernel strides, so the device's size decides."""
    device = cupy.cuda.runtime.getDevice()
    most = _most_blocks(device)
    across = min(max(1, -(-work // THREADS)), most)
    along = min(max(1, frames), max(1, most // across))
    _kernel(device, name)((across, along), (THREADS,), arguments)


def _letter(array: Any) -> str:
    return f"{array.dtype.kind}{8 * array.dtype.itemsize}"


def _check(array: Any, name: str, *dtypes: str) -> None:
    if not isinstance(array, cupy.ndarray):
        raise TypeError(
            f"{name} is a {type(array).__module__}.{type(array).__name__}; a cupy.ndarray is needed"
        )
    here = cupy.cuda.runtime.getDevice()
    if array.device.id != here:
        raise ValueError(f"{name} lies on GPU {array.device.id}, and GPU {here} is the current device")
    if dtypes and array.dtype.name not in dtypes:
        raise TypeError(f"{name} is {array.dtype.name}; allowed are {', '.join(dtypes)}")


def _frame_stride(array: Any, name: str) -> int:
    """Elements from frame to frame of ``(T, ...)``; each frame must be contiguous."""
    expected = array.dtype.itemsize
    for size, stride in zip(array.shape[:0:-1], array.strides[:0:-1], strict=True):
        if size > 1 and stride != expected:
            raise ValueError(
                f"{name}: strides {array.strides} for shape {array.shape}; frames must be contiguous"
            )
        expected *= size
    if array.shape[0] < 2:
        return expected // array.dtype.itemsize
    if array.strides[0] < 0 or array.strides[0] % array.dtype.itemsize:
        raise ValueError(f"{name}: strides {array.strides}; frames must follow each other")
    return array.strides[0] // array.dtype.itemsize


def _contiguous(array: Any, name: str) -> None:
    if not array.flags.c_contiguous:
        raise ValueError(f"{name}: strides {array.strides} for shape {array.shape}; it must be contiguous")


def _same_shape(one: Any, other: Any) -> None:
    if one.shape != other.shape:
        raise ValueError(f"shapes {one.shape} and {other.shape} differ")


def _u32(number: int) -> np.uint32:
    return np.uint32(int(number) & 0xFFFFFFFF)


def _rows(one: Any, other: Any, *strides: int) -> tuple[int, int, int, int]:
    """Frames, pixels and the two frame strides; one long row where nothing lies between the frames."""
    _same_shape(one, other)
    a, b = _frame_stride(one, "input"), _frame_stride(other, "out")
    frames, pixels = one.shape
    if all(stride == pixels for stride in (a, b, *strides)):
        return 1, frames * pixels, frames * pixels, frames * pixels
    return frames, pixels, a, b


def extent(values: Any, out: Any) -> None:
    """See the reference; ``values`` may also be ``(T, n)``."""
    _check(values, "values")
    _check(out, "out", values.dtype.name)
    values = values if values.ndim > 1 else values.reshape(1, -1)
    frames, pixels, stride, _ = _rows(values, values)
    found = cupy.empty(3, np.uint64)
    found.data.memset_async(0, found.nbytes)
    shape = (values, np.uint64(stride), np.uint32(frames), np.uint64(pixels))
    _launch(f"extent_{_letter(values)}", pixels, frames, *shape, found)
    _launch(f"extent_values_{_letter(values)}", 1, 1, found, out)


def phase(index: Any, seed: int) -> Any:
    """See the reference."""
    _check(index, "index", "uint32")
    _contiguous(index, "index")
    out = cupy.empty(index.shape, np.uint32)
    _launch("phase", index.size, 1, index, np.uint64(index.size), _u32(seed), out)
    return out


def _lookup(codes: Any, table: Any, phased: tuple[int, int, int] | None, out: Any) -> None:
    _check(codes, "codes", "uint8", "uint16", "uint32")
    _check(table, "table")
    _check(out, "out", table.dtype.name)
    _contiguous(table, "table")
    frames, pixels, a, b = _rows(codes, out, *(phased[2:] if phased else ()))
    if frames * pixels == 0:
        return
    kinds = f"{_letter(codes)}_{_BITS[out.dtype.itemsize]}"
    shape = (codes, np.uint64(a), np.uint32(frames), np.uint64(pixels), table, np.uint32(table.shape[-1]))
    if phased:
        numbers = [_u32(number) for number in phased]
        _launch(f"lookup_phased_{kinds}", pixels, frames, *shape, *numbers, out, np.uint64(b))
    else:
        _launch(f"lookup_{kinds}", -(-pixels // 16), frames, *shape, out, np.uint64(b))


def forward_lut(patterns: Any, lut: Any, out: Any) -> None:
    """See the reference."""
    _check(patterns, "patterns", "uint8", "uint16")
    _lookup(patterns, lut, None, out)


def forward_lut_phased(patterns: Any, luts: Any, seed: int, first: int, stride: int, out: Any) -> None:
    """See the reference."""
    _check(patterns, "patterns", "uint8", "uint16")
    _lookup(patterns, luts, (seed, first, stride), out)


def subtract(values: Any, base: int, out: Any) -> None:
    """See the reference."""
    _check(values, "values", *_INTEGERS)
    _check(out, "out", "uint8", "uint16", "uint32")
    frames, pixels, a, b = _rows(values, out)
    shape = (values, np.uint64(a), np.uint32(frames), np.uint64(pixels))
    if frames * pixels:
        name = f"subtract_{_letter(values)}_{_letter(out)}"
        _launch(name, pixels, frames, *shape, np.int64(base), out, np.uint64(b))


def _threshold(values: Any, thresholds: Any, model: Any, phased: tuple[int, int, int], out: Any) -> None:
    _check(values, "values")
    _check(thresholds, "thresholds", "float64")
    _check(model, "model", "float64")
    _check(out, "out", "uint8", "uint16", "uint32")
    _contiguous(thresholds, "thresholds")
    rows, size = (1, thresholds.size) if thresholds.ndim == 1 else thresholds.shape
    if model.size < 4 + rows:
        raise ValueError(f"model holds {model.size} numbers; 4 and one per row of thresholds are needed")
    frames, pixels, a, b = _rows(values, out, *(phased[2:] if rows > 1 else ()))
    if frames * pixels == 0:
        return
    table = (thresholds, np.uint32(rows), np.uint32(size), model, *(_u32(number) for number in phased))
    shape = (values, np.uint64(a), np.uint32(frames), np.uint64(pixels))
    _launch(f"threshold_{_letter(values)}_{_letter(out)}", pixels, frames, *shape, *table, out, np.uint64(b))


def forward_thresholds(values: Any, thresholds: Any, model: Any, base: int, out: Any) -> None:
    """See the reference."""
    _threshold(values, thresholds, model, (0, 0, 0), out)


def forward_thresholds_phased(
    values: Any, thresholds: Any, model: Any, seed: int, first: int, stride: int, out: Any
) -> None:
    """See the reference."""
    _threshold(values, thresholds, model, (seed, first, stride), out)


def inverse(codes: Any, table: Any, out: Any) -> None:
    """See the reference."""
    _lookup(codes, table, None, out)


def inverse_phased(codes: Any, tables: Any, seed: int, first: int, stride: int, out: Any) -> None:
    """See the reference."""
    _lookup(codes, tables, (seed, first, stride), out)


def codes_from_labels(labels: Any, step: float, out: Any) -> int:
    """See the reference. Waits for the count."""
    _check(labels, "labels", "float64")
    _check(out, "out", "int32")
    _same_shape(labels, out)
    _contiguous(labels, "labels")
    _contiguous(out, "out")
    strange = cupy.empty(1, np.uint64)
    strange.data.memset_async(0, strange.nbytes)
    _launch(
        "codes_from_labels", labels.size, 1, labels, np.uint64(labels.size), np.float64(step), out, strange
    )
    return int(strange.get()[0])


def checksum(codes: Any, first: int, stride: int) -> int:
    """See the reference. Waits for the sum."""
    total = cupy.empty(1, np.uint64)
    total.data.memset_async(0, total.nbytes)
    add_checksum(codes, first, stride, total)
    return int(total.get()[0])


def add_checksum(codes: Any, first: int, stride: int, total: Any) -> None:
    """As :func:`checksum`, added to ``total`` (uint64, one, modulo 2**64) on the device; nothing waits."""
    _check(codes, "codes", "uint8", "uint16", "uint32")
    _check(total, "total", "uint64")
    frames, pixels, a, _ = _rows(codes, codes, stride)
    shape = (codes, np.uint64(a), np.uint32(frames), np.uint64(pixels))
    _launch(f"checksum_{_letter(codes)}", pixels, frames, *shape, _u32(first), _u32(stride), total)


def _mean(name: str, codes: Any, rates: Any, first: int, out: Any) -> None:
    _check(codes, "codes", "uint8", "uint16")
    _check(out, "out", codes.dtype.name)
    _check(rates, "rates", "int32")
    _same_shape(codes, out)
    a, b = _frame_stride(codes, "codes"), _frame_stride(out, "out")
    frames, pixels = codes.shape
    if frames * pixels:
        shape = (codes, np.uint64(a), np.uint32(frames), np.uint64(pixels))
        _launch(f"{name}_{_letter(codes)}", pixels, 1, *shape, rates, np.int32(first), out, np.uint64(b))


def predict_mean(codes: Any, rates: Any, first: int, state: Any, out: Any) -> None:
    """See the reference. ``state`` is not used."""
    _mean("predict_mean", codes, rates, first, out)


def restore_mean(residuals: Any, rates: Any, first: int, state: Any, out: Any) -> None:
    """See the reference. ``state`` is not used."""
    _mean("restore_mean", residuals, rates, first, out)


def _mix(
    codes: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None
) -> tuple[Any, ...]:
    """The arguments that all kernels of a mix begin with."""
    _check(codes, "codes", "uint8", "uint16")
    _check(out, "out", codes.dtype.name)
    _check(weights, "weights", "int32")
    _check(rates, "rates", "int32")
    _check(state, "state", "int32")
    _same_shape(codes, out)
    arrays = {"codes": codes, "weights": weights, "rates": rates, "state": state, "out": out}
    for name, array in arrays.items():
        _contiguous(array, name)
    frames, rows, columns = codes.shape
    planes = 2 * rows * columns if frames > 1 else 0
    if weights.size != 2 * TERMS or rates.size < frames or state.size < planes:
        raise ValueError(
            f"weights {weights.shape}, rates {rates.shape}, state {state.shape} do not fit codes {codes.shape}"
        )
    shape = (np.uint32(frames), np.uint32(rows), np.uint32(columns), np.uint32(band_rows or max(rows, 1)))
    return (codes, *shape, weights, rates, state, out)


def _frame_by_frame(name: str, arguments: tuple[Any, ...]) -> None:
    """One launch per frame: a frame needs its neighbours' means after the frame before."""
    frames, rows, columns = arguments[0].shape
    for t in range(frames if rows * columns else 0):
        _launch(f"{name}_{_letter(arguments[0])}", rows * columns, 1, *arguments, np.uint32(t))


def predict_past(
    codes: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None = None
) -> None:
    """See the reference."""
    _frame_by_frame("predict_past", _mix(codes, weights, rates, state, out, band_rows))


def restore_past(
    residuals: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None = None
) -> None:
    """See the reference."""
    _frame_by_frame("restore_past", _mix(residuals, weights, rates, state, out, band_rows))


def predict_full(
    codes: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None = None
) -> None:
    """See the reference."""
    _frame_by_frame("predict_full", _mix(codes, weights, rates, state, out, band_rows))


def restore_full(
    residuals: Any, weights: Any, rates: Any, state: Any, out: Any, band_rows: int | None = None
) -> None:
    """See the reference.

    A pixel needs its west and north neighbours first, so a wavefront runs through all frames and
    bands at once: ``columns + 2*band_rows + 4*T`` short launches (see ``wavefront_step`` in the source).
    """
    arguments = _mix(residuals, weights, rates, state, out, band_rows)
    frames, rows, columns = residuals.shape
    across = columns - 1 + 2 * (min(band_rows or rows, rows) - 1)
    for step in range(across + 4 * (frames - 1) + 1 if residuals.size else 0):
        oldest, newest = max(0, -(-(step - across) // 4)), min(step // 4, frames - 1)
        met = newest - oldest + 1
        where = (np.uint32(step), np.uint32(oldest), np.uint32(met))
        _launch(f"restore_full_{_letter(residuals)}", met * rows, 1, *arguments, *where)


def _packs(residuals: Any, escapes: Any, segment: int) -> int:
    """How many segments there are; the arguments of packing and unpacking checked."""
    _check(residuals, "residuals", "uint8", "uint16")
    _check(escapes, "escapes", residuals.dtype.name)
    for name, array in (("residuals", residuals), ("escapes", escapes)):
        _contiguous(array, name)
    if not 0 < segment < 1 << 31 or segment % 2:
        raise ValueError(f"segment is {segment}; an even number from 2 to 2**31 - 2 is needed")
    return -(-residuals.size // segment)


def pack(residuals: Any, segment: int, nibbles: Any, escapes: Any, counts: Any) -> None:
    """See the reference."""
    segments = _packs(residuals, escapes, segment)
    _check(nibbles, "nibbles", "uint8")
    _check(counts, "counts", "int64")
    _contiguous(nibbles, "nibbles")
    _contiguous(counts, "counts")
    size = residuals.size
    if nibbles.size != -(-size // 2) or counts.size != segments or escapes.shape != (segments, segment):
        raise ValueError(
            f"nibbles {nibbles.shape}, escapes {escapes.shape}, counts {counts.shape} do not fit {size:,} residuals "
            f"in segments of {segment:,}"
        )
    if size:
        shape = (residuals, np.uint64(size), np.uint32(segment))
        _launch(f"pack_{_letter(residuals)}", segments * THREADS, 1, *shape, nibbles, escapes, counts)


def join_escapes(escapes: Any, starts: Any, out: Any) -> None:
    """What :func:`pack` put into rows of ``escapes``, one after the other: ``out[starts[s] : starts[s + 1]]``."""
    segments, segment = escapes.shape
    _packs(out, escapes, segment)
    _check(starts, "starts", "int64")
    _contiguous(starts, "starts")
    if starts.size != segments + 1:
        raise ValueError(f"starts {starts.shape} do not fit escapes {escapes.shape}")
    if out.size:
        shape = (escapes, starts, np.uint64(segments), np.uint32(segment))
        _launch(f"join_escapes_{_letter(out)}", segments * THREADS, 1, *shape, out)


def unpack(nibbles: Any, escapes: Any, starts: Any, segment: int, out: Any) -> int:
    """See the reference. Waits for the count."""
    strange = cupy.empty(1, np.uint64)
    strange.data.memset_async(0, strange.nbytes)
    add_unpacked(nibbles, escapes, starts, segment, out, strange)
    return int(strange.get()[0])


def add_unpacked(nibbles: Any, escapes: Any, starts: Any, segment: int, out: Any, strange: Any) -> None:
    """As :func:`unpack`, its count added to ``strange`` (uint64, one) on the device; nothing waits."""
    segments = _packs(out, escapes, segment)
    _check(nibbles, "nibbles", "uint8")
    _check(starts, "starts", "int64")
    _check(strange, "strange", "uint64")
    _contiguous(nibbles, "nibbles")
    _contiguous(starts, "starts")
    size = out.size
    if nibbles.size != -(-size // 2) or starts.size != segments + 1:
        raise ValueError(
            f"nibbles {nibbles.shape}, starts {starts.shape} do not fit {size:,} residuals in segments of {segment:,}"
        )
    if size:
        given = (nibbles, escapes, np.uint64(escapes.size), starts, np.uint64(size), np.uint32(segment))
        _launch(f"unpack_{_letter(out)}", segments * THREADS, 1, *given, out, strange)


def _levels(codes: Any, residuals: Any, per_level: Any) -> tuple[Any, ...]:
    """The arguments that kernels of levels begin with; ``per_level`` has a number for each level."""
    _check(codes, "codes", "uint8", "uint16")
    _check(residuals, "residuals", codes.dtype.name)
    _check(per_level, "counts or places", "int64")
    _same_shape(codes, residuals)
    for name, array in (("codes", codes), ("residuals", residuals), ("counts or places", per_level)):
        _contiguous(array, name)
    if not 1 <= per_level.size <= 1 << 16:
        raise ValueError(f"{per_level.size} levels; 1 to 65,536 are possible")
    return codes, residuals, np.uint64(codes.size), np.uint32(per_level.size)


def count_levels(codes: Any, residuals: Any, counts: Any) -> None:
    """See the reference."""
    given = _levels(codes, residuals, counts)
    counts.data.memset_async(0, counts.nbytes)
    if codes.size:
        _launch(f"count_levels_{_letter(codes)}", codes.size, 1, *given, np.uint64(codes.size), counts)


def sort_levels(codes: Any, residuals: Any, places: Any, out: Any) -> None:
    """See the reference.

    Runs of samples are counted, then sorted by a warp each: the order within a level stays.
    """
    given = _levels(codes, residuals, places)
    _check(out, "out", codes.dtype.name)
    _contiguous(out, "out")
    if out.size != codes.size:
        raise ValueError(f"out {out.shape} does not fit codes {codes.shape}")
    if not codes.size:
        return
    most_runs = max(1, _TABLE // places.size)
    run = -(-max(_RUN, -(-codes.size // most_runs)) // 32) * 32
    runs = -(-codes.size // run)
    table = cupy.empty((runs, places.size), np.uint64)
    table.data.memset_async(0, table.nbytes)
    _launch(f"count_levels_{_letter(codes)}", codes.size, 1, *given, np.uint64(run), table)
    _launch("place_runs", places.size, 1, table, np.uint64(runs), np.uint32(places.size), places)
    _launch(f"sort_levels_{_letter(codes)}", 32 * runs, 1, *given, np.uint64(run), table, out)


def restore_full_sorted(
    residuals: Any, places: Any, weights: Any, rates: Any, state: Any, out: Any
) -> int:
    """See the reference. One block, since every residual waits for the one before; waits for the count."""
    codes, frames, rows, columns, _, *numbers, _ = _mix(out, weights, rates, state, out, None)
    _check(residuals, "residuals", out.dtype.name)
    _check(places, "places", "int64")
    _contiguous(residuals, "residuals")
    _contiguous(places, "places")
    if places.ndim != 2 or places.shape[0] != 2 or not 1 <= places.shape[1] <= 1 << 16:
        raise ValueError(f"places has shape {places.shape}; (2, 1 to 65,536) is needed")
    missing = cupy.empty(1, np.uint64)
    missing.data.memset_async(0, missing.nbytes)
    shape = (frames, rows, columns, *numbers)
    given = (residuals, np.uint64(residuals.size), places, np.uint32(places.shape[1]))
    if out.size:
        _launch(f"restore_full_sorted_{_letter(out)}", 1, 1, *given, *shape, codes, missing)
    return int(missing.get()[0])


def moments(values: Any, low: int, shift: int, out: Any) -> None:
    """See the reference."""
    _check(values, "values", "int8", "uint8", "int16", "uint16", "int32", "uint32")
    _check(out, "out", "int64")
    _contiguous(out, "out")
    frames, pixels = values.shape
    bins = out.shape[1]
    if out.shape[0] != 3 or not 1 <= bins <= BINS:
        raise ValueError(f"out has shape {out.shape}; (3, 1 to {BINS}) is needed")
    shape = (values, np.uint64(_frame_stride(values, "values")), np.uint32(frames), np.uint64(pixels))
    if frames > 1 and pixels:
        numbers = (np.int64(low), np.uint32(shift), np.uint32(bins))
        _launch(f"moments_{_letter(values)}", pixels, 1, *shape, *numbers, out)
