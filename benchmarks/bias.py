"""Compute the bias of decoded means exactly: ``python -m benchmarks.bias [--out docs/measured]``.

Writes ``bias.csv`` (the worst detector of each gain), ``bias_by_light.csv`` (the worst bias of each gain at
each light level) and ``bias.png``, which draws the latter.

A pixel of ``light`` photons reads ``round(offset + gain*N + gain*read_noise*G)`` ADU, ``N`` Poisson, ``G``
Gaussian. The distribution is summed, not drawn, so a bias has no error bar; it is given in per cent of the
pixel's sigma, ``sqrt(gain^2*light + variance)``. Integer output is the mean over the 16 rows of its decode
tables.

The bar, at step 0.5: under 2 % for float and under 3 % for integer output, from 0.1 to 100 photons, at gains
of 0.5 to 300 ADU/photon with a read noise of half a photon or more, and for photon counts themselves (gain 1,
no read noise). Measured over read noises of 0.5 to 2 photons and offsets all over the unit (bias.csv),
float output is biased by at most 1.7 % and integer output by at most 2.0 %, except where the gain is about
1.65 ADU/photon, the read noise half a photon, and the offset such that the dark's likeliest value shares its
bin with the next: 2.5 and 3.0 % at a gain of
1.65. No table of points within the bins could have less than 2.2 % there: ``least_worst`` finds the least by
a linear program. Centres alone, without photon_gpu/engine/model/representatives.py, would reach 5.5 and 4.9
%.

The other limit is a comb. Without read noise, values lie on teeth ``gain`` ADU apart; few photons fall on few
teeth, each at its own place in a bin. Worst bias without read noise: 6, 24, 33, 35, 35 % of a sigma at gains
of 2, 5, 30, 100, 300; 9 % with 0.1, 4 % with 0.2 and 1 % with 0.3 photons of read noise at gains from 30.
Subtractive dither brings these to 1.1, 2.1, 1.4, 1.3, 1.2 % (integers: up to 3.6 %, at gain 5), and below 0.3
% with read noise at gains from 30. ``compact``'s exact values have none at all; tuning chooses them where
they are smaller, as on combs of gain 2 and 5, but not on those of gain 30 and more (measured at 0.5 to 3
photons): there, take the photon filter with ``exact=True``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from benchmarks.support.arguments import parser_of
from photon_gpu.engine.model.code_table import PHASES, CodeTable
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.store.durable import replacing

GAINS = (
    0.5,
    0.7,
    1.0,
    1.2,
    1.5,
    1.6,
    1.65,
    1.7,
    1.8,
    1.9,
    2.0,
    2.3,
    2.7,
    3.0,
    4.0,
    5.0,
    10.0,
    30.0,
    100.0,
    300.0,
)
READ_NOISES = (0.5, 0.6, 0.7, 0.85, 1.0, 1.4, 2.0)
OFFSETS = tuple(np.arange(16) / 16)
LIGHT = np.geomspace(0.1, 100.0, 31)
FLOAT_BAR, INTEGER_BAR = 2.0, 3.0
BY_LIGHT = "bias_by_light.csv"


@dataclass(frozen=True)
class Detector:
    """Gain in ADU/photon, read noise in photons, offset in ADU."""

    gain: float
    read_noise: float = 0.0
    offset: float = 0.0

    @property
    def noise(self) -> NoiseModel:
        """What a user would give for it."""
        return NoiseModel(gain=self.gain, offset=self.offset, variance=(self.gain * self.read_noise) ** 2)


def distribution(detector: Detector, light: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Values a pixel can read, ADU, and their probabilities; what is left out is below 1e-12."""
    reach = math.ceil(light + 10.0 * math.sqrt(light) + 20.0)
    photons = np.arange(reach + 1)
    logs = photons * math.log(light) - light - np.cumsum(np.log(np.maximum(photons, 1)))
    weights, centres = np.exp(logs), detector.offset + detector.gain * photons
    sigma = detector.gain * detector.read_noise
    low, high = math.floor(centres[0] - 8 * sigma), math.ceil(centres[-1] + 8 * sigma)
    values = np.arange(low, high + 1)
    chance = np.zeros(values.size)
    for weight, centre in zip(weights, centres, strict=True):
        if weight < 1e-16:
            continue
        if sigma == 0.0:
            chance[round(centre) - low] += weight
            continue
        near = slice(max(0, math.floor(centre - 9 * sigma) - low), math.ceil(centre + 9 * sigma) - low + 2)
        edges = (np.append(values[near] - 0.5, values[near][-1] + 0.5) - centre) / sigma
        chance[near] += weight * np.diff(ndtr(edges))
    return values, chance


