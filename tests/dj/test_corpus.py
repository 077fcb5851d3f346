"""Savings on a real two-photon movie, through a table."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import photon_gpu as pg
from tests.support.dj.movies import RECORDING, files
from tests.support.dj.tables import declare

CORPUS = os.environ.get("PHOTON_GPU_CORPUS")
NOISE = pg.NoiseModel(gain=100.0, offset=92.0)


@pytest.mark.skipif(not CORPUS, reason="PHOTON_GPU_CORPUS is not set")
@pytest.mark.parametrize("codec", ["photon", "photon_compact"])
def test_a_real_movie_takes_a_quarter(schema, store, codec):
    backend = store()
    table = declare(schema, RECORDING.replace("photon", codec))
    path = Path(CORPUS or "") / "2p_cortex.tif"
    table.insert1({"recording_id": 1, "movie": pg.movie(path, noise=NOISE)})
    movie = table.fetch1("movie")
    stored = sum(backend.size(name) for name in files(backend))
    assert stored == movie.stored_bytes
    assert 1 - stored / movie.nbytes >= 0.75
    with pg.open_source(path) as source:
        raw = source.read(0, source.shape[0])
    np.testing.assert_allclose(movie[...], pg.anscombe(raw, NOISE), atol=0.25 + 1e-6)
