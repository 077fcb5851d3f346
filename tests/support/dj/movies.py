"""Small movies of rows, and the check that every row still decodes to its movie."""

from __future__ import annotations

import numpy as np

import photon_gpu as pg
from photon_gpu.dj.marks_in_store import MARK

RECORDING = "recording_id : int32\n---\nmovie : <photon@imaging>"


def poisson(seed=0, frames=250, height=8, width=12, light=20):
    return np.random.default_rng(seed).poisson(light, (frames, height, width)).astype("uint16")


def decoded(array, **options):
    """Encode a movie to memory with the engine alone, and decode it."""
    pg.encode(array, "memory://expected.zarr", overwrite=True, **{"noise": pg.NoiseModel(), **options})
    return pg.open("memory://expected.zarr").counts[...]


def check_rows(table, expected, **options):
    """Check that every row's movie decodes to the inserted movie, and that there are no other rows."""
    rows = table().to_dicts()
    (key,) = table.primary_key
    assert sorted(row[key] for row in rows) == sorted(expected)
    for row in rows:
        np.testing.assert_array_equal(row["movie"].counts[...], decoded(expected[row[key]], **options))


def files(backend, path=""):
    """Return the names of all files of a store, or of one of its folders, without the marks of databases."""
    backend.fs.invalidate_cache()
    root = backend._full_path(path).rstrip("/")
    paths = backend.fs.find(root)
    names = sorted(name[len(root) + 1 :] for name in paths if len(name) > len(root) + 1)
    return [name for name in names if MARK not in name]
