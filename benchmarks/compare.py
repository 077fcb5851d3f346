"""Every contender on every case: ``python -m benchmarks.compare [--minutes 10] [--cases sim-2,size-64]``.

Each contender stores each movie and is held against it, pixel by pixel, before it is timed; one that errs by
more than it promised is listed and not timed. Then all take turns: encode (to files), decode (all of it), a
random frame, and the mean of one small region in every frame; as many rounds as fit the time, at least one, so
the time given is a wish (see --limit and --cases).
The table goes to benchmarks/results/ as CSV, by machine and date; ``python -m benchmarks.tables`` draws it.
Cases: the recordings of PHOTON_GPU_CORPUS, the simulator at several light levels, sizes in MB.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import photon_gpu as pg
from benchmarks.cases import Case, corpus, simulated
from benchmarks.clock import machine
from benchmarks.contenders import every_contender
from benchmarks.contenders.base import CHUNK_FRAMES, Contender
from photon_gpu.metadata import memory_bytes

RESULTS = Path(__file__).parent / "results"
LIGHT = (0.5, 2.0, 10.0, 50.0)
SIZES_MB = (16, 64, 256)
ACTIONS = ("encode", "decode", "frame", "trace")
COLUMNS = (
    "date", "machine", "photon_gpu", "case", "shape", "dtype", "raw_bytes", "contender", "problem", "lossless",
    "stored_bytes", "ratio", "bits_per_pixel", "worst_error_sigma", "added_variance_percent", "runs",
    *(f"{action}_{what}_s" for action in ACTIONS for what in ("median", "min", "max")),
)  # fmt: skip


def cases() -> dict[str, Callable[[], Case]]:
    """What makes each case, by name."""
    made: dict[str, Callable[[], Case]] = {case.name: lambda case=case: case for case in corpus()}  # type: ignore[misc]
    made |= {f"sim-{photons:g}": lambda p=photons: simulated(photons=p) for photons in LIGHT}  # type: ignore[misc]
    made |= {f"size-{mb}": lambda mb=mb: sized(mb) for mb in SIZES_MB}  # type: ignore[misc]
    return made


def sized(megabytes: float) -> Case:
    """Frames of 512 x 512; chunks after the first are the first one rolled, which no chunk can profit from."""
    frames = max(1, round(megabytes * 1e6 / (512 * 512 * 2)))
    if 3 * frames * 512 * 512 * 2 > memory_bytes():
        raise SystemExit(
            f"size-{megabytes:g}: contenders hold movies in memory; see benchmarks.memory for larger ones"
        )
    first = min(frames, CHUNK_FRAMES)
    made = pg.simulate(frames=first, height=512, width=512, seed=2)
    values, rng = np.empty((frames, 512, 512), "int16"), np.random.default_rng(0)
    values[:first] = made.read(0, first)
    for start in range(first, frames, first):
        part = values[start : start + first]
        part[...] = np.roll(values[: len(part)], rng.integers(0, 512, 2), axis=(1, 2))
    return Case(f"size-{megabytes:g}", values, made.noise)


def measure(
    case: Case, contenders: list[Contender], seconds: float, folder: Path, limit: float = 20.0
) -> list[dict]:
    """One row per contender; who would encode for more than ``limit`` seconds is left out, and told."""
    until = time.perf_counter() + seconds
    rows, able = [], []
    for number, contender in enumerate(contenders):
        row = {
            "case": case.name, "shape": "x".join(map(str, case.values.shape)), "dtype": case.values.dtype.name,
            "raw_bytes": case.values.nbytes, "contender": contender.name, "lossless": contender.lossless,
        }  # fmt: skip
        rows.append(row)
        place = folder / str(number)
        problem = contender.missing() or too_slow(contender, case, place, limit)
        if problem is None:
            problem = verified(contender, case, place, row)
        row["problem"] = problem or ""
        if problem is None:
            able.append((contender, place, row))
        print(f"  {contender.name}: {problem or 'ratio {:.2f}'.format(row['ratio'])}", flush=True)
    rng = np.random.default_rng(0)
    height, width = case.values.shape[-2:]
    rows_, columns = slice(height // 3, height // 3 + 12), slice(width // 3, width // 3 + 12)
    spent: dict[str, dict[str, list[float]]] = {one.name: {a: [] for a in ACTIONS} for one, _, _ in able}
    while True:
        number = int(rng.integers(len(case.values)))
        for contender, place, _ in able:
            shutil.rmtree(place)
            actions = {
                "encode": lambda c=contender, p=place: c.write(case.values, case.noise, p),
                "decode": lambda c=contender, p=place: c.read(p),
                "frame": lambda c=contender, p=place: c.frame(p, number),  # noqa: B023 - called at once
                "trace": lambda c=contender, p=place: c.trace(p, rows_, columns),
            }
            for action, run in actions.items():
                start = time.perf_counter()
                run()
                spent[contender.name][action].append(time.perf_counter() - start)
        if time.perf_counter() >= until:
            break
    for contender, place, row in able:
        for action, seconds_ in spent[contender.name].items():
            row["runs"] = len(seconds_)
            row[f"{action}_median_s"] = statistics.median(seconds_)
            row[f"{action}_min_s"], row[f"{action}_max_s"] = min(seconds_), max(seconds_)
        shutil.rmtree(place)
    return rows


def too_slow(contender: Contender, case: Case, place: Path, limit: float) -> str | None:
    """What it would take, from encoding 10 and 20 frames, where that is more than ``limit`` seconds."""
    took = []
    try:
        for frames in (2, 10, 20):  # the first pays for what happens once
            start = time.perf_counter()
            contender.write(case.values[:frames], case.noise, place)
            took.append(time.perf_counter() - start)
            shutil.rmtree(place)
    except Exception:
        shutil.rmtree(place, ignore_errors=True)
        return None  # verification will say what is wrong
    per_frame = max(took[2] - took[1], 0.0) / 10
    whole = took[2] + per_frame * max(len(case.values) - 20, 0)
    return f"would encode for {whole:.0f} s: not timed at this size" if whole > limit else None


def verified(contender: Contender, case: Case, place: Path, row: dict) -> str | None:
    """Store once, measure size and errors; what is wrong, or None."""
    try:
        contender.write(case.values, case.noise, place)
        worst, added = contender.errors(case.values, case.noise, place)
    except Exception as error:
        shutil.rmtree(place, ignore_errors=True)
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
    nbytes = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    row.update(
        stored_bytes=nbytes, ratio=case.values.nbytes / nbytes, bits_per_pixel=8 * nbytes / case.values.size,
        worst_error_sigma=worst, added_variance_percent=added,
    )  # fmt: skip
    if worst > contender.worst:
        shutil.rmtree(place, ignore_errors=True)
        return f"errs by {worst:.3g} sigma, {contender.worst:g} promised: not timed"
    return None


def main(arguments: list[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="for all cases together, about")
    parser.add_argument("--cases", help=f"names by comma; here: {', '.join(cases())}, and size-N for N MB")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds one encode may take")
    parser.add_argument("--contenders", help="only those whose name has this in it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    known = cases()
    names = options.cases.split(",") if options.cases else list(known)
    contenders = [one for one in every_contender() if (options.contenders or "") in one.name]
    today, hardware = datetime.date.today().isoformat(), machine()
    slug = re.sub(r"[^a-z0-9]+", "-", hardware.lower()).strip("-")
    target = options.results / f"compare_{slug}_{today}.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, target.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for name in names:
            case = known[name]() if name in known else sized(float(name.removeprefix("size-")))
            print(f"{name}: {case.values.shape} {case.values.dtype}", flush=True)
            for row in measure(
                case, contenders, 60 * options.minutes / len(names), Path(folder), options.limit
            ):
                row = {"date": today, "machine": hardware, "photon_gpu": pg.__version__, **row, "case": name}
                table.writerow({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()})
            file.flush()
    print(target)
    return target


if __name__ == "__main__":
    main()
