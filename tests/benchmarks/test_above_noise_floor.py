"""The distance from the noise floor is measured of movies that are what they are said to be."""

from __future__ import annotations

import pytest

import photon_gpu as pg
from benchmarks import above_noise_floor
from benchmarks.above_noise_floor import page
from benchmarks.support import results_csv
from benchmarks.support.cases import simulated
from photon_gpu.engine.model.noise import noise_floor_bits


def test_preset_small_comes_closest(monkeypatch, tmp_path):
    case = simulated(12, 30.0)
    monkeypatch.setattr(above_noise_floor, "main_case", lambda: case)
    target = above_noise_floor.main(["--frames", "12", "--photons", "5", "--results", str(tmp_path)])
    rows = results_csv.load(target)
    assert [row["movie"] for row in rows] == ["simulated 30 photons", "simulated 5 photons"]
    for row in rows:
        assert 0 < float(row["small"]) < float(row["balanced"]) <= float(row["fast"])
    assert f"| simulated 5 photons, 12 x 200 x 200 | {float(rows[1]['fast']):+.1f} % |" in page(rows)


def test_all_files_of_the_store_count(tmp_path):
    case = simulated(12, 5.0)
    pg.encode(case.values, tmp_path / "movie", noise=case.noise, layout="compact", preset="fast")
    stored = sum(path.stat().st_size for path in (tmp_path / "movie").iterdir())
    bits = 8 * stored / case.values.size
    assert above_noise_floor.above(case, "fast") == pytest.approx(100 * (bits / noise_floor_bits(0.5) - 1))
