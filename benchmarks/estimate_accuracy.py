"""Measure the error of the noise estimate: ``python -m benchmarks.estimate_accuracy``.

There are two tables, in one markdown and one CSV file. *Cases* has all combinations of gains of 0.5 to 300
ADU/photon with 0.1 to 300 photons; a seed varies read noise, motion, activity, bleaching, flashes, line
artefacts and lengths (2 to 14 million samples), several times. For the first seed it includes the estimator
of ``anscombe-transform``, if it is installed. *Coverage* is the share of 95 % intervals that hold the truth,
over all cases and many small movies.

Intercept errors are in dark sigma: the error of the level at which the line reaches zero,
divided by ``sqrt(variance + 3/8 gain^2)``.

*Bounds* are standard errors of an oracle: the best fit of ``var = gain*z + c`` to the squared deviations of
every sampled pixel, with the true mean in every frame and the true weights. No estimate from variances is
better. If read noise is low, the spacing of single photons contains more information. A figure is possible if
three standard errors of the oracle are within it.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.estimate import NoiseEstimate, estimate_noise
from photon_gpu.estimate.checks import DIM
from photon_gpu.estimate.sample import Window, draw
from photon_gpu.sources.open import open_source
from photon_gpu.sources.simulated.movie import SimulatedMovie, simulate
from photon_gpu.store.durable import replacing

GAINS = (0.5, 1.0, 2.5, 10.0, 30.0, 100.0, 300.0)
PHOTONS = (0.1, 1.0, 10.0, 100.0, 300.0)
READ = (0.0, 0.3, 1.0, 3.0)  # photons
LENGTHS = ((20, 704), (100, 336), (500, 160), (2000, 96))
TROUBLES: dict[str, dict[str, float]] = {
    "still": {"activity": 0.0, "motion": 0.0},
    "motion": {"activity": 0.0, "motion": 0.5},
    "activity": {"activity": 0.5, "motion": 0.0},
    "bleaching": {"activity": 0.1, "motion": 0.2, "bleaching": 0.6},
    "everything": {
        "activity": 0.3,
        "motion": 0.5,
        "bleaching": 0.4,
        "flashes": 0.01,
        "lines": 0.002,
    },
}
HEADER = (
    "gain",
    "photons",
    "read",
    "frames",
    "trouble",
    "pairs",
    "verdict",
    "shot share",
    "gain error %",
    "gain +- %",
    "gain held",
    "gain bound %",
    "intercept error",
    "intercept +-",
    "intercept held",
    "intercept bound",
    "rival gain error %",
    "rival intercept error",
    "seconds",
)
LARGE = 5e6  # pairs
SAMPLE: dict[str, Any] = {"pairs": "time", "seed": 0, "budget_bytes": 1 << 26}  # as by default


class Figure(NamedTuple):
    """Columns of an error of the estimate, with the limit that it is judged by, and its unit."""

    error: str
    bound: str
    half: str
    coverage: str
    limit: float
    unit: str


GAIN = Figure("gain error %", "gain bound %", "gain +- %", "gain held", 3.0, "%")
INTERCEPT = Figure("intercept error", "intercept bound", "intercept +-", "intercept held", 0.1, "dark sigma")


def cases(deal: int) -> list[dict[str, Any]]:
    """Every gain with every light; the rest dealt by chance."""
    chance = np.random.default_rng(deal)
    out = []
    for number, (gain, photons) in enumerate(itertools.product(GAINS, PHOTONS)):
        frames, size = LENGTHS[chance.integers(len(LENGTHS))]
        read, trouble = READ[chance.integers(len(READ))], list(TROUBLES)[chance.integers(len(TROUBLES))]
        out.append(_case(gain, photons, read, frames, size, trouble, seed=1000 * deal + number))
    return out


def _case(
    gain: float, photons: float, read: float, frames: int, size: int, trouble: str, seed: int
) -> dict[str, Any]:
    # below 0.6 ADU of noise rounding is no longer noise and bends the line itself (gain 0.5, noise 0.5 ADU:
    # its slope at 0.1 to 1 photons is 5 to 0.9 % above the gain), so such movies stay floats, as they come
    # unrounded
    rounded = read * gain >= 0.6 or (read == 0 and gain.is_integer())
    wide = gain * photons * 12 + 200 > 30000
    dtype = ("int32" if wide else "int16") if rounded else "float32"
    settings = {
        "gain": gain,
        "photons": photons,
        "read_noise_adu": read * gain,
        "offset": 100.0,
        "frames": frames,
        "height": size,
        "width": size,
        "dtype": dtype,
        "seed": seed,
        "cells": max(4, size * size // 1100),
        **TROUBLES[trouble],
    }
    return {"read": read, "trouble": trouble, "settings": settings, "rival": True}


def _dark_errors(gain: float, intercept: float, truth: NoiseModel) -> tuple[float, float]:
    zero = truth.offset - truth.variance / truth.gain
    return 100 * (gain / truth.gain - 1), (-intercept / gain - zero) / _dark_sigma(truth)


def _dark_sigma(noise: NoiseModel) -> float:
    return float(noise.variance + 0.375 * noise.gain**2) ** 0.5


def bounds(movie: SimulatedMovie, windows: Iterable[Window]) -> tuple[float, float]:
    """The oracle's standard errors of gain (%) and of the zero of the line (dark sigma)."""
    noise, information = movie.noise, np.zeros((2, 2))
    for window in windows:
        rows = slice(window.row, window.row + window.frames.shape[1])
        photons = movie.rates(window.start, window.start + len(window.frames))[:, rows].ravel()
        light = noise.gain * photons
        variance = noise.gain * light + noise.variance
        # a squared deviation scatters by 2 variance^2 and the fourth cumulant, which only light has
        weight = 1 / (2 * variance**2 + noise.gain**4 * photons)
        regressors = np.stack([light, np.ones_like(light)])
        information += (regressors * weight) @ regressors.T
    covariance = np.linalg.inv(information)  # of gain and of the variance without light
    towards = np.array([noise.variance / noise.gain, -1.0]) / noise.gain
    zero = float(np.sqrt(towards @ covariance @ towards))
    return 100 * float(np.sqrt(covariance[0, 0])) / noise.gain, zero / _dark_sigma(noise)


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """One row of the first table."""
    movie = simulate(**case["settings"])
    frames, truth = np.asarray(movie), movie.noise
    began = time.perf_counter()
    estimate = estimate_noise(frames, **SAMPLE)
    seconds = time.perf_counter() - began
    rival = _rival(frames, truth) if case["rival"] else ("", "")
    settings = case["settings"]
    row: dict[str, Any] = dict.fromkeys(HEADER, "")
    row.update(
        gain=settings["gain"],
        photons=settings["photons"],
        read=case["read"],
        frames=settings["frames"],
        trouble=case["trouble"],
        verdict=estimate.verdict,
        seconds=round(seconds, 2),
    )
    row["rival gain error %"], row["rival intercept error"] = rival
    row.update(_ours(estimate, truth))
    gain, zero = bounds(movie, draw(open_source(frames), **SAMPLE))
    row.update({"gain bound %": round(gain, 4), "intercept bound": round(zero, 5)})
    return row


