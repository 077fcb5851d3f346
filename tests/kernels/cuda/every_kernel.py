"""Runs every kernel once or more, with unaligned, strided and odd-sized memory, and checks the results.

``python -m tests.kernels.cuda.every_kernel`` is what the sanitizers watch; it fails if a kernel was left out.
With ``--brief``, for the slow thread sanitizer, each kernel runs for some of its types: they share a
template.
"""

from __future__ import annotations

import itertools
import re
import sys
import zlib
from typing import Any

import numpy as np

from photon_gpu.kernels import reference
from photon_gpu.kernels.zstd_huffman import cpu
from photon_gpu.kernels.zstd_huffman import reference as huffman_reference
from tests.support.cuda import cupy_standin as standin
from tests.support.cuda.kernel_vectors import (
    DTYPES,
    each_frame,
    full_range,
    mixes,
    packed,
    sorted_by_level,
    thresholds_for,
    weights_of,
)
from tests.support.cuda.on_cpu import host_module
from tests.support.stores.huffman_bytes import altered

CODES: tuple[str, ...] = ("uint8", "uint16", "uint32")
OUTPUTS: tuple[str, ...] = ("uint8", "int16", "float32", "float64")


def same(result: Any, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(result.get(), expected)


def run_all(cupy: Any, kernels: Any, brief: bool) -> None:
    """Launch everything that ``kernels/cuda.py`` offers."""
    put, empty = cupy.asarray, cupy.empty
    codes_of_all, outputs, sizes, shape = (
        CODES,
        OUTPUTS,
        ((1003, 0), (1003, 1), (512, 0), (17, 16)),
        (3, 7, 43),
    )
    if brief:
        codes_of_all, outputs, sizes, shape = (
            CODES[:1],
            ("uint8", "float64"),
            ((1003, 0), (600, 1)),
            (2, 4, 9),
        )
    for dtype in ("int16", "float32") if brief else DTYPES:
        values = full_range(dtype, 1003)
        for skew in (0, 1):
            out, expected = empty(3, dtype), np.zeros(3, dtype)
            kernels.extent(put(values)[skew:], out)
            reference.extent(values[skew:], expected)
            same(out, expected)
        for phased, code in itertools.product((False, True), codes_of_all):
            thresholds, model, inputs = thresholds_for(dtype, phased)
            thresholds = np.ascontiguousarray(thresholds[..., : 250 if code == "uint8" else None])
            inputs = inputs[:, :130]
            out, expected = empty(inputs.shape, code), np.empty(inputs.shape, code)
            extra = (3, 5, 1 << 20) if phased else (0,)
            name = "quantize_thresholds" + "_phased" * phased
            getattr(kernels, name)(
                put(np.ascontiguousarray(inputs)), put(thresholds), put(model), *extra, out
            )
            getattr(reference, name)(inputs, thresholds, model, *extra, expected)
            same(out, expected)
        if np.dtype(dtype).kind in "iu":
            for code in codes_of_all:
                small = (np.arange(999) % 120).astype(dtype).reshape(3, 333)
                out, expected = empty(small.shape, code), np.empty(small.shape, code)
                kernels.subtract(put(small), 0, out)
                reference.subtract(small, 0, expected)
                same(out, expected)
    for code, out_dtype in itertools.product(codes_of_all, outputs):
        size = 256 if code == "uint8" else 9000
        tables = full_range(out_dtype, 16 * size).reshape(16, size)
        for pixels, skew in sizes:
            codes = (full_range("uint16", 2 * pixels) % size).astype(code).reshape(2, pixels)
            stored, target = empty(2 * pixels + skew, code), empty(2 * pixels + skew, out_dtype)
            device_codes, out = stored[skew:].reshape(2, pixels), target[skew:].reshape(2, pixels)
            device_codes.set(codes)
            kernels.dequantize(device_codes, put(tables[0]), out)
            same(out, tables[0][codes])
            kernels.dequantize_phased(device_codes, put(tables), 1, 2, pixels + 1, out)
            expected = np.empty(codes.shape, out_dtype)
            reference.dequantize_phased(codes, tables, 1, 2, pixels + 1, expected)
            same(out, expected)
        assert kernels.checksum(device_codes, 3, 99) == reference.checksum(codes, 3, 99)
    labels = np.append(np.arange(-500, 500) * 0.5, [0.3, np.nan])
    out, expected = empty(labels.shape, np.int32), np.empty(labels.shape, np.int32)
    assert (
        kernels.codes_from_labels(put(labels), 0.5, out)
        == reference.codes_from_labels(labels, 0.5, expected)
        == 2
    )
    same(out, expected)
    frames, rows, columns = shape
    for code in codes_of_all[:2]:
        for read, pairs, rates in itertools.islice(mixes(code, shape), 1 if brief else None):
            flat, state = read.reshape(frames, -1), np.empty((3, rows + 2, columns + 2), np.int32)
            residuals, out = np.empty(flat.shape, code), empty(flat.shape, code)
            reference.predict_mean(flat, rates, 5, state.reshape(-1), residuals)
            kernels.predict_mean(put(flat), put(rates), 5, put(state), out)
            same(out, residuals)
            kernels.restore_mean(out, put(rates), 5, put(state), back := empty(flat.shape, code))
            same(back, flat)
            for name in ("past", "full"):
                residuals, out = np.empty(shape, code), empty(shape, code)
                weights = weights_of(name, pairs, frames)
                getattr(reference, f"predict_{name}")(read, weights, rates, state, residuals)
                planes = empty((2, rows, columns), np.int32)
                parameters = (put(weights), put(rates), planes)
                getattr(kernels, f"predict_{name}")(put(read), *parameters, out)
                same(out, residuals)
                getattr(kernels, f"restore_{name}")(out, *parameters, back := empty(shape, code))
                same(back, read)


def run_residuals(cupy: Any, kernels: Any, brief: bool) -> None:
    """What packs and sorts residuals: several tiles in a segment, segments, runs and rows."""
    put, empty = cupy.asarray, cupy.empty
    rng = np.random.default_rng(3)
    for code in CODES[: 1 if brief else 2]:
        residuals = np.minimum(rng.geometric(0.1, 5501), 255).astype(code)
        for skew, segment in ((0, 4104),) if brief else ((0, 4104), (1, 2050)):
            unaligned, size, segments = residuals[skew:], residuals.size - skew, -(-residuals.size // segment)
            nibbles, escapes, starts = packed(unaligned, segment)
            rows, counts = empty((segments, segment), code), empty(segments, np.int64)
            result = empty(nibbles.size + skew, np.uint8)[skew:]
            kernels.pack(put(residuals)[skew:], segment, result, rows, counts)
            same(result, nibbles)
            same(counts, np.diff(starts))
            kernels.join_escapes(rows, put(starts), joined := empty(escapes.size, code))
            same(joined, escapes)
            out = empty(size, code)
            assert kernels.unpack(result, joined, put(starts), segment, out) == 0
            same(out, unaligned)
            # Half bytes that ask for more escapes than there are.
            altered = put(np.full_like(nibbles, 255))
            assert kernels.unpack(altered, joined, put(starts), segment, out) >= segments
        shape, levels = ((2, 3, 261), 20) if brief else ((3, 5, 300), 20)
        read, pairs, rates = next(mixes(code, shape))
        weights = each_frame(pairs, shape[0])
        ordered, places = sorted_by_level(read, weights, rates, levels)
        parameters = (put(weights), put(rates), empty((2, *shape[1:]), np.int32))
        kernels.predict_full(put(read), *parameters, residuals := empty(shape, code))
        kernels.count_levels(put(read), residuals, counts := empty(levels, np.int64))
        same(counts, places[1] - places[0])
        kernels.sort_levels(put(read), residuals, moved := put(places[0]), out := empty(read.size, code))
        same(out, ordered)
        same(moved, places[1])


def run_frames(cupy: Any, huffman: Any, brief: bool) -> None:
    """What writes and decodes frames: blocks that are joined, coded, repeated or stored; damaged ones."""
    rng = np.random.default_rng(6)
    noise = np.clip(rng.normal(128, 9, 2600), 0, 255)
    parts = (noise, np.full(600, 7), rng.integers(0, 256, 600), rng.geometric(0.4, 700) % 256)
    data = np.concatenate(parts[: 2 if brief else 4]).astype(np.uint8)
    for length, block, skew in (
        ((2400, 600, 1),) if brief else ((2400, 600, 1), (8192, 2048, 0), (200, 200, 3))
    ):
        most = huffman.most_blosc_bytes(data.size, length, block)
        out, expected = cupy.empty(most + skew, np.uint8)[skew:], np.empty(most, np.uint8)
        unaligned = cupy.asarray(np.append(np.zeros(skew, np.uint8), data))[skew:]
        size = huffman.encode_blosc(unaligned, length, block, out)
        nothing = np.empty(0, np.int64), np.empty(0, np.uint8)
        assert size == cpu.encode_blosc(data, length, block, expected, *nothing)
        same(out[:size], expected[:size])
        huffman.crc32(out[:size], crc := cupy.empty(1, np.uint32))
        assert int(crc.get()[0]) == zlib.crc32(expected[:size])
        back = cupy.empty(data.size + skew, np.uint8)[skew:]
        assert huffman.decode_blosc(out[:size], back) == data.size
        same(back, data)
        for trial in range(8 if brief else 120):
            bad = altered(expected[:size], rng)
            there = cupy.asarray(np.append(np.zeros(trial % 4, np.uint8), bad))[trial % 4 :]
            opened = np.empty(data.size, np.uint8)
            refused = huffman_reference.decode_blosc(bad, opened) < 0
            assert (huffman.decode_blosc(there, back) < 0) == refused
            if not refused:
                same(back, opened)


def main(brief: bool) -> int:
    """Run, and say what ran."""
    with standin.installed(4) as machine:
        import cupy

        from photon_gpu.kernels import cuda, cuda_launch
        from photon_gpu.kernels.zstd_huffman import cuda as huffman

        run_all(cupy, cuda, brief)
        run_residuals(cupy, cuda, brief)
        run_frames(cupy, huffman, brief)
        ran = {name for _, name in machine.launched}
        expected = set(host_module(cuda_launch.source()).names)
    if brief:  # a family is a kernel's name without its types
        ran, expected = ({re.sub(r"(_[iuf]\d+)+$", "", name) for name in names} for names in (ran, expected))
    left_out = expected - ran
    assert not left_out, f"never launched: {sorted(left_out)}"
    print(f"{len(ran)} kernels ran clean. {standin.NOTICE}")
    return 0


if __name__ == "__main__":
    sys.exit(main("--brief" in sys.argv))
