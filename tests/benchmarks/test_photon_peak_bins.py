"""The benchmark of photon peaks gives the figures that the documentation quotes."""

from __future__ import annotations

import pytest

from benchmarks import photon_peak_bins
from benchmarks.bias import Detector


def test_peaks_without_read_noise_are_unbiased_and_the_grid_is_not():
    """Without read noise to speak of, values lie on the peaks, which decode exactly; the grid moves them."""
    sharp = Detector(100.0, 0.02, 500.0)
    assert abs(photon_peak_bins.bias(sharp, 4, 0.1)) < 0.01
    assert abs(photon_peak_bins.bias(sharp, 0, 0.1)) > 1.0


def test_peaks_halve_a_dark_movie():
    sharp = Detector(100.0, 0.1, 500.0)
    stored = photon_peak_bins.sizes(photon_peak_bins.movie(0.1, 0.1)[:40, :48, :48], sharp, "fast")
    assert stored[2] / stored[0] == pytest.approx(0.5, abs=0.1)