def _ours(estimate: NoiseEstimate, truth: NoiseModel) -> dict[str, Any]:
    facts, interval, model = estimate.diagnostics, estimate.interval, estimate.model
    if facts is None or interval is None or model is None:
        return {}
    gain_error, zero_error = _dark_errors(model.gain, facts.intercept, truth)
    intercept = truth.variance - truth.gain * truth.offset
    # the spread of the zero crossing, to first order, from the covariance of gain and intercept
    zero = -facts.intercept / model.gain
    towards = np.array([-zero, -1.0]) / model.gain
    spread = 1.96 * float(np.sqrt(towards @ np.array(facts.covariance) @ towards))
    return {
        "pairs": facts.pairs_kept,
        "shot share": round(facts.shot_share, 3),
        "gain error %": round(gain_error, 3),
        "gain +- %": round(50 * (interval.gain[1] - interval.gain[0]) / truth.gain, 3),
        "gain held": interval.gain[0] <= truth.gain <= interval.gain[1],
        "intercept error": round(zero_error, 4),
        "intercept +-": round(spread / _dark_sigma(truth), 4),
        "intercept held": interval.intercept[0] <= intercept <= interval.intercept[1],
    }


def _rival(frames: np.ndarray, truth: NoiseModel) -> tuple[Any, Any]:
    try:
        from anscombe_transform.estimate import compute_conversion_gain
    except ImportError:
        return "", ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            conversion = compute_conversion_gain(frames)
        except Exception as error:
            return f"fails ({type(error).__name__})", ""
    gain = float(conversion["conversion_gain"])
    errors = _dark_errors(gain, -float(conversion["zero_level"]) * gain, truth)
    return round(errors[0], 3), round(errors[1], 3)


