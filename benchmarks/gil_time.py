"""Measure how long Python's lock (the GIL) is held per raw GB: ``python -m benchmarks.gil_time``.

No number of cores makes one process faster than the work that holds Python's lock allows. While the process
encodes to a RAM disk (Linux) and while it reads back, a timer interrupts it every few milliseconds of its
processor time, and a handler in machine code counts how often the thread at work holds the lock. Printed are
milliseconds of the lock per raw GB, and the throughput at which the lock would be held all the time.
Processor time does not depend on what else the machine does. The movie repeats one chunk in memory, so
reading it costs nothing, and samples are taken only while chunks flow (steady state).
"""

from __future__ import annotations

import ctypes
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.compare import RAM
from benchmarks.memory import NOISE, Shifted
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import machine
from benchmarks.support.results_csv import RESULTS, path_of, save
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
    "lock_ms_per_gb",
    "cap_gb_s",
)
CHUNK_FRAMES = 100
_INTERVAL = 0.001  # of processor time; the kernel may round it up to its tick
_MOST_FRAMES = 1 << 20  # more than any round encodes


_counts = np.zeros(2, np.int64)  # samples, and those with the lock held


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
    """Share of the processor time of some seconds in which this process held Python's lock.

    Attributes
    ----------
    raw_bytes : int
        What was done while samples were taken; :meth:`going_on` adds it up.
    seconds, cpu_seconds : float
        How long that took, and the processor time of this process.
    """

    def __init__(self, seconds: float) -> None:
        self._least, self._began = seconds, 0.0
        self.raw_bytes = 0

    def going_on(self, raw_bytes: int) -> bool:
        """Begin with the first call; count raw bytes with every later one; False once samples are taken."""
        if not self._began:
            _libc().signal(signal.SIGPROF, _handler().address)
            _counts[:] = 0
            self._began, self._cpu_began = time.perf_counter(), time.process_time()
            signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)
            return True
        self.raw_bytes += raw_bytes
        self.seconds = time.perf_counter() - self._began
        self.cpu_seconds = time.process_time() - self._cpu_began
        if self.seconds < self._least or self.cpu_seconds < self._least / 4:
            return True
        signal.setitimer(signal.ITIMER_PROF, 0)
        return False

    @property
    def share(self) -> float:
        """Samples with the lock held, of all samples."""
        return float(_counts[1] / max(_counts[0], 1))


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    return libc


@cache
def _handler() -> Any:
    """Count a sample, and whether the interrupted thread holds the lock.

    Python would run a handler of its own only in the main thread, and with the lock.
    """
    address = ctypes.cast(ctypes.pythonapi.PyGILState_Check, ctypes.c_void_p).value
    holds_lock = ctypes.CFUNCTYPE(ctypes.c_int)(address)
    counts = _counts.ctypes.data

    @numba.cfunc(numba.types.void(numba.types.intc))
    def count(number):  # type: ignore[no-untyped-def]
        seen = numba.carray(_pointer(counts), 2)
        seen[0] += 1
        seen[1] += holds_lock()

    return count


@intrinsic
def _pointer(context, address):  # type: ignore[no-untyped-def]
    """Pointer to int64 numbers at an address."""
    pointer = numba.types.CPointer(numba.types.int64)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(numba.types.uintp), generate


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
    folder: Path, *, layouts: Sequence[str], size: int, workers: int | None, seconds: float, rounds: int
) -> list[dict]:
    """One row for each layout and action."""
    chunk, rows = np.array(Shifted(CHUNK_FRAMES, size).read(0, CHUNK_FRAMES)), []
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
            measured = []
            for _ in range(rounds):
                run(sampler := LockSampler(seconds))
                gigabytes = sampler.raw_bytes / 1e9
                cpu = sampler.cpu_seconds / gigabytes
                measured.append((1000 * sampler.share * cpu, cpu, gigabytes / sampler.seconds))
            lock, cpu, speed = sorted(measured)[len(measured) // 2]
            rows.append(
                {
                    "layout": layout,
                    "action": action,
                    "workers": worker_count(workers),
                    "rounds": rounds,
                    "gb_s": speed,
                    "cpu_s_per_gb": cpu,
                    "lock_ms_per_gb": lock,
                    "cap_gb_s": 1000 / max(lock, 1e-3),
                }
            )
            print(
                f"{layout}, {action}: {lock:.1f} ms of the lock per raw GB, which caps at "
                f"{rows[-1]['cap_gb_s']:.1f} GB/s (now {speed:.2f} GB/s, {cpu:.2f} s of processor time per "
                f"GB); rounds: {', '.join(f'{one[0]:.1f}' for one in measured)}",
                flush=True,
            )
    return rows


def page(rows: list[dict[str, str]]) -> str:
    """Return the text of docs/measured/gil_time.md."""
    intro = (
        f"{rows[0]['machine']}, {rows[0]['date']}. No number of cores makes one process faster than the work"
        " that holds Python's lock (the GIL) allows. Frames of 512 x 512, preset `fast`, on a RAM disk;"
        " medians of rounds. The last column is the throughput at which the lock would be held all the time."
    )
    table = [
        "| layout | action | lock, ms per raw GB | processor time, s per raw GB | GB/s at most |",
        "|---|---|---|---|---|",
        *(
            f"| {row['layout']} | {row['action']} | {float(row['lock_ms_per_gb']):.0f} |"
            f" {float(row['cpu_s_per_gb']):.2f} | {float(row['cap_gb_s']):.0f} |"
            for row in rows
        ),
    ]
    return "\n".join([intro, "", *table])


def main(arguments: list[str] | None = None) -> Path:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a round")
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
    target = path_of("gil_time", options.results)
    save(target, COLUMNS, rows, "layout")
    print(target)
    return target


if __name__ == "__main__":
    main()
