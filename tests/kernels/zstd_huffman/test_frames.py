"""Huffman-only zstd frames: the twins agree, every zstd opens them, and hostile bytes do no harm."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterator

import blosc2
import imagecodecs
import numcodecs.blosc
import numcodecs.zstd
import numpy as np
import pytest
import zstandard

from photon_gpu.kernels.zstd_huffman import cpu, cpu_codes, reference
from tests.support.stores.huffman_bytes import (
    BYTES,
    LENGTHS,
    LONG,
    NOTHING,
    altered,
    functions,
    in_blosc,
    made,
)

BLOCKS = (1 << 15, 1 << 16)


def encoded(kernels, data: np.ndarray, block: int) -> np.ndarray:
    """Frame of ``data``, after looking for bytes written beyond :func:`most_bytes`."""
    most = kernels.most_bytes(data.size, block)
    fenced = np.full(most + 64, 7, np.uint8)
    size = kernels.encode_frame(data, block, fenced[32 : 32 + most])
    assert 0 < size <= most and (fenced[:32] == 7).all() and (fenced[32 + most :] == 7).all()
    return fenced[32 : 32 + size].copy()


def decoded(kernels, frame: np.ndarray, size: int) -> bytes | None:
    """Content of a frame, None if the decoder does not know it, after looking for bytes written beyond."""
    fenced = np.full(size + 64, 7, np.uint8)
    count = kernels.decode_frame(frame, fenced[32 : 32 + size])
    assert (fenced[:32] == 7).all() and (fenced[32 + size :] == 7).all()
    return fenced[32 : 32 + count].tobytes() if count >= 0 else None


def openers() -> Iterator:
    yield lambda frame, size: zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)
    yield lambda frame, size: bytes(numcodecs.zstd.decompress(frame)) if size else b""
    yield lambda frame, size: imagecodecs.zstd_decode(frame) if size else b""


def test_the_twins_have_the_same_functions_in_the_same_order():
    assert functions(cpu_codes) + functions(cpu) == functions(reference)
    for name in ("LONGEST", "SYMBOLS"):
        assert getattr(cpu_codes, name) == getattr(reference, name)
    for name in ("LONGEST", "SYMBOLS", "FEW", "MOST_BLOCK"):
        assert getattr(cpu, name) == getattr(reference, name)


@pytest.mark.parametrize("name", BYTES)
def test_every_zstd_opens_the_frames_and_so_do_we(name):
    for size in LENGTHS + LONG:
        data = made(name, size)
        for block in BLOCKS:
            frame = encoded(cpu, data, block)
            for opened in openers():
                assert opened(frame.tobytes(), size) == data.tobytes(), (size, block)
            assert decoded(cpu, frame, size) == data.tobytes()
            if size:
                assert decoded(cpu, frame, size - 1) is None


@pytest.mark.parametrize("name", BYTES)
def test_the_twins_write_and_read_the_same_bytes(name):
    for size, block in [*((size, 1 << 15) for size in LENGTHS[:-3]), (3000, 700), (40_000, 1 << 15)]:
        data = made(name, size)
        frame = encoded(cpu, data, block)
        assert encoded(reference, data, block).tobytes() == frame.tobytes(), size
        assert decoded(reference, frame, size) == data.tobytes()


@pytest.mark.parametrize("name", BYTES)
def test_the_twins_find_the_same_codes_and_count_the_same(name):
    rng = np.random.default_rng(1)
    for size in (2, 40, 256, 5000, 65535):
        data = made(name, size)
        ours, theirs = np.empty((4, 256), np.uint32), np.empty((4, 256), np.uint32)
        cpu.count_quarters(data, ours)
        reference.count_quarters(data, theirs)
        np.testing.assert_array_equal(ours, theirs)
        counts = rng.permutation(ours.sum(0).astype(np.uint32))
        lengths, others = np.empty(256, np.uint8), np.empty(256, np.uint8)
        seen = cpu.code_lengths(counts, lengths)
        assert seen == reference.code_lengths(counts, others) == np.count_nonzero(counts)
        np.testing.assert_array_equal(lengths, others)
        if seen < 2:
            continue
        assert np.ldexp(1.0, -lengths[lengths > 0].astype(int)).sum() == 1 and lengths.max() <= 11
        codes, canonical = np.empty(256, np.uint16), np.empty(256, np.uint16)
        cpu.canonical_codes(lengths, codes)
        reference.canonical_codes(lengths, canonical)
        np.testing.assert_array_equal(codes, canonical)
        text, description = np.zeros(128, np.uint8), np.zeros(128, np.uint8)
        size = cpu.describe_codes(lengths, text)
        assert size == reference.describe_codes(lengths, description)
        assert text[:size].tobytes() == description[:size].tobytes()
        if size:
            for kernels in (cpu, reference):
                assert kernels.read_codes(text, others) == size
                np.testing.assert_array_equal(others, lengths)


def least_bits(counts: list[int]) -> int:
    """Bits of the best code of at most 11 bits, by trying how many leaves each level of the tree has."""
    falling = sorted(counts, reverse=True)

    @functools.cache
    def below(depth: int, done: int, nodes: int) -> float:
        rest = len(falling) - done
        if rest == 0:
            return 0
        if depth > 11 or nodes == 0:
            return math.inf
        leaves = range(min(nodes, rest) + 1)
        ways = (below(depth + 1, done + n, min(2 * (nodes - n), rest - n)) for n in leaves)
        return sum(falling[done:]) + min(ways)

    return int(below(1, 0, 2))


def test_codes_are_as_short_as_eleven_bits_allow():
    rng = np.random.default_rng(2)
    fibonacci_numbers = [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610]
    for trial in [fibonacci_numbers, *(rng.geometric(10.0 ** -rng.uniform(0, 4), 20) for _ in range(20))]:
        counts, lengths = np.zeros(256, np.uint32), np.empty(256, np.uint8)
        counts[: len(trial)] = np.minimum(trial, 65535)
        cpu.code_lengths(counts, lengths)
        assert int((counts * lengths.astype(np.int64)).sum()) == least_bits(counts[: len(trial)].tolist())


def block_forms(frame: np.ndarray, header: int) -> list[str]:
    """How each block of a frame is written."""
    text, at, forms = frame.tobytes(), header, []
    while at < len(text):
        block = int.from_bytes(text[at : at + 3], "little")
        block_type, size = block >> 1 & 3, block >> 3
        forms.append(
            ("raw", "repeated", {2: "new codes", 3: "latest codes"}.get(text[at + 3] & 3))[block_type]
        )
        at += 3 + (1 if block_type == 1 else size)
    return forms


def test_each_block_is_written_in_the_shortest_way():
    parts = ("six symbols", "six symbols", "equal", "six symbols", "half bytes", "256 symbols", "half bytes")
    data = np.concatenate([made(name, 2048) for name in parts])
    expected = ["new codes", "latest codes", "repeated", "latest codes", "new codes", "raw", "latest codes"]
    assert block_forms(encoded(cpu, data, 2048), header=7) == expected


def test_whole_blocks_that_share_codes_become_one_of_up_to_128_kib():
    data = made("half bytes", (1 << 18) + (1 << 15) + 5)
    forms = ["new codes", "latest codes", "latest codes", "raw"]
    assert block_forms(encoded(cpu, data, 1 << 15), header=9) == forms
    # Blocks between them that are stored in another way stay apart.
    parts = [made("half bytes", 2048), made("equal", 2048), *[made("half bytes", 2048)] * 2]
    forms = ["new codes", "repeated", "latest codes", "latest codes"]
    assert block_forms(encoded(cpu, np.concatenate(parts), 2048), header=7) == forms


REPEATING = {
    "noise": (False, lambda rng, size: np.rint(rng.normal(128, 20, size))),
    "few symbols": (True, lambda rng, size: rng.integers(0, 4, size)),
    "one symbol": (True, lambda rng, size: np.full(size, 7)),
    "a frame again": (True, lambda rng, size: np.resize(rng.normal(128, 20, size // 2), size)),
    "runs in noise": (
        True,
        lambda rng, size: np.where(np.arange(size) % 500 < 50, 0, rng.normal(128, 20, size)),
    ),
}


@pytest.mark.parametrize("name", REPEATING)
def test_repeats_are_seen_however_far_apart_they_are(name):
    expected, maker = REPEATING[name]
    for size in (72, 1023, 1 << 15, 1 << 18):
        data = maker(np.random.default_rng(7), size).astype(np.uint8)
        assert cpu.has_repeats(data) == reference.has_repeats(data)
    assert cpu.has_repeats(data) == expected


def test_noise_comes_within_two_percent_of_its_entropy():
    data = made("half bytes", 1 << 18)
    counts = np.bincount(data)
    counts = counts[counts > 0]
    bound = -(counts * np.log2(counts / data.size)).sum() / 8
    for block in BLOCKS:
        assert bound < encoded(cpu, data, block).size < 1.02 * bound


def test_a_damaged_frame_is_refused_or_opened_as_zstd_opens_it():
    rng = np.random.default_rng(3)
    whole = [encoded(cpu, made(name, 900), 400) for name in ("half bytes", "two symbols", "noise")]
    zstd, refused = zstandard.ZstdDecompressor(), 0
    for trial in range(1500):
        bad = altered(whole[trial % 3], rng)
        content = decoded(cpu, bad, 900)
        assert content == decoded(reference, bad, 900)
        if content is None:
            refused += 1
        else:
            assert content == zstd.decompress(bad.tobytes(), max_output_size=900)
    assert 300 < refused < 1400


def test_hostile_bytes_are_read_and_written_in_bounds_only():
    """Large frames, which reach the loops that check nothing for each byte."""
    rng = np.random.default_rng(4)
    whole = [encoded(cpu, made(name, 40_000), 1 << 15) for name in ("half bytes", "deepest", "changing")]
    for trial in range(1500):
        bad = altered(whole[trial % 3], rng)
        fence = np.full(bad.size + 64, 7, np.uint8)
        fence[32:-32] = bad
        decoded(cpu, fence[32:-32], 40_000)
    for size in range(200):
        frame = rng.integers(0, 256, size).astype(np.uint8)
        frame[:6] = np.frombuffer(b"\x28\xb5\x2f\xfd\x20\xff", np.uint8)[: frame.size]
        assert decoded(cpu, frame, 255) is None


def test_frames_of_other_encoders_are_opened_where_they_hold_no_matches():
    rng = np.random.default_rng(5)
    noise = np.clip(np.rint(rng.normal(128, 9, 200_000)), 0, 255).astype(np.uint8)
    matches = np.tile(noise[:1000], 50)
    opened = 0
    for level in (-5, 1, 3):
        for data in (noise, matches):
            frame = np.array(bytearray(zstandard.ZstdCompressor(level=level).compress(data.tobytes())))
            content = decoded(cpu, frame, data.size)
            assert content in (None, data.tobytes())
            opened += content is not None
    assert opened
    checked = zstandard.ZstdCompressor(write_checksum=True).compress(noise.tobytes())
    assert decoded(cpu, np.array(bytearray(checked)), noise.size) is None


BLOSC_LENGTHS = (1, 127, 128, 129, 131, 1000, 32767, 32768, 32769, 65536, 70_000)


@pytest.mark.parametrize("name", BYTES)
def test_every_blosc_opens_the_frames_and_so_do_we(name):
    for size in BLOSC_LENGTHS:
        data = made(name, size)
        for length in (1 << 15, 1 << 18):
            frame = in_blosc(cpu, data, length, 1 << 14)
            assert numcodecs.blosc.decompress(frame.tobytes()) == data.tobytes(), (size, length)
            assert blosc2.decompress(frame.tobytes()) == data.tobytes()
            assert in_blosc(reference, data, length, 1 << 14).tobytes() == frame.tobytes()
            stored = bool(frame[2] & 2)  # as it is, which Blosc opens as fast
            for kernels in (cpu, reference):
                out = np.empty(size, np.uint8)
                assert kernels.decode_blosc(frame, out) == (-1 if stored else size)
                assert stored or (out == data).all()
                assert kernels.decode_blosc(frame, np.empty(size + 1, np.uint8)) == -1


def test_blocks_that_are_ready_are_copied():
    data = np.concatenate([made(name, 3000) for name in ("noise", "256 symbols", "half bytes")])[:8500]
    for numbers in ((), (0,), (1,), (2,), (0, 2), (0, 1, 2)):
        blocks = [data[3000 * number : 3000 * (number + 1)] for number in numbers]
        ready = in_blosc(cpu, np.concatenate(blocks), 3000, 1000) if blocks else NOTHING
        for kernels in (cpu, reference):
            frame = in_blosc(kernels, data, 3000, 1000, numbers, ready)
            assert frame.tobytes() == in_blosc(cpu, data, 3000, 1000).tobytes(), numbers


def test_a_damaged_blosc_frame_is_refused_or_opened_as_blosc_opens_it():
    rng = np.random.default_rng(6)
    whole = in_blosc(cpu, made("half bytes", 3000), 700, 400)
    refused = 0
    for _ in range(1500):
        bad = altered(whole, rng)
        fenced = np.full(3000 + 64, 7, np.uint8)
        size = cpu.decode_blosc(bad, fenced[32:-32])
        assert (fenced[:32] == 7).all() and (fenced[-32:] == 7).all()
        assert size == reference.decode_blosc(bad, np.empty(3000, np.uint8))
        if size < 0:
            refused += 1
        else:
            assert fenced[32:-32].tobytes() == numcodecs.blosc.decompress(bad.tobytes())
    assert 300 < refused < 1400


def test_frames_that_blosc_made_are_opened_or_left_to_it():
    data = made("half bytes", 100_000)
    for shuffle, cname, clevel in (
        (0, "zstd", 1),
        (1, "zstd", 1),
        (0, "lz4", 1),
        (0, "zstd", 9),
        (0, "zstd", 0),
    ):
        frame = numcodecs.blosc.compress(data, cname.encode(), clevel, shuffle, 1 << 15)
        out = np.empty(data.size, np.uint8)
        size = cpu.decode_blosc(np.array(bytearray(frame)), out)
        assert size in (-1, data.size) and (size < 0 or (out == data).all())


def test_frames_are_what_they_were():
    """The bytes of each release are the same; these data do not depend on a library either."""
    state, checksums = 12345, []
    for count in (300, 5000, 70_000):
        values = np.empty(count, np.int64)
        for i in range(count):
            state = (1103515245 * state + 12345) % 2**31
            values[i] = state >> 16
        # The lowest set bit is geometric, like rare residuals.
        data = ((values & -values) % 251 + (values >> 9) % 7).astype(np.uint8)
        checksums.append(zlib.crc32(encoded(cpu, data, 1 << 14).tobytes()))
    assert checksums == [3686958480, 3476530650, 91365194]
