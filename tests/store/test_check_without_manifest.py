"""A chunk by itself: whole ones decode to what went in; what no chunk can hold is named."""

from dataclasses import replace

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.engine.codec import blosc
from photon_gpu.errors import CorruptDataError
from photon_gpu.store import metadata
from photon_gpu.store.check_without_manifest import decode_whole

COUNTS = np.random.default_rng(0).poisson(20, (7, 8, 9)).astype("uint16")


def stored(folder, **options):
    pg.encode(COUNTS, folder, chunk_frames=5, **{"noise": pg.NoiseModel(), **options})
    described = metadata.describe((folder / ".zarray").read_bytes(), (folder / ".zattrs").read_bytes(), "it")
    return [(folder / f"{n}.0.0").read_bytes() for n in (0, 1)], described


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_whole_chunks_give_their_frames(layout, tmp_path):
    chunks, described = stored(tmp_path / "m.zarr", layout=layout)
    movie = pg.open(tmp_path / "m.zarr")
    wanted = movie[...] if layout == "plain" else movie.counts[...]
    result = [decode_whole(data, n, described) for n, data in enumerate(chunks)]
    assert [len(frames) for frames in result] == [5, 2]
    assert (np.concatenate(result) == wanted).all()


@pytest.mark.parametrize("layout", ["plain", "compact", "lossless"])
def test_a_chunk_in_the_place_of_another_length_is_named(layout, tmp_path):
    chunks, described = stored(tmp_path / "m.zarr", layout=layout)
    with pytest.raises(
        CorruptDataError,
        match="chunk 1 was written as number 0|padding of the last chunk is not zero",
    ):
        decode_whole(chunks[0], 1, described)


def test_labels_that_no_value_has_are_named(tmp_path):
    _, described = stored(tmp_path / "m.zarr", layout="plain")
    described = replace(described, encoding=described.encoding.but(movie_id=None))
    labels = np.zeros((5, 8, 9))
    labels[3, 2, 1] = 1e4  # uint16 at gain 1 reaches 512
    with pytest.raises(CorruptDataError, match="labels that no value of uint16 has"):
        decode_whole(blosc.compress(labels, pg.Compressor()), 0, described)
