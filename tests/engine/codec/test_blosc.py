"""Frames block by block: the bytes numcodecs would write, any part of them back, no trust in headers."""

from __future__ import annotations

import contextlib
import json
import struct
from concurrent.futures import ThreadPoolExecutor

import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_gpu.engine.codec.blosc import (
    Compressor,
    c_functions,
    compress,
    compress_blocks,
    compress_bytes,
    decompress,
    decompress_span,
    frame_sizes,
)
from photon_gpu.engine.codec.blosc import compression as blosc_compression
from photon_gpu.engine.codec.blosc import decompression as blosc_decompression
from photon_gpu.engine.codec.blosc import huffman as blosc_huffman
from photon_gpu.engine.runtime.buffers import Buffers
from photon_gpu.engine.runtime.pool import Split
from photon_gpu.errors import CorruptDataError, InvalidInputError


@pytest.fixture(autouse=True)
def one_thread():
    """numcodecs' threads write blocks in the order they finish; without them the bytes repeat."""
    before, numcodecs.blosc.use_threads = numcodecs.blosc.use_threads, False
    yield
    numcodecs.blosc.use_threads = before


def contents(content: str, count: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(count)
    if content == "noise":  # does not compress
        return np.frombuffer(rng.bytes(count * np.dtype(dtype).itemsize), dtype)
    if content == "half":  # some blocks compress, some do not
        values = np.frombuffer(rng.bytes(count * np.dtype(dtype).itemsize), dtype).copy()
        values[count // 2 :] = 1
        return values
    if content == "zeros":
        return np.zeros(count, dtype)
    return rng.poisson(12, count).astype(dtype)


CONTENTS = ["photons", "noise", "half", "zeros"]


@given(
    cname=st.sampled_from(["zstd", "lz4", "zlib", "blosclz", "lz4hc"]),
    clevel=st.sampled_from([0, 1, 5, 9]),
    shuffle=st.sampled_from([0, 1, 2]),
    blocksize=st.sampled_from([0, 1024, 4096, 1 << 14, 1 << 16, 10_000]),
    dtype=st.sampled_from(["u1", "<u2", "<f8", "<i4"]),
    content=st.sampled_from(CONTENTS),
    count=st.integers(1, 40_000) | st.sampled_from([1 << 13, 1 << 14, (1 << 14) + 1, 1 << 16, (1 << 16) + 7]),
)
@settings(deadline=None, max_examples=250, derandomize=True)
def test_the_bytes_are_those_of_numcodecs(cname, clevel, shuffle, blocksize, dtype, content, count):
    data = contents(content, count, dtype)
    compressor = Compressor(cname=cname, clevel=clevel, shuffle=shuffle, blocksize=blocksize)
    frame = compress(data, compressor)
    assert frame == bytes(numcodecs.get_codec(compressor.to_dict()).encode(data))
    assert decompress(frame, data.nbytes).tobytes() == data.tobytes()


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(
    "text", ["zstd-1-byte-1048576", "zstd-1-none-1048576", "zstd-5-bitshuffle", "zstd-3-bit-300000"]
)
def test_large_buffers_are_joined_from_parts_that_ran_in_parallel(text, content):
    data = contents(content, (5 << 20) // 8 + 12345, "<f8")
    compressor = Compressor.parse(text)
    with ThreadPoolExecutor(3) as pool:
        frame = compress(data, compressor, Split(3, pool.map))
        assert frame == bytes(numcodecs.get_codec(compressor.to_dict()).encode(data))
        assert decompress(frame, data.nbytes, Split(3, pool.map)).tobytes() == data.tobytes()


def test_items_are_made_a_few_blocks_at_a_time_and_once(monkeypatch):
    monkeypatch.setattr(blosc_compression, "_MADE_AT_ONCE", 1 << 20)
    asked = []

    def items(start, stop):
        asked.append((start, stop))
        return np.arange(start, stop, dtype="<u4") % 1000

    frame = compress_blocks(items, 3_000_000, 4, Compressor(blocksize=1 << 18))
    assert max(stop - start for start, stop in asked) <= 2 << 18 and len(asked) > 10
    assert sorted(asked)[0][0] == 0 and sum(stop - start for start, stop in asked) == 3_000_000
    assert decompress(frame, 12_000_000).view("<u4").tolist() == (np.arange(3_000_000) % 1000).tolist()


@pytest.mark.parametrize("content", CONTENTS)
def test_items_may_be_made_in_the_same_memory_each_time(monkeypatch, content):
    monkeypatch.setattr(blosc_compression, "_MADE_AT_ONCE", 1 << 20)
    data = contents(content, 1 << 20, "u4")
    memory = np.empty(1 << 20, "u4")

    def items(start, stop):
        memory[: stop - start] = data[start:stop]
        return memory[: stop - start]

    frame = compress_blocks(items, data.size, 4, Compressor(blocksize=1 << 16))
    np.testing.assert_array_equal(decompress(frame, data.nbytes).view("u4"), data)


def test_a_frame_in_a_buffer_that_was_used_before_is_the_same():
    buffers, compressor = Buffers(), Compressor(blocksize=1 << 16)
    for count in (100_000, 90_000, 200_000):
        data = contents("photons", count, "u2")
        frame = compress(data, compressor, buffers=buffers)
        assert bytes(frame) == compress(data, compressor)
        assert decompress(frame, data.nbytes).tobytes() == data.tobytes()
        buffers.give(frame.obj)


def test_without_the_functions_of_the_library_numcodecs_is_asked(monkeypatch):
    """Where its Blosc exports nothing, as on Windows."""
    data, compressor = contents("photons", 100_000, "u2"), Compressor(blocksize=1 << 14)
    frame = compress(data, compressor)
    monkeypatch.setattr(c_functions, "c_library", lambda: None)
    assert compress(data, compressor) == frame
    assert bytes(compress(data, compressor, buffers=Buffers())) == frame
    assert decompress(frame, data.nbytes).tobytes() == data.tobytes()
    with pytest.raises(CorruptDataError):
        decompress(frame[:100] + bytes(100) + frame[200:], data.nbytes)


def test_frames_whose_blocks_lie_in_any_order_are_read():
    """As Blosc's own threads write them."""
    data = contents("photons", 1 << 20, "u1")
    frame = compress(data, Compressor(blocksize=1 << 16))
    count = 16
    starts = np.frombuffer(frame, "<i4", count, 16)
    ends = np.append(starts[1:], len(frame))
    order = np.random.default_rng(0).permutation(count)
    bodies, placed, at = [], np.zeros(count, "<i4"), 16 + 4 * count
    for block in order:
        placed[block] = at
        bodies.append(frame[starts[block] : ends[block]])
        at += len(bodies[-1])
    mixed = frame[:16] + placed.tobytes() + b"".join(bodies)
    assert mixed != frame
    assert decompress(mixed, data.nbytes).tobytes() == data.tobytes()
    assert decompress_span(mixed, 70_000, 900_000).tobytes() == data[70_000:900_000].tobytes()


@given(st.data())
@settings(deadline=None, max_examples=120, derandomize=True)
def test_any_span_is_that_part(data):
    content = data.draw(st.sampled_from(CONTENTS))
    count = data.draw(st.sampled_from([1, 5000, 1 << 16, 65_537, 200_000]))
    blocksize = data.draw(st.sampled_from([0, 1024, 1 << 14, 1 << 16]))
    values = contents(content, count, "u1")
    frame = compress(
        values, Compressor(blocksize=blocksize, shuffle=0, cname=data.draw(st.sampled_from(["zstd", "lz4"])))
    )
    start, stop = sorted(data.draw(st.tuples(st.integers(0, count), st.integers(0, count))))
    assert decompress_span(frame, start, stop).tobytes() == values[start:stop].tobytes()


def test_the_edges_of_spans():
    values = contents("photons", 1 << 17, "u1")
    frame = compress(values, Compressor(blocksize=1 << 16, shuffle=0))
    for start, stop in ((0, 0), (1 << 17, 1 << 17), (1 << 16, 1 << 16), (0, 1 << 17), (1 << 16, 1 << 17)):
        assert decompress_span(frame, start, stop).tobytes() == values[start:stop].tobytes()
    for start, stop in ((-1, 5), (5, 4), (0, (1 << 17) + 1)):
        with pytest.raises(CorruptDataError, match="are needed"):
            decompress_span(frame, start, stop)


def test_only_the_blocks_of_a_span_are_opened(monkeypatch):
    opened = []
    real = blosc_decompression.decode
    monkeypatch.setattr(
        blosc_decompression, "decode", lambda frame, out: (opened.append(out.nbytes), real(frame, out))
    )
    frame = compress(contents("photons", 1 << 20, "u1"), Compressor(blocksize=1 << 16, shuffle=0))
    decompress_span(frame, 300_000, 300_001)
    assert opened == [1 << 16]


@pytest.mark.parametrize("content", ["photons", "noise"])
def test_a_damaged_frame_is_an_error_or_the_right_length_never_a_crash(content):
    data = contents(content, 100_000, "u1")
    frame = compress(data, Compressor(blocksize=1 << 14, shuffle=0))
    rng = np.random.default_rng(0)
    positions = [*range(90), *rng.integers(90, len(frame), 60).tolist()]
    for position in positions:
        for flip in (0x01, 0x80, 0xFF):
            bad = bytearray(frame)
            bad[position] ^= flip
            for read in (lambda b: decompress(b, 100_000), lambda b: decompress_span(b, 20_000, 60_000)):
                with contextlib.suppress(CorruptDataError):
                    assert read(bytes(bad)).nbytes in (100_000, 40_000)
    for length in [*range(30), len(frame) // 2, len(frame) - 1]:
        with pytest.raises(CorruptDataError):
            decompress(frame[:length], 100_000)
    with pytest.raises(CorruptDataError):
        decompress(frame + b"x", 100_000)


@pytest.mark.parametrize(
    "nbytes, size, length, words",
    [
        (2**31 - 1, 1 << 16, None, "cannot hold"),
        (-5, 1 << 16, None, "opening to"),
        (100_000, 0, None, "blocks of 0"),
        (100_000, -1, None, "opening to"),
        (100_000, 1, None, "cannot hold"),
        (100_000, 1 << 14, 5, "says it has 5"),
        (99_999, 1 << 14, None, "its metadata say"),
    ],
)
def test_hostile_headers_are_refused_before_memory_is_taken(nbytes, size, length, words):
    frame = bytearray(compress(contents("photons", 100_000, "u1"), Compressor(blocksize=1 << 14, shuffle=0)))
    struct.pack_into("<iii", frame, 4, nbytes, size, len(frame) if length is None else length)
    with pytest.raises(CorruptDataError, match=words):
        decompress(bytes(frame), 100_000)


def test_a_frame_says_what_it_opens_to():
    data = contents("photons", 100_000, "<u2")
    assert frame_sizes(compress(data, Compressor(blocksize=1 << 14))) == (200_000, 1 << 14)
    assert decompress(compress(np.empty(0, "u1"), Compressor()), 0).size == 0


def test_settings_round_trip_and_parse():
    for text, expected in {
        "zstd-5-bitshuffle": Compressor(cname="zstd", clevel=5, shuffle=2, blocksize=0),
        "LZ4:1:none": Compressor(cname="lz4", clevel=1, shuffle=0, blocksize=0),
        "zstd-1-byte-1048576": Compressor(),
    }.items():
        result = Compressor.parse(text)
        assert result == expected and Compressor.from_dict(result.to_dict()) == result
    assert "blocksize" not in Compressor(blocksize=0).to_dict()
    assert Compressor().to_dict() == {
        "id": "blosc",
        "cname": "zstd",
        "clevel": 1,
        "shuffle": 1,
        "blocksize": 1 << 20,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zstd",
        "zstd-1",
        "zstd-1-byte-big",
        "zstd-1-byte-1-1",
        "gzip-1-none",
        "zstd-10-none",
        "zstd-x-none",
        "zstd-1-up",
    ],
)
def test_unreadable_settings_are_refused(text):
    with pytest.raises(InvalidInputError, match="compressor"):
        Compressor.parse(text)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"id": "pickle"},
        {"id": "blosc", "more": 1},
        {"id": "blosc", "clevel": 11},
        {"id": "blosc", "shuffle": True},
        {"id": "blosc", "blocksize": 7},
        {"id": "blosc", "cname": "snappy"},
        [],
    ],
)
def test_unreadable_entries_are_refused(entry):
    with pytest.raises(InvalidInputError, match="compressor"):
        Compressor.from_dict(entry)


