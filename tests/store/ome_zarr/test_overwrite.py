"""Overwriting an OME-Zarr movie in a store without renames: killed at any step, and on S3."""

from __future__ import annotations

import contextlib
import socket
import warnings

import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.errors import PhotonError, PhotonWarning
from photon_gpu.store import overwrite
from photon_gpu.store.ome_zarr import shards
from photon_gpu.store.ome_zarr.zarr2_view import OmeZarrStorage, movie_storage
from photon_gpu.store.owned_files import own_names
from tests.support.servers import moto, s3

OLD = np.random.default_rng(0).poisson(9, (14, 9, 8)).astype("uint16")
NEW = OLD[:5] + 1
SETTINGS = {"layout": "lossless", "chunk_frames": 2, "check": False}
FACTS = {"host": socket.gethostname(), "pid": 2**22 + 7, "token": "0123"}


@pytest.fixture(autouse=True)
def two_chunks_in_a_shard(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * 2 * 9 * 8 * 2)


class Killed(BaseException):
    pass


class Stops(OmeZarrStorage):
    """Dies before one of its writes and deletions."""

    left = 0

    def write(self, name, data, **options):
        self.count()
        super().write(name, data, **options)

    def delete(self, name):
        self.count()
        super().delete(name)

    def count(self):
        Stops.left -= 1
        if Stops.left == 0:
            raise Killed


def check_that_what_opens_is_whole(store):
    """At every moment the name holds the old movie, the new one, or nothing that opens."""
    for read in (
        lambda: pg.open(movie_storage(f"memory://{store.root}")).counts[...],
        lambda: zarr.open_array(f"memory://{store.root}/0", mode="r")[...],
    ):
        with contextlib.suppress(PhotonError, FileNotFoundError):
            values = read()
            assert any(np.array_equal(values, movie) for movie in (OLD, NEW))


@pytest.mark.parametrize(("old_levels", "new_levels"), [(2, 0), (0, 1)])
def test_a_copy_that_is_killed_at_any_step_is_finished_by_recover(old_levels, new_levels, tmp_path):
    for at in range(1, 40):
        url = f"memory://{tmp_path.name}/{old_levels}/{at}/m.ome.zarr"
        pg.encode(OLD, url, pyramid=old_levels, **SETTINGS)
        store = movie_storage(url)
        store.write("/notes.txt", b"precious")
        new = store.sibling("new")
        pg.encode(NEW, new, pyramid=new_levels, **SETTINGS)
        Stops.left = at
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PhotonWarning)
            try:
                overwrite.Replaceable(Stops(store.fs, store.root), None).replace_with(new, FACTS)
                break
            except Killed:
                check_that_what_opens_is_whole(store)
                report = pg.recover(url)
        assert report.put_back == new.root.split("/")[-1] and not overwrite.left_behind(store)
        np.testing.assert_array_equal(pg.open(url).counts[...], NEW)
        assert [problem.name for problem in pg.verify(url).problems] == ["/notes.txt"]
        names = movie_storage(url).names()
        assert set(names) - own_names(movie_storage(url), names) == {"/notes.txt"}
    assert at > 8


def test_a_movie_on_s3_is_replaced_and_only_its_shards_get_the_storage_class(tmp_path):
    with moto(tmp_path) as endpoint:
        files = s3(endpoint)
        store = OmeZarrStorage(files, "imaging/s/m.ome.zarr", write_options={"StorageClass": "STANDARD_IA"})
        pg.encode(OLD, store, pyramid=1, **SETTINGS)
        pg.encode(NEW, store, pyramid=1, overwrite=True, **SETTINGS)
        assert pg.verify(store).ok
        np.testing.assert_array_equal(pg.open(store).counts[...], NEW)
        stored = files.find("imaging/s", detail=True)
        assert {name.split("/")[2] for name in stored} == {"m.ome.zarr"}
        rare = {name for name, info in stored.items() if info["StorageClass"] == "STANDARD_IA"}
        assert rare == {name for name in stored if "/c/" in name}
