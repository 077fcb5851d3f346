"""CPU kernels, compiled by Numba: the functions of the reference beside, in the same order.

A block has four streams, of a quarter of the bytes each. Two are written, and four are read, at the same
time, so that the processor works on one while it waits for another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_gpu.kernels.cpu_cache import jit
from photon_gpu.kernels.zstd_huffman.cpu_codes import (
    MOST_DESCRIPTION,
    canonical_codes,
    code_lengths,
    describe_codes,
    read_codes,
)
from photon_gpu.kernels.zstd_huffman.cpu_words import bits_below, load64, store64, trailing_zeros

LONGEST, SYMBOLS, FEW, MOST_BLOCK = 11, 256, 256, 1 << 16

_MAGIC = 0xFD2FB528
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_NEW, _AGAIN = 2, 3
_SIZE = np.uint64(63)
_CODE = ~np.uint64(0xFF)
_WORD = np.uint64(64)
_BYTE, _COUNT, _BATCH = np.uint64(255), np.uint32(1), 8
_TOP = np.uint64(64 - LONGEST)
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
def _stream_sizes(counts: NDArray[np.uint32], lengths: NDArray[np.uint8], sizes: NDArray[np.int64]) -> int:
    """Bytes of each stream; return their sum, or -1 where a symbol has no code."""
    total, missing = 0, False
    for part in range(sizes.size):
        bits = np.uint32(0)
        for s in range(SYMBOLS):
            bits += counts[part, s] * np.uint32(lengths[s])
            missing |= (counts[part, s] != 0) & (lengths[s] == 0)
        sizes[part] = (np.int64(bits) + 8) >> 3
        total += sizes[part]
    return -1 if missing else total


@jit
def _finish(
    data: NDArray[np.uint8],
    entries: NDArray[np.uint64],
    word: Any,
    bits: Any,
    out: NDArray[np.uint8],
    at: int,
) -> int:
    """Write the codes of ``data``, last first, and the end mark; return the end of the stream."""
    for i in range(data.size, -1, -1):
        entry = entries[data[i - 1]] if i else np.uint64(1) << _SIZE | np.uint64(1)
        size = entry & _SIZE
        word = word >> size | (entry & _CODE)
        bits += size
        while bits >= _EIGHT or (i == 0 and bits > 0):
            out[at] = np.uint8(word >> (_WORD - bits) & np.uint64(255))
            at += 1
            bits -= min(bits, _EIGHT)
    return at


@jit
def _write_streams(
    data: NDArray[np.uint8], entries: NDArray[np.uint64], sizes: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    """Write the streams of a block behind each other; ``sizes`` is exactly the bytes of each."""
    if sizes.size == 1:
        _finish(data, entries, np.uint64(0), np.uint64(0), out, 0)
        return
    quarter = (data.size + 3) // 4
    begin: Any = 0
    for pair in range(0, 4, 2):
        first = data[pair * quarter : (pair + 1) * quarter]
        second = data[(pair + 1) * quarter : (pair + 2) * quarter]
        p, q = begin, begin + sizes[pair]
        begin = q + sizes[pair + 1]
        v, w, m, n = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        i, j = first.size, second.size
        # 64 codes or more are eight bytes or more: words then stay within their stream.
        while j >= 69:
            x, y = load64(first, i - 8), load64(second, j - 8)
            for shift in (56, 48, 40, 32):
                e, f = entries[x >> np.uint64(shift) & _BYTE], entries[y >> np.uint64(shift) & _BYTE]
                v, m = v >> (e & _SIZE) | e, m + e
                w, n = w >> (f & _SIZE) | f, n + f
            e, f = entries[x >> np.uint64(24) & _BYTE], entries[y >> np.uint64(24) & _BYTE]
            v, m = v >> (e & _SIZE) | (e & _CODE), (m + e) & _SIZE
            w, n = w >> (f & _SIZE) | (f & _CODE), (n + f) & _SIZE
            store64(out, p, v >> (_WORD - m))
            store64(out, q, w >> (_WORD - n))
            p, q = p + np.int64(m >> _THREE), q + np.int64(n >> _THREE)
            m, n = m & _SEVEN, n & _SEVEN
            i, j = i - 5, j - 5
        _finish(first[:i], entries, v, m, out, p)
        _finish(second[:j], entries, w, n, out, q)


@jit
def _put_number(out: NDArray[np.uint8], at: int, value: Any, size: int) -> int:
    """Write the low ``size`` bytes of a number; return the position after them."""
    for i in range(size):
        out[at + i] = value >> (8 * i) & 255
    return at + size


@jit
def _literals_header(kind: int, size: int, coded: int, out: NDArray[np.uint8], at: int) -> int:
    """Write the header of a literals section; return the position after it."""
    if size < FEW:
        return _put_number(out, at, kind | size << 4 | coded << 14, 3)
    if size < 1 << 10:
        return _put_number(out, at, kind | 1 << 2 | size << 4 | coded << 14, 3)
    if size < 1 << 14:
        return _put_number(out, at, kind | 2 << 2 | size << 4 | coded << 18, 4)
    return _put_number(out, at, kind | 3 << 2 | size << 4 | coded << 22, 5)


@jit
def _write_block(
    data: NDArray[np.uint8],
    last: int,
    entries: NDArray[np.uint64],
    lengths: NDArray[np.uint8],
    out: NDArray[np.uint8],
    at: int,
) -> int:
    """Write a block in the shortest way; ``lengths`` and ``entries`` are those of the latest description."""
    counts = np.empty((4, SYMBOLS), np.uint32)
    whole, fresh = np.empty(SYMBOLS, np.uint32), np.empty(SYMBOLS, np.uint8)
    description, codes = np.empty(MOST_DESCRIPTION, np.uint8), np.empty(SYMBOLS, np.uint16)
    size = data.size
    count_quarters(data, counts)
    for s in range(SYMBOLS):
        whole[s] = counts[0, s] + counts[1, s] + counts[2, s] + counts[3, s]
    if size and whole[data[0]] == size:
        at = _put_number(out, at, last | _RLE << 1 | size << 3, 3)
        out[at] = data[0]
        return at + 1
    streams = 1 if size < FEW else 4
    if streams == 1:
        counts[0] = whole
    sizes, other = np.empty(streams, np.int64), np.empty(streams, np.int64)
    kind, described, coded = _AGAIN, 0, _stream_sizes(counts, lengths, sizes)
    if size:
        code_lengths(whole, fresh)
        described = describe_codes(fresh, description)
        anew = described + _stream_sizes(counts, fresh, other)
        if described and (coded < 0 or anew < coded):
            kind, coded, sizes = _NEW, anew, other
    jump = 0 if streams == 1 else 6
    header = 3 if size < 1 << 10 else 4 if size < 1 << 14 else 5
    if coded < 0 or header + jump + coded + 1 >= size:
        at = _put_number(out, at, last | _RAW << 1 | size << 3, 3)
        out[at : at + size] = data
        return at + size
    coded += jump
    if kind == _NEW:
        lengths[:] = fresh
        canonical_codes(lengths, codes)
        for s in range(SYMBOLS):
            code = np.uint64(codes[s]) << ((_WORD - np.uint64(lengths[s])) & _SIZE)
            entries[s] = code | np.uint64(lengths[s])
    at = _put_number(out, at, last | _COMPRESSED << 1 | (header + coded + 1) << 3, 3)
    at = _literals_header(kind, size, coded, out, at)
    if kind == _NEW:
        out[at : at + described] = description[:described]
        at += described
    if jump:
        for part in range(3):
            at = _put_number(out, at, sizes[part], 2)
    total = 0
    for part in range(streams):
        total += sizes[part]
    _write_streams(data, entries, sizes, out[at : at + total])
    out[at + total] = 0
    return at + total + 1


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
    start = 0
    while True:
        stop = min(start + block, size)
        at = _write_block(data[start:stop], 1 if stop == size else 0, entries, lengths, out, at)
        if stop == size:
            return at
        start = stop


@jit
def _take_number(data: NDArray[np.uint8], at: int, size: int) -> int:
    """Number in ``size`` bytes, which lie within ``data``."""
    value: Any = 0
    for i in range(size):
        value |= np.int64(data[at + i]) << (8 * i)
    return value


@jit
def _fill_table(lengths: NDArray[np.uint8], table: NDArray[np.uint16]) -> None:
    """Symbol (high byte) and length (low byte) of the code that each number of 11 bits begins with."""
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
    """Read symbols from below ``bit`` to all of ``out``; return whether that takes the stream exactly."""
    for i in range(out.size):
        entry = table[bits_below(stream, bit, LONGEST)]
        out[i] = entry >> 8
        bit -= entry & 255
        if bit < 0:
            return False
    return bit == 0


@jit
def _open_bits(stream: NDArray[np.uint8]) -> Any:
    """Number of bits before the end mark; -1 without one."""
    if not stream.size or not stream[stream.size - 1]:
        return -1
    bit = 7
    while not stream[stream.size - 1] >> bit:
        bit -= 1
    return 8 * (stream.size - 1) + bit


@jit
def _read_stream(stream: NDArray[np.uint8], table: NDArray[np.uint16], out: NDArray[np.uint8]) -> bool:
    """Read a single stream to all of ``out``; return whether that takes it exactly."""
    bit = _open_bits(stream)
    return bit >= 0 and _read_rest(stream, bit, table, out)


@jit
def _step(word: Any, table: NDArray[np.uint16]) -> Any:
    entry = table[word >> _TOP]
    return word << np.uint64(entry & 63), np.uint8(entry >> 8)


@jit
def _read_streams(data: NDArray[np.uint8], table: NDArray[np.uint16], out: NDArray[np.uint8]) -> bool:
    """Read four streams behind their jump table to all of ``out``; return whether that takes them exactly."""
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
    done = 0
    if min(min(s0.size, s1.size), min(s2.size, s3.size)) >= 8:
        # A word holds the next bits, then a 1 that tells how many were taken. Each round takes at most
        # seven bytes (five codes of 11 bits, and seven bits left over) of a stream.
        a0: Any = s0.size - 8
        a1: Any = s1.size - 8
        a2: Any = s2.size - 8
        a3: Any = s3.size - 8
        w0 = (load64(s0, a0) | _ONE) << np.uint64(8 * s0.size - p0)
        w1 = (load64(s1, a1) | _ONE) << np.uint64(8 * s1.size - p1)
        w2 = (load64(s2, a2) | _ONE) << np.uint64(8 * s2.size - p2)
        w3 = (load64(s3, a3) | _ONE) << np.uint64(8 * s3.size - p3)
        while True:
            rounds = min(min(min(a0, a1), min(a2, a3)) // 7, (last - done) // 5)
            if rounds <= 0:
                break
            for _ in range(rounds):
                for i in range(done, done + 5):
                    w0, o0[i] = _step(w0, table)
                    w1, o1[i] = _step(w1, table)
                    w2, o2[i] = _step(w2, table)
                    w3, o3[i] = _step(w3, table)
                done += 5
                t0, t1, t2, t3 = (
                    trailing_zeros(w0),
                    trailing_zeros(w1),
                    trailing_zeros(w2),
                    trailing_zeros(w3),
                )
                a0, a1 = a0 - np.int64(t0 >> _THREE), a1 - np.int64(t1 >> _THREE)
                a2, a3 = a2 - np.int64(t2 >> _THREE), a3 - np.int64(t3 >> _THREE)
                w0, w1 = (load64(s0, a0) | _ONE) << (t0 & _SEVEN), (load64(s1, a1) | _ONE) << (t1 & _SEVEN)
                w2, w3 = (load64(s2, a2) | _ONE) << (t2 & _SEVEN), (load64(s3, a3) | _ONE) << (t3 & _SEVEN)
        p0, p1 = 8 * a0 + 64 - np.int64(trailing_zeros(w0)), 8 * a1 + 64 - np.int64(trailing_zeros(w1))
        p2, p3 = 8 * a2 + 64 - np.int64(trailing_zeros(w2)), 8 * a3 + 64 - np.int64(trailing_zeros(w3))
    return (
        _read_rest(s0, p0, table, o0[done:])
        and _read_rest(s1, p1, table, o1[done:])
        and _read_rest(s2, p2, table, o2[done:])
        and _read_rest(s3, p3, table, o3[done:])
    )


@jit
def _read_block(
    data: NDArray[np.uint8], table: NDArray[np.uint16], known: bool, out: NDArray[np.uint8]
) -> int:
    """Decode the literals of a block to the beginning of ``out``; return their number, or -1."""
    if data.size < 3:
        return -1
    kind, form = data[0] & 3, data[0] >> 2 & 3
    header, bits = (5, 18) if form == 3 else (4, 14) if form == 2 else (3, 10)
    if data.size < header or kind < _NEW or (kind == _AGAIN and not known):
        return -1
    numbers = _take_number(data, 0, header) >> 4
    size, coded = numbers & ((1 << bits) - 1), numbers >> bits
    # Nothing but a byte of 0, which means no sequences, follows the literals.
    if size > out.size or header + coded + 1 != data.size or data[data.size - 1]:
        return -1
    at = header
    if kind == _NEW:
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
    table, known, done = np.empty(1 << LONGEST, np.uint16), False, 0
    while True:
        if frame.size < at + 3:
            return -1
        header = _take_number(frame, at, 3)
        last, kind, count = header & 1, header >> 1 & 3, header >> 3
        at += 3
        taken = 1 if kind == _RLE else count
        if frame.size < at + taken or (kind != _COMPRESSED and count > size - done):
            return -1
        if kind == _RAW:
            out[done : done + count] = frame[at : at + count]
            done += count
        elif kind == _RLE:
            out[done : done + count] = frame[at]
            done += count
        elif kind == _COMPRESSED:
            count = _read_block(frame[at : at + taken], table, known, out[done:size])
            if count < 0:
                return -1
            known = True
            done += count
        else:
            return -1
        at += taken
        if last:
            return done if done == size and at == frame.size else -1
