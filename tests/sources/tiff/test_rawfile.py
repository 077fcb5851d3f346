"""Exact byte ranges."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photon_gpu.errors import CorruptDataError, InvalidInputError
from photon_gpu.sources.tiff.rawfile import RawFile

BYTES = bytes(range(256)) * 8


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "bytes.bin"
    path.write_bytes(BYTES)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(-10, 2100), st.integers(0, 2100))
def test_exactly_the_bytes_or_an_error(path, offset, nbytes):
    with RawFile(path) as file:
        if offset >= 0 and offset + nbytes <= len(BYTES):
            assert file.read(offset, nbytes) == BYTES[offset : offset + nbytes]
        else:
            with pytest.raises(CorruptDataError, match=r"bytes\.bin.*truncated.*it has 2048"):
                file.read(offset, nbytes)


def test_a_range_of_petabytes_is_refused_before_memory_is_taken(path):
    with RawFile(path) as file, pytest.raises(CorruptDataError):
        file.read(0, 10**15)


def test_a_file_that_shrinks(path):
    with RawFile(path) as file:
        os.truncate(path, 1000)
        with pytest.raises(CorruptDataError, match="ended 24 bytes early"):
            file.read(0, 1024)
        assert file.read(0, 1000) == BYTES[:1000]


def test_threads_do_not_mix_their_places(path):
    with RawFile(path) as file, ThreadPoolExecutor(8) as pool:
        offsets = list(range(1024)) * 4
        for offset, data in zip(offsets, pool.map(lambda o: file.read(o, 999), offsets), strict=True):
            assert data == BYTES[offset : offset + 999]


def test_a_closed_file_cannot_be_read(path):
    file = RawFile(path)
    file.close()
    with pytest.raises(InvalidInputError, match="closed"):
        file.read(0, 1)


def test_an_error_of_the_disk_keeps_its_reason(path):
    """A descriptor that cannot be read stands for a disk that fails."""
    with RawFile(path) as file:
        writing = os.open(path, os.O_WRONLY)
        try:
            os.dup2(writing, file._file.fileno())
        finally:
            os.close(writing)
        with pytest.raises(CorruptDataError, match=r"reading 10 bytes at 5 failed: .*Bad file descriptor"):
            file.read(5, 10)
