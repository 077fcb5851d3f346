"""The benchmark of photon peaks gives the figures that the documentation quotes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import photon_peak_bins
from benchmarks.bias import Detector
from photon_gpu.engine.codec.encoding import Encoding
from photon_gpu.engine.model.entropy_and_information import information_kept

PAGE = Path(__file__).parents[2] / "docs" / "dark.md"


def test_peaks_without_read_noise_are_unbiased_and_the_grid_is_not():
    """Without read noise to speak of, values lie on the peaks, which decode exactly; the grid moves them."""
    sharp = Detector(100.0, 0.02, 500.0)
    assert abs(photon_peak_bins.bias(sharp, 4, 0.1)) < 0.01
    assert abs(photon_peak_bins.bias(sharp, 0, 0.1)) > 1.0


def test_peaks_halve_a_dark_movie():
    sharp = Detector(100.0, 0.1, 500.0)
    stored = photon_peak_bins.sizes(photon_peak_bins.movie(0.1, 0.1)[:40, :48, :48], sharp, "fast")
    assert stored[2] / stored[0] == pytest.approx(0.5, abs=0.1)


def test_the_tables_of_the_page_are_those_that_are_calculated():
    noise = Detector(100.0, 0.25, 500.0).noise
    settings = {
        "step 0.5": {},
        "step 1.0": {"step": 1.0},
        "without": {},
        "2 peaks": {"peaks": 2},
        "3 peaks": {"peaks": 3},
    }
    rows = re.findall(r"^\| (photons per pixel|step .*?|without|. peaks) \| (.*) \|$", PAGE.read_text(), re.M)
    assert {name for name, _ in rows} == {"photons per pixel", *settings}
    for name, cells in rows:
        figures = [float(cell) for cell in cells.split(" | ")]
        if name == "photons per pixel":
            lights = figures
            continue
        table = Encoding(layout="compact", noise=noise, **settings[name]).table()
        assert information_kept(table, lights) == pytest.approx(figures, abs=0.006), name