def bias(
    detector: Detector, lights: NDArray[np.float64], *, step: float = 0.5, dither: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bias of float and of integer output at each light, per cent of a sigma."""
    noise = detector.noise
    table = CodeTable(noise, step=step, dtype="int32", phases=PHASES if dither else 1)
    values, _ = distribution(detector, float(lights.max()))
    low = min(table.code(int(values[0]), phase) for phase in range(table.phases))
    high = max(table.code(int(values[-1]), phase) for phase in range(table.phases))
    decoded = []
    for dtype in ("float64", "int32"):
        rows = table.decode_tables(low, high, dtype).astype(np.float64)
        rows = np.broadcast_to(rows, (PHASES, rows.shape[1]))
        mean = np.zeros(values.size)
        for phase in range(PHASES):
            edges = table.thresholds(low, high, phase % table.phases)
            mean += rows[phase][np.searchsorted(edges, values, side="right") - 1]
        decoded.append(mean / PHASES)
    biases = np.empty((2, lights.size))
    for i, light in enumerate(lights):
        at, chance = distribution(detector, float(light))
        sigma = math.sqrt(detector.gain**2 * light + noise.variance)
        inside = np.searchsorted(values, at)
        for j in range(2):
            biases[j, i] = 100.0 * float((chance * (decoded[j][inside] - at)).sum()) / sigma
    return biases[0], biases[1]


def least_worst(detector: Detector, *, step: float = 0.5) -> float:
    """The least worst bias of float output that any table of points within the bins can have, per cent.

    A linear program: points and bound are unknown, the bias at each light is linear in the points.
    """
    from scipy.optimize import linprog

    table = CodeTable(detector.noise, step=step, dtype="int32")
    values, _ = distribution(detector, float(LIGHT.max()))
    low, high = table.code(int(values[0])), table.code(int(values[-1]))
    first, last = table.bins(low, high)
    codes = np.searchsorted(table.thresholds(low, high), values, side="right") - 1
    share, wanted = np.zeros((LIGHT.size, first.size)), np.zeros(LIGHT.size)
    for i, light in enumerate(LIGHT):
        at, chance = distribution(detector, float(light))
        sigma = math.sqrt(detector.gain**2 * light + detector.noise.variance)
        np.add.at(share[i], codes[np.searchsorted(values, at)], chance / sigma)
        wanted[i] = (chance * at).sum() / sigma
    one = np.ones((LIGHT.size, 1))
    solution = linprog(
        np.append(np.zeros(first.size), 1.0),
        A_ub=np.block([[share, -one], [-share, -one]]),
        b_ub=np.append(wanted, -wanted),
        bounds=[*zip(first, np.maximum(first, last), strict=True), (0, None)],
    )
    return 100.0 * float(solution.x[-1])


def detectors(gain: float) -> Iterator[Detector]:
    """Those the bar is for, with offsets all over the unit."""
    if gain == 1.0:
        yield Detector(gain)
    for read_noise in READ_NOISES:
        for offset in OFFSETS if gain < 10 else OFFSETS[::8]:
            yield Detector(gain, read_noise, float(offset))


def worst(gain: float) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, float]]:
    """Of all detectors of a gain, the bias of the worst one at each light, and a row of the CSV."""
    both = [[bias(detector, LIGHT), detector] for detector in detectors(gain)]
    curves, row = [], {"gain": gain}
    for j, output in enumerate(("float", "integer")):
        every = np.stack([results[j] for results, _ in both])
        which, where = np.unravel_index(int(np.abs(every).argmax()), every.shape)
        row[f"{output}_percent"] = round(float(every[which, where]), 3)
        row[f"{output}_photons"] = round(float(LIGHT[where]), 3)
        row[f"{output}_read_noise"], row[f"{output}_offset"] = (
            both[which][1].read_noise,
            both[which][1].offset,
        )
        if output == "float" and row["float_percent"] ** 2 > FLOAT_BAR**2:
            row["least_possible_percent"] = round(least_worst(both[which][1]), 3)
        row[f"{output}_from_1_photon_percent"] = round(float(np.abs(every[:, LIGHT >= 1.0]).max()), 3)
        curves.append(np.take_along_axis(every, np.abs(every).argmax(0)[np.newaxis], 0)[0])
    return curves[0], curves[1], row


def combs() -> list[dict[str, float]]:
    """The known limit, and that dither removes it."""
    rows = []
    for gain in (2.0, 5.0, 30.0, 100.0, 300.0):
        for read_noise in (0.0, 0.1, 0.2, 0.3):
            row = {"gain": gain, "read_noise": read_noise}
            for name, dither in (("", False), ("dither_", True)):
                for output, biases in zip(
                    ("float", "integer"), bias(Detector(gain, read_noise), LIGHT, dither=dither), strict=True
                ):
                    row[f"{name}{output}_percent"] = round(float(biases[np.abs(biases).argmax()]), 3)
            rows.append(row)
    return rows


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/measured"))
    options = parser.parse_args()
    rows, curves = [], []
    for gain in GAINS:
        float_bias, integer_bias, row = worst(gain)
        rows.append(row)
        for photons, *both in zip(LIGHT, float_bias, integer_bias, strict=True):
            percents = dict(
                zip(("float_percent", "integer_percent"), (round(float(b), 3) for b in both), strict=True)
            )
            curves.append({"gain": gain, "photons": round(float(photons), 4), **percents})
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    save(options.out / "bias.csv", rows)
    save(options.out / BY_LIGHT, curves)
    print("\nworst bias of combs, per cent of a sigma:")
    for row in combs():
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    draw(options.out)


def save(path: Path, rows: list[dict[str, float]]) -> None:
    """Write rows as CSV."""
    text = io.StringIO()
    names = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def draw(folder: Path) -> None:
    """Draw ``bias.png`` from ``bias_by_light.csv``."""
    from photon_gpu.plots import plot_bias, save_figure

    with (folder / BY_LIGHT).open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    lines: dict[str, dict[float, list[float]]] = {"float_percent": {}, "integer_percent": {}}
    for row in rows:
        for name, by_gain in lines.items():
            by_gain.setdefault(row["gain"], []).append(row[name])
    figure = plot_bias(
        photons=list(dict.fromkeys(row["photons"] for row in rows)),
        float_bias=lines["float_percent"],
        integer_bias=lines["integer_percent"],
        float_bar=FLOAT_BAR,
        integer_bar=INTEGER_BAR,
        title="Bias of the decoded mean at step 0.5, worst detector of each gain",
    )
    save_figure(figure, folder / "bias.png", dpi=110)


if __name__ == "__main__":
    main()
