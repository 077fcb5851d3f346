"""The header of a compact chunk: every byte counts."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest

from photon_gpu.engine.codec.header import DTYPES, Header, block_shape, number_field, unpack
from photon_gpu.engine.codec.residual_bands import Places
from photon_gpu.errors import CorruptDataError, PhotonError, UnsupportedVersionError
from tests.support.stores.forged_payloads import of_unknown_predictor, sealed

HEADER = Header(
    predictor=3,
    width=2,
    exact=False,
    phases=16,
    dtype="int16",
    frames=3,
    base=-1234567890123,
    checksum=2**64 - 5,
    band_rows=7,
    seed=2**32 - 1,
    rate=16,
    top=65535,
    gain=2.5,
    offset=-100.25,
    variance=1e-9,
    step=0.5,
    packed=True,
    levels=64,
    shape=(5, 2, 4, 6),
    weights=np.arange(-11, 11, dtype=np.int32).reshape(2, 11),
)


def payload(header: Header) -> np.ndarray:
    """A header and a body of zeros, with the tables it needs."""
    frames, rows, columns = header.frames, *header.block[1:]
    places = Places(
        frames=frames,
        rows=rows,
        columns=columns,
        band=header.band_rows,
        width=header.width,
        packed=header.packed,
        coded=header.coded,
        levels=header.levels,
    )
    body = np.zeros(places.fixed, np.uint8)
    levels = body[: places.counts_at].view("<u4").reshape(places.bands, -1)
    for band in range(places.bands if header.levels and not header.coded else 0):
        levels[band, 0] = places.band_samples(band * header.band_rows)
    return np.concatenate([np.frombuffer(header.pack(), np.uint8), body])


def test_it_comes_back_as_it_was():
    for header in (
        HEADER,
        replace(
            HEADER,
            shape=(9,),
            frames=1,
            dtype="float64",
            exact=True,
            width=4,
            predictor=0,
            packed=False,
            levels=0,
        ),
        replace(HEADER, packed=False, coded=True),
        replace(HEADER, number=65535, movie=2**32 - 1),
    ):
        again, _ = unpack(payload(header))
        assert again == header
        np.testing.assert_array_equal(again.weights, header.weights)
        assert again.nbytes == len(header.pack())


def test_the_bytes_are_where_format_md_says():
    data = HEADER.pack()
    at = lambda start, stop: int.from_bytes(data[start:stop], "little")  # noqa: E731
    assert data[:4] == b"PHTN" and list(data[4:12]) == [2, 1, 3, 2, 0, 16, DTYPES.index("int16"), 4]
    assert at(12, 16) == 3 and at(24, 32) == 2**64 - 5 and at(32, 36) == 7 and at(36, 40) == 2**32 - 1
    assert int.from_bytes(data[16:24], "little", signed=True) == -1234567890123
    assert at(40, 44) == 16 and at(44, 48) == 65535
    assert np.frombuffer(data, "<f8", 4, 48).tolist() == [2.5, -100.25, 1e-9, 0.5]
    assert data[84:96] == bytes([1, 64]) + bytes(10)
    assert np.frombuffer(data, "<u8", 4, 96).tolist() == [5, 2, 4, 6]
    assert np.frombuffer(data, "<i4", 22, 128).tolist() == list(range(-11, 11)) and len(data) == 128 + 88
    assert at(80, 84) == zlib.crc32(data[:80] + bytes(4) + data[84:])


def test_number_and_movie_are_where_format_md_says():
    data = replace(HEADER, number=0x1234, movie=0x89ABCDEF).pack()
    assert data[5] == 4 and data[86:88] == b"\x34\x12" and data[92:96] == bytes.fromhex("efcdab89")
    assert replace(HEADER, packed=False, coded=True).pack()[5] == 2  # neither is known
    assert number_field(0) == 1 and number_field(70000) == 70000 - 65535 + 1


def test_every_flipped_bit_of_the_header_is_found():
    whole = payload(HEADER)
    for position in range(len(HEADER.pack())):
        for bit in range(8):
            bad = whole.copy()
            bad[position] ^= 1 << bit
            with pytest.raises((CorruptDataError, UnsupportedVersionError)):
                unpack(bad)


@pytest.mark.parametrize("length", [0, 1, 4, 95, 96, 128, 215, 216, 216 + 287])
def test_every_truncation_is_found(length):
    with pytest.raises(CorruptDataError):
        unpack(payload(HEADER)[:length])
    with pytest.raises(CorruptDataError):
        unpack(np.append(payload(HEADER), np.uint8(0)))


@pytest.mark.parametrize(
    "offset, size, value",
    [
        (6, 1, 5),
        (7, 1, 0),
        (7, 1, 3),
        (7, 1, 8),
        (8, 1, 2),
        (9, 1, 0),
        (9, 1, 2),
        (10, 1, 10),
        (12, 4, 0),
        (12, 4, 6),
        (84, 1, 3),
        (85, 1, 1),
        (6, 1, 2),
        (7, 1, 4),
        (32, 4, 0),
        (16, 8, 2**63 - 1),
        (40, 4, 0),
        (40, 4, 129),
        (40, 4, 2**32 - 1),
        (44, 4, 65536),
        (96, 8, 0),
        (96, 8, 2**64 - 1),
        (96, 8, 2**63),
        (104, 8, 2**40),
        (112, 8, 2**32),
        (120, 8, 2**62),
    ],
)
def test_values_no_release_writes_are_refused_even_with_a_right_checksum(offset, size, value):
    bad = payload(HEADER)
    bad[offset : offset + size] = np.frombuffer(value.to_bytes(size, "little"), np.uint8)
    with pytest.raises(CorruptDataError):
        unpack(sealed(bad))
    assert unpack(sealed(payload(HEADER)))[0] == HEADER


def test_another_major_version_is_another_error_and_a_minor_one_is_read():
    later = payload(HEADER)
    later[4] = 3
    with pytest.raises(UnsupportedVersionError, match=r"format 3.*2\.x"):
        unpack(sealed(later))
    later[4:6] = 2, 9
    assert unpack(sealed(later))[0] == HEADER


def test_random_bytes_are_never_a_header():
    rng = np.random.default_rng(0)
    for size in (0, 3, 96, 216, 5000):
        for start in (b"", b"PHTN", b"PHTN\x02\x00"):
            data = np.frombuffer((start + rng.bytes(size))[:size], np.uint8)
            with pytest.raises(PhotonError):
                unpack(data)


def test_a_predictor_of_a_later_version_is_no_damage():
    with pytest.raises(UnsupportedVersionError, match="predictor 99, which is unknown: a newer version"):
        unpack(of_unknown_predictor())


def test_shapes_as_frames_rows_columns():
    assert block_shape((7,)) == (1, 1, 7)
    assert block_shape((3, 7)) == (3, 1, 7)
    assert block_shape((3, 5, 7)) == (3, 5, 7)
    assert block_shape((3, 2, 5, 7)) == (3, 10, 7) and block_shape((3, 2, 2, 5, 7)) == (3, 20, 7)


def test_coded_residuals_without_levels_are_refused():
    coded = payload(replace(HEADER, packed=False, coded=True))
    assert unpack(coded)[0].coded
    coded[85] = 0
    with pytest.raises(CorruptDataError, match="coded by level, and has no levels"):
        unpack(sealed(coded))
