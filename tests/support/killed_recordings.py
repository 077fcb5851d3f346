"""Recordings in the state that a killed process leaves."""

from __future__ import annotations

import time

import numpy as np

import photon_gpu as pg

MOVIE = np.random.default_rng(0).integers(0, 8, (30, 6, 7)).astype("uint16")
COUNTER = pg.NoiseModel()


def killed(url, spool, frames=11, stored=0, **options):
    """Begin a recording and append frames until ``stored`` are in the store; leave it unfinished."""
    options = {
        "chunk_frames": 4,
        "publish_seconds": 0.0,
        "workers": 1,
        "layout": "lossless",
        "durability": "frame",
        "noise": COUNTER,
        **options,
    }
    live = pg.LiveWriter(url, frame_shape=(6, 7), dtype="uint16", spool=spool, **options)
    for t in range(frames):
        live.append(MOVIE[t], timestamp=t)
    until = time.monotonic() + 20
    while live.status().frames_stored < stored:
        assert time.monotonic() < until
        time.sleep(0.005)
    live._journaling.stop()
    live._pipeline.stop()
    live._spool.release()
    return live
