"""Compare bins of photon peaks with the grid of steps: ``python -m benchmarks.photon_peak_bins``.

Writes ``photon_peak_bins.md``: the information about the light that codes keep and the bias of decoded
means, both computed exactly from the distribution of values, and the sizes of simulated movies.

A pixel of ``light`` photons reads ``round(500 + 100*N + 100*read_noise*G)`` ADU, ``N`` Poisson and ``G``
Gaussian. The step is 0.5, the layout compact.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import photon_gpu as pg
from benchmarks.bias import Detector, distribution
from benchmarks.support.arguments import parser_of
from photon_gpu.encode_settings import PRESETS
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.code_table import CodeTable
from photon_gpu.engine.model.entropy_and_information import information_kept
from photon_gpu.store.durable import replacing
from photon_gpu.writer.photon_peak_choice import chosen_peaks

GAIN, OFFSET = 100.0, 500.0
READ_NOISES = (0.1, 0.2, 0.3, 0.4)
PEAKS = (0, 1, 2, 3, 4)
LIGHTS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
SIZED = (0.1, 0.3, 1.0)  # Mean light of the movies whose sizes are compared.
SHAPE = (100, 96, 96)


def table_of(detector: Detector, peaks: int) -> CodeTable:
    """Table of codes with this number of peaks; 0: the grid."""
    return Encoding(layout="compact", noise=detector.noise, peaks=peaks).table()


def bias(detector: Detector, peaks: int, light: float) -> float:
    """Mean of decoded counts less that of the values, in thousandths of a photon."""
    table = table_of(detector, peaks)
    values, chance = distribution(detector, light)
    low, high = table.code(int(values[0])), table.code(int(values[-1]))
    codes = np.searchsorted(table.thresholds(low, high), values, side="right") - 1
    decoded = table.decode_tables(low, high, "int32").astype(np.float64).mean(axis=0)[codes]
    return 1000.0 * float((chance * (decoded - values)).sum()) / detector.gain


def movie(light: float, read_noise: float, seed: int = 1) -> NDArray[np.uint16]:
    """A movie whose pixels have different lights, ``light`` photons on average."""
    random = np.random.default_rng(seed)
    photons = random.poisson(light * random.gamma(4.0, 0.25, SHAPE[1:]), SHAPE)
    values = OFFSET + GAIN * (photons + read_noise * random.standard_normal(SHAPE))
    return np.rint(values).astype("uint16")


def sizes(values: NDArray[np.uint16], detector: Detector, preset: str) -> list[int]:
    """Bytes of a movie for each number of peaks."""
    stored = []
    for peaks in PEAKS:
        with tempfile.TemporaryDirectory() as folder:
            report = pg.encode(
                values,
                Path(folder) / "m.zarr",
                noise=detector.noise,
                trust_noise=True,
                layout="compact",
                preset=preset,
                peaks=peaks,
                check=False,
            )
        stored.append(report.stored_bytes)
    return stored


def page() -> str:
    """Return ``photon_peak_bins.md``."""
    titles = ["grid" if peaks == 0 else f"{peaks} peak{'s'[: peaks > 1]}" for peaks in PEAKS]
    detectors = [Detector(GAIN, read_noise, OFFSET) for read_noise in READ_NOISES]
    parts = [
        "# Photon peaks in the dark",
        "Written by `python -m benchmarks.photon_peak_bins`. Step 0.5, layout `compact`,\n"
        "gain 100 ADU/photon. Read noise and light are in photons.",
        "## Information about the light that codes keep",
        "Computed exactly; 1 is that of the raw values.",
        _rows("read noise", titles, *_information(detectors)),
        "## Bias of decoded means",
        "Mean of decoded counts less that of the raw values, in thousandths of a photon, computed exactly.",
        _rows("read noise", titles, *_biases(detectors)),
        "## Size relative to the grid",
        f"Simulated movies of {' x '.join(map(str, SHAPE))} pixels. The last column is the number of peaks\n"
        'that `peaks="auto"` chooses.',
        _rows("preset, read noise", [*titles[1:], "auto"], *_sizes(detectors)),
    ]
    return "\n\n".join(parts) + "\n"


def _information(detectors: list[Detector]) -> tuple[list[str], list[list[str]]]:
    lights = [light for light in LIGHTS if light >= 0.1]
    names, rows = [], []
    for detector in detectors:
        kept = np.array([information_kept(table_of(detector, peaks), lights) for peaks in PEAKS])
        for light, row in zip(lights, kept.T, strict=True):
            names.append(f"{detector.read_noise:g} | {light:g}")
            rows.append([f"{one:.3f}" for one in row])
    return names, rows


def _biases(detectors: list[Detector]) -> tuple[list[str], list[list[str]]]:
    cases = [(detector, light) for detector in detectors for light in LIGHTS]
    names = [f"{detector.read_noise:g} | {light:g}" for detector, light in cases]
    return names, [[f"{bias(detector, peaks, light):+.1f}" for peaks in PEAKS] for detector, light in cases]


def _sizes(detectors: list[Detector]) -> tuple[list[str], list[list[str]]]:
    names, rows = [], []
    for preset in PRESETS:
        for detector in detectors:
            for light in SIZED:
                values = movie(light, detector.read_noise)
                stored = sizes(values, detector, preset)
                auto = chosen_peaks([values], Encoding(layout="compact", noise=detector.noise))
                names.append(f"{preset}, {detector.read_noise:g} | {light:g}")
                rows.append([*(f"{one / stored[0]:.2f}" for one in stored[1:]), str(auto)])
                print(names[-1], *rows[-1], flush=True)
    return names, rows


def _rows(first: str, titles: list[str], names: list[str], rows: list[list[str]]) -> str:
    head = f"| {first} | light | {' | '.join(titles)} |\n|{'---|' * (len(titles) + 2)}\n"
    return head + "\n".join(f"| {name} | {' | '.join(row)} |" for name, row in zip(names, rows, strict=True))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/measured"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / "photon_peak_bins.md") as file:
        file.write(page().encode())


if __name__ == "__main__":
    main()
