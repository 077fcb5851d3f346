"""Time random frames by a torch DataLoader, alone and with workers: ``python -m benchmarks.torch_loader``.

A compact movie of 512 x 512 on disk is read frame by frame in random order, in batches, as float32: by the
loader in this process with one thread, in this process with a thread for each core, and by ``--workers``
spawned processes with one thread each, which stay from epoch to epoch. All read the same frames and take
turns; the first epoch of each, in which kernels are loaded, is not timed. Prints frames per second,
milliseconds of all cores for each frame, and how many times as fast the workers are. A busy machine gives two
processes more than one, so compare the processor time as well.

Without torch (``pip install torch``), a pool of spawned processes stands in for the loader's workers; what is
printed says so.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.memory import NOISE, Shifted
from benchmarks.support.arguments import parser_of
from benchmarks.support.interleaved_timing import Others, Timing, interleaved, machine

try:
    import torch
except ImportError:
    torch = None

Epoch = Callable[[], float]


class Frames:
    """A dataset of single frames, as docs/tools.md shows it."""

    def __init__(self, url: str, frames: NDArray[np.int64], threads: int) -> None:
        self.counts, self.frames = pg.open(url, workers=threads).counts, frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, number: int) -> NDArray[np.float32]:
        return self.counts[self.frames[number]].astype(np.float32)


def by_torch(dataset: Frames, workers: int, batch: int) -> Epoch:
    """Read all frames of a dataset by a DataLoader; the sum of all values."""
    options: dict[str, Any] = {}
    if workers:
        options = {"num_workers": workers, "multiprocessing_context": "spawn", "persistent_workers": True}
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch, **options)
    return lambda: sum(float(frames.sum(dtype=torch.float64)) for frames in loader)


_DATASET: list[Frames] = []


def _keep(dataset: Frames) -> None:
    """Keep the dataset that a process got at its start, as a worker of torch does."""
    _DATASET.append(dataset)


def _batch(numbers: list[int]) -> NDArray[np.float32]:
    return np.stack([_DATASET[0][number] for number in numbers])


def by_pool(dataset: Frames, workers: int, batch: int, stack: ExitStack) -> Epoch:
    """Like :func:`by_torch`, without torch."""
    numbers = [list(range(len(dataset)))[n : n + batch] for n in range(0, len(dataset), batch)]
    if not workers:
        return lambda: sum(
            float(np.stack([dataset[n] for n in some]).sum(dtype="float64")) for some in numbers
        )
    spawn = multiprocessing.get_context("spawn")
    pool = stack.enter_context(ProcessPoolExecutor(workers, spawn, _keep, (dataset,)))
    return lambda: sum(float(frames.sum(dtype="float64")) for frames in pool.map(_batch, numbers))


def _processor_seconds() -> float:
    """Processor time of this process and its children."""
    own = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (own, *own.children(recursive=True)))


def _counted(epoch: Epoch, spent: list[float]) -> Epoch:
    def counted() -> float:
        begin = _processor_seconds()
        total = epoch()
        spent.append(_processor_seconds() - begin)
        return total

    return counted


def measure(folder: Path, options: Any) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Seconds of an epoch, and of all cores for it, by each way."""
    url = str(folder / "movie.zarr")
    movie = Shifted(options.frames, options.size)
    pg.encode(
        movie,
        url,
        noise=NOISE,
        layout="compact",
        preset=options.preset,
        check=False,
        trust_noise=True,
    )
    chosen = np.random.default_rng(1).integers(0, options.frames, options.reads)
    datasets = {threads: Frames(url, chosen, threads) for threads in (1, os.cpu_count() or 1)}
    ways = {
        "one process, one thread": (datasets[1], 0),
        f"{options.workers} workers": (datasets[1], options.workers),
    }
    for threads in list(datasets)[1:]:
        ways[f"one process, {threads} threads"] = datasets[threads], 0
    with ExitStack() as stack:
        epochs: dict[str, Epoch] = {}
        for name, (dataset, workers) in ways.items():
            if torch is None:
                epochs[name] = by_pool(dataset, workers, options.batch, stack)
            else:
                epochs[name] = by_torch(dataset, workers, options.batch)
        sums = {name: epoch() for name, epoch in epochs.items()}
        assert len(set(sums.values())) == 1, f"the frames differ: {sums}"
        spent: dict[str, list[float]] = {name: [] for name in epochs}
        counted = {name: _counted(epoch, spent[name]) for name, epoch in epochs.items()}
        timings = interleaved(counted, options.rounds)
        return timings, {name: Timing(tuple(seconds[1:])) for name, seconds in spent.items()}


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Print frames per second; return how many times as fast the workers are as each other way."""
    parser = parser_of(__doc__)
    parser.add_argument("--frames", type=int, default=400, help="of the movie")
    parser.add_argument("--size", type=int, default=512, help="rows and columns of a frame")
    parser.add_argument("--preset", default="fast", choices=("fast", "balanced", "small"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reads", type=int, default=96, help="random frames of an epoch")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    started, others = time.perf_counter(), Others()
    with tempfile.TemporaryDirectory() as folder:
        timings, spent = measure(Path(folder), options)
    by = "a pool of processes; torch is not installed" if torch is None else f"torch {torch.__version__}"
    print(f"{machine()}; {by}; preset {options.preset}")
    workers = timings[f"{options.workers} workers"]
    ratios = {}
    for name, timing in timings.items():
        rate = [
            options.reads / seconds for seconds in (timing.median, max(timing.seconds), min(timing.seconds))
        ]
        each = 1000 * spent[name].median / options.reads
        print(f"{name}: {rate[0]:,.0f} frames/s ({rate[1]:,.0f} to {rate[2]:,.0f}), {each:.1f} ms of a core")
        if timing is not workers:
            pairs = [a / b for a, b in zip(timing.seconds, workers.seconds, strict=True)]
            ratios[name] = Timing(tuple(pairs)).median
    for name, ratio in ratios.items():
        print(f"{options.workers} workers read {ratio:.2f} times as fast as {name}")
    busy = others.percent()
    if busy is not None:
        print(f"other programs used {busy:.0f} % of all cores ({time.perf_counter() - started:.0f} s)")
    return ratios


if __name__ == "__main__":
    main()
