"""Compute Huffman codes on the CPU: their lengths, their values, and their description in a frame.

The functions follow RFC 8878, 4.1.1 (FSE) and 4.2.1 (Huffman tree description).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.instructions.cpu_unaligned_words import bits_below, leading_zeros, store64

LONGEST = 11
"""Bits of the longest code that a frame may have."""

SYMBOLS = 256
MOST_DESCRIPTION = 128
"""Bytes of the longest description, with its first byte."""

_LOG = 6  # accuracy of the weights' probabilities: a table of 64 states
_STATES = 1 << _LOG
_WEIGHTS = LONGEST + 1
_MOST_WEIGHTS = 256  # bytes of all weights, six bits each, and what precedes and follows them
_NEVER = np.uint32(0xFFFFFFFF)
_DIGITS, _DIGIT, _LOW_BYTE = 64, np.uint32(63), np.uint32(255)
_SIX, _EIGHT = np.uint32(6), np.uint32(8)
_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)
_BEFORE = 2
_LOGARITHMS = np.array([round(math.log2(1 + i / 256) * 65536) for i in range(256)], np.int64)


@jit
def _highest_bit(value: Any) -> int:
    """Return the index of the highest set bit of a positive number."""
    bit = 0
    while value >> (bit + 1):
        bit += 1
    return bit


@jit
def about_bits(counts: NDArray[np.uint32]) -> int:
    """See the reference."""
    total: Any = 0
    raised: Any = 0
    bits = 0
    for s in range(SYMBOLS):
        total += np.int64(counts[s])
    least = total >> LONGEST
    for s in range(SYMBOLS):
        count = np.int64(counts[s])
        if count:
            share = max(count, least)
            raised += share
            bits -= count * _log2(share)
    return (bits + total * _log2(raised)) >> 16 if total else 0


@jit
def _log2(value: Any) -> int:
    """Return the binary logarithm of the first nine bits of a positive number, in 1/65536."""
    bit = 63 - np.int64(leading_zeros(np.uint64(value)))
    return bit << 16 | _LOGARITHMS[(value << 8 >> bit) & 255]


@jit
def _sorted_symbols(counts: NDArray[np.uint32], order: NDArray[np.uint8]) -> int:
    """List the symbols seen, rarest first, equal counts by symbol; return their number."""
    seen, largest = 0, np.uint32(0)
    keys, sorted_keys = np.empty(SYMBOLS, np.uint32), np.empty(SYMBOLS, np.uint32)
    for s in range(SYMBOLS):
        keys[seen] = counts[s] << _EIGHT | np.uint32(s)
        seen += counts[s] != 0
        largest = max(largest, counts[s])
    starts, shift = np.empty(_DIGITS, np.uint8), _EIGHT
    # A radix sort by six bits at a time: few counts in a block of 32 KiB have more than twelve.
    while shift == _EIGHT or largest >> (shift - _EIGHT):
        starts[:] = 0
        for i in range(seen):
            starts[keys[i] >> shift & _DIGIT] += 1
        begin = np.uint8(0)
        for digit in range(_DIGITS):
            count = starts[digit]
            starts[digit] = begin
            begin = np.uint8(begin + count)
        for i in range(seen):
            digit = keys[i] >> shift & _DIGIT
            sorted_keys[starts[digit]] = keys[i]
            starts[digit] += 1
        keys, sorted_keys = sorted_keys, keys
        shift += _SIX
    for i in range(seen):
        order[i] = keys[i] & _LOW_BYTE
    return seen


@jit
def _merge(
    leaves: NDArray[np.uint32],
    packages: NDArray[np.uint32],
    seen: int,
    total: int,
    merged: NDArray[np.uint32],
    taken: NDArray[np.uint16],
    first: int,
) -> int:
    """Merge two sorted lists, a leaf before a package that equals it; return half of the ``total`` items.

    ``taken[n]`` is the number of leaves among the first ``n`` items. The ``first`` items are there already.
    The list is made from both ends, two chains of comparisons that do not wait for each other.
    """
    low, high = np.uint64(taken[first]), np.uint64(seen)
    at, end = np.uint64(first), np.uint64(total)
    half = (at + end) >> _ONE
    a, b = leaves[low + _TWO], packages[at - low + _TWO]
    c, d = leaves[high + _ONE], packages[end - high + _ONE]
    while at < half:
        # The next items of both lists are loaded before the comparison tells which is needed.
        next_a, next_b = leaves[low + _THREE], packages[at - low + _THREE]
        is_leaf = a <= b
        merged[at] = min(a, b)
        low += np.uint64(is_leaf)
        at += _ONE
        taken[at] = low
        a, b = (next_a if is_leaf else a), (b if is_leaf else next_b)
        taken[end] = high
        next_c, next_d = leaves[high], packages[end - high]
        last = c > d
        end -= _ONE
        merged[end] = max(c, d)
        high -= np.uint64(last)
        c, d = (next_c if last else c), (d if last else next_d)
    if at < end:
        merged[at] = min(a, b)
        taken[end] = high
    return total >> 1


@jit
def code_lengths(counts: NDArray[np.uint32], lengths: NDArray[np.uint8]) -> int:
    """See the reference."""
    order = np.empty(SYMBOLS, np.uint8)
    seen = _sorted_symbols(counts, order)
    lengths[:] = 0
    if seen < 2:
        return seen
    # Before a list are two zeros, and behind it is what is greater than all; so the merge needs no tests.
    leaves, packages = np.zeros(SYMBOLS + 4, np.uint32), np.zeros(SYMBOLS + 4, np.uint32)
    merged, taken = np.empty(2 * SYMBOLS, np.uint32), np.empty((LONGEST, 2 * SYMBOLS), np.uint16)
    for i in range(seen):
        leaves[_BEFORE + i] = merged[i] = counts[order[i]]
    leaves[_BEFORE + seen] = _NEVER
    packed, same, low = seen >> 1, 0, 0
    for i in range(seen + 1):
        taken[0, i] = i
    # All symbols have a bit or more, so the last of the lists need not be made.
    for depth in range(1, LONGEST - 1):
        # A list begins as the one before: up to a package that differs, and the leaves that precede it.
        for i in range(same, packed):
            packages[_BEFORE + i] = merged[2 * i] + merged[2 * i + 1]
        packages[_BEFORE + packed] = _NEVER
        while low < seen and leaves[_BEFORE + low] <= packages[_BEFORE + same]:
            low += 1
        same += low
        for i in range(same + 1):
            taken[depth, i] = taken[depth - 1, i]
        packed = _merge(leaves, packages, seen, seen + packed, merged, taken[depth], same)
        same >>= 1
    # A list contributes its rarest symbols. ``ends`` counts the lists by how many symbols they contribute.
    ends, needed = np.zeros(SYMBOLS + 1, np.uint8), 2 * (2 * seen - 2 - seen)
    for depth in range(LONGEST - 2, -1, -1):
        leaf = taken[depth, needed]
        ends[leaf] += 1
        needed = 2 * (needed - leaf)
    length = 1
    for i in range(seen - 1, -1, -1):
        length += ends[i + 1]
        lengths[order[i]] = length
    return seen


@jit
def canonical_codes(lengths: NDArray[np.uint8], codes: NDArray[np.uint16]) -> None:
    """See the reference."""
    starts = np.zeros(LONGEST + 2, np.uint16)
    for s in range(SYMBOLS):
        starts[lengths[s]] += 1
    code = 0
    for length in range(LONGEST, 0, -1):
        count = starts[length]
        starts[length] = code
        code = (code + count) >> 1
    for s in range(SYMBOLS):
        codes[s] = starts[lengths[s]] if lengths[s] else 0
        starts[lengths[s]] += 1


@jit
def describe_codes(lengths: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """See the reference."""
    longest, last = 0, 0
    for s in range(SYMBOLS):
        if lengths[s]:
            longest, last = max(longest, lengths[s]), s
    weights = np.zeros(SYMBOLS, np.uint8)
    for s in range(last):
        weights[s] = longest + 1 - lengths[s] if lengths[s] else 0
    direct = 1 + ((last + 1) >> 1) if last <= MOST_DESCRIPTION else 0
    coded = _code_weights(weights[:last], out)
    if coded and (not direct or coded < direct):
        return coded
    if direct:
        out[0] = 127 + last
        for i in range(direct - 1):
            out[1 + i] = weights[2 * i] << 4 | weights[2 * i + 1]
    return direct


@jit
def _probabilities(weights: NDArray[np.uint8], out: NDArray[np.int64]) -> bool:
    """Fill in probabilities in 1/64, at least 1 for a weight that occurs; False if only one weight occurs."""
    counts = np.zeros(_WEIGHTS, np.int64)
    for i in range(weights.size):
        counts[weights[i]] += 1
    whole, total = 0, weights.size
    for weight in range(_WEIGHTS):
        if counts[weight] == total:
            return False
        out[weight] = max(1, counts[weight] * _STATES // total) if counts[weight] else 0
        whole += out[weight]
    while whole != _STATES:
        # The probability that is furthest from its share is corrected by one.
        sign, best, most = (1 if whole < _STATES else -1), -1, np.int64(0)
        for weight in range(_WEIGHTS):
            short = sign * (counts[weight] * _STATES - out[weight] * total)
            if out[weight] > (0 if sign > 0 else 1) and (best < 0 or short > most):
                best, most = weight, short
        out[best] += sign
        whole += sign
    return True


@jit
def _spread(probabilities: NDArray[np.int64], states: NDArray[np.uint8]) -> None:
    """Assign a weight to each state."""
    at = 0
    for weight in range(_WEIGHTS):
        for _ in range(probabilities[weight]):
            states[at] = weight
            at = (at + (_STATES >> 1) + (_STATES >> 3) + 3) & (_STATES - 1)


@jit
def _put(out: NDArray[np.uint8], bit: int, value: Any, count: Any) -> int:
    """Append the low ``count`` bits (up to 8) of ``value`` at position ``bit``; return the one after them."""
    at, shifted = bit >> 3, (value & ((1 << count) - 1)) << (bit & 7)
    if at < MOST_DESCRIPTION:
        out[at] = (out[at] if bit & 7 else 0) | (shifted & 255)
    if at + 1 < MOST_DESCRIPTION:
        out[at + 1] = shifted >> 8
    return bit + count


@jit
def _put_probabilities(probabilities: NDArray[np.int64], out: NDArray[np.uint8], bit: int) -> int:
    """Write the FSE table description (RFC 8878, 4.1.1); return the position after it."""
    bit = _put(out, bit, _LOG - 5, 4)
    left, threshold, size, weight = _STATES + 1, _STATES, _LOG + 1, 0
    while left > 1:
        count = probabilities[weight]
        weight += 1
        most = 2 * threshold - 1 - left
        left -= count
        value = count + 1 + (most if count + 1 >= threshold else 0)
        bit = _put(out, bit, value, size - (value < most))
        if count == 0:
            zeros = 0
            while probabilities[weight + zeros] == 0:
                zeros += 1
            weight += zeros
            while zeros >= 3:
                bit = _put(out, bit, 3, 2)
                zeros -= 3
            bit = _put(out, bit, zeros, 2)
        while left < threshold:
            size -= 1
            threshold >>= 1
    return (bit + 7) & ~7


@jit
def _code_weights(weights: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """Write weights by FSE with two states; return the bytes, 0 if that is impossible or too long."""
    probabilities, weight_of = np.empty(_WEIGHTS, np.int64), np.empty(_STATES, np.uint8)
    if weights.size < 2 or not _probabilities(weights, probabilities):
        return 0
    _spread(probabilities, weight_of)
    text = np.empty(_MOST_WEIGHTS, np.uint8)
    at = _put_probabilities(probabilities, text, 8) >> 3
    # States of a weight, in order of their number, are its sub-states n, n + 1, ... to 2n - 1. A state gives
    # up bits until it is one of them: ``most`` bits, or one less if it is below ``limits``.
    filled, states = np.empty(_WEIGHTS, np.int64), np.empty(_STATES, np.int64)
    most, limits = np.empty(_WEIGHTS, np.int64), np.empty(_WEIGHTS, np.int64)
    begins, begin = np.empty(_WEIGHTS, np.int64), 0
    for weight in range(_WEIGHTS):
        count, filled[weight] = probabilities[weight], begin
        begins[weight] = begin - count
        most[weight] = _LOG - _highest_bit(count - 1) if count > 1 else _LOG
        limits[weight] = count << most[weight]
        begin += count
    for i in range(_STATES):
        states[filled[weight_of[i]]] = _STATES + i
        filled[weight_of[i]] += 1
    last = weights.size - 1
    state = states[begins[weights[last]] + probabilities[weights[last]]]
    other = states[begins[weights[last - 1]] + probabilities[weights[last - 1]]]
    word, bits, i = np.uint64(0), 0, last - 2
    while i >= 0:
        # Nine numbers of up to six bits, and seven bits left over, are less than a word.
        for k in range(i, max(i - 9, -1), -1):
            weight = weights[k]
            size = most[weight] - (state < limits[weight])
            word |= np.uint64(state & ((1 << size) - 1)) << np.uint64(bits)
            bits += size
            state, other = other, states[begins[weight] + (state >> size)]
        i -= 9
        store64(text, at, word)
        at, word, bits = at + (bits >> 3), word >> np.uint64(bits & ~7), bits & 7
    word |= np.uint64((1 << 2 * _LOG | (other - _STATES) << _LOG | (state - _STATES)) << bits)
    store64(text, at, word)
    size = at + ((bits + 2 * _LOG + 8) >> 3)
    if size > MOST_DESCRIPTION:
        return 0
    text[0] = size - 1
    out[:size] = text[:size]
    return size


@jit
def read_codes(data: NDArray[np.uint8], lengths: NDArray[np.uint8]) -> int:
    """See the reference."""
    if data.size < 1:
        return 0
    weights = np.zeros(SYMBOLS, np.uint8)
    first: Any = np.int64(data[0])
    if first > 127:
        count, size = first - 127, 1 + ((first - 126) >> 1)
        if size > data.size:
            return 0
        for i in range(count):
            weights[i] = data[1 + (i >> 1)] >> (0 if i & 1 else 4) & 15
    else:
        count, size = 0, 1 + first
        if size <= data.size:
            count = _take_weights(data[1:size], weights)
        if not count:
            return 0
    whole, ones = 0, 0
    for i in range(count):
        if weights[i] > LONGEST:
            return 0
        whole += (1 << weights[i]) >> 1
        ones += weights[i] == 1
    if not 0 < whole < 1 << LONGEST:
        return 0
    longest = _highest_bit(whole) + 1
    rest = (1 << longest) - whole
    weights[count] = _highest_bit(rest) + 1
    if rest & (rest - 1) or ones + (rest == 1) < 2:
        return 0
    for s in range(SYMBOLS):
        lengths[s] = longest + 1 - weights[s] if weights[s] else 0
    return size


@jit
def _take_probabilities(data: NDArray[np.uint8], out: NDArray[np.int64]) -> int:
    """Read what :func:`_put_probabilities` writes; return its bytes, 0 unless it has 64 states."""
    padded = np.zeros(data.size + 4, np.uint8)
    padded[: data.size] = data
    bit, last = 4, 8 * data.size
    out[:] = 0
    left, threshold, size, weight = _STATES + 1, _STATES, _LOG + 1, 0
    if bits_below(padded, 4, 4) != _LOG - 5:
        return 0
    while left > 1:
        if weight >= _WEIGHTS or bit >= last:
            return 0
        most = 2 * threshold - 1 - left
        value = bits_below(padded, bit + size - 1, size - 1)
        if value < most:
            bit += size - 1
        else:
            value = bits_below(padded, bit + size, size)
            value -= most if value >= threshold else 0
            bit += size
        count = value - 1
        if count < 0 or count >= left:
            return 0
        out[weight] = count
        left -= count
        weight += 1
        zeros = 3 if count == 0 else 0
        while zeros == 3:
            if bit >= last:
                return 0
            zeros = bits_below(padded, bit + 2, 2)
            weight += zeros
            bit += 2
        while left < threshold:
            size -= 1
            threshold >>= 1
    return (bit + 7) >> 3 if bit <= last else 0


@jit
def _take_weights(data: NDArray[np.uint8], weights: NDArray[np.uint8]) -> int:
    """Read what :func:`_code_weights` writes, without its first byte; return the number of weights, or 0."""
    probabilities, weight_of = np.empty(_WEIGHTS, np.int64), np.empty(_STATES, np.uint8)
    begin = _take_probabilities(data, probabilities)
    if not begin or begin >= data.size or not data[data.size - 1]:
        return 0
    _spread(probabilities, weight_of)
    sizes, bases = np.empty(_STATES, np.int64), np.empty(_STATES, np.int64)
    for i in range(_STATES):
        following = probabilities[weight_of[i]]
        probabilities[weight_of[i]] += 1
        sizes[i] = _LOG - _highest_bit(following)
        bases[i] = (following << sizes[i]) - _STATES
    stream = data[begin:]
    bit = 8 * (stream.size - 1) + _highest_bit(stream[stream.size - 1])
    state = np.empty(2, np.int64)
    for which in range(2):
        state[which] = bits_below(stream, bit, _LOG)
        bit -= _LOG
    if bit < 0:
        return 0
    for i in range(SYMBOLS - 2):
        now = state[i & 1]
        weights[i] = weight_of[now]
        bit -= sizes[now]
        if bit < 0:
            weights[i + 1] = weight_of[state[(i + 1) & 1]]
            return i + 2
        state[i & 1] = bases[now] + bits_below(stream, bit + sizes[now], sizes[now])
    return 0
