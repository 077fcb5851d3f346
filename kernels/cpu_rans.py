"""Range coder of sorted residuals: a stream of 16-bit words with one frequency table per level.

Asymmetric numeral systems (Duda 2013, arXiv 1311.2540) with four states, in integer arithmetic. Every
backend uses this version, compiled for the CPU without Python's lock. FORMAT.md, "Coded", defines every bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit

DIRECT = 32
"""Residuals below this have a symbol each; above, each half octave has one, followed by raw bits."""

SYMBOLS = DIRECT + 22
"""Symbols of all residuals of 16 bits."""

LANES = 4
LEAST_SHARE = 49
"""Greatest rank: a share of 2^-12, the least frequency."""

_BITS = 12
_LOW = 1 << 16
# Shares of rank 1, 2, ... in 1/65536, a quarter octave apart, and the least share that rounds to each.
_SHARES = np.array([0, *(round(2 ** (16 - k / 4)) for k in range(LEAST_SHARE))], np.int64)
_EDGES = np.array([0, *(round(2 ** (16 - k / 4 - 1 / 8)) for k in range(LEAST_SHARE))], np.int64)


def most_words(samples: int, levels: int, width: int) -> int:
    """Upper bound of the words in a stream of so many residuals of ``width`` bytes."""
    bits = samples * (_BITS + 8 * width) + levels * (5 * 8 + SYMBOLS * (_BITS + 8)) + 8 * (SYMBOLS + 2)
    return bits // 16 + 4 * LANES + 2


@jit
def _rank(count: Any, total: Any) -> int:
    """Rank of the share nearest to ``count`` of ``total``; 0 for a count of 0."""
    if count == 0:
        return 0
    for rank in range(1, LEAST_SHARE):
        if (count << 16) >= total * _EDGES[rank]:
            return rank
    return LEAST_SHARE


@jit
def _frequencies(ranks: NDArray[np.uint8], out: NDArray[np.int64]) -> int:
    """Fill in frequencies in proportion to the shares that add up to 4096; return 0 if all ranks are 0."""
    whole, total, most = 0, 0, 0
    for s in range(ranks.size):
        whole += _SHARES[ranks[s]]
    for s in range(ranks.size):
        out[s] = max(1, (_SHARES[ranks[s]] << _BITS) // whole) if ranks[s] else 0
        total += out[s]
        most = s if out[s] > out[most] else most
    out[most] += (1 << _BITS) - total if whole else 0
    return whole


@jit
def _put(x: Any, start: Any, share: Any, words: NDArray[np.uint16], at: int) -> Any:
    """State and write position after a symbol of frequency ``share`` whose slots begin at ``start``."""
    if x >= np.uint64(share << 20):
        at -= 1
        words[at] = np.uint16(x & np.uint64(0xFFFF))
        x >>= np.uint64(16)
    divided = np.uint32(x) // np.uint32(share)
    rest = np.uint32(x) - np.uint32(divided * np.uint32(share))
    return (np.uint64(divided) << np.uint64(_BITS)) + np.uint64(rest) + np.uint64(start), at


@jit
def _put_bits(x: Any, value: Any, bits: Any, words: NDArray[np.uint16], at: int) -> Any:
    """State and write position after up to 16 bits whose values are equally frequent."""
    if x >> np.uint64(32 - bits):
        at -= 1
        words[at] = np.uint16(x & np.uint64(0xFFFF))
        x >>= np.uint64(16)
    return x << np.uint64(bits) | np.uint64(value), at


@jit
def _symbol(value: Any) -> Any:
    """Symbol of a residual, and the number of its low bits that follow raw."""
    if value < DIRECT:
        return value, 0
    bits = 4
    while value >> (bits + 2):
        bits += 1
    return DIRECT + 2 * (bits - 4) + (value >> bits & 1), bits


@jit
def _symbols(values: NDArray) -> int:
    """Number of symbols needed for these residuals."""
    most = np.int64(0)
    for i in range(values.size):
        most = max(most, np.int64(values[i]))
    return _symbol(most)[0] + 1


@jit
def _put_value(
    x: Any, value: Any, starts: NDArray, shares: NDArray, words: NDArray[np.uint16], at: int
) -> Any:
    """State and write position after a residual: its symbol, followed by its raw bits."""
    symbol, bits = _symbol(value)
    if bits:
        x, at = _put_bits(x, value & ((1 << bits) - 1), bits, words, at)
    return _put(x, starts[symbol], shares[symbol], words, at)


@jit
def _tables(
    residuals: NDArray,
    counts: NDArray[np.int64],
    ranks: NDArray[np.uint8],
    shares: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> None:
    """Fill in ranks, frequencies and first slots of every level's symbols, ``(levels, symbols)``."""
    symbols, begin, seen = ranks.shape[1], 0, np.empty(ranks.shape[1], np.int64)
    for level in range(counts.size):
        seen[:] = 0
        for i in range(begin, begin + counts[level]):
            seen[_symbol(np.int64(residuals[i]))[0]] += 1
        for s in range(symbols):
            ranks[level, s] = _rank(seen[s], counts[level])
        _model(ranks[level], shares[level], starts[level])
        begin += counts[level]


