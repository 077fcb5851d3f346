"""What is refused before any work, and what is tuned: the same for one machine and a cluster."""

from __future__ import annotations

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.encode_settings import EncodeSettings
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.open import open_source
from photon_gpu.writer.preparation import accept, tune
from photon_gpu.writer.resume import StoredChunks
from tests.support.noise.one_camera_movies import CAMERA, camera_movie

VALUES = camera_movie(25, 17, 23)
SETTINGS = EncodeSettings(noise=CAMERA, layout="compact", preset="fast", chunk_frames=10, workers=1)


def accepted(source, url, **changes):
    return accept(open_source(source), pg.Storage.at(url), SETTINGS.replace(**changes))


def test_the_movie_gives_its_dtype_and_its_chunks(tmp_path):
    result = accepted(VALUES.astype("int32"), tmp_path / "m.zarr")
    assert result.encoding.dtype == "int32" and result.chunk == (10, 17, 23)
    assert accepted(VALUES, tmp_path / "m.zarr", chunk_frames=None).chunk == (25, 17, 23)
    assert not (tmp_path / "m.zarr").exists(), "nothing is claimed yet"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"chunk_frames": 0}, "chunk_frames is 0"),
        ({"attributes": {"step": {1}}}, "attributes"),
        ({"attributes": {"codec_version": "9"}}, "codec_version"),
        ({"backend": "quantum"}, "quantum"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(tmp_path, changes, message):
    with pytest.raises(InvalidInputError, match=message):
        accepted(VALUES, tmp_path / "m.zarr", **changes)


def test_a_movie_is_not_stored_in_its_own_place(tmp_path):
    np.save(tmp_path / "m.npy", VALUES)
    with pytest.raises(InvalidInputError, match=r"m\.npy"):
        accepted(tmp_path / "m.npy", tmp_path / "m.npy")


def test_tuning_is_that_of_encode_and_finds_the_chunks_that_are_there(tmp_path):
    report = pg.encode(
        VALUES, tmp_path / "m.zarr", noise=CAMERA, layout="compact", preset="fast", chunk_frames=10
    )
    storage, stages = pg.Storage.at(tmp_path / "m.zarr"), Stages()
    begun = accepted(VALUES, tmp_path / "n.zarr")
    first = tune(open_source(VALUES), begun, SETTINGS, storage, None, stages=stages)
    assert first.choice.encoding == report.encoding == first.layout.encoding
    assert list(stages.seconds) == ["tune"]
    again = tune(open_source(VALUES), begun, SETTINGS, storage, first.plan, stages=stages)
    # They are looked at one by one as they are written: the manifest of a finished movie has no CRC of raw
    # frames.
    assert first.stored == StoredChunks()
    assert again.stored == StoredChunks(present=frozenset({"0.0.0", "1.0.0", "2.0.0"}))
