"""What is kept of chunks is bounded, by number and by bytes."""

from __future__ import annotations

from photon_gpu.reader.chunk_cache import MOST_BYTES, STORED, ChunkCache


def test_the_oldest_of_a_kind_goes_first():
    cache = ChunkCache()
    for number in range(4):
        cache.put(number, STORED, f"file {number}", 1)
        cache.put(number, "uint16", f"counts {number}", 1)
    assert [cache.get(n, STORED) for n in range(4)] == [None, None, "file 2", "file 3"]
    assert [cache.get(n, "uint16") for n in range(4)] == [None, None, "counts 2", "counts 3"]
    assert cache.get(3, "stabilized") is None


def test_bytes_are_bounded_however_few_chunks_they_are():
    cache = ChunkCache()
    cache.put(0, "uint16", "large", MOST_BYTES - 1)
    cache.put(1, "uint16", "small", 2)
    assert cache.get(0, "uint16") is None and cache.get(1, "uint16") == "small"
    cache.put(2, "uint16", "too large", MOST_BYTES + 1)
    assert cache.get(2, "uint16") is None and cache.get(1, "uint16") == "small"


def test_a_chunk_was_asked_for_before_if_it_was_one_of_the_last_two():
    cache = ChunkCache()
    assert [cache.asked_before(n) for n in (1, 1, 2, 1, 3, 2, 1)] == [
        False,
        True,
        False,
        True,
        False,
        True,
        False,
    ]
