"""Measure bits per pixel above the noise floor of each preset: ``python -m benchmarks.above_noise_floor``.

The floor is the entropy of unit noise in bins of the step, ``log2(4.133/step)`` bits per pixel. The movies
are simulated at several light levels, with structure, activity and motion; with PHOTON_GPU_CORPUS the
two-photon movie of the corpus is added. All files of each store count. The CSV goes to benchmarks/results/,
and ``python -m benchmarks.tables`` makes a page of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import photon_gpu as pg
from benchmarks.support.arguments import parser_of
from benchmarks.support.cases import Case, main_case, simulated
from benchmarks.support.results_csv import RESULTS, path_of, save
from photon_gpu.encode_settings import PRESETS

COLUMNS = ("date", "machine", "movie", "shape", *PRESETS)


def cases(frames: int, photons: list[float]) -> Iterator[Case]:
    """Yield the main movie and simulated ones."""
    yield main_case()
    for light in photons:
        yield simulated(frames, light)


def above(case: Case, preset: str) -> float:
    """Measure how many per cent a preset is above the floor (layout compact, step 0.5)."""
    report = pg.encode(
        case.values,
        "memory://floor.zarr",
        noise=case.noise,
        layout="compact",
        preset=preset,
        overwrite=True,
        check=False,
        trust_noise=True,
    )
    assert report.above_floor_percent is not None
    return report.above_floor_percent


def page(rows: list[dict[str, str]]) -> str:
    """Return the text of docs/measured/above_noise_floor.md."""
    table = [f"| movie | {' | '.join(PRESETS)} |", f"|---|{'---|' * len(PRESETS)}"]
    for row in rows:
        cells = [f"{float(row[preset]):+.1f} %" for preset in PRESETS]
        table.append(f"| {row['movie']}, {row['shape']} | {' | '.join(cells)} |")
    intro = (
        f"{rows[0]['machine']}, {rows[0]['date']}; sizes do not depend on the machine. How much larger each"
        " preset stores a movie than the noise floor, which is 3.05 bits per pixel at step 0.5. Layout"
        " `compact`, all files of the store. At one photon, bins hold fewer bits than those of a Gaussian, so"
        " a store can be smaller than this floor."
    )
    return "\n".join([intro, "", *table])


def main(arguments: list[str] | None = None) -> Path:
    parser = parser_of(__doc__)
    parser.add_argument("--frames", type=int, default=300, help="frames of the simulated movies")
    parser.add_argument("--photons", type=float, nargs="+", default=[1.0, 5.0, 30.0, 100.0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    target = path_of("above_noise_floor", options.results)
    for case in cases(options.frames, options.photons):
        shape = " x ".join(map(str, case.values.shape))
        row = {"movie": case.name, "shape": shape, **{preset: above(case, preset) for preset in PRESETS}}
        save(target, COLUMNS, [row], "movie")
        print(row, flush=True)
    print(target)
    return target


if __name__ == "__main__":
    main()
