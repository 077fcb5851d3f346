"""What an encode says it did."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.noise import NoiseModel, noise_floor_bits
from photon_gpu.writer.report import EncodeReport, little_light

CAMERA = NoiseModel(gain=2.0, offset=100.0, variance=4.0)


def report(**changes):
    options = dict(
        source="movie.tif",
        url="movie.zarr",
        shape=(100, 20, 30),
        encoding=Encoding(layout="compact", noise=CAMERA),
        preset="balanced",
        chunk_frames=50,
        raw_bytes=120_000,
        stored_bytes=30_000,
        seconds=0.5,
        compile_seconds=0.0,
        stages={"read": 0.1},
        backend="numba",
        why="requested by name",
        workers=2,
    )
    return EncodeReport(**{**options, **changes})


def test_ratio_and_rates_follow_from_the_bytes():
    made = report()
    assert (
        made.ratio == 4.0 and made.bits_per_pixel == 4.0 and made.megabytes_per_second == pytest.approx(0.24)
    )
    assert made.above_floor_percent == pytest.approx(100 * (4.0 / noise_floor_bits(0.5) - 1))
    assert report(seconds=0.0).megabytes_per_second > 0
    assert report(encoding=Encoding(layout="lossless")).above_floor_percent is None


@pytest.mark.parametrize("step", [0.125, 0.25, 0.5])
def test_the_floor_is_the_entropy_of_quantized_gaussian_noise(step):
    edges = np.arange(-12, 12, step)
    chance = np.diff([0.5 * math.erfc(-edge / math.sqrt(2)) for edge in edges])
    chance = chance[chance > 0]
    # The bins' width adds step^2/24 nats to the textbook's limit of fine bins.
    exact = -(chance * np.log2(chance)).sum()
    assert 0 <= exact - noise_floor_bits(step) <= step**2 / 24 / math.log(2) + 1e-6


def test_a_report_survives_json():
    for made in (report(), report(encoding=Encoding(layout="lossless")), report(notes=("dim",))):
        again = json.loads(json.dumps(made.to_dict(), allow_nan=False))
        assert again == made.to_dict()
        assert (
            again["ratio"] == 4.0
            and again["shape"] == [100, 20, 30]
            and again["layout"] == made.encoding.layout
        )


def test_it_is_a_small_table():
    text = str(report(notes=("little light",), compile_seconds=2.5))
    for word in (
        "100 x 20 x 30 uint16",
        "4.00",
        "above the noise floor",
        "2.50 s",
        "predictor",
        "2 threads",
        "little light",
    ):
        assert word in text
    assert len({line.index("  ") < 40 for line in text.splitlines()}) == 1
    assert "predictor" not in str(report(encoding=Encoding())) and "floor" not in str(
        report(encoding=Encoding(layout="lossless"))
    )


def test_little_light_is_noted_where_labels_are_coarse():
    plain = Encoding(noise=CAMERA)
    assert "1.0 photons" in (little_light(102.0, plain) or "")
    assert "0.0 photons" in (little_light(50.0, plain) or "")
    assert little_light(200.0, plain) is None and little_light(float("nan"), plain) is None
    assert little_light(102.0, Encoding(layout="compact", noise=CAMERA)) is None
