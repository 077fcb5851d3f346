"""The recorder of a soak test: it appends without end while store and spool fail at random."""

from __future__ import annotations

import random

import photon_gpu as pg
from tests.support.faults.faulty_disk import Failing
from tests.support.faults.faulty_object_store import ERRORS, Chance, FaultyFileSystem
from tests.support.faults.interrupted_recordings import frames, settings


def record_badly(connection, folder, name, spool, seed):
    """Append until killed; send ``(frames acknowledged, faults so far)`` after each batch."""
    chance = random.Random(seed)
    fs = FaultyFileSystem(folder + "/store")
    live = pg.LiveWriter(
        fs.storage(name),
        spool=spool,
        **settings(durability=chance.choice(["frame", "chunk"]), close_seconds=2.0),
    )
    fs.faults = Chance(seed, chance.choice([0.0, 0.05, 0.3]))
    rate = chance.choice([0.0, 0.01, 0.05])
    disk = Failing(lambda number, call: chance.choice([5, 28]) if chance.random() < rate else 0)
    taken = 0
    with disk.installed():
        for _ in range(chance.choice([3, 30, 300])):
            count = chance.randint(1, 9)
            live.append(frames(taken, taken + count), timestamp=list(range(taken, taken + count)))
            taken += count
            if chance.random() < 0.02:
                fs.away = chance.choice([None, *ERRORS])
            connection.send((live.acknowledged, sum(fs.injected.values()) + disk.failed))
        fs.away = None
        try:
            live.close()
        except pg.PhotonError:  # the spool's disk may fail until the end
            taken = live.acknowledged
    connection.send((taken, sum(fs.injected.values()) + disk.failed))
