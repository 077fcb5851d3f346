"""The distance from the noise floor is measured of movies that are what they are said to be."""

from __future__ import annotations

import pytest

import photon_gpu as pg
from benchmarks import above_noise_floor
from benchmarks.cases import simulated
from photon_gpu.engine.model.noise import noise_floor_bits


def test_preset_small_comes_closest(monkeypatch, capsys):
    case = simulated(12, 30.0)
    monkeypatch.setattr(above_noise_floor, "main_case", lambda: case)
    above_noise_floor.main(["--frames", "12", "--photons", "5"])
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "| movie | fast | balanced | small |" and len(rows) == 4
    assert rows[2].startswith("| simulated 30 photons |") and rows[3].startswith("| simulated 5 photons |")
    for row in rows[2:]:
        fast, balanced, small = (float(cell.strip(" %")) for cell in row.split("|")[2:5])
        assert 0 < small < balanced <= fast


def test_all_files_of_the_store_count(tmp_path):
    case = simulated(12, 5.0)
    pg.encode(case.values, tmp_path / "movie", noise=case.noise, layout="compact", preset="fast")
    stored = sum(path.stat().st_size for path in (tmp_path / "movie").iterdir())
    bits = 8 * stored / case.values.size
    assert above_noise_floor.above(case, "fast") == pytest.approx(100 * (bits / noise_floor_bits(0.5) - 1))
