"""Buffers are counted to the line that makes them; a copy more than there was is seen."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from benchmarks import buffer_copies
from photon_gpu import indexing


def test_what_a_line_allocates_is_counted_to_it_even_if_it_is_gone_at_once():
    watch, frames = buffer_copies.Watch(), np.arange(-100_000, 0)
    watch.run(lambda: indexing.Selection(frames, (200_000, 2, 2)))
    lines = {line.split(":")[0] for line in watch.lines}
    assert lines == {"indexing.py"}
    # Two of eight bytes are added and chosen from, and comparisons of one byte come and go.
    assert 2 * 800_000 < sum(watch.lines.values()) < 6 * 800_000


def test_what_an_unrelated_thread_allocates_in_one_call_is_not_counted():
    frames, others = np.arange(-100_000, 0), iter([50_000_000])

    def action():
        thread = threading.Thread(target=lambda: np.empty(next(others, 0), np.uint8))
        thread.start()
        thread.join()
        indexing.Selection(frames, (200_000, 2, 2))

    assert 2 * 800_000 < sum(buffer_copies.fewest(action).values()) < 6 * 800_000


# Bytes allocated per raw byte of a chunk of two-byte samples, beside memory that threads keep; each figure is
# of buffers that are named beside it.
MOST = {
    ("compact", "write"): 0.85,  # payload of half a byte; compressed bytes twice
    ("compact", "read"): 1.4,  # the result; compressed bytes twice
    ("plain", "write"): 0.6,  # compressed bytes twice
    ("plain", "read"): 1.7,  # the result; compressed bytes twice
    ("lossless", "write"): 0.85,  # compressed bytes once
    ("lossless", "read"): 1.9,  # the result; compressed bytes twice
}


@pytest.mark.parametrize("layout", ["compact", "plain", "lossless"])
def test_no_layout_makes_more_buffers_than_are_known(layout):
    for what, lines in buffer_copies.count(layout, 100, 256).items():
        assert 0.2 < sum(lines.values()) < MOST[layout, what], lines.most_common(12)


def test_zarr_reads_the_same(capsys):
    rows = buffer_copies.beside_zarr(20, 64, 1)
    assert len(rows) == 12 and all(row["ms"] > 0 for row in rows)
