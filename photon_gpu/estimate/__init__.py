"""Estimate the noise model of a movie from the movie itself."""

from photon_gpu.estimate.diagnostics import Diagnostics, Finding, Interval
from photon_gpu.estimate.estimate import estimate_noise
from photon_gpu.estimate.result import NoiseEstimate

__all__ = ["Diagnostics", "Finding", "Interval", "NoiseEstimate", "estimate_noise"]
