"""Decode a movie that photon_gpu stored, with Python, NumPy and this file alone.

    python photon_decode.py MOVIE.zarr OUT.npy                # counts, in the dtype of the recording
    python photon_decode.py MOVIE.zarr OUT.npy --stabilized   # Anscombe-transformed values, float64

A slow, plain reading of FORMAT.md. It reads every version and layout, checks every checksum, and shares no
code with photon_gpu. ``MOVIE.zarr`` is a folder on a disk. zstd comes with Python 3.14; earlier versions of
Python need the package ``zstandard``.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


class DecodeError(Exception):
    """The movie is damaged, or of a version that this file does not know."""


def require(condition, message):
    if not condition:
        raise DecodeError(message)


# ---- zstd, LZ4, BloscLZ and the Blosc 1 frame ------------------------------------------------------------


def zstd(data):
    try:
        from compression.zstd import decompress
    except ImportError:
        try:
            from zstandard import ZstdDecompressor
        except ImportError:
            raise DecodeError("zstd is needed: use Python 3.14 or later, or pip install zstandard") from None
        return ZstdDecompressor().decompressobj().decompress(data)
    return decompress(data)


def copy_match(out, offset, length):
    require(0 < offset <= len(out), "a match begins before the data")
    start = len(out) - offset
    for i in range(length) if offset < length else ():
        out.append(out[start + i])
    if offset >= length:
        out += out[start : start + length]


def lz4(data):
    out, at = bytearray(), 0

    def extended(length, at):
        while length >= 15 and (more := data[at]) is not None:
            length, at = length + more, at + 1
            if more < 255:
                break
        return length, at

    while at < len(data):
        token, at = data[at], at + 1
        run, at = extended(token >> 4, at)
        out += data[at : at + run]
        at += run
        if at < len(data):
            offset, at = struct.unpack_from("<H", data, at)[0], at + 2
            length, at = extended(token & 15, at)
            copy_match(out, offset, length + 4)
    return bytes(out)


def blosclz(data):
    out, at = bytearray(), 1
    control = data[0] & 31
    while True:
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
        else:
            length, high = (control >> 5) - 1, (control & 31) << 8
            more = 255 if length == 6 else 0
            while more == 255:
                more, at = data[at], at + 1
                length += more
            low, at = data[at], at + 1
            offset = high + low
            if low == 255 and high == 31 << 8:
                offset, at = 8191 + int.from_bytes(data[at : at + 2], "big"), at + 2
            copy_match(out, offset + 1, length + 3)
        if at >= len(data):
            return bytes(out)
        control, at = data[at], at + 1


DECODERS = {0: blosclz, 1: lz4, 3: zlib.decompress, 4: zstd}


def unshuffle(block, itemsize, flags):
    items = len(block) // itemsize
    if flags & 1 and itemsize > 1:
        body = np.frombuffer(block, np.uint8, items * itemsize).reshape(itemsize, items)
        return body.T.tobytes() + block[items * itemsize :]
    if flags & 4 and items % 8 == 0:
        bits = np.unpackbits(np.frombuffer(block, np.uint8, items * itemsize), bitorder="little")
        bits = bits.reshape(8 * itemsize, items).T
        return np.packbits(bits, bitorder="little").tobytes() + block[items * itemsize :]
    return block


def blosc(data):
    """Open a Blosc 1 frame."""
    require(len(data) >= 16, "a chunk is shorter than the header of a Blosc frame")
    version, _, flags, itemsize, size, block_size, packed_size = struct.unpack_from("<4B3I", data)
    require(version == 2 and packed_size == len(data), "a chunk is no whole Blosc 1 frame")
    if flags & 2:
        return data[16 : 16 + size]
    out, blocks = [], -(-size // block_size) if size else 0
    for number, start in enumerate(struct.unpack_from(f"<{blocks}i", data, 16)):
        length = min(block_size, size - number * block_size)
        parts = itemsize if not flags & 16 and length == block_size else 1
        block = b""
        for _ in range(parts):
            packed = struct.unpack_from("<i", data, start)[0]
            piece = data[start + 4 : start + 4 + packed]
            require(len(piece) == packed > 0 and flags >> 5 in DECODERS, "a Blosc block is damaged")
            block += piece if packed == length // parts else DECODERS[flags >> 5](piece)
            start += 4 + packed
        require(len(block) == length, "a Blosc block opens to another length")
        out.append(unshuffle(block, itemsize, flags))
    return b"".join(out)


# ---- from codes to values --------------------------------------------------------------------------------


def phases_of(shape, seed):
    """Phase of every sample of a chunk, 0 to 15."""
    h = np.arange(math.prod(shape), dtype=np.uint64).astype(np.uint32) * np.uint32(0x9E3779B1)
    h += np.uint32(seed)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    return (h >> np.uint32(28)).reshape(shape)


class Model:
    """The noise model and the grid of codes: thresholds, representatives, values."""

    def __init__(self, gain, offset, variance, step, dtype, seed, clipping, peaks=0):
        self.gain, self.offset, self.variance, self.step = gain, offset, variance, step
        self.dtype, self.seed = np.dtype(dtype), seed
        self.phases = 1 if seed is None else 16
        self.info = np.iinfo(self.dtype) if self.dtype.kind != "f" else None
        self.g, self.o, self.s = Fraction(gain), Fraction(offset), Fraction(step or 0)
        self.c = Fraction(3, 8) * self.g**2 + Fraction(variance)
        self.dark = 2 * math.sqrt(float(self.c)) / gain  # A(offset)
        self.peaks, self.lattice_end, self.lattice_code = 0, -math.inf, 0
        if peaks:  # bins for photon peaks lie below the code of this value ("Photon peaks")
            self.lattice_end = self.lattice_edge(3 * peaks)
            self.lattice_code, self.peaks = self.code(self.lattice_end), peaks
        self.low, self.high = clipping.get("low"), clipping.get("high")
        both, grids = (self.low, self.high), range(self.phases)
        self.ends = [[None if end is None else self.code(end, grid) for end in both] for grid in grids]

    def anscombe(self, values):
        z, c = values.astype(np.float64), float(self.c)
        light = 2 / self.gain * np.sqrt(self.gain * np.maximum(z - self.offset, 0.0) + c)
        return np.where(z >= self.offset, light, self.dark + (z - self.offset) / math.sqrt(c))

    def stabilize(self, value):
        """``A`` of one value, rounded as FORMAT.md says for the lattice of photon peaks."""
        above, c = value - self.offset, float(self.c)
        root = 2 / self.gain * math.sqrt(self.gain * max(above, 0.0) + c)
        return root + min(above, 0.0) / math.sqrt(c)

    def counts_of_unquantized(self, stabilized):
        c = float(self.c)
        light = self.offset - c / self.gain + self.gain / 4 * stabilized**2
        tangent = self.offset + (stabilized - self.dark) * math.sqrt(c)
        counts = np.where(stabilized >= self.dark, light, tangent)
        if self.info:
            counts = np.clip(np.rint(counts), float(self.info.min), float(self.info.max))
        return counts.astype(self.dtype)

    def shift(self, phase):
        return 0.0 if self.phases == 1 else (2 * phase + 1 - 16) / 32

    def lattice_edge(self, index):
        """Least value of a bin of the lattice of photon peaks; bin 0 is the peak of zero photons."""
        photon, part = divmod(index + 1, 3)
        return math.ceil(self.offset + self.gain * ((20 * photon + (-10, -7, 7)[part]) / 20))

    def in_lattice(self, code):
        return self.peaks > 0 and code < self.lattice_code

    def lattice_point(self, code):
        photon, part = divmod(code - self.lattice_code + 3 * self.peaks + 1, 3)
        return self.offset + self.gain * ((40 * photon + (-17, 0, 17)[part]) / 40)

    def threshold(self, code, phase):
        """Least value with this code: an exact comparison, so no rounding moves a bin edge."""
        if self.peaks and code <= self.lattice_code:
            return self.lattice_edge(code - self.lattice_code + 3 * self.peaks)
        n = 2 * self.phases * (code - 1) + 2 * phase + 1 if self.phases > 1 else 2 * code - 1
        b = n * self.s / (2 * self.phases)
        if n > 0 and b * b >= 4 * self.c / self.g**2:
            base, root, sign = self.o - self.c / self.g + self.g / 4 * b * b, Fraction(0), 1
        else:
            base, root, sign = self.o - 2 * self.c / self.g, self.c * b * b, 1 if b > 0 else -1

        def reached(z):
            away = Fraction(z) - base
            return away >= 0 and away * away >= root if sign > 0 else away >= 0 or away * away <= root

        near = float(base) + sign * math.sqrt(float(root))
        near = math.floor(near) if self.info else near

        def neighbour(z, way):
            return z + way if self.info else math.nextafter(z, way * math.inf)

        while reached(near):
            near = neighbour(near, -1)
        while not reached(near):
            near = neighbour(near, 1)
        return near

    def bins(self, first, last, phase):
        """Representative, least and greatest value of each of the codes ``first..last``."""
        edges = [self.threshold(code, phase) for code in range(first, last + 2)]
        bins = []
        for code, low, high in zip(range(first, last + 1), edges[:-1], edges[1:], strict=True):
            if self.info:
                high -= 1
                if self.phases == 1:
                    low, high = max(low, int(self.info.min)), min(high, int(self.info.max))
            point = (low + high) / 2
            if (code + self.shift(phase)) * self.step >= self.dark and (not self.info or high > low):
                point -= self.gain * self.step**2 / 12
            point = self.lattice_point(code) if self.in_lattice(code) else point
            point = min(max(point, low), high if self.info else math.nextafter(high, low))
            bins.append((self.within(point, low, high), low, high))
        return bins

    def code(self, value, phase=0):
        """Code of a value, as if there were no clipping levels."""
        code = round(float(self.anscombe(np.array(value))) / self.step - self.shift(phase))
        if value < self.lattice_end:
            code = self.lattice_code + math.floor(3 * (value - self.lattice_end) / self.gain)
        while self.threshold(code, phase) > value:
            code -= 1
        while self.threshold(code + 1, phase) <= value:
            code += 1
        return code

    def uncut(self, code, phase):
        """Code of the bin that a code is, or is a part of ("Clipping levels")."""
        low, high = self.ends[phase]
        if low is not None and code < low:
            return min(code + 2, low)
        if high is not None and code > high:
            return max(code - 2, high)
        return code

    def part(self, code, point, first, last, phase):
        """Point, least and greatest value of a code, given those of its bin."""
        low, high = self.ends[phase]
        a, b = first, last
        if low is not None and low - 2 <= code <= low:
            a = {low: self.low + 1, low - 1: self.low}.get(code, a)
            b = {low - 1: self.low, low - 2: self.low - 1}.get(code, b)
        if high is not None and high <= code <= high + 2:
            a = {high + 1: self.high, high + 2: self.high + 1}.get(code, a)
            b = {high: self.high - 1, high + 1: self.high}.get(code, b)
        is_part = (a, b) != (first, last) and a <= b
        return ((a + b) / 2 if is_part and not a <= point <= b else point), a, b

    def within(self, point, low, high):
        """A point as a number of the dtype; the nearest may lie outside ``low <= number < high``."""
        if self.info:
            return point
        near = self.dtype.type(point)
        if float(near) < low:
            return np.nextafter(near, self.dtype.type(np.inf))
        return np.nextafter(near, self.dtype.type(-np.inf)) if float(near) >= high else near

    def counts(self, codes, phases):
        """Counts of codes: the point of each bin; whole numbers are dithered by the phase of the sample."""
        first, last = int(codes.min()), int(codes.max())
        few = self.info and self.phases == 1 and self.gain < 5 and self.c < 25
        better = points_at_low_light(self) if few else {}
        out = np.empty(codes.shape, self.dtype)
        for phase in range(16):
            if phase < self.phases:
                grid = phase
                wholes = [(code, self.uncut(code, phase)) for code in range(first, last + 1)]
                least_code, most_code = wholes[0][1], wholes[-1][1]
                bins = self.bins(least_code, most_code, phase)
                bins = dict(zip(range(least_code, most_code + 1), bins, strict=True))
            row = [better.get(w, bins[w][0]) for _, w in wholes]
            if self.info:
                cut = [(code, x, *bins[w][1:]) for (code, w), x in zip(wholes, row, strict=True)]
                parts = [self.part(*one, grid) for one in cut]
                part = 0.5 if self.c >= 2500 else ((7 * phase + 3) % 16 + 0.5) / 16
                least, most = int(self.info.min), int(self.info.max)
                row = [min(max(math.floor(x + part), a), b) for x, a, b in parts]
                row = [min(max(x, least), most) for x in row]
            chosen = phases == phase
            out[chosen] = np.array(row, self.dtype)[codes[chosen] - first]
        return out

    def stabilized(self, codes, phases):
        out = np.empty(codes.shape)
        for phase in range(self.phases):
            u = self.shift(phase)
            chosen = phases == phase if self.phases > 1 else np.ones(codes.shape, bool)
            here, which = np.unique(codes[chosen], return_inverse=True)
            levels = {code: (4 * (of + u) + side) * (self.step / 4) for code, of, side in self.marks(phase)}
            for end, of, away in zip((self.low, self.high), self.ends[phase], (-1, 1), strict=True):
                if end is not None and end < self.lattice_end:
                    levels[of + away] = self.stabilize(end)
            wholes = [self.uncut(code, phase) for code in here.tolist()]
            row = [
                self.stabilize(self.lattice_point(k)) if self.in_lattice(k) else self.step * (k + u)
                for k in wholes
            ]
            row = [levels.get(code, label) for code, label in zip(here.tolist(), row, strict=True)]
            out[chosen] = np.array(row)[which.ravel()]
        return out

    def marks(self, phase):
        """Of each clipping level its code, that of its bin, and the side of the bin's label its own is on."""
        for end, of, away in zip((self.low, self.high), self.ends[phase], (-1, 1), strict=True):
            if end is not None:
                above = float(self.anscombe(np.array(end))) / self.step - self.shift(phase) >= of
                yield of + away, of, 1 if above else -1

    def codes_of_labels(self, labels):
        """Codes of the labels of layout plain."""
        unit = self.step / 4 if self.low is not None or self.high is not None else self.step
        marked = np.rint(labels / unit).astype(np.int64)
        require(np.array_equal(marked * unit, labels), "a label is not on the grid")
        if unit == self.step:
            return marked
        levels = {4 * of + side: code for code, of, side in self.marks(0)}
        low, high = self.ends[0]
        if high is not None:  # a label stands for the part above a level where there is none below
            high -= self.threshold(high, 0) == self.high
        if low is not None:
            low += self.threshold(low + 1, 0) == self.low + 1
        values, which = np.unique(marked, return_inverse=True)
        codes = []
        for label in values.tolist():
            require(label % 4 == 0 or label in levels, "a label is of no code")
            code = label // 4
            code += 2 * (high is not None and code > high) - 2 * (low is not None and code < low)
            codes.append(levels.get(label, code))
        return np.array(codes)[which].reshape(labels.shape)


