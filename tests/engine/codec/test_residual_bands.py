"""The body of a compact payload: separate bands, packed where shorter, as long as the tables say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from photon_gpu.engine.codec.residual_bands import SEGMENT, Places, Reader, Writer, from_planes, to_planes
from photon_gpu.errors import CorruptDataError
from photon_gpu.kernels import cpu, reference

SHAPES = [  # frames, rows, columns, rows per band
    (1, 1, 1, 1),
    (3, 1, 1, 4),
    (3, 5, 7, 2),
    (2, 9, 4, 3),
    (1, 40, 3, 16),
    (9, 17, 1001, 8),
    (70, 33, 40, 32),
]


def places(shape, *, width=1, packed=True, levels=0, coded=False) -> Places:
    frames, rows, columns, band = shape
    return Places(
        frames=frames,
        rows=rows,
        columns=columns,
        band=band,
        width=width,
        packed=packed and not coded,
        coded=coded,
        levels=levels,
    )


def bands(shape, width, spread, seed=0) -> dict[int, np.ndarray]:
    """Residuals of each band, by its first row: small ones, and some that are not."""
    frames, rows, columns, band = shape
    rng = np.random.default_rng(seed)
    out = {}
    for first in range(0, rows, band):
        size = frames * columns * (min(first + band, rows) - first)
        out[first] = np.minimum(rng.geometric(1 / spread, size), 256**width - 1).astype(f"u{width}")
    return out


def written(shape, residuals, *, levels=0, head=5, kernels=cpu, width=1, run=map, coded=False):
    """A body, and whether it is packed, or coded if asked for; all of a band is in its first level."""
    writer = Writer(places(shape, width=width, levels=levels, coded=coded), head, kernels)
    table = np.zeros(levels, np.int64) if levels else None

    def put(first):
        if table is None:
            writer.put(first, residuals[first])
        else:
            writer.put(first, residuals[first], np.append(residuals[first].size, table[1:]))

    list(run(put, reversed(residuals)))
    payload, result = writer.finished()
    return payload[head:].copy(), result.coded if coded else result.packed


def read(shape, body, *, packed, width=1, levels=0, kernels=cpu, coded=False) -> dict[int, np.ndarray]:
    reader = Reader(places(shape, width=width, packed=packed, levels=levels, coded=coded), body)
    escapes = reader.escapes if packed else np.empty(0, np.uint8)
    decoded = ((first, reader.residuals(first, escapes, kernels)) for first in range(0, shape[1], shape[3]))
    return {first: None if band is None else band.copy() for first, band in decoded}  # scratch of the thread


@pytest.mark.parametrize("levels", [0, 2, 64])
@pytest.mark.parametrize("spread", [3, 9, 300])
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_put_is_read(shape, width, spread, levels):
    residuals = bands(shape, width, spread)
    body, packed = written(shape, residuals, width=width, levels=levels)
    other, same = written(shape, residuals, width=width, levels=levels, kernels=reference)
    assert (packed, body.tobytes()) == (same, other.tobytes())
    for kernels in (cpu, reference):
        again = read(shape, body, packed=packed, width=width, levels=levels, kernels=kernels)
        for first, expected in residuals.items():
            assert again[first].dtype == expected.dtype
            np.testing.assert_array_equal(again[first], expected)


def test_it_is_packed_exactly_where_that_is_shorter():
    shape = (10, 10, 10, 10)
    for escaping in (0, 400, 495, 496, 497, 1000):
        residuals = np.zeros(1000, np.uint8)
        residuals[:escaping] = 200
        body, packed = written(shape, {0: residuals})
        # 4 bytes count escapes, 500 are half bytes, and each escape is one more.
        assert packed == (504 + escaping < 1000) and body.size == min(504 + escaping, 1000)
        np.testing.assert_array_equal(read(shape, body, packed=packed)[0], residuals)
    # Of two bytes each, packing pays for longer.
    body, packed = written(shape, {0: np.full(1000, 15, "u2")}, width=2)
    assert not packed and body.size == 2000
    half = np.append(np.full(700, 15, "u2"), np.zeros(300, "u2"))
    assert written(shape, {0: half}, width=2)[1]


def test_the_bytes_are_where_format_md_says():
    shape = (1, 3, 3, 2)  # two bands, of 6 and 3 residuals
    residuals = {0: np.array([1, 2, 15, 3, 255, 4], "u1"), 2: np.array([14, 0, 9], "u1")}
    body, packed = written(shape, residuals, levels=2)
    assert not packed  # so small a chunk is shorter as it is
    assert body.tobytes() == bytes(
        [6, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 15, 3, 255, 4, 14, 0, 9]
    )
    shape = (10, 3, 3, 2)
    residuals = {0: np.resize(residuals[0], 60), 2: np.resize(residuals[2], 30)}
    body, packed = written(shape, residuals)
    assert packed
    first = [0x21, 0x3F, 0x4F] * 10
    second = [0x0E, 0xE9, 0x90] * 5
    assert body.tobytes() == bytes([20, 0, 0, 0, 0, 0, 0, 0, *first, *second, *[0, 240] * 10])
    wide = {0: np.array([1, 0x0102], "u2")}
    assert written((2, 1, 1, 1), wide, width=2)[0].tobytes() == bytes([1, 2, 0, 1])


def test_segments_of_a_band_count_their_escapes_apart():
    shape = (SEGMENT // 100 + 30, 200, 1, 100)
    residuals = bands(shape, 1, 4)
    kept = places(shape)
    assert kept.segments == 4 and kept.band_segments(100) == slice(2, 4)
    body, _ = written(shape, residuals)
    counts = body[kept.counts_at : kept.nibbles_at].view("<u4")
    result = [
        int((part >= 15).sum()) for flat in residuals.values() for part in (flat[:SEGMENT], flat[SEGMENT:])
    ]
    assert counts.tolist() == result and all(result)


def test_threads_change_no_byte():
    shape = (70, 330, 40, 32)
    residuals = bands(shape, 1, 4)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert (
                written(shape, residuals, run=pool.map)[0].tobytes() == written(shape, residuals)[0].tobytes()
            )


@pytest.mark.parametrize("levels", [0, 3])
@pytest.mark.parametrize("width", [1, 2])
def test_every_truncation_and_every_altered_byte_of_the_tables_is_found(width, levels):
    shape = (5, 9, 4, 4)
    residuals = bands(shape, width, 5)
    body, packed = written(shape, residuals, width=width, levels=levels)
    assert packed
    for length in (*range(body.size), body.size + 1):
        short = np.resize(body, length)
        with pytest.raises(CorruptDataError, match="describes"):
            read(shape, short, packed=True, width=width, levels=levels)
    tables = places(shape, width=width, levels=levels).nibbles_at
    for position in range(tables):
        for flip in (1, 0x80):
            bad = body.copy()
            bad[position] ^= flip
            with pytest.raises(CorruptDataError, match="describes|add up"):
                read(shape, bad, packed=True, width=width, levels=levels)


def test_escapes_that_moved_to_another_segment_are_noticed():
    shape = (5, 9, 4, 4)
    body, _ = written(shape, bands(shape, 1, 5))
    counts = body[:12].view("<u4")
    counts[0] += 1
    counts[1] -= 1
    again = read(shape, body, packed=True)
    assert again[0] is None and again[4] is None and again[8] is not None


@pytest.mark.parametrize("levels", [2, 255])
@pytest.mark.parametrize("spread", [3, 9, 300])
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_coded_is_read(shape, width, spread, levels):
    residuals = bands(shape, width, spread)
    body, coded = written(shape, residuals, width=width, levels=levels, coded=True)
    plain = places(shape, width=width, levels=levels, packed=False).fixed
    assert body.size < plain if coded else body.size == plain
    for first, expected in residuals.items():
        result = read(shape, body, packed=False, width=width, levels=levels, coded=coded)[first]
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


def test_a_coded_band_tells_its_levels():
    shape = (70, 33, 40, 32)
    rng, writer = np.random.default_rng(0), Writer(places(shape, levels=5, coded=True), 0, cpu)
    told = {}
    for first, residuals in bands(shape, 1, 4).items():
        told[first] = rng.multinomial(residuals.size, [0.1, 0.2, 0, 0.7, 0])
        writer.put(first, residuals, told[first])
    payload, result = writer.finished()
    reader = Reader(result, payload)
    for first, levels in told.items():
        assert not reader.levels[first // 32].any()
        assert reader.residuals(first, np.empty(0, np.uint8), cpu) is not None
        assert reader.levels[first // 32].tolist() == levels.tolist()


def test_every_truncation_of_a_coded_body_is_found_and_no_altered_byte_is_read_as_it_was():
    shape = (5, 90, 4, 40)
    residuals = bands(shape, 1, 3)
    body, coded = written(shape, residuals, levels=2, coded=True)
    assert coded
    for length in (*range(body.size), body.size + 1):
        with pytest.raises(CorruptDataError, match="describes"):
            read(shape, np.resize(body, length), packed=False, levels=2, coded=True)
    for position in range(body.size):
        for flip in (1, 0x80):
            bad = body.copy()
            bad[position] ^= flip
            try:
                again = read(shape, bad, packed=False, levels=2, coded=True)
            except CorruptDataError:
                continue
            assert any(band is None or (band != residuals[first]).any() for first, band in again.items())


def test_byte_planes_are_split_and_joined():
    for width in (1, 2, 4):
        values = np.random.default_rng(0).integers(0, 256**width, 101).astype(f"u{width}")
        body = np.empty(101 * width, np.uint8)
        to_planes(values, body)
        assert body[:101].tolist() == (values & 255).tolist()
        np.testing.assert_array_equal(from_planes(body, width), values)
