"""Decode a movie that photon_gpu stored, with Python, NumPy and this file alone.

    python photon_decode.py MOVIE.zarr OUT.npy                # counts, in the dtype of the recording
    python photon_decode.py MOVIE.zarr OUT.npy --stabilized   # Anscombe-transformed values, float64

A slow, plain reading of FORMAT.md. It reads every version, layout and container, checks every chunk, and
shares no code with photon_gpu. ``MOVIE.zarr`` is a folder on a disk. zstd needs Python 3.14 or ``zstandard``.
"""

import json
import math
import struct
import sys
import zlib
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

PARAMETERS = ["gain", "offset", "variance"]
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
    except ImportError:  # before Python 3.14
        from zstandard import ZstdDecompressor

        return ZstdDecompressor().decompressobj().decompress(data)
    return decompress(data)


def copy_match(out, offset, length):
    """Append bytes that begin ``offset`` before the end; a match may reach into its own copy."""
    require(0 < offset <= len(out), "a match begins before the data")
    out += (bytes(out[-offset:]) * (length // offset + 1))[:length]


def read_length(data, at, length, most):
    """A length, and the position behind it: further bytes add to ``most``, until one is below 255."""
    more = 255 if length == most else 0
    while more == 255:
        more, at = data[at], at + 1
        length += more
    return length, at


def lz4(data):
    out, at = bytearray(), 0
    while at < len(data):
        token = data[at]
        run, at = read_length(data, at + 1, token >> 4, 15)
        out += data[at : at + run]
        at += run
        if at < len(data):
            offset = int.from_bytes(data[at : at + 2], "little")
            length, at = read_length(data, at + 2, token & 15, 15)
            copy_match(out, offset, length + 4)
    return bytes(out)


def blosclz(data):
    out, at = bytearray(), 0
    while at < len(data):
        control, at = data[at] & (255 if at else 31), at + 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
        else:
            length, at = read_length(data, at, (control >> 5) - 1, 6)
            offset, at = ((control & 31) << 8) + data[at], at + 1
            if offset == 8191:
                offset, at = 8191 + int.from_bytes(data[at : at + 2], "big"), at + 2
            copy_match(out, offset + 1, length + 3)
    return bytes(out)


DECODERS = {0: blosclz, 1: lz4, 3: zlib.decompress, 4: zstd}


def unshuffle(block, itemsize, flags):
    items = len(block) // itemsize
    whole, rest = np.frombuffer(block, np.uint8, items * itemsize), block[items * itemsize :]
    if flags & 1 and itemsize > 1:
        return whole.reshape(itemsize, items).T.tobytes() + rest
    if flags & 4 and items % 8 == 0:
        bits = np.unpackbits(whole, bitorder="little").reshape(8 * itemsize, items)
        return np.packbits(bits.T, bitorder="little").tobytes() + rest
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


def hashed(numbers, count, steps):
    """Hashes of 32 bits of ``count`` positions and the numbers there."""
    h = np.arange(count, dtype=np.uint64).astype(np.uint32) * np.uint32(0x9E3779B1) + numbers
    for shift, factor in steps:
        h ^= h >> np.uint32(shift)
        h *= np.uint32(factor)
    return h


def phases_of(shape, seed):
    """Phase of every sample of a chunk, 0 to 15."""
    h = hashed(np.uint32(seed), math.prod(shape), ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)))
    return (h >> np.uint32(28)).reshape(shape)


def mapped(function, array, dtype):
    """``function`` of every number of an array."""
    numbers, which = np.unique(array, return_inverse=True)
    return np.array([function(number) for number in numbers.tolist()], dtype)[which].reshape(array.shape)


