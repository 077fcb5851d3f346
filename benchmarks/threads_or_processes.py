"""Compare a process of two threads with two processes: ``python -m benchmarks.threads_or_processes``.

Both encode the same two movies, in turns: one process one movie after the other, two processes one movie
each. Python's lock, and memory that threads share, hold only the one process back. Printed are throughput,
processor time, and how much of what two processes write the one process writes. The bar is 0.95. Stores lie
on a RAM disk (Linux), so that no disk is measured.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import photon_gpu as pg
from benchmarks.memory import NOISE, Shifted
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import machine
from benchmarks.workers import SHM, Bare


def encode(source: str, url: str, layout: str, threads: int) -> float:
    """Encode a movie; return the processor time taken."""
    before = time.process_time()
    pg.encode(
        source,
        url,
        noise=NOISE,
        layout=layout,
        preset="fast",
        overwrite=True,
        workers=threads,
        check=False,
        trust_noise=True,
    )
    return time.process_time() - before


def measure(folder: Path, layout: str, frames: int, size: int, rounds: int) -> dict[str, Any]:
    """Medians of wall and processor seconds of both ways, and the ratio of their wall times."""
    sources, urls = [], []
    for number in range(2):
        sources.append(str(folder / f"{number}.npy"))
        urls.append(str(folder / f"{number}.zarr"))
        np.save(sources[-1], Shifted(frames, size, number).read(0, frames))
    ways = {"one process": (Bare(1), 2), "two processes": (Bare(2), 1)}
    wall: dict[str, list[float]] = {way: [] for way in ways}
    processor: dict[str, list[float]] = {way: [] for way in ways}
    try:
        for turn in range(rounds + 1):
            for way, (processes, threads) in ways.items():
                jobs = [(source, url, layout, threads) for source, url in zip(sources, urls, strict=True)]
                start = time.perf_counter()
                spent = processes.run(encode, jobs)
                if turn:  # the first loads kernels
                    wall[way].append(time.perf_counter() - start)
                    processor[way].append(sum(spent))
    finally:
        for processes, _ in ways.values():
            processes.close()
    ratios = [two / one for one, two in zip(wall["one process"], wall["two processes"], strict=True)]
    return {
        "raw_bytes": 2 * frames * size * size * 2,
        "wall": {way: statistics.median(seconds) for way, seconds in wall.items()},
        "processor": {way: statistics.median(seconds) for way, seconds in processor.items()},
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }


def main(arguments: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Print the figures of each layout, and return them."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frames", type=int, default=1200, help="of each of the two movies")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--layouts", default="compact,plain", help="by comma")
    options = parser.parse_args(arguments)
    figures = {}
    print(machine())
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder:
        for layout in options.layouts.split(","):
            one = measure(Path(folder), layout, options.frames, options.size, options.rounds)
            figures[layout], gigabytes = one, one["raw_bytes"] / 1e9
            for way, seconds in one["wall"].items():
                print(
                    f"{layout}, {way}: {gigabytes / seconds:.2f} GB/s, "
                    f"{one['processor'][way] / gigabytes:.2f} s of processor time per raw GB"
                )
            print(
                f"{layout}: one process writes {one['ratio']:.2f} of what two write "
                f"({min(one['ratios']):.2f} to {max(one['ratios']):.2f})",
                flush=True,
            )
    return figures


if __name__ == "__main__":
    main()
