"""SIGKILL at every disk call and at random times: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import random
import shutil
import time
from unittest import mock

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.errors import StoreNotFoundError
from photon_gpu.live.spool.spool import pending
from tests.support.faults.faulty_disk import Disk, Killing
from tests.support.faults.interrupted_recordings import (
    check_prefix,
    frames,
    in_child,
    record,
    recovered,
    told_until_end,
    whole_chunks_acknowledged,
)
from tests.support.hostile_input_counts import counted

BATCHES = [1, 2, 3, 4, 4]
FRAMES = sum(BATCHES)


def _record(connection, url, spool, durability, at):
    disk = Killing(at) if at else Disk()
    with disk.installed():
        record(url, spool, BATCHES, connection.send, whole_chunks_acknowledged, durability=durability)
    connection.send(("calls", disk.calls))


def _calls(folder, durability):
    here, child = in_child(_record, str(folder / "m.zarr"), str(folder / "spool"), durability, 0)
    name, calls = told_until_end(here, child)
    assert name == "calls" and pg.open(folder / "m.zarr").shape[0] == FRAMES
    shutil.rmtree(folder / "m.zarr")
    return calls


@pytest.mark.parametrize("durability", ["frame", "chunk"])
def test_killed_at_every_call_that_changes_the_disk(memory_disk, durability):
    calls = _calls(memory_disk, durability)
    assert calls > 40  # the recording really goes through the disk that counts
    died = 0
    for at in range(1, calls + 1):
        url, spool = str(memory_disk / f"{at}.zarr"), str(memory_disk / f"{at}.spool")
        here, child = in_child(_record, url, spool, durability, at)
        acknowledged = told_until_end(here, child)
        if child.exitcode == 0:  # threads interleave anew each time, and this time there were fewer calls
            assert acknowledged[0] == "calls"
            continue
        died += 1
        assert child.exitcode == -9
        with counted("kills at every disk call"):
            recovered(url, spool, acknowledged, FRAMES)
    assert died > calls * 0.7


def _record_without_spool(connection, url, at):
    with Killing(at).installed():
        record(url, None, BATCHES, connection.send, whole_chunks_acknowledged)


def test_killed_without_a_spool_keeps_what_was_published(memory_disk):
    published = 0
    for at in range(1, 120, 2):
        url = str(memory_disk / f"{at}.zarr")
        here, child = in_child(_record_without_spool, url, at)
        acknowledged = told_until_end(here, child)
        if child.exitcode == 0:
            break
        if os.path.exists(url):
            report = recovered(url, None, acknowledged, FRAMES)
            published += report.frames if report else 0
    assert published


def _record_slowly(connection, url, spool, seed):
    chance = random.Random(seed)
    record(
        url,
        spool,
        [chance.randint(1, 9) for _ in range(500)],
        connection.send,
        between=lambda live: time.sleep(chance.random() * 0.004),
        durability="frame",
    )


def test_a_recording_killed_at_random_keeps_every_acknowledged_frame(memory_disk):
    chance = random.Random(7)
    survived = 0
    for n in range(12):
        url, spool = str(memory_disk / f"{n}.zarr"), str(memory_disk / f"{n}.spool")
        here, child = in_child(_record_slowly, url, spool, n)
        time.sleep(chance.uniform(0.02, 0.6))
        child.kill()
        acknowledged = told_until_end(here, child)
        report = recovered(url, spool, acknowledged, 500 * 9)
        survived += report.frames if report else 0
    assert survived


def _recover_killed(connection, spool, at):
    with Killing(at).installed():
        pg.recover(spool, workers=1)


def test_recovery_itself_may_be_killed(memory_disk):
    url, spool = str(memory_disk / "m.zarr"), str(memory_disk / "spool")
    here, child = in_child(_record, url, spool, "frame", 70)
    acknowledged = told_until_end(here, child)
    assert child.exitcode == -9 and pending(spool)
    deaths = 0
    for at in [1, 2, 3, 5, 8, 11, 14, 17, 20]:
        if not pending(spool):
            break
        here, child = in_child(_recover_killed, spool, at)
        told_until_end(here, child)
        deaths += child.exitcode == -9
    assert deaths >= 5
    recovered(url, spool, acknowledged, FRAMES)


def _encode(connection, url, at):
    disk = Killing(at) if at else Disk()
    with disk.installed(), mock.patch("photon_gpu.writer.scheduler._LIST_SECONDS", 0.0):
        pg.encode(
            frames(0, 22),
            url,
            chunk_frames=4,
            layout="compact",
            preset="fast",
            workers=1,
            noise=pg.NoiseModel(),
            check=False,
        )
    connection.send(disk.calls)


def _chunks(url):
    """Inodes of the chunks that are there: a file that is written again has another."""
    return {path.name: path.stat().st_ino for path in url.glob("[0-9]*.0.0")}


def test_encode_killed_at_every_call_leaves_a_movie_or_none_and_resumes(memory_disk):
    here, child = in_child(_encode, str(memory_disk / "whole"), 0)
    calls = told_until_end(here, child)
    assert calls > 30
    kept = 0
    for at in range(1, calls + 1):
        url = memory_disk / f"{at}.zarr"
        here, child = in_child(_encode, str(url), at)
        told_until_end(here, child)
        if child.exitcode == 0:
            continue
        try:
            check = np.array_equal(pg.open(url).counts[...], frames(0, 22))
            assert check  # what opens is whole
        except StoreNotFoundError:
            pass
        begun, whole = (url / ".photon-writing").exists(), (url / ".zarray").exists()
        there = _chunks(url) if begun else {}
        report = pg.encode(
            frames(0, 22),
            url,
            chunk_frames=4,
            layout="compact",
            preset="fast",
            resume=begun,
            overwrite=whole and not begun,
            noise=pg.NoiseModel(),
            check=False,
        )
        assert np.array_equal(pg.open(url).counts[...], frames(0, 22))
        assert not (url / ".photon-writing").exists()
        assert _chunks(url).items() >= there.items()  # no whole chunk is done again
        if there:
            assert f"{len(there)} chunks were there already" in report.notes[-1]
        kept += len(there)
    assert kept > 20


def test_check_prefix_can_fail(memory_disk):
    """The invariant's own check sees a lost, a doubled and a changed frame."""
    for wrong in (frames(0, 3), np.concatenate([frames(0, 2), frames(1, 3)]), frames(0, 4)[::-1]):
        with pg.LiveWriter(
            memory_disk / f"{len(wrong)}{wrong[0, 0, 0]}{wrong[1, 0, 0]}{wrong[2, 0, 0]}.zarr",
            frame_shape=wrong.shape[1:],
            dtype="uint16",
            noise=pg.NoiseModel(),
            check=False,
        ) as live:
            live.append(wrong, timestamp=list(range(len(wrong))))
        with pytest.raises(AssertionError):
            check_prefix(pg.open(live.url), 4, 4)
