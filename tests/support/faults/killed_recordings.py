"""Recordings in the state that a killed process leaves."""

from __future__ import annotations

import numpy as np

import photon_gpu as pg
from tests.support.waiting import wait_until

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
    wait_until(lambda: live.status().frames_stored >= stored)
    live._journaling.stop()
    live._pipeline.stop()
    live._spool.release()
    return live
