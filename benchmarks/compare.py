"""Encode every case with every contender: ``python -m benchmarks.compare [--minutes 10] [--cases sim-2]``.

photon_gpu flushes every file before it publishes a movie; no other contender does. With --ram all stores are
on a RAM disk (Linux), so that no disk is measured.

Each contender stores each movie, and every pixel is compared before anything is timed. A contender with a
larger error than promised is listed and not timed. Then all take turns: encode (to files), decode
(everything), read a random frame, and average one small region of every frame. With --s3 the last two are
also read from a real S3 server on this machine (SeaweedFS) and compared with the files. There are as many
rounds as fit the time, but at least one (see --limit and --cases). Results go to benchmarks/results/ as CSV,
by machine and date, the cases of a day in one file; ``python -m benchmarks.tables`` draws them. Cases: the
recordings of PHOTON_GPU_CORPUS, the simulator at several light levels, and sizes in MB (size-20000 is 20 GB).
Movies larger than memory are made as they are read, by those contenders that can store such.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import photon_gpu as pg
from benchmarks.contenders import every_contender
from benchmarks.contenders.bases.contender import CHUNK_FRAMES, Contender
from benchmarks.support.arguments import parser_of
from benchmarks.support.cases import Case, corpus, simulated
from benchmarks.support.generated_movie import Made, spans
from benchmarks.support.results_csv import RESULTS, path_of, save
from benchmarks.support.s3_folder import Bucket
from photon_gpu.engine.runtime.physical_memory import memory_bytes

LIGHT = (0.5, 2.0, 10.0, 50.0)
SIZES_MB = (16, 64, 256)
LOCAL, REMOTE = ("encode", "decode", "frame", "trace"), ("s3_frame", "s3_trace")
ACTIONS = LOCAL + REMOTE
COLUMNS = (
    "date",
    "machine",
    "photon_gpu",
    "case",
    "shape",
    "dtype",
    "raw_bytes",
    "contender",
    "problem",
    "lossless",
    "stored_bytes",
    "ratio",
    "bits_per_pixel",
    "worst_error_sigma",
    "added_variance_percent",
    "runs",
    *(f"{action}_{statistic}_s" for action in ACTIONS for statistic in ("median", "min", "max")),
)
RAM = "/dev/shm"
_FREE_BYTES = 15 << 30


def cases() -> dict[str, Callable[[], Case]]:
    """Functions that make each case, by name."""
    made: dict[str, Callable[[], Case]] = {case.name: lambda case=case: case for case in corpus()}  # type: ignore[misc]
    made |= {f"sim-{photons:g}": lambda p=photons: simulated(photons=p) for photons in LIGHT}  # type: ignore[misc]
    made |= {f"size-{mb}": lambda mb=mb: sized(mb) for mb in SIZES_MB}  # type: ignore[misc]
    return made


def sized(megabytes: float, in_memory: bool | None = None) -> Case:
    """Frames of 512 x 512: in memory if they fit into a third of it, else made as they are read."""
    frames = max(1, round(megabytes * 1e6 / (512 * 512 * 2)))
    simulator = pg.simulate(frames=min(frames, CHUNK_FRAMES), height=512, width=512, seed=2)
    movie = Made(simulator.read(0, simulator.shape[0]), frames, f"size-{megabytes:g}")
    if in_memory is None:
        in_memory = 3 * movie.nbytes <= memory_bytes()
    return Case(movie.name, movie.read(0, frames) if in_memory else movie, simulator.noise)  # type: ignore[arg-type]


def measure(
    case: Case,
    contenders: list[Contender],
    seconds: float,
    folder: Path,
    limit: float = 20.0,
    bucket: Bucket | None = None,
) -> list[dict]:
    """One row per contender; contenders slower than ``limit`` seconds are listed, not timed."""
    until = time.perf_counter() + seconds
    rows, able = [], []
    height, width = case.values.shape[-2:]
    region = slice(height // 3, height // 3 + 12), slice(width // 3, width // 3 + 12)
    for number, contender in enumerate(contenders):
        row = {
            "case": case.name,
            "shape": "x".join(map(str, case.values.shape)),
            "dtype": case.values.dtype.name,
            "raw_bytes": case.values.nbytes,
            "contender": contender.name,
            "lossless": contender.lossless,
        }
        rows.append(row)
        target, there = folder / str(number), bucket / str(number) if bucket and contender.remote else None
        problem = (
            contender.missing() or unfit(contender, case, folder) or too_slow(contender, case, target, limit)
        )
        if problem is None:
            problem = verified(contender, case, target, row, there, region)
        row["problem"] = problem or ""
        if problem is None:
            able.append((contender, target, there, row))
        print(f"  {contender.name}: {problem or 'ratio {:.2f}'.format(row['ratio'])}", flush=True)
    rng = np.random.default_rng(0)
    spent: dict[str, dict[str, list[float]]] = {one.name: {} for one, *_ in able}
    while True:
        number = int(rng.integers(len(case.values)))
        for contender, target, there, _ in able:
            for action, run in actions(contender, case, target, there, number, region).items():
                if action == "encode":
                    shutil.rmtree(target)
                start = time.perf_counter()
                run()
                spent[contender.name].setdefault(action, []).append(time.perf_counter() - start)
        if time.perf_counter() >= until:
            break
    for contender, target, there, row in able:
        for action, seconds_ in spent[contender.name].items():
            row["runs"] = len(seconds_)
            row[f"{action}_median_s"] = statistics.median(seconds_)
            row[f"{action}_min_s"], row[f"{action}_max_s"] = min(seconds_), max(seconds_)
        shutil.rmtree(target)
        if there is not None:
            there.empty()
    return rows


def actions(
    contender: Contender,
    case: Case,
    folder: Path,
    there: Bucket | None,
    number: int,
    region: tuple[slice, slice],
) -> dict[str, Callable[[], object]]:
    """Actions to time in turn."""

    def decode() -> None:
        if isinstance(case.values, np.ndarray):
            contender.read(folder)
            return
        for span in spans(case.values):
            contender.part(folder, span)

    steps: dict[str, Callable[[], object]] = {
        "encode": lambda: contender.write(case.values, case.noise, folder),
        "decode": decode,
        "frame": lambda: contender.frame(folder, number),
        "trace": lambda: contender.trace(folder, *region),
    }
    if there is not None:
        steps |= {
            "s3_frame": lambda: contender.frame(there, number),
            "s3_trace": lambda: contender.trace(there, *region),
        }
    return steps


def unfit(contender: Contender, case: Case, folder: Path) -> str | None:
    """Reason why a movie cannot be tried."""
    if isinstance(case.values, Made) and not contender.streams:
        return "stores only what fits into memory"
    free = shutil.disk_usage(folder).free
    if free < case.values.nbytes + _FREE_BYTES:
        return f"{free / 1e9:.0f} GB of disk are free: not tried"
    return None


def too_slow(contender: Contender, case: Case, folder: Path, limit: float) -> str | None:
    """Estimated encode time from 10 and 20 frames, if it is more than ``limit`` seconds."""
    took = []
    try:
        for frames in (2, 10, 20):  # the first pays for what happens once
            start = time.perf_counter()
            contender.write(case.values[:frames], case.noise, folder)
            took.append(time.perf_counter() - start)
            shutil.rmtree(folder)
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        return None  # verification will say what is wrong
    per_frame = max(took[2] - took[1], 0.0) / 10
    whole = took[2] + per_frame * max(len(case.values) - 20, 0)
    return f"would encode for {whole:.0f} s: not timed at this size" if whole > limit else None


def verified(
    contender: Contender,
    case: Case,
    folder: Path,
    row: dict,
    there: Bucket | None = None,
    region: tuple[slice, slice] = (slice(0, 1), slice(0, 1)),
) -> str | None:
    """Store once and measure size and errors, also from S3 if ``there``; return what is wrong, or None."""
    try:
        contender.write(case.values, case.noise, folder)
        worst, added = contender.errors(case.values, case.noise, folder)
        if there is not None:
            there.take(folder)
            last = len(case.values) - 1
            np.testing.assert_array_equal(contender.frame(there, last), contender.frame(folder, last))
            np.testing.assert_array_equal(contender.trace(there, *region), contender.trace(folder, *region))
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
    nbytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    row.update(
        stored_bytes=nbytes,
        ratio=case.values.nbytes / nbytes,
        bits_per_pixel=8 * nbytes / case.values.size,
        worst_error_sigma=worst,
        added_variance_percent=added,
    )
    if worst > contender.worst:
        shutil.rmtree(folder, ignore_errors=True)
        return f"errs by {worst:.3g} sigma, {contender.worst:g} promised: not timed"
    return None


def main(arguments: list[str] | None = None) -> Path:
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all cases together, about")
    parser.add_argument("--cases", help=f"names by comma; here: {', '.join(cases())}, and size-N for N MB")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds one encode may take")
    parser.add_argument("--contenders", help="only those whose name has this in it")
    parser.add_argument("--ram", action="store_true", help="no disk is measured; results apart, as ram_*.csv")
    parser.add_argument("--s3", action="store_true", help="read frames and regions from an S3 server, too")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    available = cases()
    names = options.cases.split(",") if options.cases else list(available)
    contenders = [one for one in every_contender() if (options.contenders or "") in one.name]
    target = path_of("ram" if options.ram else "compare", options.results)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=RAM if options.ram else None)))
        bucket = None
        if options.s3:
            from tests.support import servers

            (folder / "s3").mkdir()
            bucket = Bucket(stack.enter_context(servers.seaweed(folder / "s3")), "imaging/compare")
        for name in names:
            case = available[name]() if name in available else sized(float(name.removeprefix("size-")))
            print(f"{name}: {case.values.shape} {case.values.dtype}", flush=True)
            rows = measure(case, contenders, 60 * options.minutes / len(names), folder, options.limit, bucket)
            labels = {"photon_gpu": pg.__version__, "case": name}
            save(target, COLUMNS, [{**row, **labels} for row in rows], "case")
    print(target)
    return target


if __name__ == "__main__":
    main()
