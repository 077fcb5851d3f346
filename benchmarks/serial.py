"""Measure how long Python's lock is held per raw GB: ``python -m benchmarks.serial [--seconds 5]``.

No number of cores makes one process faster than the work that holds Python's lock allows. py-spy samples the
process while it encodes to a RAM disk (Linux) and while it reads back, and counts the samples in which a
thread holds the lock. Printed are milliseconds of the lock per raw GB, and the throughput at which the lock
would be held all the time. The movie repeats one chunk in memory, so reading it costs nothing, and samples
are taken only while chunks flow (steady state). Other programs on the machine make the figures worse, since a
thread that waits for a core keeps the lock. So the least of several rounds counts, and a second figure
estimates a quiet machine: the same share of the time that the processor time would take if every worker had a
core.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.clock import machine
from benchmarks.compare import RAM
from benchmarks.memory import NOISE, Shifted
from benchmarks.record import RESULTS, path_of, save
from photon_gpu.engine.runtime.pool import worker_count
from photon_gpu.sources.base import Source

COLUMNS = (
    "date",
    "machine",
    "layout",
    "action",
    "workers",
    "rounds",
    "gb_s",
    "cpu_s_per_gb",
    "lock_percent",
    "lock_ms_per_gb",
    "quiet_lock_ms_per_gb",
    "cap_gb_s",
)
CHUNK_FRAMES = 100
_RATE = 500  # samples per second
_MOST_FRAMES = 1 << 20  # more than any round encodes


class Repeated(Source):
    """The same chunk again and again: a movie that costs nothing to read."""

    name = "repeated chunk"

    def __init__(self, chunk: NDArray, frames: int) -> None:
        self._chunk, self.dtype = chunk, chunk.dtype
        self.shape = (frames, *chunk.shape[1:])

    def read(self, start: int, stop: int) -> NDArray:
        first = start % len(self._chunk)
        return self._chunk[first : first + stop - start]


class _SamplesTaken(Exception):
    """Ends an encode."""


class LockSampler:
    """Share of some seconds in which this process held Python's lock, by py-spy.

    Attributes
    ----------
    raw_bytes : int
        What was done while samples were taken; :meth:`going_on` adds it up.
    seconds, cpu_seconds : float
        How long that took, and the processor time of this process.
    """

    def __init__(self, seconds: int) -> None:
        self._seconds, self._folder = seconds, tempfile.TemporaryDirectory()
        self._report, self._spy = Path(self._folder.name) / "stacks", None
        self.raw_bytes = 0

    def going_on(self, raw_bytes: int) -> bool:
        """Begin with the first call; count raw bytes with every later one; False once samples are taken."""
        if self._spy is None:
            self._start()
            return True
        self.raw_bytes += raw_bytes
        if self._spy.poll() is None:
            return True
        self.seconds = time.perf_counter() - self._began
        self.cpu_seconds = time.process_time() - self._cpu_began
        return False

    def _start(self) -> None:
        program = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
        command = [program, "record", "--gil", "--nonblocking", "--format", "raw"]
        command += ["--rate", str(_RATE), "--duration", str(self._seconds), "--pid", str(os.getpid())]
        self._spy: Any = subprocess.Popen(
            [*command, "--output", str(self._report)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._began, self._cpu_began = time.perf_counter(), time.process_time()

    def share(self) -> float:
        """Samples with the lock held, of all samples."""
        _, output = self._spy.communicate()
        if self._spy.returncode or not self._report.exists():
            raise SystemExit(f"py-spy failed; it may need more rights: {output.decode().strip()}")
        stacks = self._report.read_text().splitlines()
        self._folder.cleanup()
        return sum(int(line.rpartition(" ")[2]) for line in stacks) / (_RATE * self._seconds)


def encoding(chunk: NDArray, store: Path, settings: dict[str, Any], sampler: LockSampler) -> None:
    """Encode until all samples are taken; nothing is kept."""
    frame, before = chunk[0].nbytes, 0

    def progress(frames: int, _: int) -> None:
        nonlocal before
        done, before = frames - before, frames
        if not sampler.going_on(done * frame):
            raise _SamplesTaken

    try:
        pg.encode(Repeated(chunk, _MOST_FRAMES), store, progress=progress, overwrite=True, **settings)
    except _SamplesTaken:
        return
    raise AssertionError("the movie ended before the samples were taken")


def reading(movie: pg.Movie, sampler: LockSampler) -> None:
    """Read counts until all samples are taken."""
    raw_bytes = 0
    while sampler.going_on(raw_bytes):
        raw_bytes = movie.counts[...].nbytes


def measure(
    folder: Path, *, layouts: Sequence[str], size: int, workers: int | None, seconds: int, rounds: int
) -> list[dict]:
    """One row for each layout and action."""
    chunk, rows = np.array(Shifted(CHUNK_FRAMES, size).read(0, CHUNK_FRAMES)), []
    threads = worker_count(workers)
    for layout in layouts:
        settings = {"layout": layout, "preset": "fast", "noise": NOISE, "workers": workers}
        settings |= {"check": False, "trust_noise": True}
        stored = folder / "read.zarr"
        pg.encode(Repeated(chunk, 12 * CHUNK_FRAMES), stored, overwrite=True, **settings)
        movie = pg.open(stored, workers=workers)
        actions: dict[str, Callable[[LockSampler], None]] = {
            "encode": lambda sampler, s=settings: encoding(chunk, folder / "made.zarr", s, sampler),
            "decode": lambda sampler, m=movie: reading(m, sampler),
        }
        for action, run in actions.items():
            results = []
            for _ in range(rounds):
                run(sampler := LockSampler(seconds))
                share, gigabytes = sampler.share(), sampler.raw_bytes / 1e9
                lock = share * sampler.seconds * 1000 / gigabytes
                results.append((lock, share, gigabytes / sampler.seconds, sampler.cpu_seconds / gigabytes))
            lock, share, speed, cpu = min(results)
            quiet = min(lock, share * cpu / threads * 1000)
            rows.append(
                {
                    "layout": layout,
                    "action": action,
                    "workers": threads,
                    "rounds": rounds,
                    "gb_s": speed,
                    "cpu_s_per_gb": cpu,
                    "lock_percent": 100 * share,
                    "lock_ms_per_gb": lock,
                    "quiet_lock_ms_per_gb": quiet,
                    "cap_gb_s": 1000 / max(quiet, 1e-3),
                }
            )
            print(
                f"{layout}, {action}: {lock:.0f} ms of the lock per raw GB ({100 * share:.1f} % of the time "
                f"at {speed:.2f} GB/s, {cpu:.2f} s of processor per GB); on a quiet machine {quiet:.0f} ms, "
                f"which caps at {rows[-1]['cap_gb_s']:.1f} GB/s; rounds: "
                f"{', '.join(f'{one[0]:.0f}' for one in results)}",
                flush=True,
            )
    return rows


def main(arguments: list[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5, help="of samples in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layouts", default="compact,plain", help="names by comma")
    parser.add_argument("--size", type=int, default=512, help="pixels along the side of a frame")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    print(machine())
    with tempfile.TemporaryDirectory(dir=RAM if Path(RAM).is_dir() else None) as folder:
        rows = measure(
            Path(folder),
            layouts=options.layouts.split(","),
            size=options.size,
            workers=options.workers,
            seconds=options.seconds,
            rounds=options.rounds,
        )
    target = path_of("serial", options.results)
    save(target, COLUMNS, rows, "layout")
    print(target)
    return target


if __name__ == "__main__":
    main()
