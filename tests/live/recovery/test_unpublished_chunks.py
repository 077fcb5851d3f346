"""Chunks that follow on what is published are found as far as they prove that they are whole."""

from __future__ import annotations

import pytest

import photon_gpu as pg
from photon_gpu.live.recovery.published_part import describe
from photon_gpu.live.recovery.unpublished_chunks import unpublished
from photon_gpu.store import manifest
from photon_gpu.store.storage import Storage
from tests.support.faults.interrupted_recordings import CHUNK, NOISE, frames

LENGTH = 2 * CHUNK + 2


def stored(layout="compact", *, name):
    storage = Storage.at(f"memory://unpublished-{name}.zarr")
    pg.encode(
        frames(0, LENGTH),
        storage,
        chunk_frames=CHUNK,
        layout=layout,
        noise=NOISE,
        preset="fast",
        workers=1,
        overwrite=True,
    )
    return storage, describe(storage)


@pytest.mark.parametrize(("seen", "expected"), [(0, [4, 4, 2]), (4, [4, 2]), (8, [2]), (10, []), (12, [])])
def test_whole_chunks_in_order_the_partial_one_last(seen, expected):
    storage, description = stored(name="order")
    result = list(unpublished(storage, seen, description))
    assert [count for count, _ in result] == expected
    for number, (_, files) in enumerate(result, seen // CHUNK):
        name = f"{number}.0.0"
        assert files == {name: manifest.entry(storage.read(name))}


def test_the_first_chunk_that_is_not_whole_is_the_end():
    storage, description = stored(name="end")
    for content in (b"", b"{", storage.read("2.0.0")[:-1]):
        storage.write("1.0.0", content)
        assert [count for count, _ in unpublished(storage, 0, description)] == [4]
    storage.delete("1.0.0")
    assert [count for count, _ in unpublished(storage, 0, description)] == [4]


@pytest.mark.parametrize("layout", ["plain", "lossless"])
def test_chunks_without_a_checksum_of_their_own_are_not_trusted(layout):
    storage, description = stored(layout, name=layout)
    assert not list(unpublished(storage, 0, description))
