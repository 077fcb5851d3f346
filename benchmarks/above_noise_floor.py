"""Measure bits per pixel above the noise floor of each preset: ``python -m benchmarks.above_noise_floor``.

The floor is the entropy of unit noise in bins of the step, ``log2(4.133/step)`` bits per pixel. The movies
are simulated at several light levels, with structure, activity and motion; with PHOTON_GPU_CORPUS the
two-photon movie of the corpus is added. All files of each store count.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import photon_gpu as pg
from benchmarks.cases import Case, main_case, simulated
from photon_gpu.encode_settings import PRESETS


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


def main(arguments: list[str] | None = None) -> None:
    """Print the table of docs/compression.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300, help="frames of the simulated movies")
    parser.add_argument("--photons", type=float, nargs="+", default=[1.0, 5.0, 30.0, 100.0])
    options = parser.parse_args(arguments)
    print(f"| movie | {' | '.join(PRESETS)} |\n|---|{'---|' * len(PRESETS)}")
    for case in cases(options.frames, options.photons):
        cells = [f"{above(case, preset):+.1f} %" for preset in PRESETS]
        print(f"| {case.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