class Model:
    """The noise model and the grid of codes: thresholds, representatives, values."""

    def __init__(self, attributes, movie):
        self.gain, self.offset, self.variance = (attributes[f"anscombe_{name}"] for name in PARAMETERS)
        self.step, self.seed = movie.attributes.get("quantization_step"), movie.attributes.get("dither_seed")
        self.dtype, self.peaks = movie.dtype, attributes.get("photon_peaks", 0)
        self.phases = 1 if self.seed is None else 16
        self.info = np.iinfo(self.dtype) if self.dtype.kind != "f" else None
        self.g, self.o, self.s = Fraction(self.gain), Fraction(self.offset), Fraction(self.step or 0)
        self.c = Fraction(3, 8) * self.g**2 + Fraction(self.variance)
        self.dark = 2 * math.sqrt(float(self.c)) / self.gain  # A(offset)
        self.lattice_end = self.lattice_code = -math.inf
        if self.peaks:  # bins for photon peaks lie below the code of this value ("Photon peaks")
            self.lattice_end = self.lattice_edge(3 * self.peaks)
            self.lattice_code = self.code(self.lattice_end)
        levels = attributes.get("clipping_levels", {})
        self.clips = [list(self.clips_of(levels, phase)) for phase in range(self.phases)]

    def clips_of(self, levels, phase):
        """Each clipping level, its own code, the way from the code of its bin to that, and its label."""
        for name, way in (("low", -1), ("high", 1)):
            if name in levels:
                code, label = self.code(levels[name], phase), self.anscombe(levels[name])
                side = 1 if label / self.step - self.shift(phase) >= code else -1
                if levels[name] >= self.lattice_end:
                    label = (4 * (code + self.shift(phase)) + side) * (self.step / 4)
                yield levels[name], code + way, way, label

    def uncut(self, code, phase):
        """Code of the bin that a code is, or is a part of ("Clipping levels")."""
        for _, own, way, _ in self.clips[phase]:
            beyond = (code - own) * way + 1
            code -= way * min(2, beyond) if beyond > 0 else 0
        return code

    def anscombe(self, values):
        """``A`` of numbers, or of one number, rounded as FORMAT.md says."""
        above, c = np.asarray(values, np.float64) - self.offset, float(self.c)
        root = 2 / self.gain * np.sqrt(self.gain * np.maximum(above, 0.0) + c)
        return root + np.minimum(above, 0.0) / math.sqrt(c)

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

    def lattice_point(self, code):
        photon, part = divmod(code - self.lattice_code + 3 * self.peaks + 1, 3)
        return self.offset + self.gain * ((40 * photon + (-17, 0, 17)[part]) / 40)

    def threshold(self, code, phase):
        """Least value with this code: an exact comparison, so no rounding moves a bin edge."""
        if code <= self.lattice_code:
            return self.lattice_edge(code - self.lattice_code + 3 * self.peaks)
        n = 2 * self.phases * (code - 1) + 2 * phase + 1
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
        for way in (-1, 1):  # down while this value has the code, then up until one has
            while reached(near) == (way < 0):
                near = self.beside(near, way)
        return near

    def beside(self, value, way):
        """The next whole number, or float64 number."""
        return value + way if self.info else math.nextafter(value, way * math.inf)

    def bin(self, code, phase):
        """Representative, least and greatest value of a code, as if there were no clipping levels."""
        low, end = self.threshold(code, phase), self.threshold(code + 1, phase)
        last = self.beside(end, -1)
        if self.info and self.phases == 1:
            low, last = max(low, int(self.info.min)), min(last, int(self.info.max))
        point = (low + (last if self.info else end)) / 2
        if (code + self.shift(phase)) * self.step >= self.dark:
            point -= self.gain * self.step**2 / 12
        point = self.lattice_point(code) if code < self.lattice_code else point
        point = min(max(point, low), last)
        if not self.info:  # the nearest float of the dtype may lie outside
            point = self.dtype.type(point)
            away = int(float(point) < low) - int(float(point) > last)
            point = np.nextafter(point, self.dtype.type(away * np.inf)) if away else point
        return point, low, last

    def code(self, value, phase=0):
        """Code of a value, as if there were no clipping levels."""
        code = round(self.anscombe(value) / self.step - self.shift(phase))
        while self.threshold(code, phase) > value:
            code -= 1
        while self.threshold(code + 1, phase) <= value:
            code += 1
        return code

    @cache  # noqa: B019
    def part(self, code, phase):
        """Point, least and greatest value of a code, which may be a part of a bin."""
        whole = self.uncut(code, phase)
        point, first, last = self.bin(whole, phase)
        point = points_at_low_light(self).get(whole, point)
        for level, own, _, _ in self.clips[phase]:
            first = max(first, level + (code > own)) if code >= own else first
            last = min(last, level - (code < own)) if code <= own else last
        return (point if first <= point <= last else (first + last) / 2), first, last

    def count(self, code, phase):
        """Count of a code: the point of its bin; a whole number is dithered by the phase of the sample."""
        point, low, high = self.part(code, phase % self.phases)
        if not self.info:
            return point
        dither = 0.5 if self.c >= 2500 else ((7 * phase + 3) % 16 + 0.5) / 16
        value = min(max(math.floor(point + dither), low), high)
        return min(max(value, int(self.info.min)), int(self.info.max))

    def label(self, code, phase):
        """Stabilized value of a code."""
        for _, own, _, label in self.clips[phase % self.phases]:
            if code == own:
                return label
        code = self.uncut(code, phase % self.phases)
        dark = code < self.lattice_code
        return self.anscombe(self.lattice_point(code)) if dark else self.step * (code + self.shift(phase))

    def values(self, codes, phases, stabilized):
        """Stabilized values of codes, or counts."""
        out = np.empty(codes.shape, np.float64 if stabilized else self.dtype)
        of = self.label if stabilized else self.count
        for phase in range(16):
            chosen = phases == phase
            out[chosen] = mapped(lambda code, phase=phase: of(code, phase), codes[chosen], out.dtype)
        return out

    def code_of_label(self, label):
        """Code of a label of layout plain; of the parts beside a level, the inner one unless it is empty."""
        own_codes = {label: own for _, own, _, label in self.clips[0]}
        code = whole = round(label / self.step)
        require(label in own_codes or whole * self.step == label, "a label is of no code")
        for level, own, way, _ in self.clips[0]:
            inner_is_empty = self.threshold(own - way + (way < 0), 0) == level + (way < 0)
            code += 2 * way if (whole - own + way) * way + inner_is_empty > 0 else 0
        return own_codes.get(label, code)


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


