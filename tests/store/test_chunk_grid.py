"""How frames are divided into chunks, and which file names are those of chunks."""

from __future__ import annotations

import pytest

from photon_gpu.store.chunk_grid import ChunkGrid, chunk_count, chunk_number


def test_chunk_names_have_one_number_per_axis():
    assert ChunkGrid((40, 8, 8), (10, 8, 8)).chunk_name(3) == "3.0.0"
    assert ChunkGrid((400, 1, 1, 8, 8), (10, 1, 1, 8, 8)).chunk_name(12) == "12.0.0.0.0"


@pytest.mark.parametrize(("frames", "size", "count"), [(1, 10, 1), (10, 10, 1), (11, 10, 2), (0, 10, 0)])
def test_the_last_chunk_holds_the_frames_that_are_left(frames, size, count):
    grid = ChunkGrid((frames, 4, 4), (size, 4, 4))
    assert grid.chunk_count == chunk_count(frames, size) == count
    assert [n for number in range(count) for n in grid.frames_of(number)] == list(range(frames))


@pytest.mark.parametrize(
    "name", ["3", "03.0.0", "3.0.1", "٣.0.0", "3.0.0.tmp", "-1.0.0", "1" * 18 + ".0", ".zarray"]
)
def test_other_names_are_no_chunks(name):
    assert chunk_number(name) is None
    assert chunk_number("3.0.0") == 3 and chunk_number("0.0.0") == 0
