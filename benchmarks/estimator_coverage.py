"""Measure how often intervals of the estimate hold the truth: ``python -m benchmarks.estimator_coverage``.

Three groups, from simulators that share no code with ``photon_gpu`` (``tests/support``): raw movies of six
kinds of detectors (false alarms, coverage), cameras with fixed patterns (coverage, median error), and movies
that were processed before they were stored, of kinds that limits were tuned on and of kinds kept out of it.
With PHOTON_GPU_CORPUS its recordings are estimated, too.
A miss is a PASS with a gain more than 5 % off, or more than 20 % off without REFUSE. Writes
docs/measured/estimator_coverage.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import shlex
import sys
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.cases import corpus
from photon_gpu.estimate import NoiseEstimate, estimate_noise
from photon_gpu.store.durable import replacing
from tests.support.noise.held_out_processing import UNTUNED
from tests.support.noise.processing import SCALES, TUNED, processed
from tests.support.noise.simulated_recordings import Shot, patterned, raw

HEADER = (
    "group",
    "kind",
    "seed",
    "verdict",
    "error %",
    "half %",
    "held",
    "skewness",
    "skewness error",
    "reasons",
)
OFF, FAR = 5.0, 20.0  # %
GAIN = 20.0  # ADU/photon, of movies that are processed


def measure(job: tuple[str, str, int]) -> dict[str, Any]:
    """One row."""
    warnings.simplefilter("ignore")
    group, label, seed = job
    scale = 1.0
    if group == "raw":
        shot: Shot = raw(seed)
        frames, label = shot.frames, shot.label
    elif group == "pattern":
        shot = patterned(seed)
        frames, label = shot.frames, shot.label
    else:
        still, photons = seed % 2 == 0, (15.0, 40.0)[seed % 2]
        trouble = "still" if still else "motion"
        shot = raw(2000 + seed, detector="ccd", gain=GAIN, photons=photons, trouble=trouble, frames=160)
        frames, scale = processed(label, shot.frames, seed), SCALES.get(label, 1.0)
    return _row(group, label, seed, estimate_noise(frames), scale * shot.gain)


def _row(group: str, label: str, seed: int, estimate: NoiseEstimate, gain: float) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(HEADER, "")
    reasons = [f"{f.severity} {f.name}" for f in estimate.warnings]
    row.update(group=group, kind=label, seed=seed, verdict=estimate.verdict, reasons="; ".join(reasons))
    if estimate.model is None or estimate.interval is None or estimate.diagnostics is None:
        return row
    low, high = estimate.interval.gain
    facts = estimate.diagnostics
    row["skewness"], row["skewness error"] = round(facts.skewness, 3), round(facts.skewness_error, 3)
    if np.isfinite(gain):
        row["error %"] = round(100 * (estimate.model.gain / gain - 1), 2)
        row["half %"] = round(50 * (high - low) / gain, 2)
        row["held"] = low <= gain <= high
    return row


def missed(row: dict[str, Any]) -> bool:
    """Whether the verdict is too good for the error. Where no gain is right, every PASS is too good."""
    if row["error %"] == "":
        return row["verdict"] == "PASS"
    error = abs(row["error %"])
    return (row["verdict"] == "PASS" and error > OFF) or (row["verdict"] != "REFUSE" and error > FAR)


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Return the figures that the documentation quotes."""
    lines = []
    for group in dict.fromkeys(row["group"] for row in rows):
        some = [row for row in rows if row["group"] == group]
        verdicts = Counter(row["verdict"] for row in some)
        text = ", ".join(f"{verdicts[name]} {name}" for name in ("PASS", "WARN", "REFUSE"))
        judged = [row for row in some if row["held"] != "" and row["verdict"] != "REFUSE"]
        errors = np.array([abs(row["error %"]) for row in judged]) if judged else np.zeros(1)
        if group in ("raw", "pattern"):
            coverage = np.mean([row["held"] for row in judged])
            lines.append(
                f"- {group}: {len(some)} movies ({text}); the interval holds the gain in {coverage:.1%}, "
                f"error median {np.median(errors):.2f}, worst {errors.max():.1f} %"
            )
        else:
            passed = [row for row in some if row["verdict"] == "PASS" and missed(row)]
            far = [row for row in some if row["verdict"] == "WARN" and missed(row)]
            kinds = {row["kind"] for row in some}
            lines.append(
                f"- {group}: {len(kinds)} kinds, {len(some)} movies ({text}); PASS and more than "
                f"{OFF:g} % off: "
                f"{_named(passed)}; WARN and more than {FAR:g} % off: {_named(far)}"
            )
    return lines


