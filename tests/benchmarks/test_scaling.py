"""Exponents, points and advice of the scaling benchmark; a point or two are really measured."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import scaling
from benchmarks.memory import Shifted
from benchmarks.support import results_csv


def rows(values, power, **more):
    return [
        {"value": v, "seconds": 0.1 * v**power, "peak_bytes": 1e8, "raw_bytes": 1e6 * v, "mb_s": 10.0, **more}
        for v in values
    ]


@pytest.mark.parametrize("power", [0.0, 0.9, 1.0, 1.5])
def test_exponents_are_found(power):
    result = rows([10, 20, 40, 80], power)
    assert scaling.exponent([r["value"] for r in result], [r["seconds"] for r in result]) == pytest.approx(
        power
    )
    (text,) = scaling.findings("length", result)
    assert ("worse than linear" in text) == (power > scaling.LIMIT)


def test_speed_up_is_of_the_first_point():
    assert (
        "2 are 1.90 times as fast as 1"
        in scaling.findings(
            "dask workers", [{**rows([1], 1)[0], "seconds": 1.9}, {**rows([2], 1)[0], "seconds": 1.0}]
        )[0]
    )


def test_points_are_measured_and_told(tmp_path, monkeypatch):
    monkeypatch.setitem(scaling.AXES, "length", [{"frames": 20, "size": 32}, {"frames": 40, "size": 32}])
    target = scaling.main(
        ["--minutes", "0", "--only", "length", "--repeats", "1", "--results", str(tmp_path)]
    )
    result = results_csv.load(target)
    assert [(row["axis"], row["value"]) for row in result] == [("length", "20"), ("length", "40")]
    assert all(float(row["seconds"]) > 0 and float(row["peak_bytes"]) > 1e7 for row in result)


def test_random_access_is_timed(tmp_path):
    facts = {**scaling.POINT, "frames": 20, "size": 32, "chunk_frames": 10, "latency": True}
    result = json.loads(json.dumps(scaling.point(facts, 1)))
    assert result["frame_ms"] > 0 and result["raw_bytes"] == 20 * 32 * 32 * 2


def test_no_two_frames_of_a_chunk_are_alike():
    frames = Shifted(100, 64).read(0, 100)
    assert len(np.unique(frames.reshape(100, -1)[:, :8], axis=0)) == 100
    np.testing.assert_array_equal(Shifted(100, 64).read(40, 42), frames[40:42])
