"""Recording at speed: ``python -m benchmarks.live [rivals|paced|hours|soak|all] [--json FILE]``.

``rivals``  sustained append to local disk, ours, acquire-zarr and plain zarr-python, raw and with Blosc, in turns.
``paced``   p50, p99 and worst latency of appends at a set rate.
``hours``   8 hours of 512 x 512 at 30 Hz, as fast as they go, and what memory does meanwhile.
``soak``    faults of every kind at random, processes killed, for a set time: frames acknowledged, frames lost.

Every movie is opened and compared with what was appended before a figure is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.clock import machine

NOISE = pg.NoiseModel(gain=100.0, offset=92.0)
SHAPE = (512, 512)
FRAME_BYTES = 2 * SHAPE[0] * SHAPE[1]


def made(frames: int) -> NDArray[np.int16]:
    """The two-photon recording of the corpus, repeated; without one, simulated frames."""
    corpus = os.environ.get("PHOTON_GPU_CORPUS")
    if corpus and (path := Path(corpus) / "2p_cortex.tif").exists():
        with pg.open_source(path) as source:
            movie = source.read(0, min(frames, source.shape[0]))
        if movie.shape[1:] == SHAPE:
            return np.resize(movie, (frames, *SHAPE)).astype(np.int16)
    movie = pg.simulate(
        frames=min(frames, 100), height=512, width=512, photons=4, gain=100, offset=92, seed=0
    )
    return np.resize(movie.read(0, min(frames, 100)), (frames, *SHAPE)).astype(np.int16)


def _append_all(live: pg.LiveWriter, movie: NDArray, batch: int, seconds: float) -> int:
    """Append batches round and round for some time; how many frames."""
    end, frames = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        start = frames % len(movie)
        frames += len(block := movie[start : start + batch])
        live.append(block)
    return frames


def ours(durability: str, layout: str, batch: int) -> Callable[[Path, NDArray, float], int]:
    def write(folder: Path, movie: NDArray, seconds: float) -> int:
        with pg.LiveWriter(
            folder / "m.zarr", frame_shape=SHAPE, dtype="int16", noise=NOISE, layout=layout, durability=durability,
            spool=folder / "spool",
        ) as live:  # fmt: skip
            return _append_all(live, movie, batch, seconds)

    return write


def acquire(compressed: bool) -> Callable[[Path, NDArray, float], int]:
    def write(folder: Path, movie: NDArray, seconds: float) -> int:
        import acquire_zarr as az

        compression = (
            az.CompressionSettings(
                compressor=az.Compressor.BLOSC1, codec=az.CompressionCodec.BLOSC_ZSTD, level=1, shuffle=2
            )
            if compressed
            else None
        )
        kinds = (az.DimensionType.TIME, az.DimensionType.SPACE, az.DimensionType.SPACE)
        dimensions = [
            az.Dimension(name=name, kind=kind, array_size_px=size, chunk_size_px=chunk, shard_size_chunks=1)
            for name, kind, size, chunk in zip("tyx", kinds, (0, *SHAPE), (100, *SHAPE), strict=True)
        ]
        array = az.ArraySettings(dimensions=dimensions, data_type=az.DataType.INT16, compression=compression)
        stream = az.ZarrStream(
            az.StreamSettings(store_path=str(folder / "m.zarr"), version=az.ZarrVersion.V3, arrays=[array])
        )
        end, frames = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            start = frames % len(movie)
            frames += len(block := movie[start : start + 10])
            stream.append(block)
        stream.close()
        return frames

    return write


def plain_zarr(compressed: bool) -> Callable[[Path, NDArray, float], int]:
    def write(folder: Path, movie: NDArray, seconds: float) -> int:
        import numcodecs
        import zarr

        compressor = numcodecs.Blosc(cname="zstd", clevel=1, shuffle=2) if compressed else None
        array = zarr.create_array(
            str(folder / "m.zarr"), shape=(0, *SHAPE), chunks=(100, *SHAPE), dtype="int16", zarr_format=2,
            compressors=compressor,
        )  # fmt: skip
        end, frames = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:  # a whole chunk at once: the best that can be done by hand
            block = np.take(movie, range(frames, frames + 100), axis=0, mode="wrap")
            array.append(block)
            frames += 100
        return frames

    return write


CONTENDERS: dict[str, Callable[[Path, NDArray, float], int]] = {
    "photon_gpu compact, durability chunk": ours("chunk", "compact", 10),
    "photon_gpu compact, durability frame, batches of 16": ours("frame", "compact", 16),
    "photon_gpu lossless, durability chunk": ours("chunk", "lossless", 10),
    "acquire-zarr, raw": acquire(False),
    "acquire-zarr, Blosc zstd 1": acquire(True),
    "zarr-python, raw": plain_zarr(False),
    "zarr-python, Blosc zstd 1": plain_zarr(True),
}


def _worst_error(folder: Path, movie: NDArray, frames: int) -> float:
    """In sigma, over the first and last frames."""
    if (folder / "m.zarr/.manifest.json").exists():
        stored = pg.open(folder / "m.zarr").counts
    else:
        import zarr

        found = zarr.open(str(folder / "m.zarr"), mode="r")
        stored = found if hasattr(found, "shape") else next(iter(found.arrays()))[1]
    assert stored.shape[0] == frames, (stored.shape, frames)
    worst = 0.0
    for t in (0, 1, frames - 1):
        truth = pg.anscombe(movie[t % len(movie)], NOISE)
        worst = max(worst, float(np.abs(pg.anscombe(np.asarray(stored[t]), NOISE) - truth).max()))
    return worst


def rivals(seconds: float, rounds: int, where: str | None) -> list[dict[str, Any]]:
    """MB/s until the last byte is where it belongs, and the ratio."""
    movie, rows = made(200), {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, write in CONTENDERS.items():
            folder = Path(tempfile.mkdtemp(dir=where, prefix="photon-bench-"))
            try:
                began = time.perf_counter()
                frames = write(folder, movie, seconds)
                spent = time.perf_counter() - began
                size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
                error = _worst_error(folder, movie, frames)
                rows[name].append((frames * FRAME_BYTES / 1e6 / spent, frames * FRAME_BYTES / size, error))
            finally:
                shutil.rmtree(folder)
    print(
        f"512 x 512 int16, {seconds:g} s each, {rounds} rounds; {machine()}; load {os.getloadavg()[0]:.1f}\n"
    )
    print("| writer | MB/s | best | ratio | worst error, sigma |\n|---|---|---|---|---|")
    out = []
    for name, found in rows.items():
        rates = [rate for rate, _, _ in found]
        row = {
            "writer": name, "mb_s": float(np.median(rates)), "best_mb_s": max(rates),
            "ratio": found[0][1], "worst_error_sigma": max(error for _, _, error in found),
        }  # fmt: skip
        out.append(row)
        print(
            f"| {name} | {row['mb_s']:,.0f} | {row['best_mb_s']:,.0f} | {row['ratio']:.2f} | "
            f"{row['worst_error_sigma']:.2f} |"
        )
    return out


def paced(seconds: float, rate: float, where: str | None) -> list[dict[str, Any]]:
    """Latency of single appends at ``rate`` MB/s."""
    movie, out = made(100), []
    print(f"\nappends of one frame at {rate:g} MB/s for {seconds:g} s; load {os.getloadavg()[0]:.1f}\n")
    print("| durability | p50 ms | p99 ms | worst ms | frames late by over 100 ms |\n|---|---|---|---|---|")
    for durability, wait in (("chunk", True), ("frame", False), ("frame", True)):
        folder = Path(tempfile.mkdtemp(dir=where, prefix="photon-bench-"))
        period, took, late = FRAME_BYTES / 1e6 / rate, [], 0
        with pg.LiveWriter(
            folder / "m.zarr",
            frame_shape=SHAPE,
            dtype="int16",
            noise=NOISE,
            durability=durability,
            spool=folder / "spool",
        ) as live:
            began = time.perf_counter()
            for n in range(int(seconds / period)):
                due = began + n * period
                if (early := due - time.perf_counter()) > 0:
                    time.sleep(early)
                elif early < -0.1:
                    late += 1
                start = time.perf_counter()
                live.append(movie[n % len(movie)], wait=wait)
                took.append((time.perf_counter() - start) * 1e3)
        shutil.rmtree(folder)
        name = durability + ("" if wait or durability == "chunk" else ", wait=False")
        row = {
            "durability": name, "p50_ms": float(np.median(took)), "p99_ms": float(np.quantile(took, 0.99)),
            "worst_ms": max(took), "late": late, "appends": len(took),
        }  # fmt: skip
        out.append(row)
        print(
            f"| {name} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {row['worst_ms']:.1f} | {late} of {len(took)} |"
        )
    return out


def hours(hours: float, seconds: float, where: str | None) -> dict[str, Any]:
    """As many frames as ``hours`` at 30 Hz have, or as many as fit ``seconds``; resident memory meanwhile."""
    import psutil

    movie, process = made(100), psutil.Process()
    folder = Path(tempfile.mkdtemp(dir=where, prefix="photon-bench-"))
    total, memory = int(hours * 3600 * 30), []
    began = time.perf_counter()
    with pg.LiveWriter(folder / "m.zarr", frame_shape=SHAPE, dtype="int16", noise=NOISE) as live:
        frames = 0
        while frames < total and time.perf_counter() - began < seconds:
            frames += live.append(movie) * 0 + len(movie)
            memory.append(process.memory_info().rss)
    spent = time.perf_counter() - began
    assert len(pg.open(folder / "m.zarr")) == frames
    shutil.rmtree(folder)
    half = len(memory) // 2
    row = {
        "frames": frames, "hours_at_30_hz": frames / 30 / 3600, "mb_s": frames * FRAME_BYTES / 1e6 / spent,
        "most_bytes_first_half": max(memory[:half]), "most_bytes_second_half": max(memory[half:]),
    }  # fmt: skip
    print(
        f"\n{frames:,} frames, {row['hours_at_30_hz']:.2f} hours at 30 Hz, in {spent:.0f} s ({row['mb_s']:,.0f} MB/s): "
        f"memory at most {row['most_bytes_first_half'] / 1e6:,.0f} MB in the first half, "
        f"{row['most_bytes_second_half'] / 1e6:,.0f} MB in the second"
    )
    return row


def soak(seconds: float, seed: int) -> dict[str, Any]:
    """Processes killed, stores and spools that fail; every acknowledged frame is looked for."""
    from tests.faults.filesystem import FaultyFileSystem
    from tests.faults.recordings import frames as expected
    from tests.faults.recordings import in_child
    from tests.faults.soaking import record_badly

    chance, counts = (
        random.Random(seed),
        dict.fromkeys(("recordings", "kills", "faults", "acknowledged", "lost"), 0),
    )
    end = time.monotonic() + seconds
    folder = Path(
        tempfile.mkdtemp(prefix="photon-soak-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    )
    while time.monotonic() < end:
        counts["recordings"] += 1
        name, spool = f"{counts['recordings']}.zarr", folder / "spool"
        here, child = in_child(record_badly, str(folder), name, str(spool), chance.random())
        killed_at = time.monotonic() + chance.uniform(0.05, 4.0)
        acknowledged, faults = 0, 0
        while True:
            if here.poll(max(0.0, killed_at - time.monotonic())):
                try:
                    acknowledged, faults = here.recv()
                except EOFError:
                    break
            elif child.is_alive():
                child.kill()
                counts["kills"] += 1
                killed_at = time.monotonic() + 60
        child.join()
        storage = FaultyFileSystem(folder / "store").storage(name)
        try:
            pg.recover(spool if pg.live.pending(spool) else storage, url=storage)
            found = pg.open(storage, workers=1).counts[...]
        except pg.errors.StoreNotFoundError:
            found = np.empty((0, 1, 1))
        truth = expected(0, len(found)) if len(found) else found
        good = int(np.argmin([*(np.array_equal(a, b) for a, b in zip(found, truth, strict=True)), False]))
        counts["acknowledged"] += acknowledged
        counts["lost"] += max(0, acknowledged - good)
        counts["faults"] += faults
        shutil.rmtree(folder / "store" / name, ignore_errors=True)
    shutil.rmtree(folder)
    print(
        f"\nsoak of {seconds:g} s, seed {seed}: {counts['recordings']:,} recordings, {counts['kills']:,} killed, "
        f"{counts['faults']:,} faults injected, {counts['acknowledged']:,} frames acknowledged, {counts['lost']} lost"
    )
    return {"seconds": seconds, "seed": seed, **counts}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="all", choices=("rivals", "paced", "hours", "soak", "all"))
    parser.add_argument("--seconds", type=float, help="per measurement (soak: in all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100.0, help="MB/s of paced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--where", help="folder on the disk to write to")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results: dict[str, Any] = {"machine": machine()}
    if given.what in ("rivals", "all"):
        results["rivals"] = rivals(given.seconds or 8.0, given.rounds, given.where)
    if given.what in ("paced", "all"):
        results["paced"] = paced(given.seconds or 20.0, given.rate, given.where)
    if given.what in ("hours", "all"):
        results["hours"] = hours(8.0, given.seconds or 1e9, given.where)
    if given.what in ("soak", "all"):
        results["soak"] = soak(given.seconds or 600.0, given.seed)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
