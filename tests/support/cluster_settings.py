"""Settings of the cluster tests, and the stores that they write."""

from __future__ import annotations

import photon_gpu as pg

NOISE = pg.NoiseModel(gain=20.0, offset=90.0, variance=100.0)


SETTINGS = {"layout": "compact", "preset": "fast", "chunk_frames": 20, "noise": NOISE}


def stored(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