@cache
def points_at_low_light(model):
    """Points of the bins of few integers, chosen so that means over pixels are right ("Representatives")."""
    few = model.info and model.phases == 1 and model.gain < 5 and model.c < 25  # integers to a bin
    first = model.code(math.floor(model.offset - 8 * math.sqrt(model.variance)))
    last = model.code(math.ceil(model.offset + 24 * model.gain))
    bins = {code: bin for code in range(first, last + 1) if few and (bin := model.bin(code, 0))[1] < bin[2]}
    if not bins:
        return {}
    start, low, high = (np.array(row, float) for row in zip(*bins.values(), strict=True))
    least, read = int(np.iinfo(model.dtype).min), max(math.sqrt(model.variance), model.gain / 2)
    shares = np.zeros((81, len(bins) + 1))  # of each bin; the last is the mean value
    for n in range(81):
        middle = model.offset + model.gain * n
        for k, (_, a, b) in enumerate(bins.values()):
            for z in range(a, b + 1):
                below = 0.0 if z == least else normal_share((z - 0.5 - middle) / read)
                chance = normal_share((z + 0.5 - middle) / read) - below
                shares[n, k] += chance
                shares[n, -1] += chance * z
    lights, rows = np.cumprod([0.1] + 24 * [1.25]), np.zeros((25, len(bins) + 1))
    weights = falling_exponential(lights)
    for n in range(81):
        weights = weights * lights / n if n else weights
        rows = rows + weights[:, None] * shares[n]
    rows = rows / np.sqrt(model.gain * model.gain * lights + model.variance)[:, None]
    keep = 0.001 / (high - low) ** 2
    A, B = rows[:, :-1], rows[:, -1]
    x, best, smallest, weights = start.copy(), start, math.inf, np.ones(25)
    for _ in range(16):
        off = np.abs(np.cumsum(A * x, axis=1)[:, -1] - B)
        if max(off) < smallest:
            smallest, best = max(off), x.copy()
        if smallest < 0.016:
            break
        weights = np.where(off > 0.016, 1.5 * weights, weights)
        normal = np.diag(keep) + np.einsum("l,lj,lk", weights, A, A)
        right = keep * start + np.einsum("l,lj,l", weights, A, B)
        for _ in range(300):
            before = x.copy()
            for k in range(len(x)):
                rest = right[k] - np.cumsum(np.delete(normal[k] * x, k))[-1] if len(x) > 1 else right[k]
                x[k] = min(max(rest / normal[k, k], low[k]), high[k])
            if np.max(np.abs(x - before)) < 1e-6:
                break
    return dict(zip(bins, best.tolist(), strict=True))


