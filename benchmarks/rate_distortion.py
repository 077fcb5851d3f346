"""Measure size against error, ours and rivals': ``python -m benchmarks.rate_distortion [--out FILE.png]``.

Error is the mean square difference of stabilized values, in per cent of the noise's own variance, so that
every rival is compared at equal error: each is opened again and measured, none is believed. The line
drawn in is the noise floor: the entropy of unit noise in bins of that error, below which no codec of
single frames of noise gets. Set PHOTON_GPU_CORPUS to measure on real recordings. Its numbers go into a CSV
file of the picture's name, from which ``python -m benchmarks.tables`` makes docs/measured/rate_distortion.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import photon_gpu as pg
from benchmarks.contenders import anscombe_transform, bounded_contenders
from benchmarks.support.cases import Case, corpus, simulated
from photon_gpu.engine.model.noise import noise_floor_bits
from photon_gpu.plots import save_figure
from photon_gpu.store.durable import replacing

STEPS = (0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Labels of the plain layout are float64: they compress well for powers of two, worse for 0.375."""


@dataclass(frozen=True)
class Point:
    """One setting of one contender on one movie."""

    movie: str
    contender: str
    step: float | None
    bits_per_pixel: float
    ratio: float
    added_variance_percent: float
    worst_error_sigma: float

    @property
    def floor_bits(self) -> float:
        """Bits that noise alone takes at this error."""
        return noise_floor_bits(math.sqrt(12 * max(self.added_variance_percent, 1e-9) / 100))


def measure(case: Case, frames: int, steps: tuple[float, ...] = STEPS) -> list[Point]:
    """Every contender at every step."""
    values = case.values[:frames]
    truth = pg.anscombe(values, case.noise)
    points = []

    def add(contender: str, step: float | None, nbytes: int, stabilized: np.ndarray) -> None:
        error = np.asarray(stabilized, np.float64) - truth
        points.append(
            Point(
                case.name,
                contender,
                step,
                8 * nbytes / values.size,
                values.nbytes / nbytes,
                100 * float((error**2).mean()),
                float(np.abs(error).max()),
            )
        )

    for layout, preset in (("compact", "small"), ("compact", "fast"), ("plain", "balanced")):
        for step in steps:
            store = "memory://rate_distortion.zarr"
            pg.encode(
                values,
                store,
                noise=case.noise,
                step=step,
                layout=layout,
                preset=preset,
                overwrite=True,
                check=False,
                trust_noise=True,
            )
            movie = pg.open(store)
            decoded = pg.anscombe(movie.counts[...], case.noise) if movie.encoding.exact else movie[...]
            # Of all the rest, most is the manifest: no contender has one.
            chunks = sum(size for name, size in movie.storage.sizes().items() if not name.startswith("."))
            add(f"photon_gpu {layout}, {preset}", step, chunks, decoded)
    single = truth.astype(np.float32).reshape(len(truth), -1, truth.shape[-1])
    for rival in bounded_contenders():
        for step in steps:
            stored = rival.through(single, step)
            add(rival.name, step, stored.nbytes, stored.stabilized.reshape(truth.shape))
    for contender in (one for one in anscombe_transform.contenders() if one.missing() is None):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "movie"
            try:
                contender.write(values, case.noise, target)
            except Exception as error:
                print(f"{contender.name} cannot write {case.name}: {error}")
                continue
            files = [path for path in target.rglob("*") if path.is_file() and path.name != "zarr.json"]
            size = sum(path.stat().st_size for path in files)
            add(contender.name, None, size, pg.anscombe(contender.read(target), case.noise))
    return points


def bits_at(points: list[Point], percent: float) -> float | None:
    """Bits per pixel of one contender at an error, interpolated in the error's logarithm."""
    ordered = sorted(points, key=lambda p: p.added_variance_percent)
    errors = [math.log(max(p.added_variance_percent, 1e-9)) for p in ordered]
    wanted = math.log(percent)
    if len(ordered) == 1:
        return ordered[0].bits_per_pixel if abs(errors[0] - wanted) < 0.3 else None
    if not errors[0] - 0.1 <= wanted <= errors[-1] + 0.1:
        return None
    return float(np.interp(wanted, errors, [p.bits_per_pixel for p in ordered]))


def table(points: list[Point]) -> str:
    """Markdown: bits per pixel at the error of a step of 0.5 and of 1.0, by movie."""
    out = []
    for movie in dict.fromkeys(p.movie for p in points):
        rows = []
        for name in dict.fromkeys(p.contender for p in points if p.movie == movie):
            own = [p for p in points if (p.movie, p.contender) == (movie, name)]
            rows.append((name, *(bits_at(own, 100 * step**2 / 12) for step in (0.5, 1.0))))
        rows.sort(key=lambda row: row[1] or 99)
        out += [
            f"\n{movie}\n",
            (
                "| contender | bits per pixel at +2.1 % variance | ratio | at +8.3 % | ratio"
                " |\n|---|---|---|---|---|"
            ),
        ]
        raw = next(p.bits_per_pixel * p.ratio for p in points if p.movie == movie)
        for name, *bits in rows:
            cells = [f"{b:.2f} | {raw / b:.2f}" if b else "- | -" for b in bits]
            own = [p for p in points if (p.movie, p.contender) == (movie, name)]
            if len(own) == 1:
                name += f", adds {own[0].added_variance_percent:.3g} %"
            out.append(f"| {name} | {' | '.join(cells)} |")
        floors = [noise_floor_bits(step) for step in (0.5, 1.0)]
        out.append(f"| *noise floor* | {' | '.join(f'{b:.2f} | {raw / b:.2f}' for b in floors)} |")
    return "\n".join(out)