def falling_exponential(x):
    """e**-x by its series to the ninth power at x/1024, squared ten times."""
    y, term, total = x / 1024, 1.0, 1.0
    for n in range(1, 10):
        term = term * -y / n
        total += term
    for _ in range(10):
        total *= total
    return total


def normal_share(t):
    """Share of a normal distribution below ``t``."""
    if t < -7 or t > 7:
        return 0.0 if t < 0 else 1.0
    term, total, m = t, t, 1
    while abs(term) > 1e-18:
        m += 2
        term = term * (t * t) / m
        total += term
    return 0.5 + total * falling_exponential(t * t / 2) / 2.506628274631


def points_at_low_light(model):
    """Points of the bins of few integers, chosen so that means over pixels are right ("Representatives")."""
    first = model.code(math.floor(model.offset - 8 * math.sqrt(model.variance)))
    last = model.code(math.ceil(model.offset + 24 * model.gain))
    bins = {first + i: bin for i, bin in enumerate(model.bins(first, last, 0)) if bin[1] < bin[2]}
    if not bins:
        return {}
    start, low, high = (np.array(row, float) for row in zip(*bins.values(), strict=True))
    least, read = int(np.iinfo(model.dtype).min), max(math.sqrt(model.variance), model.gain / 2)
    shares, sums = np.zeros((81, len(bins))), np.zeros(81)
    for n in range(81):
        middle = model.offset + model.gain * n
        for k, (_, a, b) in enumerate(bins.values()):
            for z in range(a, b + 1):
                below = 0.0 if z == least else normal_share((z - 0.5 - middle) / read)
                chance = normal_share((z + 0.5 - middle) / read) - below
                shares[n, k] += chance
                sums[n] += chance * z
    rows, targets, light = [], [], 0.1
    for _ in range(25):
        spread = math.sqrt(model.gain * model.gain * light + model.variance)
        weight, row, target = falling_exponential(light), np.zeros(len(bins)), 0.0
        for n in range(81):
            weight = weight * light / n if n else weight
            row, target = row + weight * shares[n], target + weight * sums[n]
        rows.append(row / spread)
        targets.append(target / spread)
        light *= 1.25
    keep = 0.001 / (high - low) ** 2
    x, best, smallest, weights = start.copy(), start, math.inf, [1.0] * 25
    for _ in range(16):
        off = [abs(np.cumsum(row * x)[-1] - target) for row, target in zip(rows, targets, strict=True)]
        if max(off) < smallest:
            smallest, best = max(off), x.copy()
        if smallest < 0.016:
            break
        weights = [1.5 * w if d > 0.016 else w for w, d in zip(weights, off, strict=True)]
        normal, right = np.diag(keep), keep * start
        for weight, row, target in zip(weights, rows, targets, strict=True):
            normal, right = normal + weight * np.outer(row, row), right + weight * row * target
        for _ in range(300):
            before = x.copy()
            for k in range(len(x)):
                rest = right[k] - np.cumsum(np.delete(normal[k] * x, k))[-1] if len(x) > 1 else right[k]
                x[k] = min(max(rest / normal[k, k], low[k]), high[k])
            if np.max(np.abs(x - before)) < 1e-6:
                break
    return dict(zip(bins, best.tolist(), strict=True))


