"""The interface itself."""

from __future__ import annotations

import numpy as np
import pytest

from photon_gpu.errors import InvalidInputError
from photon_gpu.sources.base import Source


class Huge(Source):
    name = "huge"
    shape = (10**7, 4, 10**5, 10**5)
    dtype = np.dtype("uint16")
    closed = False

    def read(self, start, stop):
        self._check_frames(start, stop)
        raise AssertionError("not read here")

    def close(self):
        self.closed = True


def test_bytes_are_counted_without_overflow():
    assert Huge().nbytes == 8 * 10**17
    assert Huge().frame_nbytes == 8 * 10**10


def test_leaving_the_block_closes():
    with Huge() as source:
        assert not source.closed
    assert source.closed


def test_leaving_the_block_by_an_error_closes_and_keeps_the_error():
    source = Huge()
    with pytest.raises(ZeroDivisionError), source:
        raise ZeroDivisionError
    assert source.closed


@pytest.mark.parametrize("span", [(0, 0), (-1, 1), (3, 2), (0, 10**7 + 1)])
def test_frames_that_are_not_there(span):
    with pytest.raises(InvalidInputError, match=f"huge: frames {span[0]}:{span[1]} .* has 10000000"):
        Huge().read(*span)


def test_a_source_without_read_cannot_be_made():
    with pytest.raises(TypeError, match="read"):
        type("Empty", (Source,), {})()
