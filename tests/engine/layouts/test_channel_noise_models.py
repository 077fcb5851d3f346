"""Chunks of channels with a noise model each, and the table of their payloads."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from photon_gpu.engine.layouts.channel_noise_models import ChannelAxis
from photon_gpu.engine.layouts.channel_payloads import join, read_table
from photon_gpu.errors import CorruptDataError, UnsupportedVersionError


@pytest.mark.parametrize("shape", [(5, 2, 4, 3), (5, 3, 2, 4, 3), (5, 2, 3, 4, 3)])
def test_runs_and_rows_name_the_samples_of_each_channel(shape):
    axis = ChannelAxis(shape.index(2), 2)
    samples = np.arange(np.prod(shape)).reshape(shape)
    own = [np.ascontiguousarray(axis.of(samples, channel)).ravel() for channel in (0, 1)]
    for start, stop in ((0, samples.size), (7, 50), (13, 14)):
        result = [
            own[channel][first : first + size] for channel, first, size in axis.runs(shape, start, stop)
        ]
        np.testing.assert_array_equal(np.concatenate(result), np.arange(start, stop))
    rows = samples.reshape(shape[0], -1, shape[-1])
    for channel in (0, 1):
        one = own[channel].reshape(shape[0], -1, shape[-1])
        for first, end in ((0, one.shape[1]), (1, 3), (2, one.shape[1])):
            result = [rows[:, a:b] for a, b in axis.rows(shape, channel, (first, end))]
            np.testing.assert_array_equal(np.concatenate(result, 1), one[:, first:end])


def test_a_table_that_was_altered_is_refused():
    payload = join([np.arange(9, dtype=np.uint8), np.arange(20, dtype=np.uint8)], rows=4)
    assert [payload[span].size for span in read_table(payload).spans] == [9, 20]
    for position in range(12 + 16 + 4):
        altered = payload.copy()
        altered[position] ^= 1
        with pytest.raises((CorruptDataError, UnsupportedVersionError)):
            read_table(altered)
    for cut in (0, 3, 11, 30, payload.size - 1):
        with pytest.raises(CorruptDataError):
            read_table(payload[:cut])
    with pytest.raises(CorruptDataError, match="decompresses to"):
        read_table(np.append(payload, np.uint8(0)))
    huge = np.frombuffer(struct.pack("<4s2BHI", b"PHTC", 2, 5, 65535, 1) + bytes(64), np.uint8)
    with pytest.raises(CorruptDataError, match="shorter than its table"):
        read_table(huge)