@jit
def _model(ranks: NDArray[np.uint8], shares: NDArray[np.int64], starts: NDArray[np.int64]) -> int:
    """Fill in frequencies and first slots from ranks; return 0 if all ranks are 0."""
    whole, total = _frequencies(ranks, shares), 0
    for s in range(ranks.size):
        starts[s] = total
        total += shares[s]
    return whole


@jit
def _changes(ranks: NDArray[np.uint8], counts: NDArray[np.int64], out: NDArray[np.uint8]) -> int:
    """Differences of ranks between successive levels in use, sign folded; return their number."""
    size, before = 0, np.zeros(ranks.shape[1], np.int64)
    for level in range(counts.size):
        for s in range(ranks.shape[1] if counts[level] else 0):
            change = np.int64(ranks[level, s]) - before[s]
            out[size] = 2 * change if change >= 0 else -2 * change - 1
            before[s] = ranks[level, s]
            size += 1
    return size


@jit
def _put_sizes(counts: NDArray[np.int64], x: Any, words: NDArray[np.uint16], at: int) -> Any:
    """Lengths of the levels, seven bits to a byte, lowest first; the highest bit says that more follow."""
    for level in range(counts.size - 1, -1, -1):
        size, shift = counts[level], 7
        while size >> shift:
            shift += 7
        for part in range(shift - 7, -1, -7):
            more = 128 if size >> (part + 7) else 0
            x, at = _put_bits(x, (size >> part & 127) | more, 8, words, at)
    return x, at


@jit
def _take_sizes(counts: NDArray[np.int64], x: Any, words: NDArray[np.uint16], at: int) -> Any:
    """Inverse of :func:`_put_sizes`."""
    for level in range(counts.size):
        size, shift, more = 0, 0, 128
        while more and shift < 42:
            byte, x, at = _take_bits(x, 8, words, at)
            more = byte & 128
            size |= (byte & 127) << shift
            shift += 7
        counts[level] = size
    return x, at


@jit
def code_levels(residuals: NDArray, counts: NDArray[np.int64], words: NDArray[np.uint16]) -> int:
    """Code ``residuals (n,)``, sorted by level, ``counts[level]`` of each, into the end of ``words``.

    ``words`` has :func:`most_words` elements. Return the index at which the stream begins.
    """
    levels, symbols = counts.size, _symbols(residuals)
    ranks = np.empty((levels, symbols), np.uint8)
    shares, starts = np.empty((levels, symbols), np.int64), np.empty((levels, symbols), np.int64)
    _tables(residuals, counts, ranks, shares, starts)
    changes, one = np.empty(levels * symbols, np.uint8), np.empty(1, np.int64)
    one[0] = _changes(ranks, counts, changes)
    kinds = _symbols(changes[: one[0]])
    rank, (share, start) = np.empty((1, kinds), np.uint8), np.empty((2, 1, kinds), np.int64)
    _tables(changes, one, rank, share, start)
    # A decoder starts from the state that is written last, so everything is written backwards.
    x, at, end = np.full(LANES, _LOW, np.uint64), words.size, residuals.size
    for level in range(levels - 1, -1, -1):
        begin = end - counts[level]
        at = _code_run(residuals[begin:end], starts[level], shares[level], x, words, at)
        end = begin
    first = x[0]
    for i in range(one[0] - 1, -1, -1):
        first, at = _put_value(first, np.int64(changes[i]), start[0], share[0], words, at)
    for s in range(kinds - 1, -1, -1):
        first, at = _put_bits(first, rank[0, s], 8, words, at)
    first, at = _put_bits(first, kinds, 8, words, at)
    first, at = _put_sizes(counts, first, words, at)
    x[0], at = _put_bits(first, symbols, 8, words, at)
    for lane in range(LANES - 1, -1, -1):
        at -= 2
        words[at], words[at + 1] = np.uint16(x[lane] & np.uint64(0xFFFF)), np.uint16(x[lane] >> np.uint64(16))
    return at


@jit
def _code_run(
    residuals: NDArray,
    starts: NDArray[np.int64],
    shares: NDArray[np.int64],
    x: NDArray[np.uint64],
    words: NDArray[np.uint16],
    at: int,
) -> int:
    """Code the residuals of one level backwards; sample ``i`` uses state ``i % LANES``."""
    for i in range(residuals.size - 1, -1, -1):
        lane = np.uint64(i & (LANES - 1))
        x[lane], at = _put_value(x[lane], np.int64(residuals[i]), starts, shares, words, at)
    return at


