"""Measure whether two dask workers do twice what one does: ``python -m benchmarks.workers [--rounds 5]``.

One worker process of one thread against two, on the same movies: by dask (``encode_many``), and by bare
processes that share nothing and know nothing of dask (``encode`` with one thread each). What two bare
processes reach is this machine's own limit; what dask loses against it is ours. Three loads: movies on disk
to a disk (chunks flushed), the same to memory (/dev/shm, nothing is flushed), and the compute alone (chunks
made and encoded, none stored). All take turns, so a busy moment hits all alike. The CSV goes to
benchmarks/results/.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import photon_gpu as pg
from benchmarks.memory import NOISE, Shifted
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import interleaved, machine
from benchmarks.support.results_csv import RESULTS, path_of, save
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.codec.blosc import Compressor
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.codec.predictors import Predictor
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.encode_resources import Resources

COLUMNS = (
    "date",
    "machine",
    "load",
    "by",
    "workers",
    "raw_bytes",
    "rounds",
    "seconds",
    "min_seconds",
    "max_seconds",
    "mb_s",
    "speed_up",
    "stages",
)
SETTINGS: dict[str, Any] = {"noise": NOISE, "layout": "compact", "preset": "fast", "overwrite": True}
_FIXED = Encoding(
    layout="compact",
    dtype="int16",
    noise=NOISE,
    predictor=Predictor(name="mean"),
    compressor=Compressor(cname="zstd", clevel=1, shuffle=0),
)
SHM = Path("/dev/shm")


def encode(source: str, url: str) -> float:
    """A bare process's share: one movie with one thread."""
    return pg.encode(source, url, workers=1, **SETTINGS, check=False, trust_noise=True).seconds


def compute(source: str) -> int:
    """A movie's chunks encoded by one thread and dropped; nothing is tuned, written or flushed."""
    movie = np.load(source, mmap_mode="r")
    layout = layout_for(_FIXED, get_backend())
    chunk = (100, *movie.shape[1:])
    return sum(
        len(layout.encode(np.ascontiguousarray(movie[t : t + 100]), chunk, Resources()))
        for t in range(0, len(movie), 100)
    )


class Bare:
    """So many processes of one thread, started once."""

    def __init__(self, count: int) -> None:
        self._lanes = [ProcessPoolExecutor(1, get_context("spawn")) for _ in range(count)]

    def run(self, function: Callable, jobs: list[tuple]) -> list[Any]:
        """Results of jobs that are dealt out in turn, each lane's one after the other."""
        futures = [self._lanes[n % len(self._lanes)].submit(function, *job) for n, job in enumerate(jobs)]
        return [future.result() for future in futures]

    def close(self) -> None:
        for lane in self._lanes:
            lane.shutdown()


@contextmanager
def cluster(workers: int) -> Iterator[Any]:
    """A client of a local cluster of processes with one thread each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as made,
        Client(made, set_as_default=False) as client,
    ):
        yield client


def measure(
    folder: Path, movies: int, frames: int, size: int, rounds: int, counts: tuple[int, ...]
) -> list[dict]:
    """A row per load, way and number of workers."""
    sources = []
    for n in range(movies):
        sources.append(str(folder / f"{n}.npy"))
        np.save(sources[-1], Shifted(frames, size, n).read(0, frames))
    raw = movies * frames * size * size * 2
    rows: list[dict] = []
    with ExitStack() as stack:
        clients = {n: stack.enter_context(cluster(n)) for n in counts}
        bare = {n: Bare(n) for n in counts}
        for lanes in bare.values():
            stack.callback(lanes.close)
        places = {"disk": folder}
        if SHM.is_dir() and os.access(SHM, os.W_OK):
            places["memory"] = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SHM)))
        for load, target in places.items():
            urls = [str(target / f"{n}.zarr") for n in range(movies)]
            actions: dict[str, Callable[[], object]] = {}
            reports: dict[str, Any] = {}

            def by_dask(n: int, urls: list[str], reports: dict[str, Any]) -> None:
                reports[f"dask {n}"] = pg.encode_many(
                    sources, urls, client=clients[n], **SETTINGS, check=False, trust_noise=True
                )

            for n in counts:
                actions[f"bare {n}"] = lambda n=n, u=urls: bare[n].run(
                    encode, list(zip(sources, u, strict=True))
                )
                actions[f"dask {n}"] = lambda n=n, u=urls, r=reports: by_dask(n, u, r)
            for row in table(load, raw, actions, rounds):
                if row["by"] == "dask":
                    row["stages"] = spent(reports[f"dask {row['workers']}"])
                    print(f"  {row['workers']} workers' time, %: {row['stages']}", flush=True)
                rows.append(row)
        rows += table(
            "compute alone",
            raw,
            {f"bare {n}": lambda n=n: bare[n].run(compute, [(s,) for s in sources]) for n in counts},
            rounds,
        )
    return rows


def spent(report: Any) -> str:
    """What the workers' time went to in the last run, per cent."""
    whole, stages = report.seconds * report.threads, Counter()
    for one in report.reports:
        stages.update(one.stages)
    shares = {name: 100 * seconds / whole for name, seconds in stages.items()}
    shares["waiting and dask"] = 100 - sum(shares.values())
    return ", ".join(f"{name} {share:.0f}" for name, share in shares.items())


def table(load: str, raw: int, actions: dict[str, Callable[[], object]], rounds: int) -> list[dict]:
    """Rows of one load, each way's speed-up against its own first number of workers."""
    timings, rows = interleaved(actions, rounds), []
    first: dict[str, float] = {}
    for name, timing in timings.items():
        by, workers = name.split()
        first.setdefault(by, timing.median)
        rows.append(
            {
                "load": load,
                "by": by,
                "workers": int(workers),
                "raw_bytes": raw,
                "rounds": rounds,
                "seconds": timing.median,
                "min_seconds": min(timing.seconds),
                "max_seconds": max(timing.seconds),
                "mb_s": raw / 1e6 / timing.median,
                "speed_up": first[by] / timing.median,
            }
        )
        print(
            f"  {load}, {by}, {workers} workers: {timing.rate(raw)} MB/s, {rows[-1]['speed_up']:.2f} "
            f"times one",
            flush=True,
        )
    return rows


def findings(rows: list[dict]) -> list[str]:
    """What dask's speed-up is, beside the machine's own."""
    lines = []
    for load in dict.fromkeys(row["load"] for row in rows):
        last = {row["by"]: row for row in rows if row["load"] == load}
        text = ", ".join(f"{row['workers']} {by} {row['speed_up']:.2f} times one" for by, row in last.items())
        if {"bare", "dask"} <= set(last):
            share = last["dask"]["mb_s"] / last["bare"]["mb_s"]
            text += f": dask does {100 * share:.0f} % of what processes without it do"
        lines.append(f"{load}: {text}")
    return lines


def main(arguments: list[str] | None = None) -> Path:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--movies", type=int, default=4)
    parser.add_argument("--frames", type=int, default=800)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--workers", default="1,2", help="numbers by comma; speed-ups are against the first")
    parser.add_argument("--folder", help="on the disk to measure")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        counts = tuple(int(n) for n in options.workers.split(","))
        rows = measure(Path(folder), options.movies, options.frames, options.size, options.rounds, counts)
    target = path_of("workers", options.results)
    save(target, COLUMNS, rows, "load")
    print("\n".join(["", machine(), *findings(rows), f"{target} ({time.perf_counter() - started:.0f} s)"]))
    return target


if __name__ == "__main__":
    main()
