"""Encode and decode frames on the CPU, compiled by Numba.

The functions are those of ``reference``, in the same order (the first ones are in ``cpu_codes``). A block has
four streams, each of a quarter of its bytes. The loops write two streams at a time and read four, so that the
processor works on one while it waits for another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.instructions.cpu_unaligned_words import bits_below, load64, store64, trailing_zeros
from photon_gpu.kernels.zstd_huffman.cpu_codes import (
    MOST_DESCRIPTION,
    about_bits,
    canonical_codes,
    code_lengths,
    describe_codes,
    read_codes,
)

LONGEST, SYMBOLS, FEW, MOST_BLOCK, MOST_SHARED = 11, 256, 256, 1 << 16, 8

_MAGIC = 0xFD2FB528
_MOST_JOINED, _MOST_JOINED_BYTES = 4, 1 << 17
_OVERHEAD, _DESCRIBED, _DESCRIBED_SYMBOL = 16, 64, 3
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_NEW, _AGAIN = 2, 3
_BLOSC_FLAGS, _MEMCPYED = 0x90, 0x02
_SIZE = np.uint64(63)
_CODE = ~np.uint64(0xFF)
_END = np.uint64(1 << 63 | 1)  # the code 1, of one bit
_WORD = np.uint64(64)
_BYTE, _COUNT, _BATCH = np.uint64(255), np.uint32(1), 8
_FIVE = np.uint64(5)
_TOP = np.uint64(64 - LONGEST)
_HASH_BITS = 12
_HASH, _HASH_SHIFT, _THREE_BYTES = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - _HASH_BITS), np.uint64(24)
_SEVEN, _THREE, _ONE, _EIGHT = np.uint64(7), np.uint64(3), np.uint64(1), np.uint64(8)


@jit
def most_bytes(size: int, block: int) -> int:
    """See the reference."""
    return 9 + size + 3 * max(1, (size + block - 1) // block)


@jit
def count_quarters(data: NDArray[np.uint8], counts: NDArray[np.uint32]) -> None:
    """See the reference."""
    quarter = (data.size + 3) // 4
    counts[:] = 0
    first, second, third, fourth = counts[0], counts[1], counts[2], counts[3]
    whole = max(data.size - 3 * quarter, 0) // _BATCH * _BATCH
    for i in range(0, whole, _BATCH):
        a, b = load64(data, i), load64(data, quarter + i)
        c, d = load64(data, 2 * quarter + i), load64(data, 3 * quarter + i)
        for _ in range(_BATCH):
            first[a & _BYTE] += _COUNT
            second[b & _BYTE] += _COUNT
            third[c & _BYTE] += _COUNT
            fourth[d & _BYTE] += _COUNT
            a, b, c, d = a >> _EIGHT, b >> _EIGHT, c >> _EIGHT, d >> _EIGHT
    for part in range(4):
        for at in range(part * quarter + whole, min((part + 1) * quarter, data.size)):
            counts[part, data[at]] += _COUNT


@jit
def _coded_bits(counts: NDArray[np.uint32], lengths: NDArray[np.uint8]) -> Any:
    """Return the bits that the counted symbols take; -1 if one of them has no code."""
    bits, missing = np.uint32(0), np.uint32(0)
    for s in range(SYMBOLS):
        bits += counts[s] * np.uint32(lengths[s])
        missing |= np.uint32(0) if lengths[s] else counts[s]
    return -1 if missing else np.int64(bits)


@jit
def _finish(
    data: NDArray[np.uint8],
    entries: NDArray[np.uint64],
    word: Any,
    bits: Any,
    out: NDArray[np.uint8],
    at: Any,
) -> None:
    """Write the codes of ``data``, last first, and the end mark, byte by byte."""
    for i in range(data.size, -1, -1):
        entry = entries[data[i - 1]] if i else _END
        size = entry & _SIZE
        word = word >> size | (entry & _CODE)
        bits += size
        while bits >= _EIGHT or (i == 0 and bits > 0):
            out[at] = np.uint8(word >> (_WORD - bits) & _BYTE)
            at += _ONE
            bits -= min(bits, _EIGHT)


@jit
def _write_streams(
    data: NDArray[np.uint8], entries: NDArray[np.uint64], sizes: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Write the streams of a block one after another; ``sizes`` has the exact bytes of each."""
    if sizes.size == 1:
        _finish(data, entries, np.uint64(0), np.uint64(0), out, np.uint64(0))
        return
    quarter, begin = (data.size + 3) // 4, 0
    for pair in range(0, 4, 2):
        first = data[pair * quarter : (pair + 1) * quarter]
        second = data[(pair + 1) * quarter : (pair + 2) * quarter]
        p, q = np.uint64(begin), np.uint64(begin + sizes[pair])
        begin += sizes[pair] + sizes[pair + 1]
        second_begin, end = q, np.uint64(begin)
        v, w, m, n = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        # Unsigned numbers, since Numba tests whether a signed index is negative.
        i, j = np.uint64(first.size), np.uint64(second.size)
        while True:
            # A round writes eight bytes, of which seven may be used; they stay within their stream.
            room = min(second_begin - p - _ONE, end - q - _ONE) // _SEVEN
            rounds = min(room, j // _FIVE)
            if rounds == 0:
                break
            while rounds:
                rounds -= _ONE
                for k in range(1, 5):
                    e, f = entries[first[i - np.uint64(k)]], entries[second[j - np.uint64(k)]]
                    v, m = v >> (e & _SIZE) | e, m + e
                    w, n = w >> (f & _SIZE) | f, n + f
                # The lengths, which came with the codes, would get into the fifth code.
                e, f = entries[first[i - _FIVE]], entries[second[j - _FIVE]]
                v, m = v >> (e & _SIZE) | (e & _CODE), (m + e) & _SIZE
                w, n = w >> (f & _SIZE) | (f & _CODE), (n + f) & _SIZE
                store64(out, p, v >> (_WORD - m))
                store64(out, q, w >> (_WORD - n))
                p, q = p + (m >> _THREE), q + (n >> _THREE)
                m, n = m & _SEVEN, n & _SEVEN
                i, j = i - _FIVE, j - _FIVE
        _finish(first[:i], entries, v, m, out, p)
        _finish(second[:j], entries, w, n, out, q)


@jit
def _put_number(out: NDArray[np.uint8], at: int, value: Any, size: int) -> int:
    """Write the low ``size`` bytes of a number; return the position after them."""
    for i in range(size):
        out[at + i] = value >> (8 * i) & 255
    return at + size


@jit
def _literals_header(literals_type: int, size: int, coded: int, out: NDArray[np.uint8], at: int) -> int:
    """Write the header of a literals section; return the position after it."""
    if size < FEW:
        return _put_number(out, at, literals_type | size << 4 | coded << 14, 3)
    if size < 1 << 10:
        return _put_number(out, at, literals_type | 1 << 2 | size << 4 | coded << 14, 3)
    if size < 1 << 14:
        return _put_number(out, at, literals_type | 2 << 2 | size << 4 | coded << 18, 4)
    return _put_number(out, at, literals_type | 3 << 2 | size << 4 | coded << 22, 5)


@jit
def _write_block(
    data: NDArray[np.uint8],
    last: int,
    description: NDArray[np.uint8],
    counts: NDArray[np.uint32],
    entries: NDArray[np.uint64],
    lengths: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> int:
    """Write a block in the shortest form, a coded one with ``description``; return its bytes."""
    size, streams = data.size, 1 if data.size < FEW else 4
    repeated = 0
    for part in range(4):
        repeated += counts[part, data[0]] if size else 0
    if size and repeated == size:
        at = _put_number(out, 0, last | _RLE << 1 | size << 3, 3)
        out[at] = data[0]
        return at + 1
    sizes, missing, single = np.empty(streams, np.int64), False, np.int64(0)
    total: Any = 0
    for part in range(4):
        bits = _coded_bits(counts[part], lengths)
        missing |= bits < 0
        single += bits
        if streams == 4:
            sizes[part] = (bits + 8) >> 3
            total += sizes[part]
    if streams == 1:
        sizes[0] = total = (single + 8) >> 3
    coded = description.size + total + (0 if streams == 1 else 6)
    header = 3 if size < 1 << 10 else 4 if size < 1 << 14 else 5
    if missing or header + coded + 1 >= size:
        at = _put_number(out, 0, last | _RAW << 1 | size << 3, 3)
        out[at : at + size] = data
        return at + size
    at = _put_number(out, 0, last | _COMPRESSED << 1 | (header + coded + 1) << 3, 3)
    at = _literals_header(_NEW if description.size else _AGAIN, size, coded, out, at)
    out[at : at + description.size] = description
    at += description.size
    if streams == 4:
        for part in range(3):
            at = _put_number(out, at, sizes[part], 2)
    _write_streams(data, entries, sizes, out[at : at + total])
    out[at + total] = 0
    return at + total + 1


@jit
def _write_group(
    data: NDArray[np.uint8],
    block: int,
    last: int,
    counts: NDArray[np.uint32],
    whole: NDArray[np.uint32],
    entries: NDArray[np.uint64],
    lengths: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> int:
    """Write blocks that share codes: those of ``lengths`` and ``entries`` if new ones are not shorter."""
    fresh, codes = np.empty(SYMBOLS, np.uint8), np.empty(SYMBOLS, np.uint16)
    description, described = np.empty(MOST_DESCRIPTION, np.uint8), 0
    lengths_before, entries_before = lengths.copy(), entries.copy()
    if code_lengths(whole, fresh) > 1:
        again, size = _coded_bits(whole, lengths), describe_codes(fresh, description)
        if size and (again < 0 or _coded_bits(whole, fresh) + 8 * size < again):
            described = size
            lengths[:] = fresh
            canonical_codes(lengths, codes)
            for s in range(SYMBOLS):
                code = np.uint64(codes[s]) << ((_WORD - np.uint64(lengths[s])) & _SIZE)
                entries[s] = code | np.uint64(lengths[s])
    at = 0
    for number in range(counts.shape[0]):
        part = data[number * block : (number + 1) * block]
        ends = last if number == counts.shape[0] - 1 else 0
        size = _write_block(part, ends, description[:described], counts[number], entries, lengths, out[at:])
        if out[at] >> 1 & 3 == _COMPRESSED:
            described = 0
        at += size
    if described:  # but not in the frame
        lengths[:], entries[:] = lengths_before, entries_before
    return at


@jit
def _count_blocks(
    data: NDArray[np.uint8],
    block: int,
    counts: NDArray[np.uint32],
    sums: NDArray[np.uint32],
    costs: NDArray[np.int64],
    coded: NDArray[np.bool_],
) -> int:
    """Count the symbols of up to eight blocks, by quarter and by block; return the number of blocks.

    A block that is not worth coding has the sums 0.
    """
    number = min(max(1, (data.size + block - 1) // block), MOST_SHARED)
    sums[:], costs[:] = 0, 0
    for i in range(number):
        part, own = data[i * block : min((i + 1) * block, data.size)], sums[i]
        count_quarters(part, counts[i])
        seen = 0
        for s in range(SYMBOLS):
            own[s] = counts[i, 0, s] + counts[i, 1, s] + counts[i, 2, s] + counts[i, 3, s]
            seen += own[s] != 0
        bits = about_bits(own)
        coded[i] = seen > 1 and bits < 8 * (part.size - _OVERHEAD)
        if not coded[i]:
            own[:] = 0
        else:
            costs[i] = bits + _DESCRIBED + _DESCRIBED_SYMBOL * seen + 8 * _OVERHEAD
    return number


@jit
def _share(sums: NDArray[np.uint32], costs: NDArray[np.int64], shared: NDArray[np.int64]) -> None:
    """Set ``shared[i]`` to the number of blocks, 1 to 8, that share the codes of a group begun by block i.

    ``sums`` and ``costs`` are the counts and bits of each block, and then of each group.
    """
    joined = np.empty(SYMBOLS, np.uint32)
    shared[:] = 1
    size = 1
    while size < MOST_SHARED:
        for first in range(0, MOST_SHARED, 2 * size):
            second = first + size
            if shared[first] != size or shared[second] != size:
                costs[first] += costs[second]
                continue
            seen = 0
            for s in range(SYMBOLS):
                joined[s] = sums[first, s] + sums[second, s]
                seen += joined[s] != 0
            blocks = max(1, 2 * size // _MOST_JOINED)
            described = _DESCRIBED + _DESCRIBED_SYMBOL * seen + 8 * _OVERHEAD * blocks
            together = about_bits(joined) + (described if seen else 0)
            if together <= costs[first] + costs[second]:
                shared[first], costs[first] = 2 * size, together
                sums[first] = joined
            else:
                costs[first] += costs[second]
        size *= 2


@jit
def _join(counts: NDArray[np.uint32], coded: NDArray[np.bool_], size: int, block: int) -> int:
    """Find how many blocks of a group of ``size`` bytes become one; join their counts by quarter."""
    number, joined = counts.shape[0], 1
    for i in range(number):
        if not coded[i] or block * number != size or block & 3:
            return 1
    while joined < _MOST_JOINED and number % (2 * joined) == 0 and 2 * joined * block <= _MOST_JOINED_BYTES:
        joined *= 2
    if joined > 1:
        # A quarter of the joined block is as many quarters of the blocks.
        quarters = counts.reshape(4 * number, SYMBOLS)
        for i in range(4 * number // joined):
            for s in range(SYMBOLS):
                total = quarters[i * joined, s]
                for k in range(1, joined):
                    total += quarters[i * joined + k, s]
                quarters[i, s] = total
    return joined


@jit
def encode_frame(data: NDArray[np.uint8], block: int, out: NDArray[np.uint8]) -> int:
    """See the reference."""
    size = data.size
    at = _put_number(out, 0, _MAGIC, 4)
    if size < 256:
        at = _put_number(out, _put_number(out, at, 0x20, 1), size, 1)
    elif size < 65536 + 256:
        at = _put_number(out, _put_number(out, at, 0x60, 1), size - 256, 2)
    else:
        at = _put_number(out, _put_number(out, at, 0xA0, 1), size, 4)
    entries, lengths = np.zeros(SYMBOLS, np.uint64), np.zeros(SYMBOLS, np.uint8)
    counts = np.empty((MOST_SHARED, 4, SYMBOLS), np.uint32)
    sums, costs = np.empty((MOST_SHARED, SYMBOLS), np.uint32), np.empty(MOST_SHARED, np.int64)
    shared, coded = np.empty(MOST_SHARED, np.int64), np.empty(MOST_SHARED, np.bool_)
    start = 0
    while True:
        number, first = _count_blocks(data[start:], block, counts, sums, costs, coded), 0
        _share(sums, costs, shared)
        while first < number:
            end = min(first + shared[first], number)
            stop = min(start + block * (end - first), size)
            group, last = data[start:stop], 1 if stop == size else 0
            joined = _join(counts[first:end], coded[first:end], group.size, block)
            own = counts[first : first + (end - first) // joined]
            at += _write_group(group, joined * block, last, own, sums[first], entries, lengths, out[at:])
            start, first = stop, end
        if start == size:
            return at


@jit
def _take_number(data: NDArray[np.uint8], at: int, size: int) -> int:
    """Read a number of ``size`` bytes, which must lie within ``data``."""
    value: Any = 0
    for i in range(size):
        value |= np.int64(data[at + i]) << (8 * i)
    return value


@jit
def _fill_table(lengths: NDArray[np.uint8], table: NDArray[np.uint16]) -> None:
    """Fill the decoding table: for each number of 11 bits, the symbol (high byte) and length of its code."""
    starts = np.zeros(LONGEST + 2, np.int64)
    for s in range(SYMBOLS):
        starts[lengths[s]] += 1
    at = 0
    for length in range(LONGEST, 0, -1):
        count = starts[length]
        starts[length] = at
        at += count << (LONGEST - length)
    for s in range(SYMBOLS):
        length = lengths[s]
        if length:
            begin, repeats = starts[length], 1 << (LONGEST - length)
            entry = np.uint16(s << 8 | length)
            for i in range(repeats):
                table[begin + i] = entry
            starts[length] = begin + repeats


@jit
def _read_rest(
    stream: NDArray[np.uint8], bit: int, table: NDArray[np.uint16], out: NDArray[np.uint8]
) -> bool:
    """Fill ``out`` with the symbols before ``bit``; return whether that uses up the stream exactly."""
    for i in range(out.size):
        entry = table[bits_below(stream, bit, LONGEST)]
        out[i] = entry >> 8
        bit -= entry & 255
        if bit < 0:
            return False
    return bit == 0


@jit
def _open_bits(stream: NDArray[np.uint8]) -> Any:
    """Return the number of bits before the end mark; -1 if there is no mark."""
    if not stream.size or not stream[stream.size - 1]:
        return -1
    bit = 7
    while not stream[stream.size - 1] >> bit:
        bit -= 1
    return 8 * (stream.size - 1) + bit


@jit
def _read_stream(stream: NDArray[np.uint8], table: NDArray[np.uint16], out: NDArray[np.uint8]) -> bool:
    """Fill ``out`` from a single stream; return whether that uses up the stream exactly."""
    bit = _open_bits(stream)
    return bit >= 0 and _read_rest(stream, bit, table, out)


@jit
def _step(word: Any, table: NDArray[np.uint16]) -> Any:
    entry = table[word >> _TOP]
    return word << np.uint64(entry & 63), np.uint8(entry >> 8)


@jit
def _bits_left(at: Any, word: Any) -> Any:
    """Return the bits of a stream that are left, if ``word`` was loaded at byte ``at``."""
    return np.int64(8) * np.int64(at) + np.int64(_WORD - trailing_zeros(word))


@jit
def _read_streams(data: NDArray[np.uint8], table: NDArray[np.uint16], out: NDArray[np.uint8]) -> bool:
    """Fill ``out`` from a jump table and four streams; return whether that uses them up exactly."""
    if data.size < 10:
        return False
    quarter = (out.size + 3) // 4
    last = out.size - 3 * quarter
    begin1 = 6 + _take_number(data, 0, 2)
    begin2 = begin1 + _take_number(data, 2, 2)
    begin3 = begin2 + _take_number(data, 4, 2)
    if begin3 >= data.size or last < 1:
        return False
    s0, s1, s2, s3 = data[6:begin1], data[begin1:begin2], data[begin2:begin3], data[begin3:]
    o0, o1 = out[:quarter], out[quarter : 2 * quarter]
    o2, o3 = out[2 * quarter : 3 * quarter], out[3 * quarter :]
    p0, p1, p2, p3 = _open_bits(s0), _open_bits(s1), _open_bits(s2), _open_bits(s3)
    if min(min(p0, p1), min(p2, p3)) < 0:
        return False
    done = np.uint64(0)
    if min(min(s0.size, s1.size), min(s2.size, s3.size)) >= 8:
        # A word holds the next bits, then a 1 that tells how many were taken. Each round takes at most
        # seven bytes (five codes of 11 bits, and seven bits left over) of a stream.
        a0, a1 = np.uint64(s0.size - 8), np.uint64(s1.size - 8)
        a2, a3 = np.uint64(s2.size - 8), np.uint64(s3.size - 8)
        w0 = (load64(s0, a0) | _ONE) << np.uint64(8 * s0.size - p0)
        w1 = (load64(s1, a1) | _ONE) << np.uint64(8 * s1.size - p1)
        w2 = (load64(s2, a2) | _ONE) << np.uint64(8 * s2.size - p2)
        w3 = (load64(s3, a3) | _ONE) << np.uint64(8 * s3.size - p3)
        while True:
            rounds = min(min(min(a0, a1), min(a2, a3)) // _SEVEN, (np.uint64(last) - done) // _FIVE)
            if rounds == 0:
                break
            end = done + _FIVE * rounds
            while done < end:
                for _ in range(5):
                    w0, o0[done] = _step(w0, table)
                    w1, o1[done] = _step(w1, table)
                    w2, o2[done] = _step(w2, table)
                    w3, o3[done] = _step(w3, table)
                    done += _ONE
                t0, t1 = trailing_zeros(w0), trailing_zeros(w1)
                t2, t3 = trailing_zeros(w2), trailing_zeros(w3)
                a0, a1 = a0 - (t0 >> _THREE), a1 - (t1 >> _THREE)
                a2, a3 = a2 - (t2 >> _THREE), a3 - (t3 >> _THREE)
                w0, w1 = (load64(s0, a0) | _ONE) << (t0 & _SEVEN), (load64(s1, a1) | _ONE) << (t1 & _SEVEN)
                w2, w3 = (load64(s2, a2) | _ONE) << (t2 & _SEVEN), (load64(s3, a3) | _ONE) << (t3 & _SEVEN)
        p0, p1 = _bits_left(a0, w0), _bits_left(a1, w1)
        p2, p3 = _bits_left(a2, w2), _bits_left(a3, w3)
    return (
        _read_rest(s0, p0, table, o0[done:])
        and _read_rest(s1, p1, table, o1[done:])
        and _read_rest(s2, p2, table, o2[done:])
        and _read_rest(s3, p3, table, o3[done:])
    )


@jit
def _read_block(
    data: NDArray[np.uint8], table: NDArray[np.uint16], has_table: bool, out: NDArray[np.uint8]
) -> int:
    """Decode the literals of a block to the beginning of ``out``; return their number, or -1."""
    if data.size < 3:
        return -1
    literals_type, form = data[0] & 3, data[0] >> 2 & 3
    header, bits = (5, 18) if form == 3 else (4, 14) if form == 2 else (3, 10)
    if data.size < header or literals_type < _NEW or (literals_type == _AGAIN and not has_table):
        return -1
    numbers = _take_number(data, 0, header) >> 4
    size, coded = numbers & ((1 << bits) - 1), numbers >> bits
    # Nothing but a byte of 0, which means no sequences, follows the literals.
    if size > out.size or header + coded + 1 != data.size or data[data.size - 1]:
        return -1
    at = header
    if literals_type == _NEW:
        lengths = np.zeros(SYMBOLS, np.uint8)
        described = read_codes(data[at : header + coded], lengths)
        if not described:
            return -1
        at += described
        _fill_table(lengths, table)
    streams = data[at : header + coded]
    whole = (
        _read_stream(streams, table, out[:size]) if form == 0 else _read_streams(streams, table, out[:size])
    )
    return size if whole else -1


@jit
def decode_frame(frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """See the reference."""
    if frame.size < 9 or _take_number(frame, 0, 4) != _MAGIC:
        return -1
    form, at = frame[4], 5
    width = 1 if form == 0x20 else 2 if form == 0x60 else 4 if form == 0xA0 else 0
    if not width or frame.size < at + width:
        return -1
    size = _take_number(frame, at, width) + (256 if width == 2 else 0)
    if size > out.size:
        return -1
    at += width
    table, has_table, done = np.empty(1 << LONGEST, np.uint16), False, 0
    while True:
        if frame.size < at + 3:
            return -1
        header = _take_number(frame, at, 3)
        last, block_type, count = header & 1, header >> 1 & 3, header >> 3
        at += 3
        taken = 1 if block_type == _RLE else count
        if frame.size < at + taken or (block_type != _COMPRESSED and count > size - done):
            return -1
        if block_type == _RAW:
            out[done : done + count] = frame[at : at + count]
            done += count
        elif block_type == _RLE:
            out[done : done + count] = frame[at]
            done += count
        elif block_type == _COMPRESSED:
            count = _read_block(frame[at : at + taken], table, has_table, out[done:size])
            if count < 0:
                return -1
            has_table = True
            done += count
        else:
            return -1
        at += taken
        if last:
            return done if done == size and at == frame.size else -1


@jit
def most_blosc_bytes(size: int, length: int, block: int) -> int:
    """See the reference."""
    count = max(1, (size + length - 1) // length)
    return 16 + 8 * count + count * most_bytes(min(size, length), block)


@jit
def _blosc_header(size: int, length: int, total: int, flags: int, out: NDArray[np.uint8]) -> None:
    for i, value in enumerate((2, 1, flags, 1)):
        out[i] = value
    for i, value in enumerate((size, length, total)):
        _put_number(out, 4 + 4 * i, value, 4)


@jit
def has_repeats(data: NDArray[np.uint8]) -> bool:
    """See the reference."""
    counts, step = np.zeros(SYMBOLS, np.uint32), max(data.size >> 12, 1)
    for i in range(0, data.size, step):
        counts[data[i]] += _COUNT
    common, latest = np.uint8(np.argmax(counts)), np.zeros(1 << _HASH_BITS, np.uint64)
    seen, repeated = 0, 0
    for begin in range(0, data.size - 71, 64):
        part, marks = data[begin : begin + 64], np.uint64(0)
        for i in range(64):
            marks |= np.uint64(part[i] == common) << np.uint64(i)
        if marks:
            after = np.uint64(begin) + trailing_zeros(marks) + _ONE
            word = load64(data, after) << _THREE_BYTES
            slot = word * _HASH >> _HASH_SHIFT
            repeated += latest[slot] == word
            latest[slot] = word
            seen += 1
    return repeated > seen >> 8


@jit
def encode_blosc(
    data: NDArray[np.uint8],
    length: int,
    block: int,
    out: NDArray[np.uint8],
    numbers: NDArray[np.int64],
    ready: NDArray[np.uint8],
) -> int:
    """See the reference."""
    size, length = data.size, min(length, data.size)
    count = (size + length - 1) // length
    at, copied = 16 + 4 * count, 0
    usable = 0 if numbers.size and ready[2] & _MEMCPYED else numbers.size
    for number in range(count):
        _put_number(out, 16 + 4 * number, at, 4)
        if copied < usable and numbers[copied] == number:
            begin = _take_number(ready, 16 + 4 * copied, 4)
            body = 4 + _take_number(ready, begin, 4)
            out[at : at + body] = ready[begin : begin + body]
            at, copied = at + body, copied + 1
            continue
        part = data[number * length : min((number + 1) * length, size)]
        body = encode_frame(part, block, out[at + 4 :])
        if body >= part.size:
            body = part.size
            out[at + 4 : at + 4 + body] = part
        at = _put_number(out, at, body, 4) + body
    if at < 16 + size:
        _blosc_header(size, length, at, _BLOSC_FLAGS, out)
        return at
    _blosc_header(size, length, 16 + size, _BLOSC_FLAGS | _MEMCPYED, out)
    out[16 : 16 + size] = data
    return 16 + size


@jit
def decode_blosc(frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """See the reference."""
    if frame.size < 16 or frame[0] != 2 or frame[1] != 1 or frame[2] != _BLOSC_FLAGS or not frame[3]:
        return -1
    size, length = _take_number(frame, 4, 4), _take_number(frame, 8, 4)
    if size != out.size or size < 1 or _take_number(frame, 12, 4) != frame.size:
        return -1
    if not 1 <= length <= size:
        return -1
    count = (size + length - 1) // length
    first = 16 + 4 * count
    if first > frame.size:
        return -1
    for number in range(count):
        at = _take_number(frame, 16 + 4 * number, 4)
        if at < first or at + 4 > frame.size:
            return -1
        body = _take_number(frame, at, 4)
        part = out[number * length : min((number + 1) * length, size)]
        at += 4
        if body < 1 or at + body > frame.size:
            return -1
        if body == part.size:
            part[:] = frame[at : at + body]
        elif decode_frame(frame[at : at + body], part) != part.size:
            return -1
    return size
