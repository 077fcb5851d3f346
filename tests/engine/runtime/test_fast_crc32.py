"""CRC-32: zlib's number, whoever adds it up."""

from __future__ import annotations

import sys
import zlib

import numpy as np
import pytest

from photon_gpu.engine.runtime import fast_crc32
from photon_gpu.engine.runtime.fast_crc32 import crc32

DATA = np.random.default_rng(0).integers(0, 256, 1 << 20).astype("uint8")


@pytest.fixture(params=["zlib-ng", "without"])
def library(request, monkeypatch):
    fast_crc32._fast.cache_clear()
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
    yield request.param
    fast_crc32._fast.cache_clear()


@pytest.mark.parametrize("size", [0, 1, 7, 4095, 4096, 4097, 65_537, 1 << 20])
@pytest.mark.parametrize("value", [0, 1, 0xFFFFFFFF])
def test_the_number_is_that_of_zlib(library, size, value):
    for begin in (0, 1, 3):
        part = DATA[begin : begin + size]
        for data in (part, part.tobytes(), bytearray(part), memoryview(part)):
            assert crc32(data, value) == zlib.crc32(data, value)


def test_parts_one_after_the_other_are_the_whole(library):
    half = crc32(DATA[:400_001])
    assert crc32(DATA[400_001:], half) == zlib.crc32(DATA)


def test_other_dtypes_and_shapes_are_their_bytes(library):
    frames = DATA[: 8 * 50 * 100].view("int16").reshape(4, 50, 100)
    assert crc32(frames) == zlib.crc32(frames.tobytes())


def test_what_is_not_contiguous_is_refused(library):
    with pytest.raises(BufferError):
        crc32(DATA[::2])


def test_the_fast_one_is_used_where_it_is_there():
    pytest.importorskip("imagecodecs")
    assert fast_crc32._fast() is not zlib.crc32


def test_a_library_that_is_wrong_is_not_used(monkeypatch):
    imagecodecs = pytest.importorskip("imagecodecs")
    monkeypatch.setattr(imagecodecs, "zlibng_crc32", lambda data, value: 1)
    fast_crc32._fast.cache_clear()
    assert crc32(DATA) == zlib.crc32(DATA)
    fast_crc32._fast.cache_clear()