# ---- coded residuals: a range coder of four states -------------------------------------------------------


def unfold(residual):
    """Signed number of a folded one: 0, 1, 2, 3 are 0, -1, 1, -2."""
    return residual >> 1 ^ -(residual & 1)


def shares_of(ranks):
    """Share of 4096 slots of each symbol, from its rank."""
    weights = [round(2 ** (16 - (rank - 1) / 4)) if rank else 0 for rank in ranks]
    shares = [max(1, 4096 * weight // sum(weights)) if weight else 0 for weight in weights]
    shares[shares.index(max(shares))] += 4096 - sum(shares)
    return shares


class RangeDecoder:
    """Four states that take 16-bit words and give symbols."""

    def __init__(self, words):
        require(len(words) >= 8, "a coded band has no states")
        self.states = [words[2 * i] + (words[2 * i + 1] << 16) for i in range(4)]
        self.words, self.at = words, 8

    def step(self, state, bits, start, share):
        x = self.states[state]
        x = share * (x >> bits) + (x & (1 << bits) - 1) - start
        if x < 65536:
            require(self.at < len(self.words), "a coded band ends early")
            x, self.at = x << 16 | self.words[self.at], self.at + 1
        self.states[state] = x

    def bits(self, state, count):
        value = self.states[state] & (1 << count) - 1
        self.step(state, count, value, 1)
        return value

    def value(self, state, slots):
        symbol, start, share = slots[self.states[state] & 4095]
        self.step(state, 12, start, share)
        if symbol < 32:
            return symbol
        extra = (symbol - 32) // 2 + 4
        low = 0
        for shift in range(0, extra, 16):
            low |= self.bits(state, min(16, extra - shift)) << shift
        return (2 + (symbol & 1) << extra) + low


def slots_of(ranks):
    slots = []
    for symbol, share in enumerate(shares_of(ranks)):
        slots += [(symbol, len(slots), share)] * share
    return slots


def decode_band(words, levels):
    """Return the residuals of one band, as one list for each level."""
    coder = RangeDecoder(words)
    symbols, counts = coder.bits(0, 8), []
    for _ in range(levels):
        count, shift, group = 0, 0, 128
        while group & 128:
            group = coder.bits(0, 8)
            count, shift = count | (group & 127) << shift, shift + 7
        counts.append(count)
    kinds = slots_of([coder.bits(0, 8) for _ in range(coder.bits(0, 8))])
    ranks, tables = [0] * symbols, []
    for count in counts:
        if count:
            steps = [coder.value(0, kinds) for _ in range(symbols)]
            ranks = [rank + unfold(d) for rank, d in zip(ranks, steps, strict=True)]
        tables.append(slots_of(ranks) if count else [])
    out = [
        [coder.value(i & 3, table) for i in range(count)] for count, table in zip(counts, tables, strict=True)
    ]
    require(coder.at == len(words) and coder.states == [65536] * 4, "a coded band was altered")
    return out


# ---- predictors ------------------------------------------------------------------------------------------


def follow(mean, frame, rate):
    return mean + ((frame * 128 - mean) * rate + 64 >> 7)


def neighbours(plane):
    """The eight neighbours of each pixel, edges repeated: N S W E NW NE SW SE."""
    p = np.pad(plane, 1, mode="edge")
    sides = [p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:]]
    return [*sides, p[:-2, :-2], p[:-2, 2:], p[2:, :-2], p[2:, 2:]]


def restore(header, residuals, weights, shape):
    """Codes ``(T, R, C)`` of one band; ``residuals`` is an array of that shape, or lists by level."""
    predictor, mask = header["predictor"], (1 << 8 * header["width"]) - 1
    codes = np.zeros(shape, np.int64)
    if predictor == 0:
        return residuals
    first = 128 * (int(header["weights"][0, 10]) >> 8) if predictor == 1 else 0
    mean, previous = np.full(shape[1:], first, np.int64), np.zeros(shape[1:], np.int64)
    taken = None if isinstance(residuals, np.ndarray) else [iter(level) for level in residuals]
    for t in range(shape[0]):
        rate = max(128 // (t + 1), header["rate"])
        if predictor == 4:  # spatial: every frame is a first one
            rate, mean, previous = 128, np.zeros_like(mean), np.zeros_like(mean)
        if predictor == 1:
            codes[t] = ((mean + 64 >> 7) + unfold(residuals[t])) & mask
        else:
            around, sides = neighbours(mean), sum(neighbours(previous)[:4])
            if predictor == 5:
                w, terms = weights[t], [mean, *around, previous, sides]
            else:
                w = header["weights"][0 if t == 0 or predictor == 4 else 1]
                corners = sum(around[4:])
                terms = [mean, around[0] + around[1], around[2] + around[3], corners, previous, sides]
            w = [int(number) for number in w]
            past = sum(w[i] * term for i, term in enumerate(terms)) + w[-1] * 128 + (1 << 14)
            if predictor == 2:
                codes[t] = ((past >> 15) + unfold(residuals[t])) & mask
            else:
                now = w[-5:-1]
                own = residuals[t].tolist() if taken is None else taken
                codes[t] = restore_frame(past, mean, now, own, mask, taken is not None)
        mean, previous = follow(mean, codes[t], rate), codes[t] * 128
    if taken is not None:
        require(all(next(level, None) is None for level in taken), "residuals of a level are left over")
    return codes


def restore_frame(past, mean, weights, residuals, mask, by_level):
    """One frame, pixel by pixel, since each is predicted from its west and northern neighbours."""
    west, north, north_west, north_east = weights
    edge = np.pad(mean, 1, mode="edge").tolist()
    above, out = edge[0], []
    for r, base in enumerate(past.tolist()):
        row = list(edge[r + 1])
        for c, total in enumerate(base):
            total += west * row[c] + north * above[c + 1] + north_west * above[c] + north_east * above[c + 2]
            predicted = total >> 15
            if by_level:
                residual = next(residuals[min(predicted & mask, len(residuals) - 1)], None)
                require(residual is not None, "a level has too few residuals")
            else:
                residual = residuals[r][c]
            row[c + 1] = (predicted + (residual >> 1 ^ -(residual & 1)) & mask) << 7
        above = row
        out.append([number >> 7 for number in row[1:-1]])
    return out


# ---- payloads of layout compact --------------------------------------------------------------------------

HEADER = struct.Struct("<4s8BI q Q 4I 4d I 2B H 2I")
FIELDS = [
    *("magic", "major", "minor", "predictor", "width", "exact", "phases", "dtype", "axes", "frames"),
    *("base", "checksum", "band_rows", "seed", "rate", "top", "gain", "offset", "variance", "step"),
    *("crc", "body", "levels", "number", "weights_crc", "movie"),
]


def read_header(payload):
    require(len(payload) >= 96, "a payload is shorter than its header")
    header = dict(zip(FIELDS, HEADER.unpack_from(payload), strict=True))
    weights_at = 96 + 8 * header["axes"]
    size = weights_at + 88 + 4 * (header["exact"] & 4) + (header["exact"] & 8)
    whole = payload[:80] + bytes(4) + payload[84:size]
    require(header["magic"] == b"PHTN" and header["major"] == 2, "a payload is of no known version")
    require(zlib.crc32(whole) == header["crc"], "the header of a payload fails its checksum")
    unknown = f"predictor {header['predictor']} is unknown: a newer version of photon_gpu wrote the payload"
    require(header["predictor"] <= 5, unknown)
    header["shape"] = struct.unpack_from(f"<{header['axes']}Q", payload, 96)
    header["weights"] = np.frombuffer(payload, "<i4", 22, weights_at).reshape(2, 11)
    return header, payload[size:]


def read_channels(data, number):
    """The payload of each channel."""
    magic, major, _, channels, _ = struct.unpack_from("<4s2BHI", data)
    require(magic == b"PHTC" and major == 2 and channels == number, "a chunk has no table of its channels")
    *lengths, crc = struct.unpack_from(f"<{channels}QI", data, 12)
    at, parts = 16 + 8 * channels, []
    require(zlib.crc32(data[: at - 4]) == crc, "the table of channels fails its checksum")
    for length in lengths:
        start = -(-at // 8) * 8
        at = start + length
        parts.append(data[start:at])
    require(at == len(data), "a chunk is not as long as its channels")
    return parts


def split_planes(data, width):
    """Numbers whose lowest bytes come first, then all next ones, and so on."""
    planes = np.frombuffer(data, np.uint8).reshape(width, -1)
    return np.ascontiguousarray(planes.T).view(f"<u{width}").ravel()


def read_codes(payload, chunk):
    """Return the header, the codes ``(T, R, C)`` counted from base, or the values as they are."""
    header, body = read_header(payload)
    shape, frames, width = header["shape"], header["frames"], header["width"]
    require(shape == tuple(chunk) and frames <= chunk[0], f"a chunk is of {frames} frames of {shape}")
    rows, columns = math.prod(shape[1:-1]), shape[-1]
    if header["exact"] == 2:
        require(zlib.crc32(body) == header["checksum"] & 0xFFFFFFFF, "a chunk fails its checksum")
        values = split_planes(body, width).view(DTYPES[header["dtype"]])
        return header, values.reshape(frames, rows, columns)
    at = 0

    def take(count):
        nonlocal at
        at += count
        require(at <= len(body), "a payload ends early")
        return body[at - count : at]

    bands = range(0, rows, header["band_rows"])
    heights = [min(header["band_rows"], rows - first) for first in bands]
    sizes = [frames * height * columns for height in heights]
    coded, packed, levels, weights = header["body"] == 2, header["body"] == 1, header["levels"], None
    if header["predictor"] == 5:
        data = take(64 * frames)
        weights = split_planes(data, 4).view("<i4").reshape(frames, 16)
        require(zlib.crc32(weights.tobytes()) == header["weights_crc"], "the weights fail their checksum")
    if levels and not coded:
        counts = np.frombuffer(take(4 * len(sizes) * levels), "<u4").reshape(len(sizes), levels)
    if packed:
        segments = [-(-size // 65536) for size in sizes]
        escaped = np.frombuffer(take(4 * sum(segments)), "<u4").tolist()
    if coded:
        lengths = np.frombuffer(take(4 * len(sizes)), "<u4").tolist()
        residuals = [decode_band(np.frombuffer(take(2 * n), "<u2").tolist(), levels) for n in lengths]
    elif packed:
        halves = [np.frombuffer(take((size + 1) // 2), np.uint8) for size in sizes]
        escapes = np.frombuffer(take(width * sum(escaped)), f"<u{width}").astype(np.int64)
        residuals, used = [], 0
        for half, size in zip(halves, sizes, strict=True):
            band = np.stack([half & 15, half >> 4], 1).ravel()[:size].astype(np.int64)
            marks = np.flatnonzero(band == 15)
            band[marks] += escapes[used : used + len(marks)]
            used += len(marks)
            residuals.append(band)
        require(used == len(escapes), "escapes are left over")
    else:
        residuals = [split_planes(take(width * size), width).astype(np.int64) for size in sizes]
    require(at == len(body), "a payload is too long")
    out = []
    for number, height in enumerate(heights):
        band, block = residuals[number], (frames, height, columns)
        if levels and not coded:
            band = [part.tolist() for part in np.split(band, np.cumsum(counts[number])[:-1])]
        elif not levels:
            band = band.reshape(block)
        out.append(restore(header, band, weights, block))
    codes = np.concatenate(out, axis=1)
    index = np.arange(codes.size, dtype=np.uint64).astype(np.uint32)
    h = codes.ravel().astype(np.uint32) + index * np.uint32(0x9E3779B1)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    require(int(h.sum(dtype=np.uint64)) == header["checksum"], "the codes of a chunk fail their checksum")
    return header, codes


# ---- movies ----------------------------------------------------------------------------------------------


def read_json(folder, name):
    return json.loads((folder / name).read_text())


class Movie:
    """A stored movie: ``shape``, ``chunk_count`` and ``chunk(number)``."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.array, self.attributes = (read_json(self.folder, name) for name in (".zarray", ".zattrs"))
        version, self.layout = self.attributes["codec_version"], self.attributes.get("layout", "plain")
        own = {"1": "plain", "2": "compact", "3": "lossless"}.get(version.split(".")[0])
        require(own == self.layout, f"version {version} is not known")
        self.shape, self.chunks = tuple(self.array["shape"]), tuple(self.array["chunks"])
        self.dtype = np.dtype(self.attributes["original_dtype"])
        self.chunk_count = -(-self.shape[0] // self.chunks[0]) if self.shape[0] else 0
        manifest = self.folder / ".manifest.json"
        self.files = read_json(self.folder, ".manifest.json")["files"] if manifest.exists() else {}
        models = self.attributes.get("channel_models")
        self.axis = models["axis"] if models else None
        self.models = [self.model_of(one) for one in (models["models"] if models else [self.attributes])]
        require(not models or self.shape[self.axis] == len(self.models), "there is not a model per channel")

    def model_of(self, attributes):
        names = ("anscombe_gain", "anscombe_offset", "anscombe_variance")
        if names[0] not in attributes:
            return None
        step, seed = self.attributes.get("quantization_step"), self.attributes.get("dither_seed")
        clipping = attributes.get("clipping_levels", {})
        peaks = attributes.get("photon_peaks", 0)
        return Model(*(attributes[name] for name in names), step, self.dtype, seed, clipping, peaks)

    def file(self, number):
        name = ".".join([str(number)] + ["0"] * (len(self.shape) - 1))
        data = (self.folder / name).read_bytes()
        if name in self.files:
            size, crc = self.files[name]
            require(len(data) == size and f"{zlib.crc32(data):08x}" == crc, f"{name} fails its checksum")
        return data

    def chunk(self, number, stabilized=False):
        """Frames of one chunk: counts, or stabilized values."""
        frames = min(self.chunks[0], self.shape[0] - number * self.chunks[0])
        data = blosc(self.file(number))
        if self.layout == "compact":
            parts = [data] if self.axis is None else read_channels(data, len(self.models))
        else:
            whole = np.frombuffer(data, self.array["dtype"]).reshape(self.chunks)
            parts = [whole] if self.axis is None else np.moveaxis(whole, self.axis, 0)
        both = zip(parts, self.models, strict=True)
        decoded = [self.channel(part, model, frames, stabilized) for part, model in both]
        return decoded[0] if self.axis is None else np.stack(decoded, self.axis)

    def channel(self, data, model, frames, stabilized):
        """Frames of one channel of a chunk: of its payload, labels or values."""
        chunk = [size for axis, size in enumerate(self.chunks) if axis != self.axis]
        shape = (frames, *chunk[1:])
        if self.layout == "lossless":
            return model.anscombe(data[:frames]) if stabilized else data[:frames]
        phases = phases_of(chunk, model.seed or 0)[:frames]
        if self.layout == "plain":
            labels = data[:frames]
            if not model.step:
                return labels if stabilized else model.counts_of_unquantized(labels)
            codes = model.codes_of_labels(labels)
        else:
            header, codes = read_codes(data, chunk)
            codes = codes.reshape(shape)
            if header["exact"] == 2:
                return model.anscombe(codes) if stabilized else codes
            codes = codes + header["base"]
            if header["exact"] == 1:
                if not stabilized:
                    return codes.astype(self.dtype)
                values, which = np.unique(codes, return_inverse=True)
                codes = np.array([model.code(int(value)) for value in values])[which].reshape(shape)
        return model.stabilized(codes, phases) if stabilized else model.counts(codes, phases)


def main(arguments):
    stabilized = "--stabilized" in arguments
    names = [name for name in arguments if not name.startswith("--")]
    if len(names) != 2:
        sys.exit(__doc__)
    movie = Movie(names[0])
    dtype = np.float64 if stabilized else movie.dtype
    out = np.lib.format.open_memmap(names[1], "w+", dtype, movie.shape)
    for number in range(movie.chunk_count):
        first = number * movie.chunks[0]
        out[first : first + movie.chunks[0]] = movie.chunk(number, stabilized)
        print(f"chunk {number + 1} of {movie.chunk_count}", file=sys.stderr)
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
