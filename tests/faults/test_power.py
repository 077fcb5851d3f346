"""A power cut: what was not synced may be gone, in any part. Acknowledged frames are not."""

from __future__ import annotations

import random
import shutil
import time

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import StoreNotFoundError
from photon_gpu.live.spool.spool import pending
from photon_gpu.store import durable
from photon_gpu.store.claim import Claim
from photon_gpu.store.ome_zarr import shards
from tests.support.faults.faulty_disk import Powered
from tests.support.faults.faulty_object_store import FaultyFileSystem
from tests.support.faults.interrupted_recordings import (
    check_prefix,
    frames,
    record,
    recovered,
    whole_chunks_acknowledged,
)

BATCHES = [1, 2, 3, 4, 4]
FRAMES = sum(BATCHES)


class Cutting(Powered):
    """Makes the disk that a power cut would leave, at every call, and notes what was acknowledged then."""

    def __init__(self, root, out, every):
        super().__init__(root)
        self.out, self.every = out, every
        self.acknowledged = 0
        self.cuts = []

    def changed(self, name, real, args):
        with self.lock:
            if self.calls % self.every == 0:
                acknowledged = self.acknowledged  # before the disk: frames told later are not owed
                folder = self.out / str(self.calls)
                self.after_power_cut(folder, seed=self.calls)
                self.cuts.append((folder, acknowledged))
            return super().changed(name, real, args)


def encode_22(url, **options):
    """Encode 22 frames in chunks of four, as OME-Zarr with a pyramid level."""
    options |= {"pyramid": int(url.name == "m.ome.zarr"), "noise": pg.NoiseModel(), "check": False}
    pg.encode(frames(0, 22), url, chunk_frames=4, preset="fast", **options)


@pytest.fixture(params=["m.zarr", "m.ome.zarr"], ids=["folder", "ome-zarr"])
def name(request, monkeypatch):
    """Name of the movie, which implies its container; a shard holds two chunks."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 2 * frames(0, 4).nbytes)
    return request.param


def _cuts(root, out, durability, name):
    disk = Cutting(root, out, every=2)

    def tell(count):
        disk.acknowledged = count

    with disk.installed():
        record(
            str(root / name),
            str(root / "spool"),
            BATCHES,
            tell,
            whole_chunks_acknowledged,
            durability=durability,
        )
    disk.after_power_cut(out / "end", seed=0)
    return [*disk.cuts, (out / "end", FRAMES)]


@pytest.mark.parametrize("durability", ["frame", "chunk"])
def test_power_cut_at_every_second_call(memory_disk, durability, name):
    cuts = _cuts(memory_disk / "disk", memory_disk / "after", durability, name)
    assert len(cuts) > 40
    owed = 0
    for folder, acknowledged in cuts:
        url, spool = str(folder / name), str(folder / "spool")
        owed += acknowledged
        if pending(spool):
            recovered(url, spool, acknowledged, FRAMES)
            continue
        try:
            movie = pg.open(url, workers=1)
        except StoreNotFoundError:
            assert acknowledged == 0
        else:
            check_prefix(movie, acknowledged, FRAMES)
    assert owed > FRAMES


class Forgetting(Cutting):
    """Every few syncs of a file fail, and what they were to write is lost, although the next sync works."""

    def __init__(self, root, out, every):
        super().__init__(root, out, every)
        self.chance, self.failed = random.Random(3), 0

    def changed(self, name, real, args):
        with self.lock:
            if name in ("fsync", "fdatasync") and self.acknowledged and self.chance.random() < 0.3:
                self.forget(args[0])
                self.failed += 1
                raise OSError(5, "Input/output error")
            return super().changed(name, real, args)


def test_a_sync_that_failed_is_never_trusted(memory_disk):
    """The store is away, so that nothing but the spool's disk holds the frames."""
    disk = Forgetting(memory_disk / "disk", memory_disk / "after", every=3)
    fs = FaultyFileSystem(memory_disk / "store")

    def tell(count):
        disk.acknowledged = count
        fs.away = "503" if count < FRAMES else None

    with disk.installed():
        record(fs.storage(), str(memory_disk / "disk/spool"), [1] * FRAMES, tell, durability="frame")
    assert disk.failed > 5
    owed = 0
    for folder, acknowledged in disk.cuts:
        if acknowledged < FRAMES and pending(folder / "spool"):
            recovered(str(folder / "m.zarr"), str(folder / "spool"), acknowledged, FRAMES)
            owed += acknowledged
    assert owed > 2 * FRAMES


def test_the_model_sees_a_sync_that_is_left_out(memory_disk, monkeypatch, name):
    """Plant the bug: files that are not synced before they are renamed. The test above must fail then."""
    monkeypatch.setattr(durable, "sync_folder", lambda path: None)
    with pytest.raises((AssertionError, OSError, pg.PhotonError)):
        test_power_cut_at_every_second_call(memory_disk, "frame", name)


def test_encode_survives_a_power_cut_once_it_returned(memory_disk, name):
    disk = Powered(memory_disk / "disk")
    with disk.installed():
        encode_22(memory_disk / "disk" / name, workers=1)
    for seed in range(5):
        folder = memory_disk / str(seed)
        disk.after_power_cut(folder, seed)
        assert np.array_equal(pg.open(folder / name, workers=1).counts[...], frames(0, 22))
        shutil.rmtree(folder)


def test_an_encode_that_a_power_cut_ended_goes_on_wherever_it_was(memory_disk, name):
    """However long it takes to note the plan for good."""
    disk = Cutting(memory_disk / "disk", memory_disk / "after", every=2)
    note = Claim.note
    with disk.installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Claim, "note", lambda self, **facts: (time.sleep(0.3), note(self, **facts))[1])
        encode_22(memory_disk / "disk" / name, workers=2)
    assert len(disk.cuts) > 15
    for folder, _ in disk.cuts:
        url = folder / name
        if not (url / (".zarray" if name == "m.zarr" else "zarr.json")).exists():
            encode_22(url, workers=1, resume=True)
        assert all(problem.kind == "unfinished" for problem in pg.verify(url).problems)
        assert np.array_equal(pg.open(url, workers=1).counts[...], frames(0, 22))
        shutil.rmtree(folder)
