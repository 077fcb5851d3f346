"""Stored movies of every layout for the tests of verify and repair."""

from __future__ import annotations

import json

import numpy as np

import photon_gpu as pg

LAYOUTS = ("plain", "compact", "lossless")


NOISE = pg.NoiseModel(gain=4.0, offset=10.0, variance=3.0)


def movie(frames=11, height=6, width=7, seed=0):
    rng = np.random.default_rng(seed)
    return (
        10 + 4 * rng.poisson(6.0, (frames, height, width)) + rng.normal(0, 1.7, (frames, height, width))
    ).astype("int16")


def without_manifest(folder):
    """Remove the manifest and the attribute ``layout``, as a program that knows neither would write."""
    (folder / ".manifest.json").unlink()
    attributes = json.loads((folder / ".zattrs").read_text())
    del attributes["layout"]
    (folder / ".zattrs").write_text(json.dumps(attributes))