def _named(rows: list[dict[str, Any]]) -> str:
    kinds = Counter(row["kind"] for row in rows)
    return f"{len(kinds)} kinds" + (f" ({', '.join(kinds)})" if kinds else "")


def recordings() -> list[str]:
    """Return a table of the recordings of the corpus; empty without one."""
    lines = ["| recording | verdict | gain, 95 % interval | where the line reaches zero | reasons |"]
    lines.append("|---|---|---|---|---|")
    for case in corpus():
        estimate = estimate_noise(case.values)
        cells = ["", ""]
        if estimate.model is not None and estimate.interval is not None and estimate.diagnostics is not None:
            low, high = estimate.interval.gain
            zero = -estimate.diagnostics.intercept / estimate.model.gain
            cells = [f"{estimate.model.gain:.3g} ({low:.3g} to {high:.3g})", f"{zero:.3g} ADU"]
        reasons = ", ".join(dict.fromkeys(f.name for f in estimate.warnings if f.severity != "NOTE"))
        shape = " x ".join(map(str, case.values.shape))
        lines.append(f"| {case.name}, {shape} | {estimate.verdict} | {' | '.join(cells)} | {reasons} |")
    return lines if len(lines) > 2 else []


def page(rows: list[dict[str, Any]], command: str) -> str:
    """Return the page of docs/measured/: the summary, and each kind of processing that was missed."""
    lines = ["| processing | gain found, of the true one | verdicts |", "|---|---|---|"]
    changed = [row for row in rows if row["group"].startswith("processed")]
    missing = dict.fromkeys((row["group"], row["kind"]) for row in changed if missed(row))
    for group, processing in missing:
        some = [row for row in rows if (row["group"], row["kind"]) == (group, processing)]
        ratios = sorted({f"{1 + row['error %'] / 100:.2f}" for row in some if row["error %"] != ""})
        name = f"{processing} (held out)" if group.endswith("held out") else processing
        verdicts = ", ".join(row["verdict"] for row in some)
        lines.append(f"| {name} | {' to '.join(ratios[:: max(1, len(ratios) - 1)])} | {verdicts} |")
    return "\n".join(
        [
            "# What the noise estimate does not see",
            "",
            f"Written by `{command}`.",
            "",
            "*Processed* movies were changed before they were stored, by kinds of processing that limits",
            "were set on, and by kinds that were held out of that. *Raw* ones are of six kinds of",
            "detectors; cameras with a *pattern* have pixels, rows or columns that differ. Only what the",
            "command names was measured. [How well noise is estimated](../noise_estimate.md) says why",
            "some are not seen.",
            "",
            *summary(rows),
            "",
            f"Missed: a PASS although the gain is more than {OFF:g} % off, or no REFUSE although it is more",
            f"than {FAR:g} % off.",
            "",
            *lines,
            "",
            *(["## Recordings of the corpus", "", *real, ""] if (real := recordings()) else []),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--pages", type=Path, default=Path("docs/measured"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--raw", type=int, default=300, help="raw movies")
    parser.add_argument("--patterns", type=int, default=210, help="movies with a fixed pattern")
    parser.add_argument("--seeds", type=int, default=2, help="movies of each kind of processing")
    parser.add_argument("--held-out", action="store_true", help="also the kinds kept out of tuning")
    parser.add_argument("--kinds", nargs="+", help="only these kinds of processing, held out or not")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    jobs = [("raw", "", options.first + k) for k in range(options.raw)]
    jobs += [("pattern", "", options.first + k) for k in range(options.patterns)]
    jobs += [("processed", processing, seed) for processing in TUNED for seed in seeds]
    if options.held_out or options.kinds:
        jobs += [("processed, held out", processing, seed) for processing in UNTUNED for seed in seeds]
    jobs = [job for job in jobs if not options.kinds or not job[1] or job[1] in options.kinds]
    with ProcessPoolExecutor(options.workers) as pool:
        rows = []
        for row in pool.map(measure, jobs):
            rows.append(row)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, HEADER)
    writer.writeheader()
    writer.writerows(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / "estimator_coverage.csv") as file:
        file.write(text.getvalue().encode())
    command = f"python -m benchmarks.estimator_coverage {shlex.join(sys.argv[1:])}".strip()
    options.pages.mkdir(parents=True, exist_ok=True)
    with replacing(options.pages / "estimator_coverage.md") as file:
        file.write(page(rows, command).encode())
    print("\n".join(summary(rows)))


if __name__ == "__main__":
    main()
