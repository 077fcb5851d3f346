"""A floor is natural only for photon counts, and excess noise only up to what detectors make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from photon_gpu.estimate import estimate_noise
from photon_gpu.estimate.checks import excess
from photon_gpu.estimate.curve import UNKNOWN
from tests.support.noise.detector_models import detect, still


def test_read_noise_cut_off_at_zero_is_no_photon_counter():
    movie = detect(still(frames=100, size=64, low=0.2, high=8.0, seed=1), gain=5.0, offset=0.0, read=4.0)
    estimate = estimate_noise(np.clip(movie, 0, None).astype(np.uint16))
    assert "clipping" in {finding.name for finding in estimate.warnings}
    low, high = estimate.interval.gain
    assert low < 5 < high


def test_photon_counts_end_at_zero_by_themselves():
    counts = np.random.default_rng(0).poisson(still(frames=100, size=64, low=0.1, high=12.0))
    estimate = estimate_noise(counts.astype(np.uint16))
    assert (estimate.verdict, [f.name for f in estimate.warnings]) == ("PASS", [])


def test_noise_more_skewed_than_multiplication_makes_it_is_a_warning():
    moments = replace(UNKNOWN, skewness=1.5, skewness_error=0.01)
    assert [f.severity for f in excess(moments, 0.0, 1.0, 0.0)] == ["NOTE"]
    (result,) = excess(replace(moments, skewness=1.75), 0.0, 1.0, 0.0)
    assert (result.severity, "not gamma-like" in result.message) == ("WARN", True)