RECORDINGS = {
    "2p_cortex": "cortex, two-photon",
    "lattice_lightsheet_z": "light-sheet stack",
    "camera_single_molecule": "single molecules",
    "photoncount_flim_ptu": "photon counts, 5 frames",
    "photoncount_flim_sdt": "sparse photon counts",
}
"""Names of the corpus, in words."""

GARBAGE_SIGMA = 10.0


def read(path: Path) -> list[Point]:
    """Points of a CSV that :func:`main` wrote."""
    numbers = ("bits_per_pixel", "ratio", "added_variance_percent", "worst_error_sigma")
    with path.open(newline="") as file:
        return [
            Point(
                row["movie"],
                row["contender"],
                float(row["step"]) if row["step"] else None,
                *(float(row[name]) for name in numbers),
            )
            for row in csv.DictReader(file)
        ]


def by_recording(points: list[Point], percent: float = 100 * 0.5**2 / 12) -> str:
    """Markdown: bits per pixel (ratio) at one error, a row per contender, a column per recording."""
    movies = [name for name in RECORDINGS if any(p.movie == name for p in points)]
    lines = [f"| | {' | '.join(RECORDINGS[name] for name in movies)} |", f"|---{'|---' * len(movies)}|"]
    for contender in dict.fromkeys(p.contender for p in points):
        cells = []
        for movie in movies:
            own = [p for p in points if (p.movie, p.contender) == (movie, contender)]
            bits = bits_at(own, percent) if own else None
            if not own:
                cells.append("cannot write it")
            elif len(own) == 1 and own[0].worst_error_sigma > GARBAGE_SIGMA:
                cells.append("wraps: garbage")
            elif bits is None:
                cells.append("more error only")
            else:
                cells.append(f"{bits:.2f} ({own[0].bits_per_pixel * own[0].ratio / bits:.2f})")
        name = f"**{contender}**" if contender.startswith("photon_gpu") else contender
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


COLOURS = (
    "#0072B2",
    "#56B4E9",
    "#004466",
    "#D55E00",
    "#E69F00",
    "#CC79A7",
    "#882255",
    "#009E73",
    "#888888",
    "#000000",
)


def plot(points: list[Point], target: Path) -> None:
    """One panel per movie, and one for what the colours mean."""
    from matplotlib.figure import Figure

    movies = list(dict.fromkeys(p.movie for p in points))
    names = list(dict.fromkeys(p.contender for p in points))
    columns = min(3, len(movies) + 1)
    rows = -(-(len(movies) + 1) // columns)
    figure = Figure(figsize=(5.2 * columns, 4.6 * rows), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, movie in zip(panels, movies, strict=False):
        _panel(ax, [p for p in points if p.movie == movie], names)
        ax.set_title(movie, loc="left")
    for ax in panels[len(movies) :]:
        ax.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    panels[len(movies)].legend(handles, labels, fontsize=10, frameon=False, loc="center left")
    save_figure(figure, target, dpi=110)


def _panel(ax: Any, points: list[Point], names: list[str]) -> None:
    floor = np.geomspace(0.3, 60, 100)
    ax.fill_between(
        floor,
        0,
        [noise_floor_bits(math.sqrt(12 * f / 100)) for f in floor],
        color="black",
        alpha=0.07,
        lw=0,
        label="below the noise floor",
    )
    for name, colour in zip(names, COLOURS, strict=False):
        own = sorted((p for p in points if p.contender == name), key=lambda p: p.added_variance_percent)
        ours = name.startswith("photon_gpu")
        ax.plot(
            [p.added_variance_percent for p in own],
            [p.bits_per_pixel for p in own],
            "o-" if ours else "s--",
            color=colour,
            lw=2.4 if ours else 1.1,
            ms=5 if ours else 4,
            label=name,
            zorder=3 if ours else 2,
        )
    for step in (0.25, 0.5, 1.0, 2.0):
        ax.axvline(100 * step**2 / 12, color="black", alpha=0.15, lw=0.8)
        ax.text(100 * step**2 / 12, 0.12, f" step {step:g}", fontsize=8, color="#666666")
    top = 1.1 * max(p.bits_per_pixel for p in points if p.contender.startswith("photon_gpu"))
    ax.set(
        xscale="log",
        xlim=(0.3, 60),
        ylim=(0, top),
        xlabel="variance added to the noise (%)",
        ylabel="bits per pixel",
    )
    ax.xaxis.set_major_formatter("{x:g}")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="black", alpha=0.06)


def main() -> None:
    """Measure, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=40, help="of each movie")
    parser.add_argument("--out", type=Path, default=Path("docs/measured/rate_distortion.png"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--movies", nargs="*", help="names of the corpus; all by default")
    arguments = parser.parse_args()
    cases = list(corpus()) or [simulated()]
    points = []
    for case in cases:
        if not arguments.movies or case.name in arguments.movies:
            points += measure(case, arguments.frames)
    print(table(points))
    plot(points, arguments.out)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*asdict(points[0]), "floor_bits"])
    for point in points:
        row = [*asdict(point).values(), point.floor_bits]
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in row])
    with replacing(arguments.out.with_suffix(".csv")) as file:
        file.write(text.getvalue().encode())
    if arguments.json:
        with replacing(arguments.json) as file:
            file.write((json.dumps([asdict(p) for p in points], indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
