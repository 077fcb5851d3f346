"""An interrupt (Ctrl-C) at any moment: nothing is lost, and what follows goes on."""

from __future__ import annotations

import itertools
import linecache
import os
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest

import photon_gpu as pg
from photon_gpu.encode_settings import RecordSettings


class InterruptAtLine:
    """Raises KeyboardInterrupt in the n-th line that this thread runs in functions of these names.

    Python delivers no signal between the body of a ``with`` block and its exit, so those lines do not count.
    """

    def __init__(self, at, names):
        self.left, self.names = at, names

    def __enter__(self):
        sys.settrace(self._called)

    def __exit__(self, *error):
        sys.settrace(None)

    def _called(self, frame, event, argument):
        ours = f"photon_gpu{os.sep}live" in frame.f_code.co_filename and frame.f_code.co_name in self.names
        return self._passed if ours else None

    def _passed(self, frame, event, argument):
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not line.lstrip().startswith("with "):
            self.left -= 1
            if not self.left:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._passed


ACCEPT = ("_accept", "_settle", "_next_chunk", "add", "take", "submit", "follow")


@pytest.mark.parametrize("durability", ["chunk", "frame"])
def test_a_recording_goes_on_after_an_interrupt_at_any_line_of_an_append(memory_disk, durability):
    movie = np.arange(42, dtype="int16").reshape(7, 2, 3)
    settings = RecordSettings(
        layout="lossless",
        chunk_frames=4,
        workers=1,
        durability=durability,
        close_seconds=2.0,
        publish_seconds=0.0,
    )
    for at in itertools.count(1, 2):
        url, interrupt = memory_disk / f"{at}.zarr", InterruptAtLine(at, ACCEPT)
        with pg.LiveWriter.with_settings(settings, url, frame_shape=(2, 3), dtype="int16") as live:
            live.append(movie[:3])
            with suppress(KeyboardInterrupt), interrupt:
                live.append(movie[3:5])  # fills a chunk and begins the next
            live.append(movie[5:])
        stored = pg.open(url).counts[...]
        possible = [np.concatenate([movie[: 3 + kept], movie[5:]]) for kept in range(3)]
        assert any(np.array_equal(stored, one) for one in possible), f"line {at}: {len(stored)} frames"
        if interrupt.left > 0:
            break
    assert at > 40 and len(stored) == 7


def test_a_second_close_or_a_recovery_finishes_after_an_interrupt_at_any_line_of_the_first(memory_disk):
    movie = np.arange(42, dtype="int16").reshape(7, 2, 3)
    settings = RecordSettings(
        layout="lossless", chunk_frames=4, workers=1, durability="frame", close_seconds=0.5
    )
    for at in itertools.count(1):
        url, interrupt = memory_disk / f"{at}.zarr", InterruptAtLine(at, ("close", "_submit_rest", "_end"))
        live = pg.LiveWriter.with_settings(settings, url, frame_shape=(2, 3), dtype="int16")
        live.append(movie)
        with suppress(KeyboardInterrupt), interrupt:
            live.close()
        again = threading.Thread(target=live.close, daemon=True)
        again.start()
        again.join(20.0)
        assert not again.is_alive(), f"line {at}: the second close waits for ever"
        assert pg.recover(url).frames == 7, f"line {at}"
        assert np.array_equal(pg.open(url).counts[...], movie), f"line {at}"
        if interrupt.left > 0:
            break
    assert at > 15
