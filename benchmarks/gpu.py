"""Measure the GPU path: ``python -m benchmarks.gpu [--json FILE]``.

Kernels are timed by CUDA events and compared with a copy of as many bytes within the device. Whole encodes
are timed by the clock, from arrays to memory, so that no disk is timed. It needs a usable device.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import photon_gpu as pg
from photon_gpu.errors import PhotonError
from photon_gpu.store.durable import replacing

REPEATS, REPEATS_WHOLE = 20, 4
NOISE = pg.NoiseModel(gain=2.3, offset=100.0, variance=9.0)


def milliseconds(cupy: Any, work: Any) -> float:
    """Median time of ``work`` on the device; slow work is repeated less often."""
    work()
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < 1e3:
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        work()
        stop.record()
        stop.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, stop))
    return float(np.median(times))


def kernel_figures(cupy: Any, frames: int, size: int) -> list[dict[str, Any]]:
    """GB/s of each kernel: bytes that it must read and write, divided by its time."""
    from photon_gpu.engine.codec.predictors import mix
    from photon_gpu.engine.codec.residual_bands import SEGMENT
    from photon_gpu.kernels import cuda
    from photon_gpu.kernels.zstd_huffman.cuda import add_decoded, crc32, encode_blosc, most_blosc_bytes

    n = frames * size * size
    rng = np.random.default_rng(0)
    put, empty, flat, cube = cupy.asarray, cupy.empty, (frames, size * size), (frames, size, size)
    host = (100 + 2.3 * rng.poisson(40, flat)).astype(np.uint16)
    values, single = put(host), put(host.astype(np.float32))
    codes = put(rng.poisson(30, flat).astype(np.uint8))
    out8, out16, floats = (empty(flat, dtype) for dtype in ("uint8", "uint16", "float64"))
    lut = put((np.arange(65536) >> 8).astype(np.uint8))
    decode, labels = put(np.arange(256, dtype=np.uint16)), put(np.arange(256) * 0.5)
    thresholds = put(np.arange(256.0) * 30)
    model = put(np.array([1.0, 0.0, 0.4, 2.0, 0.5]))
    pairs = np.array([[0] * 10 + [5000], [150, 9, 11, 0, 20, 3, 40, 35, 0, 14, 0]], np.int32)
    weights, rows_of_16 = put(pairs), put(mix(pairs, frames))
    rates, state = put(np.full(frames, 16, np.int32)), empty((2, size, size), np.int32)
    total, ends = put(np.zeros(1, np.uint64)), put(np.zeros(3, np.uint16))
    shaped, target = codes.reshape(cube), out8.reshape(cube)
    luts, label_codes = (
        put(np.tile((np.arange(65536) >> 8).astype(np.uint8), (16, 1))),
        empty(n, np.int32),
    )
    segments = -(-n // SEGMENT)
    nibbles, counts = empty(-(-n // 2), np.uint8), empty(segments, np.int64)
    escapes = empty((segments, SEGMENT), np.uint8)
    residuals, ordered, back = empty(cube, np.uint8), empty(n, np.uint8), empty(cube, np.uint8)
    cuda.predict_full(shaped, rows_of_16, rates, state, residuals)
    cuda.pack(residuals.reshape(-1), SEGMENT, nibbles, escapes, counts)
    starts = np.concatenate([[0], np.cumsum(counts.get())])
    begin, joined = put(starts), empty(int(starts[-1]), np.uint8)
    cuda.join_escapes(escapes, begin, joined)
    levels = empty(64, np.int64)
    cuda.count_levels(shaped, residuals, levels)
    first = np.cumsum(levels.get()) - levels.get()
    cuda.sort_levels(shaped, residuals, put(first), ordered)
    blocks = (1 << 18, 1 << 15)  # bytes of a zstd frame, and of a block of its own Huffman codes
    finished = empty(most_blosc_bytes(nibbles.size, *blocks), np.uint8)
    frame = finished[: encode_blosc(nibbles, *blocks, finished)]
    opened, crc = empty(nibbles.size, np.uint8), empty(1, np.uint32)
    cases = [
        ("extent uint16", 2, lambda: cuda.extent(values, ends)),
        ("quantize_lut uint16 to uint8", 3, lambda: cuda.quantize_lut(values, lut, out8)),
        (
            "quantize_lut_phased uint16 to uint8",
            3,
            lambda: cuda.quantize_lut_phased(values, luts, 1, 0, size * size, out8),
        ),
        ("subtract uint16 to uint8", 3, lambda: cuda.subtract(values, 100, out8)),
        (
            "quantize_thresholds float32",
            5,
            lambda: cuda.quantize_thresholds(single, thresholds, model, 0, out8),
        ),
        ("dequantize uint8 to uint16", 3, lambda: cuda.dequantize(codes, decode, out16)),
        ("dequantize uint8 to float64", 9, lambda: cuda.dequantize(codes, labels, floats)),
        ("codes_from_labels", 12, lambda: cuda.codes_from_labels(floats.reshape(-1), 0.5, label_codes)),
        ("checksum uint8", 1, lambda: cuda.add_checksum(codes, 0, size * size, total)),
        ("predict_mean uint8", 2, lambda: cuda.predict_mean(codes, rates, 30, state, out8)),
        ("restore_mean uint8", 2, lambda: cuda.restore_mean(codes, rates, 30, state, out8)),
        ("predict_past uint8", 11, lambda: cuda.predict_past(shaped, weights, rates, state, target)),
        ("restore_past uint8", 11, lambda: cuda.restore_past(shaped, weights, rates, state, target)),
        ("predict_full uint8", 11, lambda: cuda.predict_full(shaped, rows_of_16, rates, state, target)),
        ("restore_full uint8", 11, lambda: cuda.restore_full(residuals, rows_of_16, rates, state, back)),
        ("pack uint8", 1.5, lambda: cuda.pack(residuals.reshape(-1), SEGMENT, nibbles, escapes, counts)),
        ("unpack uint8", 1.5, lambda: cuda.unpack(nibbles, joined, begin, SEGMENT, back.reshape(-1))),
        ("count_levels uint8", 2, lambda: cuda.count_levels(shaped, residuals, levels)),
        ("sort_levels uint8", 5, lambda: cuda.sort_levels(shaped, residuals, put(first), ordered)),
        ("encode_blosc of packed residuals", 1.5, lambda: encode_blosc(nibbles, *blocks, finished)),
        (
            "decode_blosc of packed residuals",
            (frame.size + nibbles.size) / n,
            lambda: add_decoded(frame, opened, total),
        ),
        ("crc32 of a finished frame", frame.size / n, lambda: crc32(frame, crc)),
    ]
    copied = empty(flat, np.uint16)
    copy_ms = milliseconds(cupy, lambda: copied.data.copy_from_device_async(values.data, values.nbytes))
    copy_rate = 4 * n / copy_ms / 1e6
    rows = [{"kernel": "device copy", "GB/s": copy_rate, "share of copy": 1.0, "ms": copy_ms}]
    for name, per_pixel, work in cases:
        taken = milliseconds(cupy, work)
        rate = per_pixel * n / taken / 1e6
        rows.append({"kernel": name, "GB/s": rate, "share of copy": rate / copy_rate, "ms": taken})
    return rows


def overlap_figures(cupy: Any, megabytes: int = 256) -> dict[str, float]:
    """Time copies up, kernels and copies down, alone and together, to see how much they overlap."""
    from photon_gpu.engine.gpu.streams_and_buffers import Lane

    lane = Lane(0, "benchmark")
    host_up, host_down = (lane.slots[0].pinned(name, (megabytes << 20,), np.uint8) for name in ("up", "down"))
    with lane.entered():
        there, result = (cupy.empty(megabytes << 20, np.uint8) for _ in range(2))
        lut = cupy.asarray(np.arange(256, dtype=np.uint8))
        rows = [array.reshape(1, -1) for array in (there, result)]
        lane.compute.synchronize()

        def seconds(*jobs: Any) -> float:
            times = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                for job in jobs:
                    job()
                for stream in (lane.up, lane.compute, lane.down):
                    stream.synchronize()
                times.append(time.perf_counter() - start)
            return float(np.median(times))

        up = lambda: there.set(host_up, stream=lane.up)  # noqa: E731
        down = lambda: result.get(stream=lane.down, out=host_down, blocking=False)  # noqa: E731
        kernel = lambda: lane.backend.kernels.dequantize(rows[0], lut, rows[1])  # noqa: E731
        alone = {"up": seconds(up), "kernel": seconds(kernel), "down": seconds(down)}
        together = seconds(up, kernel, down)
    hidden = (sum(alone.values()) - together) / max(sum(alone.values()) - max(alone.values()), 1e-12)
    gigabytes = (megabytes << 20) / 1e9
    return {
        "up GB/s": gigabytes / alone["up"],
        "down GB/s": gigabytes / alone["down"],
        "kernel ms": 1e3 * alone["kernel"],
        "together ms": 1e3 * together,
        "hidden share": hidden,
    }


def end_to_end_figures(cupy: Any, frames: int, size: int) -> list[dict[str, Any]]:
    """Raw GB/s of whole encodes and decodes, the best of a few; every pair of stores is compared."""
    rng = np.random.default_rng(0)
    one = (100 + 2.3 * rng.poisson(40, (100, size, size))).astype(np.uint16)
    host = np.concatenate([np.roll(one, k, 2) for k in range(frames // 100)])
    there = cupy.asarray(host)
    rows = []
    for layout, predictor in (("compact", "mean"), ("compact", "past"), ("compact", "full"), ("plain", None)):
        stores = {}
        for where, source, backend in (
            ("host, numba", host, "numba"),
            ("host, cupy", host, "cupy"),
            ("GPU, cupy", there, "cupy"),
        ):
            url = f"memory://benchmark-{layout}-{predictor}-{where}"
            options = {
                "layout": layout,
                "predictor": predictor,
                "noise": NOISE,
                "preset": "fast",
                "overwrite": True,
            }
            report = min(
                (
                    pg.encode(source, url, backend=backend, **options, check=False, trust_noise=True)
                    for _ in range(REPEATS_WHOLE)
                ),
                key=lambda r: r.seconds,
            )
            taken = []
            for _ in range(REPEATS_WHOLE):
                # Open the movie again: an open movie keeps the chunks it has read.
                movie = pg.open(url, backend=backend, device="gpu" if where.startswith("GPU") else "cpu")
                start = time.perf_counter()
                movie.counts[...]
                cupy.cuda.Device().synchronize()
                taken.append(time.perf_counter() - start)
            opened = host.nbytes / 1e9 / min(taken)
            storage = pg.open(url).storage
            stores[where] = {name: storage.read(name) for name in storage.names()}
            rows.append(
                {
                    "layout": layout,
                    "predictor": predictor or "",
                    "frames in": where,
                    "encode GB/s": host.nbytes / 1e9 / report.seconds,
                    "decode GB/s": opened,
                    "ratio": report.ratio,
                    "same store": stores[where] == stores["host, numba"],
                    "stages": report.stages,
                }
            )
    return rows


def main() -> int:
    """Measure and print; stop with an error where there is no usable device."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--frames", type=int, default=2000, help="of 512 x 512 pixels, for whole encodes")
    options = parser.parse_args()
    try:
        from photon_gpu.engine.gpu.devices import device_count, load_cupy

        device_count()
        cupy = load_cupy()
    except PhotonError as error:
        print(
            f"benchmarks.gpu measures on a CUDA device and gives no figure without one: {error}",
            file=sys.stderr,
        )
        return 2
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    figures: dict[str, Any] = {
        "device": properties["name"].decode(),
        "cupy": cupy.__version__,
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "photon_gpu": pg.__version__,
        "kernels": kernel_figures(cupy, 100, 512),
        "overlap": overlap_figures(cupy),
        "end to end": end_to_end_figures(cupy, max(options.frames // 100, 1) * 100, 512),
    }
    for title in ("kernels", "end to end"):
        rows = [{name: value for name, value in row.items() if name != "stages"} for row in figures[title]]
        print("\n" + "  ".join(rows[0]))
        for row in rows:
            print("  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    print("\n" + "\n".join(f"{name}: {value:.3g}" for name, value in figures["overlap"].items()))
    if options.json:
        with replacing(options.json) as file:
            file.write(json.dumps(figures, indent=1).encode())
    return 0 if all(row["same store"] for row in figures["end to end"]) else 1


if __name__ == "__main__":
    sys.exit(main())
