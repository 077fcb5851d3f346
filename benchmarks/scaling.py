"""Measure how time grows with length and cores: ``python -m benchmarks.scaling [--minutes 6]``.

Time, the processor's time and peak memory of encoding against movie length, frame size, cores, chunk_frames,
number of movies and dask workers, with the exponents fitted (1 is linear; what grows faster is told), and the
latency of one random frame against chunk_frames. Each point runs in a process of its own, on frames that are
made as they are read; the CSV goes to benchmarks/results/. Points are measured from small to large until the
time is up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import photon_gpu as pg
from benchmarks.memory import NOISE, Shifted
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import Others, machine
from benchmarks.support.results_csv import RESULTS, path_of, save
from photon_gpu.engine.runtime.pool import worker_count
from photon_gpu.tools.profiling.profile import on_cores

CORES = worker_count(None)
POINT = {
    "frames": 400,
    "size": 512,
    "cores": CORES,
    "chunk_frames": 100,
    "movies": 1,
    "workers": 0,
    "layout": "compact",
    "preset": "fast",
}
AXES: dict[str, list[dict]] = {
    "length": [{"frames": n} for n in (100, 200, 400, 800, 1600, 3200)],
    "frame size": [{"size": n, "frames": 200} for n in (128, 256, 512, 1024, 2048)],
    "cores": [{"cores": n} for n in sorted({1, *(2**k for k in range(1, 9) if 2**k < CORES), CORES})],
    "chunk_frames": [{"chunk_frames": n} for n in (10, 25, 50, 100, 200, 400)],
    "movies": [{"movies": n, "frames": 100, "size": 256} for n in (1, 2, 4, 8, 16, 32)],
    "dask workers": [{"workers": n, "movies": 4, "cores": CORES} for n in sorted({1, 2, CORES})],
}
VARIES = {"length": "frames", "frame size": "size", "dask workers": "workers"}
LIMIT = 1.15
"""Exponents of time above this are told as a defect; below, they are within what timing scatters."""
COLUMNS = (
    "date",
    "machine",
    "axis",
    "value",
    "raw_bytes",
    "seconds",
    "min_seconds",
    "max_seconds",
    "mb_s",
    "cpu_seconds",
    "others_percent",
    "peak_bytes",
    "frame_ms",
)
_LONGEST = 300.0


def point(facts: dict, repeats: int) -> dict:
    """Measure one point in this process."""
    import resource

    seconds: list[float] = []
    cpu: list[float] = []
    others = Others()
    movies = [Shifted(facts["frames"], facts["size"], seed) for seed in range(facts["movies"])]
    options = {
        "noise": NOISE,
        "layout": facts["layout"],
        "preset": facts["preset"],
        "chunk_frames": facts["chunk_frames"],
        "overwrite": True,
    }
    out = {"raw_bytes": sum(movie.nbytes for movie in movies)}
    with tempfile.TemporaryDirectory() as folder:
        urls = [Path(folder) / f"{n}.zarr" for n in range(len(movies))]
        if facts["workers"]:
            seconds = _on_cluster(movies, urls, facts["workers"], options, repeats)
        else:
            with on_cores(facts["cores"]):
                pg.encode(
                    Shifted(2, 64),
                    Path(folder) / "warm.zarr",
                    workers=facts["cores"],
                    **options,
                    check=False,
                    trust_noise=True,
                )
                for _ in range(repeats):
                    began = time.process_time()
                    report = pg.encode_many(
                        movies, urls, workers=facts["cores"], **options, check=False, trust_noise=True
                    )
                    cpu.append(time.process_time() - began)
                    seconds.append(report.seconds - sum(one.compile_seconds for one in report.reports))
        if facts.get("latency"):
            out["frame_ms"] = latency(urls[0], facts["frames"])
    if cpu:
        out["cpu_seconds"] = statistics.median(cpu)
    out["others_percent"] = others.percent()
    out["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    out["seconds"], out["min_seconds"], out["max_seconds"] = (
        statistics.median(seconds),
        min(seconds),
        max(seconds),
    )
    return out


def latency(path: Path, frames: int, reads: int = 9) -> float:
    """Median milliseconds to one random frame of a movie that was opened, each from another chunk or anew."""
    rng, took = np.random.default_rng(0), []
    for _ in range(reads):
        movie = pg.open(path)
        number = int(rng.integers(frames))
        movie.manifest  # noqa: B018 - read once per movie, not per frame
        start = time.perf_counter()
        movie.counts[number]
        took.append(time.perf_counter() - start)
    return 1e3 * statistics.median(took)


def _on_cluster(movies: list, urls: list[Path], workers: int, options: dict, repeats: int) -> list[float]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        Client(cluster) as client,
    ):
        warm = [Shifted(100, 64) for _ in range(4 * workers)]
        places = [url.with_name(f"warm{n}.zarr") for n, url in enumerate(urls * (4 * workers))][: len(warm)]
        pg.encode_many(warm, places, client=client, **options, check=False, trust_noise=True)
        return [
            pg.encode_many(movies, urls, client=client, **options, check=False, trust_noise=True).seconds
            for _ in range(repeats)
        ]


def exponent(values: list[float], costs: list[float]) -> float:
    """Slope of the straight line through logarithms: cost grows as ``value ** exponent``.

    >>> round(exponent([1, 2, 4], [3, 6, 12]), 3)
    1.0
    """
    return float(np.polyfit(np.log(values), np.log(costs), 1)[0])


def findings(axis: str, rows: list[dict]) -> list[str]:
    """What the points of an axis say."""
    if len(rows) < 2:
        return [f"{axis}: {len(rows)} points: no exponent"]
    values = [float(row["value"]) for row in rows]
    time_ = exponent(values, [row["seconds"] for row in rows])
    if axis in ("cores", "dask workers"):
        speed = rows[0]["seconds"] / rows[-1]["seconds"]
        return [
            f"{axis}: {values[-1]:g} are {speed:.2f} times as fast as {values[0]:g} (time ** {time_:.2f})"
        ]
    work = values if axis == "chunk_frames" else [row["raw_bytes"] for row in rows]
    if axis == "frame size":
        axis = "frame size (pixels)"
    time_, memory = (exponent(work, [row[column] for row in rows]) for column in ("seconds", "peak_bytes"))
    line = f"{axis}: time ** {time_:.2f}"
    # Start-up is part of small runs, so growth is judged between the two largest, by the processor's time: a
    # busy machine makes no code worse than linear.
    last = time_
    if all(row.get("cpu_seconds") for row in rows):
        cpu = [row["cpu_seconds"] for row in rows]
        last = exponent(work[-2:], cpu[-2:])
        line += f", processor time ** {exponent(work, cpu):.2f} ({last:.2f} between the two largest)"
    line += f", peak memory ** {memory:.2f}"
    return [line + (f"  <-- worse than linear: above {LIMIT}" if last > LIMIT else "")]


def main(arguments: list[str] | None = None) -> Path | None:
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--only", help=f"axes by comma: {', '.join(AXES)}")
    parser.add_argument("--points", type=int, default=99, help="at most so many points per axis")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(point(json.loads(options.one), options.repeats)))
        return None
    names = options.only.split(",") if options.only else list(AXES)
    until = time.monotonic() + 60 * options.minutes
    target = path_of("scaling", options.results)
    lines: list[str] = []
    for position, axis in enumerate(names):
        share = max(until - time.monotonic(), 0.0) / (len(names) - position)
        rows = measure(axis, time.monotonic() + share, options.repeats, options.points)
        save(target, COLUMNS, [{"axis": axis, **row} for row in rows], "axis")
        lines += findings(axis, rows)
        print(lines[-1], flush=True)
    print("\n".join(["", machine(), *lines, str(target)]))
    return target


def measure(axis: str, until: float, repeats: int, points: int) -> list[dict]:
    """Points of one axis, from small to large, until the time is up; two at least."""
    rows: list[dict] = []
    took = 0.0
    for change in AXES[axis][:points]:
        started = time.monotonic()
        if len(rows) >= 2 and started + 2 * took > until:
            print(f"  {axis}: no time for {change}", flush=True)
            break
        facts = {**POINT, **change, "latency": axis == "chunk_frames"}
        command = [
            sys.executable,
            "-m",
            "benchmarks.scaling",
            "--repeats",
            str(repeats),
            "--one",
            json.dumps(facts),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            print(f"  {axis}: {change} took more than {_LONGEST:g} s and was stopped", flush=True)
            break
        if done.returncode:
            raise SystemExit(f"{axis} {change} failed:\n{done.stderr[-2000:]}")
        row = json.loads(done.stdout.splitlines()[-1])
        took = time.monotonic() - started
        row["value"] = change[VARIES.get(axis, axis)]
        row["mb_s"] = row["raw_bytes"] / 1e6 / row["seconds"]
        rows.append(row)
        frame = f", frame {row['frame_ms']:.1f} ms" if "frame_ms" in row else ""
        print(
            f"  {axis} {row['value']}: {row['seconds']:.2f} s, {row['mb_s']:,.0f} MB/s, "
            f"{row['peak_bytes'] / 1e6:,.0f} MB peak{frame}",
            flush=True,
        )
    return rows


if __name__ == "__main__":
    main()
