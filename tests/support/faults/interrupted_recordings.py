"""Recordings that tests interrupt: the appended frames, the child processes, and the checks."""

from __future__ import annotations

import multiprocessing

import numcodecs.blosc
import numpy as np

import photon_gpu as pg
from photon_gpu.errors import StoreNotFoundError
from photon_gpu.live.spool.spool import pending
from photon_gpu.reader.movie import Movie
from photon_gpu.store.storage import Storage
from tests.support.waiting import wait_until

NOISE = pg.NoiseModel(gain=1.0)
SHAPE = (6, 7)
CHUNK = 4

# The threads of Blosc do not survive a fork, and children of the fork server use Blosc.
numcodecs.blosc.use_threads = False
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["pytest", "tests.support.faults.interrupted_recordings", "tests.support.faults.faulty_disk"]
)


def frame(number):
    """Make frame ``number`` of every recording: counts 0 to 7, which every layout keeps exactly."""
    return np.random.default_rng(number).integers(0, 8, SHAPE).astype("uint16")


def frames(start, stop):
    return np.stack([frame(n) for n in range(start, stop)])


def settings(**changes):
    return {
        "frame_shape": SHAPE,
        "dtype": "uint16",
        "noise": NOISE,
        "chunk_frames": CHUNK,
        "workers": 1,
        "publish_seconds": 0.0,
        "close_seconds": 10.0,
        **changes,
    }


# Children are forked with kernels and tables loaded.
for _layout in ("compact", "plain", "lossless"):
    pg.encode(
        frames(0, 5),
        f"memory://warm-{_layout}",
        layout=_layout,
        noise=NOISE,
        preset="fast",
        workers=1,
        overwrite=True,
    )


def record(url, spool, batches, tell=lambda count: None, between=lambda live: None, **changes):
    """Append batches; after each, call ``tell`` with the number of acknowledged frames."""
    with pg.LiveWriter(url, spool=spool, **settings(**changes)) as live:
        number = _append(live, batches, tell, between)
    tell(number)


def record_into(table, key, batches, tell, **changes):
    """Append batches to the movie of a row; after each, call ``tell`` as :func:`record` does."""
    from photon_gpu.dj import record as begin

    with begin(table, key, "movie", **settings(**changes)) as live:
        tell(0)
        number = _append(live, batches, tell)
    tell(number)


def _append(live, batches, tell, between=lambda live: None):
    number = 0
    for count in batches:
        tell(live.append(frames(number, number + count), timestamp=list(range(number, number + count))))
        number += count
        between(live)
        tell(live.acknowledged)
    return number


def whole_chunks_acknowledged(live):
    """Wait until the frames of all complete chunks are acknowledged."""
    wait_until(lambda: live.acknowledged >= live.status().frames_in // CHUNK * CHUNK)


def check_prefix(movie: Movie, acknowledged, appended):
    """Check that a movie has every acknowledged frame, once, in order, and no frame never appended."""
    stored = np.asarray(movie.counts[...])
    assert acknowledged <= len(stored) <= appended, (acknowledged, len(stored), appended)
    assert np.array_equal(stored, frames(0, len(stored)))
    assert movie.timestamps is not None
    assert movie.timestamps.tolist() == list(range(len(stored)))


def recovered(url, spool, acknowledged, appended, **options):
    """Recover, check with :func:`check_prefix`, and check that a second recovery changes nothing."""
    where = spool if spool is not None and pending(spool) else url
    try:
        report = pg.recover(where, url=url if where == spool else None, **options)
    except StoreNotFoundError:
        assert acknowledged == 0 and not Storage.at(url).names()
        return None
    if report.frames == 0:
        assert acknowledged == 0
        return report
    check_prefix(pg.open(url, workers=1), acknowledged, appended)
    assert pg.recover(url).frames == report.frames
    assert spool is None or not pending(spool)
    return report


def in_child(target, *args):
    """Call ``target`` in a forked process that may be killed; return its connection and the process."""
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=target, args=(there, *args), daemon=True)
    process.start()
    there.close()
    return here, process


def told_until_end(connection, process, seconds=60.0):
    """Return the last count that a child sent before it ended."""
    last = 0
    while connection.poll(seconds):
        try:
            last = connection.recv()
        except EOFError:
            break
    else:
        process.kill()
        raise AssertionError("the child hangs")
    process.join()
    return last
