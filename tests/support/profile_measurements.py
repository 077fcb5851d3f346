"""Measurements with invented values for tests of profiles."""

from __future__ import annotations

from photon_gpu.tools.profiling.measured_combination import Measured


def measured(**changes):
    row = {
        "backend": "numba",
        "layout": "compact",
        "preset": "fast",
        "cores": 2,
        "frames": 10,
        "raw_bytes": 8_000_000,
        "stored_bytes": 2_000_000,
        "seconds": 0.1,
        "settings": "",
        "stages": {"read": 0.01, "transform": 0.02, "predict": 0.04, "compress": 0.1, "write": 0.01},
    }
    return Measured(**{**row, **changes})
