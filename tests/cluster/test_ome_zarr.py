"""OME-Zarr movies over a cluster: whole shards per worker, the same bytes as one machine."""

from __future__ import annotations

import dask.array as da
import pytest

import photon_gpu as pg
from photon_gpu.cluster.encode_many import encode_many
from photon_gpu.errors import BatchError
from photon_gpu.store.ome_zarr import shards
from tests.support.cluster_settings import SETTINGS, stored
from tests.support.faults.killing_sources import Deadly

OPTIONS = {**SETTINGS, "pyramid": 1}


@pytest.fixture(autouse=True)
def three_chunks_in_a_shard(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 3 * 20 * 40 * 48 * 2)


@pytest.fixture
def expected(counts, tmp_path):
    pg.encode(counts, tmp_path / "one" / "m.ome.zarr", **OPTIONS)
    return stored(tmp_path / "one" / "m.ome.zarr")


def test_a_killed_worker_costs_its_shard_and_every_source_gives_the_bytes_of_one_machine(
    client, counts, on_disk, expected, tmp_path
):
    deadly = Deadly(tmp_path, on_disk, killer=85)
    sources = [deadly, counts, da.from_array(counts, chunks=(60, 40, 48))]
    urls = [tmp_path / str(number) / "m.ome.zarr" for number in range(len(sources))]
    report = encode_many(sources, urls, client=client, **OPTIONS)
    assert report.lost_workers == 1
    for url in urls:
        assert stored(url) == expected


def test_resume_goes_on_from_whole_shards(client, on_disk, expected, tmp_path):
    url = tmp_path / "m.ome.zarr"
    with pytest.raises(BatchError):
        broken = Deadly(tmp_path, on_disk, broken=190)
        encode_many([broken], [url], client=client, resume=True, **OPTIONS)
    # A worker of the failed encode may still read; a running task of Dask cannot be stopped.
    (tmp_path / "mended").mkdir()
    mended = Deadly(tmp_path / "mended", on_disk)
    report = encode_many([mended], [url], client=client, resume=True, **OPTIONS)
    levels, note = report.reports[0].notes
    assert levels.startswith("pyramid levels take ")
    kept = int(note.split()[0])
    assert note.endswith("chunks were there already, and whole")
    assert kept > 0
    assert kept % 3 == 0
    assert len(mended.reads(20)) == 10 - kept
    assert stored(url) == expected
