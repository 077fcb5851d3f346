"""What Zarr and NumPy archives say besides pixels."""

from __future__ import annotations

import io
import json

import numpy as np
import zarr

import photon_gpu as pg

MOVIE = np.arange(5 * 4 * 6, dtype="uint16").reshape(5, 4, 6)


def test_attributes_of_an_array_and_of_the_groups_above_it_are_kept(tmp_path):
    root = zarr.open_group(tmp_path / "run.zarr", mode="w")
    root.attrs["mouse"] = 7
    session = root.create_group("session")
    session.attrs["rig"] = {"laser": 920}
    array = session.create_array("movie", data=MOVIE)
    array.attrs["rate"] = 30.0
    other = root.create_group("other")
    other.attrs["not"] = "ours"
    with pg.open_source(tmp_path / "run.zarr") as source:
        (document,) = source.recording.documents
    assert document.name == "zarr/attributes.json"
    assert json.loads(document.data) == {
        "": {"mouse": 7},
        "session": {"rig": {"laser": 920}},
        "session/movie": {"rate": 30.0},
    }
    with pg.open_source(zarr.open_array(tmp_path / "run.zarr/session/movie", mode="r")) as source:
        assert json.loads(source.recording.documents[0].data) == {"": {"rate": 30.0}}


def test_a_zarr_array_without_attributes_says_nothing(tmp_path):
    zarr.create_array(tmp_path / "run.zarr", data=MOVIE)
    with pg.open_source(tmp_path / "run.zarr") as source:
        assert source.recording.is_empty


def test_small_arrays_of_an_archive_are_kept_and_large_ones_named(tmp_path):
    big, rate = np.zeros((1 << 20) + 1, "uint8"), np.array(30.0)
    np.savez_compressed(tmp_path / "run.npz", movie=MOVIE, rate=rate, mask=big, names=np.array(["a", None]))
    pg.encode(tmp_path / "run.npz", tmp_path / "run.zarr", layout="lossless", check=False)
    movie = pg.open(tmp_path / "run.zarr")
    assert list(movie.source_metadata) == ["npz/rate.npy"]
    assert np.load(io.BytesIO(movie.source_metadata["npz/rate.npy"].data)) == 30.0
    assert sorted(movie.recording.not_kept) == [
        "array 'mask', uint8 (1048577,)",
        "array 'names', object (2,)",
    ]
