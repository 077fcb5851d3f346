"""Inputs for the corner cases of the kernels, on the host and on a real GPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from photon_gpu.engine.codec.predictors import mix
from photon_gpu.kernels import reference

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


def every_value(dtype: str) -> np.ndarray:
    """Return all bit patterns of a type of up to 16 bits."""
    element = np.dtype(dtype)
    return np.arange(1 << 8 * element.itemsize).astype(f"u{element.itemsize}").view(element)


def full_range(dtype: str, count: int) -> np.ndarray:
    """Return values over the whole range of a type, with its ends if ``count`` allows."""
    element = np.dtype(dtype)
    rng = np.random.default_rng(count)
    if element.kind == "f":
        values = (rng.standard_normal(count) * 10.0 ** rng.integers(-30, 30, count)).astype(element)
        ends = [np.finfo(element).min, np.finfo(element).max, np.finfo(element).tiny, -0.0]
    else:
        info = np.iinfo(element)
        values = rng.integers(info.min, info.max, count, element, endpoint=True)
        ends = [info.min, info.max, 0, 1]
    values[: min(4, count)] = np.array(ends, element)[: min(4, count)]
    return rng.permutation(values)


def thresholds_for(dtype: str, phased: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return thresholds, a model, and values at, just below and far from every threshold."""
    element = np.dtype(dtype)
    gain, offset, dark, step, count = 1.7, 3.0, 4.0, 0.5, 200 if element.itemsize == 1 else 3000
    rows = 16 if phased else 1
    codes = np.arange(count, dtype=np.float64)
    tables = []
    for row in range(rows):
        stabilized = (codes + (row + 0.5) / rows) * step
        bounds = offset - dark / gain + 0.25 * gain * stabilized**2
        bounds = np.ceil(bounds) if element.kind in "iu" else bounds
        bounds[0] = -(2.0**60)
        tables.append(bounds)
    table = np.stack(tables)
    shifts = [-(row + 0.5) / rows for row in range(rows)]
    model = np.array([gain, offset, dark, 1 / step, *shifts])
    if element.kind == "f":
        at = table[0, 1:].astype(element)
        values = np.concatenate(
            [at, np.nextafter(at, element.type(-np.inf)), np.nextafter(at, element.type(np.inf)), -at]
        )
    else:
        info = np.iinfo(element)
        at = table[0, 1:]
        near = np.concatenate([at - 1, at, at + 1, [info.min, info.max if element.itemsize < 8 else 2**53]])
        values = np.clip(near, info.min, min(info.max, 2**53)).astype(element)
    values = values[: values.size // 3 * 3].reshape(3, -1)
    return (table if phased else table[0]), model, np.ascontiguousarray(values)


def mixes(codes: str, shape: tuple[int, int, int]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return codes, weights and rates of mixing predictors; the last are at the edge of their range.

    Weights are those of ``past``; :func:`each_frame` makes of them what ``full`` takes.
    """
    top = np.iinfo(codes).max
    rng = np.random.default_rng(sum(shape))
    rates = np.maximum(128 // np.arange(1, shape[0] + 1), 12).astype(np.int32)
    smooth = np.clip(rng.poisson(30, shape) + 10 * np.arange(shape[2]) // shape[2], 0, top).astype(codes)
    weights = np.zeros((2, 11), np.int32)
    weights[0, 10], weights[0, 6:10] = 4000, (90, 80, -40, 60)
    weights[1] = (150, 9, 11, -5, 20, 3, 40, 35, -22, 14, 77)
    yield smooth, weights, rates
    wild = rng.integers(0, top, shape, codes, endpoint=True)
    yield wild, weights, rates
    extreme = np.where(rng.random(shape) < 0.5, 0, top).astype(codes)
    limits = np.zeros((2, 11), np.int32)
    limits[0, 6:] = (1000, -1000, 1000, 1096, 2 * (top + 1) * 256)
    limits[1] = (1024, 256, -128, 64, -512, 128, 256, 256, -256, 256, -2 * (top + 1) * 256)
    yield extreme, limits, rates


def each_frame(weights: np.ndarray, frames: int) -> np.ndarray:
    """Expand two rows of 11 weights to the 16 per frame of the full kernels, rotated by one per frame."""
    rows = mix(weights, frames)
    for t, row in enumerate(rows):
        row[1:9] = np.roll(row[1:9], t)
    return rows


def weights_of(name: str, weights: np.ndarray, frames: int) -> np.ndarray:
    """Return weights in the form of the kernel ``predict_<name>``."""
    return each_frame(weights, frames) if name == "full" else weights


def residuals_to_pack(codes: str) -> Iterator[tuple[np.ndarray, int]]:
    """Return residuals and segment lengths: all values; odd tiles and runs; all, no and few escapes."""
    top = np.iinfo(codes).max
    everything = every_value(codes)
    for segment in (20_006, 1 << 16):
        yield everything, segment
    rng = np.random.default_rng(7)
    for size in (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 255, 511, 2047, 2048, 2049, 4099, 6150):
        few = np.where(
            rng.random(size) < 0.04, rng.integers(15, top, size, endpoint=True), rng.integers(0, 15, size)
        )
        for segment in (2, 14, 4096) if size < 20 else (2050, 4096):
            yield few.astype(codes), segment
    for value in (14, 15, 16, top):
        yield np.full(4111, value, codes), 2050


def frames_with_levels(codes: str) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Return codes, residuals and numbers of levels such that predictions take every value."""
    rng = np.random.default_rng(8)
    top = np.iinfo(codes).max
    if codes == "uint8":
        pairs = np.stack(np.meshgrid(every_value(codes), every_value(codes))).reshape(2, 64, 32, 32)
        yield pairs[0], pairs[1], 256
        yield pairs[0], pairs[1], 7
    else:
        yield (
            every_value(codes).reshape(16, 64, 64),
            rng.permutation(every_value(codes)).reshape(16, 64, 64),
            1000,
        )
    for shape, levels in (((1, 1, 1), 1), ((3, 5, 11), 2), ((2, 31, 33), top // 2), ((5, 23, 29), top + 1)):
        yield (
            rng.integers(0, top, shape, codes, endpoint=True),
            rng.integers(0, 9, shape).astype(codes),
            levels,
        )
    yield np.zeros((0, 4, 4), codes), np.zeros((0, 4, 4), codes), 5


def packed(residuals: np.ndarray, segment: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pack by the reference: return nibbles, joined escapes, and the start of each segment's escapes."""
    segments = -(-residuals.size // segment)
    nibbles = np.empty(-(-residuals.size // 2), np.uint8)
    escapes, counts = np.empty((segments, segment), residuals.dtype), np.empty(segments, np.int64)
    reference.pack(residuals, segment, nibbles, escapes, counts)
    joined = [escapes[s, : counts[s]] for s in range(segments)] or [residuals]
    return nibbles, np.concatenate(joined), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def sorted_by_level(
    codes: np.ndarray, weights: np.ndarray, rates: np.ndarray, levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Predict by the reference: return residuals sorted by level, and the bounds of each level."""
    frames, rows, columns = codes.shape
    state, residuals = np.empty((3, rows + 2, columns + 2), np.int32), np.empty_like(codes)
    reference.predict_full(codes, weights, rates, state, residuals)
    counted, ordered = np.empty(levels, np.int64), np.empty(codes.size, codes.dtype)
    reference.count_levels(codes, residuals, counted)
    begin = np.cumsum(counted) - counted
    reference.sort_levels(codes, residuals, begin.copy(), ordered)
    return ordered, np.stack([begin, begin + counted])
