"""Any order of appends, outages, kills, recoveries and closes, against a dictionary as model."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import photon_gpu as pg
from photon_gpu.errors import CorruptDataError, PhotonError, StoreNotFoundError
from photon_gpu.live.spool.spool import pending
from tests.support.faults.faulty_disk import Failing
from tests.support.faults.faulty_object_store import ERRORS, Chance, FaultyFileSystem
from tests.support.faults.interrupted_recordings import SHAPE, frames, in_child
from tests.support.faults.interrupted_recordings import settings as recording


def _serve(connection, folder, name, durability, with_spool):
    """A recording in a process of its own, which does as it is told."""
    fs = FaultyFileSystem(folder + "/store")
    spool = folder + "/spool" if with_spool else None
    queue = 1_000_000
    chance, rate = random.Random(0), [0.0]
    disk = Failing(lambda number, call: chance.choice([5, 28]) if chance.random() < rate[0] else 0)
    live = pg.LiveWriter(
        fs.storage(name),
        spool=spool,
        **recording(durability=durability, close_seconds=0.5, on_full="raise", queue_bytes=queue),
    )
    connection.send(0)
    with disk.installed():
        _obey(connection, live, fs, rate)


def _obey(connection, live, fs, rate):
    while True:
        command, *arguments = connection.recv()
        try:
            if command == "append":
                start, count = arguments
                live.append(frames(start, start + count), timestamp=list(range(start, start + count)))
            elif command == "away":
                fs.away = arguments[0]
            elif command == "faults":
                fs.faults = Chance(*arguments)
            elif command == "disk":
                rate[0] = arguments[0]
            elif command == "close":
                live.close()
        except PhotonError as error:
            connection.send((live.acknowledged, type(error).__name__))
        else:
            connection.send((live.acknowledged, None))


class Recordings(RuleBasedStateMachine):
    @initialize(durability=st.sampled_from(["frame", "chunk"]), with_spool=st.booleans())
    def begin(self, durability, with_spool):
        shm = Path("/dev/shm")
        self.folder = tempfile.mkdtemp(dir=shm if shm.is_dir() else None, prefix="photon-")
        self.durability = durability
        self.with_spool = with_spool or durability == "frame"
        self.names = 0
        self._new()

    def _new(self):
        self.names += 1
        self.name = f"{self.names}.zarr"
        self.connection, self.child = in_child(
            _serve, self.folder, self.name, self.durability, self.with_spool
        )
        assert self._answer() == 0
        self.appended, self.model, self.over, self.length = 0, {}, False, 0

    def _answer(self):
        assert self.connection.poll(30), "the recording hangs"
        return self.connection.recv()

    def _tell(self, *command):
        self.connection.send(command)
        acknowledged, error = self._answer()
        for t in range(len(self.model), acknowledged):
            self.model[t] = frames(t, t + 1)[0]
        return error

    @property
    def storage(self):
        return FaultyFileSystem(self.folder + "/store").storage(self.name)

    @precondition(lambda self: not self.over)
    @rule(count=st.integers(1, 11))
    def append(self, count):
        if self._tell("append", self.appended, count) is None:
            self.appended += count

    @precondition(lambda self: not self.over)
    @rule(fault=st.sampled_from([None, None, *ERRORS]))
    def away(self, fault):
        self._tell("away", fault)

    @precondition(lambda self: not self.over)
    @rule(seed=st.integers(0, 99), rate=st.sampled_from([0.0, 0.2, 0.5]))
    def faults(self, seed, rate):
        self._tell("faults", seed, rate)

    @precondition(lambda self: not self.over)
    @rule(rate=st.sampled_from([0.0, 0.0, 0.1]))
    def disk(self, rate):
        """The spool's disk: EIO and ENOSPC."""
        self._tell("disk", rate)

    @precondition(lambda self: not self.over)
    @rule()
    def close(self):
        error = self._tell("close")
        assert error in (None, "StoreUnavailableError")
        self.over = True
        if error is None:
            assert len(self.model) == self.appended
            self._check()
        self.kill()

    @rule()
    def kill(self):
        self.child.kill()
        self.child.join()
        spool = self.folder + "/spool"
        where = spool if pending(spool) else self.storage
        try:
            report = pg.recover(where, url=self.storage)
        except StoreNotFoundError:
            assert not self.model
        else:
            assert len(self.model) <= report.frames <= self.appended and not report.lost
        self._check()
        assert not pending(spool)
        self._new()

    def _check(self):
        try:
            movie = pg.open(self.storage, workers=1)
        except StoreNotFoundError:
            assert not self.model
            return
        counts = movie.counts[...]
        assert len(self.model) <= len(counts) <= self.appended
        for t, expected in self.model.items():
            assert np.array_equal(counts[t], expected)
        assert np.array_equal(counts, frames(0, len(counts)))
        assert pg.verify(self.storage).ok

    @invariant()
    def a_reader_sees_a_prefix_that_grows(self):
        if not hasattr(self, "folder"):
            return
        try:
            movie = pg.open(self.storage, workers=1)
        except StoreNotFoundError:
            assert self.length == 0
            return
        except CorruptDataError as error:
            raise AssertionError("a reader saw a store in between") from error
        assert len(movie) >= self.length
        assert movie.shape[1:] == SHAPE
        self.length = len(movie)
        assert np.array_equal(movie.counts[...], frames(0, self.length))

    def teardown(self):
        if hasattr(self, "child"):
            self.child.kill()
            self.child.join()
            shutil.rmtree(self.folder, ignore_errors=True)


TestRecordings = Recordings.TestCase
TestRecordings.settings = settings(
    max_examples=int(os.environ.get("EXAMPLES", "8")),
    stateful_step_count=15,
    deadline=None,
    derandomize="CI_RANDOM" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
