"""Record at speed: ``python -m benchmarks.live [rivals|paced|hours|soak|all] [--minutes M | --seconds S]``.

``rivals`` sustained append to local disk: ours, acquire-zarr and plain zarr-python, raw and with Blosc, in
turns. ``paced``   p50, p99 and worst latency of appends of one frame at a set rate, the same rivals in turns.
``hours``   8 hours of 512 x 512 at 30 Hz, as fast as they go, and what memory does meanwhile.
``soak`` faults of every kind at random, processes killed, for a set time: frames acknowledged, frames lost.


Every movie is opened and compared with what was appended before a figure is printed. ``all --json
benchmarks/results/live_MACHINE_DATE.json`` stores what ``python -m benchmarks.tables`` writes to
docs/measured/live.md.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import machine
from benchmarks.support.recorder_adapters import (
    CHUNK,
    NOISE,
    RIVALS,
    SHAPE,
    Begin,
    ours,
    stored_frames,
    worst_error,
)
from photon_gpu.store.durable import replacing

FRAME_BYTES = 2 * SHAPE[0] * SHAPE[1]
_KEPT = 50  # ``hours`` leaves the latest 50 chunks and every 50th earlier one on the disk


def made(frames: int) -> NDArray[np.int16]:
    """Tile the corpus's two-photon recording until a frame is full; simulate frames where there is none.

    Each tile is at another time of the recording, so that none repeats its neighbour.
    """
    corpus = os.environ.get("PHOTON_GPU_CORPUS")
    if corpus and (path := Path(corpus) / "2p_cortex.tif").exists():
        with pg.open_source(path) as source:
            movie = source.read(0, source.shape[0])
        down, across = (-(-have // size) for have, size in zip(SHAPE, movie.shape[1:], strict=True))
        apart = len(movie) // (down * across)
        rows = [
            [np.roll(movie, apart * (r * across + c), axis=0) for c in range(across)] for r in range(down)
        ]
        movie = np.block(rows)[:, : SHAPE[0], : SHAPE[1]]
    else:
        movie = pg.simulate(frames=100, height=512, width=512, photons=4, gain=100, offset=92, seed=0).read(
            0, 100
        )
    return np.ascontiguousarray(np.resize(movie, (frames, *SHAPE)), np.int16)


SUSTAINED: dict[str, tuple[Begin, int]] = {
    "photon_gpu compact, durability chunk": (ours("chunk"), 10),
    "photon_gpu compact, durability frame, batches of 16": (ours("frame"), 16),
    "photon_gpu lossless, durability chunk": (ours("chunk", "lossless"), 10),
    **{name: (begin, CHUNK if "zarr-python" in name else 10) for name, begin in RIVALS.items()},
}

PACED: dict[str, Begin] = {
    "photon_gpu, durability chunk": ours("chunk"),
    "photon_gpu, durability frame, wait=False": ours("frame", wait=False),
    "photon_gpu, durability frame": ours("frame"),
    **RIVALS,
}


def _turns(
    where: str | None, rounds: int, names: list[str], one: Callable[[str, Path], Any]
) -> dict[str, list]:
    """Each contender in turn, as often as there are rounds, each time in a new folder."""
    rows: dict[str, list] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            folder = Path(tempfile.mkdtemp(dir=where, prefix="photon-bench-"))
            try:
                rows[name].append(one(name, folder))
            finally:
                shutil.rmtree(folder)
    return rows


def disk_rate(where: str | None, seconds: float, threads: int = 4, nbytes: int = 12 << 20) -> float:
    """Measure MB/s of files written and synced alone, several at once: the bound of any durable writer."""
    folder, content = Path(tempfile.mkdtemp(dir=where, prefix="photon-bench-")), os.urandom(nbytes)
    began = time.perf_counter()

    def write(n: int) -> int:
        files = 0
        while time.perf_counter() - began < seconds:
            with (folder / f"{n}-{files}").open("wb", buffering=0) as file:
                file.write(content)
                os.fsync(file.fileno())
            files += 1
        return files

    try:
        with ThreadPoolExecutor(threads) as pool:
            files = sum(pool.map(write, range(threads)))
        return files * nbytes / 1e6 / (time.perf_counter() - began)
    finally:
        shutil.rmtree(folder)


def rivals(seconds: float, rounds: int, where: str | None) -> list[dict[str, Any]]:
    """Measure MB/s until the last byte is stored, and the ratio."""
    movie = made(200)

    def one(name: str, folder: Path) -> tuple[float, float, float]:
        begin, batch = SUSTAINED[name]
        began = time.perf_counter()
        recorder, frames = begin(folder), 0
        while time.perf_counter() - began < seconds:
            start = frames % len(movie)
            recorder.append(block := movie[start : start + batch])
            frames += len(block)
        recorder.close()
        rate = frames * FRAME_BYTES / 1e6 / (time.perf_counter() - began)
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        stored = stored_frames(folder)
        assert stored.shape[0] == frames, (stored.shape, frames)
        return rate, frames * FRAME_BYTES / size, worst_error(stored, movie, [0, 1, frames - 1])

    def once(name: str, folder: Path) -> None:  # Compile kernels and load libraries.
        recorder = SUSTAINED[name][0](folder)
        recorder.append(movie[:CHUNK])
        recorder.close()

    _turns(where, 1, list(SUSTAINED), once)
    rows = _turns(where, rounds, list(SUSTAINED), one)
    first = float(np.median([rate for rate, _, _ in next(iter(rows.values()))]))
    print(
        f"512 x 512 int16, {seconds:g} s each, {rounds} rounds; {machine()}; load {os.getloadavg()[0]:.1f}\n"
    )
    print(
        f"the disk takes {disk_rate(where, min(seconds, 4.0)):,.0f} MB/s of files of 12 MB, written "
        f"and synced\n"
    )
    print("| writer | MB/s | lowest to highest | of the first | ratio | worst error, sigma |")
    print("|---|---|---|---|---|---|")
    out = []
    for name, result in rows.items():
        rates = [rate for rate, _, _ in result]
        row = {
            "writer": name,
            "mb_s": float(np.median(rates)),
            "lowest_mb_s": min(rates),
            "highest_mb_s": max(rates),
            "of_first": float(np.median(rates)) / first,
            "ratio": result[0][1],
            "worst_error_sigma": max(error for _, _, error in result),
        }
        out.append(row)
        print(
            f"| {name} | {row['mb_s']:,.0f} | {min(rates):,.0f} to {max(rates):,.0f} | "
            f"{row['of_first']:.2f} | "
            f"{row['ratio']:.2f} | {row['worst_error_sigma']:.2f} |"
        )
    return out


def paced(seconds: float, rounds: int, rate: float, where: str | None) -> list[dict[str, Any]]:
    """Measure the latency of single appends at ``rate`` MB/s."""
    movie, period = made(100), FRAME_BYTES / 1e6 / rate

    def one(name: str, folder: Path) -> tuple[list[float], int]:
        recorder, took, late = PACED[name](folder), [], 0
        began, frames = time.perf_counter(), max(1, int(seconds / period))
        for n in range(frames):
            due = began + n * period
            if (early := due - time.perf_counter()) > 0:
                time.sleep(early)
            late += early < -0.1
            block, start = movie[n % len(movie)][np.newaxis], time.perf_counter()
            recorder.append(block)
            took.append((time.perf_counter() - start) * 1e3)
        recorder.close()
        stored = stored_frames(folder)
        assert stored.shape[0] == frames and worst_error(stored, movie, [0, frames - 1]) < 0.5
        return took, late

    rows = _turns(where, rounds, list(PACED), one)
    print(
        f"\nappends of one frame at {rate:g} MB/s, {seconds:g} s each, {rounds} rounds; {machine()}; "
        f"load {os.getloadavg()[0]:.1f}\n"
    )
    print("| writer | p50 ms | p99 ms | worst ms | late by over 100 ms |\n|---|---|---|---|---|")
    out = []
    for name, result in rows.items():
        took = [ms for one_took, _ in result for ms in one_took]
        row = {
            "writer": name,
            "p50_ms": float(np.median(took)),
            "p99_ms": float(np.quantile(took, 0.99)),
            "worst_ms": max(took),
            "late": sum(late for _, late in result),
            "appends": len(took),
        }
        out.append(row)
        print(
            f"| {name} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {row['worst_ms']:.1f} | "
            f"{row['late']:,} of {len(took):,} |"
        )
    return out


def hours(hours: float, seconds: float, where: str | None) -> dict[str, Any]:
    """Record the frames of ``hours`` at 30 Hz, or as many as fit ``seconds``; measure resident memory.

    Of the chunks published, every 50th and the latest 50 stay on the disk: all would be 100 GB.
    """
    import psutil

    movie, process = made(CHUNK), psutil.Process()
    folder = Path(tempfile.mkdtemp(dir=where, prefix="photon-bench-"))
    total, memory, frames, thinned = int(hours * 3600 * 30), [], 0, 0
    began = time.perf_counter()
    with pg.LiveWriter(folder / "m.zarr", frame_shape=SHAPE, dtype="int16", noise=NOISE) as live:
        while frames < total and time.perf_counter() - began < seconds:
            live.append(movie[: total - frames])
            frames = live.status().frames_in
            memory.append(process.memory_info().rss)
            while thinned < live.acknowledged // CHUNK - _KEPT:
                if thinned % _KEPT:
                    (folder / f"m.zarr/{thinned}.0.0").unlink()
                thinned += 1
    spent = time.perf_counter() - began
    stored = pg.open(folder / "m.zarr").counts
    assert stored.shape[0] == frames
    stored_starts = [n * CHUNK for n in range(-(-frames // CHUNK)) if (folder / f"m.zarr/{n}.0.0").exists()]
    error = worst_error(stored, movie, [*stored_starts, frames - 1])
    assert len(stored_starts) > thinned // _KEPT and error < 0.5, (len(stored_starts), error)
    shutil.rmtree(folder)
    settled, half = len(memory) // 10, len(memory) // 2  # The queue fills first.
    row = {
        "frames": frames,
        "hours_at_30_hz": frames / 30 / 3600,
        "mb_s": frames * FRAME_BYTES / 1e6 / spent,
        "most_bytes_first_half": max(memory[settled:half]),
        "most_bytes_second_half": max(memory[half:]),
        "worst_error_sigma": error,
    }
    print(
        f"\n{frames:,} frames, {row['hours_at_30_hz']:.2f} hours at 30 Hz, in {spent:.0f} s "
        f"({row['mb_s']:,.0f} MB/s): "
        f"memory at most {row['most_bytes_first_half'] / 1e6:,.0f} MB in the first half (after its "
        f"first fifth), "
        f"{row['most_bytes_second_half'] / 1e6:,.0f} MB in the second; {machine()}; load "
        f"{os.getloadavg()[0]:.1f}"
    )
    return row


def soak(seconds: float, seed: int) -> dict[str, Any]:
    """Kill processes and let stores and spools fail; then search for every acknowledged frame."""
    from tests.support.faults.faulty_object_store import FaultyFileSystem
    from tests.support.faults.interrupted_recordings import frames as expected
    from tests.support.faults.interrupted_recordings import in_child
    from tests.support.faults.soak_recorder import record_badly

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
        where = spool if pg.live.pending(spool) else storage
        last = np.empty((0, 1, 1))
        try:
            pg.recover(where, url=storage)
            last = pg.open(storage, workers=1).counts[...]
        except pg.errors.StoreNotFoundError:
            pass  # nothing was acknowledged, or all of it is counted as lost below
        owed = min(acknowledged, len(last))
        truth = expected(0, owed) if owed else last[:0]
        counts["acknowledged"] += acknowledged
        counts["lost"] += acknowledged - sum(map(np.array_equal, last[:owed], truth))
        counts["faults"] += faults
        shutil.rmtree(folder / "store" / name, ignore_errors=True)
    shutil.rmtree(folder)
    print(
        f"\nsoak of {seconds:g} s, seed {seed}: {counts['recordings']:,} recordings, "
        f"{counts['kills']:,} killed, "
        f"{counts['faults']:,} faults injected, {counts['acknowledged']:,} frames acknowledged, "
        f"{counts['lost']} lost"
    )
    return {"seconds": seconds, "seed": seed, **counts}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=("rivals", "paced", "hours", "soak", "all"))
    parser.add_argument("--seconds", type=float, help="of each writer and round (hours, soak: in all)")
    parser.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument("--rounds", type=int, default=3, help="of rivals and paced")
    parser.add_argument("--rate", type=float, default=100.0, help="MB/s of paced")
    parser.add_argument("--seed", type=int, default=0, help="of soak")
    parser.add_argument("--where", help="folder on the disk to write to")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seconds = options.minutes * 60 if options.minutes else options.seconds
    results: dict[str, Any] = {"machine": machine()}
    if options.what in ("rivals", "all"):
        results["rivals"] = rivals(seconds or 8.0, options.rounds, options.where)
    if options.what in ("paced", "all"):
        results["paced"] = paced(seconds or 10.0, options.rounds, options.rate, options.where)
    if options.what in ("hours", "all"):
        results["hours"] = hours(8.0, seconds or 1e9, options.where)
    if options.what in ("soak", "all"):
        results["soak"] = soak(seconds or 600.0, options.seed)
    if options.json:
        with replacing(options.json) as file:
            file.write(json.dumps(results, indent=1).encode())


if __name__ == "__main__":
    main()