@jit
def _refill(x: Any, words: NDArray[np.uint16], at: int) -> Any:
    """State after reading a word if it ran low; zeros are read beyond the end, as the caller detects."""
    low = x < np.uint64(_LOW)
    word = np.uint64(words[at]) if at < words.size else np.uint64(0)
    return ((x << np.uint64(16)) | word, at + 1) if low else (x, at)


@jit
def _take_bits(x: Any, bits: Any, words: NDArray[np.uint16], at: int) -> Any:
    """The next bits as a number, and the state and read position after them."""
    value = np.int64(x & np.uint64((1 << bits) - 1))
    x, at = _refill(x >> np.uint64(bits), words, at)
    return value, x, at


@jit
def _take_value(x: Any, slots: NDArray[np.uint32], words: NDArray[np.uint16], at: int) -> Any:
    """The next residual, and the state and read position after it."""
    entry = np.uint64(slots[x & np.uint64(0xFFF)])
    share, inside = (entry >> np.uint64(6) & np.uint64(0xFFF)) + np.uint64(1), entry >> np.uint64(18)
    x, at = _refill(share * (x >> np.uint64(_BITS)) + inside, words, at)
    value = np.int64(entry & np.uint64(63))
    if value >= DIRECT:
        bits = 4 + ((value - DIRECT) >> 1)
        low, x, at = _take_bits(x, bits, words, at)
        value = (2 | (value & 1)) << bits | low
    return value, x, at


@jit
def _fill_slots(ranks: NDArray[np.uint8], slots: NDArray[np.uint32]) -> int:
    """Per slot of 4096: symbol (6 bits), frequency less 1 (12), position in it (12); 0 without symbols."""
    shares, at = np.empty(ranks.size, np.int64), 0
    if not _frequencies(ranks, shares):
        return 0
    for s in range(ranks.size):
        for inside in range(shares[s]):
            slots[at] = np.uint32(s | (shares[s] - 1) << 6 | inside << 18)
            at += 1
    return 1


@jit
def _open_run(
    slots: NDArray[np.uint32], x: NDArray[np.uint64], words: NDArray[np.uint16], at: int, out: NDArray
) -> int:
    """Decode the residuals of one level; the four states do not depend on each other."""
    a, b, c, d, whole = x[0], x[1], x[2], x[3], out.size & ~(LANES - 1)
    for i in range(0, whole, LANES):
        out[i], a, at = _take_value(a, slots, words, at)
        out[i + 1], b, at = _take_value(b, slots, words, at)
        out[i + 2], c, at = _take_value(c, slots, words, at)
        out[i + 3], d, at = _take_value(d, slots, words, at)
    x[0], x[1], x[2], x[3] = a, b, c, d
    for i in range(whole, out.size):
        lane = np.uint64(i - whole)
        out[i], x[lane], at = _take_value(x[lane], slots, words, at)
    return at


@jit
def open_levels(words: NDArray[np.uint16], counts: NDArray[np.int64], out: NDArray) -> int:
    """Decode a stream of :func:`code_levels` to ``counts (levels,)`` and ``out (n,)``.

    Return 0, or 1 if the stream contradicts itself; the output is then arbitrary.
    """
    if words.size < 2 * LANES:
        return 1
    x, at = np.empty(LANES, np.uint64), 2 * LANES
    for lane in range(LANES):
        x[lane] = np.uint64(words[2 * lane]) | np.uint64(words[2 * lane + 1]) << np.uint64(16)
    symbols, first, at = _take_bits(x[0], 8, words, at)
    first, at = _take_sizes(counts, first, words, at)
    kinds, first, at = _take_bits(first, 8, words, at)
    if counts.sum() != out.size or not 0 < symbols <= SYMBOLS or not 0 < kinds <= SYMBOLS:
        return 1
    rank, slots = np.empty(kinds, np.uint8), np.empty(1 << _BITS, np.uint32)
    for s in range(kinds):
        rank[s], first, at = _take_bits(first, 8, words, at)
        if rank[s] > LEAST_SHARE:
            return 1
    if not _fill_slots(rank, slots):
        return 1
    ranks, before = np.zeros((counts.size, symbols), np.uint8), np.zeros(symbols, np.int64)
    for level in range(counts.size):
        for s in range(symbols if counts[level] else 0):
            change, first, at = _take_value(first, slots, words, at)
            before[s] += (change >> 1) ^ -(change & 1)
            if not 0 <= before[s] <= LEAST_SHARE:
                return 1
            ranks[level, s] = before[s]
    x[0], begin = first, 0
    for level in range(counts.size):
        if counts[level]:
            if not _fill_slots(ranks[level], slots):
                return 1
            at = _open_run(slots, x, words, at, out[begin : begin + counts[level]])
            begin += counts[level]
    for lane in range(LANES):
        if x[lane] != np.uint64(_LOW):
            return 1
    return 0 if at == words.size else 1
