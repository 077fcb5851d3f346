"""Time encoding and decoding, ours and rivals': ``python -m benchmarks.encode_and_decode_speed``.

From a movie in memory to Zarr on disk, and back. Everything is verified before it is timed. Set
PHOTON_GPU_CORPUS to measure on real recordings; otherwise the movie is simulated.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np

import photon_gpu as pg
from benchmarks.contenders import engine_contenders
from benchmarks.contenders.anscombe_transform import AnscombeTransform
from benchmarks.contenders.ours import Ours
from benchmarks.support.cases import corpus, main_case
from benchmarks.support.interleaved_timing import interleaved, machine
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.dequantize import pairs
from photon_gpu.engine.codec.predictors import mix, rates
from photon_gpu.engine.codec.residual_bands import SEGMENT
from photon_gpu.engine.codec.sqrt_quantize import root_of
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.runtime.fast_crc32 import crc32
from photon_gpu.store.durable import replacing


def rivals(repeats: int, folder: Path) -> list[dict]:
    """Every contender on the main movie."""
    case, rows, writes, reads = main_case(), [], {}, {}
    for number, contender in enumerate(engine_contenders()):
        target = folder / str(number)
        contender.write(case.values, case.noise, target)
        size = folder_bytes(target)
        error = contender.worst_error(case.values, case.noise, target)
        rows.append(
            {"contender": contender.name, "ratio": case.values.nbytes / size, "worst_error_sigma": error}
        )

        def write(contender=contender, target=target) -> None:
            shutil.rmtree(target)
            contender.write(case.values, case.noise, target)

        writes[contender.name], reads[contender.name] = write, lambda c=contender, p=target: c.read(p)
    written, read = interleaved(writes, repeats), interleaved(reads, repeats)
    for row in rows:
        name = row["contender"]
        row["write_mb_s"], row["read_mb_s"] = (t[name].rate(case.values.nbytes) for t in (written, read))
        row["write_seconds"], row["read_seconds"] = written[name].median, read[name].median
    print(f"{case.name}: {case.values.shape} {case.values.dtype}, {machine()}\n")
    print("| contender | ratio | write MB/s | read MB/s | worst error, sigma |\n|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: -row["ratio"]):
        print(
            f"| {row['contender']} | {row['ratio']:.2f} | {row['write_mb_s']} | {row['read_mb_s']} | "
            f"{row['worst_error_sigma']:.2f} |"
        )
    rival_rows = [row for row in rows if row["contender"].startswith("anscombe-transform")]
    rival = min(rival_rows, key=lambda row: row["write_seconds"], default=None)  # its best settings
    for row in rows if rival else ():
        if row["contender"].startswith("photon_gpu"):
            row["times_rival_write"] = rival["write_seconds"] / row["write_seconds"]
            row["times_rival_read"] = rival["read_seconds"] / row["read_seconds"]
            print(
                f"{row['contender']}: {row['times_rival_write']:.1f} x write and "
                f"{row['times_rival_read']:.1f} x read of {rival['contender']}"
            )
    return rows


def steady(repeats: int, folder: Path, times: int) -> list[dict]:
    """The main movie repeated, so that the begin and end of an encode hardly matter."""
    case, rows = main_case(), []
    values = np.concatenate([case.values] * times)
    writes, reads = {}, {}
    for contender in (Ours("compact", "fast"), Ours("plain", "fast"), AnscombeTransform()):
        target = folder / f"steady {contender.name}"

        def write(contender=contender, target=target) -> None:
            shutil.rmtree(target, ignore_errors=True)
            contender.write(values, case.noise, target)

        write()
        writes[contender.name], reads[contender.name] = write, lambda c=contender, p=target: c.read(p)
        rows.append({"contender": contender.name, "ratio": values.nbytes / folder_bytes(target)})
    written, read = interleaved(writes, repeats), interleaved(reads, repeats)
    print(f"\n{times} times over, {values.nbytes / 1e6:,.0f} MB\n")
    print("| contender | ratio | write MB/s | read MB/s |\n|---|---|---|---|")
    for row in rows:
        name = row["contender"]
        row["write_seconds"], row["read_seconds"] = written[name].median, read[name].median
        rates_told = (timing[name].rate(values.nbytes) for timing in (written, read))
        print(f"| {name} | {row['ratio']:.2f} | {' | '.join(rates_told)} |")
    return rows


def folder_bytes(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kernels(repeats: int) -> list[dict]:
    """Kernels on one core, as a share of a memcpy of the bytes they move."""
    cpu, rng = get_backend("numba").kernels, np.random.default_rng(0)
    frames, rows, columns = 100, 80, 200
    values = rng.integers(0, 8000, (frames, rows * columns)).astype(np.uint16)
    codes = rng.poisson(12, (frames, rows, columns)).astype(np.uint8)
    flat, out = codes.reshape(frames, -1), np.empty_like(codes)
    lut, state, steps = (
        np.arange(65536).astype(np.uint8),
        np.empty((3, rows + 2, columns + 2), np.int32),
        rates(100, 8),
    )
    weights = np.array([[0] * 10 + [3000], [107, -7, 1, -3, 22, 18, 34, 17, 12, 16, -7]], np.int32)
    each = mix(weights, frames)
    nibbles, counted = np.empty(codes.size // 2, np.uint8), np.empty(-(-codes.size // SEGMENT), np.int64)
    escapes, unpacked = np.empty((counted.size, SEGMENT), np.uint8), np.empty(codes.size, np.uint8)
    folded = np.minimum(rng.geometric(0.25, codes.size) - 1, 255).astype(np.uint8)
    cpu.pack(folded, SEGMENT, nibbles, escapes, counted)
    starts = np.concatenate([[0], np.cumsum(counted)])
    long = np.concatenate([row[:count] for row, count in zip(escapes, counted, strict=True)])
    root = root_of(CodeTable(pg.NoiseModel(gain=100.0), step=0.5, dtype="uint16"))
    labels, decoded = np.arange(65536) * 0.5, np.empty(values.shape)
    counts, table = np.empty(values.shape, np.uint16), np.arange(256, dtype=np.uint16)
    actions = {
        "LUT to codes": (3, lambda: cpu.quantize_lut(values, lut, out.reshape(frames, -1))),
        "root to codes": (3, lambda: root(values, 0, out.reshape(frames, -1))),
        "LUT to float64 labels": (10, lambda: cpu.quantize_lut(values, labels, decoded)),
        "codes to counts": (3, lambda: cpu.dequantize(flat, table, counts)),
        "codes to counts, by pairs": (
            3,
            lambda: cpu.dequantize(flat.view(np.uint16), pairs(table.tobytes()), counts.view(np.uint32)),
        ),
        "predict mean": (
            2,
            lambda: cpu.predict_mean(flat, steps, 12, state.reshape(-1), out.reshape(frames, -1)),
        ),
        "restore mean": (
            2,
            lambda: cpu.restore_mean(flat, steps, 12, state.reshape(-1), out.reshape(frames, -1)),
        ),
        "predict past": (2, lambda: cpu.predict_past(codes, weights, steps, state, out)),
        "restore past": (2, lambda: cpu.restore_past(codes, weights, steps, state, out)),
        "predict full": (2, lambda: cpu.predict_full(codes, each, steps, state, out)),
        "restore full": (2, lambda: cpu.restore_full(codes, each, steps, state, out)),
        "pack": (1.5, lambda: cpu.pack(folded, SEGMENT, nibbles, escapes, counted)),
        "unpack": (1.5, lambda: cpu.unpack(nibbles, long, starts, SEGMENT, unpacked)),
        "checksum": (1, lambda: cpu.checksum(flat, 0, rows * columns)),
        "CRC-32 (a byte per pixel)": (1, lambda: crc32(flat)),
        "CRC-32, zlib's": (1, lambda: zlib.crc32(flat)),
    }
    # A memcpy that moves as many bytes, reads and writes counted alike.
    moved = {name: codes.size * per_pixel for name, (per_pixel, _) in actions.items()}
    copies = {}
    for name, nbytes in moved.items():
        source, target = np.zeros(int(nbytes) // 2, np.uint8), np.empty(int(nbytes) // 2, np.uint8)
        copies[f"{name} memcpy"] = lambda s=source, t=target: np.copyto(t, s)
    times = interleaved({**{name: action for name, (_, action) in actions.items()}, **copies}, repeats)
    print("\n| kernel, one core | Gpixel/s | share of a memcpy of the same bytes |\n|---|---|---|")
    rows_out = []
    for name in actions:
        speed = codes.size / times[name].median / 1e9
        share = times[f"{name} memcpy"].median / times[name].median
        rows_out.append({"kernel": name, "gpixel_s": speed, "memcpy_share": share})
        print(f"| {name} | {speed:.2f} | {100 * share:.0f} % |")
    return rows_out


def recordings(folder: Path) -> list[dict]:
    """Every recording of the corpus, compact at preset small, and each predictor fixed by hand."""
    rows = []
    for case in corpus():
        sizes = {}
        for predictor in (None, "none", "mean", "past", "full", "spatial"):
            target = folder / "recording"
            report = pg.encode(
                case.values,
                target,
                noise=case.noise,
                layout="compact",
                preset="small",
                predictor=predictor,
                overwrite=True,
                check=False,
                trust_noise=True,
            )
            sizes[predictor or "chosen"] = report.stored_bytes
            if predictor is None:
                chosen = report
        lossless = pg.encode(
            case.values,
            target,
            noise=case.noise,
            layout="lossless",
            preset="small",
            overwrite=True,
            check=False,
            trust_noise=True,
        )
        rows.append(
            {
                "case": case.name,
                "ratio": chosen.ratio,
                "above_floor_percent": chosen.above_floor_percent,
                "predictor": chosen.encoding.predictor.name,
                "exact": chosen.encoding.exact,
                "lossless_ratio": lossless.ratio,
                "sizes": sizes,
            }
        )
    if rows:
        print(
            "\n| recording | ratio | above floor | chosen | best fixed / chosen, bytes | lossless |\n"
            "|---|---|---|---|---|---|"
        )
    for row in rows:
        best = min(size for name, size in row["sizes"].items() if name != "chosen")
        description = row["predictor"] + (", exact values" if row["exact"] else "")
        print(
            f"| {row['case']} | {row['ratio']:.2f} | {row['above_floor_percent']:+.1f} % | {description} | "
            f"{best / row['sizes']['chosen']:.3f} | {row['lossless_ratio']:.2f} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--times", type=int, default=10, help="the movie over and over, for steady speed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "machine": machine(),
            "rivals": rivals(options.repeats, Path(folder)),
            "steady": steady(options.repeats, Path(folder), options.times),
            "kernels": kernels(options.repeats),
            "recordings": recordings(Path(folder)),
        }
    if options.json:
        with replacing(options.json) as file:
            file.write(json.dumps(result, indent=1).encode())


if __name__ == "__main__":
    main()