# ---- residuals: a range coder of four states, and predictors ---------------------------------------------


def unfold(residual):
    """Signed number of a folded one: 0, 1, 2, 3 are 0, -1, 1, -2."""
    return residual >> 1 ^ -(residual & 1)


def slots_of(ranks):
    """Symbol, first slot and number of slots of each of 4096 slots, from the rank of every symbol."""
    weights = [round(2 ** (16 - (rank - 1) / 4)) if rank else 0 for rank in ranks]
    shares = [max(1, 4096 * weight // sum(weights)) if weight else 0 for weight in weights]
    shares[shares.index(max(shares))] += 4096 - sum(shares)
    slots = []
    for symbol, share in enumerate(shares):
        slots += [(symbol, len(slots), share)] * share
    return slots


def decode_band(words, size, levels):
    """Return the ``size`` residuals of one band, as one array for each level."""
    require(len(words) >= 8, "a coded band has no states")
    states, rest = [words[2 * i] + (words[2 * i + 1] << 16) for i in range(4)], iter(words[8:])

    def step(i, bits, start, share):
        x = share * (states[i] >> bits) + (states[i] & (1 << bits) - 1) - start
        states[i] = x if x >= 65536 else x << 16 | next(rest, 0)

    def take(i, bits):
        value = states[i] & (1 << bits) - 1
        step(i, bits, value, 1)
        return value

    def take_value(i, slots):
        symbol, start, share = slots[states[i] & 4095]
        step(i, 12, start, share)
        extra = (symbol - 32) // 2 + 4
        return symbol if symbol < 32 else (2 + (symbol & 1) << extra) + take(i, extra)

    symbols, counts = take(0, 8), []
    for _ in range(levels):
        count, shift, group = 0, 0, 128
        while group & 128:
            group = take(0, 8)
            count, shift = count | (group & 127) << shift, shift + 7
        counts.append(count)
    require(sum(counts) == size, "a coded band has another number of residuals")
    of_steps = slots_of([take(0, 8) for _ in range(take(0, 8))])
    ranks, tables = [0] * symbols, []
    for count in counts:
        ranks = [rank + unfold(take_value(0, of_steps)) for rank in ranks] if count else ranks
        tables.append((count, slots_of(ranks) if count else []))
    out = [np.array([take_value(i & 3, table) for i in range(count)], np.int64) for count, table in tables]
    require(next(rest, None) is None and states == [65536] * 4, "a coded band was altered")
    return out


AROUND = [(0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (0, 2), (2, 0), (2, 2)]  # N S W E NW NE SW SE


def neighbours(plane):
    """The eight neighbours of each pixel, edges repeated."""
    padded, (rows, columns) = np.pad(plane, 1, mode="edge"), plane.shape
    return [padded[r : r + rows, c : c + columns] for r, c in AROUND]


# A header has one weight for neighbours that mirror each other; predictor "moving" has one for each.
MIRRORED = [0, 1, 1, 2, 2, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10]


def weights_of(header, weights, t):
    """Sixteen weights: mean, its neighbours, frame before, its sides, W N NW NE of this frame, 1."""
    predictor = header["predictor"]
    if predictor == 1:  # mean
        return [256] + 15 * [0]
    if predictor == 5:  # moving
        return weights[t].tolist()
    return header["weights"][int(t > 0 and predictor != 4)][MIRRORED].tolist()  # 4: spatial


def restore(header, levels, weights, shape):
    """Codes ``(T, R, C)`` of one band from its residuals: an array for each level, or one array of all."""
    predictor, mask = header["predictor"], (1 << 8 * header["width"]) - 1
    if predictor == 0:
        return levels[0].reshape(shape)
    codes = np.zeros(shape, np.int64)
    first = 128 * (int(header["weights"][0, 10]) >> 8) if predictor == 1 else 0
    mean, previous = np.full(shape[1:], first, np.int64), np.zeros(shape[1:], np.int64)
    left = [iter(level.tolist()) for level in levels]
    for t in range(shape[0]):
        rate = max(128 // (t + 1), header["rate"])
        if predictor == 4:  # spatial: every frame is a first one
            rate, mean, previous = 128, np.zeros_like(mean), np.zeros_like(mean)
        w, sides = weights_of(header, weights, t), sum(neighbours(previous)[:4])
        terms = zip(w[:11], [mean, *neighbours(mean), previous, sides], strict=True)
        past = sum((weight * term for weight, term in terms), w[15] * 128 + (1 << 14))
        if predictor in (1, 2):  # no pixel depends on others of its frame
            codes[t] = ((past >> 15) + unfold(levels[0].reshape(shape)[t])) & mask
        else:
            codes[t] = restore_frame(past, mean, w[11:15], left, mask)
        mean = mean + ((codes[t] * 128 - mean) * rate + 64 >> 7)
        previous = codes[t] * 128
    require(predictor < 3 or all(next(level, None) is None for level in left), "residuals are left over")
    return codes


def restore_frame(past, mean, weights, left, mask):
    """One frame, pixel by pixel, since each is predicted from its west and northern neighbours."""
    west, north, north_west, north_east = weights
    edge = np.pad(mean, 1, mode="edge").tolist()
    above, out = edge[0], []
    for r, base in enumerate(past.tolist()):
        row = list(edge[r + 1])
        for c, total in enumerate(base):
            total += west * row[c] + north * above[c + 1] + north_west * above[c] + north_east * above[c + 2]
            predicted = total >> 15
            residual = next(left[min(predicted & mask, len(left) - 1)], None)
            require(residual is not None, "a level has too few residuals")
            row[c + 1] = (predicted + unfold(residual) & mask) << 7
        above = row
        out.append([number >> 7 for number in row[1:-1]])
    return out


# ---- payloads of layout compact --------------------------------------------------------------------------

HEADER = struct.Struct("<4s8BI q Q 4I 4d I 2B H 2I")
FIELDS = """magic major minor predictor width exact phases dtype axes frames base checksum band_rows seed rate
top gain offset variance step crc body levels number weights_crc movie"""


def read_header(payload):
    require(len(payload) >= 96, "a payload is shorter than its header")
    header = dict(zip(FIELDS.split(), HEADER.unpack_from(payload), strict=True))
    weights_at = 96 + 8 * header["axes"]
    size = weights_at + 88 + 4 * (header["exact"] & 4) + (header["exact"] & 8)
    whole = payload[:80] + bytes(4) + payload[84:size]
    require(header["magic"] == b"PHTN" and header["major"] == 2, "a payload is of no known version")
    require(zlib.crc32(whole) == header["crc"], "the header of a payload fails its checksum")
    require(header["predictor"] <= 5, f"predictor {header['predictor']} is unknown: a newer version wrote it")
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
    return np.frombuffer(data, np.uint8).reshape(width, -1).T.copy().view(f"<u{width}").ravel()


def read_codes(payload, chunk):
    """Return ``exact`` of a payload, and its codes or, if that is 2, its values."""
    header, body = read_header(payload)
    shape, frames, width = header["shape"], header["frames"], header["width"]
    require(shape == tuple(chunk) and frames <= chunk[0], f"a chunk is of {frames} frames of {shape}")
    if header["exact"] == 2:
        require(zlib.crc32(body) == header["checksum"] & 0xFFFFFFFF, "a chunk fails its checksum")
        return 2, split_planes(body, width).view(DTYPES[header["dtype"]]).reshape(frames, *shape[1:])
    rows, columns, band_rows = math.prod(shape[1:-1]), shape[-1], header["band_rows"]
    shapes = [(frames, min(band_rows, rows - first), columns) for first in range(0, rows, band_rows)]
    weights, bands = read_residuals(header, body, list(map(math.prod, shapes)))
    pairs = zip(bands, shapes, strict=True)
    codes = np.concatenate([restore(header, band, weights, shape) for band, shape in pairs], axis=1)
    hashes = hashed(codes.ravel().astype(np.uint32), codes.size, ((16, 0x7FEB352D), (15, 1)))
    require(int(hashes.sum(dtype=np.uint64)) == header["checksum"], "codes fail their checksum")
    return header["exact"], codes.reshape(frames, *shape[1:]) + header["base"]


def read_planes(take, sizes, width):
    return [split_planes(take(width * size, "u1"), width).astype(np.int64) for size in sizes]


def read_halves(take, sizes, width):
    """Residuals of each band, stored in half bytes; 15 and more have the rest behind those of all bands."""
    escaped = int(take(sum(-(-size // 65536) for size in sizes), "<u4").sum())
    pairs = zip([take((size + 1) // 2, "u1") for size in sizes], sizes, strict=True)
    bands = [np.stack([halves & 15, halves >> 4], 1).ravel()[:size] for halves, size in pairs]
    residuals = np.concatenate(bands).astype(np.int64)
    marks = residuals == 15
    require(marks.sum() == escaped, "a payload has another number of escapes")
    residuals[marks] += take(escaped, f"<u{width}").astype(np.int64)
    return np.split(residuals, np.cumsum(sizes)[:-1])


def read_residuals(header, body, sizes):
    """Weights of every frame, if there are any, and the residuals of each band, an array for each level."""
    at = 0

    def take(count, dtype):
        nonlocal at
        start, at = at, at + count * np.dtype(dtype).itemsize
        require(at <= len(body), "a payload ends early")
        return np.frombuffer(body, dtype, count, start)

    levels, width, weights = header["levels"], header["width"], None
    if header["predictor"] == 5:
        weights = split_planes(take(64 * header["frames"], "u1"), 4).view("<i4").reshape(-1, 16)
        require(zlib.crc32(weights.tobytes()) == header["weights_crc"], "the weights fail their checksum")
    if header["body"] == 2:  # coded
        words = [take(length, "<u2").tolist() for length in take(len(sizes), "<u4").tolist()]
        bands = [decode_band(*band, levels) for band in zip(words, sizes, strict=True)]
    else:
        counts = take(len(sizes) * levels, "<u4").reshape(len(sizes), levels)
        read = read_halves if header["body"] == 1 else read_planes
        pairs = zip(read(take, sizes, width), np.cumsum(counts, axis=1), strict=True)
        bands = [np.split(band, ends[:-1]) for band, ends in pairs]
    require(at == len(body), "a payload is too long")
    return weights, bands


# ---- movies ----------------------------------------------------------------------------------------------


class Movie:
    """A stored movie: ``shape``, ``chunk_count`` and ``chunk(number)``."""

    def __init__(self, folder):
        self.folder, self.per_shard = Path(folder), 1
        if (self.folder / "0" / "zarr.json").exists():
            self.folder /= "0"  # the array of an OME-Zarr image
            array = json.loads((self.folder / "zarr.json").read_text())
            sizes, self.attributes = array["codecs"][0]["configuration"]["chunk_shape"], array["attributes"]
            self.per_shard = array["chunk_grid"]["configuration"]["chunk_shape"][0] // sizes[0]
            self.array = {"shape": array["shape"], "chunks": sizes, "dtype": array["data_type"]}
        else:
            texts = ((self.folder / name).read_text() for name in (".zarray", ".zattrs"))
            self.array, self.attributes = map(json.loads, texts)
        version, self.layout = self.attributes["codec_version"], self.attributes.get("layout", "plain")
        own = {"1": "plain", "2": "compact", "3": "lossless"}.get(version.split(".")[0])
        require(own == self.layout, f"version {version} is not known")
        self.shape, self.chunks = tuple(self.array["shape"]), tuple(self.array["chunks"])
        self.dtype = np.dtype(self.attributes["original_dtype"])
        self.chunk_count = -(-self.shape[0] // self.chunks[0]) if self.shape[0] else 0
        manifest = self.folder / ".manifest.json"
        self.files = json.loads(manifest.read_text())["files"] if manifest.exists() else {}
        models = self.attributes.get("channel_models", {"axis": None, "models": [self.attributes]})
        self.axis = models["axis"]
        self.models = [Model(one, self) if "anscombe_gain" in one else None for one in models["models"]]
        require(self.axis is None or len(self.models) == self.shape[self.axis], "a channel has no model")

    def in_shard(self, shard, number):
        """Bytes of a chunk, found by the index at the end of its shard."""
        with shard.open("rb") as file:
            file.seek(16 * (number % self.per_shard - self.per_shard) - 4, 2)
            start, size = struct.unpack("<2Q", file.read(16))
            require(start < 1 << 62 and size < 1 << 31, f"{shard} does not hold chunk {number}")
            file.seek(start)
            return file.read(size)

    def file(self, number):
        zeros = ["0"] * (len(self.shape) - 1)
        name = ".".join([str(number), *zeros])
        shard = self.folder.joinpath("c", str(number // self.per_shard), *zeros)
        data = self.in_shard(shard, number) if shard.exists() else (self.folder / name).read_bytes()
        if name in self.files:
            size, crc = self.files[name]
            require(len(data) == size and f"{zlib.crc32(data):08x}" == crc, f"{name} fails its checksum")
        movie = self.attributes.get("photon_movie_id")
        if self.layout != "compact" and movie and (data[-16:-12] == b"PHTS" or name not in self.files):
            origin = struct.pack("<HI", number % 65535 + 1, int(movie, 16))
            require(data[-16:-12] == b"PHTS" and data[-10:-4] == origin, f"{name} is out of place")
            crc = struct.pack("<I", zlib.crc32(bytes(4), zlib.crc32(data[:-4])))
            require(data[-4:] == crc, f"{name} fails the checksum of its seal")
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
        decoded = [self.channel(*pair, frames, stabilized) for pair in zip(parts, self.models, strict=True)]
        return decoded[0] if self.axis is None else np.stack(decoded, self.axis)

    def channel(self, data, model, frames, stabilized):
        """Frames of one channel of a chunk: of its payload, labels or values."""
        chunk = [size for axis, size in enumerate(self.chunks) if axis != self.axis]
        exact = 2 if self.layout == "lossless" else 0
        if self.layout == "compact":
            exact, data = read_codes(data, chunk)
        data = data[:frames]
        if exact == 2:  # the values as they are
            return model.anscombe(data) if stabilized else data
        if exact == 1 and not stabilized:
            return data.astype(self.dtype)
        if self.layout == "plain" and not model.step:
            return data if stabilized else model.counts_of_unquantized(data)
        if self.layout == "plain" or exact == 1:
            data = mapped(model.code if exact else model.code_of_label, data, np.int64)
        return model.values(data, phases_of(chunk, model.seed or 0)[:frames], stabilized)


def main(arguments):
    stabilized = "--stabilized" in arguments
    names = [name for name in arguments if not name.startswith("--")]
    if len(names) != 2:
        sys.exit(__doc__)
    movie = Movie(names[0])
    out = np.lib.format.open_memmap(names[1], "w+", "f8" if stabilized else movie.dtype, movie.shape)
    for number, first in enumerate(range(0, movie.shape[0], movie.chunks[0])):
        out[first : first + movie.chunks[0]] = movie.chunk(number, stabilized)
        print(f"chunk {number + 1} of {movie.chunk_count}", file=sys.stderr)
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
