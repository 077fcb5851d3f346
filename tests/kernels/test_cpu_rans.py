"""The coder of sorted residuals: word for word as in FORMAT.md, and safe with any input."""

from __future__ import annotations

import math

import numpy as np
import pytest

from photon_gpu.kernels.cpu_rans import (
    DIRECT,
    LEAST_SHARE,
    SYMBOLS,
    code_levels,
    most_words,
    open_levels,
)


class Naive:
    """FORMAT.md, "Coded", read aloud: one state after another, no tables but the frequencies."""

    def __init__(self) -> None:
        self.states, self.words = [1 << 16] * 4, []

    def put(self, lane: int, start: int, share: int, whole: int) -> None:
        """A symbol, backwards: the words come out last one first."""
        x = self.states[lane]
        if x >= share * ((1 << 32) // whole):
            self.words.append(x & 0xFFFF)
            x >>= 16
        self.states[lane] = x // share * whole + x % share + start

    def bits(self, lane: int, value: int, bits: int) -> None:
        self.put(lane, value, 1, 1 << bits)

    def value(self, lane: int, value: int, shares: list[int]) -> None:
        symbol, bits = symbol_of(value)
        if bits:
            self.bits(lane, value % (1 << bits), bits)
        self.put(lane, sum(shares[:symbol]), shares[symbol], 4096)

    def stream(self) -> list[int]:
        heads = [part for x in self.states for part in (x & 0xFFFF, x >> 16)]
        return heads + self.words[::-1]


def symbol_of(value: int) -> tuple[int, int]:
    if value < 32:
        return value, 0
    octave = value.bit_length() - 1
    return 32 + 2 * (octave - 5) + (value >> (octave - 1)) % 2, octave - 1


def share(rank: int, eighths: int = 0) -> int:
    """2^16 * 2^(-(rank - 1)/4 - eighths/8), as a whole number."""
    return round(2 ** (16 - (rank - 1) / 4 - eighths / 8))


def ranks_of(values: list[int], symbols: int) -> list[int]:
    out = []
    for symbol in range(symbols):
        count = sum(symbol_of(value)[0] == symbol for value in values)
        fits = (rank for rank in range(1, 49) if count << 16 >= len(values) * share(rank, 1))
        out.append(next(fits, 49) if count else 0)
    return out


def shares_of(ranks: list[int]) -> list[int]:
    whole = sum(share(rank) for rank in ranks if rank)
    out = [max(1, 4096 * share(rank) // whole) if rank else 0 for rank in ranks]
    out[out.index(max(out))] += 4096 - sum(out)
    return out


def coded_naively(residuals: list[int], counts: list[int]) -> list[int]:
    symbols = symbol_of(max(residuals, default=0))[0] + 1
    ends = np.cumsum(counts).tolist()
    runs = [residuals[end - count : end] for end, count in zip(ends, counts, strict=True)]
    ranks = {level: ranks_of(run, symbols) for level, run in enumerate(runs) if run}
    changes, before = [], [0] * symbols
    for row in ranks.values():
        changes += [2 * (a - b) if a >= b else 2 * (b - a) - 1 for a, b in zip(row, before, strict=True)]
        before = row
    kinds = symbol_of(max(changes))[0] + 1
    ranks_of_changes = ranks_of(changes, kinds)
    # In the order they are read in, which is the other way round than they are written.
    steps = [("bits", 0, symbols, 8)]
    for count in counts:
        while count > 127:
            steps.append(("bits", 0, count % 128 + 128, 8))
            count >>= 7
        steps.append(("bits", 0, count, 8))
    steps.append(("bits", 0, kinds, 8))
    steps += [("bits", 0, rank, 8) for rank in ranks_of_changes]
    steps += [("value", 0, change, shares_of(ranks_of_changes)) for change in changes]
    for level, run in enumerate(runs):
        steps += [("value", i % 4, value, shares_of(ranks[level])) for i, value in enumerate(run)]
    naive = Naive()
    for name, *arguments in reversed(steps):
        getattr(naive, name)(*arguments)
    return naive.stream()


def coded(residuals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    words = np.empty(most_words(residuals.size, counts.size, residuals.itemsize), np.uint16)
    start = code_levels(residuals, counts, words)
    assert start >= 0
    return words[start:].copy()


def opened(words: np.ndarray, samples: int, levels: int, dtype: str) -> tuple[int, np.ndarray, np.ndarray]:
    counts, out = np.empty(levels, np.int64), np.empty(samples, dtype)
    return open_levels(words, counts, out), counts, out


def case(name: str, dtype: str, levels: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and how many each level has."""
    rng, most = np.random.default_rng(seed), np.iinfo(dtype).max
    size = {"one": 1, "three": 3}.get(name, 700)
    level = np.sort(rng.integers(0, levels, size))
    values = {
        "one": np.array([most]),
        "three": np.array([0, most, 31]),
        "noise": 2 * np.abs(np.rint(rng.normal(0, 2, size))),
        "by level": rng.geometric(1 / (1 + 3.0 * level)),
        "wide": rng.integers(0, most + 1, size),
        "rare": np.where(rng.random(size) < 0.01, most, 0),
        "all alike": np.full(size, 9),
        "each once": np.arange(size),
        "powers": 2 ** rng.integers(0, 8 * np.dtype(dtype).itemsize, size) - rng.integers(0, 2, size),
    }[name]
    return np.minimum(values, most).astype(dtype), np.bincount(level, minlength=levels).astype(np.int64)


CASES = ("one", "three", "noise", "by level", "wide", "rare", "all alike", "each once", "powers")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("name", CASES)
def test_every_word_is_as_format_md_says_and_all_comes_back(name, dtype):
    residuals, counts = case(name, dtype)
    words = coded(residuals, counts)
    assert words.tolist() == coded_naively(residuals.tolist(), counts.tolist())
    strange, levels, again = opened(words, residuals.size, counts.size, dtype)
    assert strange == 0 and levels.tolist() == counts.tolist()
    np.testing.assert_array_equal(again, residuals)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_residual_there_is(dtype):
    residuals = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    assert symbol_of(65535)[0] + 1 == SYMBOLS and symbol_of(DIRECT - 1) == (DIRECT - 1, 0)
    counts = np.array([0, residuals.size, 0], np.int64)
    strange, _, again = opened(coded(residuals, counts), residuals.size, 3, dtype)
    assert strange == 0
    np.testing.assert_array_equal(again, residuals)


def test_many_samples_and_levels_with_more_than_16383():
    rng = np.random.default_rng(3)
    counts = np.array([0, 1, 127, 128, 16383, 16384, 70_000, 2], np.int64)
    residuals = rng.geometric(0.3, counts.sum()).astype("uint8")
    strange, levels, again = opened(coded(residuals, counts), residuals.size, counts.size, "uint8")
    assert strange == 0 and levels.tolist() == counts.tolist()
    np.testing.assert_array_equal(again, residuals)


def test_it_comes_within_a_half_percent_of_the_entropy():
    rng = np.random.default_rng(1)
    counts = np.full(8, 40_000, np.int64)
    spread = np.repeat(1.0 + np.arange(8), 40_000)
    deviations = np.rint(rng.normal(0, spread)).astype(np.int64)
    residuals = np.where(deviations >= 0, 2 * deviations, -2 * deviations - 1).astype("uint8")
    bits = 0.0
    for run in residuals.reshape(8, -1):
        result = np.bincount(run)
        result = result[result > 0]
        bits -= float((result * np.log2(result / run.size)).sum())
    assert bits / 8 < coded(residuals, counts).nbytes < 1.005 * bits / 8


def test_no_stream_is_longer_than_was_said():
    """The least likely residuals, each seen once in a crowd of others."""
    for dtype in ("uint8", "uint16"):
        for name in CASES:
            for levels in (1, 255):
                residuals, counts = case(name, dtype, levels)
                assert coded(residuals, counts).size <= most_words(residuals.size, levels, residuals.itemsize)
    rare = np.zeros(1 << 16, np.uint16)
    rare[::5000] = 65535
    assert coded(rare, np.array([rare.size], np.int64)).size <= most_words(rare.size, 1, 2)
    assert math.isclose(share(LEAST_SHARE), 16)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_altered_bit_is_noticed_or_changes_what_is_read(dtype):
    """Bits that a symbol leaves open stand for themselves: the checksum over all codes looks after those."""
    residuals, counts = case("by level", dtype)
    words = coded(residuals, counts)
    for position in range(words.size):
        for bit in range(16):
            bad = words.copy()
            bad[position] ^= np.uint16(1 << bit)
            strange, levels, again = opened(bad, residuals.size, counts.size, dtype)
            assert strange or (again != residuals).any() or levels.tolist() != counts.tolist()


def test_every_other_length_is_noticed():
    residuals, counts = case("noise", "uint8")
    words = coded(residuals, counts)
    for length in (*range(words.size), words.size + 1):
        assert opened(np.resize(words, length), residuals.size, counts.size, "uint8")[0]
    for samples in (0, residuals.size - 1, residuals.size + 1):
        assert opened(words, samples, counts.size, "uint8")[0]


def test_words_at_random_are_an_error_and_touch_nothing_beside():
    rng = np.random.default_rng(5)
    for trial in range(3000):
        size = int(rng.integers(0, 400))
        words = rng.integers(0, 1 << 16, size).astype(np.uint16)
        if trial % 2:
            # A beginning that is right, so that the tables and the residuals are reached.
            begun = coded(*case("by level", "uint8"))
            words = np.concatenate([begun[: int(rng.integers(8, begun.size))], words])
        fence = np.full(700 + 64, 7, np.uint8)
        counts = np.empty(7, np.int64)
        assert open_levels(words, counts, fence[32:-32]) == 1
        assert (fence[:32] == 7).all() and (fence[-32:] == 7).all()
