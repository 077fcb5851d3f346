"""Repair and resume of OME-Zarr movies: from every damage, and after a kill at every shard."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr

import photon_gpu as pg
from photon_gpu.check.integrity import repair
from photon_gpu.engine.backend_choice import get_backend
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.errors import PhotonWarning, StoreExistsError
from photon_gpu.store.claim import Claim
from photon_gpu.store.ome_zarr import shards
from photon_gpu.store.ome_zarr.zarr2_view import OmeZarrStorage
from photon_gpu.writer import scheduler
from tests.support.noise.one_camera_movies import CAMERA, camera_movie

VALUES = camera_movie(75, 17, 23)
SHARD_BYTES = 3 * 10 * 17 * 23 * 2  # three chunks
OPTIONS = {"noise": CAMERA, "chunk_frames": 10, "preset": "fast"}


@pytest.fixture(autouse=True)
def three_chunks_in_a_shard(request, monkeypatch):
    if "resumed" not in request.node.name:  # that encode must keep the shards it began with
        monkeypatch.setattr(shards, "SHARD_BYTES", SHARD_BYTES)


@pytest.fixture(params=["plain", "compact"])
def url(request, tmp_path):
    pg.encode(VALUES, tmp_path / "m.ome.zarr", layout=request.param, **OPTIONS)
    return str(tmp_path / "m.ome.zarr")


def tree(url):
    return {str(path): path.read_bytes() for path in sorted(Path(url).rglob("*")) if path.is_file()}


def damaged_forms(data):
    for at in {0, len(data) // 2, len(data) - 30, len(data) - 1}:
        yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    yield data[: len(data) // 2]
    yield data + b"\0"
    yield None


def test_a_source_restores_every_file_byte_for_byte(url):
    whole = tree(url)
    for path, data in whole.items():
        for damaged in damaged_forms(data):
            os.unlink(path) if damaged is None else Path(path).write_bytes(damaged)
            fixed = pg.repair(url, VALUES)
            assert not fixed.before.ok, (path, damaged and len(damaged))
            assert fixed.ok, (path, damaged and len(damaged), str(fixed))
            assert tree(url) == whole, (path, damaged and len(damaged))


def test_without_a_source_metadata_and_indexes_are_restored_and_the_rest_is_named(url):
    whole = tree(url)
    group, array, shard = Path(url, "zarr.json"), Path(url, "0/zarr.json"), Path(url, "0/c/1/0/0")
    group.unlink()
    array.write_bytes(b"{}")
    shard.write_bytes(whole[str(shard)][:-50])
    assert pg.repair(url).ok
    assert tree(url) == whole
    shard.write_bytes(whole[str(shard)][: len(whole[str(shard)]) // 2])
    fixed = pg.repair(url)
    assert fixed.after.lost == ((40, 59),)  # the first chunk of three is before the cut
    assert [name for name, _ in fixed.left] == ["4.0.0", "5.0.0"]
    np.testing.assert_array_equal(pg.open(url).counts[:40].shape, (40, 17, 23))
    assert pg.repair(url, VALUES).ok
    assert tree(url) == whole


def test_another_source_restores_nothing(url):
    shard = Path(url, "0/c/1/0/0")
    shard.write_bytes(b"\0" + shard.read_bytes()[1:])
    before = tree(url)
    fixed = pg.repair(url, VALUES + 100)
    assert not fixed.ok
    assert not fixed.restored
    assert tree(url) == before


def test_chunks_of_other_bytes_are_restored_if_the_source_proves_itself(tmp_path, monkeypatch):
    url = tmp_path / "m.ome.zarr"
    pg.encode(VALUES, url, layout="plain", compressor="zstd-1-shuffle", **OPTIONS)
    movie = pg.open(url)
    counts, first = movie.counts[...], 4 * movie.chunks[0]
    other = layout_for(movie.encoding.but(compressor=pg.Compressor.parse("zstd-3-shuffle")), get_backend())
    values = VALUES[first : first + movie.chunks[0]]
    data = other.encode(values, movie.chunks, Resources(), first)
    encode = repair._Work._encode
    monkeypatch.setattr(
        repair._Work, "_encode", lambda self, n, description: data if n == 4 else encode(self, n, description)
    )
    shard = url / "0/c/1/0/0"
    stored = shard.read_bytes()
    shard.write_bytes(stored[: len(stored) // 2] + b"\1\2\3" + stored[len(stored) // 2 + 3 :])
    fixed = pg.repair(url, VALUES)
    assert fixed.ok, str(fixed)
    assert Path(str(fixed.kept), "4.0.0").is_file()
    np.testing.assert_array_equal(pg.open(url).counts[...], counts)


@pytest.mark.parametrize("shards_written", [0, 1, 2, 3])
def test_a_killed_encode_is_resumed(shards_written, tmp_path, monkeypatch):
    url, folder = tmp_path / "m.ome.zarr", tmp_path / "m.zarr"
    options = OPTIONS | {"layout": "compact", "workers": 1, "resume": True}
    begun = []
    write = OmeZarrStorage.write_shard

    def write_or_die(self, shard, pieces):
        if len(begun) == shards_written:
            raise KeyboardInterrupt
        begun.append(shard)
        write(self, shard, pieces)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", SHARD_BYTES)
        patch.setattr(scheduler, "_LIST_SECONDS", 0)
        patch.setattr(scheduler, "_CRC_SECONDS", 0)
        patch.setattr(OmeZarrStorage, "write_shard", write_or_die)
        if shards_written == 3:
            patch.setattr(Claim, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            pg.encode(VALUES, url, **options)
    with pytest.raises(StoreExistsError, match="resume=True"):
        pg.encode(VALUES, url, **OPTIONS)
    assert {"unfinished", "missing"} <= {problem.kind for problem in pg.verify(url).problems}
    source = VALUES.copy()
    source[5] += 1  # its chunk is encoded again, and the others of its shard are kept
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PhotonWarning)
        report = pg.encode(source, url, **options)
    assert any("were there already" in note for note in report.notes) == (shards_written > 0)
    assert pg.verify(url, deep=True).ok
    assert zarr.open_group(str(url), mode="r")["0"].shards == (30, 17, 23)
    pg.encode(source, folder, layout="compact", **OPTIONS)
    np.testing.assert_array_equal(pg.open(url).counts[...], pg.open(folder).counts[...])


def test_a_killed_encode_is_overwritten(tmp_path, monkeypatch):
    url = tmp_path / "m.ome.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(Claim, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pg.encode(VALUES, url, resume=True, **OPTIONS)
    assert (url / "0/c/2/0/0").exists()
    pg.encode(VALUES[:20], url, overwrite=True, **OPTIONS)
    assert pg.verify(url).ok
    assert [path.name for path in tmp_path.iterdir()] == ["m.ome.zarr"]