def test_too_large_a_buffer_says_so():
    huge = np.broadcast_to(np.uint8(0), (1 << 31,))
    with pytest.raises(InvalidInputError, match="chunk_frames"):
        compress(huge, Compressor())


def test_blosc_is_not_asked_for_its_blocks_by_every_chunk():
    """Chunks differ in length; asking costs half a millisecond for a MB."""
    compressor = Compressor(cname="zstd", clevel=1, shuffle=0, blocksize=1 << 15)
    blosc_compression._size_of_blocks.cache_clear()
    for count in range(300_000, 300_050):
        data = contents("photons", count, "u1")
        frame = compress(data, compressor, Split(2))
        assert frame == bytes(numcodecs.get_codec(compressor.to_dict()).encode(data))
    assert blosc_compression._size_of_blocks.cache_info().misses == 1


ONLY = Compressor(cname="zstd", clevel=1, shuffle=0, blocksize=1 << 15)


def noise_without_matches(count: int) -> np.ndarray:
    """Bytes that Huffman codes shorten by a fifth more than zstd 1 does."""
    return np.random.default_rng(0).poisson(0.4, count).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 100, (1 << 15) - 1, 1 << 15, (1 << 15) + 1, 200_000, 3_000_000])
def test_noise_is_coded_without_a_search_and_matches_are_left_to_zstd(count):
    values = noise_without_matches(count)
    alone, whole = compress(values, ONLY), compress_bytes(values, ONLY)
    assert len(whole) < 0.9 * len(alone) if count > 1000 else len(whole) <= len(alone)
    assert numcodecs.blosc.decompress(whole) == values.tobytes()
    np.testing.assert_array_equal(decompress(whole, count), values)
    part = slice(count // 3, count - count // 7)
    np.testing.assert_array_equal(decompress_span(whole, part.start, part.stop), values[part])
    with ThreadPoolExecutor(3) as pool:
        assert compress_bytes(values, ONLY, Split(3, pool.map)) == whole
    repeated = np.resize(values[:999], count)
    assert compress_bytes(repeated, ONLY) == compress(repeated, ONLY) or count < 1000


def test_noise_is_coded_without_asking_zstd_and_is_not_larger(monkeypatch):
    values = np.rint(np.random.default_rng(2).normal(128, 20, 600_000)).astype(np.uint8)
    settings = Compressor(cname="zstd", clevel=1, shuffle=0, blocksize=1 << 18)
    by_zstd = compress(values, settings)
    monkeypatch.setattr(blosc_huffman, "encode", None)
    assert len(compress_bytes(values, settings)) < 1.0002 * len(by_zstd)


@pytest.mark.parametrize(
    "text", ["zstd-1-shuffle-32768", "zstd-1-none", "lz4-1-none-32768", "zstd-0-none-32768"]
)
def test_other_settings_are_left_to_blosc(text):
    values, settings = noise_without_matches(100_000), Compressor.parse(text)
    assert compress_bytes(values, settings) == compress(values, settings)


def test_bytes_that_do_not_shrink_are_stored_as_they_are():
    values = np.frombuffer(np.random.default_rng(1).bytes(100_000), np.uint8)
    assert len(compress_bytes(values, ONLY)) == values.size + 16
    some = np.concatenate([noise_without_matches(200_000), values])
    np.testing.assert_array_equal(decompress(compress_bytes(some, ONLY), some.size), some)


def test_any_zarr_reader_opens_the_frames(tmp_path):
    import tensorstore
    import zarr

    values = noise_without_matches(200_000)
    meta = {"zarr_format": 2, "shape": [values.size], "chunks": [values.size], "dtype": "|u1", "order": "C"}
    meta |= {"compressor": ONLY.to_dict(), "fill_value": None, "filters": None}
    (tmp_path / ".zarray").write_text(json.dumps(meta))
    (tmp_path / "0").write_bytes(compress_bytes(values, ONLY))
    np.testing.assert_array_equal(zarr.open(tmp_path)[...], values)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        np.testing.assert_array_equal(zarr.open(tmp_path)[...], values)
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(tmp_path)}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), values)