def cover(seed: int) -> dict[str, Any]:
    """One row of the second table: a small movie, another kind for every seed."""
    trouble = list(TROUBLES)[seed % len(TROUBLES)]
    gain, photons = ((2.5, 20.0), (10.0, 3.0), (100.0, 6.0), (1.0, 0.5))[seed // 5 % 4]
    case = _case(gain, photons, (0.5, 0.0, 1.0)[seed // 20 % 3], 80, 112, trouble, 1000 + seed)
    movie = simulate(**case["settings"])
    row: dict[str, Any] = {"trouble": trouble, "verdict": "REFUSE", "gain held": "", "intercept held": ""}
    estimate = estimate_noise(np.asarray(movie))
    row.update(_ours(estimate, movie.noise), verdict=estimate.verdict)
    return row


def summary(rows: list[dict[str, Any]], small: list[dict[str, Any]]) -> list[str]:
    """The figures that are quoted."""
    refused = [r for r in rows if r["verdict"] == "REFUSE" or r["gain held"] == ""]
    estimated = [r for r in rows if r not in refused]
    large = [r for r in estimated if r["pairs"] >= LARGE]
    within = sum(_allowed(r, GAIN) for r in refused)
    lines = [
        f"- {len(rows)} movies: {len(refused)} refused, {within} of them within the oracle's reach of "
        f"the gain; "
        f"{len(large)} estimated from 5e6 pairs or more, {len(estimated) - len(large)} from fewer.",
    ]
    lit = [r for r in large if r["shot share"] >= DIM]
    kinds = {
        "5e6 pairs or more": large,
        f"the same where light makes {DIM:.0%} of the variance": lit,
        "fewer pairs": [r for r in estimated if r not in large],
    }
    for group, some in kinds.items():
        lines += [line for figure in (GAIN, INTERCEPT) for line in _reach(group, some, figure)]
    groups = {
        "all movies": [*rows, *small],
        "5e6 pairs or more": large,
        "2 to 14 million samples": rows,
        "small movies": small,
    }
    for group, members in groups.items():
        judged = [r for r in members if r["gain held"] != "" and r["verdict"] != "REFUSE"]
        for trouble in ("all", *(TROUBLES if members in (rows, small) else ())):
            some = [r for r in judged if trouble in ("all", r["trouble"])]
            if some:
                lines.append(f"- Coverage, {group}, {trouble}: {_coverage(some)}")
    return lines + _rivalry(rows, [r for r in large if _allowed(r, GAIN)])


def _allowed(row: dict[str, Any], figure: Figure) -> bool:
    """Whether three standard errors of the oracle are within the figure."""
    return bool(3 * row[figure.bound] <= figure.limit)


def _reach(group: str, rows: list[dict[str, Any]], figure: Figure) -> list[str]:
    """Errors of movies in which the oracle's own standard error allows the figure, and of the others."""
    name, unit, lines = figure.error.removesuffix(" error %").removesuffix(" error"), figure.unit, []
    for allowed in (True, False):
        some = [r for r in rows if _allowed(r, figure) == allowed]
        reach = f"- {name.capitalize()}, {group}, {'within' if allowed else 'beyond'} the oracle's reach: "
        if not some:
            lines.append(reach + "no movie.")
            continue
        errors = np.abs([r[figure.error] for r in some])
        wide = np.median([r[figure.half] / 1.96 / r[figure.bound] for r in some])
        missed = [
            f"{r['gain']:g} ADU, {r['photons']:g} photons, read noise {r['read']:g}, {r['frames']} frames, "
            f"{r['trouble']}, {r['verdict']}: {r[figure.error]:+.3g}, oracle {r[figure.bound]:.2g}"
            f"{'' if r[figure.coverage] else ', outside the interval'}"
            for r in sorted(some, key=lambda r: -abs(r[figure.error]))
            if abs(r[figure.error]) > figure.limit
        ]
        lines.append(
            f"{reach}{len(some)} of {len(rows)} movies, error median {np.median(errors):.2g}, "
            f"worst {errors.max():.3g} {unit}; {len(missed)} above {figure.limit:g} {unit}; the "
            f"interval holds "
            f"the truth in {sum(r[figure.coverage] for r in some)}; "
            f"our standard error is {wide:.1f} times the oracle's (median)."
        )
        lines += [f"  - {miss}" for miss in missed if allowed]
    return lines


def _coverage(rows: list[dict[str, Any]]) -> str:
    return (
        f"gain {np.mean([r['gain held'] for r in rows]):.1%}, intercept "
        f"{np.mean([r['intercept held'] for r in rows]):.1%} of {len(rows)}; gain error mean "
        f"{np.mean([r['gain error %'] for r in rows]):+.2f} %, median half width "
        f"{np.median([r['gain +- %'] for r in rows]):.2f} %."
    )


def _rivalry(rows: list[dict[str, Any]], usable: list[dict[str, Any]]) -> list[str]:
    both = [r for r in rows if r["rival gain error %"] != ""]
    rival = [r for r in both if isinstance(r["rival gain error %"], float) and r in usable]
    if not rival:
        return []
    errors, zeros = (
        np.abs([r[name] for r in rival]) for name in ("rival gain error %", "rival intercept error")
    )
    ours = np.abs([r["gain error %"] for r in rival])
    failed = sum(isinstance(r["rival gain error %"], str) for r in both)
    return [
        f"- anscombe-transform on the {len(rival)} movies of the first deal of 5e6 pairs or more and "
        f"within the "
        f"oracle's reach that it estimates: gain error median {np.median(errors):.1f} %, worst "
        f"{errors.max():.0f} % "
        f"(ours on the same: {np.median(ours):.2f} and {ours.max():.2f} %); intercept error median "
        f"{np.median(zeros):.2f}, worst {zeros.max():.1f} dark sigma; it fails on {failed} of {len(both)}."
    ]


def _run(job: Callable[[Any], Any], items: Iterable[Any], workers: int) -> list[Any]:
    with ProcessPoolExecutor(workers) as pool:
        out = []
        for row in pool.map(job, items):
            out.append(row)
            print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--pages", type=Path, default=Path("docs/measured"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--deals", type=int, nargs="*", default=[11, 12, 13, 14], help="seeds of the cases")
    parser.add_argument("--movies", type=int, default=300, help="small movies for the coverage")
    parser.add_argument("--first", type=int, default=5000, help="seed of the first small movie")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    every = [{**case, "rival": n == 0} for n, deal in enumerate(options.deals) for case in cases(deal)]
    rows = _run(measure, every, options.workers)
    small = _run(cover, range(options.first, options.first + options.movies), options.workers)
    lines = summary(rows, small)
    options.out.mkdir(parents=True, exist_ok=True)
    listed = io.StringIO(newline="")
    writer = csv.DictWriter(listed, HEADER)
    writer.writeheader()
    writer.writerows(rows)
    with replacing(options.out / "estimate_accuracy.csv") as file:
        file.write(listed.getvalue().encode())
    table = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    table += ["| " + " | ".join(str(row[name]) for name in HEADER) + " |" for row in rows]
    command = " ".join(["python -m benchmarks.estimate_accuracy", *sys.argv[1:]])
    text = (
        f"# Accuracy of the noise estimate\n\nWritten by `{command}`.\n\n"
        + "\n".join([*lines, "", *table])
        + "\n"
    )
    options.pages.mkdir(parents=True, exist_ok=True)
    with replacing(options.pages / "estimate_accuracy.md") as file:
        file.write(text.encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
