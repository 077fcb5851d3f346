"""Encode and decode frames in plain Python and NumPy; the other versions write the same bytes.

A frame holds blocks of ``block`` bytes; the last may be shorter. A block is stored as it is, or is one byte
repeated, or is Huffman-coded in one stream or four. Up to eight neighbouring blocks share codes that fit them
together, and the first of them describes these codes. If that is shorter, they use the codes that were
described last in the frame. Two or four whole blocks that share codes become one, of up to 128 KiB. RFC 8878
defines everything else.

The caller allocates every output. Arrays are contiguous; ``counts`` are uint32, ``codes`` uint16, all others
uint8. Decoders accept any bytes: they return an error, and read and write nothing outside the arrays.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

LONGEST = 11
"""Bits of the longest code."""

SYMBOLS = 256

FEW = 256
"""Blocks of fewer bytes have one stream, others four."""

MOST_BLOCK = 1 << 16
"""Bytes of the longest block that is written."""

MOST_SHARED = 8
"""Most blocks that share a description of their codes."""

_MOST_JOINED, _MOST_JOINED_BYTES = 4, 1 << 17
_MAGIC = (0xFD2FB528).to_bytes(4, "little")
_OVERHEAD = 16  # bytes of a coded block beside its codes and their description
_DESCRIBED, _DESCRIBED_SYMBOL = 64, 3  # bits of a description, about, and for each symbol
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_NEW, _AGAIN = 2, 3
_LOG = 6  # accuracy of the weights' probabilities: a table of 64 states
_MOST_DESCRIPTION = 128
_HASH, _HASH_BITS = 0x9E3779B97F4A7C15, 12
_BLOSC_FLAGS, _MEMCPYED = 0x90, 0x02  # zstd, blocks of one stream, no shuffle; stored as it is


def about_bits(counts: NDArray[np.uint32]) -> int:
    """Estimate the bits that the counted symbols take in the best code of at most 11 bits.

    This is their entropy with every share raised to at least 2**-11. Logarithms use nine bits, in 1/65536.
    """

    def logarithm(value: int) -> int:
        bit = value.bit_length() - 1
        return bit << 16 | round(math.log2(1 + ((value << 8 >> bit) & 255) / 256) * 65536)

    seen = [int(count) for count in counts if count]
    total = sum(seen)
    shares = [max(count, total >> LONGEST) for count in seen]
    bits = sum(count * logarithm(share) for count, share in zip(seen, shares, strict=True))
    return total * logarithm(sum(shares)) - bits >> 16 if seen else 0


def code_lengths(counts: NDArray[np.uint32], lengths: NDArray[np.uint8]) -> int:
    """Find the lengths of the best code of at most 11 bits; return the number of symbols with a count.

    The method is package-merge: eleven times, the sorted list of symbols is merged with pairs of the list
    before. A symbol's length is how often it occurs in the first ``2*n - 2`` items. Of equal items, symbols
    come first, by number. Counts are below 2**20. With fewer than two symbols all lengths are 0.
    """
    leaves = sorted((int(count), symbol) for symbol, count in enumerate(counts) if count)
    lengths[:] = 0
    items: list[tuple[int, list[int]]] = []
    for _ in range(LONGEST):
        pairs = zip(items[0::2], items[1::2], strict=False)
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
        items = sorted([(count, [s]) for count, s in leaves] + packages, key=lambda item: item[0])
    for _, symbols in items[: max(2 * len(leaves) - 2, 0)]:
        for symbol in symbols:
            lengths[symbol] += 1
    return len(leaves)


def canonical_codes(lengths: NDArray[np.uint8], codes: NDArray[np.uint16]) -> None:
    """Number the codes as zstd does: from the longest, which begin with 0, and by symbol."""
    codes[:] = 0
    code = 0
    for length in range(LONGEST, 0, -1):
        for symbol in np.flatnonzero(lengths == length):
            codes[symbol] = code
            code += 1
        code >>= 1


def describe_codes(lengths: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """Write the description of codes (RFC 8878, 4.2.1) to ``out (128,)``; return its bytes.

    It lists the weight of every symbol but the last, four bits each or FSE-coded if that is shorter. A
    code whose list is too long for either has no description, and 0 is returned.
    """
    used = np.flatnonzero(lengths)
    weights = [int(lengths.max()) + 1 - int(length) if length else 0 for length in lengths[: used[-1]]]
    direct = b""
    if len(weights) <= 128:
        padded = [*weights, 0]
        pairs = [padded[i] << 4 | padded[i + 1] for i in range(0, len(weights), 2)]
        direct = bytes([127 + len(weights), *pairs])
    coded = _coded_weights(weights)
    text = coded if coded and (not direct or len(coded) < len(direct)) else direct
    out[: len(text)] = np.frombuffer(text, np.uint8)
    return len(text)


def read_codes(data: NDArray[np.uint8], lengths: NDArray[np.uint8]) -> int:
    """Read the description at the start of ``data``; return its bytes, or 0 if it is not supported.

    Those of other encoders may not be: FSE tables of other sizes than 64, or with probabilities below one
    state.
    """
    whole = data.tobytes()
    if not whole:
        return 0
    if whole[0] > 127:
        count, size = whole[0] - 127, 1 + (whole[0] - 126) // 2
        halves = [half for byte in whole[1:size] for half in (byte >> 4, byte & 15)]
        weights = halves[:count]
    else:
        size = 1 + whole[0]
        weights = _decoded_weights(whole[1:size]) if size <= len(whole) else []
    total = sum(1 << weight >> 1 for weight in weights)
    if size > len(whole) or max(weights, default=LONGEST + 1) > LONGEST or not 0 < total < 1 << LONGEST:
        return 0
    longest = total.bit_length()
    rest = (1 << longest) - total
    weights.append(rest.bit_length())
    if rest & (rest - 1) or weights.count(1) < 2:
        return 0
    lengths[:] = 0
    lengths[: len(weights)] = [longest + 1 - weight if weight else 0 for weight in weights]
    return size


def most_bytes(size: int, block: int) -> int:
    """Return the most bytes that a frame of ``size`` bytes in blocks of ``block`` can have."""
    return 9 + size + 3 * max(1, -(-size // block))


def count_quarters(data: NDArray[np.uint8], counts: NDArray[np.uint32]) -> None:
    """Count the symbols of each quarter of a block, ``counts (4, 256)``; the last may be shorter."""
    quarter = -(-data.size // 4)
    for part in range(4):
        counts[part] = np.bincount(data[part * quarter : (part + 1) * quarter], minlength=SYMBOLS)


def encode_frame(data: NDArray[np.uint8], block: int, out: NDArray[np.uint8]) -> int:
    """Write the frame of ``data``, in blocks of up to 65536 bytes, to ``out``; return its bytes.

    ``out`` has :func:`most_bytes` elements. If two forms have the same length, the latest codes are kept, and
    bytes are stored as they are.
    """
    size = data.size
    if size < 256:
        frame = _MAGIC + bytes([0x20, size])
    elif size < 65536 + 256:
        frame = _MAGIC + b"\x60" + (size - 256).to_bytes(2, "little")
    else:
        frame = _MAGIC + b"\xa0" + size.to_bytes(4, "little")
    lengths, blocks = None, [data[start : start + block] for start in range(0, max(size, 1), block)]
    done = 0
    for first in range(0, len(blocks), MOST_SHARED):
        for group, whole in _groups(blocks[first : first + MOST_SHARED], block):
            latest = lengths
            described, lengths = _description(whole, latest)
            for part in group:
                done += part.size
                text = _block(part, done == size, described, lengths)
                described = b"" if text[0] >> 1 & 3 == _COMPRESSED else described
                frame += text
            lengths = latest if described else lengths  # those may not be in the frame
    out[: len(frame)] = np.frombuffer(frame, np.uint8)
    return len(frame)


def decode_frame(frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """Decode a frame to the beginning of ``out``; return the number of bytes, or -1.

    -1 means that the frame is damaged, is longer than ``out``, or has what this decoder does not support:
    sequences, checksums, dictionaries, windows. The caller then leaves the frame to zstd.
    """
    text = frame.tobytes()
    width = {0x20: 1, 0x60: 2, 0xA0: 4}.get(text[4] if len(text) > 8 else 0, 0)
    if text[:4] != _MAGIC or not width or len(text) < 5 + width:
        return -1
    size = int.from_bytes(text[5 : 5 + width], "little") + (256 if width == 2 else 0)
    at, last, content, lengths = 5 + width, 0, b"", None
    while not last:
        header = int.from_bytes(text[at : at + 3], "little")
        last, block_type, count = header & 1, header >> 1 & 3, header >> 3
        at += 3
        body = text[at : at + (1 if block_type == _RLE else count)]
        at += 1 if block_type == _RLE else count
        if at > len(text) or block_type > _COMPRESSED or size > out.size:
            return -1
        if block_type == _COMPRESSED:
            literals, lengths = _decoded_block(body, lengths, size - len(content))
            if literals is None:
                return -1
            content += literals
        else:
            content += body * count if block_type == _RLE and len(content) + count <= size else body
        if len(content) > size:
            return -1
    if at != len(text) or len(content) != size:
        return -1
    out[:size] = np.frombuffer(content, np.uint8)
    return size


def most_blosc_bytes(size: int, length: int, block: int) -> int:
    """Return the most bytes that :func:`encode_blosc` writes."""
    count = max(1, -(-size // length))
    return 16 + 8 * count + count * most_bytes(min(size, length), block)


def has_repeats(data: NDArray[np.uint8]) -> bool:
    """Return whether five bytes often occur again, so that a search for matches may shorten ``data``.

    The five bytes after the first common byte of each 64 are looked up among those seen before, by a hash.
    It is often if more than one in 256 were seen.
    """
    text, latest = data.tobytes(), dict.fromkeys(range(1 << _HASH_BITS), 0)
    common = np.bincount(data[:: max(data.size >> 12, 1)], minlength=SYMBOLS).argmax()
    is_common = data[: max(data.size - 8, 0) // 64 * 64].reshape(-1, 64) == common
    parts = np.flatnonzero(is_common.any(axis=1))
    repeated = 0
    for at in (64 * parts + is_common[parts].argmax(axis=1) + 1).tolist():
        word = int.from_bytes(text[at : at + 5], "little") << 24
        slot = (word * _HASH & (1 << 64) - 1) >> 64 - _HASH_BITS
        repeated += latest[slot] == word
        latest[slot] = word
    return bool(repeated > len(parts) >> 8)


def encode_blosc(
    data: NDArray[np.uint8],
    length: int,
    block: int,
    out: NDArray[np.uint8],
    numbers: NDArray[np.int64],
    ready: NDArray[np.uint8],
) -> int:
    """Write a Blosc 1 frame whose blocks of ``length`` bytes are frames of this module; return its bytes.

    A block that does not shrink is stored as it is, and so is all of ``data`` if the frame would not be
    shorter. ``data`` is not empty; ``out`` has :func:`most_blosc_bytes` elements. The rising ``numbers`` are
    those of blocks that need not be encoded: ``ready`` is a frame of this function that holds just them (and
    is not used if that stores them as they are).
    """
    length = min(length, data.size)
    bodies = []
    for number, start in enumerate(range(0, data.size, length)):
        if number in numbers and not ready[2] & _MEMCPYED:
            where = 16 + 4 * int(np.searchsorted(numbers, number))
            begin = int.from_bytes(ready[where : where + 4].tobytes(), "little")
            end = begin + 4 + int.from_bytes(ready[begin : begin + 4].tobytes(), "little")
            bodies.append(ready[begin:end].tobytes())
            continue
        part = data[start : start + length]
        body = np.empty(most_bytes(part.size, block), np.uint8)
        size = encode_frame(part, block, body)
        text = body[:size].tobytes() if size < part.size else part.tobytes()
        bodies.append(len(text).to_bytes(4, "little") + text)
    first = 16 + 4 * len(bodies)
    starts = [first + sum(map(len, bodies[:i])) for i in range(len(bodies))]
    table = b"".join(start.to_bytes(4, "little") for start in starts)
    flags, total = _BLOSC_FLAGS, first + sum(map(len, bodies))
    content = table + b"".join(bodies)
    if total >= 16 + data.size:
        flags, total, content = _BLOSC_FLAGS | _MEMCPYED, 16 + data.size, data.tobytes()
    fields = b"".join(field.to_bytes(4, "little") for field in (data.size, length, total))
    frame = bytes([2, 1, flags, 1]) + fields + content
    out[: len(frame)] = np.frombuffer(frame, np.uint8)
    return len(frame)


def decode_blosc(frame: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
    """Decode a Blosc 1 frame to all of ``out``; return the number of bytes, or -1.

    -1 means that the frame is damaged, has another size, or is not supported (shuffled, another compressor,
    or blocks that :func:`decode_frame` does not support). The caller then leaves the frame to Blosc, and
    ``out`` is undefined.
    """
    text = frame.tobytes()
    if len(text) < 16 or text[:3] != bytes([2, 1, _BLOSC_FLAGS]) or not text[3]:
        return -1
    nbytes, length, total = (int.from_bytes(text[i : i + 4], "little", signed=True) for i in (4, 8, 12))
    if nbytes != out.size or not 1 <= length <= nbytes or total != len(text):
        return -1
    count = -(-nbytes // length)
    first = 16 + 4 * count
    for number in range(count):
        start = int.from_bytes(text[16 + 4 * number : 20 + 4 * number], "little", signed=True)
        part = out[number * length : (number + 1) * length]
        size = int.from_bytes(text[start : start + 4], "little", signed=True) if start >= first else 0
        if size < 1 or start + 4 + size > len(text) or first > len(text):
            return -1
        body = frame[start + 4 : start + 4 + size]
        if size == part.size:
            part[:] = body
        elif decode_frame(body, part) != part.size:
            return -1
    return nbytes


def _groups(
    blocks: list[NDArray[np.uint8]], block: int
) -> list[tuple[list[NDArray[np.uint8]], NDArray[np.uint32]]]:
    """Group up to eight blocks that share codes; return each group with the sum of its coded blocks' counts.

    Neighbours of one, two or four blocks each share codes where that takes no more bits than codes of their
    own. If all of them are whole and coded, each two or four of them become one block.
    """

    def cost(counts: NDArray[np.uint32], size: int) -> int:
        seen = int(np.count_nonzero(counts))
        described = _DESCRIBED + _DESCRIBED_SYMBOL * seen + 8 * _OVERHEAD * max(1, size // _MOST_JOINED)
        return about_bits(counts) + (described if seen else 0)

    counts = []
    for data in blocks:
        own = np.bincount(data, minlength=SYMBOLS).astype(np.uint32)
        coded = np.count_nonzero(own) > 1 and about_bits(own) < 8 * (data.size - _OVERHEAD)
        counts.append(own if coded else np.zeros(SYMBOLS, np.uint32))

    def joined(first: int, size: int) -> tuple[int, list[tuple[int, NDArray[np.uint32]]]]:
        """Return the cost of ``size`` blocks from ``first`` on, and their groups as lengths and counts."""
        if first >= len(blocks):
            return 0, [(size, np.zeros(SYMBOLS, np.uint32))]
        if size == 1:
            return cost(counts[first], 1), [(1, counts[first])]
        (a, left), (b, right) = joined(first, size // 2), joined(first + size // 2, size // 2)
        whole = left[0][1] + right[0][1]
        if len(left) == len(right) == 1 and cost(whole, size) <= a + b:
            return cost(whole, size), [(size, whole)]
        return a + b, left + right

    groups, first = [], 0
    for size, whole in joined(0, MOST_SHARED)[1]:
        group, each = blocks[first : first + size], 1
        if all(part.size == block and own.any() for part, own in zip(group, counts[first:], strict=False)):
            while (
                each < _MOST_JOINED
                and len(group) % (2 * each) == block % 4 == 0
                and 2 * each * block <= _MOST_JOINED_BYTES
            ):
                each *= 2
        parts = [np.concatenate(group[i : i + each]) for i in range(0, len(group), each)]
        groups.append((parts, whole))
        first += size
    return [(group, whole) for group, whole in groups if group]


def _description(
    whole: NDArray[np.uint32], latest: NDArray[np.uint8] | None
) -> tuple[bytes, NDArray[np.uint8] | None]:
    """Return description and code lengths for blocks with these counts; the latest codes need none."""
    lengths, description = np.empty(SYMBOLS, np.uint8), np.empty(_MOST_DESCRIPTION, np.uint8)
    if code_lengths(whole, lengths) < 2:
        return b"", latest
    text = description[: describe_codes(lengths, description)].tobytes()
    again = math.inf if latest is None or (whole[latest == 0] > 0).any() else int((whole * latest).sum())
    if not text or int((whole * lengths).sum()) + 8 * len(text) >= again:
        return b"", latest
    return text, lengths


def _block(data: NDArray[np.uint8], last: bool, described: bytes, lengths: NDArray[np.uint8] | None) -> bytes:
    """Encode a block in the shortest form; a coded one holds the description."""
    size = data.size
    raw = _header(last, _RAW, size) + data.tobytes()
    if size and (data == data[0]).all():
        return _header(last, _RLE, size) + data[:1].tobytes()
    if lengths is None or not lengths[data].all():
        return raw
    text = described + _streams(data, lengths)
    form, width = (0 if size < FEW else 1, 10) if size < 1 << 10 else (2, 14) if size < 1 << 14 else (3, 18)
    header = (4 + 2 * width) // 8
    total = header + len(text) + 1
    if total >= size:
        return raw
    literals_type = _NEW if described else _AGAIN
    section = (literals_type | form << 2 | size << 4 | len(text) << 4 + width).to_bytes(header, "little")
    return _header(last, _COMPRESSED, total) + section + text + b"\0"


def _header(last: bool, block_type: int, size: int) -> bytes:
    return (int(last) | block_type << 1 | size << 3).to_bytes(3, "little")


def _streams(data: NDArray[np.uint8], lengths: NDArray[np.uint8]) -> bytes:
    """Encode the streams of a block; a table of the sizes of the first three precedes four streams."""
    codes = np.empty(SYMBOLS, np.uint16)
    canonical_codes(lengths, codes)
    if data.size < FEW:
        return _stream(data, lengths, codes)
    quarter = -(-data.size // 4)
    streams = [_stream(data[i : i + quarter], lengths, codes) for i in range(0, data.size, quarter)]
    return b"".join([len(stream).to_bytes(2, "little") for stream in streams[:3]] + streams)


def _stream(data: NDArray[np.uint8], lengths: NDArray[np.uint8], codes: NDArray[np.uint16]) -> bytes:
    """Encode a stream. It is read from its highest bit down, so the last symbol is written first."""
    bits = "1" + "".join(format(int(codes[s]), f"0{int(lengths[s])}b") for s in data)
    return int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")


def _decoded_block(
    body: bytes, lengths: NDArray[np.uint8] | None, most: int
) -> tuple[bytes | None, NDArray[np.uint8] | None]:
    """Decode a block without sequences; return its literals, or None for another block, and its codes."""
    literals_type, form = (body[0] & 3, body[0] >> 2 & 3) if len(body) > 2 else (0, 0)
    header, bits = {2: (4, 14), 3: (5, 18)}.get(form, (3, 10))
    numbers = int.from_bytes(body[:header], "little") >> 4
    size, coded = numbers & ((1 << bits) - 1), numbers >> bits
    text = body[header:-1]
    if (
        literals_type < _NEW
        or size > most
        or len(text) != coded
        or len(body) != header + coded + 1
        or body[-1]
    ):
        return None, lengths
    if literals_type == _NEW:
        lengths = np.empty(SYMBOLS, np.uint8)
        described = read_codes(np.frombuffer(text, np.uint8), lengths)
        if not described:
            return None, None
        text = text[described:]
    if lengths is None:
        return None, None
    streams, sizes = [text], [size]
    if form:
        jumps = [int.from_bytes(text[i : i + 2], "little") for i in (0, 2, 4)]
        ends = [6, *(6 + sum(jumps[: i + 1]) for i in range(3)), len(text)]
        streams = [text[a:b] for a, b in itertools.pairwise(ends)]
        quarter = -(-size // 4)
        sizes = [quarter, quarter, quarter, size - 3 * quarter]
        if ends[3] >= len(text) or sizes[3] < 1:
            return None, lengths
    parts = [_decoded_stream(stream, count, lengths) for stream, count in zip(streams, sizes, strict=True)]
    return (None if None in parts else b"".join(part for part in parts if part is not None)), lengths


def _decoded_stream(stream: bytes, count: int, lengths: NDArray[np.uint8]) -> bytes | None:
    """Decode a stream; None unless ``count`` symbols use it up exactly."""
    if not stream or not stream[-1]:
        return None
    codes = np.empty(SYMBOLS, np.uint16)
    canonical_codes(lengths, codes)
    symbols = {format(int(codes[s]), f"0{int(lengths[s])}b"): int(s) for s in np.flatnonzero(lengths)}
    bits, out, code = format(int.from_bytes(stream, "little"), "b")[1:], bytearray(), ""
    for bit in bits:
        code += bit
        if code in symbols:
            out.append(symbols[code])
            code = ""
    return bytes(out) if not code and len(out) == count else None


class _Bits:
    """Number to which bits are appended, the lowest first."""

    def __init__(self) -> None:
        self.value, self.size = 0, 0

    def put(self, value: int, size: int) -> None:
        self.value |= (value & ((1 << size) - 1)) << self.size
        self.size += size

    def bytes(self) -> bytes:
        return self.value.to_bytes((self.size + 7) // 8, "little")


def _probabilities(weights: list[int]) -> list[int]:
    """Return the probabilities of weights in 1/64: rounded down, at least 1, then corrected to add up."""
    counts, total, size = [weights.count(weight) for weight in range(LONGEST + 1)], len(weights), 1 << _LOG
    out = [max(1, count * size // total) if count else 0 for count in counts]
    while sum(out) != size:
        sign = 1 if sum(out) < size else -1
        able = [weight for weight in range(LONGEST + 1) if out[weight] > (0 if sign > 0 else 1)]
        out[max(able, key=lambda weight: sign * (counts[weight] * size - out[weight] * total))] += sign
    return out


def _states(probabilities: list[int]) -> list[int]:
    """Return the weight of each of the 64 states."""
    states, at, size = [0] * (1 << _LOG), 0, 1 << _LOG
    for weight, probability in enumerate(probabilities):
        for _ in range(probability):
            states[at] = weight
            at = (at + size // 2 + size // 8 + 3) % size
    return states


def _coded_weights(weights: list[int]) -> bytes:
    """Encode weights by FSE, with their length; return nothing if all are equal or the result is too long."""
    if len(set(weights)) < 2:
        return b""
    probabilities, size = _probabilities(weights), 1 << _LOG
    header = _Bits()
    header.put(_LOG - 5, 4)
    left, weight = size + 1, 0
    while left > 1:
        width = left.bit_length()
        most = (1 << width) - 1 - left
        value = probabilities[weight] + 1
        left -= probabilities[weight]
        value += most if value >= 1 << (width - 1) else 0
        header.put(value, width - (value < most))
        weight += 1
        if probabilities[weight - 1] == 0:
            zeros = next(i for i, other in enumerate(probabilities[weight:]) if other)
            weight += zeros
            for _ in range(zeros // 3):
                header.put(3, 2)
            header.put(zeros % 3, 2)
    numbers: dict[int, list[int]] = {weight: [] for weight in range(LONGEST + 1)}
    for number, weight in enumerate(_states(probabilities)):
        numbers[weight].append(size + number)
    stream, states = _Bits(), [0, 0]
    for i in reversed(range(len(weights))):
        own_states, count, state = numbers[weights[i]], probabilities[weights[i]], states[i % 2]
        if not state:
            states[i % 2] = own_states[0]
            continue
        shift = next(bits for bits in range(_LOG + 1) if state >> bits < 2 * count)
        stream.put(state, shift)
        states[i % 2] = own_states[(state >> shift) - count]
    for state in reversed(states):
        stream.put(state, _LOG)
    stream.put(1, 1)
    text = header.bytes() + stream.bytes()
    return bytes([len(text)]) + text if len(text) < _MOST_DESCRIPTION else b""


def _decoded_weights(text: bytes) -> list[int]:
    """Decode what :func:`_coded_weights` returns, without its first byte; no weights if that fails."""
    bits, at = int.from_bytes(text, "little"), 4
    left, probabilities = (1 << _LOG) + 1, list[int]()
    if bits & 15 != _LOG - 5:
        return []
    while left > 1:
        if at >= 8 * len(text) or len(probabilities) > LONGEST:
            return []
        width = left.bit_length()
        most = (1 << width) - 1 - left
        value = bits >> at & ((1 << width - 1) - 1)
        at += width - 1
        if value >= most:
            value |= (bits >> at & 1) << width - 1
            value -= most if value >= 1 << width - 1 else 0
            at += 1
        if not 1 <= value <= left:
            return []
        probabilities.append(value - 1)
        left -= value - 1
        zeros = 3 if value == 1 else 0
        while zeros == 3:
            if at >= 8 * len(text):
                return []
            zeros = bits >> at & 3
            probabilities += [0] * zeros
            at += 2
    stream = text[(at + 7) // 8 :]
    if at > 8 * len(text) or len(probabilities) > LONGEST + 1 or not stream or not stream[-1]:
        return []
    following, steps = list(probabilities), []
    for weight in _states(probabilities):
        width = _LOG + 1 - following[weight].bit_length()
        steps.append((weight, width, (following[weight] << width) - (1 << _LOG)))
        following[weight] += 1
    left_bits = format(int.from_bytes(stream, "little"), "b")[1:]
    states = [left_bits[:_LOG], left_bits[_LOG : 2 * _LOG]]
    if len(left_bits) < 2 * _LOG:
        return []
    numbers, at, weights = [int(state, 2) for state in states], 2 * _LOG, list[int]()
    while len(weights) < SYMBOLS - 2:
        weight, width, base = steps[numbers[len(weights) % 2]]
        weights.append(weight)
        taken = left_bits[at : at + width]
        at += width
        if at > len(left_bits):
            return [*weights, steps[numbers[len(weights) % 2]][0]]
        numbers[(len(weights) - 1) % 2] = base + int(taken or "0", 2)
    return []
